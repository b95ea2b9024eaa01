"""LoopFM: the dated vectors of a user in past CPMs, read as a sequence.

Shapes: B batch, K CPMs, D embedding width.
"""

import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf.layers.target_attention import TargetAttention
from ecdctr_tf.models.plugged import PluggedModel


class LoopFM(PluggedModel):
    """Attention over what the newest CPMs knew of the user, in their order.

    Each of the K newest CPMs gives the embedding that it had of the user; the
    model's own embedding of the item is the query. What the attention reads
    joins the head's inputs. All weights but those of the CPMs start from
    scratch.

    The paper's sequences are hidden vectors of a foundation model for every
    request of a user; here they are dated by the CPM that made them.

    Reference: LoopFM (arXiv 2605.29280).
    """

    starts_from_source = False

    def _make_top(
        self, config: configs.ModelConfig, l2: float, policy: str
    ) -> None:
        super()._make_top(config, l2, policy)
        self.loop = TargetAttention()

    def _logits(
        self, inputs: dict[str, tf.Tensor], training: bool | None
    ) -> tf.Tensor:
        embedded, x = self._read(inputs, training)
        vectors, known = self._dated(inputs[self.spec.user])
        read = self.loop(embedded[self.spec.item], vectors, known)  # [B, D]
        top = [self.mlp(x, training=training), *self._crossed(x), read]
        return self.head(tf.concat(top, axis=1))  # [B, 1]

    def _dated(self, users: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the CPMs' vectors of users, the newest first.

        Args:
          users: int32 `[B]`, rows of the users.

        Returns:
          float32 `[B, K, D]`, and bool `[B, K]`: whether the CPM knows the
          user.
        """
        name = self.spec.feature(self.spec.user).table
        first = self.spec.table(name).buckets
        vectors, known = [], []
        for source in self.sources:
            table = source.embedding.tables[name]
            vectors.append(table({"user": users})["user"])  # [B, D]
            known.append((users >= first) & (users < table.vocab_size))
        return tf.stop_gradient(tf.stack(vectors, 1)), tf.stack(known, 1)
