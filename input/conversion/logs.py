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
    joins,
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
    logs, found = files_of(spec, source, paths, partly)
    for log, of_log in zip(logs, found, strict=True):
        sides = [joins.Side(join, source) for join in log.joins]
        before = kept = 0
        for file in of_log:
            rows = 0
            for read, made in tables_of(spec, log, file, sides, before):
                rows, kept = read, kept + len(made)
                yield log.domain, made
            before += rows
        if before and not kept:
            logging.warning(
                "None of the %s rows of the log %r is let through by its "
                "`keep`, `drop` and `where`.",
                f"{before:,}",
                log.name or log.path,
            )
        for side in sides:
            side.check(log)


def files_of(
    spec: toml_spec.ConversionSpec,
    source: str | os.PathLike[str],
    paths: dict[str, str] | None,
    partly: bool = False,
) -> tuple[list[log_spec.Log], list[list[files.File]]]:
    """Return the logs of a spec, and the files of each; see `tables`."""
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
    _check_disjoint(logs, found)
    for of_log in found:
        files.warn_of_copies(of_log)
    if not any(found):
        files.find(source, logs[0].path)  # Raises.
    return logs, found


def tables_of(
    spec: toml_spec.ConversionSpec,
    log: log_spec.Log,
    file: files.File,
    sides: list[joins.Side],
    before: int = 0,
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the tables of a file.

    Args:
      spec: of the conversion.
      log: the log that the file is of.
      file: the file.
      sides: the files of the joins of the log.
      before: rows of the log in the files before.

    Yields:
      How many rows of the file have been read, and a table.
    """
    reader = _Reader(spec, log, sides, file, before)
    row = 0
    for table in readers.batches(file, log, reader.wanted()):
        table = table.append_column(
            events.ROW, pa.array(np.arange(row, row + len(table)))
        )
        row += len(table)
        for part in _rows(table, log, str(file)):
            yield row, reader.events(part)


def _check_disjoint(
    logs: Sequence[log_spec.Log], found: Sequence[list[files.File]]
) -> None:
    """Raise a ValueError if two logs would give the same rows of a file."""
    seen: dict[tuple[str, str], log_spec.Log] = {}
    for log, of_log in zip(logs, found, strict=True):
        same = str(dataclasses.replace(log, path="", name="", source=""))
        for file in of_log:
            other = seen.setdefault((file.path, same), log)
            if other is not log:
                raise ValueError(
                    f"{file} is read twice, by the logs "
                    f"{other.name or other.path!r} and {log.name or log.path!r}"
                    ", which would give the same rows. Change their paths, or "
                    "let `keep`, `drop` or `where` choose other rows for each."
                )


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
      sides: the files of its joins.
      file: names the file and its columns.
      before: rows of the log in the files before.
    """

    def __init__(
        self,
        spec: toml_spec.ConversionSpec,
        log: log_spec.Log,
        sides: list[joins.Side],
        file: files.File,
        before: int,
    ):
        self._spec = spec
        self._log = log
        self._sides = sides
        self._file = str(file)
        self._before = before
        self._joined = {name for join in log.joins for name in join.take}
        if file.table and log.rows_per_day:
            raise ValueError(
                f"{file} is a {file.table} table. Its rows have no order, so "
                "`rows_per_day` cannot make days of them. Export them in order "
                "as Parquet."
            )
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
        table = log_columns.without_null_texts(table, log.null_texts)
        own = set(table.column_names) - self._joined
        table = _kept(table, log, where, own)
        for side in self._sides:
            table = side.joined(table, where)
        table = _kept(table, log, where, self._joined)
        table = _congruent(table, log, where)
        if log.null_texts == log_spec.NULL_TEXTS:
            for role in (log.user, log.item):
                ids.reject_missing(log_columns.of(table, role, "ids", where))
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
        column = log_columns.of(table, log.click, "the label", self._file)
        values = column.numbers().values
        column.reject(
            pc.invert(pc.fill_null(pc.is_finite(values), False)),
            "hold a finite number in every row; `drop` can leave out rows "
            "without a label",
        )
        return pc.cast(pc.greater_equal(values, log.click_at_least), pa.int8())


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
                column = log_columns.of(table, name, "`keep` or `drop`", where)
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
            column = log_columns.of(table, name, "a `where` of the log", where)
            column.reject(pc.is_null(column.values), "be present in every row")
            column = column.having(ids.read(column, pa.int64()))
            total += weight * column.values.to_numpy()
        holds &= total % rule.modulo == rule.equals
    return table.filter(pa.array(holds != log.negate))
