"""Ids that came up on none of the newest days, out of a data directory.

Their rows of the vocabularies go, those of erased ids with them, and the rows
behind move up: so tables shrink, and the next new ids have the numbers that
have become free. In rows of older days an id that is gone is an unknown one;
their events stay. Everything is made in a staging directory and exchanged at
once (`appending.exchange`), as by an erasure.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Set

import numpy as np

from ecdctr_tf import store, typed_values
from ecdctr_tf.features import DOMAINS
from ecdctr_tf.input import data_directory, erased, expired, id_space
from ecdctr_tf.input.conversion import (
    alive,
    appending,
    erasing,
    renumbered_days,
    renumbered_state,
    state,
    tally,
)


class Expiring:
    """An expiry under way.

    Args:
      data: the data directory.
      unseen_days: how many of the newest days of each domain an id has to have
        been away from; at least 1.
      date: the day, YYYY-MM-DD.

    Attributes:
      ids: table -> how many ids go, of tables that lose some.
      rows: table -> how many rows it has, and how many will be left.

    Raises:
      FileNotFoundError, ValueError: a day is damaged, or an older version has
        written the state or the days.
    """

    def __init__(
        self, data: data_directory.DataDirectory, unseen_days: int, date: str
    ):
        self._data = data
        self._unseen_days = unseen_days
        self._date = date
        self._past = erasing.past_of(data)
        found = alive.find(data, self._past, unseen_days)
        self._before = {
            name: space
            for name, space in data.id_spaces.items()
            if isinstance(space, id_space.Vocabulary)
        }
        tables = {
            name: _renumbering(space, found[name].rows)
            for name, space in self._before.items()
        }
        self._tables = {n: of for n, of in tables.items() if len(of.gone)}
        self._after = {
            name: space.without(tables[name].gone)
            for name, space in self._before.items()
        }
        self.ids = {
            name: len(of.gone) - len(self._before[name].unassigned)
            for name, of in self._tables.items()
        }
        self.rows = {
            name: (space.rows, self._after[name].rows)
            for name, space in self._before.items()
        }
        self._left: renumbered_state.Left | None = None
        self._keys: dict[str, int] = {}
        if self._past is not None:
            self._left = renumbered_state.Left(
                data.spec,
                {name: of.ids for name, of in found.items()},
                self._tables,
                erasing.counts_of(self._past, "let ids expire"),
            )
            self._keys = renumbered_state.gone(self._past.path, self._left)
        self._days = renumbered_days.Days(data, self._tables, self._after, date)

    @property
    def any(self) -> bool:
        """Whether a row or a key goes."""
        return bool(self._tables) or any(self._keys.values())

    def run(self, table_rows: Mapping[str, Set[int]]) -> None:
        """Let the ids expire.

        Args:
          table_rows: table -> further numbers of rows that artefacts know of
            it; those of days are known.
        """
        directory = self._data.path
        days = [(d, day) for d in DOMAINS for day in self._data.days(d)]
        hashes = self._hashes(days, table_rows)
        with store.staged(directory / "expire") as staging:
            for domain, day in days:
                self._days.write(domain, day, staging / domain / day)
            for name in self._tables:
                self._after[name].save(staging / appending.IDS)
            if self._past is not None:
                self._write_state(self._past, staging)
            self._record(staging, hashes, max(day for _, day in days))
            appending.exchange(staging, directory)

    def _hashes(
        self,
        days: list[tuple[str, str]],
        table_rows: Mapping[str, Set[int]],
    ) -> dict[str, dict[str, str]]:
        """Return what hashes of ids that artefacts may bear become."""
        manifests = [self._data.manifest(*day) for day in days]
        hashes = {}
        for name, table in self._tables.items():
            known = {
                int(manifest.ids[name]["rows"])
                for manifest in manifests
                if name in manifest.ids
            }
            known.update(table_rows.get(name, ()))
            before, after = self._before[name], self._after[name]
            of_table = {}
            for rows in sorted(n for n in known if n <= before.rows):
                entry = after.fingerprint(table.count(rows))
                of_table[before.fingerprint(rows)["sha256"]] = entry["sha256"]
            hashes[name] = of_table
        return hashes

    def _record(
        self, staging: pathlib.Path, hashes: dict[str, dict], newest: str
    ) -> None:
        """Write which expiry there was."""
        expired.save(
            staging,
            expired.Expiry(
                self._date, self._unseen_days, newest, hashes, self._tables
            ),
        )
        erasures = erased.load(self._data.path)
        if erasures:
            # What has missed them does not fit the new numbers either.
            without = [dataclasses.replace(e, former=()) for e in erasures]
            erased.save(staging, without)

    def _write_state(self, past: state.Past, staging: pathlib.Path) -> None:
        """Write the state and the summary with what is left."""
        ids = self._days.entries(past.manifest.ids)
        manifest = dataclasses.replace(past.manifest, ids=ids, files={})
        path = staging / state.STATE / past.path.name
        with store.publish(path, manifest) as place:
            left = self._written(past.path, place)
            if past.behind:
                (place / state.BEHIND).mkdir()
                self._written(past.path / state.BEHIND, place / state.BEHIND)
            summary = json.loads((past.path / state.SUMMARY).read_bytes())
            summary |= left.result()
            text = typed_values.to_json(summary, "the summary")
            for file in (place / state.SUMMARY, staging / state.SUMMARY):
                file.write_text(text, encoding="utf-8")

    def _written(
        self, source: pathlib.Path, target: pathlib.Path
    ) -> tally.Tally:
        return renumbered_state.write(source, target, self._left)


def _renumbering(
    space: id_space.Vocabulary, stays: np.ndarray
) -> expired.Renumbering:
    """Return the new numbers of a vocabulary, given which rows stay."""
    gone = np.flatnonzero(~stays).astype(np.int32)
    return expired.Renumbering(gone, space.bucket_of(gone))
