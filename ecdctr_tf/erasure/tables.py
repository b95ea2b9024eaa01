"""Ids out of the files of an artefact.

Shapes: V rows of a table, D width, S versions, N scored rows.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from ecdctr_tf import artefacts
from ecdctr_tf.input import expired, id_space
from ecdctr_tf.transfer import checkpoint, historical, snapshots

# Checkpoints with raw ids, and what each holds of them.
_OF_IDS = (snapshots.NAME, historical.NAME)
_SCORES = (artefacts.SCORES, artefacts.HELD_OUT)
_TABLE = re.compile(r"(?:.*/)?tables/(.+)/embeddings$")
_STATE = re.compile(r"table_optimizer/(\d+)$")
Arrays = dict[str, np.ndarray]


def erase(
    source: pathlib.Path,
    target: pathlib.Path,
    table: str,
    space: id_space.Vocabulary,
) -> set[str]:
    """Write the files of an artefact that hold anything of erased users.

    Args:
      source: the artefact.
      target: where they are written.
      table: the table of users.
      space: its vocabulary, in which the users have been erased.

    Returns:
      The names of the files that were written, or were left out.

    Raises:
      ValueError: the state of optimizers is not that of the tables.
    """
    done = set()
    rows = space.unassigned
    for name in _SCORES:
        file = source / name
        if file.exists() and write_scores(file, target / name, rows):
            done.add(name)
    sizes = _sizes(source)
    for prefix in checkpoints(source):
        arrays = checkpoint.read(source / prefix)
        arrays = _erased(arrays, prefix, sizes, table, space)
        checkpoint.write(target / prefix, arrays)
        done |= {file.name for file in source.glob(f"{prefix}.*")}
    return done & {file.name for file in source.iterdir()}


def _erased(
    arrays: Arrays,
    prefix: str,
    sizes: dict[str, int],
    table: str,
    space: id_space.Vocabulary,
) -> Arrays:
    """Return the arrays of a checkpoint without users; others as they are."""
    if prefix in _OF_IDS:
        return _without(arrays, table, space)
    if prefix == artefacts.MERGED:
        return _merged(arrays, table, space.unassigned)
    if prefix == artefacts.OPTIMIZER:
        names = states(arrays, sizes).get(table, [])
    else:
        names = weights(arrays, table)
    return _zeroed(arrays, names, space.unassigned)


@dataclasses.dataclass(frozen=True)
class Renumbered:
    """A table of an artefact whose rows get new numbers."""

    # Its vocabulary, with the new numbers.
    space: id_space.Vocabulary
    # int64 `[K]`, the rows that stay of those that the artefact knows.
    kept: np.ndarray


def renumber(
    source: pathlib.Path,
    target: pathlib.Path,
    kind: str,
    changed: Mapping[str, Renumbered],
    roles: Mapping[str, expired.Renumbering],
) -> set[str]:
    """Write the files of an artefact whose rows get new numbers.

    What was counted of the rows of scored days is left out (`INPUTS`): bins of
    ids are made of their numbers.

    Args:
      source: the artefact.
      target: where they are written.
      kind: of the artefact.
      changed: table -> its rows.
      roles: "user" or "item", a column of scores -> new numbers of its table.

    Returns:
      The names of the files that were written, or were left out.

    Raises:
      ValueError: the state of optimizers is not that of the tables.
    """
    done = {artefacts.INPUTS}
    for name in _SCORES:
        if (source / name).exists():
            with np.load(source / name) as file:
                scores: dict = {column: file[column] for column in file.files}
            for role, of_role in roles.items():
                scores[role] = of_role.renumbered(scores[role])
            np.savez(target / name, **scores)
            done.add(name)
    sizes = _sizes(source)
    for prefix in checkpoints(source):
        arrays = checkpoint.read(source / prefix)
        optimizer = prefix == artefacts.OPTIMIZER
        by_table = states(arrays, sizes) if optimizer else {}
        for table, of in changed.items():
            names = by_table.get(table) or weights(arrays, table)
            arrays = _renumbered(arrays, prefix, table, of, names)
        checkpoint.write(target / prefix, arrays)
        done |= {file.name for file in source.glob(f"{prefix}.*")}
    if kind == artefacts.CPM:
        first = artefacts.first_rows(source)
        for table, of in changed.items():
            before = first.get(table, np.zeros(0, np.int64))
            numbers = np.append(before, np.arange(len(before), sizes[table]))
            first[table] = numbers[of.kept]
        artefacts.write_first_rows(target, first)
        done.add(artefacts.FIRST_ROWS)
    return done & {file.name for file in source.iterdir()}


def _renumbered(
    arrays: Arrays,
    prefix: str,
    table: str,
    of: Renumbered,
    names: list[str],
) -> Arrays:
    """Return the arrays of a checkpoint with new numbers of a table's rows.

    Args:
      arrays: of the checkpoint.
      prefix: its name.
      table: the table.
      of: its rows.
      names: of the arrays that have all rows of the table.
    """
    if prefix in _OF_IDS:
        return _without(arrays, table, of.space)
    if prefix == artefacts.MERGED:
        new = dict(arrays)
        for part in ("vectors", "present"):  # [S, V, D] and [S, V]
            name = f"{table}/{part}"
            if name in arrays:
                size = arrays[name].shape[1]
                new[name] = arrays[name][:, of.kept[of.kept < size]]
        return new
    return arrays | {name: arrays[name][of.kept] for name in names}


def checkpoints(place: pathlib.Path) -> list[str]:
    """Return the names of the checkpoints of an artefact."""
    return sorted(file.stem for file in place.glob("*.index"))


def write_scores(
    source: pathlib.Path, target: pathlib.Path, rows: np.ndarray
) -> bool:
    """Write scores without those of some users; return whether any went."""
    with np.load(source) as file:
        scores = {name: file[name] for name in file.files}
    gone = np.isin(scores["user"], rows)
    if gone.any():
        left: dict = {name: column[~gone] for name, column in scores.items()}
        np.savez(target, **left)
    return bool(gone.any())


def weights(arrays: Arrays, table: str) -> list[str]:
    """Return the names of weights that have a row for each id of a table."""
    found = ((name, _TABLE.match(name)) for name in arrays)
    return [name for name, match in found if match and match[1] == table]


def _sizes(place: pathlib.Path) -> dict[str, int]:
    """Return the rows of each trained table, in the order of optimizers."""
    if not (place / f"{artefacts.WEIGHTS}.index").exists():
        return {}
    arrays = checkpoint.read(place / artefacts.WEIGHTS)
    found = ((_TABLE.match(name), value) for name, value in arrays.items())
    sizes = {match[1]: len(value) for match, value in found if match}
    return dict(sorted(sizes.items()))


def states(arrays: Arrays, sizes: dict[str, int]) -> dict[str, list[str]]:
    """Return the names of what optimizers keep of each row, by table.

    Optimizers make the state of one table after the other, in order of their
    names, and as much of each.

    Args:
      arrays: the state.
      sizes: table -> its rows, in order of names.

    Raises:
      ValueError: the state is not that of the tables.
    """
    found = ((_STATE.match(name), name) for name in arrays)
    numbered = sorted((int(m[1]), name) for m, name in found if m)
    names = [name for _, name in numbered if arrays[name].ndim]
    each = len(names) // max(len(sizes), 1)
    by_table = {
        table: names[i * each : (i + 1) * each] for i, table in enumerate(sizes)
    }
    wrong = len(names) != each * len(sizes) or any(
        len(arrays[name]) != sizes[table]
        for table, of_table in by_table.items()
        for name in of_table
    )
    if wrong:
        raise ValueError(
            "The state of the optimizers should be that of the tables "
            f"{', '.join(sizes)}. Received: "
            f"{[arrays[name].shape for name in names]}"
        )
    return by_table


def _zeroed(arrays: Arrays, names: list[str], rows: np.ndarray) -> Arrays:
    """Return arrays of which some, `[V, ...]`, have zeros in some rows."""
    erased = dict(arrays)
    for name in names:
        erased[name] = arrays[name].copy()
        erased[name][rows[rows < len(erased[name])]] = 0
    return erased


def _merged(arrays: Arrays, table: str, rows: np.ndarray) -> Arrays:
    """Return merged historical vectors that know nothing of some rows."""
    erased = dict(arrays)
    for part in ("vectors", "present"):  # [S, V, D] and [S, V]
        name = f"{table}/{part}"
        if name in arrays:
            erased[name] = arrays[name].copy()
            erased[name][:, rows[rows < erased[name].shape[1]]] = 0
    return erased


def _without(arrays: Arrays, table: str, space: id_space.Vocabulary) -> Arrays:
    """Return a snapshot or version without ids that have no row any more."""
    if f"{table}/ids" not in arrays:
        return arrays
    rows = snapshots.rows_of(arrays[f"{table}/ids"], space)
    there = rows >= space.table.buckets
    return {
        name: value[there] if name.startswith(f"{table}/") else value
        for name, value in arrays.items()
    }


def left(
    place: pathlib.Path, prefix: str, table: str, space: id_space.Vocabulary
) -> list[str]:
    """Return what of a checkpoint `erase` would still change, by name."""
    arrays = checkpoint.read(place / prefix)
    after = _erased(arrays, prefix, _sizes(place), table, space)
    return [
        name
        for name, value in arrays.items()
        if not np.array_equal(value, after[name])
    ]
