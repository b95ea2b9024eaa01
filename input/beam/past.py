"""Sequences, counts and ages, of the users, items or counted ids of a part.

Users and items are divided by ranges of their keys, counted ids by hash. The
events of a part are gone through day after day, as `conversion.row_features`
goes through those of all. A user with many events is no larger than another:
events are read from disk a stretch at a time, and of the past only the newest
clicks are held.

Shapes: N events or impressions of a part in a stretch.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from apache_beam import pvalue

from ecdctr_tf import features
from ecdctr_tf.input.beam import exchange, planning
from ecdctr_tf.input.beam import job as jobs
from ecdctr_tf.input.conversion import (
    encoding,
    history_features,
    impressions,
    past_spec,
    row_features,
    stretches,
    tally,
)

TOTALS = "totals"
USERS, ITEMS, COUNTS = "users", "items", "counts"
# What is looked through: users, items, or a count; its name; a part's number.
Part = tuple[str, str, int]
# Number of a stretch, and columns of its events or impressions.
Events = tuple[int, dict[str, np.ndarray]]
_STRETCH, _PLACE, _ROWS = "@stretch", "@place", "@rows"
# Bits of a packed click that hold the row of its item.
_ROW_BITS = 32


@dataclasses.dataclass(frozen=True)
class Found:
    """What the past says about some rows of a stretch."""

    # A sequence, a count or an age.
    name: str
    # int32 `[N]`, of the event of a sequence, or of the impression.
    places: np.ndarray
    values: np.ndarray


def asked(
    number: int,
    made: impressions.Impressions,
    job: jobs.Job,
    plan: planning.Plan,
) -> Iterator[tuple[Part, Events]]:
    """Yield the events of a stretch by the parts that look through them."""
    spec = job.spec
    domain = plan.stretches[number].domain
    new = made.new_events()
    size = len(new[encoding.TIME])
    user = {
        **{n: new[n] for n in (encoding.TIME, encoding.SECOND, encoding.CLICK)},
        encoding.USER: new[encoding.USER],
        encoding.ITEM: _packed(new, spec.item),
        _PLACE: np.arange(size, dtype=np.int32),
        _ROWS: np.bincount(made.context - made.first, minlength=size),
    }
    yield from _ranges((USERS, ""), user, encoding.USER, number, job)
    item = {
        encoding.ITEM: made.events[encoding.ITEM][made.item],
        encoding.TIME: made.events[encoding.TIME][made.context],
        _PLACE: np.arange(len(made), dtype=np.int32),
        _ROWS: np.ones(len(made), np.int64),
    }
    yield from _ranges((ITEMS, ""), item, encoding.ITEM, number, job)
    for count in spec.counts:
        for part, columns_of in _counted(count, made, domain, job, plan):
            yield (COUNTS, count.name, part), (number, columns_of)


def _packed(columns: dict[str, np.ndarray], item: str) -> np.ndarray:
    """Return key and row of each item as one int64; -1 where it is unknown."""
    keys = columns[encoding.ITEM].astype(np.int64)
    return np.where(keys < 0, -1, keys << _ROW_BITS | columns[item])


def _ranges(
    part: tuple[str, str],
    columns: dict[str, np.ndarray],
    by: str,
    number: int,
    job: jobs.Job,
) -> Iterator[tuple[Part, Events]]:
    """Yield columns by the range of a key, which then begins at 0."""
    ranges = columns[by] // job.range_keys
    for place in np.unique(ranges[ranges >= 0]).tolist():
        held = ranges == place
        found = {name: column[held] for name, column in columns.items()}
        found[by] = found[by] - place * job.range_keys
        yield (*part, place), (number, found)


def _counted(
    count: past_spec.Count,
    made: impressions.Impressions,
    domain: str,
    job: jobs.Job,
    plan: planning.Plan,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield the ids that a stretch asks the counts of, and those it adds."""
    asked_of = row_features.count_keys(
        job.spec, count, made.events, made.context, made.item
    )
    added = np.zeros(0, np.int64)
    if count.domain in (domain, "both", "same"):
        added = row_features.added_keys(job.spec, count, made)
    partitions = plan.partitions(job)
    places = [_hashed(keys, partitions) for keys in (asked_of, added)]
    for part in np.unique(np.concatenate(places)).tolist():
        if part < 0:
            continue
        held = np.flatnonzero(places[0] == part)
        yield (
            part,
            {
                "asked": asked_of[held],
                _PLACE: held.astype(np.int32),
                "added": added[places[1] == part],
            },
        )


