"""A day of a data directory while it is written."""

import dataclasses
import pathlib
import threading
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from ecdctr_tf import features, store

# In the manifest of a day that came late: rows of each table in use when it was
# written. Days after it that were there before it have taken some of them.
IN_USE = "table_rows"
# In the manifest of a natural day: the names of the sources in its config, and
# what it holds of each in its metrics.
SOURCES = "sources"


@dataclasses.dataclass(frozen=True)
class Held:
    """What a file of rows holds."""

    rows: int
    clicks: int
    # Rows, clicks and weights of each source, float64 `[sources, 3]`; None
    # where there are no sources.
    sources: np.ndarray | None


class Fingerprinted(Protocol):
    """Ids of a table, those known early first, such as an id space."""

    def fingerprint(self, rows: int) -> dict:
        """Return `{"rows", "sha256"}` of the ids of the first rows."""


class NewDay:
    """A day under way.

    Args:
      staging: the directory that becomes the day; other files may be added.
      manifest: of the day.
      spec: says which columns there are.
      write: of the file format.
      sources: names of the sources, in the order of their numbers.
    """

    def __init__(
        self,
        staging: pathlib.Path,
        manifest: store.Manifest,
        spec: features.DataSpec,
        write: Callable[[pathlib.Path, dict, features.DataSpec], None],
        sources: Sequence[str] = (),
    ):
        self.staging = staging
        self.manifest = manifest
        self._spec = spec
        self._write = write
        self._lock = threading.Lock()
        self._sources = (features.UNKNOWN_SOURCE, *sources) if sources else ()
        # Number of a file -> what it holds of each source.
        self._held: dict[int, np.ndarray] = {}
        if sources:
            manifest.config[SOURCES] = list(sources)
            self._count()

    def write(self, number: int, rows: dict[str, typing.Any]) -> None:
        """Write a file of rows; several threads may write files.

        Args:
          number: of the file, from 0.
          rows: columns as `blocks.write` takes them.
        """
        self._write(self.staging / file_name(number), rows, self._spec)
        self.count(number, held(rows, len(self._sources)))

    def count(self, number: int, of_file: Held) -> None:
        """Count the rows of a file that is in `staging`.

        Args:
          number: of the file.
          of_file: as `held` returns it, given the sources and the unknown one.
        """
        with self._lock:
            self.manifest.config["shards"] += 1
            self.manifest.rows += of_file.rows
            self.manifest.metrics["clicks"] += of_file.clicks
            if self._sources:
                self._held[number] = of_file.sources
                self._count()

    def _count(self) -> None:
        """Say what there is of each source; of files in order, as sums are."""
        held = [held for _, held in sorted(self._held.items())]
        self.manifest.metrics[SOURCES] = _total(self._sources, held)

    def know(
        self,
        table_rows: dict[str, int],
        in_use: dict[str, int],
        id_spaces: Mapping[str, Fingerprinted] | None = None,
    ) -> None:
        """Say which rows of each table there are at the end of the day.

        Args:
          table_rows: those known.
          in_use: those in use: more, where a day comes late and later days
            have taken some.
          id_spaces: of the tables, whose ids readers are to find; None: the
            ids are not known.
        """
        self.manifest.ids = {
            name: {"rows": rows}
            if id_spaces is None
            else id_spaces[name].fingerprint(rows)
            for name, rows in table_rows.items()
        }
        if in_use != table_rows:
            self.manifest.config[IN_USE] = in_use


def of_sources(
    names: Sequence[str], files: Iterable[dict[str, np.ndarray]]
) -> dict[str, dict[str, typing.Any]]:
    """Return what files of rows hold of each source, as manifests say it.

    Args:
      names: of the sources, in the order of their numbers.
      files: columns of the rows of each file, as `NewDay.write` takes them.
    """
    known = (features.UNKNOWN_SOURCE, *names)
    return _total(known, [_by_source(rows, len(known)) for rows in files])


def _total(
    names: Sequence[str], held: list[np.ndarray]
) -> dict[str, dict[str, typing.Any]]:
    total = sum(held, np.zeros([len(names), 3]))
    return {
        name: {"rows": int(rows), "clicks": int(clicks), "weight": weight}
        for name, (rows, clicks, weight) in zip(
            names, total.tolist(), strict=True
        )
        if rows
    }


def file_name(number: int) -> str:
    """Return the name of a file of rows."""
    return f"part-{number:05d}.tfrecord"


def held(rows: dict[str, typing.Any], sources: int) -> Held:
    """Return what a file of rows holds.

    Args:
      rows: as `NewDay.write` takes them.
      sources: how many there are, with the unknown one; 0: none.
    """
    return Held(
        len(rows["click"]),
        int(rows["click"].sum()),
        _by_source(rows, sources) if sources else None,
    )


def _by_source(rows: dict[str, typing.Any], count: int) -> np.ndarray:
    """Return rows, clicks and weights of each source, float64 `[count, 3]`."""
    clicks = np.asarray(rows["click"])
    number = np.asarray(
        rows.get(features.SOURCE, np.zeros(len(clicks))), np.int64
    )
    if number.max(initial=0) >= count:
        raise ValueError(
            f"`{features.SOURCE}` should be numbers of sources, from 0 to "
            f"{count - 1}. Received: {number.max()}"
        )
    weights = rows.get("weight", np.ones(len(clicks)))
    columns = (None, clicks, weights)
    return np.stack([np.bincount(number, c, count) for c in columns], 1)
