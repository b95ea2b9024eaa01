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
    found = []
    for domain in features.DOMAINS:
        samples = newest(data, domain, exclude, seed)
        if len(samples) >= 2:
            found.append({n for n in samples[0] if _steady(samples, n)})
    if not found:
        return None
    steady = set.union(*found)
    return [f.name for f in data.spec.features if f.name in steady]


def newest(
    data: DataDirectory, domain: str, exclude: Sequence[str], seed: int
) -> list[dict[str, np.ndarray]]:
    """Return columns of rows drawn from the newest days of a domain.

    Args:
      data: the data directory.
      domain: "natural" or "ads".
      exclude: names of features that are left out.
      seed: of the rows drawn.

    Returns:
      For each of up to seven days of two rows or more: column -> values of up
      to 1,000 rows.
    """
    spec = data.without(exclude)
    sizes = {day: data.manifest(domain, day).rows for day in data.days(domain)}
    days = [day for day, rows in sizes.items() if rows >= 2][-_DAYS:]
    return [
        domain_shift.sample(
            data, domain, day, min(sizes[day], _ROWS), seed, spec
        )
        for day in days
    ]


def varies(values: np.ndarray) -> bool:
    """Return whether values `[N, ...]` differ; missing ones, NaN, are equal."""
    differ = values != values[:1]
    if values.dtype.kind == "f":
        differ &= ~(np.isnan(values) & np.isnan(values[:1]))
    return bool(differ.any())


def _steady(days: list[dict[str, np.ndarray]], name: str) -> bool:
    """Return whether a column varies between days and within none."""
    if any(varies(day[name]) for day in days):
        return False
    return varies(np.stack([day[name][0] for day in days]))
