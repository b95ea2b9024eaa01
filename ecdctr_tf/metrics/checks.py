"""Checks of what metrics are given: shapes, clicks, scores, probabilities.

Shapes: N rows.
"""

import numpy as np
import numpy.typing as npt


def _column(name: str, values: npt.ArrayLike) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(
            f"`{name}` should be of shape [N]. Received: {values.shape}"
        )
    return values


def _same_rows(first: str, a: np.ndarray, second: str, b: np.ndarray) -> None:
    if len(a) != len(b):
        raise ValueError(
            f"`{second}` should have as many rows as `{first}`. "
            f"Received: {len(b):,} and {len(a):,}"
        )


def _numbers(name: str, values: npt.ArrayLike) -> np.ndarray:
    values = _column(name, values)
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` should be numbers. Received: {values.dtype}"
        ) from error
    bad = np.count_nonzero(~np.isfinite(numbers))
    if bad:
        raise ValueError(
            f"`{name}` should be finite. Received: {bad:,} of "
            f"{len(numbers):,} rows are NaN or infinite"
        )
    return numbers


def clicks_and_scores(
    click: npt.ArrayLike, score: npt.ArrayLike, name: str = "score"
) -> tuple[np.ndarray, np.ndarray]:
    """Return clicks and scores as float64.

    Args:
      click: `[N]`, 0 or 1.
      score: `[N]`, any finite numbers.
      name: what errors call the scores.

    Returns:
      The two, float64 `[N]`.

    Raises:
      ValueError: a shape, NaN, or a click that is neither 0 nor 1.
    """
    click = _numbers("click", click)
    score = _numbers(name, score)
    _same_rows("click", click, name, score)
    other = click[(click != 0) & (click != 1)]
    if len(other):
        raise ValueError(
            f"`click` should be 0 or 1. Received: {other[0]} and "
            f"{len(other) - 1:,} more"
        )
    return click, score


def clicks_and_probabilities(
    click: npt.ArrayLike, ctr: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return clicks and probabilities as float64.

    Args:
      click: `[N]`, 0 or 1.
      ctr: `[N]`, in [0, 1].

    Returns:
      The two, float64 `[N]`.

    Raises:
      ValueError: as `clicks_and_scores`, and for a probability out of range:
        logits passed in by mistake.
    """
    click, ctr = clicks_and_scores(click, ctr, "ctr")
    if len(ctr) and (ctr.min() < 0 or ctr.max() > 1):
        raise ValueError(
            "`ctr` should be probabilities in [0, 1]; apply a sigmoid to "
            f"logits. Received: values from {ctr.min():g} to {ctr.max():g}"
        )
    return click, ctr


def probabilities_and_scores(
    true_ctr: npt.ArrayLike, score: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return true click probabilities and scores as float64.

    Args:
      true_ctr: `[N]`, in [0, 1].
      score: `[N]`, any finite numbers.

    Returns:
      The two, float64 `[N]`.

    Raises:
      ValueError: a shape, NaN, or a probability out of range.
    """
    true_ctr = _numbers("true_ctr", true_ctr)
    score = _numbers("score", score)
    _same_rows("true_ctr", true_ctr, "score", score)
    if len(true_ctr) and (true_ctr.min() < 0 or true_ctr.max() > 1):
        raise ValueError(
            "`true_ctr` should be probabilities in [0, 1]. Received: values "
            f"from {true_ctr.min():g} to {true_ctr.max():g}"
        )
    return true_ctr, score


def weights(click: np.ndarray, weight: npt.ArrayLike | None) -> np.ndarray:
    """Return the weights of rows, float64 `[N]`; 1 each for None.

    Args:
      click: `[N]`.
      weight: `[N]`, at least 0, or None.

    Raises:
      ValueError: a shape, NaN, or a weight below 0.
    """
    if weight is None:
        return np.ones(len(click))
    weight = _numbers("weight", weight)
    _same_rows("click", click, "weight", weight)
    if len(weight) and weight.min() < 0:
        raise ValueError(
            f"`weight` should be at least 0. Received: {weight.min():g}"
        )
    return weight


def groups(click: np.ndarray, group: npt.ArrayLike) -> np.ndarray:
    """Return the groups of rows.

    Args:
      click: `[N]`.
      group: `[N]` integers or strings.

    Raises:
      ValueError: a shape, or a dtype that is neither.
    """
    group = _column("group", group)
    _same_rows("click", click, "group", group)
    if group.dtype.kind not in "iubUS" and len(group):
        raise ValueError(
            f"`group` should be integers or strings. Received: {group.dtype}"
        )
    return group
