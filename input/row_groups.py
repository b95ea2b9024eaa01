"""Rows of a window in groups, in a seeded order: what streams are made of.

A group of an ordered window is a chunk of a day, of `SHUFFLE_ROWS` rows or what
is left of them; without a seed it is what a format reads at once.
"""

import functools
import itertools
import types
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ecdctr_tf import features, kinds, windows
from ecdctr_tf.input import data_directory, former_specs, shuffling

SHUFFLE_ROWS = 65_536

# The functions here hold no Python loops over tensors: translating them would
# only cost time, and small days are read often.
_as_written = tf.autograph.experimental.do_not_convert


def read(
    data: data_directory.DataDirectory,
    domain: str,
    window: windows.Window,
    seed: int | None,
    passes: int,
    spec: features.DataSpec,
    inputs_only: bool,
    with_source: bool = False,
    seconds: tuple[int, int] | None = None,
) -> tf.data.Dataset:
    """Return the rows of a window in groups, each of one day.

    Args:
      data: the data directory.
      domain: "natural" or "ads".
      window: the days; every one has to be there.
      seed: of the order of rows; None keeps the order of the files.
      passes: times that the window is gone through, each in its own order.
      spec: the features to read. Those that the spec of a day lacks, or has in
        another form, are missing in its rows.
      inputs_only: whether to give `(features, clicks)` instead of all columns.
      with_source: whether to give the number of each row's source too.
      seconds: with `inputs_only`, only the rows from the first of these times
        on and before the second are read, seconds since 1970; None: all.

    Raises:
      FileNotFoundError, ValueError: a day is missing, damaged or of another
        spec.
    """
    days = data.covered(domain, window)
    formats = {data.manifest(domain, day).config["format"] for day in days}
    if len(formats) > 1:
        raise ValueError(
            f"The days {window} of {domain} have several formats: "
            f"{sorted(formats)}. Convert them all to one."
        )
    file_format = data_directory.FORMATS[formats.pop()]
    held = {
        day: former_specs.shared(
            data.specs[data.manifest(domain, day).spec], spec
        )
        for day in days
    }
    turns = itertools.product(range(passes), days)
    datasets = []
    for written, run in itertools.groupby(turns, lambda turn: held[turn[1]]):
        reader = _reader(
            file_format,
            written,
            seed is not None,
            inputs_only,
            with_source,
            seconds is not None,
        )
        places = _places(data, domain, list(run), seed, file_format)
        rows = reader(*places, np.array(seconds or (0, 0), np.int64))
        if written != spec:
            missing = _missing(data, former_specs.changes(written, spec), spec)
            rows = _with(rows, missing, inputs_only)
        datasets.append(rows)
    dataset = functools.reduce(tf.data.Dataset.concatenate, datasets)
    options = tf.data.Options()
    # The tuning thread sleeps for seconds, and a stream's end waits for it.
    options.autotune.enabled = False
    # There is nothing to rewrite, and looking for it takes longer than reading
    # a small day.
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def _places(
    data: data_directory.DataDirectory,
    domain: str,
    turns: list[tuple[int, str]],
    seed: int | None,
    file_format: types.ModuleType,
) -> tuple:
    """Return what a reader takes, for the days of some turns of passes."""
    files, places, counts, numbers, seeds = [], [], [], [], []
    sizes, orders = [], []
    for turn, day in turns:
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
        chunks = _chunks(data.manifest(domain, day).rows)
        sizes += chunks
        orders += shuffling.chunk_seeds(seeds[-1], len(chunks))
    by_day = tf.RaggedTensor.from_row_lengths
    return (
        by_day(np.array(files, str), counts),
        by_day(np.array(places, np.int64), counts),
        np.array(numbers, np.int32),
        np.array(seeds, np.int64),
        # Without rows there is a size all the same: none would end the process.
        np.array(sizes or [1], np.int64),
        np.array(orders, np.int64).reshape(-1, 2),
    )


def _missing(
    data: data_directory.DataDirectory,
    changes: former_specs.Changes,
    spec: features.DataSpec,
) -> dict[str, np.ndarray]:
    """Return one row of the columns of features that days were written without.

    It holds what a conversion writes for a missing value.
    """
    columns: dict[str, np.ndarray] = {}
    for feature in kinds.of(spec):
        if feature.name in changes.added:
            columns |= feature.missing(
                lambda table, raw: data.id_spaces[table].lookup(raw)
            )
    return columns


