"""Which column is the event time, in which form, and where days begin."""

import dataclasses
import datetime
import functools
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import day_watch, zones
from ecdctr_tf.input.conversion import times as units

# Years that logs are of; more than these are other numbers.
_YEARS = (1995, 2040)
# Stands for the first day of logs that do not tell theirs.
ORIGIN = "2000-01-01"
_FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M",
    "%Y%m%d%H",
    "%y%m%d%H",
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y%m%d",
)
_NAMES = re.compile(r"time|_ts$|^ts$|stamp|^hour$|_at$|date|^pt_d$|_et$|^dt$")
# ISO 8601 with fractions, a zone or both.
_ISO = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"
_ISO_ENDS = r"([.]\d+)?([Zz]|[+-]\d\d(:?\d\d)?)?$"
# Names of times of something else than the event.
_OTHERS = re.compile(
    r"duration|read_?time|play|stay|watch|times$|since|next|conver|upload|regist"
)


@dataclasses.dataclass(frozen=True)
class Time:
    """A column that may be the event time."""

    column: str
    # Of numbers: s, ms or us; empty for text and Arrow times.
    unit: str = ""
    # Of text: its strptime format.
    format: str = ""
    # Seconds in the rows of the sample; NaN where there is none.
    seconds: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(0), compare=False
    )
    # Higher is more likely.
    score: float = 0.0
    # Whether numbers count from a day that is not known.
    relative: bool = False
    # Whether it is UTC or says its zone.
    zoned: bool = True

    @property
    def says(self) -> str:
        """What the sample spans, for a comment."""
        known = self.seconds[np.isfinite(self.seconds)]
        first, last = (
            datetime.datetime.fromtimestamp(second, datetime.UTC)
            for second in (known.min(), known.max())
        )
        return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"


def of_table(table: pa.Table) -> list[Time]:
    """Return the columns that may be the event time, likeliest first."""
    found = []
    for name in table.column_names:
        time = _time(name, table[name])
        if time is not None:
            found.append(time)
    return sorted(found, key=lambda time: -time.score)


def _time(name: str, column: pa.ChunkedArray) -> Time | None:
    present = column.drop_null()
    if not len(present) or len(present) < 0.9 * len(column):
        return None
    lower = name.lower()
    score = 2.0 * bool(_NAMES.search(lower)) - 4.0 * bool(_OTHERS.search(lower))
    score -= 2.0 * bool(re.search("date|day|^dt$", lower))
    if pa.types.is_timestamp(column.type):
        whole = pc.cast(column, pa.timestamp("s", column.type.tz), safe=False)
        seconds = _floats(whole.cast(pa.int64()))
        zoned = column.type.tz is not None
        return Time(name, seconds=seconds, score=score + 3, zoned=zoned)
    if pa.types.is_string(column.type) or pa.types.is_integer(column.type):
        for form in _FORMATS:
            seconds = _parsed(column, form)
            if seconds is not None:
                fine = 1.0 * ("%M" in form) + 0.5 * ("%H" in form)
                score += 1.5 + fine
                return Time(name, "", form, seconds, score, zoned=False)
    if pa.types.is_string(column.type):
        return _iso(name, column, score + 3)
    if not pa.types.is_integer(column.type):
        return None
    values = _floats(column)
    for unit, per_second in units.UNITS.items():
        seconds = values / per_second
        if _plausible(seconds) and score > -2:
            finer = np.log10(per_second) / 10
            return Time(name, unit, "", seconds, score + 2 + finer)
    # Seconds since the log began, as some public logs have them.
    if score >= 2 and 0 <= np.nanmin(values) and np.nanmax(values) > 1_000:
        if len(np.unique(values)) > min(100, len(values) / 10):
            return Time(name, "s", "", values, score, relative=True)
    return None


def _iso(name: str, column: pa.ChunkedArray, score: float) -> Time | None:
    """Return text as ISO 8601 writes times, with fractions or zones."""
    if not pc.all(pc.match_substring_regex(column, _ISO + _ISO_ENDS)).as_py():
        return None
    ends = pc.replace_substring_regex(column, _ISO, "")
    zone = pc.match_substring_regex(ends, "[-+Zz]")
    if pc.any(zone).as_py() != pc.all(zone).as_py():
        return None  # Some have a zone and some have none.
    zoned = pc.any(zone).as_py()
    try:
        stamp = column.cast(pa.timestamp("us", "UTC" if zoned else None))
    except pa.ArrowInvalid:
        return None
    whole = stamp.cast(pa.timestamp("s", stamp.type.tz), safe=False)
    seconds = _floats(whole.cast(pa.int64()))
    if not _plausible(seconds):
        return None
    return Time(name, "", units.ISO, seconds, score, zoned=zoned)


