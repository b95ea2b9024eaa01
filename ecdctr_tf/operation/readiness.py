"""Whether the logs of a day are whole."""

import functools
import statistics

from ecdctr_tf import config as configs
from ecdctr_tf.input.data_directory import DataDirectory

# Days with rows before a day, whose median its rows are compared with.
_DAYS, _FEWEST_DAYS = 28, 3


class Readiness:
    """Says why a day is not whole.

    Args:
      data: the data directory, as of the date of the command.
      clock: what is asked of days.
    """

    def __init__(self, data: DataDirectory, clock: configs.ClockConfig):
        self._data = data
        self._clock = clock
        self._days = functools.cache(data.days)
        self._why = functools.cache(self._lacks)

    def is_there(self, domain: str, day: str) -> bool:
        """Return whether a day was converted, be it whole or not."""
        return day in self._days(domain)

    def lacks(self, domain: str, day: str) -> str:
        """Return what a day lacks, in words; empty if it is whole.

        A day without rows before other days is a gap of the logs, which is
        whole: `convert` writes it when the domain goes on after a pause.
        """
        return self._why(domain, day)

    def _lacks(self, domain: str, day: str) -> str:
        if not self.is_there(domain, day):
            return f"the {domain} rows of {day} are not there"
        rows = self._data.manifest(domain, day).rows
        if not rows and day < self._days(domain)[-1]:
            return ""
        if self._clock.done_file:
            name = self._clock.done_file.format(domain=domain, day=day)
            if not (self._data.path / name).exists():
                return f"{domain} of {day} has no {name}"
        of_day = f"{domain} of {day} has {rows:,} rows"
        least = self._clock.least_rows_of.get(domain, 0)
        if rows < least:
            return f"{of_day} of at least {least:,} (clock.least_rows)"
        usual = self._usual_rows(domain, day)
        if rows < self._clock.least_share * usual:
            return (
                f"{of_day}, {rows / usual:.0%} of the {usual:,.0f} that are "
                "usual (clock.least_share)"
            )
        return ""

    def _usual_rows(self, domain: str, day: str) -> float:
        """Return the median rows of the days before; 0 if there are few."""
        found: list[int] = []
        for before in reversed(self._days(domain)):
            if before < day and len(found) < _DAYS:
                rows = self._data.manifest(domain, before).rows
                found += [rows] if rows else []
        return statistics.median(found) if len(found) >= _FEWEST_DAYS else 0
