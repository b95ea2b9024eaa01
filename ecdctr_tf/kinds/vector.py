"""Vectors, such as the embedding of a picture: read through a projection.

Shapes: N rows, B rows of a batch, L numbers of a vector, D embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ecdctr_tf import config as configs
from ecdctr_tf.deferred import keras, tf
from ecdctr_tf.kinds.dense import Dense
from ecdctr_tf.kinds.feature import Arrays, Column, Layers, Numbering, Tensors

# Numbers of a vector that `Vector.codes` looks at.
_LOOKED_AT = 8


class Vector(Dense):
    """L numbers a row: float32 `[B, L]`, all NaN where they are missing.

    Each number is standardised, with an indicator of missing ones; the model
    reads a linear projection to `[B, D]`.
    """

    def log_type(self) -> pa.DataType:
        """Return a list of numbers; null is a missing vector."""
        return pa.list_(pa.float32())

    def encode(self, raw: pa.Array, number: Numbering) -> dict[str, np.ndarray]:
        """Return the numbers."""
        del number
        there = raw.is_valid().to_numpy(zero_copy_only=False)
        vectors = np.full([len(raw), self.feature.length], np.nan, np.float32)
        values = raw.flatten().to_numpy(zero_copy_only=False)
        vectors[there] = values.reshape(-1, self.feature.length)
        return {self.name: vectors}

    def columns(self) -> dict[str, Column]:
        """Return the numbers."""
        return {self.name: Column("float32", (self.feature.length,))}

    def from_block(self, block: Tensors) -> dict[str, tf.Tensor]:
        """Return the numbers, a vector a row."""
        shape = [-1, self.feature.length]
        return {self.name: tf.reshape(block[self.name], shape)}

    def example_features(self, raw: bool) -> dict:
        """Return a vector; where there is none it is missing."""
        del raw
        length = self.feature.length
        missing = [math.nan] * length
        return {self.name: tf.io.FixedLenFeature([length], tf.float32, missing)}

    def example_values(self, columns: Arrays, raw: bool) -> dict[str, Sequence]:
        """Return the vectors that are there."""
        del raw
        vectors = np.asarray(columns[self.name])
        return {
            self.name: [
                None if np.isnan(vector).any() else vector.tolist()
                for vector in vectors
            ]
        }

    def layers(
        self, config: configs.ModelConfig
    ) -> dict[str, keras.layers.Layer]:
        """Return the layers that scale and project the numbers."""
        from ecdctr_tf.layers.scaled_numbers import ScaledNumbers

        projection = keras.layers.Dense(config.embedding_dim, use_bias=False)
        return {
            self._scale: ScaledNumbers(name=self.name),
            self._projection: projection,
        }

    def inputs(
        self, batch: Tensors, embedded: Tensors, layers: Layers
    ) -> list[tf.Tensor]:
        """Return the projected vectors, `[B, D]`."""
        del embedded
        scaled = layers[self._scale](batch[self.name])  # [B, 2L]
        return [layers[self._projection](scaled)]

    def adapt(self, columns: Arrays, layers: Layers) -> None:
        """Take the statistics that the layer lacks."""
        layers[self._scale].adapt(columns[self.name])

    def request(self) -> dict[str, Column]:
        """Return the numbers."""
        return self.columns()

    def from_request(
        self, raw: Tensors, mappings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """Return the numbers; a vector is missing if one of them is."""
        del mappings
        vectors = raw[self.name]
        there = tf.reduce_all(tf.math.is_finite(vectors), 1, keepdims=True)
        return {self.name: tf.where(there, vectors, math.nan)}

    def made_up(
        self, random: np.random.Generator, ids: Arrays, count: int
    ) -> dict[str, np.ndarray]:
        """Return normally distributed vectors; some are not finite."""
        del ids
        vectors = random.normal(size=[count, self.feature.length])
        vectors[::3] = math.nan
        vectors[1::4, 0] = math.inf
        return {self.name: vectors.astype(np.float32)}

    def looked_up(
        self, raw: Arrays, spaces: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the numbers; a vector is missing if one of them is."""
        del spaces
        vectors = raw[self.name]
        there = np.isfinite(vectors).all(axis=1, keepdims=True)
        return {self.name: np.where(there, vectors, np.nan)}

    def measured(self, columns: Arrays) -> np.ndarray:
        """Return the lengths of the vectors."""
        return np.linalg.norm(columns[self.name], axis=1)

    def codes(self, columns: Arrays, train: np.ndarray) -> np.ndarray:
        """Return which numbers are above those in the middle of `train`.

        Missing vectors have a code of their own.
        """
        vectors = columns[self.name][:, :_LOOKED_AT]
        there = ~np.isnan(vectors).any(axis=1)
        if not (there & train).any():
            return np.asarray(there, np.int64)
        above = vectors > np.median(vectors[there & train], axis=0)
        bits = 1 << np.arange(vectors.shape[1])
        codes: np.ndarray = 1 + (above * bits).sum(axis=1)
        return np.where(there, codes, 0)

    @property
    def _projection(self) -> str:
        return f"projection_{self.name}"
