"""What an export keeps of an A-CTR: known ids, the newest vectors.

Shapes: S dated versions, K slots, V table rows, D embedding width.
"""

from ecdctr_tf import store
from ecdctr_tf.input import id_space
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.models.ctr_model import CTRModel


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
            space = space.first(int(entry["rows"]))
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
    if table.versions <= slots:
        return table
    shape = [table.versions, table.rows]
    return HistoricalTable(
        table.vectors.numpy().reshape([*shape, table.dim])[-slots:],
        table.present.numpy().reshape(shape)[-slots:],
        table.visible_from.numpy()[-slots:],
        name=table.name,
    )
