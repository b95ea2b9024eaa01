"""A day of a data directory while it is written."""

import pathlib
import threading
import typing
from collections.abc import Callable

from ecdctr_tf import features, store

# In the manifest of a day that came late: rows of each table in use when it was
# written. Days after it that were there before it have taken some of them.
IN_USE = "table_rows"


class NewDay:
    """A day under way.

    Args:
      staging: the directory that becomes the day; other files may be added.
      manifest: of the day.
      spec: says which columns there are.
      write: of the file format.
    """

    def __init__(
        self,
        staging: pathlib.Path,
        manifest: store.Manifest,
        spec: features.DataSpec,
        write: Callable[[pathlib.Path, dict, features.DataSpec], None],
    ):
        self.staging = staging
        self.manifest = manifest
        self._spec = spec
        self._write = write
        self._lock = threading.Lock()

    def write(self, number: int, rows: dict[str, typing.Any]) -> None:
        """Write a file of rows; several threads may write files.

        Args:
          number: of the file, from 0.
          rows: columns as `blocks.write` takes them.
        """
        config, metrics = self.manifest.config, self.manifest.metrics
        path = self.staging / f"part-{number:05d}.tfrecord"
        self._write(path, rows, self._spec)
        with self._lock:
            config["shards"] += 1
            self.manifest.rows += len(rows["click"])
            metrics["clicks"] += int(rows["click"].sum())

    def know(self, table_rows: dict[str, int], in_use: dict[str, int]) -> None:
        """Say which rows of each table there are at the end of the day.

        Args:
          table_rows: those known.
          in_use: those in use: more, where a day comes late and later days
            have taken some.
        """
        self.manifest.ids = {n: {"rows": r} for n, r in table_rows.items()}
        if in_use != table_rows:
            self.manifest.config[IN_USE] = in_use
