"""Row-wise `tf.train.Example` files: what other systems read and write.

A record is one row: ids and sequences are int64 lists of rows of their tables,
dense numbers float lists, `click` and `timestamp` int64. A sequence may be
empty or missing. Slower and larger than columnar blocks; use it for exchange.
"""

import pathlib

import numpy as np
import tensorflow as tf

from ecdctr_tf import features
from ecdctr_tf.input import blocks, shuffling

# Rows parsed by one call of the vectorised parser.
_PARSE_ROWS = 4096


def write(
    path: str | pathlib.Path, rows: dict, spec: features.DataSpec
) -> None:
    """Write rows as a TFRecord file of Examples.

    Arguments and errors as `blocks.write`.
    """
    blocks.check(rows, spec)
    columns = {name: np.asarray(rows[name]).tolist() for name in rows}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i in range(len(columns["click"])):
            row = {name: column[i] for name, column in columns.items()}
            writer.write(_serialize(row, spec))


def places(path: str | pathlib.Path) -> list[int]:
    """Return the one place that `read` can read from: the start of the file."""
    del path
    return [0]


def read(days: tf.data.Dataset, shuffled: bool) -> tf.data.Dataset:
    """Return groups of undecoded rows; `parse` decodes one.

    Args:
      days: as for `blocks.read`; the files are read from their start.
      shuffled: whether to put rows in order by the seeds.

    Returns:
      A dataset of `(day, rows)`, int32 `[]` and string `[N]`.
    """

    @tf.autograph.experimental.do_not_convert
    def groups(
        files: tf.Tensor, places: tf.Tensor, day: tf.Tensor, seeds: tf.Tensor
    ) -> tf.data.Dataset:
        del places
        rows = tf.data.TFRecordDataset(files)
        if shuffled:
            rows = shuffling.elements(rows, seeds)
        same_day = tf.data.Dataset.from_tensors(day).repeat()
        return tf.data.Dataset.zip((same_day, rows.batch(_PARSE_ROWS)))

    return days.flat_map(groups)


def parse(
    records: tf.Tensor, spec: features.DataSpec, inputs_only: bool = False
) -> dict:
    """Return the columns of rows, in the form of `blocks.parse`.

    Args:
      records: string `[N]`, serialized Examples.
      spec: says which features to parse; others in a row are passed over.
      inputs_only: as `blocks.parse`.
    """
    number = tf.io.FixedLenFeature([], tf.int64)
    wanted = {"click": number}
    if not inputs_only:
        wanted["timestamp"] = number
        for name in spec.evaluation:
            wanted[name] = tf.io.FixedLenFeature([], tf.float32)
    for feature in spec.features:
        if feature.kind == "id":
            wanted[feature.name] = number
        elif feature.kind == "dense":
            wanted[feature.name] = tf.io.FixedLenFeature([], tf.float32)
        else:
            wanted[feature.name] = tf.io.RaggedFeature(tf.int64)
    columns = tf.io.parse_example(records, wanted)
    for feature in spec.features:
        column = columns[feature.name]
        if feature.kind == "id":
            columns[feature.name] = tf.cast(column, tf.int32)
        elif feature.kind == "sequence":
            columns[feature.name] = blocks.pad(
                tf.cast(column.values, tf.int32),
                tf.cast(column.row_lengths(), tf.int32),
                feature.max_length,
            )
    columns["click"] = tf.cast(columns["click"], tf.float32)
    return columns


def _serialize(row: dict, spec: features.DataSpec) -> bytes:
    values = {"click": _ints([int(row["click"])])}
    values["timestamp"] = _ints([int(row["timestamp"])])
    for name in spec.evaluation:
        values[name] = _float(row[name])
    for feature in spec.features:
        value = row[feature.name]
        if feature.kind == "dense":
            values[feature.name] = _float(value)
        elif feature.kind == "id":
            values[feature.name] = _ints([value])
        else:
            values[feature.name] = _ints(
                [v for v in value if v != features.PADDING]
            )
    return tf.train.Example(
        features=tf.train.Features(feature=values)
    ).SerializeToString(deterministic=True)


def _ints(values: list[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _float(value: float) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
