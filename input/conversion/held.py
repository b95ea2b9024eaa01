"""What a conversion goes on from: days that are held, and those that stay.

Days that stay are never written again. Their events are gone through all the
same where rows of other days depend on them: a day that comes later than days
after it has the rows that it would have if it had come in time.
"""

import dataclasses
import functools
import pathlib

from ecdctr_tf import store, windows
from ecdctr_tf.input import damage, data_directory, id_space
from ecdctr_tf.input.conversion import state


@dataclasses.dataclass(frozen=True)
class Held:
    """The days of a data directory, and which of them stay as they are."""

    past: state.Past
    # Domain -> the last of its days that stay; domains without one are left
    # out.
    kept: dict[str, str]

    @classmethod
    def all_of(cls, past: state.Past) -> "Held":
        """Return the days of a directory that others are appended to.

        Raises:
          ValueError: a day is not there.
        """
        past.data.check_days()
        return cls(past, dict(past.last_days))

    @classmethod
    def before(cls, past: state.Past, day: str) -> "Held":
        """Return the days of a directory before one."""
        kept = {}
        for domain in past.last_days:
            days = [d for d in past.data.days(domain) if d < day]
            if days:
                kept[domain] = days[-1]
        return cls(past, kept)

    @property
    def stay(self) -> bool:
        """Whether all days stay."""
        return self.kept == self.past.last_days

    @property
    def newest(self) -> str:
        """The last of the days that stay, or ""."""
        return max(self.kept.values(), default="")

    @functools.cached_property
    def id_spaces(self) -> dict[str, id_space.IdSpace]:
        """The id spaces, with the ids that rows of days that stay have."""
        spaces = dict(self.past.id_spaces)
        if self.stay:
            return spaces
        used: dict[str, int] = {}
        for domain, last in self.kept.items():
            for day in self.past.data.days(domain):
                if day > last:
                    break
                manifest = self.past.data.manifest(domain, day)
                rows = {n: e["rows"] for n, e in manifest.ids.items()}
                rows |= manifest.config.get(data_directory.IN_USE, {})
                for name, count in rows.items():
                    used[name] = max(used.get(name, 0), count)
        for name, space in spaces.items():
            if isinstance(space, id_space.Vocabulary):
                spaces[name] = space.first(used.get(name, 0))
        return spaces

    def table_rows(self, day: str) -> dict[str, int] | None:
        """Return the rows of each table that are known at the end of a day.

        Returns:
          None where there is no later day: all rows in use are known.
        """
        return self.past.data.table_rows(day) if day < self.newest else None

    def start(self, first: int) -> str:
        """Return the last day of the state that a day can be made from.

        Args:
          first: the day, a number.

        Returns:
          The newest day of a state that has seen none from that day on, or "":
          one has to begin with the first day.
        """
        states = [self.past.window.last, self.past.behind]
        before = [d for d in states if d and windows.day_number(d) < first]
        return max(before, default="")

    def events(self, domain: str, day: str) -> pathlib.Path | None:
        """Return the file with the events of a day, None if there are none.

        Raises:
          FileNotFoundError, ValueError: they are missing or damaged.
        """
        data = self.past.data
        if day not in data.days(domain):
            return None
        path = data.path / domain / day
        manifest = store.verify(path, "day", [data_directory.EVENTS])
        if data_directory.EVENTS not in manifest.files:
            if damage.LOST in manifest.metrics:
                raise FileNotFoundError(
                    f"{path} holds no {data_directory.EVENTS}: it was damaged "
                    "when the day was repaired. Put the day back from a copy, "
                    "or convert all logs again into another directory."
                )
            if not manifest.rows:
                return None
            raise FileNotFoundError(
                f"{path} holds no {data_directory.EVENTS}: it was written by "
                "an older version. Convert all logs again into another "
                "directory."
            )
        return path / data_directory.EVENTS
