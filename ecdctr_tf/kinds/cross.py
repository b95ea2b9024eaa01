"""Crosses: what two or more ids of a row are together, by a hash of both.

Shapes: N rows, B rows of a batch, D embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ecdctr_tf.deferred import tf
from ecdctr_tf.kinds.feature import Arrays, Column, Numbering, Tensors
from ecdctr_tf.kinds.id import Id, id_type

# Hashes of raw ids lie below this prime, so that none of the products below
# is longer than 64 bits.
_PRIME = 2**31 - 1
_FACTOR = 1_000_003


class Cross(Id):
    """A row of a hashing table for each combination: int32 `[B]`.

    It is made of the raw ids of the features in `of`, in logs as in requests.
    """

    @property
    def of_candidate(self) -> bool:
        """Whether one of its parts is."""
        item = self.data.item
        sides = [self.data.feature(part).side for part in self.feature.of]
        return "item" in sides or item in self.feature.of

    def hashed(self, part: str, raw: pa.Array) -> np.ndarray:
        """Return hashes of the raw ids of a part, int64 `[N]`.

        Args:
          part: one of `of`.
          raw: its ids; null counts as the padding of its table.
        """
        table = self.data.table(self.data.feature(part).table)
        ids = raw.cast(id_type(table)).fill_null(table.padding)
        coded = ids.dictionary_encode()
        text = coded.dictionary.cast(pa.string()).to_numpy(zero_copy_only=False)
        of_each = tf.strings.to_hash_bucket_fast(text.astype(object), _PRIME)
        return of_each.numpy()[coded.indices.to_numpy()]

    def crossed(self, hashes: Arrays) -> dict[str, np.ndarray]:
        """Return the rows, int32 `[N]`, given the hashes of each part."""
        code: np.ndarray = np.zeros(1, np.int64)
        for part in self.feature.of:
            code = (code * _FACTOR + hashes[part]) % _PRIME
        return {self.name: (code % self.table.buckets).astype(np.int32)}

    def missing(self, number: Numbering) -> dict[str, np.ndarray]:
        """Return the row of all parts missing."""
        del number
        parts = self.feature.of
        tables = {p: self.data.table(self.data.feature(p).table) for p in parts}
        return self.crossed(
            {
                p: self.hashed(p, pa.nulls(1, id_type(t)))
                for p, t in tables.items()
            }
        )

    def request(self) -> dict[str, Column]:
        """Return nothing: clients send the parts."""
        return {}

    def left_out(self) -> dict[str, float | int | str]:
        """Return nothing, as `request`."""
        return {}

    def example_features(self, raw: bool) -> dict:
        """Return the row in files, and nothing in requests."""
        return {} if raw else super().example_features(raw)

    def example_values(self, columns: Arrays, raw: bool) -> dict:
        """Return the row in files, and nothing in requests."""
        return {} if raw else super().example_values(columns, raw)

    def from_request(
        self, raw: Tensors, mappings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """Return the rows of the raw ids of all parts together."""
        del mappings
        code = tf.zeros([], tf.int64)
        for part in self.feature.of:
            text = raw[part]
            if text.dtype != tf.string:
                text = tf.strings.as_string(text)
            hashes = tf.strings.to_hash_bucket_fast(text, _PRIME)
            code = (code * _FACTOR + hashes) % _PRIME  # [B]
        return {self.name: tf.cast(code % self.table.buckets, tf.int32)}

    def made_up(
        self, random: np.random.Generator, ids: Arrays, count: int
    ) -> dict[str, np.ndarray]:
        """Return nothing, as `request`."""
        del random, ids, count
        return {}

    def looked_up(
        self, raw: Arrays, spaces: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the rows, made as in a conversion."""
        del spaces
        parts = {part: pa.array(raw[part]) for part in self.feature.of}
        hashes = {part: self.hashed(part, ids) for part, ids in parts.items()}
        return self.crossed(hashes)
