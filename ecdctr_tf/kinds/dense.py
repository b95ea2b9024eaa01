"""Dense numbers: each value is read as it is.

Shapes: N rows, B rows of a batch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from ecdctr_tf.kinds.feature import Arrays, Feature, Layers, Numbering, Tensors

# Ranges of equal numbers of rows that `Dense.codes` tells apart.
_QUANTILES = 32


class Dense(Feature):
    """One number a row: float32 `[B]`."""

    in_logs = True

    def log_type(self) -> pa.DataType:
        """Return the type of a number."""
        return pa.float32()

    def encode(self, raw: pa.Array, number: Numbering) -> dict[str, np.ndarray]:
        """Return the numbers."""
        del number
        return {self.name: raw.to_numpy()}

    def tensors(self) -> dict[str, tf.TensorSpec]:
        """Return the numbers."""
        return {self.name: tf.TensorSpec([None], tf.float32)}

    def example_features(self, raw: bool) -> dict:
        """Return one number, which has to be there."""
        del raw
        return {self.name: tf.io.FixedLenFeature([], tf.float32)}

    def inputs(
        self, batch: Tensors, embedded: Tensors, layers: Layers
    ) -> list[tf.Tensor]:
        """Return the numbers, `[B, 1]`."""
        del embedded, layers
        return [tf.reshape(batch[self.name], [-1, 1])]

    def request(self) -> dict[str, tf.TensorSpec]:
        """Return the numbers."""
        return {self.name: tf.TensorSpec([None], tf.float32, self.name)}

    def from_request(
        self, raw: Tensors, mappings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """Return the numbers."""
        del mappings
        return {self.name: raw[self.name]}

    def made_up(
        self, random: np.random.Generator, ids: Arrays, count: int
    ) -> dict[str, np.ndarray]:
        """Return normally distributed numbers."""
        del ids
        return {self.name: random.normal(size=count).astype(np.float32)}

    def looked_up(
        self, raw: Arrays, spaces: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the numbers."""
        del spaces
        return {self.name: raw[self.name]}

    def codes(self, columns: Arrays, train: np.ndarray) -> np.ndarray:
        """Return the place of each number between quantiles of `train`."""
        column = columns[self.name]
        shares = np.linspace(0, 1, _QUANTILES + 1)[1:-1]
        edges = np.unique(np.quantile(column[train], shares))
        return np.searchsorted(edges, column, side="right")
