"""The multi-layer perceptron with batch norm.

Shapes: B batch, H units.
"""

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.layers.batch_norm import BatchNorm


class MLP(keras.layers.Layer):
    """Stack of dense layer, batch norm and ReLU.

    Args:
      hidden_units: units of each layer.
      batch_norm_momentum: share of the old value in the moving statistics.
      l2: penalty on the squared kernels.
      **kwargs: `dtype` (a policy of mixed precision) and what else Keras'
        layers take.
    """

    def __init__(
        self,
        hidden_units: tuple[int, ...],
        batch_norm_momentum: float,
        l2: float = 0.0,
        **kwargs,
    ):
        """Make the layers."""
        super().__init__(**kwargs)
        self.dense = [
            keras.layers.Dense(
                units,
                use_bias=False,
                kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
                dtype=self.dtype_policy,
                name=f"dense_{i}",
            )
            for i, units in enumerate(hidden_units)
        ]
        self.norms = [
            BatchNorm(
                momentum=batch_norm_momentum,
                dtype=self.dtype_policy,
                name=f"batch_norm_{i}",
            )
            for i in range(len(hidden_units))
        ]

    def call(self, inputs: tf.Tensor, training=None) -> tf.Tensor:
        """Return the last layer's activations, `[B, H]`."""
        for dense, norm in zip(self.dense, self.norms, strict=True):
            inputs = tf.nn.relu(norm(dense(inputs), training=training))
        return inputs
