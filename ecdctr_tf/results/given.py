"""Scores that users bring: a baseline of their own beside the models.

A `.parquet` or `.npz` file has the columns `user`, `item` and `timestamp`, raw
ids as in the logs and seconds since 1970-01-01 UTC (or a type of time), and
`score`, a click probability. Rows are in any order, and may be of other days.

Shapes: N rows of scored days, M rows of the file, K of them near those days.
"""

import dataclasses
import pathlib
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ecdctr_tf import features, windows
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import slices

_COLUMNS = (*slices.ROLES, "timestamp", "score")
# What readers raise of a damaged file.
_UNREADABLE = (
    pa.ArrowException,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    ValueError,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """The scores of a file."""

    # What tables and plots call them.
    name: str
    path: pathlib.Path
    # Column -> its values `[M]`.
    columns: Mapping[str, np.ndarray]

    def of_day(self, data: DataDirectory, window: windows.Window) -> np.ndarray:
        """Return the scores of the rows of days scored together, `[N]`.

        Raises:
          ValueError: a row has no score or several, or ids have another type
            than those of the data.
        """
        spec = data.spec
        names = {role: getattr(spec, role) for role in slices.ROLES}
        rows = streams.read_columns(
            data, features.ADS, window, names=[*names.values()]
        )
        keys = [rows[name] for name in (*names.values(), "timestamp")]
        wanted = np.stack(keys, axis=1)  # [N, 3]
        if not len(wanted):
            return np.zeros(0)
        times = self.columns["timestamp"]
        first, last = wanted[:, 2].min(), wanted[:, 2].max()
        near = np.flatnonzero((times >= first) & (times <= last))
        known = data.table_rows(window.last)
        keys = [
            self._table_rows(data, role, spec.feature(name).table, near, known)
            for role, name in names.items()
        ]
        have = np.stack([*keys, times[near]], axis=1)  # [K, 3]
        return self._matched(wanted, have, near, window)

    def _table_rows(
        self,
        data: DataDirectory,
        role: str,
        table: str,
        near: np.ndarray,
        known: Mapping[str, int],
    ) -> np.ndarray:
        """Return the table rows that the ids of a role had on a day."""
        space, ids = data.id_spaces[table], self.columns[role][near]
        try:
            found = space.lookup(ids)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise ValueError(
                f"The column {role!r} of {self.path} should hold ids of table "
                f"{table!r}, which are {space.table.dtype}. Received: "
                f"{ids[:1].tolist()} ({error})"
            ) from error
        # An id that became known later was unknown then.
        return np.where(found < known[table], found, 0)

    def _matched(
        self,
        wanted: np.ndarray,
        have: np.ndarray,
        near: np.ndarray,
        window: windows.Window,
    ) -> np.ndarray:
        """Return the score of each row; equal rows in the order of the file."""
        both = np.concatenate([wanted, have])
        _, code = np.unique(both, axis=0, return_inverse=True)
        code = code.reshape(-1)
        asked, there = code[: len(wanted)], code[len(wanted) :]
        size = code.max() + 1
        counts = np.bincount(asked, minlength=size)
        found = np.bincount(there, minlength=size)
        wrong = np.flatnonzero(counts[asked] != found[asked])
        if len(wrong):
            row = wrong[0]
            raise ValueError(
                f"{self.path} should have one score for each of the "
                f"{len(wanted):,} scored rows of {window}; for {len(wrong):,} "
                "of them it has none, or too many. The first one is row "
                f"{row:,} of the data directory, at the time "
                f"{wanted[row, 2]}, with {found[asked[row]]} scores."
            )
        kept = np.flatnonzero(counts[there] > 0)
        kept = kept[np.argsort(there[kept], kind="stable")]
        scores = np.empty(len(wanted))
        scores[np.argsort(asked, kind="stable")] = self.columns["score"][
            near[kept]
        ]
        return scores


def read(text: str, taken: Sequence[str]) -> Given:
    """Return the scores of a flag `name=file`.

    Args:
      text: the flag.
      taken: names of models, which scores may not have.

    Raises:
      FileNotFoundError, ValueError: the flag or the file is not as the module
        says; the message says what is wrong.
    """
    name, _, file = text.partition("=")
    if not re.fullmatch(r"\w[\w-]*", name) or not file or name in taken:
        raise ValueError(
            "--scores should be name=file, with a name that no model has. "
            f"Received: {text!r}"
        )
    path = pathlib.Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"{path}, given as --scores, does not exist.")
    columns = _columns(path)
    if not set(_COLUMNS) <= set(columns):
        raise ValueError(
            f"{path} should have the columns {', '.join(_COLUMNS)}. "
            f"Received: {', '.join(columns)}"
        )
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError(f"The columns of {path} should be of one length.")
    columns["score"] = score = columns["score"].astype(np.float64)
    valid = (score >= 0) & (score <= 1)
    if not valid.all():
        row = np.flatnonzero(~valid)[0]
        raise ValueError(
            f"The column score of {path} should hold probabilities in [0, 1]. "
            f"Received: {score[row]} in row {row:,}"
        )
    times = columns["timestamp"]
    if times.dtype.kind == "M":
        columns["timestamp"] = times.astype("datetime64[s]").astype(np.int64)
    return Given(name, path, columns)


def _columns(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".npz":
            with np.load(path) as file:
                return {name: file[name] for name in file.files}
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            return {n: table[n].to_numpy() for n in table.column_names}
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    raise ValueError(
        f"--scores reads .parquet and .npz files. Received: {path.name!r}"
    )
