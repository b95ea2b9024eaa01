"""Time zones: the days, hours and weekdays that events lie in."""

import dataclasses
import datetime
import functools
import zoneinfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.day_times import AHEAD as AHEAD
from ecdctr_tf.input.day_times import BEHIND as BEHIND

DAY_SECONDS = 86_400


@dataclasses.dataclass(frozen=True)
class Zone:
    """A zone of a fixed offset, or one with summer time.

    Args:
      name: of the database of zones, such as "Europe/Berlin"; empty: none.
      offset: seconds that a zone without a name is ahead of UTC.
    """

    name: str = ""
    offset: int = 0

    def __post_init__(self) -> None:
        """Check that there is such a zone."""
        if not self.name:
            return
        try:
            zoneinfo.ZoneInfo(self.name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                "`time_zone` should be a name of the database of time zones, "
                f'such as "Europe/Berlin". Received: {self.name!r}'
            ) from error

    def __str__(self) -> str:
        """Return the name or the offset, such as "UTC+08:00"."""
        if self.name or not self.offset:
            return self.name or "UTC"
        hours, minutes = divmod(abs(self.offset) // 60, 60)
        sign = "+" if self.offset > 0 else "-"
        return f"UTC{sign}{hours:02}:{minutes:02}"

    def local(self, seconds: np.ndarray) -> np.ndarray:
        """Return local time, as seconds since 1970-01-01, of seconds UTC."""
        if not self.name:
            return seconds + self.offset
        stamp = pa.array(seconds).cast(pa.timestamp("s", self.name))
        return pc.local_timestamp(stamp).cast(pa.int64()).to_numpy()

    def utc(
        self, local: pa.Array | pa.ChunkedArray
    ) -> tuple[pa.Array, pa.Array]:
        """Return seconds UTC of local time.

        Args:
          local: `timestamp[s]` without a zone.

        Returns:
          int64, and where a time is twice because clocks went back, which is
          taken for the first. A time that there was not, as clocks went
          forward, is null.
        """
        if not self.name:
            seconds = pc.subtract(local.cast(pa.int64()), self.offset)
            return seconds, pc.and_(pc.is_valid(local), False)
        first, second = (
            pc.assume_timezone(local, self.name, ambiguous=one, nonexistent=one)
            for one in ("earliest", "latest")
        )
        differ = pc.not_equal(first, second)
        there = pc.equal(pc.local_timestamp(first), local)
        seconds = pc.if_else(there, first.cast(pa.int64()), None)
        return seconds, pc.and_(differ, there)

    @functools.cache  # noqa: B019  Zones are few and live as long as the specs.
    def start_of_day(self, day: int) -> int:
        """Return the first second UTC of a day since 1970-01-01."""
        if not self.name:
            return day * DAY_SECONDS - self.offset
        date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
        midnight = datetime.datetime.combine(
            date, datetime.time(), zoneinfo.ZoneInfo(self.name)
        )
        return int(midnight.timestamp())


def offsets_of_days(
    days: np.ndarray, first: np.ndarray, last: np.ndarray
) -> np.ndarray:
    """Return the fixed offsets for which times lie in their days.

    Args:
      days: int `[N]`, days since 1970-01-01.
      first: int `[N]`, the earliest second UTC of each.
      last: int `[N]`, the latest one.

    Returns:
      float `[M]`, hours, whole quarters of one; none where nothing fits.
    """
    hours = np.arange(BEHIND, AHEAD + 0.25, 0.25)
    if not len(days):
        return hours
    start = np.max(days * DAY_SECONDS - first) / 3600
    stop = np.min((days + 1) * DAY_SECONDS - last) / 3600
    return hours[(hours >= start) & (hours < stop)]
