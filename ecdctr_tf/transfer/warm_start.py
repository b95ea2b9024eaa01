"""Warm start: weights of one model into another, with a report.

Variables are matched by their path in the object graph. Rows of a table are
matched by id: vocabularies are append-only, so the rows of the smaller table
are the first of the larger one, which `check_ids` makes sure of. Everything is
checked before anything is changed.
"""

import dataclasses
from collections.abc import Collection

import numpy as np
import tensorflow as tf

from ecdctr_tf import store

RESTORED = "restored"
REMAPPED = "remapped"
REINITIALISED = "re-initialised"
NEW = "new"

# What has a row for each id; only these may have more or fewer rows.
_OF_TABLES = ("embedding/", "table_optimizer/")
_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


@dataclasses.dataclass(frozen=True)
class RestoredVariable:
    """What happened to one variable."""

    name: str
    # "restored", "remapped" (rows by id), "re-initialised" or "new".
    status: str
    shape: tuple[int, ...]
    # Rows (first axis) taken from the checkpoint.
    rows_restored: int
    # Euclidean norm before and after.
    norm_before: float
    norm_after: float


@dataclasses.dataclass(frozen=True)
class RestoreReport:
    """What happened to every variable of a model."""

    source: str
    variables: tuple[RestoredVariable, ...]
    # Names in the checkpoint that the model has no place for.
    unused: tuple[str, ...]
    # Features that were the same in all rows that the source was trained on:
    # they have no effect until the model has been trained on rows where they
    # differ.
    unseen: tuple[str, ...] = ()

    @property
    def restored_share(self) -> float:
        """Share of the model's weights that came from the checkpoint."""
        total = sum(max(int(np.prod(v.shape)), 1) for v in self.variables)
        restored = sum(
            v.rows_restored * int(np.prod(v.shape[1:])) for v in self.variables
        )
        return restored / max(total, 1)

    def to_dict(self) -> dict:
        """Return the report as JSON-ready values."""
        return {
            "source": self.source,
            "restored_share": self.restored_share,
            "unused": list(self.unused),
            "unseen": list(self.unseen),
            "variables": [dataclasses.asdict(v) for v in self.variables],
        }


def restore(
    variables: dict[str, tf.Variable],
    values: dict[str, np.ndarray],
    source: str,
    batch_norm: str = "keep",
    allow_new: tuple[str, ...] = (),
) -> RestoreReport:
    """Assign the values of a checkpoint to the variables of a model.

    Args:
      variables: the model's, by path.
      values: the checkpoint's, by path.
      source: where the values come from, for messages.
      batch_norm: "full" leaves batch norm as initialised; "keep" and
        "statistics" restore it (the latter is then re-estimated on ad data).
      allow_new: beginnings of names that the checkpoint may lack.

    Returns:
      The report; nothing about weights is silent.

    Raises:
      ValueError: a variable is missing, unexpected or of another shape (what
        has a row for each id may have more or fewer rows). The message lists
        all of them, missing ` - `, unexpected ` + `, other shape ` ! `, and
        no variable has been changed.
    """
    problems = [
        f" - {name}"
        for name in variables
        if name not in values and not name.startswith(allow_new or ("\0",))
    ]
    unused = tuple(sorted(set(values) - set(variables)))
    problems += [f" + {name}" for name in unused]
    for name in set(variables) & set(values):
        have, want = values[name].shape, tuple(variables[name].shape)
        by_id = name.startswith(_OF_TABLES) and len(have) == len(want) > 0
        if have != want and not (by_id and have[1:] == want[1:]):
            problems.append(f" ! {name}: {have} does not fit {want}")
    if problems:
        raise ValueError(
            f"{source} does not fit the model (- missing, + unexpected, "
            "! other shape); use the config and data spec it was made "
            "with:\n" + "\n".join(sorted(problems))
        )
    rows = [
        _restore_one(name, variable, values.get(name), batch_norm)
        for name, variable in variables.items()
    ]
    return RestoreReport(source, tuple(rows), unused)


def _restore_one(
    name: str, variable: tf.Variable, value: np.ndarray | None, batch_norm: str
) -> RestoredVariable:
    before = _norm(variable)
    shape, taken = tuple(variable.shape), 0
    if value is None:
        status = NEW
    elif batch_norm == "full" and name.split("/")[-1] in _BATCH_NORM:
        status = REINITIALISED
    elif value.shape == shape:
        status, taken = RESTORED, shape[0] if shape else 1
        variable.assign(value)
    else:
        old = variable.numpy()
        status, taken = REMAPPED, min(len(old), len(value))
        old[:taken] = value[:taken]
        variable.assign(old)
    return RestoredVariable(name, status, shape, taken, before, _norm(variable))


def _norm(variable: tf.Variable) -> float:
    return float(np.linalg.norm(variable.numpy()))


def check_ids(
    manifest: store.Manifest, id_spaces: dict, source: object
) -> None:
    """Make sure that an artefact numbers ids as the data directory does.

    Raises:
      ValueError: a vocabulary differs from the one the artefact was made with.
    """
    for table, recorded in manifest.ids.items():
        if table not in id_spaces:
            raise ValueError(
                f"{source} has the table {table!r}, which is not in the data "
                f"directory; that has {sorted(id_spaces)}."
            )
        space, rows = id_spaces[table], int(recorded["rows"])
        if rows > space.rows or space.fingerprint(rows) != recorded:
            raise ValueError(
                f"{source} was trained with another id space of table "
                f"{table!r}, of {rows:,} rows, than the data directory's, "
                f"which has {space.rows:,}: the same row stands for another "
                "id. Use the data directory it was trained on, or train it "
                "again on this one. If users were erased from the data "
                "directory since, or ids have expired, give the same "
                "--stage=erase or --stage=expire for this work directory too."
            )


def check_spec(
    manifest: store.Manifest, fingerprints: Collection[str], source: object
) -> None:
    """Make sure that an artefact was made for a data spec of the directory.

    Args:
      manifest: the artefact's.
      fingerprints: of the specs that the data directory has, or had.
      source: the artefact, for messages.

    Raises:
      ValueError: it was made for another one.
    """
    if manifest.spec not in fingerprints:
        raise ValueError(
            f"{source} was trained with the data spec {manifest.spec}; the "
            f"data directory has {', '.join(fingerprints)}. Use the data "
            "directory it was trained on, or train it again on this one."
        )
