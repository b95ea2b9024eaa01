"""PLE: experts of a domain beside shared ones, in two levels.

Shapes: B batch, N inputs of a level, H units.
"""

import typing

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features
from ecdctr_tf.layers.mlp import MLP
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.joint import of_domain
from ecdctr_tf.models.mmoe import gate, mixture, shared_out, split

SHARED = "shared"
# Of each domain, and shared ones; a domain reads its own and the shared ones.
EXPERTS = 2


class PLE(CTRModel):
    """Progressive layered extraction; the domains are its tasks.

    Each level has experts of natural logs, experts of ads and shared ones. A
    gate of a domain mixes its own and the shared experts, on the first level
    another gate mixes all of them for the shared experts above. On top is a
    head for each domain, which also reads the cross network that both share. A
    row is trained on with the loss of its own domain.

    Of `hidden_units` all layers but the last are the first level's, shared out
    among the four experts that a domain reads; each expert of the second level
    has the last layer in full, since its input is a quarter as wide. As a
    third of the experts is the other domain's, both levels have one and a half
    times the weights of the MLP. A single hidden layer is that of both levels.

    Reference: Progressive Layered Extraction (PLE): A Novel Multi-Task
    Learning (MTL) Model for Personalized Recommendations (RecSys 2020),
    section 4.
    """

    def _make_top(
        self, config: configs.ModelConfig, l2: float, policy: str
    ) -> None:
        below, last = split(config.hidden_units)
        self.levels = [
            Extraction(units, top, config.batch_norm_momentum, l2, dtype=policy)
            for units, top in (
                (shared_out(below, 2 * EXPERTS), False),
                (last or below, True),
            )
        ]
        self.heads = {d: keras.layers.Dense(1) for d in features.DOMAINS}

    def _top(
        self, x: tf.Tensor, domain: tf.Tensor | None, training: bool | None
    ) -> tf.Tensor:
        mixed = dict.fromkeys((*features.DOMAINS, SHARED), x)
        for level in self.levels:
            mixed = level(mixed, training=training)  # [B, H] of each
        crossed = self._crossed(x)
        logits = {
            name: self.heads[name](tf.concat([mixed[name], *crossed], axis=1))
            for name in features.DOMAINS
        }
        return of_domain(**logits, domain=domain)


class Extraction(keras.layers.Layer):
    """A level of experts and gates.

    Args:
      hidden_units: of each expert.
      top: whether no shared experts follow, so that they need no mixture.
      batch_norm_momentum: as for `MLP`.
      l2: as for `MLP`.
      **kwargs: as for `MLP`.
    """

    def __init__(
        self,
        hidden_units: tuple[int, ...],
        top: bool,
        batch_norm_momentum: float,
        l2: float = 0.0,
        **kwargs: typing.Any,
    ):
        """Make the layers."""
        super().__init__(**kwargs)
        self.experts = {
            group: [
                MLP(
                    hidden_units,
                    batch_norm_momentum,
                    l2,
                    dtype=self.dtype_policy,
                )
                for _ in range(EXPERTS)
            ]
            for group in (*features.DOMAINS, SHARED)
        }
        self.gates = {d: gate(2 * EXPERTS) for d in features.DOMAINS}
        if not top:
            self.gates[SHARED] = gate(len(self.experts) * EXPERTS)

    def call(
        self, inputs: dict[str, tf.Tensor], training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Return the mixture of each group, `[B, H]`.

        Args:
          inputs: group (a domain, or shared) -> `[B, N]`.
          training: whether batch norm uses and updates batch statistics.
        """
        outputs = {
            group: [e(inputs[group], training=training) for e in experts]
            for group, experts in self.experts.items()
        }
        mixed = {}
        for group, of_group in self.gates.items():
            read = (group, SHARED) if group != SHARED else outputs
            mixed[group] = mixture(
                [output for name in read for output in outputs[name]],
                of_group(inputs[group]),
            )
        return mixed
