"""How many days each level is behind, and what is too many."""

import dataclasses
import pathlib
from collections.abc import Mapping

from ecdctr_tf import config as configs
from ecdctr_tf import model_table, windows
from ecdctr_tf.request import Request
from ecdctr_tf.training import workdir

# The levels that the exported model is made of, as pages call them.
LEVELS = {"tpm": "TPM", "cpm": "CPM", "ctr": "A-CTR"}


@dataclasses.dataclass(frozen=True)
class Old:
    """A level that is more days behind than it may be."""

    level: str
    age: int
    # The days that it may be behind.
    most: int
    # Whether that is too old to export, not only worth a warning.
    refused: bool

    def words(self) -> str:
        """Return that the level is old, in words."""
        return (
            f"the {LEVELS[self.level]} is {self.age} days behind, of at most "
            f"{self.most} (clock.{self.level}_ages)"
        )


def places(request: Request) -> dict[str, pathlib.Path]:
    """Return where the levels of the exported model publish, by level.

    Those that it does not have are left out. Of a mixture, the CPM is that of
    its first expert that has one; of several seeds, the first one counts.
    """
    run, config = request.runs()[0]
    row = model_table.model(request.exported_model)
    rows = [model_table.model(name) for name in row.experts or (row.name,)]
    found = {"ctr": run.ctr(row.base)}
    with_cpm = [of for of in rows if of.has_cpm]
    if with_cpm:
        found = {"cpm": run.cpm(with_cpm[0].base), **found}
    if any(configs.reads_tpm(configs.of_model(config, of)) for of in rows):
        found = {"tpm": run.tpm, **found}
    return found


def newest(request: Request, date: str) -> dict[str, str | None]:
    """Return the last day that each level has learned before a date."""
    found = {}
    for level, directory in places(request).items():
        path = workdir.newest_before(directory, date)
        found[level] = path.name if path else None
    return found


def behind(
    learned: Mapping[str, str | None], date: str
) -> dict[str, int | None]:
    """Return how many of the days before a date each level has not learned.

    Args:
      learned: level -> its last day; None where it has published nothing.
      date: the date. A day from it on leaves nothing to learn before it.
    """
    return {
        level: max(windows.day_number(date) - windows.day_number(day) - 1, 0)
        if day
        else None
        for level, day in learned.items()
    }


def judge(ages: Mapping[str, int | None], config: configs.Config) -> list[Old]:
    """Return the levels that are too old.

    A level that the schedule lets end, or that has published nothing yet, is
    of any age.
    """
    schedule = config.schedule
    ended = {
        "tpm": bool(schedule.tpm_last),
        "cpm": not schedule.cpm_every,
        "ctr": bool(schedule.ctr_last),
    }
    found = []
    for level in LEVELS:
        age = ages.get(level)
        limits = getattr(config.clock, f"{level}_ages")
        if age is None or not limits or ended[level]:
            continue
        warned, refused = limits
        if age > refused:
            found.append(Old(level, age, refused, True))
        elif age > warned:
            found.append(Old(level, age, warned, False))
    return found


def too_old(ages: Mapping[str, int | None], config: configs.Config) -> str:
    """Return which levels are too old to export, in words; empty: none."""
    return "; ".join(of.words() for of in judge(ages, config) if of.refused)
