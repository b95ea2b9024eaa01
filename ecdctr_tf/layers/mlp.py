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
        return self.states(inputs, training)[-1]

    def states(self, inputs: tf.Tensor, training=None) -> list[tf.Tensor]:
        """Return the inputs, then the activations `[B, H]` of each layer."""
        states = [inputs]
        for i in range(len(self.dense)):
            states.append(self.layer(i, states[-1], training))
        return states

    def layer(
        self,
        i: int,
        inputs: tf.Tensor,
        training=None,
        added: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Return the activations of one layer, `[B, H]`.

        Args:
          i: which layer, from 0.
          inputs: what it reads.
          training: whether batch norm uses and updates batch statistics.
          added: `[B, H]`, added to what the dense layer gives.
        """
        outputs = self.dense[i](inputs)
        if added is not None:
            outputs += tf.cast(added, outputs.dtype)
        return tf.nn.relu(self.norms[i](outputs, training=training))
