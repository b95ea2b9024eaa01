"""Features that all rows of a day have alike, such as the weekday.

Levels that are trained day by day see such a feature vary in no batch. Batch
norm then learns nothing of it, and what it began with for a value not seen
before is magnified when that value comes.
"""

from collections.abc import Sequence

import numpy as np

from ecdctr_tf import features
from ecdctr_tf.diagnostics import domain_shift
from ecdctr_tf.input.data_directory import DataDirectory

# Newest days looked at: all weekdays, and rows of each.
_DAYS = 7
_ROWS = 1_000


def measure(
    data: DataDirectory, exclude: Sequence[str] = (), seed: int = 0
) -> list[str] | None:
    """Return the features that vary between days and within none.

    Args:
      data: the data directory.
      exclude: names of features that are not looked at.
      seed: of the rows looked at, up to 1,000 a day.

    Returns:
      Names in the order of the spec; None if no domain has two days of two
      rows or more.

    Raises:
      FileNotFoundError, ValueError: a day is missing or damaged, or a feature
        to exclude is none.
    """
    spec = data.spec.without(exclude)
    found = []
    for domain in features.DOMAINS:
        sizes = {d: data.manifest(domain, d).rows for d in data.days(domain)}
        days = [day for day, rows in sizes.items() if rows >= 2][-_DAYS:]
        if len(days) < 2:
            continue
        samples = [
            domain_shift.sample(
                data, domain, day, min(sizes[day], _ROWS), seed, spec
            )
            for day in days
        ]
        found.append(
            {n for n in samples[0] if _steady([s[n] for s in samples])}
        )
    if not found:
        return None
    steady = set.union(*found)
    return [f.name for f in spec.features if f.name in steady]


def _steady(days: list[np.ndarray]) -> bool:
    """Return whether values `[N, ...]` vary between days and within none."""
    within = any((day != day[0]).any() for day in days)
    return not within and any((day[0] != days[0][0]).any() for day in days)
