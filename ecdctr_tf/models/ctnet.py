"""CTNet: a frozen source tower feeds a target tower through adapters.

Shapes: B batch, N inputs of a layer, U units.
"""

import typing

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf.models.plugged import Knowledge, PluggedModel


class CTNet(PluggedModel):
    """Continual transfer: source tower, target tower, adapters between them.

    The target tower is the network of `CTRModel`, with tables of its own. Each
    hidden layer gets what an adapter makes of the source tower's state below
    the same layer, `z_t <- layer(z_t) + adapter(z_s)`, and the logit what one
    makes of all that the source's head reads. The target starts from the
    source's weights; since adapters start without effect, it then scores as
    the source does.

    Reference: Continual Transfer Learning for Cross-Domain Click-Through Rate
    Prediction at Taobao (arXiv 2208.05728).
    """

    starts_from_source = True

    def _make_top(
        self, config: configs.ModelConfig, l2: float, policy: str
    ) -> None:
        super()._make_top(config, l2, policy)
        self.adapters = [
            Adapter(units, l2, dtype=policy) for units in config.hidden_units
        ]
        self.head_adapter = Adapter(1)

    def _plugged(
        self, x: tf.Tensor, knowledge: Knowledge, training: bool | None
    ) -> tf.Tensor:
        hidden = x
        for i, adapter in enumerate(self.adapters):
            hidden = self.mlp.layer(i, hidden, training)  # [B, U]
            hidden += adapter(knowledge.layers[i])
        top = tf.concat([hidden, *self._crossed(x)], axis=1)
        return self.head(top) + self.head_adapter(knowledge.top)  # [B, 1]


class Adapter(keras.layers.Layer):
    """Gated linear unit `(W z + b) * sigmoid(V z + c)`.

    W and b start at zero, so that it has no effect until it is trained.

    Args:
      units: U.
      l2: penalty on the squared kernels.
      **kwargs: what Keras' layers take.

    Reference: Language Modeling with Gated Convolutional Networks
    (arXiv 1612.08083), section 2.
    """

    def __init__(self, units: int, l2: float = 0.0, **kwargs: typing.Any):
        """Make the layers."""
        super().__init__(**kwargs)
        shared = {
            "kernel_regularizer": keras.regularizers.L2(l2) if l2 else None,
            "dtype": self.dtype_policy,
        }
        self.linear = keras.layers.Dense(
            units, kernel_initializer="zeros", **shared
        )
        self.gate = keras.layers.Dense(units, activation="sigmoid", **shared)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return `[B, U]` for `[B, N]`."""
        return self.linear(inputs) * self.gate(inputs)
