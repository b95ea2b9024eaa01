"""ExFM: a frozen teacher's predictions of ads, learned by a head of their own.

Shapes: B batch, H units.
"""

import typing

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf.models.ctr_model import log_loss
from ecdctr_tf.models.plugged import PluggedModel

# Name among the inputs that the clicks of a batch have in training.
_CLICKS = "exfm_clicks"


class ExFM(PluggedModel):
    """External distillation with an auxiliary head and a student adapter.

    The student is the network of `CTRModel`. Beside the head that is served it
    has an auxiliary head, which alone learns what the teacher predicts: the
    teacher's bias stays away from the prediction, its knowledge reaches the
    layers below. The adapter corrects the teacher's logits by the clicks on
    ads, and the auxiliary head learns the corrected ones:

        loss(click, head) + loss(click, adapter) + loss(adapter, auxiliary)

    Clicks and teacher matter in training only: a served row costs what it
    costs without them, though an export still holds the teacher's weights. All
    weights of the student start from scratch.

    The paper's teacher is a foundation model of all domains that goes on
    learning, whose predictions are logged with the rows, and its losses have
    weights. Here the teacher is the CPM, which has seen natural logs only, and
    the weights are one.

    Reference: External Large Foundation Model: How to Efficiently Serve
    Trillions of Parameters for Online Ads Recommendation (arXiv 2502.17494).
    """

    starts_from_source = False

    def _make_top(
        self, config: configs.ModelConfig, l2: float, policy: str
    ) -> None:
        super()._make_top(config, l2, policy)
        self.auxiliary_head = keras.layers.Dense(1)
        self.adapter = StudentAdapter()
        # It is called in training only.
        self.adapter.build(tf.TensorShape([None]))

    def train_step(
        self, data: tuple[dict[str, tf.Tensor], tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Take one step on `(inputs, clicks)`; see `CTRModel`."""
        inputs, clicks = data
        return super().train_step(({**inputs, _CLICKS: clicks}, clicks))

    def _logits(
        self, inputs: dict[str, tf.Tensor], training: bool | None
    ) -> tf.Tensor:
        _, x = self._read(inputs, training)
        hidden = self.mlp(x, training=training)
        top = tf.concat([hidden, *self._crossed(x)], axis=1)
        auxiliary = tf.squeeze(self.auxiliary_head(top), axis=1)  # [B]
        if training and _CLICKS in inputs:
            self._distil(inputs, auxiliary)
        return self.head(top)  # [B, 1]

    def _distil(
        self, inputs: dict[str, tf.Tensor], auxiliary: tf.Tensor
    ) -> None:
        """Add the losses of the adapter and of the auxiliary head."""
        weights = inputs.get("weight")
        taught = tf.stop_gradient(self.sources[0](inputs, training=False))
        adapted = self.adapter(taught)  # [B]
        self.add_loss(log_loss(inputs[_CLICKS], adapted, weights))
        aim = tf.stop_gradient(tf.sigmoid(adapted))
        self.add_loss(log_loss(aim, auxiliary, weights))


class StudentAdapter(keras.layers.Layer):
    """`z + MLP(z)` of the teacher's logit z; the MLP's last layer starts at 0.

    Args:
      units: H, of the hidden layer.
      **kwargs: what Keras' layers take.
    """

    def __init__(self, units: int = 16, **kwargs: typing.Any):
        """Make the layers."""
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(units, activation="relu")
        self.correction = keras.layers.Dense(1, kernel_initializer="zeros")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Make the weights."""
        self.hidden.build([None, 1])
        self.correction.build([None, self.hidden.units])
        super().build(input_shape)

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        """Return corrected logits `[B]` for `[B]`."""
        hidden = self.hidden(logits[:, tf.newaxis])  # [B, H]
        return logits + tf.squeeze(self.correction(hidden), axis=1)
