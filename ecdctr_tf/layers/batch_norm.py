"""Batch norm of a matrix by the fused kernel.

Shapes: B batch, N columns.
"""

import tensorflow as tf
import tf_keras as keras


@keras.saving.register_keras_serializable("ecdctr_tf")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch norm of `[B, N]`, computed as that of B images of one pixel.

    Keras has a fused kernel for images only; on a matrix it is several ops
    that each go through memory. Batch statistics are float32 whatever the
    inputs are. The moving variance is the unbiased one.

    Example:
      >>> norm = ecdctr_tf.BatchNorm(momentum=0.75)
      >>> x = tf.constant([[0.0, 10.0], [2.0, 30.0]])
      >>> norm(x, training=True).numpy().round(2).tolist()
      [[-1.0, -1.0], [1.0, 1.0]]
      >>> norm.moving_mean.numpy().tolist()
      [0.25, 5.0]
    """

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
        columns = inputs.shape[-1]
        images = tf.reshape(inputs, [-1, 1, 1, columns])
        outputs = super().call(images, training=training)
        return tf.reshape(outputs, [-1, columns])
