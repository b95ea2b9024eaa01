"""Columns of stretches to files of rows, and these to days."""

import dataclasses
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from concurrent import futures

import numpy as np
from apache_beam import pvalue

from ecdctr_tf import features, windows
from ecdctr_tf.input import data_directory, id_space, new_day
from ecdctr_tf.input.beam import job as jobs
from ecdctr_tf.input.beam import numbering, past, planning, reading
from ecdctr_tf.input.conversion import (
    encoding,
    impressions,
    row_features,
    stretches,
    tally,
)

# A day and the number of a file of it.
File = tuple[planning.Day, int]
TALLIES = "tallies"


@dataclasses.dataclass(frozen=True)
class Fingerprints:
    """Those that a table's ids have at the end of each day."""

    # Rows in use -> as `id_space.Vocabulary.fingerprint` returns it.
    by_rows: dict[int, dict]

    def fingerprint(self, rows: int) -> dict:
        """Return the fingerprint of the ids when there were so many rows."""
        return self.by_rows[rows]


def encode(
    found: tuple[int, Iterable],
    job: jobs.Job,
    sizes: dict[numbering.Name, np.ndarray],
    paddings: dict[numbering.Name, int],
) -> int:
    """Write the columns of a stretch, and its new ids; return its number.

    Args:
      found: the stretch; None, and its numbers as `numbering` yields them.
      job: of the conversion.
      sizes: as `numbering.before` returns them.
      paddings: as of `numbering.renumber`, of all stretches.
    """
    number, numbers = found
    encoder = encoding.Encoder(job.spec)
    earlier = {n: i for n, i in paddings.items() if i < sizes[n][number]}
    columns, vocabularies = numbering.renumber(
        encoder, reading.stretch(job, number), filter(None, numbers), earlier
    )
    numbering.write_new_ids(job, number, sizes, vocabularies)
    jobs.save_columns(job.columns(number), columns)
    return number


def look(number: int, job: jobs.Job, plan: planning.Plan) -> Iterator:
    """Yield what a stretch asks the past, and what it adds to it.

    Yields:
      As `past.asked`; tagged `TALLIES`, the stretch, and its impressions,
      clicks, and impressions of unknown users and items.
    """
    made = jobs.load_impressions(job, number)
    users = made.events[encoding.USER][made.context]
    items = made.events[encoding.ITEM][made.item]
    unknown = [int((keys < 0).sum()) for keys in (users, items)]
    counted = (len(made), int(made.click.sum()), *unknown)
    yield pvalue.TaggedOutput(TALLIES, (number, counted))
    yield from past.asked(number, made, job, plan)


