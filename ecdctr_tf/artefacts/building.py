"""The model of a level, from its config and the features of its data."""

import gc
import importlib
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features, model_table
from ecdctr_tf.artefacts.files import CPM, CTR, TPM, WEIGHTS
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.transfer import checkpoint, historical, warm_start


def model_spec(
    spec: features.DataSpec, config: configs.Config, kind: str
) -> features.DataSpec:
    """Return the features that a level reads.

    Names that the config excludes and the spec lacks are passed over: the
    features may have been removed.
    """
    if kind == TPM:
        return spec.basic()
    names = {feature.name for feature in spec.features}
    return spec.without(names.intersection(config.model.exclude))


def stage(
    config: configs.Config, kind: str
) -> tuple[configs.ModelConfig, configs.TrainingConfig]:
    """Return the network and the training of a level."""
    if kind == TPM:
        return config.tpm_model, config.tpm
    return config.model, config.cpm if kind == CPM else config.ctr


def network(row: model_table.ModelRow, kind: str) -> type[CTRModel]:
    """Return the class of a level's model."""
    if kind != CTR:
        return CTRModel
    module, name = row.network.split(".")
    return getattr(importlib.import_module(f"ecdctr_tf.models.{module}"), name)


def build(
    spec: features.DataSpec,
    config: configs.Config,
    row: model_table.ModelRow,
    kind: str,
    table_rows: dict[str, int],
    capacities: dict[str, int] | None = None,
    history: Mapping[str, HistoricalTable] | None = None,
    sources: Sequence[CTRModel] = (),
) -> CTRModel:
    """Return the model of a level with fresh weights.

    The weights and their names depend on the seed and the sizes only, not on
    what the process did before: so do the bytes of their checkpoints.

    Args:
      spec: the features of the data.
      config: the config of the model, from `configs.of_model`.
      row: the model.
      kind: "snapshot", "cpm" or "ctr".
      table_rows: table name -> rows that the model knows.
      capacities: table name -> rows there is room for.
      history: table name -> historical vectors.
      sources: the frozen CPMs that a model beside a CPM reads.

    Raises:
      ValueError: a feature that the config excludes cannot be left out.
    """
    # A traced loop holds the variables of its model in cycles of references,
    # which Python leaves for a long time: free the models from before.
    gc.collect()
    keras.utils.set_random_seed(config.seed)
    keras.backend.reset_uids()
    model_config, training = stage(config, kind)
    mode, slots = look_up(config, kind)
    return network(row, kind)(
        model_spec(spec, config, kind),
        model_config,
        table_rows,
        capacities,
        history=history if model_config.history else None,
        history_mode=mode,
        history_slots=slots,
        history_dropout=config.history.dropout,
        l2=training.l2,
        table_l2=training.table_l2,
        precision=training.precision,
        seed=config.seed,
        sources=sources,
    ).build_from_spec()


def look_up(config: configs.Config, kind: str) -> tuple[str, int]:
    """Return how a level combines dated vectors, and how many of an id."""
    mode = config.history.aggregation
    merged = config.history.merges and kind == CTR
    if mode not in historical.LEARNED or merged:
        return "single", 1
    return mode, config.history.snapshots


def weights(model: CTRModel) -> dict[str, tf.Variable]:
    """Return all weights of a model by their path in the checkpoint.

    Raises:
      ValueError: a weight has no path: it would be trained and never saved.
    """
    named = checkpoint.named_variables(model.parts())
    known = {variable.ref() for variable in named.values()}
    known.add(model.line.ref())
    for table in model.embedding.tables.values():
        known.add(table.vocab_size.ref())
        if table.unknown_rows is not None:
            known.add(table.unknown_rows.ref())
    kept_elsewhere = [*model.metrics, *model.sources]
    kept_elsewhere += model.history_tables.values()
    known |= {v.ref() for owner in kept_elsewhere for v in owner.variables}
    left = [v.name for v in model.variables if v.ref() not in known]
    if left:
        raise ValueError(
            f"{type(model).__name__} has weights that no checkpoint would "
            f"hold: {', '.join(left)}. Assign each layer to a public "
            "attribute of the model, or to a list or dict that is one."
        )
    return named


def read_weights(model: CTRModel, path: pathlib.Path) -> None:
    """Give a model the weights of an artefact.

    Raises:
      FileNotFoundError, ValueError: they are missing or do not fit.
    """
    values = checkpoint.read(path / WEIGHTS)
    warm_start.restore(weights(model), values, str(path / WEIGHTS))


def set_buckets(model: CTRModel, data: DataDirectory) -> None:
    """Let ids that a model does not know read the bucket they are served by."""
    for name, table in model.embedding.tables.items():
        space = data.id_spaces[name]
        if space.table.ids == "vocabulary" and space.table.buckets > 1:
            table.set_buckets(space.bucket_of(np.arange(space.rows)))
