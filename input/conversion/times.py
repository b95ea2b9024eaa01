"""Times of logs as whole seconds UTC, whatever files hold.

Numbers count from 1970-01-01 in a unit; text is read by a format; Arrow
timestamps say their unit and perhaps their zone. Times without a zone are
local.
"""

import dataclasses
import datetime
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import windows
from ecdctr_tf.input.conversion import log_columns, zones

# Units of numbers: how many of them a second has.
UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# A `time_format` for text as ISO 8601 writes it.
ISO = "iso"
# Numbers that are written so are dates rather than seconds.
_HOUR = r"^(19[89]|20\d)\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])$"
_DATES = {
    8: "%Y%m%d",
    10: "%Y%m%d%H",
    12: "%Y%m%d%H%M",
    14: "%Y%m%d%H%M%S",
}
# Events lie in these years; other times are of another unit, or no times.
_FIRST_YEAR, _LAST_YEAR = 1980, 2099
FIRST, STOP = (
    windows.day_number(f"{year}-01-01") * zones.DAY_SECONDS
    for year in (_FIRST_YEAR, _LAST_YEAR + 1)
)
_YEAR_1000 = windows.day_number("1000-01-01") * zones.DAY_SECONDS


@dataclasses.dataclass(frozen=True)
class Reading:
    """How the times of a log are written."""

    unit: str = "s"
    # Second UTC that numbers count from.
    origin: int = 0
    # strptime format of text, or `ISO`; empty: numbers.
    format: str = ""
    # Zone of text and dates that say none.
    zone: zones.Zone = zones.Zone()
    # Zone of Arrow timestamps that say none; None: it is not known.
    naive: zones.Zone | None = zones.Zone()


def seconds(
    column: log_columns.LogColumn, reading: Reading
) -> tuple[pa.Array, int]:
    """Return times as seconds UTC, rounded down, and how many are uncertain.

    Args:
      column: the times; null where there is none.
      reading: how they are written.

    Returns:
      int64, null where there is no time (also where clocks went forward over
      a local time), and the number of local times that were twice because
      clocks went back: they are taken for the first.

    Raises:
      ValueError: a time is not written so, or its zone is not known.
    """
    column = column.plain()
    if reading.format and not pa.types.is_timestamp(column.type):
        return _of_text(column.cast(pa.string()), reading)
    if pa.types.is_date(column.type):
        return _of_timestamps(column, reading.zone)
    if pa.types.is_timestamp(column.type):
        if column.type.tz is None and reading.naive is None:
            raise ValueError(
                f"{column.where}: {column} holds times without a zone. Set "
                '`time_zone` of the log: "UTC", or the zone they are in.'
            )
        return _of_timestamps(column, reading.naive or reading.zone)
    return _of_numbers(column, reading), 0


def plausible(values: pa.Array) -> pa.Array:
    """Return where seconds UTC are times that events may have; not null."""
    good = pc.and_(pc.greater_equal(values, FIRST), pc.less(values, STOP))
    return pc.fill_null(good, False)


def advice(value: object, second: int | None, reading: Reading) -> str:
    """Return what a value that is no time of an event should have done.

    Args:
      value: as it is in the log.
      second: what it was read as.
      reading: how times are written.
    """
    if value is None or value != value:
        return (
            'hold a time in every row; `wrong_time = "drop"` leaves others out'
        )
    years = f"lie in the years {_FIRST_YEAR} to {_LAST_YEAR}"
    drop = 'or `wrong_time = "drop"` to leave such rows out'
    if second is None:
        return (
            f"be a time that there was: in {reading.zone}, clocks went forward "
            "over it. Set `time_zone` of the log if its times are of another "
            f"zone, {drop}"
        )
    written = _DATES.get(len(str(value)))
    if written and re.fullmatch(r"(19|20)\d\d[01]\d[0-3]\d+", str(value)):
        return f'{years}; set `time_format = "{written}"` of the log, {drop}'
    try:
        number = float(str(value))
    except ValueError:
        if "%Y" in reading.format and second < _YEAR_1000:
            years += "; %y of `time_format` reads years of two digits"
        return f"{years}; set {drop[3:]}"
    for name, count in UNITS.items():
        if FIRST <= number / count < STOP and name != reading.unit:
            return f'{years}; set `time_unit = "{name}"` of the log, {drop}'
    return (
        f"{years}; it is read as {reading.unit} since 1970-01-01. Set "
        f"`time_unit` or `time_origin` of the log, {drop}"
    )


