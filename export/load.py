"""Rebuild the model of an A-CTR artefact, for serving.

Shapes: S dated versions, K slots, V table rows, D embedding width.
"""

import pathlib

import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import features, store
from ecdctr_tf.input import id_space
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.transfer import checkpoint, historical, warm_start

KIND = "ctr"


def load_model(
    artefact_dir: str | pathlib.Path, data: DataDirectory
) -> CTRModel:
    """Return the model of a published A-CTR day, without optimizers.

    Args:
      artefact_dir: the artefact, `<workdir>/<model>/ctr/<day>`. Where its
        model looks history up, the work directory has to be around it.
      data: the data directory that it was trained on, or one grown from it.

    Raises:
      FileNotFoundError, ValueError: the artefact or its history is missing,
        damaged, of another feature spec, id space or network.
    """
    path = pathlib.Path(artefact_dir)
    manifest = warm_start.verified(
        path, KIND, data.spec.fingerprint(), data.id_spaces
    )
    config = configs.Config.from_json(path / "config.json")
    spec = features.DataSpec.load(path / "spec.json")
    history = None
    if config.model.history:
        history = _history(path, manifest, data)
    model = CTRModel(
        spec.without(config.model.exclude),
        config.model,
        {name: entry["rows"] for name, entry in manifest.ids.items()},
        manifest.config["capacities"],
        history=history,
        history_mode=historical.mode(config.history.aggregation),
        history_slots=config.history.snapshots,
    ).build_from_spec()
    variables = checkpoint.named_variables(model.parts())
    _check_complete(model, variables, path)
    values = checkpoint.read(path / "weights")
    warm_start.restore(variables, values, str(path))
    return model


def _check_complete(
    model: CTRModel, variables: dict[str, tf.Variable], path: pathlib.Path
) -> None:
    """Make sure that no weight is left as it was initialised."""
    found = {variable.ref() for variable in variables.values()}
    found |= {t.vocab_size.ref() for t in model.embedding.tables.values()}
    found |= {v.ref() for metric in model.metrics for v in metric.variables}
    found |= {
        variable.ref()
        for table in model.history_tables.values()
        for variable in table.variables
    }
    left = [v.name for v in model.variables if v.ref() not in found]
    if left:
        raise ValueError(
            f"Checkpoints as {path / 'weights'} do not hold {', '.join(left)}, "
            "which would be served untrained: `checkpoint.named_variables` "
            "has no name for them."
        )


def _history(
    path: pathlib.Path, manifest: store.Manifest, data: DataDirectory
) -> dict[str, HistoricalTable]:
    """Return the historical tables that an artefact names as its parent."""
    parent = manifest.parents.get("historical")
    if parent is None:
        raise ValueError(
            f"{path} looks history up (model.history=true), but its "
            "manifest.json names no historical tables. Train it anew."
        )
    directory = (path / parent["path"]).resolve()
    if not directory.exists():
        raise FileNotFoundError(
            f"{directory}, the historical tables of {path}, is missing. Export "
            "from the whole work directory."
        )
    if store.file_hash(directory / store.MANIFEST) != parent["manifest"]:
        raise ValueError(
            f"{directory} is not what {path} was trained with: it was made "
            "anew since. Train the model anew."
        )
    return historical.load(directory, data.id_spaces)


def known_spaces(
    manifest: store.Manifest, data: DataDirectory
) -> dict[str, id_space.IdSpace]:
    """Return, by table name, the id spaces as far as an artefact knows them.

    Ids that the data directory got later are left out: to the model they are
    unknown.
    """
    spaces = {}
    for name, entry in manifest.ids.items():
        space = data.id_spaces[name]
        if isinstance(space, id_space.Vocabulary):
            count = entry["rows"] - space.table.buckets
            space = id_space.Vocabulary(space.table, space.ids[:count])
        spaces[name] = space
    return spaces


def knows(vocabulary: id_space.Vocabulary, raw: int | str) -> bool:
    """Return whether a raw id has a row of its own."""
    return bool(vocabulary.lookup([raw])[0] >= vocabulary.table.buckets)


def keep_newest(model: CTRModel) -> None:
    """Drop the historical versions that a row after all of them never reads.

    Args:
      model: left with the K newest of S versions of each historical table.
    """
    slots = {
        model.spec.feature(name).table: layer.slots
        for name, layer in model.historical.items()
    }
    model.history_tables = {
        name: newest(model.history_tables[name], count)
        for name, count in slots.items()
    }


def newest(table: HistoricalTable, slots: int) -> HistoricalTable:
    """Return the `slots` newest versions of a table, or all if fewer."""
    shape = [table.versions, table.rows]
    return HistoricalTable(
        table.vectors.numpy().reshape([*shape, table.dim])[-slots:],
        table.present.numpy().reshape(shape)[-slots:],
        table.visible_from.numpy()[-slots:],
        name=table.name,
    )
