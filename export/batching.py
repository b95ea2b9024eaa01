"""How TensorFlow Serving merges requests into one, and how to survive it.

With `pad_variable_length_inputs`, a tensor that is shorter than its like is
filled behind its values with the very first of them. So what may be filled has
to begin with padding.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

Columns = Mapping[str, np.ndarray]


def merged(requests: Sequence[Columns]) -> dict[str, np.ndarray]:
    """Return requests to a signature as one.

    Args:
      requests: arrays by name, of the same names and ranks.
    """
    batch = {}
    for name in requests[0]:
        columns = [np.asarray(sent[name]) for sent in requests]
        shapes = np.array([column.shape[1:] for column in columns], int)
        whole = []
        for column in columns:
            shape = [len(column), *shapes.max(axis=0)]
            filled = np.full(shape, column.flat[0], column.dtype)
            filled[tuple(map(slice, column.shape))] = column
            whole.append(filled)
        batch[name] = np.concatenate(whole)
    return batch


def padded(
    request: Columns, lists: Collection[str], places: int
) -> dict[str, np.ndarray]:
    """Return a request whose lists begin with padding.

    Args:
      request: arrays by name.
      lists: those whose last dimension is that of entries.
      places: how many places are put in front, at least 1.
    """
    found = dict(request)
    for name in lists:
        column = request[name]
        value = {"i": -1, "f": 0.0}.get(column.dtype.kind, b"")
        front = np.full([*column.shape[:-1], places], value, column.dtype)
        found[name] = np.concatenate([front, column], axis=-1)
    return found