def rows(
    found: tuple[int, Iterable[past.Found | None]],
    job: jobs.Job,
    plan: planning.Plan,
    tallies: dict[int, tuple[int, ...]],
) -> Iterator[tuple[File, tuple[int, dict[str, np.ndarray]]]]:
    """Yield the rows of a stretch by file, with the place of the first one.

    Args:
      found: the stretch; None, and what the past says about it.
      job: of the conversion.
      plan: of the conversion.
      tallies: stretch -> its impressions and so on.
    """
    number, answers = found
    stretch = plan.stretches[number]
    made = jobs.load_impressions(job, number)
    columns = row_features.of_events(
        encoding.Encoder(job.spec), stretch.domain, made, slice(None)
    )
    columns |= _of_past(job, made, filter(None, answers))
    day = stretch.domain, stretch.day
    before = [n for n in plan.numbers[day] if n < number]
    start = sum(tallies[n][0] for n in before)
    ends = range(
        start - start % job.rows_per_file, start + len(made), job.rows_per_file
    )
    for end in ends:
        place = max(end - start, 0)
        part = slice(place, end - start + job.rows_per_file)
        of_file = {name: column[part] for name, column in columns.items()}
        yield (day, end // job.rows_per_file), (start + place, of_file)


def _of_past(
    job: jobs.Job,
    made: impressions.Impressions,
    answers: Iterable[past.Found],
) -> dict[str, np.ndarray]:
    """Return the sequences, counts and ages of the impressions of a stretch."""
    spec, size = job.spec, len(made)
    events = len(made.new_events()[encoding.TIME])
    columns: dict[str, np.ndarray] = {
        sequence.name: np.full(
            (events, sequence.max_length), features.PADDING, np.int32
        )
        for sequence in spec.sequences
    }
    columns |= {count.name: np.zeros(size, np.int64) for count in spec.counts}
    columns |= {age.name: np.zeros(size) for age in spec.ages}
    for answer in answers:
        columns[answer.name][answer.places] = answer.values
    for sequence in spec.sequences:
        of_events = columns[sequence.name]
        columns[sequence.name] = of_events[made.context - made.first]
    for name in [f.name for f in spec.counts] + [f.name for f in spec.ages]:
        columns[name] = np.log1p(columns[name]).astype(np.float32)
    return columns


def write(
    found: tuple[File, Iterable[tuple[int, dict[str, np.ndarray]]]],
    job: jobs.Job,
) -> tuple[planning.Day, tuple[int, new_day.Held]]:
    """Write a file of rows; return its day, number and what it holds."""
    (day, number), values = found
    parts = [part for _, part in sorted(values, key=lambda value: value[0])]
    # Weights are in stretches of days that have some.
    held = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    with jobs.scratch(_path(job, day, number)) as path:
        data_directory.FORMATS[job.file_format].write(
            path, held, job.spec.data_spec()
        )
    return day, (number, new_day.held(held, job.sources))


def _path(job: jobs.Job, day: planning.Day, number: int) -> pathlib.Path:
    return job.work / "rows" / day[0] / str(day[1]) / new_day.file_name(number)


def days(_: None, plan: planning.Plan) -> Iterator[tuple[planning.Day, None]]:
    """Yield all days to write: a window has no holes."""
    for domain, span in plan.spans.items():
        for day in span:
            yield (domain, day), None


def publish(
    found: tuple[planning.Day, Iterable],
    job: jobs.Job,
    plan: planning.Plan,
    sizes: dict[numbering.Name, np.ndarray],
    tallies: dict[int, tuple[int, ...]],
    fingerprints: dict[str, Fingerprints],
) -> None:
    """Make a day of the data directory of its files.

    Args:
      found: the day; None, and number and content of each file.
      job: of the conversion.
      plan: of the conversion.
      sizes: as `numbering.before` returns them.
      tallies: stretch -> its impressions and so on.
      fingerprints: of each table.

    Raises:
      ValueError: the runner has lost events or rows.
    """
    day, values = found
    domain, name = day[0], windows.day_name(day[1])
    data = data_directory.DataDirectory(job.directory)
    if (data.path / domain / name).exists():
        return  # By the same work, done before.
    sources = job.spec.source_names if domain == features.NATURAL else ()
    with (
        data.writing(domain, name, job.file_format, sources) as new,
        futures.ThreadPoolExecutor(1) as pool,
    ):
        numbers = plan.numbers.get(day, ())
        tables = (reading.stretch(job, n) for n in numbers)
        path = new.staging / data_directory.EVENTS
        events = sum(map(len, stretches.written(tables, path, pool)))
        _check_whole(job, f"events of {name}", events, plan.rows.get(day, 0))
        files = sorted(filter(None, values), key=lambda file: file[0])
        for number, held in files:
            staged = new.staging / new_day.file_name(number)
            _link(_path(job, day, number), staged)
            new.count(number, held)
        rows_of = sum(tallies[n][0] for n in numbers)
        _check_whole(job, f"rows of {name}", new.manifest.rows, rows_of)
        known = table_rows(job, sizes, plan.until(day[1]))
        new.know(known, known, fingerprints)


def _check_whole(job: jobs.Job, what: str, count: int, expected: int) -> None:
    """Raise a ValueError for what a runner has lost, or has twice."""
    if count != expected:
        with jobs.noting(job):
            raise ValueError(
                f"The runner gave {count} of {expected} {what}. No data "
                "directory was written. Try again, with another runner or "
                "fewer workers on a machine."
            )


def fingerprints(
    table: str,
    job: jobs.Job,
    plan: planning.Plan,
    sizes: dict[numbering.Name, np.ndarray],
    _: Iterable[int],
) -> tuple[str, Fingerprints]:
    """Return a table and the fingerprints of its ids.

    Args:
      table: the table.
      job: of the conversion.
      plan: of the conversion.
      sizes: as `numbering.before` returns them.
      _: stretches, the new ids of which are written.
    """
    space = encoding.Encoder(job.spec).id_spaces[table]
    if not isinstance(space, id_space.Vocabulary):
        return table, Fingerprints({space.rows: space.fingerprint()})
    digest, found = hashlib.sha256(), {}
    for number in range(len(plan.stretches) + 1):
        rows = table_rows(job, sizes, number)[table]
        found[rows] = {"rows": rows, "sha256": digest.hexdigest()}
        path = job.new_ids(("ids", table)) / f"{number}.txt"
        if path.exists():
            digest.update(path.read_bytes())
    return table, Fingerprints(found)


def _link(path: pathlib.Path, place: pathlib.Path) -> None:
    """Let a file be at another place too; a copy where there are no links."""
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)


def table_rows(job: jobs.Job, sizes: dict, number: int) -> dict[str, int]:
    """Return the rows of each table in use before a stretch."""
    return {
        table.name: table.buckets + int(sizes[("ids", table.name)][number])
        if ("ids", table.name) in sizes
        else table.buckets
        for table in job.spec.data_spec().tables
    }


def tallied(
    plan: planning.Plan, tallies: dict[int, tuple[int, ...]], last: int
) -> tally.Tally:
    """Return the tally of the stretches up to a day, but for ids.

    Args:
      plan: of the conversion.
      tallies: stretch -> impressions, clicks, and those of unknown users and
        items.
      last: the day.
    """
    domains = features.DOMAINS
    totals = {domain: np.zeros(4, np.int64) for domain in domains}
    for number, of in tallies.items():
        if plan.stretches[number].day <= last:
            totals[plan.stretches[number].domain] += of
    with_events = [
        sum(d == domain and day <= last for d, day in plan.numbers)
        for domain in domains
    ]
    made = tally.Tally()
    made.restore(
        made.arrays()
        | {
            "clicks": np.array([totals[d][1] for d in domains]),
            "days": np.array(with_events),
            "unknown": np.array([n for d in domains for n in totals[d][2:]]),
        }
    )
    for domain, counts in plan.counts.items():
        made.count(domain, counts)
    return made
