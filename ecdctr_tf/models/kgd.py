"""KGD: a frozen source's vectors, corrected at right angles, and its states.

Shapes: B batch, T entries of a sequence, D embedding width, R rank, S states,
N numbers of a state.
"""

import math
import typing

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import kinds
from ecdctr_tf.models.plugged import Knowledge, PluggedModel

# Embedding width over the rank of a residual.
_WIDTH_OVER_RANK = 4


class KGD(PluggedModel):
    """Knowledge of the source and geometry of the task, kept apart.

    An id is what the source knows of it, plus a residual of the model's own
    that is orthogonal to it (`AnchoredResidual`). The network reads these
    vectors, and through an attention that changes nothing in the source
    (`ReadOnlyAttention`) the source's hidden states of the row. A newer source
    changes what is read; what ads have taught stays as it is. All weights but
    the source's start from scratch.

    The paper's source is a sequence encoder that is trained to predict several
    related future items, and the attention reads its states of a sequence;
    here the source is the CPM, and the states are those of its layers.

    Reference: Knowledge-Geometry Decoupling (arXiv 2608.02738).
    """

    starts_from_source = False

    def _make_top(
        self, config: configs.ModelConfig, l2: float, policy: str
    ) -> None:
        super()._make_top(config, l2, policy)
        rank = max(config.embedding_dim // _WIDTH_OVER_RANK, 1)
        self.residuals = {
            table: AnchoredResidual(rank) for table in self.embedding.tables
        }
        self._table_of = {
            name: table
            for feature in kinds.by_kind(self.spec)
            for name, table in feature.tables(config).items()
        }
        states = len(config.hidden_units) + 1
        self.attention = ReadOnlyAttention(config.embedding_dim, states)
        self.read_head = keras.layers.Dense(1, use_bias=False)

    def _inputs(
        self,
        inputs: dict[str, tf.Tensor],
        embedded: dict[str, tf.Tensor],
        training: bool | None,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        known = self.sources[0].embedding(inputs, training=False)
        corrected = {
            name: self.residuals[self._table_of[name]](
                own, tf.stop_gradient(known[name])
            )
            for name, own in embedded.items()
        }
        return super()._inputs(inputs, corrected, training)

    def _plugged(
        self, x: tf.Tensor, knowledge: Knowledge, training: bool | None
    ) -> tf.Tensor:
        hidden = self.mlp(x, training=training)
        top = tf.concat([hidden, *self._crossed(x)], axis=1)
        states = [*knowledge.layers[:-1], knowledge.top]
        read = self.attention(top, states)  # [B, D]
        return self.head(top) + self.read_head(read)  # [B, 1]


class AnchoredResidual(keras.layers.Layer):
    """`a k + r - (r k / k k) k` for a known vector k, with `r = U V e`.

    e is the model's own vector of the id. U starts at zero and a at one, so
    that the result is k until they are trained. a, U and V are shared by the
    ids of a table.

    Args:
      rank: R.
      **kwargs: what Keras' layers take.
    """

    def __init__(self, rank: int, **kwargs: typing.Any):
        """Keep the rank."""
        super().__init__(**kwargs)
        self.rank = rank

    def build(self, input_shape: tf.TensorShape) -> None:
        """Make the weights."""
        width = input_shape[-1]
        self.down = self.add_weight("down", [width, self.rank])
        self.up = self.add_weight("up", [self.rank, width], initializer="zeros")
        self.scale = self.add_weight("scale", [], initializer="ones")

    def call(self, own: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        """Return the corrected vectors, as many as are given.

        Args:
          own: `[B, D]` or `[B, T, D]`, the model's own vectors.
          known: the source's vectors of the same ids; padding is zeros.
        """
        residual = tf.tensordot(tf.tensordot(own, self.down, 1), self.up, 1)
        along = tf.reduce_sum(residual * known, axis=-1, keepdims=True)
        square = tf.reduce_sum(known * known, axis=-1, keepdims=True)
        share = self.scale - tf.math.divide_no_nan(along, square)
        return share * known + residual


class ReadOnlyAttention(keras.layers.Layer):
    """Softmax attention over states of unlike widths.

    Args:
      units: D, width of queries, keys and values.
      states: S, how many are read.
      **kwargs: what Keras' layers take.
    """

    def __init__(self, units: int, states: int, **kwargs: typing.Any):
        """Make the projections."""
        super().__init__(**kwargs)
        self.units = units
        self.query = keras.layers.Dense(units)
        self.keys = [keras.layers.Dense(units) for _ in range(states)]
        self.values = [keras.layers.Dense(units) for _ in range(states)]

    def call(self, asking: tf.Tensor, states: list[tf.Tensor]) -> tf.Tensor:
        """Return what is read, `[B, D]`.

        Args:
          asking: `[B, N]`, what the query is made of.
          states: S states, `[B, N]` each, N of any size.
        """
        query = self.query(asking)[:, tf.newaxis]  # [B, 1, D]
        keys, values = (
            tf.stack([layer(s) for layer, s in zip(of, states, strict=True)], 1)
            for of in (self.keys, self.values)
        )  # [B, S, D]
        scores = tf.reduce_sum(query * keys, axis=-1, keepdims=True)
        shares = tf.nn.softmax(scores / math.sqrt(self.units), axis=1)
        return tf.reduce_sum(shares * values, axis=1)
