"""Intervals over seeds alone, for metrics that cost too much to bootstrap.

Users and days are as they are: such an interval says how a number moves with
the seed of a run. Few seeds make it wide, and it is right for few of them too,
if the numbers are normal.

Source: "Student" (Gosset), "The probable error of a mean"; the distribution as
in Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 4.
"""

import math
from collections.abc import Sequence

import numpy as np

from ecdctr_tf.metrics.bootstrap import Difference

# Halvings of the interval that the quantile is in.
_HALVINGS = 100


def over_seeds(
    values: Sequence[float | None], level: float = 0.95
) -> Difference:
    """Return the mean over seeds and its t-interval.

    For two models pass the differences seed by seed: then the interval is of
    the paired difference.

    Args:
      values: a number a seed; None where it is not defined.
      level: the share of such intervals that hold the mean, in (0, 1).

    Returns:
      Mean, deviation (n - 1), interval, and whether that excludes 0. No
      interval for one seed; nothing at all where a seed has no number.

    Raises:
      ValueError: there is no seed, or `level` is out of range.

    Example:

    >>> found = over_seeds([1.0, 2.0, 3.0])
    >>> found.mean, round(found.low, 3), found.significant
    (2.0, -0.484, False)
    """
    if not len(values):
        raise ValueError("`values` should be of one seed at least.")
    if not 0 < level < 1:
        raise ValueError(f"`level` should be in (0, 1). Received: {level}")
    defined = [value for value in values if value is not None]
    undefined = len(values) - len(defined)
    if undefined:
        return Difference(None, None, None, None, undefined, False)
    mean = float(np.mean(defined))
    if len(values) == 1:
        return Difference(mean, None, None, None, 0, False)
    std = float(np.std(defined, ddof=1))
    half = quantile(len(values) - 1, level) * std / math.sqrt(len(values))
    low, high = mean - half, mean + half
    return Difference(mean, std, low, high, 0, low > 0 or high < 0)


def quantile(freedom: int, level: float) -> float:
    """Return the t that |T| stays below with a probability.

    Args:
      freedom: degrees of freedom, at least 1.
      level: the probability, in (0, 1).

    Example:

    >>> round(quantile(4, 0.95), 3)
    2.776
    """
    low, high = 0.0, math.pi / 2  # of atan(t / sqrt(freedom))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _within(freedom, middle) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _within(freedom: int, angle: float) -> float:
    """Return the probability of |T| < sqrt(freedom) tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for i in range(2 + odd, freedom + 1, 2):
        total += term
        term *= (i - 1) / i * cosine**2
    if odd:
        return 2 / math.pi * (angle + sine * total)
    return sine * total
