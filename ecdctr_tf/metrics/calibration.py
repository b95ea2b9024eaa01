"""Metrics of predicted probabilities: log loss, normalized entropy, PCOC.

A row counts with its weight, 1 by default.

Shapes: N rows.
"""

import numpy as np
import numpy.typing as npt

from ecdctr_tf.metrics import checks
from ecdctr_tf.metrics.metric import Sums, ratio

# Probabilities are kept this far from 0 and 1, so that one sure and wrong row
# costs about 16 nats and not infinity.
EPSILON = 1e-7
# Of `logit_shift`: from one end of the probabilities to the other, and more.
_LARGEST_SHIFT, _SHIFT_ERROR = 40.0, 1e-9


def log_loss(
    click: npt.ArrayLike,
    ctr: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
) -> float:
    """Return the mean cross-entropy of clicks under the predictions, in nats.

        -mean(click log(ctr) + (1 - click) log(1 - ctr))

    with `ctr` clipped to [`EPSILON`, 1 - `EPSILON`].

    Args:
      click: `[N]`, 0 or 1.
      ctr: `[N]`, in [0, 1].
      weight: `[N]`, at least 0; None weighs all rows alike.

    Returns:
      The loss, at least 0.

    Raises:
      ValueError: there are no rows, or an input is malformed.

    Example:

    >>> round(log_loss([1, 0], [0.5, 0.5]), 4)
    0.6931
    """
    click, ctr, weight = _rows(click, ctr, weight, "Log loss")
    return float(np.average(_losses(click, ctr), weights=weight))


def normalized_entropy(
    click: npt.ArrayLike,
    ctr: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
) -> float:
    """Return the log loss over the entropy of the click rate.

    1 is what always predicting the mean click rate gives; lower is better.

    Args:
      click: `[N]`, 0 or 1.
      ctr: `[N]`, in [0, 1].
      weight: `[N]`, at least 0; None weighs all rows alike.

    Returns:
      The ratio, at least 0.

    Raises:
      ValueError: the rows are of one class, whose entropy is 0, or an input
        is malformed.

    Source: He et al., "Practical Lessons from Predicting Clicks on Ads at
    Facebook", Evaluation Metrics.

    Example:

    >>> normalized_entropy([1, 0], [0.5, 0.5])
    1.0
    """
    click, ctr, weight = _rows(click, ctr, weight, "Normalized entropy")
    if click.min() == click.max():
        raise ValueError(
            "Normalized entropy needs rows with and without a click. "
            f"Received: {int(click.sum()):,} clicks in {len(click):,} rows"
        )
    rate = np.average(click, weights=weight)
    return log_loss(click, ctr, weight) / float(_entropy(rate))


def pcoc(
    click: npt.ArrayLike,
    ctr: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
) -> float:
    """Return predicted over observed clicks: mean prediction / mean click.

    1 is calibrated on the whole; above 1 the model promises too much.

    Args:
      click: `[N]`, 0 or 1.
      ctr: `[N]`, in [0, 1].
      weight: `[N]`, at least 0; None weighs all rows alike.

    Returns:
      The ratio, at least 0.

    Raises:
      ValueError: there is no click, or an input is malformed.

    Example:

    >>> pcoc([1, 0, 0, 0], [0.5, 0.5, 0.25, 0.25])
    1.5
    """
    click, ctr, weight = _rows(click, ctr, weight, "PCOC")
    if not click.any():
        raise ValueError(
            f"PCOC needs a click. Received: none in {len(click):,} rows"
        )
    means = (np.average(of, weights=weight) for of in (ctr, click))
    return float(next(means) / next(means))


def logit_shift(
    click: npt.ArrayLike,
    ctr: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
) -> float:
    """Return what added to all logits makes PCOC 1.

    Args:
      click: `[N]`, 0 or 1.
      ctr: `[N]`, in [0, 1].
      weight: `[N]`, at least 0; None weighs all rows alike.

    Returns:
      The shift; 0 of rows that are of one class, which no shift fits.

    Raises:
      ValueError: there are no rows, or an input is malformed.

    Example:

    >>> round(logit_shift([1, 0], [0.2, 0.2]), 4)  # to 1/2 from 1/5
    1.3863
    """
    click, ctr, weight = _rows(click, ctr, weight, "The shift of logits")
    if click.min() == click.max():
        return 0.0
    kept = np.clip(ctr, EPSILON, 1 - EPSILON)
    odds = kept / (1 - kept)
    clicks = np.dot(weight, click)
    low, high = -_LARGEST_SHIFT, _LARGEST_SHIFT
    # Predicted clicks grow with the shift; half the range is left each time.
    while high - low > _SHIFT_ERROR:
        middle = (low + high) / 2
        shifted = odds * np.exp(middle)
        if np.dot(weight, shifted / (1 + shifted)) < clicks:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def weighted_log_loss(sums: Sums) -> np.ndarray:
    """Return the log loss of weighted users, `[R, L]`."""
    return ratio(sums.own, sums.rows)


def weighted_normalized_entropy(sums: Sums) -> np.ndarray:
    """Return the normalized entropy of weighted users, `[R, L]`."""
    return ratio(
        weighted_log_loss(sums), _entropy(ratio(sums.clicks, sums.rows))
    )


def weighted_pcoc(sums: Sums) -> np.ndarray:
    """Return the PCOC of weighted users, `[R, L]`."""
    return ratio(sums.own, sums.clicks)


def losses_by_user(
    click: np.ndarray, ctr: np.ndarray, user: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return the sum of the log losses of each user's rows, `[U]`."""
    return np.bincount(user, weight * _losses(click, ctr))


def predictions_by_user(
    click: np.ndarray, ctr: np.ndarray, user: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return the sum of the predictions of each user's rows, `[U]`."""
    del click
    return np.bincount(user, weight * ctr)


def _losses(click: np.ndarray, ctr: np.ndarray) -> np.ndarray:
    """Return the log loss of each row, `[N]`."""
    ctr = np.clip(ctr, EPSILON, 1 - EPSILON)
    return -(click * np.log(ctr) + (1 - click) * np.log1p(-ctr))


def _entropy(rate: np.ndarray) -> np.ndarray:
    """Return the entropy of click rates in nats, 0 of one class or no rows."""
    both = (rate > 0) & (rate < 1)
    inside = np.where(both, rate, 0.5)
    entropy = inside * np.log(inside) + (1 - inside) * np.log(1 - inside)
    return np.where(both, -entropy, 0)


def _rows(
    click: npt.ArrayLike,
    ctr: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    metric: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the columns less the rows of weight 0."""
    click, ctr = checks.clicks_and_probabilities(click, ctr)
    weight = checks.weights(click, weight)
    counted = weight > 0
    if not counted.any():
        raise ValueError(f"{metric} needs rows. Received: none")
    return click[counted], ctr[counted], weight[counted]
