"""How many values there are and how many are shared, in bounded memory.

A sketch keeps the smallest hashes of the values that it has seen. Up to its
size it is exact; beyond, the largest hash that is kept tells how dense hashes
are and so how many there must have been.
"""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Hashes that are kept; the standard error of an estimate is 1 / sqrt(SIZE).
SIZE = 1 << 17
_ALL = float(1 << 64)


def hashes(column: pa.Array) -> np.ndarray:
    """Return a 64-bit hash of each value, uint64; null has one, too."""
    encoded = column.dictionary_encode("encode")
    values = encoded.dictionary
    if pa.types.is_integer(values.type):
        found = mixed(values.cast(pa.int64()).fill_null(-1).to_numpy())
    else:
        texts = values.cast(pa.string()).to_pylist()
        found = np.array([_of_text(text) for text in texts], np.uint64)
    if not len(found):
        return np.zeros(0, np.uint64)
    return found[encoded.indices.to_numpy(False)]


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Return whole numbers scrambled to 64 bits (the SplitMix64 finaliser)."""
    x = numbers.astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _of_text(text: str | None) -> int:
    content = b"\0" if text is None else text.encode("utf-8", "replace")
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "little")


class Sketch:
    """The smallest hashes of values, and how often each occurred."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self.hashes = np.zeros(0, np.uint64)
        self.counts = np.zeros(0, np.int64)
        # Hashes up to this were all kept.
        self.limit = np.uint64((1 << 64) - 1)

    def add(self, hashed: np.ndarray) -> None:
        """Take in the hashes of values."""
        values, counts = np.unique(
            hashed[hashed <= self.limit], return_counts=True
        )
        values = np.concatenate([self.hashes, values])
        values, place = np.unique(values, return_inverse=True)
        counts = np.concatenate([self.counts, counts])
        counts = np.bincount(place, counts, len(values)).astype(np.int64)
        if len(values) > self._size:
            self.limit = values[self._size - 1]
            values, counts = values[: self._size], counts[: self._size]
        self.hashes, self.counts = values, counts

    @property
    def exact(self) -> bool:
        """Whether no hash was left out."""
        return len(self.hashes) < self._size

    @property
    def distinct(self) -> int:
        """How many different values there were, about."""
        if self.exact:
            return len(self.hashes)
        return round((self._size - 1) / (float(self.limit) / _ALL))

    @property
    def repeated(self) -> int:
        """How many rows had a value that came before, about."""
        again = int((self.counts - 1).sum())
        return round(again / (float(self.limit) / _ALL))

    def shared(self, other: "Sketch") -> tuple[float, float] | None:
        """Return the shares of values and of rows that another sketch has.

        Returns:
          Shares in [0, 1], or None if there are no values.
        """
        limit = min(self.limit, other.limit)
        known = self.hashes <= limit
        if not known.any():
            return None
        inside = np.isin(self.hashes[known], other.hashes)
        rows = self.counts[known]
        return float(inside.mean()), float(rows[inside].sum() / rows.sum())


def present(column: pa.ChunkedArray) -> pa.Array:
    """Return the values of a column without nulls and NaN."""
    column = column.combine_chunks() if hasattr(column, "chunks") else column
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return column.drop_null()
