"""Dense numbers: each value is scaled, a missing one is NaN.

Shapes: N rows, B rows of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ecdctr_tf import config as configs
from ecdctr_tf.deferred import keras, tf
from ecdctr_tf.features import TRANSFORMS
from ecdctr_tf.kinds.feature import (
    Arrays,
    Column,
    Feature,
    Layers,
    Numbering,
    Tensors,
)

# Ranges of equal numbers of rows that `Dense.codes` tells apart.
_QUANTILES = 32
# Rows of a level after which missing numbers are looked for no more.
_MANY = 1 << 18


class Dense(Feature):
    """One number a row: float32 `[B]`, scaled to `[B, 2]` with an indicator.

    A row, an Example or a request may lack it: it is NaN then. In requests, so
    is a number that is not finite.
    """

    in_logs = True
    scaled = True

    def log_type(self) -> pa.DataType:
        """Return the type of a number."""
        return pa.float32()

    def encode(self, raw: pa.Array, number: Numbering) -> dict[str, np.ndarray]:
        """Return the numbers."""
        del number
        return {self.name: raw.to_numpy()}

    def columns(self) -> dict[str, Column]:
        """Return the numbers."""
        return {self.name: Column("float32")}

    def example_features(self, raw: bool) -> dict:
        """Return one number, NaN where it is missing."""
        del raw
        one = tf.io.FixedLenFeature([], tf.float32, default_value=float("nan"))
        return {self.name: one}

    def example_values(self, columns: Arrays, raw: bool) -> dict[str, Sequence]:
        """Return the numbers that are there."""
        del raw
        values = np.asarray(columns[self.name]).tolist()
        return {self.name: [None if math.isnan(v) else [v] for v in values]}

    def layers(
        self, config: configs.ModelConfig
    ) -> dict[str, keras.layers.Layer]:
        """Return the layer that scales the numbers."""
        from ecdctr_tf.layers.scaled_numbers import ScaledNumbers

        del config
        transform = self.feature.transform or TRANSFORMS[0]
        return {self._scale: ScaledNumbers(transform, name=self.name)}

    def inputs(
        self, batch: Tensors, embedded: Tensors, layers: Layers
    ) -> list[tf.Tensor]:
        """Return the scaled numbers and their indicators, `[B, 2]`."""
        del embedded
        return [layers[self._scale](batch[self.name][:, tf.newaxis])]

    def lacks(self, layers: Layers, rows: int = 0) -> bool:
        """Return whether the numbers, or missing ones, are still unknown.

        After many rows in which none was missing, none is looked for.
        """
        scale = layers[self._scale]
        return not (scale.varies.all() if rows >= _MANY else scale.complete)

    def unseen(self, layers: Layers) -> bool:
        """Return whether all numbers so far were the same, or missing."""
        return not layers[self._scale].varies.any()

    def adapt(self, columns: Arrays, layers: Layers) -> None:
        """Take the statistics that the layer lacks."""
        layers[self._scale].adapt(columns[self.name][:, np.newaxis])

    def request(self) -> dict[str, Column]:
        """Return the numbers."""
        return {self.name: Column("float32")}

    def left_out(self) -> dict[str, float | int | str]:
        """Return that a missing number is NaN."""
        return {self.name: math.nan}

    def from_request(
        self, raw: Tensors, mappings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """Return the numbers."""
        del mappings
        numbers = raw[self.name]
        there = tf.math.is_finite(numbers)
        return {self.name: tf.where(there, numbers, math.nan)}

    def made_up(
        self, random: np.random.Generator, ids: Arrays, count: int
    ) -> dict[str, np.ndarray]:
        """Return normally distributed numbers; some are not finite."""
        del ids
        numbers = random.normal(size=count).astype(np.float32)
        numbers[1::4] = np.nan
        numbers[2::8], numbers[6::8] = np.inf, -np.inf
        return {self.name: numbers}

    def looked_up(
        self, raw: Arrays, spaces: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the numbers."""
        del spaces
        numbers = raw[self.name]
        return {self.name: np.where(np.isfinite(numbers), numbers, np.nan)}

    def codes(self, columns: Arrays, train: np.ndarray) -> np.ndarray:
        """Return the place of each number between quantiles of `train`.

        Missing numbers have a place of their own, the last one.
        """
        column = columns[self.name]
        known = column[train & ~np.isnan(column)]
        shares = np.linspace(0, 1, _QUANTILES + 1)[1:-1]
        edges = np.zeros(0)
        if len(known):
            edges = np.unique(np.quantile(known, shares))
        places = np.searchsorted(edges, column, side="right")
        return np.where(np.isnan(column), len(edges) + 1, places)

    @property
    def _scale(self) -> str:
        return f"scale_{self.name}"