def _hashed(keys: np.ndarray, partitions: int) -> np.ndarray:
    """Return the partition of each key, -1 of those that are unknown."""
    parts = jobs.hashed(keys) % np.uint64(partitions)
    return np.where(keys < 0, -1, parts.astype(np.int64))


def go_through(
    found: tuple[Part, exchange.Values], job: jobs.Job, plan: planning.Plan
) -> Iterator:
    """Go through the events of a part, and keep its piece of the state.

    Yields:
      Stretch and `Found`; tagged `TOTALS`, what the part adds to the totals of
      the summary at the end.
    """
    (what, name, number), values = found
    events = values.by_number()
    part = _PASSES[what](job, plan, name)
    for day in plan.days:
        held = {
            domain: [n for n in plan.numbers_of(domain, day) if n in events]
            for domain in features.DOMAINS
        }
        yield from part.day(day, held, events)
        if day in plan.moments:
            for of, arrays in part.state().items():
                jobs.save_piece(job, plan.moments[day], of, number, arrays)
    yield pvalue.TaggedOutput(TOTALS, part.totals())


class _Users:
    """The sequences of a range of users."""

    def __init__(self, job: jobs.Job, plan: planning.Plan, name: str):
        del plan, name
        self._spec = job.spec
        self._histories = row_features.histories(job.spec, np.int64)
        self._rows = _no_rows(job)

    def day(
        self, day: int, held: dict[str, list[int]], events: exchange.Numbered
    ) -> Iterator[tuple[int, Found]]:
        """Go through the events of a day."""
        del day
        streams = {d: _Stream(n, events) for d, n in held.items() if n}
        for parts in stretches.together(streams):
            for name, history in self._histories.items():
                of = [part for d, part in parts.items() if name in (d, "both")]
                history.start(*row_features.clicks(of))
            for domain, part in parts.items():
                yield from self._sequences(domain, part)
                self._rows[domain] = self._rows[domain] + np.bincount(
                    part[encoding.USER], part[_ROWS], len(self._rows[domain])
                ).astype(np.int64)
            for history in self._histories.values():
                history.end()

    def _sequences(
        self, domain: str, part: dict[str, np.ndarray]
    ) -> Iterator[tuple[int, Found]]:
        for sequence in self._spec.sequences:
            name = domain if sequence.domain == "same" else sequence.domain
            packed = self._histories[name].before(
                part[encoding.USER], part[encoding.SECOND], sequence.max_length
            )
            rows = packed & ((1 << _ROW_BITS) - 1)
            rows = np.where(packed < 0, features.PADDING, rows).astype(np.int32)
            for number in np.unique(part[_STRETCH]).tolist():
                of = part[_STRETCH] == number
                yield number, Found(sequence.name, part[_PLACE][of], rows[of])

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the arrays of each part of the state."""
        made = {
            "summary": {f"{d}_user": rows for d, rows in self._rows.items()}
        }
        for name, history in self._histories.items():
            arrays = history.arrays()
            keys = arrays["items"] >> _ROW_BITS
            made[f"history-{name}"] = arrays | {"items": keys.astype(np.int32)}
        return made

    def totals(self) -> dict:
        """Return what the part adds to the summary."""
        return _totals("user", self._rows)


class _Items:
    """The ages of a range of items."""

    def __init__(self, job: jobs.Job, plan: planning.Plan, name: str):
        del plan, name
        self._spec = job.spec
        self._ages = history_features.FirstSeen()
        self._rows = _no_rows(job)

    def day(
        self, day: int, held: dict[str, list[int]], events: exchange.Numbered
    ) -> Iterator[tuple[int, Found]]:
        """Go through the events of a day; later ones give no age."""
        del day
        for domain, numbers in held.items():
            for part in (p for n in numbers for p in events.of(n)):
                keys = part[encoding.ITEM]
                if self._spec.ages:
                    self._ages.start(keys, part[encoding.TIME])
                self._rows[domain] = self._rows[domain] + np.bincount(
                    keys, part[_ROWS], len(self._rows[domain])
                ).astype(np.int64)
        for age in self._spec.ages:
            for number in (n for numbers in held.values() for n in numbers):
                for part in events.of(number):
                    hours = self._ages.hours(
                        part[encoding.ITEM], part[encoding.TIME]
                    )
                    yield number, Found(age.name, part[_PLACE], hours)

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the arrays of each part of the state."""
        rows = {f"{d}_item": rows for d, rows in self._rows.items()}
        return {"summary": rows, "ages": self._ages.arrays()}

    def totals(self) -> dict:
        """Return what the part adds to the summary."""
        return _totals("item", self._rows)


