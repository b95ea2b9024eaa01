"""Dated snapshots of the TPM's embeddings.

A snapshot is a TensorFlow checkpoint with, for each table, raw `ids` `[N]`,
`vectors` float32 `[N, D]` and `counts` int64 `[N]`: the ids seen in the window
and how often. Rows of hashed tables have no raw id; their row number stands in.
"""

import dataclasses
import pathlib
import typing

import numpy as np

from ecdctr_tf import store
from ecdctr_tf.transfer import checkpoint

NAME = "snapshot"
KIND = "snapshot"


@dataclasses.dataclass(frozen=True)
class SnapshotTable:
    """The ids of one table that a window saw."""

    ids: np.ndarray  # raw ids, int64 or bytes, [N]
    vectors: np.ndarray  # float32 [N, D]
    counts: np.ndarray  # int64 [N]

    @classmethod
    def seen(
        cls, space: typing.Any, embeddings: np.ndarray, counts: np.ndarray
    ) -> "SnapshotTable":
        """Return the rows of a table that a window used.

        Args:
          space: the table's id space.
          embeddings: float32 `[V, D]`.
          counts: int64, uses of each row; longer or shorter than V.

        Rows of unknown ids belong to nobody and are left out.
        """
        rows = np.flatnonzero(counts[: len(embeddings)])
        if space.table.ids == "hashing":
            ids = rows.astype(np.int64)
        else:
            rows = rows[rows >= space.table.buckets]
            ids = space.raw(rows)
            if space.table.dtype == "string":
                ids = np.array([i.encode() for i in ids], dtype=object)
        return cls(ids, embeddings[rows], counts[rows].astype(np.int64))


def rows_of(ids: np.ndarray, space: typing.Any) -> np.ndarray:
    """Return the rows of a snapshot's `ids` in an id space, int32 `[N]`."""
    if space.table.ids == "hashing":
        return ids.astype(np.int32)
    if space.table.dtype == "string":
        return space.lookup([i.decode() for i in ids])
    return space.lookup(ids)


def write(directory: pathlib.Path, tables: dict[str, SnapshotTable]) -> None:
    """Write a snapshot's checkpoint into a directory being published."""
    arrays = {}
    for name, table in tables.items():
        arrays[f"{name}/ids"] = table.ids
        arrays[f"{name}/vectors"] = table.vectors
        arrays[f"{name}/counts"] = table.counts
    checkpoint.write(directory / NAME, arrays)


def read(directory: str | pathlib.Path) -> dict[str, SnapshotTable]:
    """Return the tables of a published snapshot.

    Raises:
      FileNotFoundError, ValueError: it is missing, damaged or something else.
    """
    store.verify(directory, KIND)
    arrays = checkpoint.read(pathlib.Path(directory) / NAME)
    names = {key.split("/")[0] for key in arrays}
    return {
        name: SnapshotTable(
            *(arrays[f"{name}/{f}"] for f in ("ids", "vectors", "counts"))
        )
        for name in sorted(names)
    }
