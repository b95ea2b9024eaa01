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

# Weights by name.
_GAIN, _MEAN = "input_norm/gamma", "input_norm/moving_mean"
_READER = "mlp/dense/0/kernel"


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
    crosses = {f.name for f in model.spec.features if unseen.intersection(f.of)}
    for name, table in model.embedding.tables.items():
        on = _on(model, name)
        if on and on <= crosses and not idle.issuperset(on):
            # The rows that the CPM trained are of none of these pairs.
            rows = table.embeddings.numpy()
            kept = rows[_trained(table, rows)].mean(axis=0, keepdims=True)
            table.embeddings.assign(tf.repeat(kept, table.capacity, axis=0))
            unseen |= on
    return tuple(f.name for f in model.spec.features if f.name in unseen)


def without_unseen(
    model: CTRModel, values: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the weights of a CPM; what was 0 in all its rows has no effect.

    So are historical vectors where no row saw a version, and lists on a shared
    table that natural logs lack. What reads them is as the seed made it, and
    batch norm, which has seen no variance, would magnify them. So their gain
    starts at 0, from where it is learned. The change to a CPM that saw them
    brings the gain of that one.

    Args:
      model: has the inputs of the CPM.
      values: the weights of the CPM by name.
    """
    if _GAIN not in values:
        return values
    # Lists on a table of their own start with rows of 0 (`start`), and would
    # not be learned at all without a gain.
    learned = []
    for name, table in model.embedding.tables.items():
        rows = values.get(f"embedding/tables/{name}/embeddings")
        if rows is not None and len(_trained(table, rows)) > 1:
            learned.append(name)
    shared = set().union(*(_on(model, name) for name in learned))
    may_be = [
        np.full(
            column.width, column.recalled or not shared.isdisjoint(column.of)
        )
        for column in model.columns()[0]
    ]
    # A mean moves from 0 with the first row that is not 0.
    never = np.concatenate(may_be) & (values[_MEAN] == 0)
    if _READER in values:
        # What was added since has weights of 0 to learn.
        never &= (values[_READER][: len(never)] != 0).any(axis=1)
    return values | {_GAIN: np.where(never, 0, values[_GAIN])}


def _trained(table: TableEmbedding, values: np.ndarray) -> np.ndarray:
    """Return the rows of a table that differ from what they started as."""
    initial = table.initial_rows(0, len(values))
    return np.flatnonzero((values != initial).any(axis=1))


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
    trained = _trained(table, values)
    if len(trained) > 1:
        return False
    row = values[trained] if len(trained) else np.zeros_like(values[:1])
    table.embeddings.assign(tf.repeat(row, table.capacity, axis=0))
    return True
