"""Ranking metrics: AUC over all rows, AUC by the truth, GAUC within users.

A pair of rows counts with the product of their weights, 1 by default.

Shapes: N rows, G groups (users).
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from ecdctr_tf.metrics import checks
from ecdctr_tf.metrics.metric import Sums, ratio

# Weights of rows held at a time: they stay in the processor's cache.
_CELLS = 1 << 17
# So little weight of pairs is rounding.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class GaucResult:
    """A grouped AUC and what it was averaged over."""

    # In [0, 1]; None where no group has both classes.
    value: float | None
    # Groups with both classes, which the mean is over.
    groups: int
    # Groups without a click or with nothing else, which have no AUC.
    dropped_groups: int


def auc(
    click: npt.ArrayLike,
    score: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
) -> float:
    """Return the area under the ROC curve, exact.

    It is the share of pairs of a clicked and an unclicked row in which the
    clicked row has the higher score; a tie counts one half.

    Args:
      click: `[N]`, 0 or 1.
      score: `[N]`, finite; probabilities and logits give the same.
      weight: `[N]`, at least 0; None weighs all rows alike.

    Returns:
      The area, in [0, 1].

    Raises:
      ValueError: the rows are of one class, or an input is malformed.

    Example:

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    click, score = checks.clicks_and_scores(click, score)
    weight = checks.weights(click, weight)
    of_one = np.zeros(len(click), np.int8)
    found, _ = areas(click, score, of_one, weight)
    if not len(found) or np.isnan(found[0]):
        counted = click[weight > 0]
        raise ValueError(
            "AUC needs rows with and without a click. Received: "
            f"{int(counted.sum()):,} clicks in {len(counted):,} rows"
        )
    return float(found[0])


