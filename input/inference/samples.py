"""The files of logs, grouped, and a sample of the rows of each group."""

import dataclasses
import functools
import itertools
import os
import pathlib
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecdctr_tf.input.conversion import files, log_spec, readers
from ecdctr_tf.input.inference import layout

# Rows of a sample, and files that they are taken from.
ROWS = 60_000
FILES = 3
_TEXT = (".csv", ".tsv", ".txt", ".dat", ".log", ".data")
_COMPRESSED = (".gz", ".bz2", ".zst")
# Parts of names that differ between the files of one log: dates, numbers, and
# hashes as Spark writes them.
_VARYING = re.compile(r"[0-9a-f]{8,}(-[0-9a-f]{4,})*|\d+(?:[-_]\d+)*", re.I)
# Folders that hold parts of one log.
_PARTS = re.compile(r"(?<![a-z])(train|dev|test|valid(ation)?)(?![a-z])")
# Files that may be logs, and are not read.
_OTHER = (".json", ".jsonl", ".ndjson", ".avro", ".orc", ".xlsx")
_NOT_LOGS = re.compile(r"(readme|licen[cs]e|requirements|_success)", re.I)


@dataclasses.dataclass(frozen=True)
class Sample:
    """Files that hold the same columns, and some of their rows."""

    # Path or glob, relative to the directory of the logs.
    path: str
    layout: layout.Layout
    # Typed: whole numbers, numbers, text, lists, times. Empty text is null.
    table: pa.Table
    # How many rows there are about, in all files.
    rows: int
    # The files of the sample, and how many of its rows are from each.
    parts: tuple[tuple[str, int], ...] = ()

    @property
    def name(self) -> str:
        """A short name, made from the path."""
        stem = pathlib.PurePath(self.path).name.split(".")[0]
        # Of dt=2024-01-01 only the folder above tells what is in it.
        folders = pathlib.PurePath(self.path).parent.parts
        folder = next((f for f in reversed(folders) if "=" not in f), "")
        name = stem if re.sub(r"[\W\d_]|part", "", stem) else folder
        return re.sub(r"[\W_]+", "_", name.replace("*", "")).strip("_") or "log"

    @property
    def parquet(self) -> bool:
        """Whether the files name and type their columns themselves."""
        return not self.layout.columns

    @functools.cached_property
    def distinct(self) -> dict[str, int]:
        """How many values each column has in the sample; lists have none."""
        return {
            name: len(pc.unique(self.table[name]))
            for name in self.table.column_names
            if not is_list(self.table[name].type)
        }


def is_list(dtype: pa.DataType) -> bool:
    """Return whether the values of a column are lists."""
    return pa.types.is_list(dtype) or pa.types.is_large_list(dtype)


def is_text_or_list(dtype: pa.DataType) -> bool:
    """Return whether the values of a column may be lists, also as text."""
    return is_list(dtype) or pa.types.is_string(dtype)


def take(source: str | pathlib.Path) -> tuple[list[Sample], list[str]]:
    """Return a sample of each group of files, and files that hold no table.

    Raises:
      FileNotFoundError: there is no such directory, or no table in it.
      ValueError: a file cannot be read.
    """
    source = pathlib.Path(source)
    if not source.is_dir():
        raise FileNotFoundError(
            f"There is no directory {source}. Give the directory of the logs "
            "with --source."
        )
    groups: dict[tuple, list[files.File]] = {}
    layouts: dict[tuple, layout.Layout] = {}
    skipped: dict[str, str] = {}
    for file in files.find(source, ""):
        place = _place(file, source)
        found = _layout(file)
        if found is None:
            skipped |= _skipped(place, pathlib.Path(file.path))
            continue
        columns = tuple(readers.columns(file, _text(found)))
        key = (_pattern(place), columns, found)
        groups.setdefault(key, []).append(file)
        layouts[key] = found
    if not groups:
        raise FileNotFoundError(
            f"There is no Parquet or delimited text file in {source}. Give "
            "the directory of the logs with --source."
            + "".join(f" {line}." for line in skipped.values())
        )
    made = [_sample(source, of, layouts[key]) for key, of in groups.items()]
    without = [f"{s.path}: it has no rows" for s in made if not len(s.table)]
    return [s for s in made if len(s.table)], [*skipped.values(), *without]


def _place(file: files.File, source: pathlib.Path) -> pathlib.PurePath:
    """Return the path of a file from the directory of the logs on."""
    return pathlib.PurePath(os.path.relpath(file.path, source.absolute()))


def _skipped(place: pathlib.PurePath, file: pathlib.Path) -> dict[str, str]:
    """Return a file that is no table, or a glob of those of a kind, and why."""
    kinds = [s.lower() for s in place.suffixes if s.lower() in _OTHER]
    if not kinds:
        empty = "" if file.stat().st_size else ": it is empty"
        return {str(place): f"{place}{empty}"}
    path = _pattern(place)
    return {path: f"{path}: {kinds[0]} is not read; write Parquet or CSV"}


