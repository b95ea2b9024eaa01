"""A data directory as it was on a date: nothing of that day or a later one."""

import datetime
import pathlib
from collections.abc import Collection, Mapping

from ecdctr_tf import features, store, windows
from ecdctr_tf.input import damage
from ecdctr_tf.input.data_directory import DataDirectory


class AsOf(DataDirectory):
    """The days of a data directory that lie before a date.

    Features are those of the newest of these days. Days that are left out
    are there, without rows, as where the logs have a gap.

    Args:
      data: the data directory; what was read of it is shared.
      date: the first day that cannot be seen.
      left_out: domain -> days whose rows are left out.

    Raises:
      ValueError: `date` is not a day.
    """

    def __init__(
        self,
        data: DataDirectory,
        date: str,
        left_out: Mapping[str, Collection[str]] | None = None,
    ):
        vars(self).update(vars(data))
        if data.damaged == damage.SKIP_RECORD:
            # Files that are read through one view are shared with all.
            self._salvage = data._salvage
        self.date = windows.day_name(windows.day_number(date))
        self.left_out = left_out or {}
        # Those that come while a command is at work are for the next one.
        self._days = {
            domain: [day for day in data.days(domain) if day < self.date]
            for domain in features.DOMAINS
        }
        specs = [*(former.spec for former in data.former), data.spec]
        places = {spec.fingerprint(): i for i, spec in enumerate(specs)}
        newest = [
            places[self.manifest(domain, days[-1]).spec]
            for domain in features.DOMAINS
            if (days := self.days(domain))
        ]
        place = max(newest, default=len(specs) - 1)
        self.spec, self.former = specs[place], data.former[:place]

    def days(self, domain: str) -> list[str]:
        """Return the days there are of a domain before the date."""
        return self._days[domain]

    def manifest(self, domain: str, day: str) -> store.Manifest:
        """Return the manifest of a day; of one left out, without its rows.

        Raises:
          FileNotFoundError, ValueError: as of a data directory.
        """
        found = super().manifest(domain, day)
        if day not in self.left_out.get(domain, ()):
            return found
        # A copy of its own: what was read is shared.
        empty = store.Manifest.from_json(found.to_json())
        empty.rows, empty.files = 0, {}
        empty.metrics = {"clicks": 0}
        empty.config["shards"] = 0
        return empty

    def files(self, domain: str, day: str) -> list[pathlib.Path]:
        """Return the files of a day; of one left out, none.

        Raises:
          FileNotFoundError, ValueError: as of a data directory.
        """
        if day in self.left_out.get(domain, ()):
            return []
        return super().files(domain, day)


def today(data: DataDirectory) -> str:
    """Return the day that it is now in the zone in which days are cut.

    That is UTC where the directory was not written by `convert`.
    """
    zone = data.zone or datetime.UTC
    return datetime.datetime.now(zone).date().isoformat()
