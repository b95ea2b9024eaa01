"""What models that read a frozen CPM share: the knowledge and its place.

Shapes: B batch, N inputs of the network, H units, D embedding width, M inputs
of the head.
"""

import typing
from collections.abc import Sequence

import tensorflow as tf

from ecdctr_tf.models.ctr_model import CTRModel


class Knowledge(typing.NamedTuple):
    """What a frozen model computes of rows on its way to the logit."""

    # Embeddings of the user and of the item, float32 `[B, D]` each.
    ids: list[tf.Tensor]
    # Normalised inputs `[B, N]`, then the MLP's activations `[B, H]`, float32.
    layers: list[tf.Tensor]
    # What its head reads, float32 `[B, M]`: the last of `layers`, and what the
    # cross network makes of the first.
    top: tf.Tensor


class PluggedModel(CTRModel):
    """A model of ads that reads the hidden states of a frozen model.

    The source scores the rows beside the model, as in scoring, on tables of its
    own: an id that it does not know reads its row 0. No gradient reaches it,
    batch norm's statistics stay, and `parts` is without it: its weights are
    kept where it was published.

    Args:
      *args: as for `CTRModel`.
      sources: trained models of the same features and network, without history,
        the newest first. They are set to be not trainable.
      **kwargs: as for `CTRModel`.
    """

    # Whether the weights that a CPM has too start from the CPM's.
    starts_from_source: bool

    def __init__(
        self,
        *args: typing.Any,
        sources: Sequence[CTRModel],
        **kwargs: typing.Any,
    ):
        """Freeze and keep the sources."""
        kwargs["sources"] = sources
        super().__init__(*args, **kwargs)
        for source in sources:
            source.trainable = False

    def _logits(
        self, inputs: dict[str, tf.Tensor], training: bool | None
    ) -> tf.Tensor:
        _, x = self._read(inputs, training)
        return self._plugged(x, self._knowledge(inputs), training)

    def _plugged(
        self, x: tf.Tensor, knowledge: Knowledge, training: bool | None
    ) -> tf.Tensor:
        """Return the logits `[B, 1]` of normalised inputs `[B, N]`."""
        raise NotImplementedError

    def _knowledge(self, inputs: dict[str, tf.Tensor]) -> Knowledge:
        """Return what the newest source computes of rows."""
        source, spec = self.sources[0], self.spec
        embedded, x = source._read(inputs, training=False)
        layers = source.mlp.states(x, training=False)
        top = tf.concat([layers[-1], *source._crossed(x)], axis=1)
        ids = [embedded[spec.user], embedded[spec.item]]
        return tf.nest.map_structure(
            lambda state: tf.stop_gradient(tf.cast(state, tf.float32)),
            Knowledge(ids, layers, top),
        )