def expected_auc(true_ctr: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return the AUC that scores have by the true click probabilities.

    A row counts as clicked with the weight p of its true probability and as
    unclicked with 1 - p. Of all pairs of two rows i and j, i not j:

        sum of p_i (1 - p_j) (s_i > s_j, a tie one half) / sum of p_i (1 - p_j)

    These are the expected number of pairs in the right order and the expected
    number of pairs, over all clicks that could have come out. The clicks that
    did are not in it: a model that remembers those of rows it was trained on
    gains nothing.

    Args:
      true_ctr: `[N]`, in [0, 1].
      score: `[N]`, finite; probabilities and logits give the same.

    Returns:
      The area, in [0, 1]. For `true_ctr` of 0 and 1 it is `auc`.

    Raises:
      ValueError: no pair can be of a clicked and an unclicked row, or an input
        is malformed.

    Example:

    >>> expected_auc([0.5, 1.0], [0.1, 0.8])
    1.0
    >>> expected_auc([0.5, 0.5, 0.5], [0.3, 0.2, 0.1])
    0.5
    """
    p, score = checks.probabilities_and_scores(true_ctr, score)
    every = np.zeros(len(p), np.int64)
    (found,) = weighted_expected_auc(
        p, score, every, np.ones((1, 1)), np.ones(len(p))
    )
    if np.isnan(found):
        raise ValueError(
            "The expected AUC needs two rows of which one may be clicked and "
            f"the other not. Received: {len(p):,} rows, {p.sum():g} expected "
            "clicks"
        )
    return float(found)


def weighted_expected_auc(
    true_ctr: np.ndarray,
    score: np.ndarray,
    user: np.ndarray,
    weights: np.ndarray,
    row_weight: np.ndarray,
) -> np.ndarray:
    """Return `expected_auc` for many weights of the users.

    A user of weight 2 counts as two users with the same rows.

    Args:
      true_ctr: float `[N]`, in [0, 1].
      score: float `[N]`.
      user: int `[N]`, in [0, U).
      weights: `[R, U]`, times each user counts.
      row_weight: float64 `[N]`, weight of each row, at least 0.

    Returns:
      float64 `[R]`, NaN where undefined.
    """
    order = np.argsort(score, kind="stable")
    p, user, score = true_ctr[order], user[order], score[order]
    row_weight = row_weight[order]
    if len(p) < 2:
        return np.full(len(weights), np.nan)
    first = np.searchsorted(score, score, side="left")  # of the same score
    after = np.searchsorted(score, score, side="right")
    part = max(_CELLS // len(p), 1)
    found = []
    for start in range(0, len(weights), part):
        times = weights[start : start + part, user].astype(np.float64)
        weight = times * row_weight
        sums = np.zeros((len(weight), len(p) + 1))
        np.cumsum(weight * (1 - p), axis=1, out=sums[:, 1:])  # unclicked
        # Of each row: what is below, and half of what is level with it.
        beaten = np.take(sums, first, axis=1)
        beaten += np.take(sums, after, axis=1)
        beaten *= p / 2
        # pairs of a row with itself
        own = times @ (row_weight**2 * p * (1 - p))
        won = np.einsum("rn,rn->r", weight, beaten) - own / 2
        pairs = (weight @ p) * sums[:, -1] - own
        found.append(ratio(won, np.where(pairs > _ROUNDING, pairs, 0)))
    return np.concatenate(found)


def gauc(
    click: npt.ArrayLike,
    score: npt.ArrayLike,
    group: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
) -> GaucResult:
    """Return the mean of the groups' AUCs, weighted by their impressions.

    With n_u the weight of the rows of user u, over the users that have both
    classes:

        GAUC = sum_u n_u AUC_u / sum_u n_u

    Users of one class have no AUC; they are left out of both sums and counted.
    Rows that share one row number (unknown ids, hash collisions) count as one
    user.

    Args:
      click: `[N]`, 0 or 1.
      score: `[N]`, finite.
      group: `[N]` integers or strings, the user of each row.
      weight: `[N]`, at least 0; None weighs all rows alike.

    Returns:
      The mean, in [0, 1], and the numbers of users in it and left out.

    Raises:
      ValueError: an input is malformed.

    Source: Zhou et al., "Deep Interest Network for Click-Through Rate
    Prediction", Metrics (there named AUC).

    Example:

    >>> gauc([1, 0, 0, 1, 0], [0.9, 0.1, 0.3, 0.2, 0.5], [7, 7, 8, 8, 9])
    GaucResult(value=0.5, groups=2, dropped_groups=1)
    """
    click, score = checks.clicks_and_scores(click, score)
    group = checks.groups(click, group)
    each, rows = areas(click, score, group, checks.weights(click, weight))
    has_area = ~np.isnan(each)
    value = None
    if has_area.any():
        value = float(np.average(each[has_area], weights=rows[has_area]))
    kept = int(has_area.sum())
    return GaucResult(value, kept, len(each) - kept)


def mixed_groups(click: np.ndarray, group: np.ndarray) -> tuple[int, int]:
    """Return how many groups have rows of both classes, and how many not."""
    _, place = np.unique(group, return_inverse=True)
    rows, clicks = np.bincount(place), np.bincount(place, click)
    mixed = int(((clicks > 0) & (clicks < rows)).sum())
    return mixed, len(rows) - mixed


def weighted_auc(sums: Sums) -> np.ndarray:
    """Return the AUC of weighted users, `[R, L]`."""
    return ratio(sums.won(), sums.clicks * (sums.rows - sums.clicks))


def weighted_gauc(sums: Sums) -> np.ndarray:
    """Return the GAUC of weighted users, `[R, L]`."""
    return ratio(sums.own, sums.mixed)


def areas_by_user(
    click: np.ndarray, ctr: np.ndarray, user: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return weight times AUC of each user `[U]`, 0 of those of one class."""
    found, weights = areas(click, ctr, user, weight)
    return np.nan_to_num(found) * weights


def areas(
    click: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    weight: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return AUC (NaN for one class) and weight of each group, float64 `[G]`.

    The columns `[N]` are as `checks` return them.

    A clicked row wins against the unclicked rows below it, and half against
    those that it ties with; AUC is what is won of all pairs.
    """
    if not len(click):
        return np.zeros(0), np.zeros(0)
    order = np.lexsort((score, group))
    click, score, group = click[order], score[order], group[order]
    clicked = click * weight[order]
    unclicked = weight[order] - clicked
    new_group = np.append(True, group[1:] != group[:-1])
    new_run = new_group | np.append(True, score[1:] != score[:-1])
    starts = np.flatnonzero(new_group)  # [G]
    runs = np.flatnonzero(new_run)  # tied rows, one run a score
    sums = np.append(0, np.cumsum(unclicked))  # of all groups
    first = np.append(runs, len(click))
    beaten = (sums[first[:-1]] + sums[first[1:]]) / 2  # of each run
    beaten = np.repeat(beaten, np.diff(first))  # [N]
    sizes = np.diff(np.append(starts, len(click)))  # [G]
    beaten -= np.repeat(sums[starts], sizes)
    p = np.add.reduceat(clicked, starts)  # [G]
    q = np.add.reduceat(unclicked, starts)  # [G]
    won = np.add.reduceat(clicked * beaten, starts)  # [G]
    found = np.full(len(p), np.nan)
    np.divide(won, p * q, out=found, where=p * q > 0)
    return found, p + q