def span(values: pa.Array) -> str:
    """Return the first and the last second UTC, for messages."""
    ends = pc.min_max(values).as_py()
    first, last = (written(ends[key]) for key in ("min", "max"))
    return f"from {first} to {last}"


def written(second: int) -> str:
    """Return a second UTC as a date and time, or as the number it is."""
    if not -(10**11) < second < 2 * 10**11:
        return str(second)
    start = datetime.datetime(1970, 1, 1)
    moment = start + datetime.timedelta(seconds=int(second))
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def days(column: log_columns.LogColumn, first_day: str) -> np.ndarray:
    """Return a day column as days since 1970-01-01.

    Args:
      column: dates, whole numbers of days since `first_day`, or numbers such
        as 20240501.
      first_day: `YYYY-MM-DD`.

    Raises:
      ValueError: a day is missing or is none of these.
    """
    column = column.plain()
    column.reject(pc.is_null(column.values), "hold a day in every row")
    should = (
        "days: YYYY-MM-DD, YYYYMMDD, or whole numbers since `first_day`; other "
        "days are not read, so leave `day` of the log out"
    )
    if pa.types.is_string(column.type):
        number = pc.match_substring_regex(column.values, r"^-?\d+$")
        if not pc.all(number).as_py():
            # Some programs write a day as its midnight.
            column = column.cast(pa.timestamp("s"), should)
    if pa.types.is_timestamp(column.type):
        column = (
            column.having(pc.local_timestamp(column.values))
            if (column.type.tz)
            else column
        )
        column = column.cast(pa.date32())
    if pa.types.is_date(column.type):
        return column.cast(pa.date32()).cast(pa.int32()).values.to_numpy()
    column = column.cast(pa.int64(), should)
    numbers = column.values.to_numpy()
    if len(numbers) and (numbers >= 19_000_000).all():
        text = column.cast(pa.string())
        stamp = _parsed(text, "%Y%m%d", should)
        return stamp.cast(pa.date32()).cast(pa.int32()).to_numpy()
    return numbers + windows.day_number(first_day)


def check_format(owner: str, given: str, zone: str) -> None:
    """Raise a ValueError for a `time_format` that leaves the time open.

    Args:
      owner: the log.
      given: its `time_format`.
      zone: its `time_zone`.
    """
    if ("%I" in given) != ("%p" in given):
        raise ValueError(
            f"`time_format` of {owner} should have both %I, the hour from 1 to "
            "12, and %p, AM or PM, or neither: %H is the hour from 0 to 23. "
            f"Received: {given!r}"
        )
    if "%Z" in given:
        raise ValueError(
            f"`time_format` of {owner} cannot have %Z: names such as EST are "
            "those of several zones. Write the name as it is, and set "
            f"`time_zone`; %z reads offsets such as +0100. Received: {given!r}"
        )
    if says_utc(given) and zone not in ("", "UTC"):
        raise ValueError(
            f"`time_format` of {owner} says that times are UTC, and "
            f"`time_zone` that they are not. Received: {given!r}, {zone!r}"
        )


def says_utc(given: str) -> bool:
    """Return whether the text of a format itself says UTC, as in `%SZ`."""
    return bool(re.search(r"(?<![A-Za-z])(Z|UTC|GMT)$", _bare(given)))


def _bare(given: str) -> str:
    """Return a format without what stands for numbers and names."""
    return re.sub("%.", "", given)


def _of_text(
    column: log_columns.LogColumn, reading: Reading
) -> tuple[pa.Array, int]:
    """Return seconds UTC of text, each value with the zone it says, if any."""
    if reading.format != ISO:
        parsed = column.having(_parsed(column, reading.format))
        return _of_timestamps(parsed, reading.zone)
    should = (
        f"hold times as `time_format` {ISO!r} says, such as "
        "2024-05-01T12:00:00Z; a strptime format reads others"
    )
    values = pc.replace_substring_regex(column.values, r"(:\d\d)[.,]\d+", r"\1")
    zoned = pc.match_substring_regex(
        values, r"\d[T ]\d.*([Zz]|[+-]\d\d(:?\d\d)?)$"
    )
    found, uncertain = [], 0
    for zone, chosen in (("UTC", zoned), (None, pc.invert(zoned))):
        part = column.having(pc.if_else(chosen, values, None))
        part = part.cast(pa.timestamp("s", zone), should[5:])
        seconds, twice = _of_timestamps(part, reading.zone)
        found.append(seconds)
        uncertain += twice
    return pc.coalesce(*found), uncertain


