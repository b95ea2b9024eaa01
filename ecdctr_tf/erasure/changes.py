"""What becomes of an artefact: by an erasure, and by an expiry.

By an erasure, an artefact's rows of users that are unassigned now are set to
zero, as of ids that it never saw; scores and snapshots lose them. By an expiry,
its tables lose the rows that are gone, and those behind move up. Which of both
an artefact has missed is told by the hashes that vocabularies had before
(`input.erased`, `input.expired`).
"""

import dataclasses
import functools
import pathlib
import typing
from collections.abc import Mapping
from typing import Any, Protocol

from ecdctr_tf import artefacts, store
from ecdctr_tf.erasure import tables
from ecdctr_tf.input import erased, expired, id_space
from ecdctr_tf.input.data_directory import DataDirectory

ERASED, EXPIRED = "erased", "expired"
# In the metrics of manifests.
NAMES = (ERASED, EXPIRED)


class Change(Protocol):
    """A change of a data directory that artefacts have to follow."""

    # Of its records, in the metrics of manifests.
    name: str
    # Whether the data directory has been through one.
    happened: bool

    def concerns(self, place: pathlib.Path, manifest: store.Manifest) -> bool:
        """Return whether an artefact has not been through it.

        Raises:
          ValueError: the artefact is of another data directory.
        """

    def manifest(
        self, place: pathlib.Path, manifest: store.Manifest
    ) -> store.Manifest:
        """Return the manifest of an artefact that it concerns, after it."""

    def said(self, place: pathlib.Path, manifest: store.Manifest) -> Mapping:
        """Return what the record in the manifest says beside the date."""

    def write(
        self,
        place: pathlib.Path,
        manifest: store.Manifest,
        target: pathlib.Path,
    ) -> set[str]:
        """Write the files of an artefact that change.

        Returns:
          The names of the files that were written, or were left out.
        """


class Erasure:
    """Users have been erased from a data directory.

    Args:
      data: the data directory.
    """

    name = ERASED

    def __init__(self, data: DataDirectory):
        self._table = data.spec.feature(data.spec.user).table
        self._space = typing.cast(
            id_space.Vocabulary, data.id_spaces[self._table]
        )
        self._erasures = erased.load(data.path)
        self.happened = bool(self._erasures)
        # Many artefacts know as many users.
        self._fingerprint = functools.cache(self._space.fingerprint)

    def concerns(self, place: pathlib.Path, manifest: store.Manifest) -> bool:
        """Return whether the artefact knows users who were erased."""
        return bool(self._since(place, manifest))

    def _since(
        self, place: pathlib.Path, manifest: store.Manifest
    ) -> list[erased.Erasure]:
        """Return the erasures that an artefact has not been through."""
        entry = manifest.ids.get(self._table)
        if not entry:
            return []
        since = erased.since(self._erasures, entry["sha256"])
        rows = int(entry["rows"])
        if not since and (
            rows > self._space.rows or self._fingerprint(rows) != entry
        ):
            raise ValueError(
                f"{place} knows other users than the data directory, and none "
                "that were erased from it: it is of another one, or of before "
                "ids expired. Give --data_dir that it was trained on, finish "
                "the expiry with --stage=expire, or delete it."
            )
        return since

    def manifest(
        self, place: pathlib.Path, manifest: store.Manifest
    ) -> store.Manifest:
        """Return it with the hash of the ids that are left."""
        del place
        entry = self._fingerprint(int(manifest.ids[self._table]["rows"]))
        ids = {**manifest.ids, self._table: entry}
        return dataclasses.replace(manifest, ids=ids)

    def said(self, place: pathlib.Path, manifest: store.Manifest) -> Mapping:
        """Return how many users there were."""
        since = self._since(place, manifest)
        return {"ids": sum(erasure.ids for erasure in since)}

    def write(
        self,
        place: pathlib.Path,
        manifest: store.Manifest,
        target: pathlib.Path,
    ) -> set[str]:
        """Write what holds anything of the users without them."""
        del manifest
        return tables.erase(place, target, self._table, self._space)


