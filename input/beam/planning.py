"""What has to be known of all logs before days can be written."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator

import numpy as np

from ecdctr_tf import features, windows
from ecdctr_tf.input.beam import job as jobs
from ecdctr_tf.input.conversion import (
    day_watch,
    first_pass,
    spill,
    state,
    tally,
    zones,
)

# A day of a domain; a day is a number.
Day = tuple[str, int]
# Seconds with events, sorted, and how many events each has.
Seconds = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass
class Facts:
    """What was found in a file of logs.

    Args:
      number: of the file, in the order in which logs are read.
      domain: of its log.
      watch: its days and times.
    """

    number: int
    domain: str
    watch: day_watch.DayWatch
    counts: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    # Of the last table; None where there is none.
    clicks_only: bool | None = None
    # Name of the file in errors.
    where: str = ""
    rows: collections.Counter[Day] = dataclasses.field(
        default_factory=collections.Counter
    )
    # Days with rows that have a column of weights.
    weighted: set[Day] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Events of a day that are in memory together."""

    domain: str
    day: int
    # Among those of the day.
    number: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """The days to write, and how their events are divided."""

    spans: dict[str, range]
    # In the order in which their ids are numbered.
    stretches: tuple[Stretch, ...]
    # Day -> where its stretches end, in seconds.
    ends: dict[Day, np.ndarray]
    # Days of several stretches whose events have a column of weights.
    weighted: frozenset[Day]
    clicks_only: dict[str, bool]
    counts: dict[str, collections.Counter[str]]
    # Day -> its events.
    rows: dict[Day, int]

    @functools.cached_property
    def numbers(self) -> dict[Day, list[int]]:
        """Day -> the places of its stretches among all."""
        found = collections.defaultdict(list)
        for number, stretch in enumerate(self.stretches):
            found[stretch.domain, stretch.day].append(number)
        return dict(found)

    def numbers_of(self, domain: str, day: int) -> list[int]:
        """Return the places of the stretches of a day; none if it has none."""
        return self.numbers.get((domain, day), [])

    @property
    def days(self) -> range:
        """The days from the first to the last of either domain."""
        spans = [span for span in self.spans.values() if span]
        return range(
            min(span[0] for span in spans), max(span[-1] for span in spans) + 1
        )

    @property
    def last_days(self) -> dict[str, str]:
        """Domain -> its last day."""
        return {d: windows.day_name(s[-1]) for d, s in self.spans.items() if s}

    @functools.cached_property
    def moments(self) -> dict[int, str]:
        """Day -> the moment whose state is that at its end."""
        found = {self.days[-1]: jobs.END}
        behind = state.behind(self.last_days)
        if behind:
            found[windows.day_number(behind)] = jobs.BEHIND
        return found

    def until(self, day: int) -> int:
        """Return how many stretches there are up to the end of a day."""
        days = [stretch.day for stretch in self.stretches]
        return int(np.searchsorted(days, day, side="right"))

    def draws(self, job: jobs.Job) -> bool:
        """Return whether negatives are drawn, or may be of later days."""
        domains = job.spec.negatives
        return any(self.clicks_only.get(domain, True) for domain in domains)

    def partitions(self, job: jobs.Job) -> int:
        """Return into how many parts ids and counts are divided."""
        return -(-sum(self.rows.values()) // job.partition_rows)


def summed(seconds: Iterable[Seconds]) -> Seconds:
    """Return the events of each second of several tables of a day."""
    parts = list(seconds)
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    moments, places = np.unique(
        np.concatenate([part[0] for part in parts]), return_inverse=True
    )
    counts = np.concatenate([part[1] for part in parts])
    return moments, np.bincount(places, counts, len(moments)).astype(np.int64)


def ends(found: tuple[Day, Seconds]) -> Iterator[tuple[Day, np.ndarray]]:
    """Yield a day that is more than a stretch, and where its stretches end."""
    day, (moments, counts) = found
    if counts.sum() > spill.STRETCH_ROWS:
        begin = (day[1] - 2) * zones.DAY_SECONDS
        dense = np.zeros(5 * zones.DAY_SECONDS, np.int64)
        dense[moments - begin] = counts
        yield day, begin + spill.ends_of(dense)


def plan(
    _: None,
    job: jobs.Job,
    files: int,
    facts: Iterable[Facts],
    of_days: Iterable[tuple[Day, np.ndarray]],
) -> Plan:
    """Return what to do, given what was found in all files.

    Raises:
      ValueError: as `first_pass.FirstPass.read`; or facts are missing.
    """
    watch = day_watch.DayWatch(job.spec)
    checks = first_pass.FirstPass(job.spec, job.work, None, "")
    rows: collections.Counter[Day] = collections.Counter()
    weighted = set()
    with jobs.noting(job):
        of_files = sorted(facts, key=lambda found: found.number)
        if len(of_files) != files:
            raise ValueError(
                f"The runner gave what was found in {len(of_files)} of {files} "
                "files. Try again, with another runner."
            )
        for found in of_files:
            if found.clicks_only is not None:
                checks.check_label(found.domain, found.clicks_only, found.where)
            checks.counts[found.domain].update(found.counts)
            watch.merge(found.watch)
            rows.update(found.rows)
            weighted |= found.weighted
        watch.check_zone()
        for domain, day, count in watch.far({}):
            del rows[domain, day]
            checks.counts[domain][tally.FAR] += count
        if not rows:
            raise first_pass.no_rows(checks.counts)
    watch.warn()
    stops = {day: stop for day, stop in of_days if day in rows}
    stretches = [
        Stretch(domain, day, number)
        for domain, day in rows
        for number in range(len(stops.get((domain, day), ())) + 1)
    ]
    stretches.sort(
        key=lambda s: (s.day, features.DOMAINS.index(s.domain), s.number)
    )
    days = {
        d: [s.day for s in stretches if s.domain == d] for d in features.DOMAINS
    }
    return Plan(
        {d: range(n[0], n[-1] + 1) if n else range(0) for d, n in days.items()},
        tuple(stretches),
        stops,
        frozenset(weighted & stops.keys()),
        {d: only for d, only in checks.clicks_only.items() if days[d]},
        checks.counts,
        dict(rows),
    )
