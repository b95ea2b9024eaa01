"""Whether items that are clicked in one domain are clicked in the other.

Shapes: V rows of the items' table, M items with rows enough in both domains.
"""

import numpy as np
import numpy.typing as npt

from ecdctr_tf.diagnostics import counting

# Least rows of an item in each domain.
MIN_ROWS = 20
# Rows of the domain's mean that an item's click rate is smoothed with.
_PRIOR = 20
# Fewer items give no rank correlation worth a word.
MIN_ITEMS = 10


class ItemCTR:
    """Count rows and clicks of items in both domains, as the days go by.

    Args:
      size: V; larger row numbers may not come.
      unknown: rows at the beginning of the table that belong to unknown ids.
    """

    def __init__(self, size: int, unknown: int):
        self._unknown = unknown
        domains = (counting.NATURAL, counting.ADS)
        # Every other day of a domain goes to the other half.
        self._days: dict[str, list[str]] = {d: [] for d in domains}
        self._rows = {d: np.zeros([2, size]) for d in domains}
        self._clicks = {d: np.zeros([2, size]) for d in domains}

    def add(self, rows: counting.Rows) -> None:
        """Count rows, which come in order of days."""
        days = self._days[rows.domain]
        if rows.day not in days[-1:]:
            days.append(rows.day)
        half = len(days) % 2
        counts = self._rows[rows.domain][half]
        size = len(counts)
        counts += np.bincount(rows.item, minlength=size)
        clicks = self._clicks[rows.domain][half]
        clicks += np.bincount(rows.item, rows.click, size)

    def result(self) -> dict | None:
        """Return the rank correlation of the items' click rates.

        Click rates of few rows are noisy, so even equal domains do not
        correlate perfectly. `ceiling` is what equal domains would come to:
        the square root of the product of both domains' reliabilities, each
        from the correlation of its halves (Spearman-Brown).

        Returns:
          `items` M, `spearman` in [-1, 1], `ceiling` in [0, 1], and `relative`,
          the first by the second, at most 1; a number that is undefined is
          None. Nothing if there are fewer than `MIN_ITEMS` items.
        """
        enough = np.ones(self._rows[counting.ADS].shape[1], bool)
        enough[: self._unknown] = False
        for counts in self._rows.values():
            enough &= counts.sum(axis=0) >= MIN_ROWS
        if enough.sum() < MIN_ITEMS:
            return None
        rates, ceiling = [], 1.0
        for domain, counts in self._rows.items():
            rows, clicks = counts[:, enough], self._clicks[domain][:, enough]
            rates.append(_smoothed(rows.sum(axis=0), clicks.sum(axis=0)))
            halves = spearman(*map(_smoothed, rows, clicks)) or 0.0
            ceiling *= max(2 * halves / (1 + halves), 0) if halves > 0 else 0
        found = spearman(*rates)
        ceiling = ceiling**0.5
        relative = None
        if found is not None and ceiling > 0:
            relative = max(min(found / ceiling, 1.0), -1.0)
        return {
            "items": int(enough.sum()),
            "spearman": found,
            "ceiling": ceiling,
            "relative": relative,
        }


def _smoothed(rows: np.ndarray, clicks: np.ndarray) -> np.ndarray:
    """Return the click rates `[M]`, drawn to their mean where rows are few."""
    mean = clicks.sum() / max(rows.sum(), 1)
    return (clicks + _PRIOR * mean) / (rows + _PRIOR)


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float | None:
    """Return the rank correlation of two columns `[M]`, ties at mean ranks.

    None if all values of a column are the same.

    Example:

    >>> round(spearman([1, 2, 3, 4], [1, 4, 9, 8]), 6)
    0.8
    """
    a, b = _ranks(np.asarray(a)), _ranks(np.asarray(b))
    if not len(a) or not np.ptp(a) or not np.ptp(b):
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of values, counted from 1, mean ranks for ties."""
    _, place, counts = np.unique(
        values, return_inverse=True, return_counts=True
    )
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place.reshape(-1)]
