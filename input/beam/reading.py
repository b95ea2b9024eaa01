"""Files of logs to stretches of events, in order."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from apache_beam import pvalue

from ecdctr_tf.input.beam import exchange, planning
from ecdctr_tf.input.beam import job as jobs
from ecdctr_tf.input.conversion import (
    columns,
    day_watch,
    events,
    files,
    first_pass,
    log_spec,
    logs,
    ordering,
    spill,
)

FACTS, SECONDS = "facts", "seconds"


@dataclasses.dataclass(frozen=True)
class LogFile:
    """A file of a log, and its place in the order in which logs are read."""

    number: int
    log: log_spec.Log
    file: files.File


def log_files(job: jobs.Job, source: str, paths: dict) -> list[LogFile]:
    """Return the files of all logs."""
    of_logs = zip(*logs.files_of(job.spec, source, paths), strict=True)
    pairs = [(log, file) for log, of_log in of_logs for file in of_log]
    return [LogFile(i, *pair) for i, pair in enumerate(pairs)]


def read(given: LogFile, job: jobs.Job) -> Iterator:
    """Yield the events of a file by day, as bytes of tables.

    Yields:
      Day and bytes; tagged `SECONDS`, day and the seconds of its events; last,
      tagged `FACTS`, what was found.
    """
    domain = given.log.domain
    found = planning.Facts(given.number, domain, day_watch.DayWatch(job.spec))
    checks = first_pass.FirstPass(job.spec, job.work, None, "")
    with jobs.noting(job):
        for _, table in logs.tables_of(job.spec, given.log, given.file, []):
            where = first_pass.name_of(table, str(given.file))
            part = events.normalised(table, job.spec, domain, where)
            checks.check_label(domain, part.clicks_only, where)
            found.clicks_only, found.where = part.clicks_only, where
            found.counts.update(part.counts)
            found.watch.add(domain, part)
            for day, of_day in _by_day(part.table):
                key = domain, day
                found.rows[key] += len(of_day)
                if columns.WEIGHT in of_day.column_names:
                    found.weighted.add(key)
                seconds = of_day["timestamp"].to_numpy()
                counted = np.unique(seconds, return_counts=True)
                yield pvalue.TaggedOutput(SECONDS, (key, counted))
                yield key, jobs.table_bytes(of_day)
    yield pvalue.TaggedOutput(FACTS, found)


def _by_day(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    days = table["day"].to_numpy()
    for day in np.unique(days).tolist():
        yield day, table.filter(pa.array(days == day))


def divide(
    found: tuple[planning.Day, exchange.Parcel], plan: planning.Plan
) -> Iterator[tuple[int, exchange.Parcel | bytes]]:
    """Yield the events of a day by the stretches that they belong to."""
    day, parcel = found
    if day not in plan.numbers:
        return
    numbers = plan.numbers[day]
    if day not in plan.ends:
        yield numbers[0], parcel
        return
    table = jobs.table_of(parcel.value())
    seconds = table["timestamp"].to_numpy()
    places = np.searchsorted(plan.ends[day], seconds, side="right")
    for place in np.unique(places).tolist():
        part = table.filter(pa.array(places == place))
        yield numbers[place], jobs.table_bytes(part)


def order(
    found: tuple[int, Iterable[bytes]], job: jobs.Job, plan: planning.Plan
) -> int:
    """Write the events of a stretch in order; return its number."""
    number, parts = found
    stretch = plan.stretches[number]
    tables = list(map(jobs.table_of, parts))
    day = stretch.domain, stretch.day
    if day in plan.weighted:
        tables = list(map(spill.with_weights, tables))
    table = spill.joined(tables)
    if day not in plan.ends:
        table = spill.weighed(table)
    order_of = functools.partial(
        ordering.ordered, user=job.spec.user, item=job.spec.item
    )
    table = order_of(table.combine_chunks()).replace_schema_metadata(None)
    with jobs.scratch(job.events(number)) as path:
        with pa.ipc.new_file(str(path), table.schema) as out:
            out.write_table(table.combine_chunks())
    return number


def stretch(job: jobs.Job, number: int) -> pa.Table:
    """Return the events of a stretch, in order."""
    with pa.ipc.open_file(str(job.events(number))) as file:
        return file.read_all()
