"""Build, restore and publish the model of a level."""

import dataclasses
import json
import pathlib

import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features, store, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.models import JOINT, PLUGGED
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.optimizers.lazy_adam import LazyAdam
from ecdctr_tf.optimizers.row_wise_adagrad import RowWiseAdagrad
from ecdctr_tf.training import fit
from ecdctr_tf.transfer import checkpoint, historical, warm_start

WEIGHTS = "weights"
OPTIMIZER = "optimizer"
CONFIG = "config.json"
SPEC = "spec.json"
CURVE = "curve.json"
TABLE_OPTIMIZERS = {
    "lazy_adam": LazyAdam,
    "row_wise_adagrad": RowWiseAdagrad,
}


@dataclasses.dataclass
class Level:
    """A model under training, with what its artefact has to tell."""

    model: CTRModel
    # "snapshot", "cpm" or "ctr".
    kind: str
    # Rows of each table that the model knows.
    table_rows: dict[str, int]
    # Rows trained on, over its whole lineage.
    rows: int = 0
    parents: dict = dataclasses.field(default_factory=dict)
    report: warm_start.RestoreReport | None = None


def model_spec(
    spec: features.DataSpec, model: configs.ModelConfig, kind: str
) -> features.DataSpec:
    """Return the features that a level reads."""
    if kind == "snapshot":
        return spec.basic()
    return spec.without(model.exclude)


def build(
    data: DataDirectory,
    config: configs.Config,
    stage: configs.StageConfig,
    kind: str,
    table_rows: dict[str, int],
    history: dict[str, HistoricalTable] | None = None,
    capacities: dict[str, int] | None = None,
    source: CTRModel | None = None,
) -> CTRModel:
    """Return a compiled model of a level with fresh weights.

    The weights depend on the seed and the sizes only, not on what the process
    did before. A plugged model needs its frozen `source`.
    """
    keras.utils.set_random_seed(config.seed)
    training = stage.training
    network, others = CTRModel, {}
    if stage.joint:
        network = JOINT[stage.joint]
    elif stage.plugged:
        network, others = PLUGGED[stage.plugged], {"source": source}
    model = network(
        model_spec(data.spec, stage.model, kind),
        stage.model,
        table_rows,
        capacities,
        history=history if stage.model.history else None,
        history_mode=historical.mode(config.history.aggregation),
        history_slots=config.history.snapshots,
        history_dropout=config.history.dropout,
        l2=training.l2,
        table_l2=training.table_l2,
        precision=training.precision,
        **others,
    )
    table_optimizer = TABLE_OPTIMIZERS[training.table_optimizer]
    model.compile(
        # Adam, of dense gradients.
        LazyAdam(training.dense_learning_rate),
        table_optimizer(training.table_learning_rate),
    )
    return model.build_from_spec()


def load(data, config, stage, path, kind, history=None, source=None) -> Level:
    """Return a published level: weights, optimizer state, parents.

    Raises:
      FileNotFoundError, ValueError: the artefact is missing, damaged, or of
        another id space, feature spec or network.
    """
    manifest = warm_start.verified(
        path, kind, data.spec.fingerprint(), data.id_spaces
    )
    rows = {name: entry["rows"] for name, entry in manifest.ids.items()}
    model = build(
        data,
        config,
        stage,
        kind,
        rows,
        history,
        manifest.config["capacities"],
        source,
    )
    for state, name in ((_weights, WEIGHTS), (fit.optimizer_state, OPTIMIZER)):
        values = checkpoint.read(path / name)
        warm_start.restore(state(model), values, str(path / name))
    return Level(model, kind, rows, manifest.rows, dict(manifest.parents))


def grow(
    data: DataDirectory,
    config: configs.Config,
    stage: configs.StageConfig,
    level: Level,
    table_rows: dict[str, int],
) -> None:
    """Let a level know more rows; a larger model takes over if need be."""
    model = level.model
    level.table_rows = table_rows
    if model.embedding.grow(
        {name: table_rows[name] for name in model.embedding.tables}
    ):
        return
    larger = build(
        data,
        config,
        stage,
        level.kind,
        table_rows,
        model.history_tables,
        source=model.source,
    )
    copy_state(model, larger)
    level.model = larger


def copy_state(source: CTRModel, target: CTRModel) -> None:
    """Copy weights and optimizer state; `target` may have larger tables."""
    for state in (_weights, fit.optimizer_state):
        values = {name: v.numpy() for name, v in state(source).items()}
        warm_start.restore(state(target), values, "the model before")


def _weights(model: CTRModel) -> dict:
    return checkpoint.named_variables(model.parts())


def publish(
    data: DataDirectory,
    config: configs.Config,
    level: Level,
    path: pathlib.Path,
    window: windows.Window,
    curve: list[dict],
    metrics: dict,
    write_more=None,
) -> None:
    """Publish a level's weights with all that is needed to use them.

    Args:
      data: the data directory it was trained on.
      config: the run's config, kept as `config.json`.
      level: the level.
      path: the artefact's place.
      window: days trained on.
      curve: learning curve of the window.
      metrics: entries of the manifest's metrics.
      write_more: called with the staging directory, to add files.
    """
    rows = {n: level.table_rows[n] for n in level.model.embedding.tables}
    spaces = data.id_spaces
    manifest = store.Manifest(
        kind=level.kind,
        window=window,
        rows=level.rows,
        spec=data.spec.fingerprint(),
        ids={n: spaces[n].fingerprint(r) for n, r in rows.items()},
        parents=level.parents,
        config={"capacities": level.model.embedding.capacities},
        metrics=metrics,
    )
    with store.publish(path, manifest) as staging:
        checkpoint.write(staging / WEIGHTS, _weights(level.model))
        checkpoint.write(staging / OPTIMIZER, fit.optimizer_state(level.model))
        store.write_text(staging / CONFIG, config.to_json())
        data.spec.save(staging / SPEC)
        store.write_text(staging / CURVE, fit.curve_text(curve))
        if level.report is not None:
            text = json.dumps(level.report.to_dict(), indent=1)
            store.write_text(staging / "restore.json", text)
        if write_more is not None:
            write_more(staging)
