"""Users out of the artefacts of a work directory.

An artefact that knew the users bears a hash that the vocabulary had before
(see `input.erased`). Its rows of users that are unassigned now are set to zero,
as of ids that it never saw; scores and snapshots lose them. Its manifest is
another one then, and so are those of all artefacts that were made from it: each
names its parents by their hashes.

New artefacts are made in a staging directory, which becomes `.erasing` when all
of them are there. From then on they take the places of the old ones, and no
other stage is at work: interrupted, `go_on` finishes it.
"""

import dataclasses
import functools
import os
import pathlib
import shutil
import typing
from collections.abc import Iterator, Mapping

from ecdctr_tf import artefacts, store
from ecdctr_tf.distributed import jobs
from ecdctr_tf.erasure import tables
from ecdctr_tf.input import erased, id_space
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.transfer import historical

PENDING = ".erasing"
# In the metrics of a manifest.
ERASED = "erased"
_PROGRESS = ".progress"
_KINDS = (artefacts.TPM, historical.KIND, artefacts.CPM, artefacts.CTR)


def places(root: pathlib.Path) -> dict[pathlib.Path, store.Manifest]:
    """Return the artefacts of levels under a directory, wherever they lie.

    Raises:
      ValueError: a manifest is damaged.
    """
    found = {}
    for file in sorted(root.rglob(store.MANIFEST)):
        place = file.parent
        inside = place.relative_to(root).parts
        if any(part.startswith(".") for part in inside):
            continue
        manifest = store.read_manifest(place)
        if manifest.kind in _KINDS:
            found[place.resolve()] = manifest
    return found


def check(root: pathlib.Path) -> None:
    """Make sure that each artefact can be made anew.

    Raises:
      FileNotFoundError, ValueError: one is damaged.
    """
    for place, manifest in places(root).items():
        store.verify(place, manifest.kind)


def go_on(root: pathlib.Path) -> None:
    """Finish an exchange that was interrupted, if there is one."""
    pending = root / PENDING
    if not pending.is_dir():
        return
    for place in places(pending):
        target = root.resolve() / place.relative_to(pending.resolve())
        if target.exists():
            store.remove(target)
        os.rename(place, target)
        store.sync_names(target.parent)
    shutil.rmtree(pending)


def check_finished(root: pathlib.Path) -> None:
    """Raise a ValueError if artefacts are being exchanged."""
    if (root / PENDING).is_dir():
        raise ValueError(
            f"Users are being erased from {root}, or were when the command was "
            "interrupted. Wait for it to finish, or give the same command with "
            "--stage=erase again."
        )


def known_rows(root: pathlib.Path, table: str) -> set[int]:
    """Return the numbers of rows of a table that artefacts know."""
    found = (m.ids.get(table) for m in places(root).values())
    return {int(entry["rows"]) for entry in found if entry}