def _parsed(column: pa.ChunkedArray, form: str) -> np.ndarray | None:
    """Return seconds if all values are written in a format, or else None."""
    text = column.cast(pa.string())
    if "-" not in form and "/" not in form and "." not in form:
        width = len(datetime.datetime(2024, 1, 1).strftime(form))
        digits = pc.match_substring_regex(text, rf"^\d{{{width}}}$")
        if not pc.all(digits).as_py():
            return None
    try:
        stamp = pc.strptime(text, format=form, unit="s")
    except pa.ArrowInvalid:
        return None
    seconds = _floats(stamp.cast(pa.int64()))
    return seconds if _plausible(seconds) else None


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    return pc.cast(column, pa.float64(), safe=False).to_numpy()


def _plausible(seconds: np.ndarray) -> bool:
    first, last = (
        datetime.datetime(year, 1, 1, tzinfo=datetime.UTC).timestamp()
        for year in _YEARS
    )
    return bool(
        np.nanmin(seconds, initial=np.inf) >= first
        and np.nanmax(seconds, initial=0) < last
    )


@dataclasses.dataclass(frozen=True)
class Days:
    """A column that holds the day of the event, and the zone it tells."""

    column: str
    # Day 0 of the column if it holds small numbers, or "".
    first_day: str
    # Hours that the column is ahead of UTC; None if several fit.
    hours: float | None


def days(table: pa.Table, time: Time) -> Days | None:
    """Return the day column of a table, if it has one that fits the time.

    Args:
      table: a sample.
      time: its event time, in UTC.
    """
    named = r"(^|_)(day|date|dt|ds)($|_)"
    for name in table.column_names:
        if not re.search(named, name.lower()) or name == time.column:
            continue
        number = _day_numbers(table[name])
        if number is None:
            continue
        absolute = number[0] > 9_000
        fitting = {}
        for hours in np.arange(-12, 14.5, 0.5):
            local = (time.seconds + hours * 3600) // 86_400
            apart = np.unique(local - number)
            if len(apart) == 1 and (not absolute or apart[0] == 0):
                fitting[float(hours)] = int(apart[0])
        if not fitting:
            continue
        # The sample may fit several; whole hours near UTC come first.
        hours = min(fitting, key=lambda h: (h % 1 != 0, abs(h)))
        first = datetime.date(1970, 1, 1)
        first += datetime.timedelta(days=fitting[hours])
        sure = len(fitting) <= 2
        return Days(
            name, "" if absolute else str(first), hours if sure else None
        )
    return None


def hours_of_files(
    parts: Sequence[tuple[str, int]], time: Time
) -> np.ndarray | None:
    """Return the offsets for which rows lie in the days that files name.

    Args:
      parts: the files of a sample, and how many of its rows are from each.
      time: the event time of the rows.

    Returns:
      Hours ahead of UTC, none if there is summer time; None if the names say
      no days, or those of UTC.
    """
    days = [day_watch.named_day(path) for path, _ in parts]
    if not time.zoned or time.relative or not parts or None in days:
        return None
    ends = np.cumsum([rows for _, rows in parts])[:-1]
    spans = [
        (np.nanmin(seconds), np.nanmax(seconds))
        for seconds in np.split(time.seconds, ends)
        if np.isfinite(seconds).any()
    ]
    if len(spans) < len(days):
        return None
    each = [
        zones.offsets_of_days(np.array([day]), *np.array([span]).T)
        for day, span in zip(days, spans, strict=True)
    ]
    if not all(map(len, each)) or all(0.0 in hours for hours in each):
        return None
    return functools.reduce(np.intersect1d, each)


def _day_numbers(column: pa.ChunkedArray) -> np.ndarray | None:
    """Return days, since 1970 if the column holds dates."""
    if column.null_count or pa.types.is_list(column.type):
        return None
    if pa.types.is_date(column.type):
        return column.cast(pa.int32()).to_numpy().astype(float)
    if pa.types.is_string(column.type) or pa.types.is_integer(column.type):
        for form in ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d"):
            seconds = _parsed(column, form)
            if seconds is not None:
                return seconds // 86_400
    if pa.types.is_integer(column.type):
        return _floats(column)
    return None
