"""Sequences: the ids of what a user did before the row, oldest first.

Shapes: B rows of a batch, T entries that a model reads, D embedding width.
"""

from __future__ import annotations

import math

from ecdctr_tf import config as configs
from ecdctr_tf.deferred import keras, tf
from ecdctr_tf.kinds.feature import Layers, Tensors
from ecdctr_tf.kinds.listed import Listed, Part

_SECONDS_OF_HOUR = 3600.0


class Sequence(Listed):
    """Up to T ids a row, the newest last, pooled by target attention.

    An entry may have an `attribute`, a second id such as its category, and an
    `age`, the seconds from the entry to the row; NaN where it is not known.
    Both are added to the entry's embedding. The attention compares an entry
    with the item's id on the same table, and where there is none with the item;
    an attribute with the item's id on the attribute's table, if there is one.
    """

    keeps_last = True

    def parts(self) -> tuple[Part, ...]:
        """Return attribute and age, as the spec says."""
        parts = []
        if self.feature.attribute_table:
            table = self.data.table(self.feature.attribute_table)
            parts.append(Part("attribute", table.padding, table))
        if self.feature.ages:
            parts.append(Part("age", math.nan))
        return tuple(parts)

    def tables(self, config: configs.ModelConfig) -> dict[str, str]:
        """Return the tables, unless no layer reads the sequence."""
        return super().tables(config) if config.attention else {}

    def layers(
        self, config: configs.ModelConfig
    ) -> dict[str, keras.layers.Layer]:
        """Return the attention that pools the sequence, if it is wanted."""
        from ecdctr_tf.layers.target_attention import TargetAttention

        if not config.attention:
            return {}
        layers = {self._attention: TargetAttention(name=self.name)}
        if self.feature.ages:
            # Ages change nothing until it has been learned what they mean.
            layers[self._age] = keras.layers.Dense(
                config.embedding_dim, use_bias=False, kernel_initializer="zeros"
            )
        return layers

    def compared(self) -> tuple[str, ...]:
        """Return the item's ids that entries and attributes are compared with.

        They are empty where there is none on the table.
        """
        tables = [part.table.name for part in self.parts() if part.table]
        return tuple(self._item_on(t) for t in (self.feature.table, *tables))

    def inputs(
        self, batch: Tensors, embedded: Tensors, layers: Layers
    ) -> list[tf.Tensor]:
        """Return the pooled sequence, `[B, D]`, if a layer pools it."""
        if self._attention not in layers:
            return []
        keys = embedded[self.name]  # [B, T, D]
        query = embedded[
            self._item_on(self.feature.table) or self.data.item
        ]  # [B, D]
        for part in self.parts():
            if not part.table:
                keys += layers[self._age](_age_inputs(batch[self.column(part)]))
                continue
            keys += embedded[self.column(part)]
            compared = self._item_on(part.table.name)
            if compared:
                query += embedded[compared]
        mask = batch[self.name] >= 0  # [B, T]
        return [layers[self._attention](query, keys, mask)]

    @property
    def _attention(self) -> str:
        return f"attention_{self.name}"

    @property
    def _age(self) -> str:
        return f"age_{self.name}"

    def _item_on(self, table: str) -> str:
        """Return the item-side id on a table, or ""."""
        for feature in self.data.features:
            shared = feature.table == table
            if shared and feature.kind == "id" and feature.side == "item":
                return feature.name
        return ""


def _age_inputs(seconds: tf.Tensor) -> tf.Tensor:
    """Return whether ages are known, and log1p of their hours, `[B, T, 2]`."""
    # NaN is not known, and neither is an endless time.
    known = tf.logical_and(seconds >= 0, tf.math.is_finite(seconds))
    hours = tf.where(known, seconds, 0.0) / _SECONDS_OF_HOUR
    parts = [tf.cast(known, tf.float32), tf.math.log1p(hours)]
    return tf.stack(parts, axis=-1)
