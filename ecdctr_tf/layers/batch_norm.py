"""Batch norm of a matrix by the fused kernel.

Shapes: B batch, N columns.
"""

import contextlib
from collections.abc import Iterator

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.layers import replicas


@keras.saving.register_keras_serializable("ecdctr_tf")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch norm of `[B, N]`, computed as that of B images of one pixel.

    Keras has a fused kernel for images only; on a matrix it is several ops
    that each go through memory. Batch statistics are float32 whatever the
    inputs are. The moving variance is the unbiased one.

    Replicas that share a batch normalise it by the statistics of all its rows.

    With `full_batch`, a batch of fewer rows counts for less in the moving
    statistics: n rows keep `momentum ** (n / full_batch)` of the old value. A
    batch of one row, whose variance is 0, then leaves hardly a trace.

    Example:
      >>> norm = ecdctr_tf.BatchNorm(momentum=0.75)
      >>> x = tf.constant([[0.0, 10.0], [2.0, 30.0]])
      >>> norm(x, training=True).numpy().round(2).tolist()
      [[-1.0, -1.0], [1.0, 1.0]]
      >>> norm.moving_mean.numpy().tolist()
      [0.25, 5.0]
    """

    # Rows of a batch that the momentum is meant for; 0: batches count alike.
    full_batch: int = 0

    def build(self, input_shape: tf.TensorShape) -> None:
        """Make the weights, as for images of one pixel."""
        super().build([input_shape[0], 1, 1, input_shape[-1]])
        self.input_spec = keras.layers.InputSpec(
            ndim=2, axes={-1: input_shape[-1]}
        )

    def call(
        self, inputs: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Return the normalised inputs, `[B, N]`."""
        if training and replicas.count() > 1:
            return self._over_replicas(inputs)
        columns = inputs.shape[-1]
        images = tf.reshape(inputs, [-1, 1, 1, columns])
        self._rows = tf.shape(inputs)[0]
        outputs = super().call(images, training=training)
        return tf.reshape(outputs, [-1, columns])

    def _over_replicas(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return what `call` does, of a batch that replicas share."""
        x = tf.cast(inputs, tf.float32)
        self._rows = replicas.total(tf.shape(x)[0])
        rows = tf.cast(self._rows, tf.float32)
        mean = replicas.total(tf.reduce_sum(x, axis=0)) / rows  # [N]
        squares = tf.reduce_sum(tf.square(x - mean), axis=0)
        squares = replicas.total(squares)
        unbiased = squares / tf.maximum(rows - 1, 1)
        for moving, new in (
            (self.moving_mean, mean),
            (self.moving_variance, unbiased),
        ):
            kept = self.momentum * moving + (1 - self.momentum) * new
            self._assign_new_value(moving, kept)
        scale = tf.math.rsqrt(squares / rows + self.epsilon) * self.gamma
        return tf.cast((x - mean) * scale + self.beta, inputs.dtype)

    def _assign_new_value(
        self, variable: tf.Variable, value: tf.Tensor
    ) -> tf.Operation:
        """Update a moving statistic; Keras calls it with the updated value."""
        if self.full_batch:
            share = tf.cast(self._rows, tf.float32) / self.full_batch
            kept = tf.cast(self.momentum, tf.float32)
            value = variable + (value - variable) * (
                (1 - kept**share) / (1 - kept)
            )
        return super()._assign_new_value(variable, value)


@contextlib.contextmanager
def of_last_batch(norms: list[BatchNorm]) -> Iterator[None]:
    """Let moving statistics be those of the batch that was run last.

    Args:
      norms: the layers, run in training mode. Those of a model that is traced
        have to be traced within the context, and run in no other.
    """
    before = [(norm.momentum, norm.full_batch) for norm in norms]
    for norm in norms:
        norm.momentum, norm.full_batch = 0.0, 0
    try:
        yield
    finally:
        for norm, (momentum, full_batch) in zip(norms, before, strict=True):
            norm.momentum, norm.full_batch = momentum, full_batch
