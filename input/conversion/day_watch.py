"""Where events lie in time, watched while logs are read.

One row with a wrong time would make thousands of days without rows, and close
a data directory for the true days. And files of local days that are converted
as if days were those of UTC would end in the middle of a day, so that nothing
could be appended. Both are found before anything is written.
"""

import collections
import dataclasses
import logging
import pathlib
import re
from collections.abc import Iterable, Mapping

import numpy as np

from ecdctr_tf import windows
from ecdctr_tf.input.conversion import events, times, toml_spec, zones

# A date in the name of a file or folder.
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_]?)(\d\d)\2(\d\d)(?!\d)")
# Of the rows a day of the other days, what days behind a long gap need at
# least to be a part of the logs.
_LEAST_SHARE = 0.1


@dataclasses.dataclass
class _Day:
    """A day of a domain: its first row in the files, and how many it has."""

    where: str
    row: int
    second: int
    rows: int = 0


class DayWatch:
    """Collects the days of events.

    Args:
      spec: of the conversion.
    """

    def __init__(self, spec: toml_spec.ConversionSpec):
        self._spec = spec
        self._days: dict[str, dict[int, _Day]] = collections.defaultdict(dict)
        # File -> the day in its name, the first and the last second UTC.
        self._files: dict[str, tuple[int, int, int]] = {}

    def add(self, domain: str, part: events.Events) -> None:
        """Take in the events of a table."""
        if not len(part.rows):
            return
        seconds = part.table["timestamp"].to_numpy()
        days, first, counts = np.unique(
            part.table["day"].to_numpy(), return_index=True, return_counts=True
        )
        known = self._days[domain]
        for day, place, count in zip(
            days.tolist(), first.tolist(), counts.tolist(), strict=True
        ):
            row = int(part.rows[place])
            known.setdefault(day, _Day(part.where, row, int(seconds[place])))
            known[day].rows += count
        named = named_day(part.where)
        if named is not None:
            low, high = int(seconds.min()), int(seconds.max())
            _, before, after = self._files.get(part.where, (0, low, high))
            ends = min(low, before), max(high, after)
            self._files[part.where] = (named, *ends)

    def merge(self, later: "DayWatch") -> None:
        """Take in what another one collected of later tables."""
        for domain, days in later._days.items():
            known = self._days[domain]
            for day, seen in days.items():
                first = known.setdefault(day, dataclasses.replace(seen, rows=0))
                first.rows += seen.rows
        for where, (named, low, high) in later._files.items():
            _, before, after = self._files.get(where, (0, low, high))
            ends = min(low, before), max(high, after)
            self._files[where] = (named, *ends)

    def check_zone(self) -> None:
        """Raise if the names of files show that days are not those of UTC.

        Names are believed if each has a day, and there is a zone in which its
        rows lie in that day.
        """
        if self._spec.zone_is_given or not self._files:
            return
        columns = np.array(list(self._files.values()))
        fits = [zones.offsets_of_days(*file[:, None]) for file in columns]
        if not all(map(len, fits)) or all(0.0 in fit for fit in fits):
            return
        where, (day, first, last) = next(
            entry
            for entry, fit in zip(self._files.items(), fits, strict=True)
            if 0.0 not in fit
        )
        common = zones.offsets_of_days(*columns.T)
        ends = [f"{hours:g}" for hours in common[[0, -1][: len(common)]]]
        offset = (
            f"`utc_offset_hours = {' to '.join(dict.fromkeys(ends))}` fits all "
            "files; with summer time, set `time_zone`"
            if len(common)
            else "no fixed offset fits all files, as where there is summer "
            "time: set `time_zone`"
        )
        raise ValueError(
            f"{where} seems to be of {windows.day_name(day)}, but its rows go "
            f"from {times.written(first)} to {times.written(last)}, so its day "
            f"is not one of UTC. Say in the spec which zone the days are of: "
            f"{offset}, or `utc_offset_hours = 0` for days of UTC."
        )

    def far(
        self, last_days: Mapping[str, str], first_day: str = ""
    ) -> list[tuple[str, int, int]]:
        """Return days that are far from all others of their domain or of both.

        Args:
          last_days: domain -> the last day converted before.
          first_day: the first one of any domain; empty: there is none.

        Returns:
          Domain, day and number of rows of each, if `wrong_time` is "drop".

        Raises:
          ValueError: there is one, and `wrong_time` is "error".
        """
        gap = self._spec.longest_gap_days
        before = {d: windows.day_number(day) for d, day in last_days.items()}
        near: dict[str, dict[int, int]] = {}
        for domain, days in self._days.items():
            rows = {day: found.rows for day, found in days.items()}
            near[domain] = _near(rows, before.get(domain), gap)
        both: collections.Counter[int] = collections.Counter()
        for rows in near.values():
            both.update(rows)
        close = _near(both, max(before.values(), default=None), gap)
        held = range(0)
        if first_day:
            held = range(windows.day_number(first_day), max(before.values()))
        found = [
            (domain, day, seen)
            for domain, days in self._days.items()
            for day, seen in days.items()
            if day not in near[domain] or (day not in close and day not in held)
        ]
        if found and self._spec.wrong_time == "error":
            domain, day, seen = min(found, key=lambda entry: entry[1])
            raise ValueError(
                f"{seen.where}, row {seen.row}: the time "
                f"{times.written(seen.second)} is more than {gap} days from "
                f"the other {domain} rows, which {_extent(close)}; so are "
                f"{sum(entry[2].rows for entry in found) - 1} further rows. "
                "Correct the times, set `longest_gap_days` of the spec if "
                'there was such a pause, or `wrong_time = "drop"` to leave '
                "such rows out."
            )
        return [(domain, day, seen.rows) for domain, day, seen in found]

    def warn(self) -> None:
        """Warn of a last day that few rows make, behind days without any.

        It may be a wrong time, and no day before it can be appended later.
        """
        for domain, days in self._days.items():
            *before, last = sorted(days)
            if not before or last - before[-1] == 1:
                continue
            seen, usual = days[last], np.median([days[d].rows for d in before])
            if seen.rows < _LEAST_SHARE * usual:
                name = windows.day_name(last)
                logging.warning(
                    "%s, row %d: the last day of %s, %s, has %d of its rows, "
                    "where others have some %d, and comes %d days after the "
                    "day before. If its time is wrong, correct it or take the "
                    "day back with --drop_from=%s.",
                    seen.where,
                    seen.row,
                    domain,
                    name,
                    seen.rows,
                    usual,
                    last - before[-1],
                    name,
                )


