"""Streams: batches of a window of days, in a seeded order.

Days follow each other in time. Within a day the order of files and blocks is
shuffled, then rows within chunks of `SHUFFLE_ROWS`. The order of a day depends
on the seed, the day and the pass only, so a stream can be taken up again after
any number of batches. `batches` is of one domain, `mixed` of both together.
"""

import functools
import itertools

import numpy as np
import tensorflow as tf

from ecdctr_tf import features, windows
from ecdctr_tf.input import data_directory, shuffling

SHUFFLE_ROWS = 65_536
# Batches made ahead of the one being trained on.
_PREFETCHED = 8

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
    dataset = _groups(data, domain, window, seed, passes, names, True)
    rows = data.rows(domain, window) * passes
    return _finished(dataset, rows, batch_size, skip)


def mixed(
    data: data_directory.DataDirectory,
    parts: dict[str, windows.Window],
    batch_size: int,
    seed: int,
    passes: int = 1,
    skip: int = 0,
    names=None,
) -> tf.data.Dataset:
    """Return `(features, clicks)` batches of several domains in one order.

    Each domain's rows come as from `batches`; they are cut into as many even
    chunks as hold `SHUFFLE_ROWS` rows together, and those of all domains are
    shuffled chunk by chunk. So a domain with few rows is spread evenly over
    those of the other, even if its window is another one.

    Args:
      data: the data directory.
      parts: domain -> its days; every one has to be there.
      batch_size: as for `batches`.
      seed: of the order of rows.
      passes: times that the windows are gone through.
      skip: as for `batches`.
      names: as for `batches`.

    Returns:
      As `batches`; the features have `domain` too, int32 `[B]`, places in
      `features.DOMAINS`.

    Raises:
      FileNotFoundError, ValueError: as `batches`, or there are no rows, or a
        feature is called `domain`.
    """
    if "domain" in [feature.name for feature in data.spec.features]:
        raise ValueError(
            f"{data.path} has a feature 'domain', which is what streams of "
            "several domains call the domain. Convert it under another name."
        )
    sizes = {domain: data.rows(domain, days) for domain, days in parts.items()}
    sizes = {domain: size for domain, size in sizes.items() if size}
    total = sum(sizes.values())
    if not total:
        named = ", ".join(f"{domain} {days}" for domain, days in parts.items())
        raise ValueError(
            f"{data.path} has no rows in {named}: there is nothing to mix."
        )
    chunks = -(-total // SHUFFLE_ROWS)
    streamed = []
    for domain, size in sizes.items():
        groups = _groups(data, domain, parts[domain], seed, passes, names, True)
        ends = [i * size // chunks for i in range(chunks + 1)]
        streamed.append(_regrouped(groups, np.diff(ends)))
    places = [features.DOMAINS.index(domain) for domain in sizes]
    # Beside the seeds of days, none of which is numbered 0.
    seeds = [[seed, i * 1_000_000_000] for i in range(1, chunks * passes + 1)]
    orders = tf.data.Dataset.from_tensor_slices(np.array(seeds, np.int64))
    dataset = tf.data.Dataset.zip((tuple(streamed), orders))
    dataset = dataset.map(_mixer(tuple(places)), tf.data.AUTOTUNE)
    return _finished(dataset, total * passes, batch_size, skip)


def _mixer(places: tuple[int, ...]):
    """Return the function from a chunk of each domain to rows in one order.

    Args:
      places: of the domains in `features.DOMAINS`.
    """

    @_as_written
    def mix(chunks, seeds):
        every = []
        for place, (inputs, clicks) in zip(places, chunks, strict=True):
            domain = tf.fill(tf.shape(clicks), place)
            every.append({**inputs, "domain": domain, "click": clicks})
        columns = {
            name: tf.concat([columns[name] for columns in every], axis=0)
            for name in every[0]
        }
        columns = shuffling.rows(columns, seeds)
        clicks = columns.pop("click")
        return columns, clicks

    return mix


def _finished(
    dataset: tf.data.Dataset, rows: int, batch_size: int, skip: int
) -> tf.data.Dataset:
    """Return groups of rows as batches, of known cardinality."""
    count = -(-rows // batch_size)
    dataset = _regrouped(dataset, batch_size).skip(skip)
    dataset = dataset.apply(
        tf.data.experimental.assert_cardinality(max(count - skip, 0))
    )
    return dataset.prefetch(_PREFETCHED)


def _regrouped(dataset: tf.data.Dataset, sizes) -> tf.data.Dataset:
    """Return groups of rows as groups of other sizes.

    As `Dataset.rebatch`, less its map that makes ragged columns dense: setting
    up that map takes as long as reading a small day.

    Args:
      dataset: of groups of rows.
      sizes: whole number, or `[G]` of them to take in turn.
    """
    columns = tf.nest.flatten(dataset.element_spec)
    variant = tf.raw_ops.RebatchDatasetV2(
        input_dataset=tf.data.experimental.to_variant(dataset),
        batch_sizes=sizes,
        drop_remainder=False,
        output_types=[column.dtype for column in columns],
        output_shapes=[column.shape for column in columns],
    )
    return tf.data.experimental.from_variant(variant, dataset.element_spec)


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
    return _groups(data, domain, window, seed, passes, names, False)


def _groups(
    data, domain, window, seed, passes, names, inputs_only
) -> tf.data.Dataset:
    """Return what `rows` does, or with `inputs_only` what `batches` needs."""
    spec = data.spec if names is None else data.spec.select(names)
    days = data.covered(domain, window)
    formats = {data.manifest(domain, day).config["format"] for day in days}
    if len(formats) > 1:
        raise ValueError(
            f"The days {window} of {domain} are of several formats: "
            f"{sorted(formats)}. Convert them to one."
        )
    file_format = data_directory.FORMATS[formats.pop()]
    files, places, counts, numbers, seeds, chunks = [], [], [], [], [], []
    for turn, day in itertools.product(range(passes), days):
        number = windows.day_number(day)
        found = [
            (file, place)
            for file in _files(data, domain, day, seed, turn)
            for place in file_format.places(file)
        ]
        files += [file for file, _ in found]
        places += [place for _, place in found]
        counts.append(len(found))
        numbers.append(number)
        seeds.append([seed or 0, number * 1000 + turn])
        chunks += _chunks(data.manifest(domain, day).rows, *seeds[-1])
    by_day = tf.RaggedTensor.from_row_lengths
    options = tf.data.Options()
    # The tuning thread sleeps for seconds, and a stream's end waits for it.
    options.autotune.enabled = False
    # There is nothing to rewrite, and looking for it takes longer than reading
    # a small day.
    options.experimental_optimization.apply_default_optimizations = False
    read = _reader(file_format, spec, seed is not None, inputs_only)
    return read(
        by_day(np.array(files, str), counts),
        by_day(np.array(places, np.int64), counts),
        np.array(numbers, np.int32),
        np.array(seeds, np.int64),
        # Without rows there is a size all the same: none would end the process.
        np.array(chunks or [(1, 0, 0)], np.int64),
    ).with_options(options)


def _chunks(
    rows: int, first_seed: int, second_seed: int
) -> list[tuple[int, int, int]]:
    """Return the chunks within which a day's rows are shuffled.

    Args:
      rows: of the day.
      first_seed: of the order of the day's records.
      second_seed: of the same.

    Returns:
      For each chunk its rows and its two seeds.
    """
    return [
        # Beside the seeds of days, which are numbers of some ten millions.
        (
            min(SHUFFLE_ROWS, rows - start),
            first_seed,
            second_seed + i * 1_000_000_000,
        )
        for i, start in enumerate(range(0, rows, SHUFFLE_ROWS), start=1)
    ]


@functools.cache
def _reader(file_format, spec, shuffled: bool, inputs_only: bool):
    """Return the function from the files of days to their rows.

    It is traced once in a process: tracing takes longer than reading a small
    day.

    Args:
      file_format: one of `data_directory.FORMATS`.
      spec: the features to read.
      shuffled: whether rows come in another order than that of the files.
      inputs_only: whether to give `(features, clicks)` instead of all columns.
    """

    @_as_written
    def parse(day, records):
        columns = file_format.parse(records, spec, inputs_only)
        columns["day"] = tf.fill(tf.shape(columns["click"]), day)
        return columns

    @_as_written
    def finish(columns):
        if not inputs_only:
            return columns
        clicks = columns.pop("click")
        return columns, clicks

    @_as_written
    def permute(columns, seeds):
        return finish(shuffling.rows(columns, seeds))

    # D days, each with some places to read from; C chunks
    @tf.function(
        input_signature=[
            tf.RaggedTensorSpec([None, None], tf.string),
            tf.RaggedTensorSpec([None, None], tf.int64),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 2], tf.int64),
            tf.TensorSpec([None, 3], tf.int64),
        ],
        autograph=False,
    )
    def read(files, places, days, seeds, chunks):
        each = tf.data.Dataset.from_tensor_slices((files, places, days, seeds))
        records = file_format.read(each, shuffled)
        if not shuffled:
            return records.map(
                lambda day, records: finish(parse(day, records)),
                tf.data.AUTOTUNE,
            )
        groups = records.map(parse, tf.data.AUTOTUNE)
        groups = _regrouped(groups, chunks[:, 0])
        orders = tf.data.Dataset.from_tensor_slices(chunks[:, 1:])
        groups = tf.data.Dataset.zip((groups, orders))
        return groups.map(permute, tf.data.AUTOTUNE)

    return read.get_concrete_function()


def _files(data, domain, day, seed, turn) -> list[str]:
    names = sorted(data.manifest(domain, day).files)
    if seed is not None:
        order = [seed, windows.day_number(day), turn]
        np.random.default_rng(order).shuffle(names)
    return [str(data.path / domain / day / name) for name in names]


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