def _parsed(
    column: log_columns.LogColumn, given: str, should: str = ""
) -> pa.ChunkedArray:
    """Return text as timestamps of whole seconds, with a zone if it has one."""
    should = should or f"times as `time_format` {given!r} says"
    values = column.values
    head, fraction, tail = given.partition("%f")
    if fraction and head[-1:] in (".", ","):
        # Behind as many points and commas as there are in the format before.
        before = len(re.findall("[.,]", _bare(head))) - 1
        pattern = rf"^((?:[^.,]*[.,]){{{before}}}[^.,]*)[.,]\d+"
        values = pc.replace_substring_regex(values, pattern, r"\1")
        given = head[:-1] + tail
    read = pc.strptime(values, format=given, unit="s", error_is_null=True)
    bad = pc.and_(pc.is_valid(values), pc.is_null(read))
    column.reject(bad, f"hold {should}")
    # Of a day that no month has, such as 30 February, Arrow makes one of March.
    early = pc.fill_null(pc.less_equal(pc.day(read), 3), False)
    for text in pc.unique(values.filter(early)).to_pylist():
        if not _is_date(text, given):
            column.reject(pc.equal(values, text), f"hold {should}")
    return read


def _is_date(text: str, given: str) -> bool:
    """Return whether a text that has the format names a day that there was."""
    try:
        datetime.datetime.strptime(text, given)
    except ValueError as error:
        return "out of range" not in str(error)
    return True


def _of_timestamps(
    column: log_columns.LogColumn, zone: zones.Zone
) -> tuple[pa.Array, int]:
    """Return seconds UTC; `zone` is that of timestamps without one."""
    values = column.values
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_date(values.type):
        values = values.cast(pa.date32()).cast(pa.timestamp("s"))
    count = UNITS[values.type.unit]
    whole = log_columns.floor_divide(values.cast(pa.int64()), count)
    if values.type.tz is not None:
        return whole, 0
    local = whole.cast(pa.timestamp("s"))
    found, twice = zone.utc(local)
    return found, pc.sum(pc.fill_null(twice, False)).as_py() or 0


def _of_numbers(column: log_columns.LogColumn, reading: Reading) -> pa.Array:
    """Return seconds UTC of numbers of a unit."""
    count = UNITS[reading.unit]
    should = "times: whole numbers, or text with a `time_format` of the log"
    values = column.values
    kinds = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_string,
        pa.types.is_null,
    )
    if not any(is_kind(column.type) for is_kind in kinds):
        raise ValueError(
            f"{column.where}: {column} should hold {should}. It is "
            f"{column.type}."
        )
    if pa.types.is_string(column.type):
        fraction = pc.match_substring_regex(values, r"[.eE]|[nN][aA][nN]")
        if pc.any(fraction).as_py():
            column = column.cast(pa.float64(), should)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64(), should)
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        values = column.values
        missing = pc.is_nan(values)
        column.reject(
            pc.fill_null(
                pc.and_(pc.invert(pc.is_finite(values)), pc.invert(missing)),
                False,
            ),
            f"hold {should}",
        )
        values = pc.if_else(missing, pa.scalar(None, pa.float64()), values)
        whole = pc.floor(pc.divide(values, float(count)))
        column = column.having(whole)
        # Numbers too large for int64 are no times either.
        capped = pc.min_element_wise(whole, 2.0**62, skip_nulls=False)
        capped = pc.max_element_wise(capped, -(2.0**62), skip_nulls=False)
        values = capped.cast(pa.int64())
    else:
        values = column.cast(pa.int64(), should).values
        values = log_columns.floor_divide(values, count)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if reading == Reading(zone=reading.zone, naive=reading.naive):
        _reject_dates(column.having(values))
    return pc.add(values, reading.origin)


def _reject_dates(column: log_columns.LogColumn) -> None:
    """Raise a ValueError if all seconds are hours such as 2024050123."""
    texts = column.values.drop_null().cast(pa.string())
    hours = pc.match_substring_regex(texts, _HOUR)
    if len(texts) and pc.all(hours).as_py():
        place = pc.index(column.values.is_valid(), True).as_py()
        raise column.error(
            place,
            "hold seconds since 1970-01-01, and all of a table look like "
            'YYYYMMDDHH. Set `time_format = "%Y%m%d%H"` of the log',
        )