def _with(
    rows: tf.data.Dataset, missing: dict[str, np.ndarray], inputs_only: bool
) -> tf.data.Dataset:
    """Return groups with further columns, which are the same in all rows."""

    @_as_written
    def widen(columns: dict, *clicks: tf.Tensor) -> dict | tuple:
        count = tf.shape(columns["day"])[0]
        more = {
            name: tf.repeat(tf.constant(row), count, axis=0)
            for name, row in missing.items()
        }
        columns = {**columns, **more}
        return (columns, *clicks) if inputs_only else columns

    return rows.map(widen, tf.data.AUTOTUNE)


def regrouped(
    dataset: tf.data.Dataset, sizes: int | np.ndarray | tf.Tensor
) -> tf.data.Dataset:
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


def _chunks(rows: int) -> list[int]:
    """Return the sizes of the chunks within which a day's rows are shuffled."""
    starts = range(0, rows, SHUFFLE_ROWS)
    return [min(SHUFFLE_ROWS, rows - start) for start in starts]


@functools.cache
def _reader(
    file_format: types.ModuleType,
    spec: features.DataSpec,
    shuffled: bool,
    inputs_only: bool,
    with_source: bool,
    parted: bool,
) -> Callable[..., tf.data.Dataset]:
    """Return the function from the files of days to their rows.

    It is traced once in a process: tracing takes longer than reading a small
    day.

    Args:
      file_format: one of `data_directory.FORMATS`.
      spec: the features to read.
      shuffled: whether rows come in another order than that of the files.
      inputs_only: whether to give `(features, clicks)` instead of all columns.
      with_source: whether to give the number of each row's source too.
      parted: whether only rows of some times are read, and no times given.
    """

    @_as_written
    def parse(day: tf.Tensor, records: tf.Tensor) -> dict:
        columns = file_format.parse(
            records, spec, inputs_only, with_source, parted
        )
        columns["day"] = tf.fill(tf.shape(columns["click"]), day)
        return columns

    @_as_written
    def finish(
        columns: dict, seconds: tf.Tensor
    ) -> dict | tuple[dict, tf.Tensor]:
        if parted:
            columns = _between(columns, seconds)
        if not inputs_only:
            return columns
        clicks = columns.pop("click")
        return columns, clicks

    # D days, each with some places to read from; C chunks
    @tf.function(
        input_signature=[
            tf.RaggedTensorSpec([None, None], tf.string),
            tf.RaggedTensorSpec([None, None], tf.int64),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 2], tf.int64),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, 2], tf.int64),
            tf.TensorSpec([2], tf.int64),
        ],
        autograph=False,
    )
    def read_days(
        files: tf.RaggedTensor,
        places: tf.RaggedTensor,
        days: tf.Tensor,
        seeds: tf.Tensor,
        sizes: tf.Tensor,
        orders: tf.Tensor,
        seconds: tf.Tensor,
    ) -> tf.data.Dataset:
        each = tf.data.Dataset.from_tensor_slices((files, places, days, seeds))
        records = file_format.read(each, shuffled)
        if not shuffled:
            return records.map(
                lambda day, records: finish(parse(day, records), seconds),
                tf.data.AUTOTUNE,
            )
        groups = records.map(parse, tf.data.AUTOTUNE)
        groups = regrouped(groups, sizes)
        orders = tf.data.Dataset.from_tensor_slices(orders)
        groups = tf.data.Dataset.zip((groups, orders))
        return groups.map(
            lambda columns, seeds: finish(
                shuffling.rows(columns, seeds), seconds
            ),
            tf.data.AUTOTUNE,
        )

    return read_days.get_concrete_function()


def _between(columns: dict, seconds: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the rows of times in `[seconds[0], seconds[1])`, without them."""
    time = columns.pop("timestamp")
    kept = tf.where((time >= seconds[0]) & (time < seconds[1]))[:, 0]
    return {name: tf.gather(column, kept) for name, column in columns.items()}


def _files(
    data: data_directory.DataDirectory,
    domain: str,
    day: str,
    seed: int | None,
    turn: int,
) -> list[str]:
    files = [str(file) for file in data.files(domain, day)]
    if seed is not None:
        order = [seed, windows.day_number(day), turn]
        np.random.default_rng(order).shuffle(files)
    return files
