"""Files of a day that are not what its manifest says, and what is left of them.

Records of a shard have check sums of their own, so those that are whole can be
told from those that are not. A shard in which all are whole is not damaged but
another one: none of its rows is used.
"""

import dataclasses
import pathlib
import types
import typing

import numpy as np

from ecdctr_tf import store
from ecdctr_tf.input import new_day, tfrecords

# What readers do about a damaged shard: nothing of its day is read, all of the
# shard is left out, or its records that are not whole are.
POLICIES = FAIL, SKIP_SHARD, SKIP_RECORD = "fail", "skip_shard", "skip_record"
# In the metrics of a day's manifest: what a repair has left out.
LOST = "lost"


@dataclasses.dataclass(frozen=True)
class Readable:
    """What can be read of a day."""

    # With the counts of the rows that are left.
    manifest: store.Manifest
    # With these rows, in order.
    files: list[pathlib.Path]
    # Name of each damaged file -> what is wrong.
    damaged: dict[str, str]
    # How many `rows` and `clicks` are left out.
    lost: dict[str, int]


def found(path: pathlib.Path, names: list[str]) -> dict[str, str]:
    """Return what is wrong with files of a day, by name.

    Args:
      path: of the day, whose manifest is whole.
      names: of the files.
    """
    wrong = {}
    for name in names:
        try:
            store.verify(path, "day", [name])
        except (FileNotFoundError, ValueError) as error:
            wrong[name] = str(error)
    return wrong


def readable(
    path: pathlib.Path,
    manifest: store.Manifest,
    names: list[str],
    file_format: types.ModuleType,
    salvage: pathlib.Path | None,
) -> Readable:
    """Return what can be read of a day.

    Args:
      path: of the day.
      manifest: of the day.
      names: of its shards.
      file_format: that of the shards, see `data_directory.FORMATS`.
      salvage: where whole records of damaged shards are written; made if need
        be. None leaves these shards out.
    """
    damaged = found(path, names)
    if not damaged:
        files = [path / name for name in names]
        return Readable(manifest, files, {}, {"rows": 0, "clicks": 0})
    files = []
    for name in names:
        if name not in damaged:
            files.append(path / name)
        elif salvage is not None and _salvaged(path / name, salvage / name):
            files.append(salvage / name)
    left = counted(manifest, [file_format.counted(file) for file in files])
    lost = {
        "rows": manifest.rows - left.rows,
        "clicks": manifest.metrics.get("clicks", 0) - left.metrics["clicks"],
    }
    return Readable(left, files, damaged, lost)


def _salvaged(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Write the whole records of a shard; return whether there are any."""
    if not source.is_file():
        return False
    records = list(tfrecords.checked(source))
    whole = [record for record in records if record is not None]
    if not whole or len(whole) == len(records):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    tfrecords.write(target, whole)
    return True


def counted(
    manifest: store.Manifest, files: list[dict[str, np.ndarray]]
) -> store.Manifest:
    """Return the manifest of a day with other rows.

    Args:
      manifest: of the day as it was published.
      files: columns of the rows of each file, see `blocks.counted`.
    """
    metrics: dict[str, typing.Any] = dict(manifest.metrics)
    metrics["clicks"] = sum(int(rows["click"].sum()) for rows in files)
    names = manifest.config.get(new_day.SOURCES)
    if names:
        metrics[new_day.SOURCES] = new_day.of_sources(names, files)
    rows = sum(len(rows["click"]) for rows in files)
    return dataclasses.replace(manifest, rows=rows, metrics=metrics)
