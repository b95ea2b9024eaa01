"""The weighted mean of the logits of models, as one model to score with.

Shapes: B batch, E experts, S slices.
"""

import typing
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ecdctr_tf.models.ctr_model import CTRModel, combined


class MixedModel(tf.Module):
    """Experts and the weights that a mixture gave them.

    What natural logs know of a row's user and item chooses the weights. Those
    of the first expert with historical embeddings say it; without one, nothing
    is known of any row.

    Args:
      experts: E models of the same features.
      weights: `[S, E + 1]` with S = 4: of neither user nor item known, the item
        only, the user only, both. The last column is that of the click rate.
      click_logit: the logit of the click rate.
      line: scale and shift of what comes out.
      limit: logits of experts are kept between -limit and limit.
    """

    def __init__(
        self,
        experts: Sequence[CTRModel],
        weights: np.ndarray,
        click_logit: float,
        line: tuple[float, float],
        limit: float,
    ):
        """Keep the experts, and the weights in variables."""
        super().__init__()
        self.members = list(experts)
        self.spec = self.members[0].spec
        self._limit = limit
        # The expert whose history is asked.
        self.knowing = next((e for e in self.members if e.historical), None)
        self.weights = tf.Variable(
            np.asarray(weights, np.float32), trainable=False, name="weights"
        )
        self.click_logit = tf.Variable(
            np.float32(click_logit), trainable=False, name="click_logit"
        )
        self.line = tf.Variable(
            np.asarray(line, np.float32), trainable=False, name="line"
        )

    def of(self, experts: Sequence[typing.Any]) -> "MixedModel":
        """Return the same mixture of other forms of the experts."""
        line = tuple(self.line.numpy())
        click_logit = self.click_logit.numpy()
        return MixedModel(
            experts, self.weights.numpy(), click_logit, line, self._limit
        )

    @property
    def historical(self) -> tuple[str, ...]:
        """The features with history."""
        return tuple(self.knowing.historical) if self.knowing else ()

    def recall(
        self, name: str, rows: tf.Tensor, days: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return historical vectors of ids; as `CTRModel.recall`."""
        return typing.cast(CTRModel, self.knowing).recall(name, rows, days)

    def __call__(
        self, inputs: dict[str, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Return logits, float32 `[B]`; inputs as for `CTRModel`.

        Raises:
          ValueError: `training` is true; experts are trained one by one.
        """
        if training:
            raise ValueError("`training` should be False. Received: True")
        logits = [expert(inputs, training=False) for expert in self.members]
        return self.mixed(logits, self._slices(inputs))

    @tf.function(reduce_retracing=True, autograph=False)
    def logits(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return logits without `line`, `[B, 1]`; as `CTRModel.logits`."""
        logits = [expert(inputs, training=False) for expert in self.members]
        return self._weighed(logits, self._slices(inputs))

    def mixed(
        self, logits: Sequence[tf.Tensor], slices: tf.Tensor
    ) -> tf.Tensor:
        """Return the mixed logits, float32 `[B]`.

        Args:
          logits: of each expert, `[B]`.
          slices: int32 `[B]`, the row of `weights` for each row.
        """
        return combined(self._weighed(logits, slices), self.line)

    def _weighed(
        self, logits: Sequence[tf.Tensor], slices: tf.Tensor
    ) -> tf.Tensor:
        """Return the logits without `line`, `[B, 1]`; as for `mixed`."""
        parts = [
            tf.clip_by_value(logit, -self._limit, self._limit)
            for logit in logits
        ]
        parts.append(tf.fill(tf.shape(parts[0]), self.click_logit))
        weights = tf.gather(self.weights, slices)  # [B, E + 1]
        parts = weights * tf.stack(parts, axis=1)
        return tf.reduce_sum(parts, axis=1, keepdims=True)

    def _slices(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return the row of `weights` for each row, int32 `[B]`."""
        place = tf.zeros_like(inputs[self.spec.user])
        for name in (self.spec.user, self.spec.item):
            place *= 2
            if name in self.historical:
                _, flag = self.recall(name, inputs[name], inputs["day"])
                place += tf.cast(flag, tf.int32)
        return place
