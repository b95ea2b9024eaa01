"""Requests in the graph: what they lack is filled, other shapes are refused."""

import functools
from collections.abc import Mapping

import tensorflow as tf

# Name of a tensor -> the tensors that its first dimensions are those of: its
# first one is the first of the first tensor, its second the second of the next.
Owners = Mapping[str, tuple[str, ...]]


def whole(
    raw: Mapping[str, tf.Tensor],
    owners: Owners,
    left_out: Mapping[str, float | int | str],
) -> dict[str, tf.Tensor]:
    """Return a request with all of its tensors.

    Args:
      raw: tensors by name; one that the request lacks is empty.
      owners: what the first dimensions of each should be.
      left_out: tensor that may be empty -> what then stands in all places.

    Raises:
      InvalidArgumentError: in the graph, where dimensions differ.
    """
    shapes, first = _shapes(raw)
    have, want = (
        tf.gather(shapes, places)
        for places in zip(
            *(
                (first[name] + axis, first[owner] + axis)
                for name in owners
                for axis, owner in enumerate(owners[name])
            ),
            strict=True,
        )
    )
    optional = [name for name in owners if name in left_out]

    def filled() -> list[tf.Tensor]:
        found = {}
        for name in owners:
            places = [first[of] + i for i, of in enumerate(owners[name])]
            found[name] = _filled(
                raw[name], tf.gather(shapes, places), left_out.get(name), name
            )
        return [found[name] for name in optional]

    # Nearly all requests are whole, and then nothing is copied.
    columns = tf.cond(
        tf.reduce_all(tf.equal(have, want)),
        lambda: [raw[name] for name in optional],
        filled,
    )
    return {**raw, **dict(zip(optional, columns, strict=True))}


def _filled(
    column: tf.Tensor,
    wanted: tf.Tensor,
    value: float | int | str | None,
    name: str,
) -> tf.Tensor:
    """Return a tensor whose first dimensions are those wanted, or raise.

    Args:
      column: the tensor.
      wanted: int32, its first dimensions.
      value: fills a tensor that is empty; None: it may not be.
      name: of the tensor.
    """
    shape = tf.shape(column)
    wanted = tf.concat([wanted, shape[wanted.shape[0] :]], axis=0)
    empty = tf.logical_and(value is not None, tf.equal(tf.size(column), 0))
    fits = tf.reduce_all(tf.equal(shape, wanted))
    message = f"`{name}` has another number of rows or entries than the rest."
    checked = tf.debugging.Assert(
        tf.logical_or(fits, empty),
        [message, "Received the shape", shape, "instead of", wanted],
    )
    with tf.control_dependencies([checked]):
        column = tf.identity(column)
    if value is None:
        return column
    return tf.cond(
        empty,
        functools.partial(tf.fill, wanted, tf.constant(value, column.dtype)),
        lambda: column,
    )


def _shapes(raw: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, int]]:
    """Return all dimensions, and the place of the first of each tensor."""
    by_type: dict[tf.DType, list[str]] = {}
    for name, tensor in raw.items():
        by_type.setdefault(tensor.dtype, []).append(name)
    shapes = [
        shape
        for names in by_type.values()
        for shape in tf.shape_n([raw[name] for name in names])
    ]
    place, first = 0, {}
    for name in [name for names in by_type.values() for name in names]:
        first[name] = place
        place += raw[name].shape.rank
    return tf.concat(shapes, axis=0), first
