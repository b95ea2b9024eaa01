"""What a metric has to say of itself to be reported with an interval.

Shapes: N rows of a day, U users, L lines (a line is the scores of one model and
seed), R replicates of weights of the users. A row counts with its own weight,
1 by default, times that of its user.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

ByUser = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Sums:
    """A day's rows summed with R weights of its users."""

    # Weight of all rows, of the clicked ones, and of the rows of users that
    # have rows of both classes, float64 `[R, 1]`.
    rows: np.ndarray
    clicks: np.ndarray
    mixed: np.ndarray
    # What the metric's `by_user` returned, float64 `[R, L]`.
    own: np.ndarray
    # Returns the weight of the pairs of a clicked and an unclicked row that
    # each line orders rightly, a tie half, `[R, L]`.
    won: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of `table.METRICS`."""

    # Its key in manifests and results.
    name: str
    # What tables and plots call it.
    label: str
    # 1 where higher is better, -1 where lower is, 0 where neither is.
    better: int
    # Numbers of rows and clicks -> whether it may be defined.
    needs: Callable[[int, int], bool]
    # Click, ctr, user and weight of rows `[N]` -> the metric, or None.
    value: Callable[
        [np.ndarray, np.ndarray, np.ndarray, np.ndarray], float | None
    ]
    # Sums of weighted users -> the metric `[R, L]`, NaN where undefined. With
    # users of weight 1 it is `value`.
    weighted: Callable[[Sums], np.ndarray]
    # Click, ctr, user (0 to U - 1) and weight `[N]` -> float64 `[U]`, for
    # `Sums.own`.
    by_user: ByUser | None = None


def ratio(above: np.ndarray, below: npt.ArrayLike) -> np.ndarray:
    """Return `above / below`, NaN where `below` is 0."""
    above, below = np.broadcast_arrays(above, np.asarray(below, np.float64))
    result = np.full(above.shape, np.nan)
    return np.divide(above, below, out=result, where=below > 0)
