"""Streams: batches of a window of days, in a seeded order.

Days follow each other in time. Within a day the order of files and blocks is
shuffled, then rows within chunks, see `row_groups`. The order of a day depends
on the seed, the day and the pass only, so a stream can be taken up again after
any number of batches. `batches` is of one domain, `mixed` of both together.
"""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from ecdctr_tf import features, windows
from ecdctr_tf.input import (
    data_directory,
    row_groups,
    shuffling,
    sources,
    time_parts,
)

# Batches made ahead of the one being trained on.
_PREFETCHED = 8


def batches(
    data: data_directory.DataDirectory,
    domain: str,
    window: windows.Window,
    batch_size: int,
    seed: int | None = None,
    passes: int = 1,
    skip: int = 0,
    names: Iterable[str] | None = None,
    spec: features.DataSpec | None = None,
    use: sources.Use | None = None,
    part: time_parts.Part | None = None,
) -> tf.data.Dataset:
    """Return `(features, clicks)` batches of a window, ready for `fit`.

    Args:
      data: the data directory.
      domain: "natural" (source) or "ads" (target).
      window: the days; every one has to be there.
      batch_size: the most rows of a batch. Batches are even: as many as are
        needed, whose sizes B differ by one row at most.
      seed: of the order of rows; None keeps the order of the files.
      passes: times that the window is gone through, each in its own order.
      skip: batches at the beginning to pass over, to take up a stream again.
      names: names of features to read; None reads all.
      spec: what the names are of; None: the spec of the data. What a day was
        written without is missing in its rows.
      use: how natural rows count by their source; None: as they are.
      part: the rows of the window that are read; None: all.

    Returns:
      A dataset of known cardinality. Features: name -> int32 `[B]`, int32
      `[B, T]` or float32 `[B]`, `day` int32 `[B]`, days since 1970-01-01, and
      `weight` float32 `[B]`, which only losses and metrics read; with `use`
      also `features.BASE_WEIGHT` float32 `[B]`, the weights of before sources
      had shares; clicks: float32 `[B]`, 0 or 1.

    Raises:
      FileNotFoundError, ValueError: a day is missing, damaged or of another
        spec.
    """
    wanted = _wanted(data, names, spec)
    dataset = row_groups.read(
        data,
        domain,
        window,
        seed,
        passes,
        wanted,
        True,
        use is not None,
        None if part is None else part.seconds,
    )
    count = data.rows(domain, window)
    if use is not None:
        dataset, count = use.apply(dataset), use.rows
    if part is not None:
        count = part.rows[domain]
    return _finished(dataset, count * passes, batch_size, skip)


