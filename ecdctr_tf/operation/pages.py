"""What the report tells of months of operation."""

import pathlib
from collections import Counter

from ecdctr_tf.operation import ages, record
from ecdctr_tf.results import plots, text
from ecdctr_tf.results.page import Section

_LEVELS = {**ages.LEVELS, "version": "version"}


def sections(workdir: pathlib.Path) -> list[Section]:
    """Return the sections on what the clock did; none if it never ran.

    Args:
      workdir: the work directory.
    """
    found = [record.read(workdir, day) for day in record.dates(workdir)]
    records = [of for of in found if of is not None]
    if not records:
        return []
    return [_summary(records), _alarms(records), _dates(records)]


def _summary(records: list[record.Record]) -> Section:
    rows = []
    for level, label in _LEVELS.items():
        behind = [of.ages.get(level) for of in records]
        known = [age for age in behind if age is not None]
        changed = {of.learned.get(level) for of in records} - {None}
        mean = sum(known) / len(known) if known else None
        rows.append(
            [
                label,
                text.count(len(changed)),
                records[-1].learned.get(level) or text.NOTHING,
                text.number(mean, 1),
                text.count(max(known, default=None)),
            ]
        )
    statuses = Counter(of.status for of in records)
    said = ", ".join(f"{count} {name}" for name, count in statuses.items())
    seconds = sum(of.seconds for of in records)
    return Section(
        "Operation",
        ["level", "versions", "newest", "mean days behind", "most"],
        rows,
        f"{text.plural(len(records), 'date')} from {records[0].date} to "
        f"{records[-1].date}: {said}, in {text.duration(seconds)}. Days behind "
        "are days before a date that a level had not learned at its end.",
        {"ages": _figure(records)},
    )


def _figure(records: list[record.Record]) -> plots.Figure:
    """Draw how many days each level was behind on each date."""
    with plots.axes("Days behind") as (figure, ax):
        for look, (level, label) in zip(
            plots.LOOKS, _LEVELS.items(), strict=False
        ):
            values = [of.ages.get(level) for of in records]
            plots.line(ax, values, look, label=label, markevery=7)
        plots.day_ticks(ax, [of.date for of in records])
        plots.legend(figure)
    return plots.Figure(
        figure, "Days that each level was behind, by date; see the table."
    )


def _alarms(records: list[record.Record]) -> Section:
    rows = [
        [of.date, alarm.what, alarm.text]
        for of in records
        for alarm in of.alarms
    ]
    said = "" if rows else "No date had an alarm."
    return Section("Alarms", ["date", "alarm", ""], rows, said)


def _dates(records: list[record.Record]) -> Section:
    rows = [
        [
            of.date,
            of.status,
            *(of.learned.get(level) or text.NOTHING for level in _LEVELS),
            *(text.count(of.ages.get(level)) for level in ages.LEVELS),
        ]
        for of in records
    ]
    behind = [f"{label} behind" for label in ages.LEVELS.values()]
    header = ["date", "status", *_LEVELS.values(), *behind]
    return Section("Dates", header, rows, folded=True)
