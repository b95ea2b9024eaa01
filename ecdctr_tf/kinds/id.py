"""Ids: each value is a row of a table.

Shapes: B rows of a batch, D embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ecdctr_tf import features
from ecdctr_tf.deferred import tf
from ecdctr_tf.kinds.feature import (
    Arrays,
    Column,
    Feature,
    Layers,
    Numbering,
    Tensors,
)


class Id(Feature):
    """One id a row: int32 `[B]`, embedded to `[B, D]`."""

    one_row = True
    in_logs = True

    def log_type(self) -> pa.DataType:
        """Return the type of a raw id."""
        return id_type(self.table)

    def encode(self, raw: pa.Array, number: Numbering) -> dict[str, np.ndarray]:
        """Return the rows of raw ids."""
        return {self.name: number(self.table.name, raw)}

    def columns(self) -> dict[str, Column]:
        """Return the rows."""
        return {self.name: Column("int32")}

    def example_features(self, raw: bool) -> dict:
        """Return one id; a request without it has the padding of its table."""
        if not raw:
            return {self.name: tf.io.FixedLenFeature([], tf.int64)}
        dtype, padding = tf.as_dtype(self.table.dtype), self.table.padding
        return {self.name: tf.io.FixedLenFeature([], dtype, padding)}

    def id_columns(self) -> dict[str, str]:
        """Return the table."""
        return {self.name: self.table.name}

    def inputs(
        self, batch: Tensors, embedded: Tensors, layers: Layers
    ) -> list[tf.Tensor]:
        """Return the embedding, `[B, D]`."""
        del batch, layers
        return [embedded[self.name]]

    def request(self) -> dict[str, Column]:
        """Return the raw ids."""
        return {self.name: Column(self.table.dtype)}

    def left_out(self) -> dict[str, float | int | str]:
        """Return that a missing id is sent as the padding of its table.

        The ids that say who saw what have to be there.
        """
        if self.name in (self.data.user, self.data.item):
            return {}
        return {self.name: self.table.padding}

    def from_request(
        self, raw: Tensors, mappings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """Return the rows of raw ids."""
        mapping = mappings[self.table.name]
        return {self.name: mapping.rows(raw[self.name])}  # [B]

    def made_up(
        self, random: np.random.Generator, ids: Arrays, count: int
    ) -> dict[str, np.ndarray]:
        """Return all of the ids in turn."""
        del random
        return {self.name: np.resize(ids[self.table.name], count)}

    def looked_up(
        self, raw: Arrays, spaces: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the rows of raw ids."""
        return {self.name: spaces[self.table.name].lookup(raw[self.name])}

    def codes(self, columns: Arrays, train: np.ndarray) -> np.ndarray:
        """Return the rows."""
        del train
        return columns[self.name]


def id_type(table: features.TableSpec) -> pa.DataType:
    """Return the Arrow type of a table's raw ids."""
    return pa.int64() if table.dtype == "int64" else pa.string()
