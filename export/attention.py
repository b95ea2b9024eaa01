"""Target attention of a served model, as two products of matrices.

Shapes: B rows, U users, C candidates of all users together, N of them a user, T
places of a sequence, D embedding width, H hidden units.
"""

import numpy as np
import tensorflow as tf

from ecdctr_tf.export.weights import served
from ecdctr_tf.layers.target_attention import TargetAttention


class Attention:
    """What `TargetAttention` computes, without queries times keys.

    The hidden layer of `[q, k, q - k, q * k]` is linear in the query and in the
    key, `q A + k K + (q * k) P + b`, and `(q * k) P` is either `k (diag(q) P)`
    or `q (diag(k) P)`.

    Args:
      layer: the trained attention.
    """

    def __init__(self, layer: TargetAttention):
        """Put the weights together."""
        kernel = layer.hidden.kernel.numpy().astype(np.float64)
        of_q, of_k, of_difference, of_product = np.split(kernel, 4)
        of_query, of_key = of_q + of_difference, of_k - of_difference
        bias = layer.hidden.bias.numpy()
        dim, self._units = of_query.shape
        # `[k, 1] -> diag(k) P + A` and `k K + b` below it, and the same of q.
        of_one = np.eye(dim)[:, :, np.newaxis] * of_product  # [D, D, H]
        self._of_keys = _of_ones(of_one, of_key, of_query, bias, (0, 2, 1))
        self._of_query = _of_ones(of_one, of_query, of_key, bias, (0, 1, 2))
        self._score, self._score_bias = map(served, layer.score.get_weights())
        self._dim, self._normalised = dim, layer.normalised

    def __call__(
        self, query: tf.Tensor, keys: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Return the pooled interest of rows; as `TargetAttention.call`."""
        kernel = tf.nn.bias_add(query @ self._of_query[0], self._of_query[1])
        kernel = tf.reshape(kernel, [-1, self._dim + 1, self._units])
        hidden = keys @ kernel[:, : self._dim] + kernel[:, self._dim :]
        scores = self._scores(tf.nn.relu(hidden), tf.shape(mask))  # [B, T]
        counts = tf.cast(mask, scores.dtype)
        weights, total = self._weights(scores, counts)
        pooled = tf.squeeze(weights[:, tf.newaxis] @ keys, axis=1)  # [B, D]
        return pooled if total is None else tf.math.divide_no_nan(pooled, total)

    def by_user(
        self, query: tf.Tensor, keys: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Return the pooled interest of users in their candidates.

        Args:
          query: `[C, D]`, the candidates of one user after the other.
          keys: `[U, T, D]`.
          mask: `[U, T]`, false or 0 for padding.

        Returns:
          `[C, D]`.
        """
        users, places = tf.unstack(tf.shape(mask))
        flat = tf.reshape(keys, [-1, self._dim])
        kernel = tf.nn.bias_add(flat @ self._of_keys[0], self._of_keys[1])
        kernel = tf.reshape(kernel, [users, -1, self._dim + 1])  # [U, TH, D+1]
        query = tf.pad(query, [[0, 0], [0, 1]], constant_values=1.0)
        each = tf.shape(query)[0] // tf.maximum(users, 1)
        query = tf.reshape(query, [users, each, self._dim + 1])  # [U, N, D + 1]
        hidden = tf.nn.relu(tf.matmul(query, kernel, transpose_b=True))
        scores = self._scores(hidden, [users, each, places])  # [U, N, T]
        counts = tf.cast(mask, keys.dtype)[:, tf.newaxis]  # [U, 1, T]
        weights, total = self._weights(scores, counts)
        pooled = weights @ keys  # [U, N, D]
        if total is not None:
            pooled = tf.math.divide_no_nan(pooled, total)
        return tf.reshape(pooled, [-1, self._dim])  # [C, D]

    def _weights(
        self, scores: tf.Tensor, counts: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return what keys are multiplied with, and what to divide by."""
        if not self._normalised:
            return scores * counts, None
        scores = tf.where(counts > 0, scores, scores.dtype.min)
        largest = tf.reduce_max(scores, axis=-1, keepdims=True)
        weights = tf.exp(scores - largest) * counts
        return weights, tf.reduce_sum(weights, axis=-1, keepdims=True)

    def _scores(self, hidden: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(hidden, [-1, self._units])
        return tf.reshape(flat @ self._score + self._score_bias, shape)


def _of_ones(
    of_one: np.ndarray,
    own: np.ndarray,
    other: np.ndarray,
    bias: np.ndarray,
    order: tuple[int, int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel and bias that make a hidden layer of the other vector.

    Args:
      of_one: `[D, D, H]`, what a vector adds to the other's kernel.
      own: `[D, H]`, what it adds to the bias.
      other: `[D, H]`, the other's kernel without it.
      bias: `[H]`, the bias without it.
      order: of the result's axes: what it is made of, D + 1 rows, H columns.
    """
    kernel = np.concatenate([of_one, own[:, np.newaxis]], axis=1)
    shift = np.concatenate([other, bias[np.newaxis]])[np.newaxis]
    made = [
        served(part.transpose(order).reshape(len(part), -1).squeeze())
        for part in (kernel, shift)
    ]
    return made[0], made[1]