def _near(
    rows: Mapping[int, int], known: int | None, gap: int
) -> dict[int, int]:
    """Return the days without a long gap between them and most of the rows.

    After a pause of the logs there are days again, with about as many rows;
    wrong times are few, or all of one day.

    Args:
      rows: day -> its rows.
      known: a day that is right; None: that with the most rows around it is.
      gap: days without rows that are not too many.
    """
    days = sorted({*rows, *([] if known is None else [known])})
    if not days:
        return {}
    breaks = np.flatnonzero(np.diff(days) > gap + 1) + 1
    groups = [part.tolist() for part in np.split(np.array(days), breaks)]
    if known is not None:
        best = next(group for group in groups if known in group)
        return {day: rows[day] for day in best if day in rows}

    def rows_a_day(group: list[int]) -> float:
        return sum(rows[day] for day in group) / len(group)

    best = max(groups, key=lambda group: rows_a_day(group) * len(group))
    enough = _LEAST_SHARE * rows_a_day(best)
    return {
        day: rows[day]
        for group in groups
        if group == best or (len(group) > 1 and rows_a_day(group) >= enough)
        for day in group
    }


def _extent(days: Iterable[int]) -> str:
    names = sorted(map(windows.day_name, days))
    return f"go from {names[0]} to {names[-1]}" if names else "end before"


def named_day(where: str) -> int | None:
    """Return the day in the name of a file, or of the nearest folder."""
    for part in reversed(pathlib.PurePath(where).parts):
        for year, _, month, day in reversed(_DATE.findall(part)):
            name = f"{year}-{month}-{day}"
            if windows.is_day(name):
                return windows.day_number(name)
    return None
