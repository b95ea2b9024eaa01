"""Counts of the events of one domain: rows by day, and each feature."""

import collections
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.checking import sketch

# Values are counted by day in so many parts: ids by hash, numbers by size.
PARTS = 64


class Feature:
    """The values of one feature; of lists of ids, their entries.

    Args:
      edges: borders of the parts that numbers fall in; None for ids.
    """

    def __init__(self, edges: np.ndarray | None) -> None:
        self.edges = edges
        self.rows = 0
        self.missing = 0
        self.values = sketch.Sketch()
        self.low, self.high, self._sum = math.inf, -math.inf, 0.0
        # Day -> values in each part.
        self.parts: dict[int, np.ndarray] = collections.defaultdict(
            lambda: np.zeros(PARTS, np.int64)
        )
        # Day -> rows without a value.
        self.missing_on: dict[int, int] = collections.defaultdict(int)

    def add(self, column: pa.ChunkedArray, day: np.ndarray) -> None:
        """Take in the values of some events, and the day of each."""
        column = column.combine_chunks()
        if pa.types.is_nested(column.type):
            values, lengths = _entries(column)
        else:
            values = pc.if_else(_present(column), column, None)
            lengths = values.is_valid().to_numpy(False).astype(np.int64)
            values = values.drop_null()
        there = lengths > 0
        self.rows += len(column)
        self.missing += int((~there).sum())
        if self.edges is None:
            hashed = sketch.hashes(values)
            part = (hashed % np.uint64(PARTS)).astype(np.int64)
        else:
            numbers = values.cast(pa.float64()).to_numpy(False)
            hashed = sketch.mixed(numbers.view(np.int64))
            part = np.searchsorted(self.edges, numbers)
            if len(numbers):
                self.low = min(self.low, float(numbers.min()))
                self.high = max(self.high, float(numbers.max()))
                self._sum += float(numbers.sum())
        self.values.add(hashed)
        days, place = np.unique(day, return_inverse=True)
        of_values = np.repeat(place, lengths)
        counts = _by_place(of_values * PARTS + part, len(days) * PARTS)
        lost = _by_place(place[~there], len(days))
        for i, one in enumerate(days.tolist()):
            self.parts[one] += counts[i * PARTS : (i + 1) * PARTS]
            self.missing_on[one] += int(lost[i])

    @property
    def mean(self) -> float | None:
        """The mean of numbers; None if there are none."""
        known = self.rows - self.missing
        return self._sum / known if known and self.edges is not None else None

    def counts(self, days: list[int]) -> np.ndarray:
        """Return the values in each part, and rows without any, of days."""
        parts = sum((self.parts[d] for d in days), np.zeros(PARTS, np.int64))
        missing = sum(self.missing_on[d] for d in days)
        return np.append(parts, missing)


class Domain:
    """The events of one domain.

    Args:
      user: name of the feature with the user.
      item: name of the feature with the item.
    """

    def __init__(self, user: str, item: str) -> None:
        self._roles = user, item
        self.features: dict[str, Feature] = {}
        # Day -> rows and clicks.
        self.days: dict[int, np.ndarray] = collections.defaultdict(
            lambda: np.zeros(2, np.int64)
        )
        self.first, self.last = math.inf, -math.inf
        # What happened to rows that are not as usual -> how many.
        self.counts: collections.Counter[str] = collections.Counter()
        # User, item and second of each event.
        self.events = sketch.Sketch()

    def add(
        self, events: pa.Table, edges: dict[str, np.ndarray | None]
    ) -> None:
        """Take in some events.

        Args:
          events: `timestamp`, `click`, `day` and the features.
          edges: feature -> as of `Feature`.
        """
        if not len(events):
            return
        day = events["day"].to_numpy()
        click = events["click"].to_numpy()
        days, place = np.unique(day, return_inverse=True)
        rows = _by_place(place, len(days))
        clicks = _by_place(place[click > 0], len(days))
        for i, one in enumerate(days.tolist()):
            self.days[one] += (rows[i], clicks[i])
        stamp = events["timestamp"].to_numpy()
        self.first = min(self.first, int(stamp.min()))
        self.last = max(self.last, int(stamp.max()))
        key = sketch.mixed(stamp)
        for role in self._roles:
            hashed = sketch.hashes(events[role].combine_chunks())
            key = sketch.mixed((key ^ hashed).view(np.int64))
        self.events.add(key)
        for name, borders in edges.items():
            if name not in events.column_names:
                continue
            if name not in self.features:
                self.features[name] = Feature(borders)
            self.features[name].add(events[name], day)

    @property
    def rows(self) -> int:
        """How many events there are."""
        return int(sum(counts[0] for counts in self.days.values()))

    @property
    def clicks(self) -> int:
        """How many of them are clicks."""
        return int(sum(counts[1] for counts in self.days.values()))

    def gaps(self) -> list[int]:
        """Return the days without events between the first and the last."""
        if not self.days:
            return []
        first, last = min(self.days), max(self.days)
        return [day for day in range(first, last + 1) if day not in self.days]

    def halves(self) -> tuple[list[int], list[int]]:
        """Return the first and the second half of the days."""
        days = sorted(self.days)
        return days[: len(days) // 2], days[len(days) // 2 :]


def _present(column: pa.Array) -> pa.Array:
    """Return where there is a value."""
    if pa.types.is_floating(column.type):
        return pc.invert(pc.is_null(column, nan_is_null=True))
    return column.is_valid()


def _entries(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return the ids of all lists, and how many each list has.

    A vector is one value.
    """
    lengths = column.value_lengths().fill_null(0).to_numpy(False)
    values = column.flatten()
    if pa.types.is_floating(values.type):
        there = (lengths > 0).astype(np.int64)
        return pa.array([str(v) for v in column.to_pylist() if v]), there
    if pa.types.is_struct(values.type):
        values = values.field("id")
    return values, lengths.astype(np.int64)


def _by_place(places: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(places, minlength=size)


def edges(column: pa.ChunkedArray) -> np.ndarray:
    """Return borders that divide numbers into `PARTS` parts of like size."""
    values = sketch.present(column)
    numbers = values.cast(pa.float64()).to_numpy(False)
    if not len(numbers):
        numbers = np.zeros(1)
    return np.unique(np.quantile(numbers, np.linspace(0, 1, PARTS + 1)[1:-1]))


def instability(expected: np.ndarray, found: np.ndarray) -> float | None:
    """Return the population stability index of two counts, 0 if alike.

    What chance alone gives in so few rows is taken off.

    Args:
      expected: rows in each part, before.
      found: rows in each part, after.

    Returns:
      Usually read as: up to 0.1 alike, above 0.25 another distribution; None
      if either has no rows.
    """
    if not expected.sum() or not found.sum():
        return None
    used = (expected + found) > 0
    # Half a row in each part, so that no part is empty.
    p, q = ((c[used] + 0.5) / (c[used] + 0.5).sum() for c in (expected, found))
    chance = (used.sum() - 1) * (1 / expected.sum() + 1 / found.sum())
    return max(float(((q - p) * np.log(q / p)).sum() - chance), 0.0)
