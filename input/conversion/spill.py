"""Pass 1: events in any order to temporary files of one day of one domain.

So that logs of any size, in any order, can be gone through day by day, events
are held until there are `BUFFER_ROWS` of them, and then written to
`<directory>/<domain>/<day>/<n>.arrow`. A day that is itself too large for the
memory is spilled again, by stretches of its time.
"""

import collections
import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import features
from ecdctr_tf.input.conversion.columns import WEIGHT

BUFFER_ROWS = 250_000
# Rows of a day, or of a stretch of it, that are in memory together.
STRETCH_ROWS = 350_000
_DAY_SECONDS = 86_400


class Spill:
    """Events by domain and day.

    Args:
      directory: an empty directory for the files; the caller removes it.
      buffer_rows: events held in memory.
    """

    def __init__(self, directory: pathlib.Path, buffer_rows: int = BUFFER_ROWS):
        self._directory = directory
        self._limit = buffer_rows
        self._held: dict[tuple[str, int], list[pa.Table]] = (
            collections.defaultdict(list)
        )
        self._held_rows = 0
        self._rows: collections.Counter[tuple[str, int]] = collections.Counter()
        self._files: dict[tuple[str, int], list[pathlib.Path]] = (
            collections.defaultdict(list)
        )

    def add(self, domain: str, events: pa.Table) -> None:
        """Take in a table of events with a `day` column."""
        self._add(domain, events, events["day"].to_numpy())

    def _add(self, domain: str, events: pa.Table, days: np.ndarray) -> None:
        if not len(events):
            return
        if (days[1:] < days[:-1]).any():
            order = np.argsort(days, kind="stable")
            events, days = events.take(order), days[order]
        starts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]])
        for start, stop in zip(starts, [*starts[1:], len(days)], strict=True):
            part = events.slice(start, stop - start)
            self._held[domain, int(days[start])].append(part)
            self._rows[domain, int(days[start])] += len(part)
        self._held_rows += len(events)
        if self._held_rows >= self._limit:
            self.flush()

    def drop(self, domain: str, day: int) -> None:
        """Forget the events of a day."""
        for _ in self._parts(domain, day):
            pass

    def flush(self) -> None:
        """Write what is held."""
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        for (domain, day), parts in self._held.items():
            directory = self._directory / domain / str(day)
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / f"{len(self._files[domain, day])}.arrow"
            part = joined(parts)
            with pa.ipc.new_file(path, part.schema, options=options) as out:
                out.write_table(part)
            self._files[domain, day].append(path)
        self._held.clear()
        self._held_rows = 0

    def days(self, domain: str) -> list[int]:
        """Return the days of a domain with events, in order."""
        keys = {*self._files, *self._held}
        return sorted(day for name, day in keys if name == domain)

    def span(self) -> range:
        """Return the days from the first to the last of either domain."""
        days = [d for name in features.DOMAINS for d in self.days(name)]
        return range(min(days), max(days) + 1) if days else range(0)

    def read(self, domain: str, day: int) -> Iterator[pa.Table]:
        """Yield the events of a day in stretches of time; each is read once.

        Most days are one stretch. All events of a second are in one stretch.
        The events have a column of weights only where some row of the day has
        another than 1, or, where there are several stretches, some file has it.
        """
        rows = self._rows[domain, day]
        if rows > STRETCH_ROWS:
            self.flush()
            yield from self._stretches(domain, day)
        elif rows:
            parts = list(self._parts(domain, day))
            yield weighed(joined(parts)).combine_chunks()

    def _parts(self, domain: str, day: int) -> Iterator[pa.Table]:
        """Yield the events of a day as they came, and forget them."""
        self._rows.pop((domain, day), None)
        for path in self._files.pop((domain, day), []):
            with pa.ipc.open_file(str(path)) as file:
                yield file.read_all()
            path.unlink()
        yield from self._held.pop((domain, day), [])

    def _stretches(self, domain: str, day: int) -> Iterator[pa.Table]:
        """Yield the events of a day whose events are all in files."""
        # Events of each second from two days before the first one's day on.
        counts, begin, weighted = np.zeros(4 * _DAY_SECONDS, np.int64), 0, False
        for path in self._files[domain, day]:
            with pa.ipc.open_file(str(path)) as file:
                events = file.read_all()
            seconds = events["timestamp"].to_numpy()
            begin = begin or (seconds[0] // _DAY_SECONDS - 2) * _DAY_SECONDS
            counts += np.bincount(seconds - begin, minlength=len(counts))
            weighted |= WEIGHT in events.column_names
        ends = begin + ends_of(counts)
        place = self._directory / "stretches"
        stretches = Spill(place, self._limit)
        for events in self._parts(domain, day):
            if weighted:
                events = with_weights(events)
            seconds = events["timestamp"].to_numpy()
            number = np.searchsorted(ends, seconds, side="right")
            stretches._add(domain, events, number)
        for number in stretches.days(domain):
            parts = list(stretches._parts(domain, number))
            yield joined(parts).combine_chunks()


def ends_of(counts: np.ndarray) -> np.ndarray:
    """Return where stretches end: after so many rows, or a whole second."""
    total = np.cumsum(counts)
    ends, done = [0], 0
    while done < total[-1]:
        end = int(np.searchsorted(total, done + STRETCH_ROWS, side="right"))
        # A second with more rows is a stretch by itself.
        next_second = int(np.searchsorted(total, done, side="right"))
        ends.append(max(end, next_second + 1))
        done = int(total[ends[-1] - 1])
    return np.array(ends[1:-1], np.int64)


def joined(parts: list[pa.Table]) -> pa.Table:
    """Return the rows of several tables; null where only others have a column.

    Some logs have weights, others have none.
    """
    return pa.concat_tables(parts, promote_options="default")


def weighed(events: pa.Table) -> pa.Table:
    """Return events with the weights of all rows, last; none if all are 1."""
    if WEIGHT not in events.column_names:
        return events
    events = with_weights(events)
    if pc.all(pc.equal(events[WEIGHT], 1)).as_py():
        return events.drop_columns([WEIGHT])
    return events


def with_weights(events: pa.Table) -> pa.Table:
    """Return events with the weights of all rows, last, 1 if not said."""
    if WEIGHT not in events.column_names:
        ones = pa.array(np.ones(len(events), np.float32))
        return events.append_column(WEIGHT, ones)
    weights = pc.fill_null(events[WEIGHT], 1)
    return events.drop_columns([WEIGHT]).append_column(WEIGHT, weights)
