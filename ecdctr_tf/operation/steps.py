"""The steps of a date: what is done, what is not, and why."""

import dataclasses
from collections.abc import Mapping

from ecdctr_tf import windows

# What a step does,
TRAIN, AGGREGATE, EXPORT = "train", "aggregate", "export"
DOES = (TRAIN, AGGREGATE, EXPORT)
# and what it is where it does nothing: logs are not whole yet, or are left
# out, something forbids it, or it is not due.
WAIT, SKIP, REFUSE, NOTHING = "wait", "skip", "refuse", "nothing"
# How the reason of a step begins that leaves out days.
WITHOUT = "without"
# Kinds of steps beside those of levels.
HISTORICAL, VERSION = "historical", "version"


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing that is done, or not done, and the reason."""

    # "snapshot", "historical", "cpm", "ctr" or "version".
    kind: str
    # As people call it, such as "CPM of E-CDCTR".
    title: str
    # Where it publishes, relative to the work directory.
    place: str
    # One of those above.
    action: str
    reason: str
    # The days that it learns, or None.
    window: windows.Window | None = None
    # Domain -> days whose rows it leaves out.
    left_out: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )

    @property
    def days(self) -> str:
        """The window in words; empty without one."""
        if self.window is None or self.window.first == self.window.last:
            return self.window.last if self.window else ""
        return str(self.window)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The steps of a date, in order."""

    date: str
    steps: tuple[Step, ...]
