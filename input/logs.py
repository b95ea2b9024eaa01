"""Log files to tables: Parquet and delimited text, streamed.

`tables` yields what `conversion.convert_tables` takes in: the columns that the
features read, `timestamp`, `click` and `day`. Everything is done to a batch of
rows at a time; only the files of joins are in memory as a whole.
"""

import dataclasses
import io
import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ecdctr_tf.input import conversion_spec, events

BATCH_ROWS = 131_072
_TEXT_BYTES = 8 << 20
# Stands for a delimiter of several characters while the text is parsed.
_UNIT_SEPARATOR = "\x1f"


def tables(
    spec: conversion_spec.ConversionSpec,
    source: str | pathlib.Path = ".",
    paths: dict[str, str] | None = None,
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables of all logs of a spec, with their domains.

    Args:
      spec: names the logs.
      source: directory that relative paths start from.
      paths: name of a log -> path or glob to read instead of the spec's.

    Raises:
      FileNotFoundError: a path matches no file.
      ValueError: a file cannot be read, lacks a column, or `paths` names a log
        that there is not; the message says where.
    """
    paths = dict(paths or {})
    unknown = set(paths) - {log.name for log in spec.logs if log.name}
    if unknown:
        names = sorted(log.name for log in spec.logs if log.name)
        raise ValueError(
            f"There is no log called {', '.join(sorted(unknown))}; there are "
            f"{', '.join(names) or 'none with a name'}."
        )
    if not spec.logs:
        raise ValueError("The spec has no [[logs]]; there is nothing to read.")
    source = pathlib.Path(source)
    logs = [
        dataclasses.replace(log, path=paths.get(log.name, log.path))
        for log in spec.logs
    ]
    found = [_files(source, log.path) for log in logs]
    for log, files in zip(logs, found, strict=True):
        joins = [(join, _side_table(source, join)) for join in log.joins]
        wanted = _wanted(spec, log)
        for file in files:
            row = 0
            for table in batches(file, log, wanted):
                table = table.append_column(
                    events.ROW, pa.array(np.arange(row, row + len(table)))
                )
                row += len(table)
                yield log.domain, _prepared(table, spec, log, joins, str(file))


def batches(
    file: pathlib.Path,
    log: conversion_spec.Log | conversion_spec.Join,
    wanted,
) -> Iterator[pa.Table]:
    """Yield the wanted columns of a file in tables of bounded size.

    Text columns stay text; empty fields are null.

    Args:
      file: `.parquet`, or delimited text.
      log: says delimiter, encoding and the columns of a file without header.
      wanted: names of columns.

    Raises:
      ValueError: the file cannot be read or lacks a column.
    """
    parquet = file.suffix == ".parquet"
    read = _parquet_batches if parquet else _text_batches
    try:
        for table in read(file, log, wanted):
            _check_columns(table.column_names, wanted, file)
            yield table
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error


def _files(source: pathlib.Path, path: str) -> list[pathlib.Path]:
    """Return the files that a path or glob stands for, in order."""
    full = source / path
    if full.is_file():
        return [full]
    root = pathlib.Path(full.anchor or ".")
    pattern = str(full.relative_to(root)) if full.anchor else str(full)
    files = sorted(f for f in root.glob(pattern) if f.is_file())
    if not files:
        raise FileNotFoundError(
            f"No file matches {full}. Give the directory of the logs with "
            "--source, or the path of a log with --log=name=path."
        )
    return files


def _check_columns(have, wanted, file) -> None:
    missing = [name for name in wanted if name not in have]
    if missing:
        raise ValueError(
            f"{file} lacks the column {missing[0]!r}, which the spec names. "
            f"It has: {', '.join(have)}."
        )


def _wanted(spec, log) -> list[str]:
    """Return the columns to read from the files of a log."""
    joined = {name for join in log.joins for name in join.take}
    roles = (spec.column(spec.user).source, spec.column(spec.item).source)
    names = [log.user, log.item, log.time, log.click, log.day]
    names += [f.source for f in spec.features if f.source not in roles]
    names += [*spec.evaluation, *log.keep, *(j.on for j in log.joins)]
    names += [name for rule in log.where for name in rule.weights]
    return [n for n in dict.fromkeys(names) if n and n not in joined]


def _parquet_batches(file, log, wanted) -> Iterator[pa.Table]:
    with pa.parquet.ParquetFile(file) as opened:
        _check_columns(opened.schema_arrow.names, wanted, file)
        for batch in opened.iter_batches(BATCH_ROWS, columns=list(wanted)):
            yield pa.Table.from_batches([batch])


def _text_batches(file, log, wanted) -> Iterator[pa.Table]:
    single = len(log.delimiter) == 1
    names = list(log.columns)
    if not names:
        names = _header(file, log)
    _check_columns(names, wanted, file)
    parse = pa.csv.ParseOptions(
        delimiter=log.delimiter if single else _UNIT_SEPARATOR,
        quote_char='"' if log.delimiter == "," else False,
    )
    convert = pa.csv.ConvertOptions(
        include_columns=list(wanted),
        column_types=dict.fromkeys(wanted, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    for block, first in _text_blocks(file, log):
        reader = pa.csv.ReadOptions(
            column_names=names,
            skip_rows=int(first and not log.columns),
            encoding=log.encoding,
            block_size=len(block) + 1,
        )
        if first and not log.columns and block.count(b"\n") < 2:
            if not block.partition(b"\n")[2].strip():
                continue  # A header and nothing else.
        yield pa.csv.read_csv(io.BytesIO(block), reader, parse, convert)


def _header(file, log) -> list[str]:
    """Return the names in the first line of a text file."""
    with open(file, encoding=log.encoding) as opened:
        line = opened.readline().rstrip("\r\n")
    names = line.split(log.delimiter)
    return [name.strip('"') for name in names]


def _text_blocks(file, log) -> Iterator[tuple[bytes, bool]]:
    """Yield whole lines of a file, some megabytes at a time."""
    wide = log.delimiter.encode(log.encoding) if log.delimiter[1:] else b""
    rest, first = b"", True
    with open(file, "rb") as opened:
        while True:
            chunk = opened.read(_TEXT_BYTES)
            if chunk:
                block, _, rest = (rest + chunk).rpartition(b"\n")
            else:
                block, rest = rest, b""
            if block.strip():
                if wide:
                    block = block.replace(wide, _UNIT_SEPARATOR.encode())
                yield block + b"\n", first
                first = False
            if not chunk:
                return


def _side_table(source: pathlib.Path, join: conversion_spec.Join) -> pa.Table:
    """Return the file of a join, its key as text."""
    wanted = [join.key, *join.take]
    files = _files(source, join.path)
    table = pa.concat_tables(
        part for file in files for part in batches(file, join, wanted)
    )
    keys = table[join.key].cast(pa.string())
    if len(pc.unique(keys)) != len(keys):
        raise ValueError(
            f"{join.path}: the column {join.key!r} should hold each key of the "
            "join once."
        )
    return table.set_column(
        table.column_names.index(join.key), join.key, keys
    ).combine_chunks()


def _prepared(table, spec, log, joins, where: str) -> pa.Table:
    """Return a batch of a log with the columns that events are made from."""
    table = _filtered(table, log, where)
    for join, side in joins:
        on = table[join.on].cast(pa.string())
        place = pc.index_in(on, side[join.key].combine_chunks())
        for name in join.take:
            values = side[name].combine_chunks().take(place.combine_chunks())
            table = _set(table, name, values)
    user, item = (spec.column(role).source for role in (spec.user, spec.item))
    columns = {
        user: table[log.user],
        item: table[log.item],
        "timestamp": _seconds(table[log.time], spec, log, where),
    }
    if log.click:
        columns["click"] = _labels(table[log.click], log, where)
    if log.day:
        columns["day"] = table[log.day]
    for name in table.column_names:
        columns.setdefault(name, table[name])
    if not log.click:
        columns.pop("click", None)
    if not log.day:
        columns.pop("day", None)
    return pa.table(columns).replace_schema_metadata({"where": where})


def _set(table: pa.Table, name: str, values) -> pa.Table:
    if name in table.column_names:
        table = table.drop_columns([name])
    return table.append_column(name, values)


def _filtered(table: pa.Table, log, where: str) -> pa.Table:
    """Return the rows that `keep`, `where` and `negate` let through."""
    for name, values in log.keep.items():
        column = table[name]
        kept = pa.array(values)
        if column.type != kept.type:
            column = _cast(column, kept.type, name, where)
        table = table.filter(pc.is_in(column, kept))
    if not log.where:
        return table
    holds = np.ones(len(table), bool)
    for rule in log.where:
        total = np.zeros(len(table), np.int64)
        for name, weight in rule.weights.items():
            column = _cast(table[name], pa.int64(), name, where)
            if column.null_count:
                raise ValueError(
                    f"{where}: the column {name!r}, which a `where` of the log "
                    "reads, should be there in every row."
                )
            total += weight * column.to_numpy()
        holds &= total % rule.modulo == rule.equals
    return table.filter(pa.array(holds != log.negate))


def _labels(column, log, where: str):
    if log.click_at_least is None:
        return column
    column = _cast(column, pa.float64(), log.click, where)
    return pc.cast(pc.greater_equal(column, log.click_at_least), pa.int8())


def _seconds(column, spec, log, where: str):
    """Return an event time as whole seconds UTC, rounded down."""
    if pa.types.is_timestamp(column.type):
        return column
    if log.time_format:
        try:
            stamp = pc.strptime(column, format=log.time_format, unit="s")
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"{where}: the column {log.time!r} should be written as "
                f"`time_format` {log.time_format!r} says. {error}"
            ) from error
        offset = int(spec.utc_offset_hours * 3600)
        return pc.subtract(stamp.cast(pa.int64()), offset)
    column = _cast(column, pa.int64(), log.time, where)
    unit = conversion_spec.TIME_UNITS[log.time_unit]
    return events.floor_divide(column, unit) if unit > 1 else column


def _cast(column, dtype, name: str, where: str):
    try:
        return column.cast(dtype)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"{where}: the column {name!r} should be {dtype}; it is "
            f"{column.type}. {error}"
        ) from error
