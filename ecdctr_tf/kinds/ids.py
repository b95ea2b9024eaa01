"""Multi-valued ids, such as the genres of a movie: a list without an order.

Shapes: N rows, B rows of a batch, T entries that a model reads, D embedding
width.
"""

from __future__ import annotations

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf.deferred import keras, tf
from ecdctr_tf.features import PADDING
from ecdctr_tf.kinds.feature import Arrays, Layers, Tensors
from ecdctr_tf.kinds.listed import Listed


class Ids(Listed):
    """Up to T ids a row, pooled to `[B, D]` by mean, sum or attention.

    Attention is a mean, too, whose weights depend on the item of the row, or on
    the user for ids of the item. An id that is there twice counts twice; of
    more than T the first ones are kept. No ids give zeros.
    """

    def layers(
        self, config: configs.ModelConfig
    ) -> dict[str, keras.layers.Layer]:
        """Return the attention that pools the ids, if it is wanted."""
        from ecdctr_tf.layers.target_attention import TargetAttention

        del config
        if self.feature.pooling != "attention":
            return {}
        attention = TargetAttention(normalised=True, name=self.name)
        return {self._attention: attention}

    def inputs(
        self, batch: Tensors, embedded: Tensors, layers: Layers
    ) -> list[tf.Tensor]:
        """Return the pooled ids, `[B, D]`."""
        weights = self.weights(batch)  # [B, T]
        vectors = embedded[self.name]  # [B, T, D]
        if self.feature.pooling == "attention":
            of_item = self.feature.side == "item"
            query = embedded[self.data.user if of_item else self.data.item]
            return [layers[self._attention](query, vectors, weights)]
        total = tf.reduce_sum(weights[:, :, tf.newaxis] * vectors, axis=1)
        if self.feature.pooling == "sum":
            return [total]
        weight = tf.reduce_sum(weights, axis=1, keepdims=True)
        return [tf.math.divide_no_nan(total, weight)]

    def weights(self, batch: Tensors) -> tf.Tensor:
        """Return how much each entry counts, float32 `[B, T]`."""
        return tf.cast(batch[self.name] >= 0, tf.float32)

    def codes(self, columns: Arrays, train: np.ndarray) -> np.ndarray:
        """Return a number that depends on which ids there are."""
        del train
        rows = columns[self.name].astype(np.int64)  # [N, T]
        # Odd and large, so that sums of few rows differ.
        mixed = (rows + 1) * 2_654_435_761 % (1 << 32)
        return np.where(rows == PADDING, 0, mixed >> 8).sum(axis=1)

    @property
    def _attention(self) -> str:
        return f"attention_{self.name}"
