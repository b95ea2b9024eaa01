"""The last rows of a scored day, which are scored before they are learned.

Of rows that it was trained on, a model looks better than it is. So a day is
learned in two parts, and in between the model scores the second one: what
`export.gate` judges it by.

Shapes: N rows held out.
"""

import dataclasses
import pathlib
import typing

import numpy as np

from ecdctr_tf import artefacts, features, metrics, windows
from ecdctr_tf.input import time_parts
from ecdctr_tf.training.level import Level

ADS, NATURAL = features.ADS, features.NATURAL


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """The last rows of a day, scored by a model that had not learned them."""

    # Seconds since 1970: the rows of the day from this moment on.
    since: int
    # Columns `[N]` as `Level.score` returns them.
    scores: dict[str, typing.Any]

    def judged(self) -> dict:
        """Return what the manifest of the day says: moment and metrics."""
        names = ("click", "ctr", "user", "weight")
        found = metrics.evaluate(*(self.scores[name] for name in names))
        return {"since": self.since, **found}

    def write(self, staging: pathlib.Path) -> None:
        """Write the scores among the files of the day."""
        np.savez(staging / artefacts.HELD_OUT, **self.scores)


def split(
    level: Level, today: windows.Window, days: dict[str, windows.Window]
) -> tuple[time_parts.Part, time_parts.Part] | None:
    """Return the rows that are learned first, and those that are held out.

    Natural rows, where the level is trained on them too, are parted at the same
    moment.

    Args:
      level: the A-CTR.
      today: the scored days, which have rows.
      days: domain -> the days that it is trained on, the scored ones among
        them.

    Returns:
      The two parts; None where too few rows would be held out, or, since rows
      of one second are never parted, more than half of the day. None too where
      a day is gone through several times: so would the few last rows be, by
      themselves.
    """
    config = level.config.gate
    if not config.share or level.training.passes > 1:
        return None
    later = time_parts.last(level.data, ADS, today, config.share)
    total = level.trained_rows(days)
    held = dict(later.rows)
    if not config.least_rows <= held[ADS] <= level.data.rows(ADS, today) / 2:
        return None
    if NATURAL in days:
        held[NATURAL] = time_parts.rows_from(
            level.data, NATURAL, today, later.moment, level.use(days[NATURAL])
        )
    first = {domain: rows - held[domain] for domain, rows in total.items()}
    return (
        time_parts.Part(later.moment, False, first),
        time_parts.Part(later.moment, True, held),
    )


def joined(first: list[dict], later: list[dict]) -> list[dict]:
    """Return the learning curves of the two parts as that of the day."""
    end = first[-1]
    more = [
        {
            **point,
            "step": end["step"] + point["step"],
            "rows": end["rows"] + point["rows"],
        }
        for point in later
    ]
    return [*first, *more]
