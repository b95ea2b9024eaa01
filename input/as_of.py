"""A data directory as it was on a date: nothing of that day or a later one."""

import datetime
import pathlib
import zoneinfo
from collections.abc import Collection, Mapping

from ecdctr_tf import features, store, windows
from ecdctr_tf.input import damage
from ecdctr_tf.input.data_directory import DataDirectory

# Of the converter's state, which says in what zone days are cut.
_STATE, _STATE_KIND = "state", "conversion_state"
_UTC = "UTC"


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
    states = store.dated(data.path / _STATE)
    zone = _UTC
    if states:
        path = data.path / _STATE / states[-1]
        zone = store.read_manifest(path, _STATE_KIND).config.get("zone", _UTC)
    return datetime.datetime.now(_zone(zone)).date().isoformat()


def _zone(name: str) -> datetime.tzinfo:
    """Return a zone by its name, or by an offset such as "UTC+08:00"."""
    sign = name.removeprefix(_UTC)[:1]
    if name.startswith(_UTC) and sign in ("+", "-"):
        hours, minutes = map(int, name[len(_UTC) + 1 :].split(":"))
        offset = datetime.timedelta(hours=hours, minutes=minutes)
        return datetime.timezone(offset if sign == "+" else -offset)
    return zoneinfo.ZoneInfo(name)
