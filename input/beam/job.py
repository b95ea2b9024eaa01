"""What all workers of a conversion know, and where they keep their files."""

import contextlib
import dataclasses
import os
import pathlib
import secrets
import typing
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ecdctr_tf import features
from ecdctr_tf.input.conversion import impressions, toml_spec

# The two moments that a state is kept of; see `conversion.state`.
BEHIND, END = "behind", "end"
_WORK, _ERROR = ".beam", "error.txt"
# What the names of arrays of places begin with, and those of no column.
_PLACES = "@places/"


@dataclasses.dataclass(frozen=True)
class Job:
    """A conversion.

    Args:
      spec: tables, features and rules.
      directory: becomes the data directory; all workers see it.
      file_format: "blocks" or "examples".
      rows_per_file: rows of a TFRecord file.
      range_keys: users, or items, whose past is gone through together.
      partition_rows: rows whose ids, or counts, are a partition on average.
    """

    spec: toml_spec.ConversionSpec
    directory: pathlib.Path
    file_format: str
    rows_per_file: int
    range_keys: int = 1 << 18
    partition_rows: int = 1 << 22

    @property
    def sources(self) -> int:
        """How many sources there are, with the unknown one; 0: none."""
        return len(self.spec.sources) + 1 if self.spec.sources else 0

    @property
    def work(self) -> pathlib.Path:
        """Where files lie that are removed at the end."""
        return self.directory / _WORK

    def events(self, number: int) -> pathlib.Path:
        """Return the file of a stretch of events, in order."""
        return self.work / "events" / f"{number}.arrow"

    def columns(self, number: int) -> pathlib.Path:
        """Return the file of the columns of a stretch, its ids numbered."""
        return self.work / "columns" / f"{number}.npz"

    def impressions(self, number: int) -> pathlib.Path:
        """Return the file of the impressions of a stretch of clicks."""
        return self.work / "impressions" / f"{number}.npz"

    def clicks(self, number: int) -> pathlib.Path:
        """Return the file with the clicks of a stretch that get negatives."""
        return self.work / "clicks" / f"{number}.npz"

    def answers(self, number: int) -> pathlib.Path:
        """Return the file with what a stretch asked before it drew."""
        return self.work / "answers" / f"{number}.npz"

    def new_ids(self, vocabulary: tuple[str, str]) -> pathlib.Path:
        """Return the folder of the ids that are new, a file a stretch."""
        return self.work / "ids" / "/".join(vocabulary)

    def pieces(self, moment: str, part: str) -> pathlib.Path:
        """Return the folder of a part of the state, a folder a piece."""
        return self.work / "state" / moment / part


@contextlib.contextmanager
def scratch(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give a file to write, which is there whole or not at all.

    Work that is done twice, as runners may, puts the same file there again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    yield made
    os.replace(made, path)


@contextlib.contextmanager
def noting(job: Job) -> Iterator[None]:
    """Keep an error of the input for the user, as runners bury it in theirs."""
    try:
        yield
    except (OSError, ValueError) as error:
        with scratch(job.work / _ERROR) as path:
            path.write_text(str(error), encoding="utf-8")
        raise


def raise_noted(job: Job, error: Exception) -> None:
    """Raise the error of the input that a runner's error comes from, if any."""
    path = job.work / _ERROR
    if path.exists():
        raise ValueError(path.read_text("utf-8")) from error


def save_columns(path: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
    """Write columns to a file of `scratch`."""
    arrays: dict[str, typing.Any] = {
        f"column/{name}": column for name, column in columns.items()
    }
    with scratch(path) as made, open(made, "wb") as file:
        np.savez(file, **arrays)


def load_columns(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Read what `save_columns` wrote."""
    with np.load(path) as file:
        return {n.removeprefix("column/"): file[n] for n in file.files}


def save_impressions(
    job: Job, number: int, made: impressions.Impressions
) -> None:
    """Write the impressions of a stretch of clicks."""
    places = {
        "context": made.context,
        "item": made.item,
        "click": made.click,
        "first": np.array(made.first),
    }
    arrays = {_PLACES + name: array for name, array in places.items()}
    save_columns(job.impressions(number), made.events | arrays)


def load_impressions(job: Job, number: int) -> impressions.Impressions:
    """Return the impressions of a stretch."""
    path = job.impressions(number)
    if not path.exists():
        return impressions.given(load_columns(job.columns(number)))
    events = load_columns(path)
    context, item, click, first = (
        events.pop(_PLACES + name)
        for name in ("context", "item", "click", "first")
    )
    return impressions.Impressions(events, int(first), context, item, click)


def save_piece(
    job: Job, moment: str, part: str, number: int, arrays: dict
) -> None:
    """Write a piece of a part of the state, an array a file."""
    for name, array in arrays.items():
        path = job.pieces(moment, part) / str(number) / f"{name}.npy"
        with scratch(path) as made, open(made, "wb") as file:
            np.save(file, array)


def table_bytes(table: pa.Table) -> bytes:
    """Return a table as bytes that hold its rows only."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return sink.getvalue().to_pybytes()


def table_of(data: bytes) -> pa.Table:
    """Return the table that `table_bytes` made bytes of."""
    with pa.ipc.open_stream(data) as stream:
        return stream.read_all()


def hashed(keys: np.ndarray) -> np.ndarray:
    """Return numbers that keys are divided by, uint64 `[N]`."""
    # Multiplied, all bits of a key reach the upper ones.
    mixed = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return mixed >> np.uint64(32)


def check(spec: toml_spec.ConversionSpec) -> None:
    """Raise a ValueError for what a pipeline cannot do as `convert` does."""
    refused = {
        "`min_count` above 1": max(spec.min_count.values(), default=1) > 1,
        "[[logs.joins]]": any(log.joins for log in spec.logs),
        "`rows_per_day` of a log": any(log.rows_per_day for log in spec.logs),
        "`id_spaces` of a log": any(
            spec.foreign_spaces(table.name) for table in spec.tables
        ),
    }
    found = [what for what, there in refused.items() if there]
    if found:
        raise ValueError(
            f"The spec has {', '.join(found)}, which a Beam pipeline cannot "
            "convert. Convert these logs with `ecdctr_tf.input.convert`."
        )


def domain_number(domain: str) -> int:
    """Return the place of a domain in the order in which ids are numbered."""
    return features.DOMAINS.index(domain)
