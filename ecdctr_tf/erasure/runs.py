"""Ids out of the artefacts of a work directory.

An artefact that knew the ids bears a hash that a vocabulary had before. It is
made anew, as `changes` says for an erasure and an expiry. Its manifest is
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
from collections.abc import Iterator, Mapping

from ecdctr_tf import artefacts, store
from ecdctr_tf.distributed import jobs
from ecdctr_tf.erasure import changes
from ecdctr_tf.transfer import historical

PENDING = ".erasing"
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
            f"Ids are being taken out of {root}, or were when the command was "
            "interrupted. Wait for it to finish, or give the same command with "
            "--stage=erase or --stage=expire again."
        )


def known_rows(root: pathlib.Path) -> dict[str, set[int]]:
    """Return the numbers of rows of each table that artefacts know."""
    found: dict[str, set[int]] = {}
    for manifest in places(root).values():
        for table, entry in manifest.ids.items():
            found.setdefault(table, set()).add(int(entry["rows"]))
    return found


class Run:
    """A work directory that ids are taken out of.

    Args:
      root: the work directory.
      change: what becomes of its artefacts.
      date: the day, YYYY-MM-DD.

    Raises:
      ValueError: an artefact is of another data directory.
    """

    def __init__(self, root: pathlib.Path, change: changes.Change, date: str):
        self._root = root.resolve()
        self._change = change
        self._date = date
        self._there = places(root)
        # Many artefacts have the same parents.
        self._is_stale = functools.cache(self._looks_stale)

    def stale(self) -> list[pathlib.Path]:
        """Return the artefacts that have to be made anew."""
        return [place for place in self._there if self._is_stale(place)]

    def _looks_stale(self, place: pathlib.Path) -> bool:
        manifest = self._there[place]
        of = (_resolved(place, parent) for parent in manifest.parents.values())
        return self._change.concerns(place, manifest) or any(
            self._is_stale(parent) for parent in of if parent in self._there
        )

    def run(self) -> int:
        """Make stale artefacts anew; return how many there were.

        They are whole, as `check` has found. Resumable states hold weights of
        before: what is under way begins anew.
        """
        stale = self.stale()
        if self._change.happened:
            for name in (_PROGRESS, jobs.DIRECTORY):
                for directory in sorted(self._root.rglob(name)):
                    shutil.rmtree(directory)
        if stale:
            with store.staged(self._root / "without") as staging:
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
        manifest = self._there[place]
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
        concerned = self._change.concerns(place, manifest)
        new = manifest
        if concerned:
            new = self._change.manifest(place, manifest)
        record = {
            "date": self._date,
            # What exports and lists of withdrawn versions know it by.
            "was": store.file_hash(place / store.MANIFEST),
            **(self._change.said(place, manifest) if concerned else {}),
        }
        said = [*manifest.metrics.get(self._change.name, ()), record]
        new = dataclasses.replace(
            new,
            parents=parents,
            metrics={**new.metrics, self._change.name: said},
            files={},
        )
        target = staging / place.relative_to(self._root)
        with store.publish(target, new) as directory:
            kept = set(manifest.files)
            if concerned:
                kept -= self._change.write(place, manifest, directory)
            for name in kept:
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                store.link(place / name, directory / name)
        made[place] = target


def hashes_before(manifest: store.Manifest) -> list[str]:
    """Return the hashes that the manifest of an artefact had before."""
    return [
        record["was"]
        for name in changes.NAMES
        for record in manifest.metrics.get(name, ())
    ]


def former(root: pathlib.Path) -> dict[str, str]:
    """Return what manifests that were made anew had: hash -> hash now."""
    return dict(_former(root))


def _former(root: pathlib.Path) -> Iterator[tuple[str, str]]:
    for place, manifest in places(root).items():
        now = store.file_hash(place / store.MANIFEST)
        for was in hashes_before(manifest):
            yield was, now


def _resolved(place: pathlib.Path, parent: Mapping[str, str]) -> pathlib.Path:
    return (place / parent["path"]).resolve()
