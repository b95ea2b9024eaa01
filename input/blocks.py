"""Columnar blocks: one TFRecord record holds the columns of some thousand rows.

A record is a `tf.train.Example` with one bytes feature a column, the column's
values as little-endian numbers, decoded by one `tf.io.decode_raw`. Against
row-wise Examples it is a third of the size and an order of magnitude faster to
read. A feature takes the columns that its kind says, see `ecdctr_tf.kinds`.

Shapes: N rows of a block.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from ecdctr_tf import features, kinds
from ecdctr_tf.deferred import tf
from ecdctr_tf.input import shuffling, tfrecords
from ecdctr_tf.kinds.listed import pad as pad

BLOCK_ROWS = 4096
# Types on disk of the columns that are no features.
_CLICK, _TIME, _EVALUATION = np.uint8, np.int64, np.float32
_WEIGHT, _SOURCE = np.float32, np.uint8


def write(
    path: str | pathlib.Path, rows: dict, spec: features.DataSpec
) -> None:
    """Write rows as a TFRecord file of columnar blocks.

    Args:
      path: the file; an existing one is overwritten.
      rows: the columns of each feature, as batches hold them, and `click`
        `[N]` (0 or 1), `timestamp` int64 `[N]`, seconds, float32 `[N]` for
        each of `spec.evaluation`, and, unless it is 1 everywhere, `weight`
        float32 `[N]`, at least 0. Blocks whose weights are all 1 hold none.
        The same goes for `features.SOURCE`, numbers of sources, and 0.
      spec: says which columns there are.

    Raises:
      ValueError: a column is missing or not as long as the others, or a
        weight is below 0 or not finite.
    """
    check(rows, spec)
    count = len(rows["click"])
    typed = [(feature, feature.block_types()) for feature in kinds.of(spec)]
    places = (slice(i, i + BLOCK_ROWS) for i in range(0, count, BLOCK_ROWS))
    blocks = ({n: c[place] for n, c in rows.items()} for place in places)
    records = (_serialized(b, spec.evaluation, typed) for b in blocks)
    tfrecords.write(path, records)


def check(rows: dict, spec: features.DataSpec) -> None:
    """Raise ValueError unless all columns are there and as `write` says."""
    names = [name for f in kinds.of(spec) for name in f.columns()]
    names += [n for n in ("weight", features.SOURCE) if n in rows]
    for name in ("click", "timestamp", *spec.evaluation, *names):
        if name not in rows:
            raise ValueError(
                f"The column {name!r} is missing; there are {sorted(rows)}."
            )
        if len(rows[name]) != len(rows["click"]):
            raise ValueError(
                f"The column {name!r} should have {len(rows['click'])} rows, "
                f"as `click` has. Received: {len(rows[name])}"
            )
    weight = np.asarray(rows.get("weight", 1))
    bad = weight[~(np.isfinite(weight) & (weight >= 0))]
    if bad.size:
        raise ValueError(
            "`weight` should be finite numbers of at least 0. "
            f"Received: {bad[0]}"
        )


def weighted(rows: dict) -> bool:
    """Return whether rows have weights other than 1."""
    return bool((np.asarray(rows.get("weight", 1)) != 1).any())


def sourced(rows: dict) -> bool:
    """Return whether rows have sources that are known."""
    return bool(np.asarray(rows.get(features.SOURCE, 0)).any())


def places(path: str | pathlib.Path) -> list[int]:
    """Return the places in a block file that `read` can read from.

    Returns:
      For each record its first byte, counted from the start of the file.
    """
    return tfrecords.places(path)


def times(path: str | pathlib.Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of rows of each block, and their times, int64 `[N]`."""
    for record in tfrecords.read(path):
        held = tf.train.Example.FromString(record).features.feature
        # A click is a byte. A file of another format has no bytes there.
        count = sum(map(len, held["click"].bytes_list.value))
        column = b"".join(held["timestamp"].bytes_list.value)
        size = len(column) // np.dtype(_TIME).itemsize
        yield (
            count,
            np.frombuffer(column, np.dtype(_TIME).newbyteorder("<"), size),
        )


