"""MMoE: shared experts, mixed by a gate of the domain.

Shapes: B batch, N inputs of the network, E experts, H units.
"""

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features
from ecdctr_tf.layers.mlp import MLP
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.joint import of_domain

EXPERTS = 4


class MMoE(CTRModel):
    """Multi-gate mixture of experts; the domains are its tasks.

    Experts, MLPs on the inputs, are shared. Each domain has a gate, which says
    how much of each expert a row gets (`softmax(W x)`), and a tower on the
    mixture with its own head. The cross network is shared and read by both
    heads. A row is trained on with the loss of its own domain.

    Of `hidden_units` all layers but the last are the experts', shared out
    evenly: each has a quarter of the units, as the paper keeps the number of
    weights. The last layer is the tower's, in full, since its input is a
    quarter as wide. With one hidden layer that is the experts', and a tower is
    its head.

    Reference: Modeling Task Relationships in Multi-task Learning with
    Multi-gate Mixture-of-Experts (KDD 2018), section 4.
    """

    def _make_top(
        self, config: configs.ModelConfig, l2: float, policy: str
    ) -> None:
        momentum = config.batch_norm_momentum
        below, last = split(config.hidden_units)
        self.experts = [
            MLP(shared_out(below, EXPERTS), momentum, l2, dtype=policy)
            for _ in range(EXPERTS)
        ]
        self.gates = {d: gate(EXPERTS) for d in features.DOMAINS}
        self.towers = {
            d: MLP(last, momentum, l2, dtype=policy) for d in features.DOMAINS
        }
        self.heads = {d: keras.layers.Dense(1) for d in features.DOMAINS}

    def _top(
        self, x: tf.Tensor, domain: tf.Tensor | None, training: bool | None
    ) -> tf.Tensor:
        outputs = [e(x, training=training) for e in self.experts]  # [B, H]
        crossed = self._crossed(x)
        logits = {}
        for name in features.DOMAINS:
            mixed = mixture(outputs, self.gates[name](x))  # [B, H]
            tower = self.towers[name](mixed, training=training)
            top = tf.concat([tower, *crossed], axis=1)
            logits[name] = self.heads[name](top)  # [B, 1]
        return of_domain(**logits, domain=domain)


def split(
    hidden_units: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return all layers but the last, and the last; a single one is first."""
    if len(hidden_units) < 2:
        return hidden_units, ()
    return hidden_units[:-1], hidden_units[-1:]


def shared_out(hidden_units: tuple[int, ...], among: int) -> tuple[int, ...]:
    """Return the units that one of `among` experts has in each layer."""
    return tuple(max(units // among, 1) for units in hidden_units)


def gate(experts: int) -> keras.layers.Layer:
    """Return the layer from `[B, N]` to the weights of experts, `[B, E]`."""
    return keras.layers.Dense(experts, activation="softmax", use_bias=False)


def mixture(outputs: list[tf.Tensor], weights: tf.Tensor) -> tf.Tensor:
    """Return the weighted sum of E outputs `[B, H]`, weights `[B, E]`."""
    parts = [
        weights[:, i : i + 1] * tf.cast(output, weights.dtype)
        for i, output in enumerate(outputs)
    ]
    return tf.cast(tf.add_n(parts), outputs[0].dtype)
