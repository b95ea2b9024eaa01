"""Row-wise `tf.train.Example` files: what other systems read and write.

A record is one row: ids and sequences are int64 lists of rows of their tables,
dense numbers float lists, `click` and `timestamp` int64, `weight` a float, 1 if
it is missing, `@source` int64, 0 if it is missing. A sequence may be empty or
missing, and so may a dense number be. Slower and larger than columnar blocks;
use it for exchange. The requests of clients have the same form, but raw ids.
"""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ecdctr_tf import features, kinds
from ecdctr_tf.deferred import tf
from ecdctr_tf.input import blocks, shuffling, tfrecords

# Rows parsed by one call of the vectorised parser.
_PARSE_ROWS = 4096
# Of so many rows the time of one is looked at: parsing a row takes long.
_SAMPLED = 256


def write(
    path: str | pathlib.Path, rows: dict, spec: features.DataSpec
) -> None:
    """Write rows as a TFRecord file of Examples.

    Arguments and errors as `blocks.write`.
    """
    blocks.check(rows, spec)
    values, types = _values(rows, spec, raw=False)
    others = dict.fromkeys(("click", "timestamp"), tf.int64)
    others |= dict.fromkeys(spec.evaluation, tf.float32)
    if blocks.weighted(rows):
        others["weight"] = tf.float32
    if blocks.sourced(rows):
        others[features.SOURCE] = tf.int64
    for name, dtype in others.items():
        column = np.asarray(rows[name], dtype.as_numpy_dtype)
        values[name] = column[:, np.newaxis].tolist()
    tfrecords.write(path, _serialized(values, types | others))


def requests(
    columns: dict[str, np.ndarray],
    spec: features.DataSpec,
    names: Collection[str] | None = None,
) -> list[bytes]:
    """Return the requests of clients as serialized Examples.

    Args:
      columns: what `kinds.Feature.request` says of each feature.
      spec: the features in them.
      names: columns that are sent; None sends all.
    """
    values, types = _values(columns, spec, raw=True)
    if names is not None:
        values = {name: values[name] for name in values if name in names}
    return list(_serialized(values, types))


def places(path: str | pathlib.Path) -> list[int]:
    """Return the one place that `read` can read from: the start of the file."""
    del path
    return [0]


def times(path: str | pathlib.Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield of each row that it is one, and of a sample also its time.

    Yields:
      1, and int64 `[1]`, or `[0]` of rows that are not in the sample.
    """
    none = np.zeros(0, np.int64)
    for number, record in enumerate(tfrecords.read(path)):
        if number % _SAMPLED:
            yield 1, none
            continue
        held = tf.train.Example.FromString(record).features.feature
        yield 1, np.array(held["timestamp"].int64_list.value, np.int64)


def counted(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return what is counted of the rows of a file, as `blocks.counted`."""
    rows = []
    for record in tfrecords.read(path):
        held = tf.train.Example.FromString(record).features.feature
        (click,) = held["click"].int64_list.value
        weight = held["weight"].float_list.value or [1.0]
        source = held[features.SOURCE].int64_list.value or [0]
        rows.append((click, weight[0], source[0]))
    click, weight, source = np.array(rows, float).reshape(-1, 3).T
    return {
        "click": click.astype(np.uint8),
        "weight": weight.astype(np.float32),
        features.SOURCE: source.astype(np.uint8),
    }


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
    records: tf.Tensor,
    spec: features.DataSpec,
    inputs_only: bool = False,
    with_source: bool = False,
    with_time: bool = False,
) -> dict:
    """Return the columns of rows, in the form of `blocks.parse`.

    Args:
      records: string `[N]`, serialized Examples.
      spec: says which features to parse; others in a row are passed over.
      inputs_only: as `blocks.parse`.
      with_source: as `blocks.parse`.
      with_time: as `blocks.parse`.
    """
    number = tf.io.FixedLenFeature([], tf.int64)
    weight = tf.io.FixedLenFeature([], tf.float32, 1.0)
    wanted = {"click": number, "weight": weight}
    if with_time or not inputs_only:
        wanted["timestamp"] = number
    if not inputs_only:
        for name in spec.evaluation:
            wanted[name] = tf.io.FixedLenFeature([], tf.float32)
    if with_source:
        wanted[features.SOURCE] = tf.io.FixedLenFeature([], tf.int64, 0)
    others = list(wanted)
    for feature in kinds.of(spec):
        wanted |= feature.example_features(raw=False)
    parsed = tf.io.parse_example(records, wanted)
    columns = {name: parsed[name] for name in others}
    columns["click"] = tf.cast(columns["click"], tf.float32)
    if with_source:
        columns[features.SOURCE] = tf.cast(columns[features.SOURCE], tf.int32)
    for feature in kinds.of(spec):
        columns |= feature.from_examples(parsed)
    return columns


def _values(
    columns: dict[str, np.ndarray], spec: features.DataSpec, raw: bool
) -> tuple[dict[str, Sequence], dict[str, tf.DType]]:
    """Return the values of features, a list a row, and their types, by name.

    Args:
      columns: those of the features.
      spec: the features.
      raw: whether ids are raw, see `kinds.Feature.example_features`.
    """
    values: dict[str, Sequence] = {}
    types: dict[str, tf.DType] = {}
    for feature in kinds.of(spec):
        values |= feature.example_values(columns, raw)
        for name, parsed in feature.example_features(raw).items():
            types[name] = parsed.dtype
    return values, types


def _serialized(
    values: dict[str, Sequence], types: dict[str, tf.DType]
) -> Iterator[bytes]:
    """Yield rows as Examples."""
    makers_of = {tf.float32: _floats, tf.int64: _ints, tf.string: _texts}
    makers = [makers_of[types[name]] for name in values]
    for row in zip(*values.values(), strict=True):
        lists = {
            name: make(value)
            for name, make, value in zip(values, makers, row, strict=True)
            if value is not None
        }
        yield tf.train.Example(
            features=tf.train.Features(feature=lists)
        ).SerializeToString(deterministic=True)


def _floats(values: Sequence) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _ints(values: Sequence) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _texts(values: Sequence) -> tf.train.Feature:
    values = [value.encode() for value in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
