"""Target attention over a behavior sequence.

Shapes: B batch, T behaviors, D embedding width, H hidden units.
"""

import typing

import tensorflow as tf
import tf_keras as keras


@keras.saving.register_keras_serializable("ecdctr_tf")
class TargetAttention(keras.layers.Layer):
    """Pool a behavior sequence by its relevance to the candidate item.

    An activation unit scores each behavior k against the candidate q from
    `[q, k, q - k, q * k]`; the pooled interest is `sum_t score_t * k_t`, not
    normalised, so that its length tells how much interest there is. With
    `normalised`, it is the mean of the behaviors, weighted by `exp(score_t)`.

    Args:
      hidden_units: units of the activation unit's hidden layer.
      normalised: whether the weights of a row sum up to 1.
      **kwargs: what Keras' layers take.

    Reference: Deep Interest Network for Click-Through Rate Prediction
    (arXiv 1706.06978), section 4.3.

    Example:
      >>> attention = ecdctr_tf.TargetAttention(hidden_units=8)
      >>> candidate = tf.ones([2, 4])
      >>> behaviors = tf.ones([2, 3, 4])
      >>> there = tf.constant([[True, True, False], [False, False, False]])
      >>> interest = attention(candidate, behaviors, there)
      >>> interest.shape.as_list()
      [2, 4]
      >>> interest[1].numpy().tolist()  # An empty sequence: no interest.
      [0.0, 0.0, 0.0, 0.0]
    """

    def __init__(
        self,
        hidden_units: int = 16,
        normalised: bool = False,
        **kwargs: typing.Any,
    ):
        """Make the activation unit."""
        super().__init__(**kwargs)
        self.hidden_units = hidden_units
        self.normalised = normalised
        self.hidden = keras.layers.Dense(
            hidden_units, activation="relu", name="hidden"
        )
        self.score = keras.layers.Dense(1, name="score")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Make the kernels; the hidden layer's is used in four parts."""
        self.hidden.build([None, 4 * input_shape[-1]])
        super().build(input_shape)

    def call(
        self, query: tf.Tensor, keys: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Return the pooled interest.

        Args:
          query: `[B, D]`, embedding of the candidate item.
          keys: `[B, T, D]`, embeddings of the behaviors.
          mask: bool `[B, T]`, false for padding, or float: how much each
            behavior counts, 0 for padding.

        Returns:
          `[B, D]`; zeros for an empty sequence.
        """
        # The hidden layer of `[q, k, q - k, q * k]`, without that matrix.
        of_q, of_k, of_difference, of_product = tf.split(self.hidden.kernel, 4)
        from_q = tf.matmul(query, of_q + of_difference) + self.hidden.bias
        from_k = tf.tensordot(keys, of_k - of_difference, 1)  # [B, T, H]
        products = query[:, tf.newaxis, :] * keys
        from_product = tf.tensordot(products, of_product, 1)
        hidden = from_q[:, tf.newaxis, :] + from_k + from_product
        scores = self.score(self.hidden.activation(hidden))  # [B, T, 1]
        counts = tf.cast(mask, scores.dtype)[:, :, tf.newaxis]
        if not self.normalised:
            return tf.reduce_sum(scores * counts * keys, axis=1)  # [B, D]
        scores = tf.where(counts > 0, scores, scores.dtype.min)
        largest = tf.reduce_max(scores, axis=1, keepdims=True)
        weights = tf.exp(scores - largest) * counts
        total = tf.reduce_sum(weights * keys, axis=1)
        return tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1))

    def get_config(self) -> dict[str, typing.Any]:
        """Return the arguments of the layer."""
        return {
            **super().get_config(),
            "hidden_units": self.hidden_units,
            "normalised": self.normalised,
        }
