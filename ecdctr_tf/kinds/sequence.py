"""Sequences: the ids of what a user did before the row, oldest first.

Shapes: N rows, B rows of a batch, T entries that a model reads, L places of a
request, D embedding width.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf.features import PADDING
from ecdctr_tf.kinds.feature import Arrays, Feature, Layers, Tensors
from ecdctr_tf.layers.target_attention import TargetAttention

_LENGTH = "/length"


class Sequence(Feature):
    """Up to T ids a row: int32 `[B, T]`, padded behind the entries.

    A block holds the entries of all rows one after the other, and
    `<name>/length`, their number in each row. An Example without the sequence
    has no entries.
    """

    padded = True

    def tensors(self) -> dict[str, tf.TensorSpec]:
        """Return the rows of the entries."""
        shape = [None, self.feature.max_length]
        return {self.name: tf.TensorSpec(shape, tf.int32)}

    def block_types(self) -> dict[str, type[np.generic]]:
        """Return the types of entries and lengths."""
        return {self.name: np.int32, self.name + _LENGTH: np.uint16}

    def to_block(self, rows: Arrays) -> dict[str, np.ndarray]:
        """Return the entries that are there, and their numbers."""
        column = np.asarray(rows[self.name])
        used = column != PADDING
        return {self.name: column[used], self.name + _LENGTH: used.sum(1)}

    def from_block(self, block: Tensors) -> dict[str, tf.Tensor]:
        """Return the padded rows."""
        lengths = tf.cast(block[self.name + _LENGTH], tf.int32)
        return {self.name: self._padded(block[self.name], lengths)}

    def example_features(self, raw: bool) -> dict:
        """Return any number of ids."""
        dtype = tf.as_dtype(self.table.dtype) if raw else tf.int64
        return {self.name: tf.io.RaggedFeature(dtype)}

    def example_values(self, columns: Arrays, raw: bool) -> dict:
        """Return the entries that are there."""
        unused = self.table.padding if raw else PADDING
        rows = np.asarray(columns[self.name]).tolist()
        return {self.name: [[v for v in row if v != unused] for row in rows]}

    def from_examples(self, parsed: Tensors) -> dict[str, tf.Tensor]:
        """Return the padded rows."""
        column = parsed[self.name]
        values = tf.cast(column.values, tf.int32)
        lengths = tf.cast(column.row_lengths(), tf.int32)
        return {self.name: self._padded(values, lengths)}

    def tables(self, config: configs.ModelConfig) -> dict[str, str]:
        """Return the table, unless no layer reads the sequence."""
        return {self.name: self.table.name} if config.attention else {}

    def layers(
        self, config: configs.ModelConfig
    ) -> dict[str, keras.layers.Layer]:
        """Return the attention that pools the sequence, if it is wanted.

        Raises:
          ValueError: no id of the item is on the sequence's table.
        """
        if not config.attention:
            return {}
        self._query()
        return {self._attention: TargetAttention(name=self.name)}

    def inputs(
        self, batch: Tensors, embedded: Tensors, layers: Layers
    ) -> list[tf.Tensor]:
        """Return the pooled sequence, `[B, D]`, if a layer pools it."""
        if self._attention not in layers:
            return []
        query = embedded[self._query()]
        mask = batch[self.name] >= 0  # [B, T]
        return [layers[self._attention](query, embedded[self.name], mask)]

    def request(self) -> dict[str, tf.TensorSpec]:
        """Return raw ids with unused places anywhere, `[B, L]`."""
        shape = [None, None]
        return {self.name: tf.TensorSpec(shape, self.table.dtype, self.name)}

    def request_of_examples(self, parsed: Tensors) -> dict[str, tf.Tensor]:
        """Return the ids with unused places behind them."""
        return {self.name: parsed[self.name].to_tensor(self.table.padding)}

    def from_request(
        self, raw: Tensors, mappings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """Return the rows of the newest entries."""
        column = raw[self.name]
        used = tf.not_equal(column, self.table.padding)  # [B, L]
        rows = mappings[self.table.name].rows(tf.boolean_mask(column, used))
        lengths = tf.reduce_sum(tf.cast(used, tf.int32), axis=1)  # [B]
        return {self.name: self._padded(rows, lengths)}

    def made_up(
        self, random: np.random.Generator, ids: Arrays, count: int
    ) -> dict[str, np.ndarray]:
        """Return sequences: empty, short, of T entries, and longer ones."""
        most = self.feature.max_length
        length = most + 2
        column = random.choice(ids[self.table.name], [count, length])
        lengths = np.resize([0, 1, most, length], count)
        unused = np.arange(length) >= lengths[:, np.newaxis]
        column[unused] = self.table.padding
        return {self.name: column}

    def looked_up(
        self, raw: Arrays, spaces: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the rows of the newest entries."""
        most = self.feature.max_length
        rows = np.full([len(raw[self.name]), most], PADDING, np.int32)
        for i, entries in enumerate(raw[self.name]):
            used = entries[entries != self.table.padding][-most:]
            rows[i, : len(used)] = spaces[self.table.name].lookup(used)
        return {self.name: rows}

    def codes(self, columns: Arrays, train: np.ndarray) -> np.ndarray:
        """Return the number of entries."""
        del train
        return (columns[self.name] != PADDING).sum(axis=1)

    @property
    def _attention(self) -> str:
        return f"attention_{self.name}"

    def _query(self) -> str:
        """Return the item-side id that the entries are compared with."""
        for feature in self.data.features:
            shared = feature.table == self.feature.table
            if shared and feature.kind == "id" and feature.side == "item":
                return feature.name
        raise ValueError(
            f"The sequence {self.name!r} needs an id feature of side 'item' on "
            f"its table {self.table.name!r}, which its attention compares it "
            "with."
        )

    def _padded(self, values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        return pad(values, lengths, self.feature.max_length)


def pad(values: tf.Tensor, lengths: tf.Tensor, max_length: int) -> tf.Tensor:
    """Return flat sequences as a padded matrix.

    Args:
      values: int32, the entries of all rows, newest last in each.
      lengths: int32 `[N]`, entries of each row.
      max_length: T; longer rows keep their newest entries.

    Returns:
      int32 `[N, T]` with `PADDING` behind the entries of a row.

    Raises:
      InvalidArgumentError: the lengths do not fit the entries.
    """
    # A ragged tensor that does not fit reads memory it does not own.
    message = (
        "The lengths of a sequence should be at least 0 and sum up to the "
        "number of its entries: the file is damaged. Convert its day again."
    )
    checks = [
        tf.debugging.assert_non_negative(lengths, message),
        tf.debugging.assert_equal(
            tf.reduce_sum(tf.cast(lengths, tf.int64)),
            tf.size(values, tf.int64),
            message,
        ),
    ]
    # Run eagerly, the checks are over and there is nothing to wait for.
    with tf.control_dependencies(list(filter(None, checks))):
        values = tf.identity(values)
    ragged = tf.RaggedTensor.from_row_lengths(values, lengths, validate=False)
    # Cutting costs more than all the rest, and there is seldom what to cut.
    ragged = tf.cond(
        tf.reduce_max(lengths) > max_length,
        lambda: ragged[:, -max_length:],
        lambda: ragged,
    )
    return ragged.to_tensor(PADDING, shape=[None, max_length])