def counted(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Return what is counted of the rows of a block file.

    Returns:
      `click` uint8, `weight` float32 and `features.SOURCE` uint8, `[N]`.
    """
    types: dict[str, type[np.generic]] = {
        "click": _CLICK,
        "weight": _WEIGHT,
        features.SOURCE: _SOURCE,
    }
    filled = {"weight": 1, features.SOURCE: 0}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in types}
    for record in tfrecords.read(path):
        held = tf.train.Example.FromString(record).features.feature
        rows = len(held["click"].bytes_list.value[0])
        for name, dtype in types.items():
            values = held[name].bytes_list.value
            columns[name].append(
                np.frombuffer(values[0], np.dtype(dtype).newbyteorder("<"))
                if values
                else np.full(rows, filled[name], dtype)
            )
    return {
        name: np.concatenate([np.zeros(0, types[name]), *parts])
        for name, parts in columns.items()
    }


def read(days: tf.data.Dataset, shuffled: bool) -> tf.data.Dataset:
    """Return the undecoded records of block files; `parse` decodes one.

    Args:
      days: of `(files, places, day, seeds)`: for each record of a day its
        file, string `[R]`, and its place, int64 `[R]`; the day, int32 `[]`;
        and the seeds of the order of its records, int64 `[2]`.
      shuffled: whether to put records in order by the seeds.

    Returns:
      A dataset of `(day, record)`, int32 `[]` and string `[]`.
    """

    @tf.autograph.experimental.do_not_convert
    def records(
        files: tf.Tensor, places: tf.Tensor, day: tf.Tensor, seeds: tf.Tensor
    ) -> tf.data.Dataset:
        if shuffled:
            order = shuffling.order(places, seeds)
            files, places = tf.gather(files, order), tf.gather(places, order)
        days = tf.fill(tf.shape(places), day)
        return tf.data.Dataset.from_tensor_slices((days, files, places))

    record = tf.autograph.experimental.do_not_convert(_record)
    return days.flat_map(records).flat_map(record)


def _record(
    day: tf.Tensor, file: tf.Tensor, place: tf.Tensor
) -> tf.data.Dataset:
    """Return the one record at a place; `tf.data` has no name for that."""
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=[file],
        compression_type="",
        buffer_size=0,
        byte_offsets=[place],
    )
    element = tf.TensorSpec([], tf.string)
    records = tf.data.experimental.from_variant(records, element)
    # As long as the shorter one: a record.
    return tf.data.Dataset.zip((tf.data.Dataset.from_tensors(day), records))


def parse(
    record: tf.Tensor,
    spec: features.DataSpec,
    inputs_only: bool = False,
    with_source: bool = False,
    with_time: bool = False,
) -> dict:
    """Return the columns of one record, as `write` got them, but in batch form.

    Args:
      record: string `[]`, a serialized block.
      spec: says which columns to decode; others in the record are passed over.
      inputs_only: whether to leave out what no model reads: `timestamp` and
        the evaluation columns.
      with_source: whether to decode the number of each row's source.
      with_time: whether to decode `timestamp` all the same.

    Returns:
      The columns of each feature, `click` and `weight` float32 `[N]`,
      `timestamp` int64 `[N]` and the evaluation columns; with sources
      `features.SOURCE` int32 `[N]`, 0 where it is not known.

    Raises:
      InvalidArgumentError: a column is missing, or not as long as `click`.
    """
    types: dict[str, type[np.generic]] = {"click": _CLICK, "weight": _WEIGHT}
    if with_time or not inputs_only:
        types |= {"timestamp": _TIME}
    if not inputs_only:
        types |= dict.fromkeys(spec.evaluation, _EVALUATION)
    others = list(types)
    for feature in kinds.of(spec):
        types |= feature.block_types()
    if with_source:
        types[features.SOURCE] = _SOURCE
    wanted = {n: tf.io.FixedLenFeature([], tf.string) for n in types}
    for name in {"weight", features.SOURCE} & wanted.keys():
        wanted[name] = tf.io.FixedLenFeature([], tf.string, "")
    raw = tf.io.parse_single_example(record, wanted)
    block = {n: tf.io.decode_raw(raw[n], dtype) for n, dtype in types.items()}
    columns = {name: block[name] for name in others}
    columns["click"] = tf.cast(columns["click"], tf.float32)
    columns["weight"] = _filled(columns["weight"], columns["click"], 1)
    if with_source:
        numbers = tf.cast(block[features.SOURCE], tf.int32)
        columns[features.SOURCE] = _filled(numbers, columns["click"], 0)
    for feature in kinds.of(spec):
        columns |= feature.from_block(block)
    return _equally_long(columns)


def _filled(column: tf.Tensor, clicks: tf.Tensor, value: int) -> tf.Tensor:
    """Return a column, or one of a value where a block holds none."""
    rows = tf.where(tf.size(column) > 0, 0, tf.size(clicks))
    others = tf.fill([rows], tf.cast(value, column.dtype))
    return tf.concat([column, others], 0)


def _equally_long(columns: dict) -> dict:
    """Return columns, compared with the number of clicks when they are read."""
    rows = tf.shape(columns["click"])[0]
    checks = [
        tf.debugging.assert_equal(
            tf.shape(column)[0],
            rows,
            f"The column {name!r} of a block should have a value for each "
            "click: the file is damaged. Convert its day again.",
        )
        for name, column in columns.items()
    ]
    # Run eagerly, the checks are over and there is nothing to wait for.
    with tf.control_dependencies(list(filter(None, checks))):
        return {name: tf.identity(c) for name, c in columns.items()}


def _serialized(
    block: dict,
    evaluation: Iterable[str],
    typed: Iterable[tuple[kinds.Feature, dict[str, type[np.generic]]]],
) -> bytes:
    columns = {
        "click": _bytes(block["click"], _CLICK),
        "timestamp": _bytes(block["timestamp"], _TIME),
    }
    if weighted(block):
        columns["weight"] = _bytes(block["weight"], _WEIGHT)
    if sourced(block):
        columns[features.SOURCE] = _bytes(block[features.SOURCE], _SOURCE)
    for name in evaluation:
        columns[name] = _bytes(block[name], _EVALUATION)
    for feature, types in typed:
        for name, column in feature.to_block(block).items():
            columns[name] = _bytes(column, types[name])
    return _example(columns)


def _example(columns: dict[str, bytes]) -> bytes:
    """Return the `tf.train.Example` with a bytes feature for each column.

    Features are in the order in which TensorFlow serializes them: by name, but
    a name comes after those that it is the beginning of.
    """
    entries = []
    # No name holds the byte 255, which comes after all others.
    for name in sorted(columns, key=lambda name: name.encode() + b"\xff"):
        feature = _field(1, _field(1, columns[name]))  # `bytes_list.value`
        entries.append(_field(1, _field(1, name.encode()) + _field(2, feature)))
    return _field(1, b"".join(entries))


def _field(number: int, value: bytes) -> bytes:
    """Return a field of a protocol buffer: tag, number of bytes, bytes."""
    head, length = bytearray([number << 3 | 2]), len(value)
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head) + value


def _bytes(column: np.ndarray, dtype: npt.DTypeLike) -> bytes:
    little_endian = np.dtype(dtype).newbyteorder("<")
    return np.ascontiguousarray(column, little_endian).tobytes()
