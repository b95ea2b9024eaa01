"""The newest expiry of a data directory, and how it numbered rows anew.

`expired.npz` is there once ids have expired. An artefact that was made before
bears a hash that a vocabulary had until then, so it is found, and its rows get
their new numbers. Only the newest expiry is kept: an artefact that has missed
it and comes after the next one is of another directory.

Shapes: G rows that are gone, N rows.
"""

import dataclasses
import json
import pathlib
import typing
import zipfile

import numpy as np

from ecdctr_tf import typed_values

FILE = "expired.npz"
_ABOUT = "about"


@dataclasses.dataclass(frozen=True)
class Renumbering:
    """New numbers of the rows of a table, less some that are gone."""

    # int32 `[G]`, in order; no buckets of unknown ids.
    gone: np.ndarray
    # int32 `[G]`, the bucket that the id of each reads from now on.
    buckets: np.ndarray

    def count(self, rows: int) -> int:
        """Return how many of the first rows are left."""
        return rows - int(np.searchsorted(self.gone, rows))

    def kept(self, rows: int) -> np.ndarray:
        """Return those of the first rows that are left, int64, in order."""
        gone = self.gone[: np.searchsorted(self.gone, rows)]
        return np.delete(np.arange(rows), gone)

    def is_gone(self, rows: np.ndarray) -> np.ndarray:
        """Return whether rows are gone, bool, of any shape."""
        return np.isin(rows, self.gone)

    def renumbered(self, rows: np.ndarray) -> np.ndarray:
        """Return the new numbers of rows, of any shape.

        Rows that are gone become the bucket of their id; -1, an unused place,
        stays.
        """
        if not len(self.gone):
            return rows
        place = np.searchsorted(self.gone, rows)
        found = np.minimum(place, len(self.gone) - 1)
        new = np.where(
            self.gone[found] == rows, self.buckets[found], rows - place
        )
        return new.astype(rows.dtype)


@dataclasses.dataclass(frozen=True)
class Expiry:
    """Ids that expired together."""

    # YYYY-MM-DD, UTC.
    date: str
    # Ids went that nothing of so many days had.
    unseen_days: int
    # The newest day that there was.
    newest: str
    # Table -> hash that its vocabulary had until then, of its first rows ->
    # the hash that what is left of these has.
    hashes: dict[str, dict[str, str]]
    # Table -> new numbers; tables of which no row is gone are left out.
    tables: dict[str, Renumbering]


def load(directory: pathlib.Path) -> Expiry | None:
    """Return the newest expiry of a data directory; None if there was none.

    Raises:
      ValueError: the file is damaged.
    """
    file = directory / FILE
    if not file.exists():
        return None
    try:
        with np.load(file) as found:
            arrays = {name: found[name] for name in found.files}
        about = json.loads(str(arrays.pop(_ABOUT)))
        names = {name.rpartition("/")[0] for name in arrays}
        about["tables"] = {
            name: Renumbering(arrays[f"{name}/gone"], arrays[f"{name}/buckets"])
            for name in sorted(names)
        }
        return typed_values.make(Expiry, "The expiry", about)
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{file} is damaged: {error} Put the file back."
        ) from error


def save(directory: pathlib.Path, expiry: Expiry) -> None:
    """Write the newest expiry of a data directory."""
    arrays: dict[str, typing.Any] = {}
    for name, table in expiry.tables.items():
        arrays[f"{name}/gone"] = table.gone
        arrays[f"{name}/buckets"] = table.buckets
    about = {
        "date": expiry.date,
        "unseen_days": expiry.unseen_days,
        "newest": expiry.newest,
        "hashes": expiry.hashes,
    }
    np.savez_compressed(directory / FILE, about=json.dumps(about), **arrays)


def check_scored(directory: pathlib.Path, day: str) -> None:
    """Make sure that no id is known of a day because it came up later.

    Args:
      directory: the data directory.
      day: a day that is about to be scored.

    Raises:
      ValueError: ids have expired by what came up to the day or later.
    """
    expiry = load(directory)
    if expiry is not None and day <= expiry.newest:
        raise ValueError(
            f"{day} cannot be scored any more: on {expiry.date} ids expired "
            f"from {directory} by what had come up to {expiry.newest}, so the "
            "ids that are left say what came later. Score days after "
            f"{expiry.newest}, or convert the logs again into another "
            "directory."
        )
