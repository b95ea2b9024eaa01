"""The one order of events, whatever order files hold them in."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Bits of users beside those of the seconds of a day.
_USER_BITS = 44


def ordered(table: pa.Table, user: str, item: str) -> pa.Table:
    """Return the events in an order that their order in files has no part in.

    Args:
      table: the events of a day.
      user: the column with the user.
      item: the column with the item.

    Returns:
      The rows by time, user, item and click, then by all other columns.
    """
    key = _time_and_user(_rank(table["timestamp"]), _rank(table[user]))
    order = np.argsort(key)
    key = key[order]
    differs = np.r_[True, key[1:] != key[:-1]][: len(key)]
    head = ["timestamp", user, item, "click"]
    rest = sorted(set(table.column_names) - set(head))
    # Few rows are compared by more than their time and user.
    for names in (head[2:], rest):
        tied = ~differs
        places = np.flatnonzero(tied | np.r_[tied[1:], False][: len(tied)])
        if not len(places):
            break
        part = table.take(order[places])
        keys = [_rank(part[name]) for name in names]
        again = np.lexsort([*keys[::-1], np.cumsum(differs[places])])
        order[places] = order[places][again]
        for key in keys:
            key = key[again]
            differs[places[1:]] |= key[1:] != key[:-1]
    return table.take(order)


def _time_and_user(times: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Return int64 numbers that sort by time of one day, then by user."""
    if not len(times):
        return times
    if int(users.max()) - int(users.min()) >= 1 << _USER_BITS:
        users = np.unique(users, return_inverse=True)[1]
    users = (users - users.min()).astype(np.int64)
    return (times - times.min()) << _USER_BITS | users


def _rank(column: pa.ChunkedArray) -> np.ndarray:
    """Return numbers that sort as the column does."""
    if pa.types.is_integer(column.type) and not column.null_count:
        return column.to_numpy()
    if pa.types.is_nested(column.type):
        # Lists have no order of their own; that of their text will do.
        column = pa.array([str(value) for value in column.to_pylist()])
    return pc.rank(column, tiebreaker="dense").to_numpy()
