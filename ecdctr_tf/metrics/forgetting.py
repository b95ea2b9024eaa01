"""What a model trained window after window keeps, and what it learns ahead.

All three read a matrix R: `R[i, j]` is a metric, higher better, of the model
after window i on the test rows of window j, counted from 0. Of a metric where
lower is better pass the negative. NaN is what was not measured; terms that
need it are left out of the means.

Sources: Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual
Learning", 2 (backward and forward transfer); Chaudhry et al., "Riemannian Walk
for Incremental Learning", 3 (forgetting).

Shapes: I trained windows, J windows with test rows, J >= I.
"""

import numpy as np
import numpy.typing as npt


def backward_transfer(matrix: npt.ArrayLike) -> float | None:
    """Return how much later training changed the metric of earlier windows.

        mean over j < last of R[last, j] - R[j, j]

    Args:
      matrix: R, `[I, J]`, J >= I; `last` is I - 1.

    Returns:
      The mean; below 0 the model forgot. None where no term was measured, as
      with one window.

    Raises:
      ValueError: R is of another shape, not of numbers or infinite.

    Example:

    >>> backward_transfer([[0.75, 0.5], [0.5, 0.75]])
    -0.25
    """
    matrix = _matrix(matrix)
    last = len(matrix) - 1
    return _mean(matrix[last, :last] - np.diagonal(matrix)[:last])


def forward_transfer(
    matrix: npt.ArrayLike, baseline: npt.ArrayLike
) -> float | None:
    """Return how much earlier windows help in a window not trained on yet.

        mean over 0 < j <= I of R[j - 1, j] - baseline[j]

    Args:
      matrix: R, `[I, J]`, J >= I. With J > I the first window after the last
        trained one counts too.
      baseline: `[J]`, the metric in window j of a model that saw none of the
        windows, such as one of random weights; `baseline[0]` is not used.

    Returns:
      The mean; above 0 earlier windows help. None where no term was measured.

    Raises:
      ValueError: a shape, or values that are not numbers or infinite.

    Example:

    >>> forward_transfer([[0.75, 0.625], [0.5, 0.75]], [0.5, 0.5])
    0.125
    """
    matrix = _matrix(matrix)
    baseline = _numbers("baseline", baseline)
    if baseline.shape != matrix.shape[1:]:
        raise ValueError(
            "`baseline` should have a value for each of the "
            f"{matrix.shape[1]} columns of `matrix`. "
            f"Received: shape {baseline.shape}"
        )
    ahead = np.diagonal(matrix, offset=1)  # R[j - 1, j], j from 1 on
    return _mean(ahead - baseline[1 : len(ahead) + 1])


def average_forgetting(matrix: npt.ArrayLike) -> float | None:
    """Return how far the metric fell from the best it ever was.

        mean over j < last of max over i <= last of R[i, j] - R[last, j]

    The last window is left out: nothing was trained after it.

    Args:
      matrix: R, `[I, J]`, J >= I; `last` is I - 1.

    Returns:
      The mean, at least 0. None where no term was measured, as with one
      window.

    Raises:
      ValueError: R is of another shape, not of numbers or infinite.

    Example:

    >>> average_forgetting([[0.75, 0.5], [0.5, 0.75]])
    0.25
    """
    matrix = _matrix(matrix)
    last = len(matrix) - 1
    earlier = matrix[:, :last]
    measured = np.where(np.isnan(earlier), -np.inf, earlier)
    best = measured.max(axis=0)  # -inf only where the last row is NaN too
    return _mean(best - earlier[last])


def _mean(terms: np.ndarray) -> float | None:
    terms = terms[~np.isnan(terms)]
    return float(terms.mean()) if len(terms) else None


def _matrix(values: npt.ArrayLike) -> np.ndarray:
    matrix = _numbers("matrix", values)
    if matrix.ndim != 2 or not 1 <= len(matrix) <= matrix.shape[1]:
        raise ValueError(
            "`matrix` should have the shape [I, J]: a row for each trained "
            "window, and at least as many columns, one for each set of rows. "
            f"Received: shape {matrix.shape}"
        )
    return matrix


def _numbers(name: str, values: npt.ArrayLike) -> np.ndarray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` should be rows of numbers, all of the same length. "
            f"Received: {values!r}"
        ) from error
    if np.isinf(numbers).any():
        raise ValueError(
            f"`{name}` should be finite, or NaN where not measured. Received: "
            f"{int(np.isinf(numbers).sum()):,} infinite values"
        )
    return numbers