def _layout(file: files.File) -> layout.Layout | None:
    if file.table:
        return layout.Layout()
    path = pathlib.PurePath(file.path)
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    if _NOT_LOGS.search(path.name) or not suffixes:
        return None
    if suffixes[-1] == ".parquet":
        return layout.Layout()
    return layout.of_text(file) if suffixes[-1] in _TEXT else None


def _text(found: layout.Layout) -> log_spec.Text:
    """Return how the files of a layout are read."""
    return log_spec.Text(
        columns=() if found.header else found.columns,
        delimiter=found.delimiter,
        encoding=found.encoding,
        quote=found.quote,
    )


def _pattern(place: pathlib.PurePath) -> str:
    """Return a glob for the files whose names differ in numbers only."""
    suffix = "".join(place.suffixes[-2:])
    name = place.name.removesuffix(suffix)
    folders = [_PARTS.sub("*", folder) for folder in place.parts[:-1]]
    parts = [_VARYING.sub("*", part) for part in (*folders, name)]
    return re.sub(r"\*+", "*", "/".join(parts)) + suffix


def _sample(
    source: pathlib.Path, of: list[files.File], found: layout.Layout
) -> Sample:
    place = _place(of[0], source)
    path = str(place) if len(of) == 1 else _pattern(place)
    parts, read, rows = [], 0, 0.0
    # The first, the last, and those between: logs change with time.
    places = np.linspace(0, len(of) - 1, min(len(of), FILES)).astype(int)
    for file in [of[place] for place in places]:
        table, whole = _head(file, found)
        parts.append(table)
        read += len(table)
        rows += whole
    sizes = [(of[p].path, len(t)) for p, t in zip(places, parts, strict=True)]
    table = pa.concat_tables(parts, promote_options="permissive")
    if found.columns:
        table = pa.table({n: typed(table[n]) for n in table.column_names})
    rows *= len(of) / len(places)
    return Sample(path, found, table, max(int(rows), read), tuple(sizes))


def _head(file: files.File, found: layout.Layout) -> tuple[pa.Table, float]:
    """Return rows of a file, and how many it has about."""
    if not found.columns and not file.table:
        return _of_parquet(file)
    names = [*found.columns, *file.partitions]
    if file.table:
        names = readers.columns(file, _text(found))
    parts: list[pa.Table] = []
    for table in readers.batches(file, _text(found), names):
        parts.append(table)
        if sum(map(len, parts)) >= ROWS:
            break
    if not parts:
        return pa.table(
            {n: pa.array([], pa.string()) for n in found.columns}
        ), 0
    table = pa.concat_tables(parts)
    if file.table:
        table = pa.table({n: _plain(table[n]) for n in names}).slice(0, ROWS)
    if len(table) < ROWS or file.table:
        return table, len(table)
    # Offsets of text take four bytes a cell, delimiters one.
    size = table.nbytes - 3 * table.num_columns * len(table)
    return table.slice(0, ROWS), len(table) * max(
        file.filesystem.get_file_info(file.path).size / max(size, 1), 1
    )


def _of_parquet(file: files.File) -> tuple[pa.Table, float]:
    """Return rows from the beginning, middle and end of a Parquet file."""
    try:
        with pq.ParquetFile(file.path, filesystem=file.filesystem) as opened:
            count = opened.num_row_groups
            places = sorted({0, count // 2, count - 1} - {-1, count})
            parts: list[pa.RecordBatch] = []
            for place in places:
                batches = opened.iter_batches(
                    max(ROWS // len(places), 1), row_groups=[place]
                )
                parts += itertools.islice(batches, 1)
            table = pa.Table.from_batches(parts, opened.schema_arrow)
            rows = opened.metadata.num_rows
    except pa.ArrowInvalid as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    columns = {name: _plain(table[name]) for name in table.column_names}
    for name, value in file.partitions.items():
        folder = pa.array([value] * len(table), pa.string())
        columns.setdefault(name, pa.chunked_array([folder]))
    return pa.table(columns), rows


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without dictionary, and text as Arrow's plain text.

    Maps become lists of pairs.
    """
    if pa.types.is_map(column.type):
        of_key, of_item = column.type.key_type, column.type.item_type
        pair = pa.struct([("key", of_key), ("value", of_item)])
        return column.cast(pa.list_(pair))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    text = pa.types.is_large_string(column.type)
    return column.cast(pa.string()) if text else column


def typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text as whole numbers or numbers if each value is one.

    Text such as "007" stays text: as a number it would be another id.
    """
    present = column.drop_null()
    if not len(present):
        return column
    padded = pc.match_substring_regex(present, r"^[+-]?0\d")
    if pc.any(padded).as_py():
        return column
    for dtype in (pa.int64(), pa.float64()):
        try:
            values = column.cast(dtype)
        except pa.ArrowInvalid:
            continue
        if (
            pa.types.is_floating(dtype)
            and not np.isfinite(values.drop_null().to_numpy()).all()
        ):
            continue
        return values
    return column
