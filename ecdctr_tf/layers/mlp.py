"""The multi-layer perceptron with batch norm.

Shapes: B batch, H units.
"""

import typing
from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.layers.batch_norm import BatchNorm


@keras.saving.register_keras_serializable("ecdctr_tf")
class MLP(keras.layers.Layer):
    """Stack of dense layer, batch norm and ReLU.

    Args:
      hidden_units: units of each layer.
      batch_norm_momentum: share of the old value in the moving statistics.
      l2: penalty on the squared kernels.
      **kwargs: `dtype` (a policy of mixed precision) and what else Keras'
        layers take.

    Example:
      >>> model = keras.Sequential(
      ...     [
      ...         ecdctr_tf.MLP((32, 16), batch_norm_momentum=0.9),
      ...         keras.layers.Dense(1, activation="sigmoid"),
      ...     ]
      ... )
      >>> model(tf.zeros([5, 8])).shape.as_list()
      [5, 1]
    """

    def __init__(
        self,
        hidden_units: Sequence[int],
        batch_norm_momentum: float,
        l2: float = 0.0,
        **kwargs: typing.Any,
    ):
        """Make the layers."""
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units)
        self.batch_norm_momentum = batch_norm_momentum
        self.l2 = l2
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

    def call(
        self, inputs: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Return the last layer's activations, `[B, H]`."""
        return self.states(inputs, training)[-1]

    def states(
        self, inputs: tf.Tensor, training: bool | None = None
    ) -> list[tf.Tensor]:
        """Return the inputs, then the activations `[B, H]` of each layer."""
        states = [inputs]
        for i in range(len(self.dense)):
            states.append(self.layer(i, states[-1], training))
        return states

    def layer(
        self,
        i: int,
        inputs: tf.Tensor,
        training: bool | None = None,
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

    def get_config(self) -> dict[str, typing.Any]:
        """Return the arguments of the layer."""
        return {
            **super().get_config(),
            "hidden_units": self.hidden_units,
            "batch_norm_momentum": self.batch_norm_momentum,
            "l2": self.l2,
        }
