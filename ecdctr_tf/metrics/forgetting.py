"""What a model trained window after window keeps, and what it learns ahead.

All three read matrices R: `R[i, j]` is a metric, higher better, of the model
after window i on the test rows of window j, counted from 0. NaN is what was not
measured; terms that need it are left out of the means, and a mean without terms
is NaN.

Sources: Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual
Learning", 2 (backward and forward transfer); Chaudhry et al., "Riemannian Walk
for Incremental Learning", 3 (forgetting).

Shapes: I trained windows, J windows with test rows, J >= I; `...` any number of
matrices.
"""

import numpy as np
import numpy.typing as npt

from ecdctr_tf.metrics.metric import ratio


def backward_transfer(matrix: npt.ArrayLike) -> np.ndarray:
    """Return how much later training changed the metric of earlier windows.

        mean over j < last of R[last, j] - R[j, j]

    Args:
      matrix: R, float `[..., I, J]`; `last` is I - 1.

    Returns:
      The means, float64 `[...]`; below 0 the model forgot.

    Example:

    >>> float(backward_transfer([[0.75, 0.5], [0.5, 0.75]]))
    -0.25
    """
    matrix = np.asarray(matrix, np.float64)
    last = matrix.shape[-2] - 1
    learned = np.diagonal(matrix, axis1=-2, axis2=-1)  # R[j, j]
    return _mean(matrix[..., last, :last] - learned[..., :last])


def forward_transfer(matrix: npt.ArrayLike, baseline: float) -> np.ndarray:
    """Return how much earlier windows help in a window not trained on yet.

        mean over 0 < j <= I of R[j - 1, j] - baseline

    Args:
      matrix: R, float `[..., I, J]`. With J > I the first window after the last
        trained one counts too.
      baseline: the metric of a model that saw none of the windows, such as the
        AUC of random scores, 0.5.

    Returns:
      The means, float64 `[...]`; above 0 earlier windows help.

    Example:

    >>> float(forward_transfer([[0.75, 0.625], [0.5, 0.75]], 0.5))
    0.125
    """
    matrix = np.asarray(matrix, np.float64)
    return _mean(np.diagonal(matrix, 1, axis1=-2, axis2=-1) - baseline)


def average_forgetting(matrix: npt.ArrayLike) -> np.ndarray:
    """Return how far the metric fell from the best it ever was.

        mean over j < last of max over i <= last of R[i, j] - R[last, j]

    The last window is left out: nothing was trained after it.

    Args:
      matrix: R, float `[..., I, J]`; `last` is I - 1.

    Returns:
      The means, float64 `[...]`, at least 0.

    Example:

    >>> float(average_forgetting([[0.75, 0.5], [0.5, 0.75]]))
    0.25
    """
    matrix = np.asarray(matrix, np.float64)
    last = matrix.shape[-2] - 1
    earlier = matrix[..., :last]
    return _mean(np.fmax.reduce(earlier, axis=-2) - earlier[..., last, :])


def _mean(terms: np.ndarray) -> np.ndarray:
    """Return the means over the last axis of what is measured."""
    measured = ~np.isnan(terms)
    summed = np.where(measured, terms, 0).sum(axis=-1)
    return ratio(summed, measured.sum(axis=-1))
