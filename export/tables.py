"""Tables as they are served, in float32, float16 or int8.

A row that is read is float32 `[trained | historical | known]`: the vector that
was trained and, where there is history, the historical one and whether there is
one. What is stored may be narrower:

- float16 has 11 significant bits; `known`, 0 or 1, is exact.
- int8 has a float32 scale for each vector of a row, 1/127 of its largest
  number. The scales lie apart from the vectors, and `known` among them.

Vectors of zeros, as of padding and of ids without history, stay zeros.

Shapes: V rows of a table, N rows that are written, P parts of a row, W width of
a row.
"""

import typing
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from ecdctr_tf.export.weights import NEWEST_DAY
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.transfer import checkpoint

# Rows that are put together at a time.
_CHUNK = 1 << 16
# The largest code of a number; its negative is one, too.
_LARGEST = 127


class Table(typing.Protocol):
    """Rows of a table, the last one of zeros, which padding reads."""

    # What holds the rows.
    variables: list[tf.Variable]
    # The number of the last row, V.
    padding: int

    def put(self, first: int, parts: Sequence[np.ndarray]) -> None:
        """Store the parts of some rows, float32 `[N, ...]` each.

        Args:
          first: the number of the first of them.
          parts: the vectors, then, with history, `known` `[N, 1]`.
        """

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """Return rows by their numbers, int32 `[...]`, as `[..., W]`."""


def made(
    model: CTRModel, name: str, rows: int, dtype: str, history: bool = True
) -> Table:
    """Return a table of a model as it is served.

    It is filled a few rows at a time: both of them and little else are in
    memory.

    Args:
      model: the trained model.
      name: of the table.
      rows: V; ids that the model does not know have the vectors that it gives
        to them.
      dtype: one of `config.TABLES`.
      history: whether it holds historical vectors, if there are any.

    Raises:
      NotFiniteError: a vector is not finite, or too large for a float16.
    """
    trained = model.embedding.tables[name]
    recalled = [
        layer
        for feature, layer in model.historical.items()
        if history and model.spec.feature(feature).table == name
    ]

    def parts(first: int, last: int) -> list[np.ndarray]:
        some = tf.range(first, last)
        read = [trained({name: some})[name]]
        for layer in recalled[:1]:
            days = tf.fill(some.shape, NEWEST_DAY)
            read += layer(some, days, model.history_tables[name])
        return [part.numpy() for part in read]

    widths = [part.shape[1] for part in parts(0, 1)]
    table = _KINDS[dtype](rows, widths)
    for first in range(0, rows, _CHUNK):
        table.put(first, parts(first, min(first + _CHUNK, rows)))
    return table


class _Plain:
    """Rows as they are read, in float32."""

    _stored = "float32"

    def __init__(self, rows: int, widths: list[int]):
        self.padding = rows
        self._rows = _zeros(rows + 1, sum(widths), self._stored)
        self.variables = [self._rows]

    def put(self, first: int, parts: Sequence[np.ndarray]) -> None:
        """Store rows; as `Table.put`."""
        _store(self._rows, first, np.concatenate(parts, axis=1))

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """Return rows; as of `Table`."""
        return tf.gather(self._rows, rows)


class _Halves(_Plain):
    """Rows in float16.

    Their bits are stored as int16: TensorFlow cannot read a float16 that is
    spread over several files.
    """

    _stored = "int16"

    def put(self, first: int, parts: Sequence[np.ndarray]) -> None:
        """Store rows; as `Table.put`."""
        with np.errstate(over="ignore"):
            rows = np.concatenate(parts, axis=1).astype(np.float16)
        _check_finite(rows)
        _store(self._rows, first, rows.view(np.int16))

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """Return rows; as of `Table`."""
        halves = tf.bitcast(super().__call__(rows), tf.float16)
        return tf.cast(halves, tf.float32)


class _Scaled:
    """Rows in int8, and the scales of their parts beside them.

    A part of one number, as `known` is, is its own scale.
    """

    def __init__(self, rows: int, widths: list[int]):
        self.padding = rows
        self._codes = _zeros(rows + 1, sum(widths), "int8")
        self._scales = _zeros(rows + 1, len(widths), "float32")
        self.variables = [self._codes, self._scales]
        # The part of each column.
        self._part_of = np.repeat(np.arange(len(widths)), widths)

    def put(self, first: int, parts: Sequence[np.ndarray]) -> None:
        """Store rows; as `Table.put`."""
        scales, codes = zip(*map(_rounded, parts), strict=True)
        _store(self._scales, first, np.concatenate(scales, axis=1))
        _store(self._codes, first, np.concatenate(codes, axis=1))

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """Return rows; as of `Table`."""
        codes = tf.cast(tf.gather(self._codes, rows), tf.float32)
        scales = tf.gather(self._scales, rows)  # [..., P]
        if scales.shape[-1] > 1:
            scales = tf.gather(scales, self._part_of, axis=-1)
        return codes * scales


def _rounded(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scales, float32 `[N, 1]`, and codes, int8 `[N, ...]`."""
    scales = np.abs(part).max(axis=1, keepdims=True)
    if part.shape[1] > 1:
        scales /= _LARGEST
    _check_finite(scales)
    codes = np.zeros_like(part)
    np.divide(part, scales, where=scales > 0, out=codes)
    return scales, np.rint(codes).astype(np.int8)


_KINDS: dict[str, Callable[[int, list[int]], Table]] = {
    "float32": _Plain,
    "float16": _Halves,
    "int8": _Scaled,
}


def _zeros(rows: int, width: int, dtype: str) -> tf.Variable:
    return tf.Variable(tf.zeros([rows, width], dtype), trainable=False)


def _store(variable: tf.Variable, first: int, rows: np.ndarray) -> None:
    """Set rows of a variable in place.

    Raises:
      NotFiniteError: a number is not finite.
    """
    _check_finite(rows)
    # A slice of the variable would share its memory, which were copied then.
    tf.raw_ops.ResourceStridedSliceAssign(
        ref=variable.handle,
        begin=[first],
        end=[first + len(rows)],
        strides=[1],
        value=rows,
    )


def _check_finite(rows: np.ndarray) -> None:
    checkpoint.check_finite({"Tables of the served model": rows})
