"""A cross network and an MLP side by side, and the logit that they make.

Shapes: B batch, N inputs.
"""

import typing
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from ecdctr_tf.layers.mlp import MLP


class Head(keras.layers.Layer):
    """One of several heads over shared embeddings.

    Args:
      hidden_units: units of each hidden layer of the MLP.
      cross_layers: DCN-v2 cross layers, 0 for none.
      batch_norm_momentum: share of the old value in the moving statistics.
      l2: penalty on the squared kernels.
      **kwargs: `dtype` (a policy of mixed precision) and what else Keras'
        layers take.

    Reference: cross network: DCN V2 (arXiv 2008.13535).
    """

    def __init__(
        self,
        hidden_units: Sequence[int],
        cross_layers: int,
        batch_norm_momentum: float,
        l2: float = 0.0,
        **kwargs: typing.Any,
    ):
        """Make the layers."""
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.mlp = MLP(hidden_units, batch_norm_momentum, l2, dtype=policy)
        self.cross = cross_network(cross_layers, l2, policy)
        self.head = keras.layers.Dense(1, name="head")

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Return logits, float32 `[B, 1]`, of inputs `[B, N]`."""
        top = [self.mlp(x, training=training), *crossed(x, self.cross)]
        return self.head(tf.concat(top, axis=1))


def cross_network(
    layers: int, l2: float, policy: typing.Any
) -> list[keras.layers.Layer]:
    """Return DCN-v2 cross layers.

    Args:
      layers: how many.
      l2: penalty on their squared kernels.
      policy: of mixed precision.
    """
    return [
        tfrs.layers.dcn.Cross(
            kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
            dtype=policy,
        )
        for _ in range(layers)
    ]


def crossed(
    x: tf.Tensor, layers: Sequence[keras.layers.Layer]
) -> list[tf.Tensor]:
    """Return what a cross network makes of `[B, N]`; none without layers."""
    found = x
    for layer in layers:
        found = layer(x, found)  # [B, N]
    return [found] if layers else []
