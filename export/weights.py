"""Weights of a served model, put together once from those of the trained one.

Shapes: N columns.
"""

import numpy as np
import tensorflow as tf

from ecdctr_tf.layers.batch_norm import BatchNorm
from ecdctr_tf.transfer import checkpoint

# Later than any day: a request sees the newest historical version there is.
NEWEST_DAY = tf.int32.max


def served(values: np.ndarray) -> np.ndarray:
    """Return a weight as it is served: a float32 constant of the graph.

    A variable costs a request three more operations.

    Raises:
      NotFiniteError: it is not finite, or too large for a float32.
    """
    with np.errstate(over="ignore"):
        found = np.asarray(values, np.float32)
    checkpoint.check_finite({"Dense weights of the served model": found})
    return found


def normalised(norm: BatchNorm) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what batch norm is in scoring: `scale (x - mean) + beta`.

    Returns:
      scale, mean and beta, float64 `[N]`.
    """
    gamma, beta, mean, variance = (
        weight.numpy().astype(np.float64)
        for weight in (
            norm.gamma,
            norm.beta,
            norm.moving_mean,
            norm.moving_variance,
        )
    )
    return gamma / np.sqrt(variance + norm.epsilon), mean, beta