def mixed(
    data: data_directory.DataDirectory,
    parts: dict[str, windows.Window],
    batch_size: int,
    seed: int,
    passes: int = 1,
    skip: int = 0,
    names: Iterable[str] | None = None,
    spec: features.DataSpec | None = None,
    use: sources.Use | None = None,
    part: time_parts.Part | None = None,
) -> tf.data.Dataset:
    """Return `(features, clicks)` batches of several domains in one order.

    Each domain's rows come as from `batches`; they are cut into as many even
    chunks as hold `row_groups.SHUFFLE_ROWS` rows together, and those of all
    domains are shuffled chunk by chunk. So a domain with few rows is spread
    evenly over those of the other, even if its window is another one.

    Args:
      data: the data directory.
      parts: domain -> its days; every one has to be there.
      batch_size: as for `batches`.
      seed: of the order of rows.
      passes: times that the windows are gone through.
      skip: as for `batches`.
      names: as for `batches`.
      spec: as for `batches`.
      use: as for `batches`; ads count as they are.
      part: as for `batches`.

    Returns:
      As `batches`; the features have `domain` too, int32 `[B]`, places in
      `features.DOMAINS`.

    Raises:
      FileNotFoundError, ValueError: as `batches`, or there are no rows.
    """
    sizes = {domain: data.rows(domain, days) for domain, days in parts.items()}
    uses = {} if use is None else {features.NATURAL: use}
    sizes |= {domain: of.rows for domain, of in uses.items() if domain in sizes}
    if part is not None:
        sizes = {domain: part.rows[domain] for domain in sizes}
    sizes = {domain: size for domain, size in sizes.items() if size}
    total = sum(sizes.values())
    if not total:
        named = ", ".join(f"{domain} {days}" for domain, days in parts.items())
        raise ValueError(
            f"{data.path} has no rows in {named}: there is nothing to mix."
        )
    chunks = -(-total // row_groups.SHUFFLE_ROWS)
    wanted = _wanted(data, names, spec)
    streamed = []
    for domain, size in sizes.items():
        groups = row_groups.read(
            data,
            domain,
            parts[domain],
            seed,
            passes,
            wanted,
            True,
            domain in uses,
            None if part is None else part.seconds,
        )
        if domain in uses:
            groups = uses[domain].apply(groups)
        streamed.append(row_groups.regrouped(groups, even(size, chunks)))
    places = [features.DOMAINS.index(domain) for domain in sizes]
    # Beside the seeds of days, none of which is numbered 0.
    seeds = shuffling.chunk_seeds([seed, 0], chunks * passes)
    orders = tf.data.Dataset.from_tensor_slices(np.array(seeds, np.int64))
    dataset = tf.data.Dataset.zip((tuple(streamed), orders))
    dataset = dataset.map(_mixer(tuple(places), bool(uses)), tf.data.AUTOTUNE)
    return _finished(dataset, total * passes, batch_size, skip)


def _mixer(
    places: tuple[int, ...], weighed: bool
) -> Callable[..., tuple[dict, tf.Tensor]]:
    """Return the function from a chunk of each domain to rows in one order.

    Args:
      places: of the domains in `features.DOMAINS`.
      weighed: whether natural rows have weights of before sources had shares.
    """

    @tf.autograph.experimental.do_not_convert
    def mix(
        chunks: tuple[tuple[dict, tf.Tensor], ...], seeds: tf.Tensor
    ) -> tuple[dict, tf.Tensor]:
        every = []
        for place, (inputs, clicks) in zip(places, chunks, strict=True):
            domain = tf.fill(tf.shape(clicks), place)
            if weighed:  # Ads count as they are.
                inputs = {features.BASE_WEIGHT: inputs["weight"], **inputs}
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
    dataset = row_groups.regrouped(dataset, even(rows, count)).skip(skip)
    dataset = dataset.apply(
        tf.data.experimental.assert_cardinality(max(count - skip, 0))
    )
    return dataset.prefetch(_PREFETCHED)


def even(rows: int, count: int) -> np.ndarray:
    """Return the sizes of `count` even parts of some rows, int64 `[count]`."""
    ends = np.arange(count + 1) * rows // max(count, 1)
    # Without rows there is a size all the same: none would end the process.
    return np.diff(ends) if count else np.ones([1], np.int64)


def rows(
    data: data_directory.DataDirectory,
    domain: str,
    window: windows.Window,
    seed: int | None = None,
    passes: int = 1,
    names: Iterable[str] | None = None,
    spec: features.DataSpec | None = None,
    use: sources.Use | None = None,
    with_source: bool = False,
) -> tf.data.Dataset:
    """Return the columns of a window in groups of rows, each of one day.

    Args and errors as `batches`; a group also has `click`, `timestamp` and the
    evaluation columns, and, with `with_source` and without `use`, the number of
    each row's source, `features.SOURCE` int32 `[N]`.
    """
    wanted = _wanted(data, names, spec)
    with_source |= use is not None
    groups = row_groups.read(
        data, domain, window, seed, passes, wanted, False, with_source
    )
    return groups if use is None else use.apply(groups)


def _wanted(
    data: data_directory.DataDirectory,
    names: Iterable[str] | None,
    spec: features.DataSpec | None,
) -> features.DataSpec:
    spec = data.spec if spec is None else spec
    return spec if names is None else spec.select(names)


def read_columns(
    data: data_directory.DataDirectory,
    domain: str,
    window: windows.Window,
    names: Iterable[str] | None = None,
    spec: features.DataSpec | None = None,
    use: sources.Use | None = None,
    with_source: bool = False,
) -> dict[str, np.ndarray]:
    """Return whole columns of a window in the order of the files, in memory.

    Args and errors as `rows`. For days of ads and for tests; a long natural
    window may not fit.
    """
    dataset = rows(
        data,
        domain,
        window,
        names=names,
        spec=spec,
        use=use,
        with_source=with_source,
    )
    groups = list(dataset.as_numpy_iterator())
    columns = {}
    for name, column in dataset.element_spec.items():
        none = np.zeros([0, *column.shape[1:]], column.dtype.as_numpy_dtype)
        columns[name] = np.concatenate([none, *(g[name] for g in groups)])
    return columns