class Expiry:
    """Ids have expired from a data directory.

    Args:
      data: the data directory.
    """

    name = EXPIRED

    def __init__(self, data: DataDirectory):
        self._spaces = data.id_spaces
        # Of the columns of scores.
        self._roles = {
            "user": data.spec.feature(data.spec.user).table,
            "item": data.spec.feature(data.spec.item).table,
        }
        self._expiry = expired.load(data.path)
        self.happened = self._expiry is not None
        if self.happened:
            self._which = store.file_hash(data.path / expired.FILE)
        self._fingerprint = functools.cache(
            lambda table, rows: self._spaces[table].fingerprint(rows)
        )

    def concerns(self, place: pathlib.Path, manifest: store.Manifest) -> bool:
        """Return whether the artefact numbers rows as before."""
        if self._entries(place, manifest) != manifest.ids:
            return True
        # A model that does not learn may have scored ids that it did not know.
        return (
            self._expiry is not None
            and manifest.window is not None
            and manifest.window.last <= self._expiry.newest
            and artefacts.SCORES in manifest.files
            and all(
                record.get("expiry") != self._which
                for record in manifest.metrics.get(EXPIRED, ())
            )
        )

    def _entries(
        self, place: pathlib.Path, manifest: store.Manifest
    ) -> dict[str, dict]:
        """Return what the manifest of an artefact is to say of ids."""
        return {
            table: self._entry(place, table, entry)
            for table, entry in manifest.ids.items()
        }

    def _entry(
        self, place: pathlib.Path, table: str, entry: dict[str, Any]
    ) -> dict[str, Any]:
        rows = int(entry["rows"])
        if self._is(table, rows, entry["sha256"]):
            return entry
        if self._expiry is not None:
            after = self._expiry.hashes.get(table, {}).get(entry["sha256"])
            if after is not None:
                left = self._expiry.tables[table].count(rows)
                if self._is(table, left, after):
                    return {"rows": left, "sha256": after}
        raise ValueError(
            f"{place} knows other ids of the table {table!r} than the data "
            "directory, and not those from before the newest expiry: it is of "
            "another one, has missed an expiry, or users were erased that it "
            "still knows. Give --data_dir that it was trained on, finish the "
            "erasure with --stage=erase, or delete it."
        )

    def _is(self, table: str, rows: int, sha256: str) -> bool:
        space = self._spaces.get(table)
        if space is None or rows > space.rows:
            return False
        return self._fingerprint(table, rows)["sha256"] == sha256

    def manifest(
        self, place: pathlib.Path, manifest: store.Manifest
    ) -> store.Manifest:
        """Return it with the new numbers of rows."""
        ids = self._entries(place, manifest)
        config = dict(manifest.config)
        if "capacities" in config:
            config["capacities"] = {
                table: ids[table]["rows"]
                if ids[table] != manifest.ids[table]
                else room
                for table, room in config["capacities"].items()
            }
        return dataclasses.replace(manifest, ids=ids, config=config)

    def said(self, place: pathlib.Path, manifest: store.Manifest) -> Mapping:
        """Return which expiry it was."""
        del place, manifest
        return {"expiry": self._which}

    def write(
        self,
        place: pathlib.Path,
        manifest: store.Manifest,
        target: pathlib.Path,
    ) -> set[str]:
        """Write what has rows of tables with the new numbers."""
        if self._expiry is None:
            return set()
        expiry, entries = self._expiry, self._entries(place, manifest)
        changed = {
            table: tables.Renumbered(
                typing.cast(id_space.Vocabulary, self._spaces[table]),
                expiry.tables[table].kept(int(entry["rows"])),
            )
            for table, entry in manifest.ids.items()
            if entries[table] != entry
        }
        roles = {
            role: expiry.tables[table]
            for role, table in self._roles.items()
            if table in expiry.tables
        }
        return tables.renumber(place, target, manifest.kind, changed, roles)
