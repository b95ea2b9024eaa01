"""Row-wise `tf.train.Example` files: what other systems read and write.

A record is one row: ids and sequences are int64 lists of rows of their tables,
dense numbers float lists, `click` and `timestamp` int64. A sequence may be
empty or missing. Slower and larger than columnar blocks; use it for exchange.
The requests of clients have the same form, but raw ids.
"""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from ecdctr_tf import features, kinds
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
    types = dict.fromkeys(("click", "timestamp"), tf.int64)
    types |= dict.fromkeys(spec.evaluation, tf.float32)
    values = {}
    for name, dtype in types.items():
        column = np.asarray(rows[name], dtype.as_numpy_dtype)
        values[name] = column[:, np.newaxis].tolist()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in _serialized(values, types, rows, spec, raw=False):
            writer.write(row)


def requests(
    columns: dict[str, np.ndarray], spec: features.DataSpec
) -> list[bytes]:
    """Return the requests of clients as serialized Examples.

    Args:
      columns: what `kinds.Feature.request` says of each feature.
      spec: the features in them.
    """
    return list(_serialized({}, {}, columns, spec, raw=True))


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
    def groups(files, places, day, seeds):
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
    others = list(wanted)
    for feature in kinds.of(spec):
        wanted |= feature.example_features(raw=False)
    parsed = tf.io.parse_example(records, wanted)
    columns = {name: parsed[name] for name in others}
    columns["click"] = tf.cast(columns["click"], tf.float32)
    for feature in kinds.of(spec):
        columns |= feature.from_examples(parsed)
    return columns


def _serialized(
    values: dict[str, list],
    types: dict[str, tf.DType],
    columns: dict[str, np.ndarray],
    spec: features.DataSpec,
    raw: bool,
) -> Iterator[bytes]:
    """Yield rows as Examples.

    Args:
      values: the values of columns that are no features, a list a row.
      types: their types.
      columns: those of the features.
      spec: the features.
      raw: whether ids are raw, see `kinds.Feature.example_features`.
    """
    for feature in kinds.of(spec):
        values |= feature.example_values(columns, raw)
        for name, parsed in feature.example_features(raw).items():
            types[name] = parsed.dtype
    for row in zip(*values.values(), strict=True):
        lists = {
            name: _list(value, types[name])
            for name, value in zip(values, row, strict=True)
        }
        yield tf.train.Example(
            features=tf.train.Features(feature=lists)
        ).SerializeToString(deterministic=True)


def _list(values: Sequence, dtype: tf.DType) -> tf.train.Feature:
    if dtype == tf.float32:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if dtype == tf.int64:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    text = [value.encode() for value in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=text))
