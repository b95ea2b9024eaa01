"""The one order of events, whatever order files hold them in."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def ordered(table: pa.Table, user: str, item: str) -> pa.Table:
    """Return the events in an order that their order in files has no part in.

    Args:
      table: the events of a day.
      user: the column with the user.
      item: the column with the item.

    Returns:
      The rows by time, user, item and click, then by all other columns.
    """
    head = ["timestamp", user, item, "click"]
    keys = [_rank(table[name]) for name in head]
    order = np.lexsort(keys[::-1])
    tied = np.ones(max(len(order) - 1, 0), bool)
    for key in keys:
        tied &= key[order[1:]] == key[order[:-1]]
    if tied.any():
        places = np.flatnonzero(np.r_[tied, False] | np.r_[False, tied])
        part = table.take(order[places])
        rest = sorted(set(table.column_names) - set(head))
        keys = [key[order[places]] for key in keys]
        keys += [_rank(part[name]) for name in rest]
        order[places] = order[places][np.lexsort(keys[::-1])]
    return table.take(order)


def _rank(column: pa.ChunkedArray) -> np.ndarray:
    """Return numbers that sort as the column does."""
    if pa.types.is_integer(column.type) and not column.null_count:
        return column.to_numpy()
    if pa.types.is_nested(column.type):
        # Lists have no order of their own; that of their text will do.
        column = pa.array([str(value) for value in column.to_pylist()])
    return pc.rank(column, tiebreaker="dense").to_numpy()
