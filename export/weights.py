"""Weights of a served model, put together once from those of the trained one.

Shapes: V rows of a table, D embedding width, N columns.
"""

import numpy as np
import tensorflow as tf

from ecdctr_tf.layers.batch_norm import BatchNorm
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.transfer import checkpoint

# Later than any day: a request sees the newest historical version there is.
NEWEST_DAY = tf.int32.max
# Rows of a table whose historical vectors are computed at a time.
_CHUNK = 1 << 16


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


def side_by_side(model: CTRModel, name: str, rows: int) -> np.ndarray:
    """Return a table as it is served.

    Args:
      model: the trained model.
      name: of the table.
      rows: V; ids that the model does not know have the vectors that it gives
        to them.

    Returns:
      float32 `[V + 1, W]`: the rows, `[trained | historical | known]`, and one
      of zeros, which padding reads. Without history these are the D trained
      columns alone.
    """
    table = model.embedding.tables[name]
    layer = next(
        (
            layer
            for feature, layer in model.historical.items()
            if model.spec.feature(feature).table == name
        ),
        None,
    )
    parts = []
    for first in range(0, rows, _CHUNK):
        some = tf.range(first, min(first + _CHUNK, rows))
        read = [table({name: some})[name]]
        if layer is not None:
            days = tf.fill(some.shape, NEWEST_DAY)
            read += layer(some, days, model.history_tables[name])
        parts.append(tf.concat(read, axis=1).numpy())
    parts.append(np.zeros_like(parts[0][:1]))
    return np.concatenate(parts)
