"""Streams: batches of a window of days of one domain, in a seeded order.

Days follow each other in time. Within a day the order of files and blocks is
shuffled, then rows within chunks of `SHUFFLE_ROWS`. The order of a day depends
on the seed, the day and the pass only, so a stream can be taken up again after
any number of batches.
"""

import functools

import numpy as np
import tensorflow as tf

from ecdctr_tf import windows
from ecdctr_tf.input import data_directory

SHUFFLE_ROWS = 65_536
# Undecoded records of a day that are shuffled among each other.
_SHUFFLE_RECORDS = 256

# The functions here hold no Python loops over tensors: translating them would
# only cost time, and small days are read often.
_as_written = tf.autograph.experimental.do_not_convert


def batches(
    data: data_directory.DataDirectory,
    domain: str,
    window: windows.Window,
    batch_size: int,
    seed: int | None = None,
    passes: int = 1,
    skip: int = 0,
    names=None,
) -> tf.data.Dataset:
    """Return `(features, clicks)` batches of a window, ready for `fit`.

    Args:
      data: the data directory.
      domain: "natural" (source) or "ads" (target).
      window: the days; every one has to be there.
      batch_size: B, rows a batch; the last one may be smaller.
      seed: of the order of rows; None keeps the order of the files.
      passes: times that the window is gone through, each in its own order.
      skip: batches at the beginning to pass over, to take up a stream again.
      names: names of features to read; None reads all.

    Returns:
      A dataset of known cardinality. Features: name -> int32 `[B]`, int32
      `[B, T]` or float32 `[B]`, and `day` int32 `[B]`, days since 1970-01-01;
      clicks: float32 `[B]`, 0 or 1.

    Raises:
      FileNotFoundError, ValueError: a day is missing, damaged or of another
        spec.
    """
    columns = rows(data, domain, window, seed, passes, names)
    columns = columns.rebatch(batch_size)
    count = -(-data.rows(domain, window) * passes // batch_size)
    split = _as_written(functools.partial(_split, spec=data.spec))
    dataset = columns.map(split).skip(skip)
    dataset = dataset.apply(
        tf.data.experimental.assert_cardinality(max(count - skip, 0))
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


def rows(
    data: data_directory.DataDirectory,
    domain: str,
    window: windows.Window,
    seed: int | None = None,
    passes: int = 1,
    names=None,
) -> tf.data.Dataset:
    """Return the columns of a window in groups of rows, each of one day.

    Args and errors as `batches`; a group also has `click`, `timestamp` and the
    evaluation columns.
    """
    spec = data.spec if names is None else data.spec.select(names)
    days = data.covered(domain, window)
    formats = {data.manifest(domain, day).config["format"] for day in days}
    if len(formats) > 1:
        raise ValueError(
            f"The days {window} of {domain} are of several formats: "
            f"{sorted(formats)}. Convert them to one."
        )
    file_format = data_directory.FORMATS[formats.pop()]
    files, numbers, seeds = [], [], []
    for turn in range(passes):
        for day in days:
            number = windows.day_number(day)
            files.append(_files(data, domain, day, seed, turn))
            numbers.append(number)
            seeds.append([seed or 0, number * 1000 + turn])

    @_as_written
    def read_day(files, day, seeds):
        @_as_written
        def parse(record):
            columns = file_format.parse(record, spec)
            columns["day"] = tf.fill(tf.shape(columns["click"]), day)
            return columns

        if seed is None:
            return file_format.read(files, spec).map(parse, tf.data.AUTOTUNE)
        shuffle = _as_written(functools.partial(_shuffle, seeds=seeds))
        groups = file_format.read(files, spec, shuffle)
        groups = groups.map(parse, tf.data.AUTOTUNE).rebatch(SHUFFLE_ROWS)
        permute = _as_written(functools.partial(_permute, seeds=seeds))
        return groups.enumerate().map(permute, tf.data.AUTOTUNE)

    dataset = tf.data.Dataset.from_tensor_slices(
        (
            tf.ragged.constant(files, tf.string),
            np.array(numbers, np.int32),
            np.array(seeds, np.int64),
        )
    )
    return dataset.flat_map(read_day)


def _shuffle(records: tf.data.Dataset, seeds: tf.Tensor) -> tf.data.Dataset:
    """Shuffle the records of a day, in groups, by two numbers.

    Not `Dataset.shuffle`: its order also depends on TensorFlow's own seed, and
    where that is 0 it takes no seed that is a tensor.
    """
    groups = records.batch(_SHUFFLE_RECORDS)

    @_as_written
    def permute(group):
        return tf.gather(group, _order(tf.shape(group), seeds))

    return groups.map(permute).unbatch()


def _order(shape: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Return a permutation of `shape[0]` places given by two numbers."""
    draws = tf.random.stateless_uniform(
        shape, seeds, 0, tf.int64.max, dtype=tf.int64
    )
    return tf.argsort(draws)


def _files(data, domain, day, seed, turn) -> list[str]:
    names = sorted(data.manifest(domain, day).files)
    if seed is not None:
        order = [seed, windows.day_number(day), turn]
        np.random.default_rng(order).shuffle(names)
    return [str(data.path / domain / day / name) for name in names]


def _permute(index: tf.Tensor, columns: dict, seeds: tf.Tensor) -> dict:
    """Return the rows of chunk `index` of a day in another order."""
    # Beside the seeds of other days, which are numbers of some ten millions.
    seeds += [0, (1 + index) * 1_000_000_000]
    order = _order(tf.shape(columns["click"]), seeds)
    return {name: tf.gather(column, order) for name, column in columns.items()}


def _split(columns: dict, spec) -> tuple[dict, tf.Tensor]:
    hidden = {"click", "timestamp", *spec.evaluation}
    inputs = {name: c for name, c in columns.items() if name not in hidden}
    return inputs, columns["click"]


def read_columns(
    data: data_directory.DataDirectory,
    domain: str,
    window: windows.Window,
    names=None,
) -> dict[str, np.ndarray]:
    """Return whole columns of a window in the order of the files, in memory.

    Args and errors as `rows`. For days of ads and for tests; a long natural
    window may not fit.
    """
    dataset = rows(data, domain, window, names=names)
    groups = list(dataset.as_numpy_iterator())
    columns = {}
    for name, column in dataset.element_spec.items():
        none = np.zeros([0, *column.shape[1:]], column.dtype.as_numpy_dtype)
        columns[name] = np.concatenate([none, *(g[name] for g in groups)])
    return columns
