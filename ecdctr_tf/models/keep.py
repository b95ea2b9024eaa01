"""KEEP: knowledge of a frozen pre-trained model, plugged into a model of ads.

Shapes: B batch, N inputs of the network, H units, K width of the knowledge.
"""

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf.layers.batch_norm import BatchNorm
from ecdctr_tf.models.plugged import Knowledge, PluggedModel


class KEEP(PluggedModel):
    """Knowledge extraction and plugging.

    The knowledge of a row is what the head of the frozen source reads, beside
    the source's embeddings of user and item. The plug-in network normalises
    and projects it; the projection is added to what the first hidden layer
    computes, `h = ReLU(BN(W x + P BN(k)))`, so that the network keeps its
    shape. All weights but the source's start from scratch.

    The paper's source has several tasks (clicks, purchases) and long
    sequences; here it is the CPM, which predicts clicks from the same features.

    Reference: KEEP: An Industrial Pre-Training Framework for Online
    Recommendation via Knowledge Extraction and Plugging (arXiv 2208.10174).

    Raises:
      ValueError: there is no hidden layer to plug into.
    """

    starts_from_source = False

    def _make_top(
        self, config: configs.ModelConfig, l2: float, policy: str
    ) -> None:
        super()._make_top(config, l2, policy)
        if not config.hidden_units:
            raise ValueError(
                "KEEP plugs into the first hidden layer; model.hidden_units "
                "should have one. Received: ()"
            )
        self.plug_norm = BatchNorm(
            momentum=config.batch_norm_momentum, dtype=policy
        )
        self.plug = keras.layers.Dense(
            config.hidden_units[0],
            use_bias=False,
            kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
            dtype=policy,
        )

    def _plugged(
        self, x: tf.Tensor, knowledge: Knowledge, training: bool | None
    ) -> tf.Tensor:
        known = tf.concat([knowledge.top, *knowledge.ids], axis=1)  # [B, K]
        added = self.plug(self.plug_norm(known, training=training))  # [B, H]
        hidden = self.mlp.layer(0, x, training, added)
        for i in range(1, len(self.mlp.dense)):
            hidden = self.mlp.layer(i, hidden, training)
        return self.head(tf.concat([hidden, *self._crossed(x)], axis=1))
