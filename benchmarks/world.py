"""Synthetic logs of 20 ids, each on a table of its own, in any table size.

Ids are uniform, which is the hardest for a cache. A click is drawn from a
logistic model of hidden weights of the ids.

Shapes: N rows, F = 20 features, V rows of a table.
"""

import pathlib

import numpy as np

from ecdctr_tf import features, windows
from ecdctr_tf.input import data_directory, streams

FEATURES = tuple(f"feature_{i:02d}" for i in range(20))
DOMAIN = "natural"
FIRST_DAY = "2024-01-01"
IDS, CLICKS = "ids.npy", "clicks.npy"


def spec(rows: int) -> features.DataSpec:
    """Return the spec of tables of `rows` rows in total.

    The ids are hashes: there are no files of ids, whatever their number.
    """
    size = rows // len(FEATURES)
    return features.DataSpec(
        tables=tuple(
            features.TableSpec(name, ids="hashing", buckets=size)
            for name in FEATURES
        ),
        features=tuple(
            features.FeatureSpec(name, "id", name) for name in FEATURES
        ),
        user=FEATURES[0],
        item=FEATURES[1],
    )


def write(
    path: pathlib.Path,
    rows: int,
    days: int = 5,
    day_rows: int = 131_072,
    day_files: int = 2,
    file_format: str = "blocks",
    seed: int = 0,
) -> data_directory.DataDirectory:
    """Write a data directory of natural days.

    Args:
      path: the data directory; must not exist.
      rows: rows of all tables together, 20 at least.
      days: days from `FIRST_DAY` on.
      day_rows: N of a day.
      day_files: files of a day.
      file_format: "blocks" or "examples".
      seed: of the hidden weights and of the rows.

    Raises:
      FileExistsError: `path` exists.
    """
    path.mkdir(parents=True)
    spec(rows).save(path / data_directory.SPEC)
    data = data_directory.DataDirectory(path)
    size = rows // len(FEATURES)
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((len(FEATURES), size), np.float32)  # [F, V]
    table_rows = dict.fromkeys(FEATURES, size)
    first = windows.day_number(FIRST_DAY)
    for number in range(first, first + days):
        parts = (
            _columns(rng, weights, count, number * 86_400)
            for count in _shares(day_rows, day_files)
        )
        day = windows.day_name(number)
        data.write_day(DOMAIN, day, parts, table_rows, file_format)
    return data


def write_arrays(
    data: data_directory.DataDirectory, directory: pathlib.Path
) -> None:
    """Write the rows as arrays for those who cannot read data directories.

    Args:
      data: the data directory.
      directory: gets `ids.npy`, int32 `[N, F]`, and `clicks.npy`, float32
        `[N]`, in the order of the files.
    """
    columns = streams.read_columns(data, DOMAIN, data.window(DOMAIN))
    ids = np.stack([columns[name] for name in FEATURES], axis=1)  # [N, F]
    np.save(directory / IDS, ids)
    np.save(directory / CLICKS, columns["click"])


def _columns(rng, weights: np.ndarray, count: int, midnight: int) -> dict:
    """Return the columns of `count` rows, as `DataDirectory.write_day` asks."""
    size = weights.shape[1]
    ids = rng.integers(0, size, (len(FEATURES), count), np.int32)  # [F, N]
    logits = np.take_along_axis(weights, ids, axis=1).sum(axis=0)  # [N]
    chances = 1 / (1 + np.exp(1.5 - logits / 2))
    columns = dict(zip(FEATURES, ids, strict=True))
    columns["click"] = (rng.random(count) < chances).astype(np.float32)
    columns["timestamp"] = midnight + np.arange(count) % 86_400
    return columns


def _shares(count: int, parts: int) -> list[int]:
    """Return `count` in `parts` near-equal whole numbers."""
    return [count * (i + 1) // parts - count * i // parts for i in range(parts)]
