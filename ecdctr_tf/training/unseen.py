"""Inputs that were the same in all rows of a CPM: they start without effect.

A CPM that has seen one value of a feature only, or none, says nothing about the
others. Their embeddings would be what the seed made of them, and batch norm,
which has seen no variance, would magnify them. So they start as the one that
was seen; numbers are left out by their layers (`layers.scaled_numbers`).
"""

import numpy as np
import tensorflow as tf

from ecdctr_tf.layers.table_embedding import TableEmbedding
from ecdctr_tf.models.ctr_model import CTRModel


def start(model: CTRModel) -> tuple[str, ...]:
    """Let inputs that a CPM has not seen vary change no score.

    Args:
      model: an A-CTR that has just been given the weights of a CPM.

    Returns:
      The names of these features, in the order of the spec.
    """
    # Of a feature that no weight reads yet, rows may differ: it is learned so.
    idle = model.idle()
    tables = {
        name
        for name, table in model.embedding.tables.items()
        if not idle.issuperset(_on(model, name)) and _start_table(table)
    }
    unseen = {f.name for f in model.spec.features if f.table in tables}
    unseen.update(model.unseen())
    return tuple(f.name for f in model.spec.features if f.name in unseen)


def _on(model: CTRModel, table: str) -> set[str]:
    """Return the features that read a table."""
    return {
        feature.name
        for feature in model.spec.features
        if table in (feature.table, feature.attribute_table)
    }


def _start_table(table: TableEmbedding) -> bool:
    """Let all rows start as the only one that was trained, if it is one.

    Where none was, no id was ever there, and rows start at 0.

    Returns:
      Whether less than two rows were trained.
    """
    values = table.embeddings.numpy()  # [V, D]
    initial = table.initial_rows(0, table.capacity)
    (trained,) = np.nonzero((values != initial).any(axis=1))
    if len(trained) > 1:
        return False
    row = values[trained] if len(trained) else np.zeros_like(values[:1])
    table.embeddings.assign(tf.repeat(row, table.capacity, axis=0))
    return True
