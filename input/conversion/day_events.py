"""The events of a day in order: those that were read, or those held."""

import functools
import pathlib
from collections.abc import Callable, Iterator
from concurrent import futures

import pyarrow as pa

from ecdctr_tf import features, windows
from ecdctr_tf.input.conversion import (
    ahead,
    events,
    held,
    ordering,
    spill,
    stretches,
    toml_spec,
)

Tables = Iterator[pa.Table]
# None: there is no second time.
Again = Callable[[], Tables] | None


class DayEvents:
    """Gives the events of day after day; the next day is begun ahead.

    Args:
      spec: of the conversion.
      spilled: the events that were read.
      base: the days converted before, or None.
      pool: of one thread, where events are put in order.
    """

    def __init__(
        self,
        spec: toml_spec.ConversionSpec,
        spilled: spill.Spill,
        base: held.Held | None,
        pool: futures.Executor,
    ):
        self._order = functools.partial(
            ordering.ordered, user=spec.user, item=spec.item
        )
        self._spec = spec
        self._spilled = spilled
        self._base = base
        self._pool = pool
        self._coming: dict[int, dict[str, Tables]] = {}

    def of(self, day: int) -> dict[str, tuple[Tables, Again]]:
        """Return the events of a day in stretches of time, by domain.

        Domains without events are left out; the events of others have to be
        taken before `begin` is called.

        Returns:
          Domain -> the events, and what returns them again; those that were
          read can be taken once.
        """
        coming = self._coming.pop(day, None) or self._read(day)
        found: dict[str, tuple[Tables, Again]] = {}
        for domain in features.DOMAINS:
            if domain in coming:
                found[domain] = coming[domain], None
            elif self._base is not None:
                name = windows.day_name(day)
                path = self._base.events(domain, name)
                if path is not None:
                    again = functools.partial(self._held, domain, name, path)
                    found[domain] = again(), again
        return found

    def _held(self, domain: str, day: str, path: pathlib.Path) -> Tables:
        """Return the events of a day that is held, with the features now."""
        data = self._base.past.data
        written = data.specs[data.manifest(domain, day).spec]
        for table in stretches.read(path):
            yield events.fitted(table, written, self._spec)

    def begin(self, day: int) -> None:
        """Begin to put the events of a day in order."""
        self._coming = {day: self._read(day)}

    def _read(self, day: int) -> dict[str, Tables]:
        return {
            domain: ahead.ahead(
                map(self._order, self._spilled.read(domain, day)), self._pool
            )
            for domain in features.DOMAINS
            if day in self._spilled.days(domain)
        }
