"""Pass 1: events in any order to temporary files of one day of one domain.

So that logs of any size, in any order, can be gone through day by day, events
are held until there are `BUFFER_ROWS` of them, and then written to
`<directory>/<domain>/<day>/<n>.arrow`.
"""

import collections
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import features
from ecdctr_tf.input.conversion.columns import WEIGHT

BUFFER_ROWS = 1_000_000


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
        self._files: dict[tuple[str, int], list[pathlib.Path]] = (
            collections.defaultdict(list)
        )

    def add(self, domain: str, events: pa.Table) -> None:
        """Take in a table of events with a `day` column."""
        if not len(events):
            return
        days = events["day"].to_numpy()
        if (days[1:] < days[:-1]).any():
            order = np.argsort(days, kind="stable")
            events, days = events.take(order), days[order]
        starts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]])
        for start, stop in zip(starts, [*starts[1:], len(days)], strict=True):
            part = events.slice(start, stop - start)
            self._held[domain, int(days[start])].append(part)
        self._held_rows += len(events)
        if self._held_rows >= self._limit:
            self.flush()

    def drop(self, domain: str, day: int) -> None:
        """Forget the events of a day."""
        self.read(domain, day)

    def flush(self) -> None:
        """Write what is held."""
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        for (domain, day), parts in self._held.items():
            directory = self._directory / domain / str(day)
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / f"{len(self._files[domain, day])}.arrow"
            part = _joined(parts)
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

    def read(self, domain: str, day: int) -> pa.Table | None:
        """Return the events of a day, or None; each day is read once.

        They have a column of weights only where some row has another than 1.
        """
        parts = [
            pa.ipc.open_file(path).read_all()
            for path in self._files.pop((domain, day), [])
        ]
        parts += self._held.pop((domain, day), [])
        return _weighed(_joined(parts)).combine_chunks() if parts else None


def _joined(parts: list[pa.Table]) -> pa.Table:
    """Return the rows of several tables; null where only others have a column.

    Some logs have weights, others have none.
    """
    return pa.concat_tables(parts, promote_options="default")


def _weighed(events: pa.Table) -> pa.Table:
    """Return events with the weights of all rows, last; none if all are 1."""
    if WEIGHT not in events.column_names:
        return events
    weights = pc.fill_null(events[WEIGHT], 1)
    events = events.drop_columns([WEIGHT])
    if pc.all(pc.equal(weights, 1)).as_py():
        return events
    return events.append_column(WEIGHT, weights)