class _Counts:
    """A count of some ids."""

    def __init__(self, job: jobs.Job, plan: planning.Plan, name: str):
        self._plan = plan
        self._count = next(c for c in job.spec.counts if c.name == name)
        self._counts = {
            domain: history_features.DayCounts(self._count.window_days)
            for domain in features.DOMAINS
            if self._count.domain in (domain, "both", "same")
        }

    def day(
        self, day: int, held: dict[str, list[int]], events: exchange.Numbered
    ) -> Iterator[tuple[int, Found]]:
        """Go through the events of a day."""
        for counts in self._counts.values():
            counts.start_day(day)
        for domain, numbers in held.items():
            name = self._count.domain
            name = domain if name == "same" else name
            for number in numbers:
                for part in events.of(number):
                    before = np.zeros(len(part["asked"]), np.int64)
                    for other, counts in self._counts.items():
                        if name in (other, "both"):
                            before += counts.before(part["asked"])
                    yield number, Found(self._count.name, part[_PLACE], before)
        for domain, counts in self._counts.items():
            if self._plan.numbers_of(domain, day):
                counts.add(np.zeros(0, np.int64))
            for part in (p for n in held[domain] for p in events.of(n)):
                counts.add(part["added"])
            counts.end_day(day)

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the arrays of each part of the state."""
        return {
            f"count-{self._count.name}-{domain}": counts.arrays()
            for domain, counts in self._counts.items()
        }

    def totals(self) -> dict:
        """Return nothing: the summary does not know counts."""
        return {}


class _Stream:
    """The events of a day of a domain, as `stretches.together` takes them."""

    def __init__(self, numbers: list[int], events: exchange.Numbered):
        self._numbers = numbers
        self._events = events

    def stretches(self) -> Iterator[tuple[bool, dict[str, np.ndarray]]]:
        """Yield whether a stretch is the last one, and its columns."""
        for number in self._numbers:
            for columns in self._events.of(number):
                of = np.full(len(columns[_PLACE]), number, np.int32)
                last = number == self._numbers[-1]
                yield last, columns | {_STRETCH: of}


def _no_rows(job: jobs.Job) -> dict[str, np.ndarray]:
    """Return the rows of each key of a range, by domain."""
    return {d: np.zeros(job.range_keys, np.int64) for d in features.DOMAINS}


def _totals(role: str, rows: dict[str, np.ndarray]) -> dict:
    """Return the totals of the rows of some users, or items."""
    made = tally.Tally()
    arrays = made.arrays()
    arrays |= {f"{domain}_{role}": of for domain, of in rows.items()}
    made.restore(arrays)
    return {key: n for key, n in made.totals().items() if n}


_PASSES: dict[str, Callable] = {USERS: _Users, ITEMS: _Items, COUNTS: _Counts}
