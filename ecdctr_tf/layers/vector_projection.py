"""A projection of vectors that may be missing.

Shapes: B batch, L numbers of a vector, D width of the projection.
"""

import typing

import tensorflow as tf
import tf_keras as keras


@keras.saving.register_keras_serializable("ecdctr_tf")
class VectorProjection(keras.layers.Layer):
    """Project vectors linearly; a missing one is read as a learned vector.

    A vector is missing where one of its numbers is not finite. What is read
    instead starts with zeros.

    Args:
      units: D.
      **kwargs: what Keras' layers take.

    Example:
      >>> project = ecdctr_tf.VectorProjection(2)
      >>> vectors = tf.constant([[1.0, 2.0, 3.0], [np.nan, np.nan, np.nan]])
      >>> project(vectors)[1].numpy().tolist()
      [0.0, 0.0]
    """

    def __init__(self, units: int, **kwargs: typing.Any):
        """Keep the width."""
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units, name="dense")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Make the weights."""
        self.dense.build(input_shape)
        self.missing = self.add_weight(
            "missing", [self.units], initializer="zeros"
        )
        super().build(input_shape)

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Return the projections of vectors `[B, L]`, float `[B, D]`."""
        finite = tf.math.is_finite(vectors)
        there = tf.reduce_all(finite, axis=1, keepdims=True)  # [B, 1]
        # Not NaN either: it would stay in the gradient of what is not read.
        projected = self.dense(tf.where(there, vectors, 0.0))  # [B, D]
        return tf.where(there, projected, self.missing)

    def get_config(self) -> dict[str, typing.Any]:
        """Return the arguments of the layer."""
        return {**super().get_config(), "units": self.units}