class Run:
    """A work directory that users are erased from.

    Args:
      root: the work directory.
      data: the data directory, from which they have been erased.
      date: the day, YYYY-MM-DD.

    Raises:
      ValueError: an artefact is of another data directory.
    """

    def __init__(self, root: pathlib.Path, data: DataDirectory, date: str):
        self._root = root.resolve()
        self._date = date
        user = data.spec.user
        self._table = data.spec.feature(user).table
        self._space = typing.cast(
            id_space.Vocabulary, data.id_spaces[self._table]
        )
        self._erasures = erased.load(data.path)
        self._there = places(root)
        # Many artefacts have the same parents, and know as many users.
        self._is_stale = functools.cache(self._looks_stale)
        self._fingerprint = functools.cache(self._space.fingerprint)

    def stale(self) -> list[pathlib.Path]:
        """Return the artefacts that have to be made anew."""
        return [place for place in self._there if self._is_stale(place)]

    def _looks_stale(self, place: pathlib.Path) -> bool:
        parents = self._there[place].parents.values()
        of = (_resolved(place, parent) for parent in parents)
        return bool(self._since(place)) or any(
            self._is_stale(parent) for parent in of if parent in self._there
        )

    def _since(self, place: pathlib.Path) -> list[erased.Erasure]:
        """Return the erasures that an artefact has not been through."""
        entry = self._there[place].ids.get(self._table)
        if not entry:
            return []
        since = erased.since(self._erasures, entry["sha256"])
        rows = int(entry["rows"])
        if not since and (
            rows > self._space.rows or self._fingerprint(rows) != entry
        ):
            raise ValueError(
                f"{place} knows other users than the data directory, and none "
                "that were erased from it: it is of another one. Give "
                "--data_dir that it was trained on, or delete it."
            )
        return since

    def run(self) -> int:
        """Make stale artefacts anew; return how many there were.

        They are whole, as `check` has found. Resumable states hold weights of
        before: what is under way begins anew.
        """
        stale = self.stale()
        if self._erasures:
            for name in (_PROGRESS, jobs.DIRECTORY):
                for directory in sorted(self._root.rglob(name)):
                    shutil.rmtree(directory)
        if stale:
            with store.staged(self._root / "erase") as staging:
                made: dict[pathlib.Path, pathlib.Path] = {}
                for place in stale:
                    self._make(place, staging, made)
                store.sync(staging)
                os.rename(staging, self._root / PENDING)
            store.sync_names(self._root)
            go_on(self._root)
        return len(stale)

    def _make(
        self,
        place: pathlib.Path,
        staging: pathlib.Path,
        made: dict[pathlib.Path, pathlib.Path],
    ) -> None:
        """Make an artefact anew, after those that it was made from.

        Args:
          place: the artefact.
          staging: the work directory to be.
          made: artefact -> where its new form lies; added to.
        """
        if place in made:
            return
        manifest, since = self._there[place], self._since(place)
        parents = {}
        for role, parent in manifest.parents.items():
            of = _resolved(place, parent)
            parents[role] = parent
            if of in self._there and self._is_stale(of):
                self._make(of, staging, made)
                if parent["manifest"] == store.file_hash(of / store.MANIFEST):
                    file = made[of] / store.MANIFEST
                    parents[role] = {
                        **parent,
                        "manifest": store.file_hash(file),
                    }
        ids = dict(manifest.ids)
        if since:
            rows = int(ids[self._table]["rows"])
            ids[self._table] = self._fingerprint(rows)
        new = dataclasses.replace(manifest, ids=ids, parents=parents, files={})
        new.metrics = {**manifest.metrics, ERASED: self._said(place, since)}
        target = staging / place.relative_to(self._root)
        with store.publish(target, new) as directory:
            kept = set(manifest.files)
            if since:
                kept -= tables.erase(place, directory, self._table, self._space)
            for name in kept:
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                store.link(place / name, directory / name)
        made[place] = target

    def _said(
        self, place: pathlib.Path, since: list[erased.Erasure]
    ) -> list[Mapping]:
        """Return what the manifest says of erasures."""
        before = self._there[place].metrics.get(ERASED, [])
        record = {
            "date": self._date,
            "ids": sum(erasure.ids for erasure in since),
            # What exports and lists of withdrawn versions know it by.
            "was": store.file_hash(place / store.MANIFEST),
        }
        return [*before, record]


def former(root: pathlib.Path) -> dict[str, str]:
    """Return what manifests that were made anew had: hash -> hash now."""
    return dict(_former(root))


def _former(root: pathlib.Path) -> Iterator[tuple[str, str]]:
    for place, manifest in places(root).items():
        now = store.file_hash(place / store.MANIFEST)
        for record in manifest.metrics.get(ERASED, ()):
            yield record["was"], now


def _resolved(place: pathlib.Path, parent: Mapping[str, str]) -> pathlib.Path:
    return (place / parent["path"]).resolve()
