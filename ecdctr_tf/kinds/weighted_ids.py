"""Multi-valued ids with weights, such as interests `sports:0.7|news:0.2`.

Shapes: B rows of a batch, T entries that a model reads.
"""

from __future__ import annotations

from ecdctr_tf.deferred import tf
from ecdctr_tf.kinds.feature import Tensors
from ecdctr_tf.kinds.ids import Ids
from ecdctr_tf.kinds.listed import Part


class WeightedIds(Ids):
    """Up to T ids a row with a weight each, pooled by weight.

    A request that does not say weights weighs all ids 1. A weight that is not
    a finite number above 0 counts as 0.
    """

    def parts(self) -> tuple[Part, ...]:
        """Return the weight."""
        return (Part("weight", 1.0),)

    def weights(self, batch: Tensors) -> tf.Tensor:
        """Return the weights, 0 in unused places, float32 `[B, T]`."""
        (part,) = self.parts()
        given = batch[self.column(part)]
        counts = tf.logical_and(given > 0, tf.math.is_finite(given))
        counts = tf.logical_and(counts, batch[self.name] >= 0)
        return tf.where(counts, given, 0.0)
