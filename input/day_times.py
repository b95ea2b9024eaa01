"""The seconds of a day, and rows of it that lie elsewhere.

Days are cut in the zone that `convert` notes in its state. Without that note it
is not known, and a day is as long as it is anywhere on Earth.
"""

import datetime
import pathlib
import types
import zoneinfo

import numpy as np

from ecdctr_tf import store, windows

# How far zones are behind and ahead of UTC, in hours.
BEHIND, AHEAD = -12.0, 14.0
# Of the converter's state, which says in what zone days are cut.
_STATE, _STATE_KIND = "state", "conversion_state"
_UTC = "UTC"


def zone(directory: pathlib.Path) -> datetime.tzinfo | None:
    """Return the zone in which the days of a data directory are cut.

    Returns:
      None where the directory was not written by `convert`.

    Raises:
      ValueError: the manifest that says it is damaged.
    """
    while states := store.dated(directory / _STATE, _STATE_KIND):
        path = directory / _STATE / states[-1]
        try:
            found = store.read_manifest(path, _STATE_KIND)
        except FileNotFoundError:
            continue  # An append has put a newer one in its place.
        return _named(found.config.get("zone", _UTC))
    return None


def _named(name: str) -> datetime.tzinfo:
    """Return a zone by its name, or by an offset such as "UTC+08:00"."""
    sign = name.removeprefix(_UTC)[:1]
    if name.startswith(_UTC) and sign in ("+", "-"):
        hours, minutes = map(int, name[len(_UTC) + 1 :].split(":"))
        offset = datetime.timedelta(hours=hours, minutes=minutes)
        return datetime.timezone(offset if sign == "+" else -offset)
    return zoneinfo.ZoneInfo(name)


def seconds(day: str, of: datetime.tzinfo | None) -> tuple[int, int]:
    """Return the first second of a day and that of the next, since 1970 UTC.

    Args:
      day: the day.
      of: its zone; None: any.
    """
    first, end = (
        datetime.datetime.fromisoformat(d) for d in (day, windows.plus(day, 1))
    )
    if of is not None:
        first, end = (moment.replace(tzinfo=of) for moment in (first, end))
        return int(first.timestamp()), int(end.timestamp())
    ahead, behind = (
        datetime.timezone(datetime.timedelta(hours=hours))
        for hours in (AHEAD, BEHIND)
    )
    return (
        int(first.replace(tzinfo=ahead).timestamp()),
        int(end.replace(tzinfo=behind).timestamp()),
    )


def rows(
    file: pathlib.Path,
    file_format: types.ModuleType,
    day: str,
    of: datetime.tzinfo | None,
) -> int:
    """Return the number of rows of a file, whose times lie in its day.

    Args:
      file: of rows of the day.
      file_format: one of `data_directory.FORMATS`, which says of which rows it
        knows the times without decoding more of them.
      day: the day.
      of: the zone of days; None: any.

    Raises:
      ValueError: a row is of another day, or a record is damaged.
    """
    first, end = seconds(day, of)
    found = 0
    for count, times in file_format.times(file):
        if len(times) and (times.min() < first or times.max() >= end):
            row = int(np.argmax((times < first) | (times >= end)))
            begins, ends, time = (
                np.datetime64(moment, "s")
                for moment in (first, end, int(times[row]))
            )
            where = "" if of else ", wherever on Earth"
            raise ValueError(
                f"{file}, row {found + row + 1}: the time should lie in {day}, "
                f"from {begins} to {ends} UTC{where}. Received: {time} UTC. "
                "Convert the day again."
            )
        found += count
    return found
