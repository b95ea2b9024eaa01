"""Days of rows without some users; the rows of all others stay as they are."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from concurrent import futures

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import features, store
from ecdctr_tf.input import damage, data_directory, day_checks, id_space
from ecdctr_tf.input.conversion import day_rows, stretches

# In the metrics of a manifest: what was erased, and when.
ERASED = "erased"


@dataclasses.dataclass(frozen=True)
class Gone:
    """How much of a day goes."""

    rows: int
    clicks: int


class Days:
    """The days of a data directory, less the rows of some users.

    Args:
      data: the data directory.
      ids: raw ids, of the type of their table.
      space: the vocabulary of users, in which these ids have been erased.
      rows: int32, the rows that were theirs.
      date: of the erasure.
    """

    def __init__(
        self,
        data: data_directory.DataDirectory,
        ids: pa.Array,
        space: id_space.Vocabulary,
        rows: np.ndarray,
        date: str,
    ):
        self._data = data
        self._ids = ids
        self._rows = rows
        self._record = {"date": date, "ids": len(rows)}
        self._table = space.table.name
        self.fingerprint = functools.cache(space.fingerprint)

    def all(self) -> Iterator[tuple[str, str]]:
        """Yield domain and day of all days."""
        for domain in features.DOMAINS:
            for day in self._data.days(domain):
                yield domain, day

    def count(self, domain: str, day: str) -> Gone:
        """Return how many rows of a day are of the users, and their clicks."""
        return _total(self._gone(domain, day))

    def write(self, domain: str, day: str, target: pathlib.Path) -> Gone:
        """Write a day without the users.

        Args:
          domain: of the day.
          day: the day.
          target: its place in a staging directory. Where a day is what it was,
            nothing is written.

        Returns:
          What has gone.
        """
        path = self._data.path / domain / day
        manifest = self._data.manifest(domain, day)
        entry = manifest.ids.get(self._table, {})
        theirs = self._gone(domain, day)
        gone = _total(theirs)
        events = self._events(path, manifest)
        if "sha256" in entry:
            entry = self.fingerprint(int(entry["rows"]))
        new = dataclasses.replace(
            manifest, ids={**manifest.ids, self._table: entry}, files={}
        )
        if new.ids == manifest.ids and not gone.rows and events is None:
            return gone
        new.metrics = {
            **manifest.metrics,
            ERASED: [*manifest.metrics.get(ERASED, ()), self._record],
        }
        with store.publish(target, new) as staging:
            self._write_rows(manifest, theirs, staging)
            self._write_events(path, staging, manifest, events)
            if gone.rows:
                self._recount(new, staging)
        return gone

    def _gone(
        self, domain: str, day: str
    ) -> dict[pathlib.Path, tuple[np.ndarray, np.ndarray]]:
        """Return which rows of each file go, bool `[N]`, and clicks `[N]`."""
        manifest = self._data.manifest(domain, day)
        spec = self._data.specs[manifest.spec]
        least = spec.select([spec.user, spec.item])
        found = {}
        for file in self._data.files(domain, day):
            columns = day_rows.columns(file, manifest, least)
            gone = np.isin(columns[spec.user], self._rows)
            found[file] = gone, columns["click"]
        return found

    def _write_rows(
        self,
        manifest: store.Manifest,
        theirs: dict[pathlib.Path, tuple[np.ndarray, np.ndarray]],
        target: pathlib.Path,
    ) -> None:
        spec = self._data.specs[manifest.spec]
        file_format = data_directory.FORMATS[manifest.config["format"]]
        for file, (gone, _) in theirs.items():
            if not gone.any():
                store.link(file, target / file.name)
            elif not gone.all():
                columns = day_rows.columns(file, manifest, spec)
                left = {name: of[~gone] for name, of in columns.items()}
                file_format.write(target / file.name, left, spec)

    def _events(
        self, path: pathlib.Path, manifest: store.Manifest
    ) -> list[pa.Table] | None:
        """Return the events that stay; None if all of them do."""
        if day_checks.EVENTS not in manifest.files:
            return None
        store.verify(path, "day", [day_checks.EVENTS])
        user = self._data.specs[manifest.spec].user
        left, gone = [], False
        for part in stretches.read(path / day_checks.EVENTS):
            theirs = pc.is_in(part[user], self._ids)
            gone |= pc.any(theirs).as_py() or False
            left.append(part.filter(pc.invert(theirs)))
        return left if gone else None

    def _write_events(
        self,
        path: pathlib.Path,
        target: pathlib.Path,
        manifest: store.Manifest,
        events: list[pa.Table] | None,
    ) -> None:
        name = day_checks.EVENTS
        if events is None:
            if name in manifest.files:
                store.link(path / name, target / name)
            return
        some = (part for part in events if len(part))
        with futures.ThreadPoolExecutor(1) as pool:
            for _ in stretches.written(some, target / name, pool):
                pass

    def _recount(self, manifest: store.Manifest, staging: pathlib.Path) -> None:
        """Let a manifest say what the files of a day hold now."""
        file_format = data_directory.FORMATS[manifest.config["format"]]
        files = sorted(staging.glob("*.tfrecord"))
        left = damage.counted(manifest, [file_format.counted(f) for f in files])
        manifest.rows, manifest.metrics = left.rows, left.metrics
        manifest.config = {**manifest.config, "shards": len(files)}


def _total(
    theirs: dict[pathlib.Path, tuple[np.ndarray, np.ndarray]],
) -> Gone:
    """Return how much goes of files, of `Days._gone`."""
    return Gone(
        sum(int(gone.sum()) for gone, _ in theirs.values()),
        sum(int(clicks[gone].sum()) for gone, clicks in theirs.values()),
    )
