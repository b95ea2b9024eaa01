"""What is left of users after an erasure, in all files and by membership.

Two ways that do not trust the erasure: all files are searched for the bytes of
the ids (`searching`), and what is numbered is asked. No vocabulary knows the
ids; no row of a day and no score is of a table row that is unassigned; what
was made anew has zeros in these table rows; and an exported version answers for
an erased id as for one that it never saw.
"""

import dataclasses
import pathlib
import typing
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import tensorflow as tf

from ecdctr_tf import artefacts, features, store
from ecdctr_tf.erasure import changes, runs, searching, tables
from ecdctr_tf.export import load, probe, saved_model, signatures, versions
from ecdctr_tf.input import id_space, streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.windows import Window

# Findings that a table shows of one kind.
_SHOWN = 3
# Erased ids that each version is asked for.
_ASKED = 100


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one way of looking came to."""

    what: str
    looked_at: str
    # What was found of the users, in words; empty if nothing.
    found: list[str]


def run(
    data: DataDirectory,
    workdir: pathlib.Path,
    export_dir: pathlib.Path,
    ids: pa.Array,
) -> list[Outcome]:
    """Return what is left of users.

    Args:
      data: the data directory.
      workdir: the work directory.
      export_dir: the base path of the served model; need not exist.
      ids: raw ids, of the type of their table.
    """
    asked = _Asked(data, ids)
    roots = [data.path, workdir]
    if export_dir.is_dir() and not export_dir.resolve().is_relative_to(
        workdir.resolve()
    ):
        roots.append(export_dir)
    return [
        _bytes(roots, ids),
        asked.vocabularies(),
        asked.days(),
        asked.artefacts(workdir),
        asked.exports(export_dir),
    ]


def _bytes(roots: list[pathlib.Path], ids: pa.Array) -> Outcome:
    """Search all files for ids that are long enough."""
    wanted = searching.wanted(ids)
    files = [file for root in roots for file in searching.files(root)]
    looked = f"{len(files):,} files, for {len(wanted):,} ids"
    if len(wanted) < len(ids):
        looked += (
            f"; {len(ids) - len(wanted):,} ids of fewer than {searching.LEAST} "
            "bytes, which occur by chance, were left to the others"
        )
    found = []
    for file in files if len(wanted) else ():
        if searching.holds(file, wanted) is not None:
            found.append(f"{file} holds one of the ids")
    return Outcome("bytes", looked, found)


class _Asked:
    """Asks what is numbered for ids."""

    def __init__(self, data: DataDirectory, ids: pa.Array):
        self._data = data
        self._ids = ids
        self._table = data.spec.feature(data.spec.user).table
        self._space = typing.cast(
            id_space.Vocabulary, data.id_spaces[self._table]
        )
        self._rows = self._space.unassigned

    def vocabularies(self) -> Outcome:
        """Look the ids up; a user who came back since has a new row."""
        known = self._known(self._space)
        looked = f"{self._space.rows:,} rows of {self._table}"
        return Outcome("vocabulary", looked, [f"{known:,} ids"] * bool(known))

    def _known(self, space: id_space.Vocabulary) -> int:
        return int((space.lookup(self._ids) >= space.table.buckets).sum())

    def days(self) -> Outcome:
        """Look for rows of days whose user is an unassigned row."""
        found, rows = [], 0
        for domain in features.DOMAINS:
            for day in self._data.days(domain):
                if not self._data.manifest(domain, day).rows:
                    continue
                user, item = self._data.spec.user, self._data.spec.item
                users = streams.read_columns(
                    self._data, domain, Window(day, day), [user, item]
                )[user]
                rows += len(users)
                if np.isin(users, self._rows).any():
                    found.append(f"{domain}/{day} has rows of the users")
        return Outcome("rows of days", f"{rows:,} rows", found)

    def artefacts(self, workdir: pathlib.Path) -> Outcome:
        """Look through scores, and for table rows that are not zero."""
        there = runs.places(workdir)
        found = [
            f"{place}: {what}"
            for place, manifest in there.items()
            for what in self._of_artefact(place, manifest)
        ]
        return Outcome("artefacts", f"{len(there):,} artefacts", found)

    def _of_artefact(
        self, place: pathlib.Path, manifest: store.Manifest
    ) -> Iterator[str]:
        for name in (artefacts.SCORES, artefacts.HELD_OUT):
            if name in manifest.files:
                scores = artefacts.read_scores(place, name)
                if np.isin(scores["user"], self._rows).any():
                    yield f"{name} has rows of the users"
        # What was trained since may start rows of nobody as any other row.
        anew = bool(manifest.metrics.get(changes.ERASED))
        for prefix in tables.checkpoints(place):
            left = tables.left(place, prefix, self._table, self._space)
            yield from (f"{name} knows users" for name in left if anew)

    def exports(self, export_dir: pathlib.Path) -> Outcome:
        """Ask each version for the ids, and for one that nobody has."""
        numbers = versions.numbers(export_dir)
        found = []
        for number in numbers:
            place = export_dir / str(number)
            manifest = store.read_manifest(place, saved_model.KIND)
            spaces = load.known_spaces(manifest, self._data)
            if not self._answers_alike(place, spaces):
                found.append(f"{place} answers for some ids as for known ones")
        return Outcome("exports", f"{len(numbers):,} versions", found)

    def _answers_alike(
        self, place: pathlib.Path, spaces: dict[str, id_space.IdSpace]
    ) -> bool:
        """Return whether a version knows none of the ids."""
        served = tf.saved_model.load(str(place))
        signature = served.signatures[signatures.DEFAULT]
        user = self._data.spec.user
        ids = self._ids.slice(0, _ASKED)
        nobody = probe.unknown(spaces[self._table])
        answers = []
        for users in (ids.to_pylist(), [nobody] * len(ids)):
            sent = {}
            for name, of in signature.structured_input_signature[1].items():
                shape = [
                    len(ids),
                    *(1 if n is None else n for n in of.shape[1:]),
                ]
                sent[name] = tf.zeros(shape, of.dtype)
                if of.dtype == tf.string:
                    sent[name] = tf.fill(shape, "")
            sent[user] = tf.constant(users, sent[user].dtype)
            answers.append(signature(**sent)["ctr"].numpy())
        return np.array_equal(*answers)


def lines(outcomes: list[Outcome]) -> dict[str, list[str]]:
    """Return the rows of a table: way of looking -> its cells."""
    return {
        of.what: [
            of.looked_at,
            "; ".join(of.found[:_SHOWN])
            + (
                f" and {len(of.found) - _SHOWN:,} more"
                * (len(of.found) > _SHOWN)
            )
            or "nothing",
        ]
        for of in outcomes
    }
