"""MiNet: interests of a user in both domains, weighed for each ad.

Shapes: B batch, T entries of a sequence, D embedding width, I interests, N
inputs of a layer.
"""

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features
from ecdctr_tf.layers.mlp import MLP
from ecdctr_tf.layers.target_attention import TargetAttention
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.joint import of_domain


class MiNet(CTRModel):
    """Mixed interest network: two levels of attention, two towers.

    For an ad the user has a long-term interest, which is the embedding of the
    user, and one of each sequence: its entries, taken into the space of ads by
    a matrix, are pooled by their relevance to the ad (the item-level
    attention). A second attention then says how much each interest counts for
    the ad (the interest level). The tower of ads reads the weighed interests
    beside the inputs, the one of natural rows the inputs alone. Tables and the
    cross network are shared, and a row is trained on with the loss of its own
    domain.

    Where the data have a sequence of each domain, these are the paper's two
    short-term interests; one sequence of both is one interest. The paper's
    weights of interests are exponentials, these lie between 0 and 2 and start
    at 1, and rows of both domains count alike.

    Reference: MiNet: Mixed Interest Network for Cross-Domain Click-Through Rate
    Prediction (arXiv 2008.02974).
    """

    def _make_top(
        self, config: configs.ModelConfig, l2: float, policy: str
    ) -> None:
        sequences = [f.name for f in self.spec.features if f.kind == "sequence"]
        self._sequences = sequences if config.attention else []
        self.transfer_to_ads = {
            name: keras.layers.Dense(
                config.embedding_dim,
                use_bias=False,
                kernel_initializer="identity",
            )
            for name in self._sequences
        }
        self.attention_of_ads = {
            name: TargetAttention() for name in self._sequences
        }
        self.weights_of_ads = keras.layers.Dense(
            len(self._sequences) + 1,
            activation="sigmoid",
            kernel_initializer="zeros",
        )
        self.towers = {
            domain: MLP(
                config.hidden_units,
                config.batch_norm_momentum,
                l2,
                dtype=policy,
            )
            for domain in features.DOMAINS
        }
        self.heads = {d: keras.layers.Dense(1) for d in features.DOMAINS}

    def _logits(
        self, inputs: dict[str, tf.Tensor], training: bool | None
    ) -> tf.Tensor:
        embedded, x = self._read(inputs, training)
        interests = tf.cast(self._interests(inputs, embedded), x.dtype)
        read = {"natural": x, "ads": tf.concat([x, interests], axis=1)}
        crossed = self._crossed(x)
        logits = {}
        for domain in features.DOMAINS:
            tower = self.towers[domain](read[domain], training=training)
            top = tf.concat([tower, *crossed], axis=1)
            logits[domain] = self.heads[domain](top)  # [B, 1]
        return of_domain(**logits, domain=inputs["domain"])  # [B, 1]

    def _interests(
        self, inputs: dict[str, tf.Tensor], embedded: dict[str, tf.Tensor]
    ) -> tf.Tensor:
        """Return the weighed interests, float32 `[B, I * D]`."""
        item = embedded[self.spec.item]
        interests = [embedded[self.spec.user]]
        for name in self._sequences:
            entries = self.transfer_to_ads[name](embedded[name])  # [B, T, D]
            there = inputs[name] >= 0
            interests.append(
                self.attention_of_ads[name](item, entries, there)  # [B, D]
            )
        weights = self.weights_of_ads(tf.concat([item, *interests], axis=1))
        weighed = [
            2 * weights[:, i : i + 1] * interest
            for i, interest in enumerate(interests)
        ]
        return tf.concat(weighed, axis=1)
