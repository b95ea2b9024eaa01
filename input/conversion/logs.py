"""Log files to tables: Parquet and delimited text, streamed.

`tables` yields what `converter.convert_tables` takes in, each column under the
name of what reads it (`columns`), so that columns of logs may have any names.
Everything is done to a batch of rows at a time; only the files of joins are in
memory as a whole.
"""

import dataclasses
import logging
import os
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import (
    columns,
    events,
    exploding,
    files,
    ids,
    log_columns,
    log_spec,
    readers,
    toml_spec,
    zones,
)


def tables(
    spec: toml_spec.ConversionSpec,
    source: str | os.PathLike[str] = ".",
    paths: dict[str, str] | None = None,
    partly: bool = False,
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables of all logs of a spec, with their domains.

    Args:
      spec: names the logs.
      source: folder or URI that relative paths start from.
      paths: name of a log -> path or glob to read instead of the spec's.
      partly: whether a log of the spec may have no files, as when days are
        appended and those of one domain are not there yet; it is warned about.

    Raises:
      FileNotFoundError: a path matches no file; with `partly`, none does.
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
    found = [
        _found(source, log, partly and log.name not in paths) for log in logs
    ]
    if not any(found):
        files.find(source, logs[0].path)  # Raises.
    for log, of_log in zip(logs, found, strict=True):
        joins = [(join, _side_table(source, join)) for join in log.joins]
        before = 0
        for file in of_log:
            reader = _Reader(spec, log, joins, file, before)
            row = 0
            for table in readers.batches(file, log, reader.wanted()):
                table = table.append_column(
                    events.ROW, pa.array(np.arange(row, row + len(table)))
                )
                row += len(table)
                for part in _rows(table, log, str(file)):
                    yield log.domain, reader.events(part)
            before += row


def _found(
    source: str | os.PathLike[str], log: log_spec.Log, optional: bool
) -> list[files.File]:
    """Return the files of a log; if there may be none, warn where so."""
    try:
        return files.find(source, log.path)
    except FileNotFoundError as error:
        if not optional:
            raise
        logging.warning("%s No days of this log are read.", error)
        return []


class _Reader:
    """Makes tables by what reads them of the columns of one file.

    Args:
      spec: of the conversion.
      log: the log that the file is of.
      joins: its joins, with their files.
      file: names the file and its columns.
      before: rows of the log in the files before.
    """

    def __init__(
        self,
        spec: toml_spec.ConversionSpec,
        log: log_spec.Log,
        joins: list[tuple[log_spec.Join, pa.Table]],
        file: files.File,
        before: int,
    ):
        self._spec = spec
        self._log = log
        self._joins = joins
        self._file = str(file)
        self._before = before
        self._joined = {name for join in log.joins for name in join.take}
        own = readers.columns(file, log)
        again = sorted(self._joined.intersection(own))
        if again:
            raise ValueError(
                f"{file} has a column {again[0]!r}, and so has the join of the "
                "log that takes one. Rename one of them, or do not take it."
            )
        self._columns = columns.of_log(spec, log, {*own, *self._joined})
        # An empty file has no columns, and no rows that would need them.
        if set(own) - set(file.partitions):
            have = [*own, *self._joined, events.ROW]
            self._columns.check(have, self._file)

    def wanted(self) -> list[str]:
        """Return the columns to read from the file."""
        log = self._log
        names = [*self._columns.names(), *log.keep, *log.drop]
        names += [join.on for join in log.joins]
        if log.explode:
            names += [log.explode.column, log.explode.clicked]
        names += [name for rule in log.where for name in rule.weights]
        unwanted = {"", events.ROW, *self._joined}
        return [name for name in dict.fromkeys(names) if name not in unwanted]

    def events(self, table: pa.Table) -> pa.Table:
        """Return the rows of a batch as `events.normalised` takes them."""
        log, where = self._log, self._file
        table = _without_null_texts(table, log.null_texts)
        own = set(table.column_names) - self._joined
        table = _kept(table, log, where, own)
        for join, side in self._joins:
            table = _joined(table, join, side, where)
        table = _kept(table, log, where, self._joined)
        table = _congruent(table, log, where)
        if log.null_texts == log_spec.NULL_TEXTS:
            for role in (log.user, log.item):
                ids.reject_missing(_column(table, role, "ids", where))
        made = {
            name: table[column]
            for name, column in self._columns.by_reader.items()
        }
        if log.explode is not None and log.explode.labelled:
            made[columns.CLICK] = table[exploding.LABEL]
        elif log.click:
            made[columns.CLICK] = self._labels(table)
        made[events.ROW] = table[events.ROW]
        if log.rows_per_day:
            number = pc.add(table[events.ROW], self._before)
            seconds = pc.multiply(number, zones.DAY_SECONDS)
            made[columns.TIME] = pc.divide(seconds, log.rows_per_day)
        return pa.table(made).replace_schema_metadata(
            self._columns.metadata(where)
        )

    def _labels(self, table: pa.Table) -> pa.ChunkedArray:
        """Return the labels."""
        log = self._log
        values = table[log.click]
        if log.click_at_least is None:
            return values
        column = _column(table, log.click, "the label", self._file)
        values = column.numbers().values
        column.reject(
            pc.invert(pc.fill_null(pc.is_finite(values), False)),
            "hold a finite number in every row; `drop` can leave out rows "
            "without a label",
        )
        return pc.cast(pc.greater_equal(values, log.click_at_least), pa.int8())


def _side_table(
    source: str | os.PathLike[str], join: log_spec.Join
) -> pa.Table:
    """Return the file of a join."""
    wanted = [join.key, *join.take]
    parts = [
        part
        for file in files.find(source, join.path)
        for part in readers.batches(file, join, wanted)
    ]
    if not parts:
        raise ValueError(f"The files of the join {join.path!r} are empty.")
    table = pa.concat_tables(parts)
    table = _without_null_texts(table, join.null_texts).combine_chunks()
    if pc.count_distinct(table[join.key], "all").as_py() != len(table):
        raise ValueError(
            f"{join.path}: the column {join.key!r} should hold each key of the "
            "join once."
        )
    return table


def _joined(
    table: pa.Table, join: log_spec.Join, side: pa.Table, where: str
) -> pa.Table:
    """Return the rows with the columns of a join; null where no key fits."""
    on, keys = ids.comparable(
        _column(table, join.on, "the key of a join", where),
        _column(side, join.key, "the key of the join", join.path),
    )
    place = pc.index_in(on, keys, skip_nulls=True)
    for name in join.take:
        values = side[name].combine_chunks().take(place)
        table = table.append_column(name, values)
    return table


def _without_null_texts(table: pa.Table, texts: Sequence[str]) -> pa.Table:
    """Return the rows, with null where a text stands for a missing value."""
    for place, name in enumerate(table.column_names):
        column = _column(table, name, "", "").plain()
        if pa.types.is_string(column.type) and texts:
            missing = pc.is_in(column.values, pa.array(texts))
            if pc.any(missing).as_py():
                none = pa.scalar(None, pa.string())
                column = column.having(pc.if_else(missing, none, column.values))
        table = table.set_column(place, name, column.values)
    return table


def _column(
    table: pa.Table, name: str, reader: str, where: str
) -> log_columns.LogColumn:
    rows = table[events.ROW] if events.ROW in table.column_names else None
    return log_columns.LogColumn(table[name], name, where, reader, rows)


def _rows(table: pa.Table, log: log_spec.Log, where: str) -> Iterator[pa.Table]:
    """Yield the rows of a batch, one for each impression."""
    if log.explode:
        yield from exploding.exploded(table, log.explode, where)
    else:
        yield table


def _kept(
    table: pa.Table, log: log_spec.Log, where: str, names: Collection[str]
) -> pa.Table:
    """Return the rows that `keep` and `drop` of some columns let through."""
    for rules, keeps in ((log.keep, True), (log.drop, False)):
        for name, values in rules.items():
            if name in names:
                column = _column(table, name, "`keep` or `drop`", where)
                holds = _is_one_of(column, values)
                table = table.filter(holds if keeps else pc.invert(holds))
    return table


def _is_one_of(column: log_columns.LogColumn, values: list) -> pa.ChunkedArray:
    """Return where a column holds one of the values; "" is a missing one."""
    present = [value for value in values if value != ""]
    holds = pc.is_null(column.values, nan_is_null=True)
    if "" not in values:
        holds = pc.and_(holds, False)
    if not present:
        return holds
    given = log_columns.LogColumn(
        pa.array(present), column.name, column.where, "the values to compare"
    )
    found, wanted = ids.comparable(column, given)
    return pc.or_(holds, pc.is_in(found, wanted, skip_nulls=True))


def _congruent(table: pa.Table, log: log_spec.Log, where: str) -> pa.Table:
    """Return the rows that `where` and `negate` let through."""
    if not log.where:
        return table
    holds = np.ones(len(table), bool)
    for rule in log.where:
        total = np.zeros(len(table), np.int64)
        for name, weight in rule.weights.items():
            column = _column(table, name, "a `where` of the log", where)
            column.reject(pc.is_null(column.values), "be present in every row")
            column = column.having(ids.read(column, pa.int64()))
            total += weight * column.values.to_numpy()
        holds &= total % rule.modulo == rule.equals
    return table.filter(pa.array(holds != log.negate))
