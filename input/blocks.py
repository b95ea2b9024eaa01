"""Columnar blocks: one TFRecord record holds the columns of some thousand rows.

A record is a `tf.train.Example` with one bytes feature a column, the column's
values as little-endian numbers, decoded by one `tf.io.decode_raw`. Against
row-wise Examples it is a third of the size and an order of magnitude faster to
read. A sequence takes two columns: the entries of all rows one after the
other, and `<name>/length`, their number in each row.

Shapes: N rows of a block, T entries of a sequence.
"""

import pathlib

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ecdctr_tf import features
from ecdctr_tf.input import shuffling

BLOCK_ROWS = 4096
_LENGTH = "/length"
# What a TFRecord adds to a record: its length and two check sums.
_FRAME_BYTES = 8 + 4 + 4
# dtype on disk of the columns that are not ids
_CLICK, _TIME, _ID, _DENSE = np.uint8, np.int64, np.int32, np.float32


def write(
    path: str | pathlib.Path, rows: dict, spec: features.DataSpec
) -> None:
    """Write rows as a TFRecord file of columnar blocks.

    Args:
      path: the file; an existing one is overwritten.
      rows: for each feature its column (int32 `[N]` rows of the table, int32
        `[N, T]` padded with `PADDING`, or float32 `[N]`), and `click` `[N]`
        (0 or 1), `timestamp` int64 `[N]`, seconds, and float32 `[N]` for each
        of `spec.evaluation`.
      spec: says which columns there are.

    Raises:
      ValueError: a column is missing or not as long as the others.
    """
    check(rows, spec)
    count = len(rows["click"])
    with tf.io.TFRecordWriter(str(path)) as writer:
        for start in range(0, count, BLOCK_ROWS):
            block = {k: v[start : start + BLOCK_ROWS] for k, v in rows.items()}
            writer.write(_serialize(block, spec))


def check(rows: dict, spec: features.DataSpec) -> None:
    """Raise ValueError unless there are all columns, equally long."""
    names = [feature.name for feature in spec.features]
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


def places(path: str | pathlib.Path) -> list[int]:
    """Return the places in a block file that `read` can read from.

    Returns:
      For each record its first byte, counted from the start of the file.
    """
    found, place = [], 0
    with open(path, "rb", buffering=0) as file:
        while size := file.read(8):
            found.append(place)
            place += int.from_bytes(size, "little") + _FRAME_BYTES
            file.seek(place)
    return found


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

    return days.flat_map(records).flat_map(_record)


@tf.autograph.experimental.do_not_convert
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
    record: tf.Tensor, spec: features.DataSpec, inputs_only: bool = False
) -> dict:
    """Return the columns of one record, as `write` got them, but in batch form.

    Args:
      record: string `[]`, a serialized block.
      spec: says which columns to decode; others in the record are passed over.
      inputs_only: whether to leave out what no model reads: `timestamp` and
        the evaluation columns.

    Returns:
      Feature name -> int32 `[N]`, int32 `[N, T]` or float32 `[N]`, and `click`
      float32 `[N]`, `timestamp` int64 `[N]` and the evaluation columns.
    """
    hidden = () if inputs_only else ("timestamp", *spec.evaluation)
    names = ["click", *hidden]
    for feature in spec.features:
        names.append(feature.name)
        if feature.kind == "sequence":
            names.append(feature.name + _LENGTH)
    raw = tf.io.parse_single_example(
        record, {n: tf.io.FixedLenFeature([], tf.string) for n in names}
    )
    columns = {
        "click": tf.cast(tf.io.decode_raw(raw["click"], tf.uint8), tf.float32)
    }
    for name in hidden:
        dtype = tf.int64 if name == "timestamp" else tf.float32
        columns[name] = tf.io.decode_raw(raw[name], dtype)
    for feature in spec.features:
        dtype = tf.float32 if feature.kind == "dense" else tf.int32
        column = tf.io.decode_raw(raw[feature.name], dtype)
        if feature.kind == "sequence":
            lengths = tf.io.decode_raw(raw[feature.name + _LENGTH], tf.uint16)
            column = pad(column, tf.cast(lengths, tf.int32), feature.max_length)
        columns[feature.name] = column
    return columns


def pad(values: tf.Tensor, lengths: tf.Tensor, max_length: int) -> tf.Tensor:
    """Return flat sequences as a padded matrix.

    Args:
      values: int32, the entries of all rows, newest last in each.
      lengths: int32 `[N]`, entries of each row.
      max_length: T; longer rows keep their newest entries.

    Returns:
      int32 `[N, T]` with `PADDING` behind the entries of a row.
    """
    ragged = tf.RaggedTensor.from_row_lengths(values, lengths, validate=False)
    # Cutting costs more than all the rest, and there is seldom what to cut.
    ragged = tf.cond(
        tf.reduce_max(lengths) > max_length,
        lambda: ragged[:, -max_length:],
        lambda: ragged,
    )
    return ragged.to_tensor(features.PADDING, shape=[None, max_length])


def _serialize(block: dict, spec: features.DataSpec) -> bytes:
    columns = {
        "click": _bytes(block["click"], _CLICK),
        "timestamp": _bytes(block["timestamp"], _TIME),
    }
    for name in spec.evaluation:
        columns[name] = _bytes(block[name], _DENSE)
    for feature in spec.features:
        column = block[feature.name]
        if feature.kind == "dense":
            columns[feature.name] = _bytes(column, _DENSE)
        elif feature.kind == "id":
            columns[feature.name] = _bytes(column, _ID)
        else:
            used = np.asarray(column) != features.PADDING
            columns[feature.name] = _bytes(column[used], _ID)
            columns[feature.name + _LENGTH] = _bytes(used.sum(1), np.uint16)
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v]))
                for name, v in columns.items()
            }
        )
    ).SerializeToString(deterministic=True)


def _bytes(column: np.ndarray, dtype: npt.DTypeLike) -> bytes:
    little_endian = np.dtype(dtype).newbyteorder("<")
    return np.ascontiguousarray(column, little_endian).tobytes()
