"""Users out of a data directory.

The rows and events of the users go, and what the state knows of them. Their
rows of the vocabulary stay, unassigned, so that those of all others keep their
numbers. Everything is made in a staging directory and exchanged at once
(`appending.exchange`): interrupted before, nothing has changed, and after, the
next command goes on.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from ecdctr_tf import features, store, typed_values
from ecdctr_tf.input import data_directory, erased, id_space
from ecdctr_tf.input.conversion import (
    appending,
    erased_days,
    forgetting,
    state,
    tally,
)

Counts = dict[tuple[str, str], erased_days.Gone]


@contextlib.contextmanager
def opened(directory: pathlib.Path, doing: str) -> Iterator[None]:
    """Hold the lock of a data directory, what was interrupted there finished.

    Args:
      directory: the data directory.
      doing: says in messages what is done there.

    Raises:
      FileNotFoundError: there is no data directory.
      ValueError: another process is writing there.
    """
    # A lock would make a directory where there is none.
    features.DataSpec.load(directory / data_directory.SPEC)
    with store.lock(directory, doing):
        appending.go_on(directory)
        appending.settle_specs(directory)
        past = past_of(data_directory.DataDirectory(directory))
        if past is not None:
            appending.clean(past)
        for place in ("", appending.IDS, state.STATE, *features.DOMAINS):
            store.sweep(directory / place)
        yield


def past_of(data: data_directory.DataDirectory) -> state.Past | None:
    """Return what the newest state knows; None where there is none."""
    states = store.dated(data.path / state.STATE, state.KIND)
    if not states:
        return None
    path = data.path / state.STATE / states[-1]
    return state.Past(data, path, store.verify(path, state.KIND))


def counts_of(past: state.Past, then: str) -> dict[str, list[str]]:
    """Return what the counts of a state count: name -> features.

    Args:
      past: the state.
      then: what is to be done, for the error.

    Raises:
      ValueError: an older version wrote the state, and did not say it.
    """
    counts = past.manifest.config.get(state.COUNTS)
    if counts is None and any(past.path.glob("count-*.npz")):
        raise ValueError(
            f"{past.path} was written by an older version, which did not "
            "say what is counted. Append a day to the data directory with "
            f"`convert --append`, then {then}."
        )
    return counts or {}


class Erasing:
    """An erasure under way.

    Args:
      data: the data directory.
      ids: raw ids of users, distinct, of the type of their table.
      date: the day, YYYY-MM-DD.

    Attributes:
      rows: int32, the rows that the ids had in the vocabulary.
      known: how many of the ids the directory knows.

    Raises:
      ValueError: users cannot be told apart, or their table holds ids of other
        features.
    """

    def __init__(
        self, data: data_directory.DataDirectory, ids: pa.Array, date: str
    ):
        self._data = data
        self._ids = ids
        self._date = date
        self._table = table_of(data)
        self._space = id_space.Vocabulary.load(self._table, data.path / "ids")
        self._before = id_space.Vocabulary(self._table, self._space.entries)
        self.rows = self._space.unassign(ids)
        self._past = past_of(data)
        self.known = len(self.rows)
        self._gone: forgetting.Gone | None = None
        if self._past is not None:
            self._gone = self._to_forget(self._past)
            # Some may wait for the events that they need to get a row.
            keys = forgetting.keys(self._past.path, self._gone)
            self.known = max(self.known, len(keys))
        self._days = erased_days.Days(data, ids, self._space, self.rows, date)

    def _to_forget(self, past: state.Past) -> forgetting.Gone:
        role = self._data.spec.user
        return forgetting.Gone(
            self._ids, role, self._table, counts_of(past, "erase")
        )

    def counts(self) -> Counts:
        """Return how many rows of each day would go, of days that lose some."""
        found = {day: self._days.count(*day) for day in self._days.all()}
        return {day: gone for day, gone in found.items() if gone.rows}

    def run(self, table_rows: Iterable[int] = ()) -> Counts:
        """Erase the users; return what `counts` does.

        Args:
          table_rows: further numbers of rows that artefacts know of the table;
            those of days are known.
        """
        directory = self._data.path
        with store.staged(directory / "erase") as staging:
            found: Counts = {}
            for domain, day in self._days.all():
                target = staging / domain / day
                found[domain, day] = self._days.write(domain, day, target)
            self._space.save(staging / appending.IDS)
            if self._past is not None:
                self._write_state(self._past, found, staging)
            erasures = erased.load(directory)
            former = self._former({*table_rows})
            erasures.append(erased.Erasure(self._date, self.known, former))
            erased.save(staging, erasures)
            appending.exchange(staging, directory)
        return {day: gone for day, gone in found.items() if gone.rows}

    def _former(self, table_rows: set[int]) -> tuple[str, ...]:
        """Return the hashes of ids that artefacts may bear until now."""
        for domain, day in self._days.all():
            entry = self._data.manifest(domain, day).ids.get(self._table.name)
            table_rows |= {int(entry["rows"])} if entry else set()
        known = sorted(n for n in table_rows if n <= self._before.rows)
        hashes = [self._before.fingerprint(rows)["sha256"] for rows in known]
        now = {self._space.fingerprint(rows)["sha256"] for rows in known}
        return tuple(of for of in hashes if of not in now)

    def _write_state(
        self, past: state.Past, found: Counts, staging: pathlib.Path
    ) -> None:
        """Write the state and the summary without the users."""
        ids = dict(past.manifest.ids)
        rows = int(ids[self._table.name]["rows"])
        ids[self._table.name] = self._days.fingerprint(rows)
        manifest = dataclasses.replace(past.manifest, ids=ids, files={})
        path = staging / state.STATE / past.path.name
        with store.publish(path, manifest) as place:
            left = self._forget(past.path, place, found, past.window.last)
            if past.behind:
                (place / state.BEHIND).mkdir()
                self._forget(
                    past.path / state.BEHIND,
                    place / state.BEHIND,
                    found,
                    past.behind,
                )
            summary = self._summary(past, left, staging)
            text = typed_values.to_json(summary, "the summary")
            for file in (place / state.SUMMARY, staging / state.SUMMARY):
                file.write_text(text, encoding="utf-8")
            manifest.rows = sum(summary[d]["rows"] for d in features.DOMAINS)

    def _forget(
        self,
        source: pathlib.Path,
        target: pathlib.Path,
        found: Counts,
        last: str,
    ) -> tally.Tally:
        seen = {
            domain: [
                gone
                for (other, day), gone in found.items()
                if other == domain and day <= last
            ]
            for domain in features.DOMAINS
        }
        return forgetting.forget(
            source,
            target,
            self._gone,
            {domain: sum(g.rows for g in of) for domain, of in seen.items()},
            {domain: sum(g.clicks for g in of) for domain, of in seen.items()},
        )

    def _summary(
        self, past: state.Past, left: tally.Tally, staging: pathlib.Path
    ) -> dict:
        """Return the summary; what it says of ids and features stays."""
        summary = json.loads((past.path / state.SUMMARY).read_text("utf-8"))
        summary |= left.result()
        of_sources = summary.get(data_directory.SOURCES, {})
        for of in of_sources.values():
            of.update(rows=0, clicks=0)
        if of_sources:
            for day in self._data.days(features.NATURAL):
                place = staging / features.NATURAL / day
                manifest = self._data.manifest(features.NATURAL, day)
                if place.exists():
                    manifest = store.read_manifest(place, "day")
                held = data_directory.of_sources(manifest)
                for name, counts in held.items():
                    for count in of_sources[name]:
                        of_sources[name][count] += counts[count]
        return summary


def table_of(data: data_directory.DataDirectory) -> features.TableSpec:
    """Return the table of users, from which ids can be erased.

    Raises:
      ValueError: it is hashed, or holds ids of other features too.
    """
    name = data.spec.feature(data.spec.user).table
    table = data.spec.table(name)
    if table.ids != "vocabulary":
        raise ValueError(
            f"The ids of the table {name!r} are hashed: a row is that of "
            "several users, and cannot be erased for one of them. Take the "
            "users out of the logs and convert them again."
        )
    others = {
        feature.name
        for spec in data.specs.values()
        for feature in spec.features
        if name in (feature.table, feature.attribute_table)
        and feature.name != spec.user
    }
    if others:
        raise ValueError(
            f"The table {name!r} of users also holds the ids of "
            f"{', '.join(sorted(others))}: rows of others name the users. Take "
            "the users out of the logs and convert them again."
        )
    return table


def distinct(ids: np.ndarray | list, table: features.TableSpec) -> pa.Array:
    """Return raw ids in the type of their table."""
    kind = pa.int64() if table.dtype == "int64" else pa.string()
    return pa.array(ids, kind)
