r"""Reading: this project's stream against `tf.io.parse_example`.

```
python -m benchmarks.input --runs=5 --json=input.json
```

The same rows on disk as columnar blocks and as row-wise Examples: 20 ids and a
sequence of up to 20 entries. Both are read in batches of 4096, with a seeded
shuffle as for training and without.

Keys: `input_over_parse_example` (shuffled),
`input_over_parse_example_unshuffled`, and `two_features_over_all`.
"""

import pathlib
import tempfile
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks import harness, world
from ecdctr_tf import features, windows
from ecdctr_tf.input import data_directory, row_groups, streams

BATCH = 4096
# Entries of the longest sequence.
LENGTH = 20
SEQUENCE = "behaviors"
DAY = world.FIRST_DAY
# Rows of a table.
TABLE_ROWS = 1_000_000
# Rows of a file, but for the last one.
FILE_ROWS = 262_144
# What each of these looks back on when it shuffles; ours does on as many.
SHUFFLE_ROWS = row_groups.SHUFFLE_ROWS
# Passes of ours in a measurement: one is over too soon to be timed.
PASSES = 4
# Rows on disk without --rows.
ROWS = 524_288


def main() -> None:
    """Write the rows both ways, read them in turn, report."""
    rows = _rows()
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        blocks = write(directory / "blocks", rows, "blocks")
        examples = write(directory / "examples", rows, "examples")
        rates = harness.alternate(ways(blocks, examples), harness.RUNS.value)
        sizes = {
            f"{data.path.name}, bytes a row": _bytes(data) / rows
            for data in (blocks, examples)
        }
    harness.report(
        f"Input, rows/s, batches of {BATCH}",
        {**rates, **sizes},
        ratios(rates),
        f"{harness.command('input')} --rows={rows}",
        harness.JSON.value,
    )


def ways(blocks, examples) -> dict[str, Callable[[], float]]:
    """Return name -> function that reads all rows and returns rows/s.

    Args:
      blocks: data directory of columnar blocks.
      examples: data directory of the same rows as Examples.
    """
    two = world.FEATURES[:2]
    return {
        "stream, shuffled": lambda: rate(stream(blocks, 0)),
        "parse_example, shuffled": lambda: rate(parsed(examples, True)),
        "stream": lambda: rate(stream(blocks, None)),
        "parse_example": lambda: rate(parsed(examples, False)),
        "parse_single_example": lambda: rate(parsed_singly(examples)),
        "stream of 2 features, shuffled": lambda: rate(stream(blocks, 0, two)),
    }


def ratios(rates: dict[str, float]) -> dict[str, float]:
    """Return the keys of the JSON."""
    shuffled = rates["stream, shuffled"]
    two = rates["stream of 2 features, shuffled"]
    return {
        "input_over_parse_example": shuffled / rates["parse_example, shuffled"],
        "input_over_parse_example_unshuffled": rates["stream"]
        / rates["parse_example"],
        "two_features_over_all": two / shuffled,
    }


def rate(dataset: tf.data.Dataset) -> float:
    """Read a dataset of `(features, clicks)` to its end; return rows/s."""
    began = time.perf_counter()
    count = sum(int(clicks.shape[0]) for _, clicks in dataset)
    return count / (time.perf_counter() - began)


def stream(data, seed: int | None, names=None) -> tf.data.Dataset:
    """Return this project's batches, as training reads them."""
    names = names or [feature.name for feature in data.spec.features]
    window = data.window(world.DOMAIN)
    return streams.batches(
        data, world.DOMAIN, window, BATCH, seed, PASSES, names=names
    )


def parsed(data, shuffle: bool) -> tf.data.Dataset:
    """Return batches of Examples, parsed a batch at a time."""
    records = tf.data.TFRecordDataset(_files(data))
    if shuffle:
        records = records.shuffle(SHUFFLE_ROWS, seed=0)
    batches = records.batch(BATCH).map(
        lambda batch: _split(tf.io.parse_example(batch, _wanted(data.spec))),
        tf.data.AUTOTUNE,
    )
    return batches.prefetch(tf.data.AUTOTUNE)


def parsed_singly(data) -> tf.data.Dataset:
    """Return batches of Examples, parsed one at a time as tutorials do."""
    parse = tf.io.parse_single_example
    rows = tf.data.TFRecordDataset(_files(data)).map(
        lambda record: _split(parse(record, _wanted(data.spec))),
        tf.data.AUTOTUNE,
    )
    # A tenth of the rows takes long enough.
    rows = rows.take(-(-_rows() // 10))
    return rows.ragged_batch(BATCH).prefetch(tf.data.AUTOTUNE)


def _rows() -> int:
    return harness.ROWS.value or ROWS


def write(
    path: pathlib.Path, count: int, file_format: str
) -> data_directory.DataDirectory:
    """Write a data directory of one day of `count` rows.

    Args:
      path: the data directory; must not exist.
      count: rows; the same ones for the same number.
      file_format: "blocks" or "examples".
    """
    path.mkdir()
    spec().save(path / data_directory.SPEC)
    data = data_directory.DataDirectory(path)
    rng = np.random.default_rng(0)
    parts = (
        _columns(rng, min(FILE_ROWS, count - start))
        for start in range(0, count, FILE_ROWS)
    )
    data.write_day(world.DOMAIN, DAY, parts, {}, file_format)
    return data


def spec() -> features.DataSpec:
    """Return the spec: 20 ids on tables of their own, a sequence on one."""
    ids = world.spec(TABLE_ROWS * len(world.FEATURES))
    sequence = features.FeatureSpec(
        SEQUENCE, "sequence", world.FEATURES[1], max_length=LENGTH
    )
    return features.DataSpec(
        tables=ids.tables,
        features=(*ids.features, sequence),
        user=ids.user,
        item=ids.item,
    )


def _columns(rng, count: int) -> dict:
    """Return columns of uniform ids and sequences of 0 to 20 entries."""
    columns = {
        name: rng.integers(0, TABLE_ROWS, count, np.int32)
        for name in world.FEATURES
    }
    entries = rng.integers(0, TABLE_ROWS, (count, LENGTH), np.int32)
    lengths = rng.integers(0, LENGTH + 1, (count, 1))
    unused = np.arange(LENGTH) >= lengths
    columns[SEQUENCE] = np.where(unused, features.PADDING, entries)
    columns["click"] = (rng.random(count) < 0.2).astype(np.float32)
    midnight = windows.day_number(DAY) * 86_400
    columns["timestamp"] = midnight + np.arange(count) % 86_400
    return columns


def _wanted(spec) -> dict:
    number = tf.io.FixedLenFeature([], tf.int64)
    wanted = dict.fromkeys(
        [f.name for f in spec.features if f.kind == "id"], number
    )
    wanted[SEQUENCE] = tf.io.RaggedFeature(tf.int64)
    wanted["click"] = number
    return wanted


def _split(columns: dict) -> tuple:
    clicks = columns.pop("click")
    return columns, clicks


def _files(data) -> list[str]:
    directory = data.path / world.DOMAIN / DAY
    return [
        str(directory / name) for name in data.manifest(world.DOMAIN, DAY).files
    ]


def _bytes(data) -> int:
    return sum(pathlib.Path(name).stat().st_size for name in _files(data))


if __name__ == "__main__":
    harness.run(main)
