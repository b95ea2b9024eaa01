"""What each natural source, such as feed or search, says about the ads.

Each is looked at as if there were no other: how many of the ads' users and
items it knows, and how well its click rates of items tell which ads are
clicked. A row of ads is compared with natural rows of earlier days only.

Shapes: N rows of a chunk, V rows of the items' table.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ecdctr_tf import features, metrics
from ecdctr_tf.diagnostics import counting, item_ctr, overlap

# Rows of the source's mean that an item's click rate is smoothed with.
_PRIOR = 20


class BySource:
    """Count natural rows by source, as the days go by.

    Args:
      names: of the sources, in the order of their numbers.
      sizes: as of `Overlap`.
      unknown: as of `Overlap`.
      last_from: as of `Overlap`.
    """

    def __init__(
        self,
        names: Sequence[str],
        sizes: Mapping[str, int],
        unknown: Mapping[str, int],
        last_from: str,
    ):
        every = (features.UNKNOWN_SOURCE, *names) if names else ()
        self._sources = {
            name: _Source(sizes, unknown, last_from) for name in every
        }

    def add(self, rows: counting.Rows) -> None:
        """Count rows, which come as `counting.walk` gives them."""
        for number, source in enumerate(self._sources.values()):
            if rows.domain == counting.ADS:
                source.add(rows)
            elif rows.source is not None:
                source.add(rows.where(rows.source == number))

    def result(self) -> dict[str, dict]:
        """Return what was counted.

        Returns:
          Source -> `rows`, `share` of all natural rows, `clicks`, `ctr`, `last`
          (day with rows), `overlap` (period "last" of `Overlap.result`),
          `item_ctr` (`ItemCTR.result`) and `auc`: of the ads of the last days,
          by the click rate of their item in the source before their day; None
          where they are of one class. Sources without rows are left out.
        """
        total = sum(source.rows for source in self._sources.values())
        return {
            name: {**source.result(), "share": source.rows / total}
            for name, source in self._sources.items()
            if source.rows
        }


class _Source:
    """The counts of one source."""

    def __init__(
        self,
        sizes: Mapping[str, int],
        unknown: Mapping[str, int],
        last_from: str,
    ):
        self.rows = 0
        self._clicks, self._weights, self._clicked = 0.0, 0.0, 0.0
        self._last, self._last_from = "", last_from
        self._unknown = unknown["item"]
        self._known = overlap.Overlap(sizes, unknown, last_from)
        self._items = item_ctr.ItemCTR(sizes["item"], unknown["item"])
        # Weight of the rows of each item, and of those clicked, float64 [V].
        self._shown = np.zeros(sizes["item"])
        self._liked = np.zeros(sizes["item"])
        self._scored: list[tuple[np.ndarray, ...]] = []

    def add(self, rows: counting.Rows) -> None:
        """Count rows of ads, or natural rows of the source."""
        if not len(rows.click):
            return
        self._known.add(rows)
        self._items.add(rows)
        if rows.domain == counting.ADS:
            if rows.day >= self._last_from:
                self._scored.append(
                    (rows.click, self._rates()[rows.item], rows.weight)
                )
            return
        self.rows += len(rows.click)
        self._last = rows.day
        self._clicks += float(rows.click.sum())
        clicked = rows.weight * rows.click
        self._weights += float(rows.weight.sum())
        self._clicked += float(clicked.sum())
        size = len(self._shown)
        self._shown += np.bincount(rows.item, rows.weight, size)
        self._liked += np.bincount(rows.item, clicked, size)

    def _rates(self) -> np.ndarray:
        """Return the click rates of items so far, float64 `[V]`."""
        mean = self._clicked / self._weights if self._weights else 0.0
        rates = (self._liked + _PRIOR * mean) / (self._shown + _PRIOR)
        rates[: self._unknown] = mean
        return rates

    def result(self) -> dict:
        """Return what was counted."""
        auc = None
        if self._scored:
            columns = map(np.concatenate, zip(*self._scored, strict=True))
            click, rate, weight = columns
            if len(np.unique(click[weight > 0])) == 2:
                auc = metrics.auc(click, rate, weight)
        return {
            "rows": self.rows,
            "clicks": round(self._clicks),
            "ctr": self._clicked / self._weights if self._weights else None,
            "last": self._last,
            "overlap": self._known.result()["last"],
            "item_ctr": self._items.result(),
            "auc": auc,
        }
