"""Log files to tables: Parquet and delimited text, streamed.

`tables` yields what `converter.convert_tables` takes in: the columns that the
features read, `timestamp`, `click` and `day`. Everything is done to a batch of
rows at a time; only the files of joins are in memory as a whole.
"""

import dataclasses
import os
from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import (
    events,
    exploding,
    files,
    log_spec,
    readers,
    toml_spec,
)


def tables(
    spec: toml_spec.ConversionSpec,
    source: str | os.PathLike[str] = ".",
    paths: dict[str, str] | None = None,
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables of all logs of a spec, with their domains.

    Args:
      spec: names the logs.
      source: folder or URI that relative paths start from.
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
            f"There is no log called {', '.join(sorted(unknown))}. The names "
            f"are {', '.join(names) or 'none'}."
        )
    if not spec.logs:
        raise ValueError("The spec has no [[logs]]; there is nothing to read.")
    logs = [
        dataclasses.replace(log, path=paths.get(log.name, log.path))
        for log in spec.logs
    ]
    found = [files.find(source, log.path) for log in logs]
    for log, of_log in zip(logs, found, strict=True):
        joins = [(join, _side_table(source, join)) for join in log.joins]
        wanted = _wanted(spec, log)
        for file in of_log:
            row = 0
            for table in readers.batches(file, log, wanted):
                table = table.append_column(
                    events.ROW, pa.array(np.arange(row, row + len(table)))
                )
                row += len(table)
                for part in _rows(table, log, str(file)):
                    yield (
                        log.domain,
                        _prepared(part, spec, log, joins, str(file)),
                    )


def _wanted(spec: toml_spec.ConversionSpec, log: log_spec.Log) -> list[str]:
    """Return the columns to read from the files of a log."""
    joined = {name for join in log.joins for name in join.take}
    roles = (spec.column(spec.user).source, spec.column(spec.item).source)
    names = [log.user, log.item, log.time, log.click, log.day]
    names += [f.source for f in spec.features if f.source not in roles]
    names += [*spec.evaluation, *log.keep, *log.drop]
    names += [join.on for join in log.joins]
    if log.explode:
        names += [log.explode.column, log.explode.clicked]
    names += [name for rule in log.where for name in rule.weights]
    return [n for n in dict.fromkeys(names) if n and n not in joined]


def _side_table(
    source: str | os.PathLike[str], join: log_spec.Join
) -> pa.Table:
    """Return the file of a join, its key as text."""
    wanted = [join.key, *join.take]
    parts = [
        part
        for file in files.find(source, join.path)
        for part in readers.batches(file, join, wanted)
    ]
    if not parts:
        raise ValueError(f"The files of the join {join.path!r} are empty.")
    table = pa.concat_tables(parts)
    keys = table[join.key].cast(pa.string())
    if len(pc.unique(keys)) != len(keys):
        raise ValueError(
            f"{join.path}: the column {join.key!r} should hold each key of the "
            "join once."
        )
    return table.set_column(
        table.column_names.index(join.key), join.key, keys
    ).combine_chunks()


def _rows(table: pa.Table, log: log_spec.Log, where: str) -> Iterator[pa.Table]:
    """Yield the rows of a batch, one for each impression."""
    if log.explode:
        yield from exploding.exploded(table, log.explode, where)
    else:
        yield table


def _prepared(
    table: pa.Table,
    spec: toml_spec.ConversionSpec,
    log: log_spec.Log,
    joins: list[tuple[log_spec.Join, pa.Table]],
    where: str,
) -> pa.Table:
    """Return a batch of a log with the columns that events are made from."""
    joined = {name for join in log.joins for name in join.take}
    table = _kept(table, log, where, set(table.column_names) - joined)
    table = _congruent(table, log, where)
    for join, side in joins:
        on = table[join.on].cast(pa.string())
        place = pc.index_in(on, side[join.key].combine_chunks())
        for name in join.take:
            values = side[name].combine_chunks().take(place.combine_chunks())
            table = _set(table, name, values)
    table = _kept(table, log, where, joined)
    user, item = (spec.column(role).source for role in (spec.user, spec.item))
    columns = {
        user: table[log.user],
        item: table[log.item],
        "timestamp": _seconds(table[log.time], spec, log, where),
    }
    labelled = log.explode is not None and log.explode.labelled
    if labelled:
        columns["click"] = table[exploding.LABEL]
    elif log.click:
        columns["click"] = _labels(table[log.click], log, where)
    if log.day:
        columns["day"] = table[log.day]
    for name in table.column_names:
        columns.setdefault(name, table[name])
    if not (log.click or labelled):
        columns.pop("click", None)
    if not log.day:
        columns.pop("day", None)
    return pa.table(columns).replace_schema_metadata({"where": where})


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    if name in table.column_names:
        table = table.drop_columns([name])
    return table.append_column(name, values)


def _kept(
    table: pa.Table, log: log_spec.Log, where: str, names: Collection[str]
) -> pa.Table:
    """Return the rows that `keep` and `drop` of some columns let through."""
    for rules, keeps in ((log.keep, True), (log.drop, False)):
        for name, values in rules.items():
            if name in names:
                holds = _is_one_of(table[name], values, name, where)
                table = table.filter(holds if keeps else pc.invert(holds))
    return table


def _is_one_of(
    column: pa.ChunkedArray, values: list, name: str, where: str
) -> pa.ChunkedArray:
    """Return where a column holds one of the values; "" is a missing one."""
    present = [value for value in values if value != ""]
    wanted = pa.array(present) if present else pa.array([], column.type)
    if column.type != wanted.type:
        column = _cast(column, wanted.type, name, where)
    holds = pc.is_in(column, wanted)
    if "" not in values:
        return holds
    if pa.types.is_string(column.type):
        holds = pc.or_(holds, pc.fill_null(pc.equal(column, ""), False))
    return pc.or_(holds, pc.is_null(column))


def _congruent(table: pa.Table, log: log_spec.Log, where: str) -> pa.Table:
    """Return the rows that `where` and `negate` let through."""
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
                    "reads, should be present in every row."
                )
            total += weight * column.to_numpy()
        holds &= total % rule.modulo == rule.equals
    return table.filter(pa.array(holds != log.negate))


def _labels(
    column: pa.ChunkedArray, log: log_spec.Log, where: str
) -> pa.ChunkedArray:
    if log.click_at_least is None:
        return column
    column = _cast(column, pa.float64(), log.click, where)
    return pc.cast(pc.greater_equal(column, log.click_at_least), pa.int8())


def _seconds(
    column: pa.ChunkedArray,
    spec: toml_spec.ConversionSpec,
    log: log_spec.Log,
    where: str,
) -> pa.ChunkedArray:
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
    unit = log_spec.TIME_UNITS[log.time_unit]
    return events.floor_divide(column, unit) if unit > 1 else column


def _cast(
    column: pa.ChunkedArray, dtype: pa.DataType, name: str, where: str
) -> pa.ChunkedArray:
    try:
        return column.cast(dtype)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"{where}: the column {name!r} should be {dtype}; it is "
            f"{column.type}. {error}"
        ) from error
