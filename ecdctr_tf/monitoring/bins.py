"""What is counted of the values of a feature, batch by batch.

Shapes: N rows of a batch, B bins, V table rows.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from ecdctr_tf import kinds
from ecdctr_tf.features import PADDING

# Bits of the hash that ids are told by: there are 32 bins of them.
_BITS = 5
# Bins of numbers, between quantiles.
_QUANTILES = 10


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a day held of a feature."""

    # Rows of each bin, `[B]`; the first one is of missing numbers.
    bins: list[int]
    # Share of the ids, entries of lists among them, that the model did not
    # know; None where there were none, or where all are known.
    new: float | None = None
    # Share of the rows whose id had a historical vector; None where the model
    # reads none.
    historical: float | None = None


class Counter:
    """Counts the values of a feature.

    Ids have bins by their hash. Numbers, lengths of lists and norms of vectors
    have bins between quantiles, which are those of the first batch with numbers
    unless an earlier day has decided them.

    Args:
      feature: the feature.
      edges: between the bins of numbers, rising; None: not decided yet.
      known: the first table row of ids that the model knows, and the first one
        after them; None: the feature has no ids, or all are known.
      historical: bool `[V]`, whether the id of a row has a historical vector;
        None: the feature reads none.

    Attributes:
      edges: as they are by now.
    """

    def __init__(
        self,
        feature: kinds.Feature,
        edges: list[float] | None = None,
        known: tuple[int, int] | None = None,
        historical: np.ndarray | None = None,
    ):
        self.edges = edges
        self._feature = feature
        self._known = known
        self._historical = historical
        self._bins = np.zeros(1, np.int64)
        self._ids = self._new = self._found = 0

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        """Count the rows of a batch, given the columns that it holds."""
        values = self._feature.measured(columns)  # [N]
        places = self._places(values)
        counted = np.bincount(places, minlength=len(self._bins))
        counted[: len(self._bins)] += self._bins
        self._bins = counted
        rows = columns[self._feature.name]
        if self._known is not None:
            ids = rows[rows != PADDING]
            first, end = self._known
            self._ids += ids.size
            self._new += int(((ids < first) | (ids >= end)).sum())
        if self._historical is not None:
            inside = rows[rows < len(self._historical)]
            self._found += int(self._historical[inside].sum())

    def _places(self, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value, int64 `[N]`."""
        if values.dtype.kind == "i":
            # Odd and large, so that ids which follow each other part.
            hashed = values.astype(np.uint32) * np.uint32(2_654_435_761)
            return 1 + (hashed >> np.uint32(32 - _BITS)).astype(np.int64)
        finite = values[np.isfinite(values)]
        if self.edges is None and finite.size:
            shares = np.linspace(0, 1, _QUANTILES + 1)[1:-1]
            self.edges = np.unique(np.quantile(finite, shares)).tolist()
        places = 1 + np.searchsorted(self.edges or [], values, side="right")
        return np.where(np.isnan(values), 0, places)

    def seen(self) -> Seen:
        """Return what was counted so far."""
        rows = int(self._bins.sum())
        covered = self._historical is not None and rows
        return Seen(
            self._bins.tolist(),
            self._new / self._ids if self._ids else None,
            self._found / rows if covered else None,
        )
