"""Embedding tables that grow, read by one gather for all features of a table.

Shapes: B batch, T entries of a sequence, D embedding width, V rows.
"""

import typing
import zlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras


@keras.saving.register_keras_serializable("ecdctr_tf")
class TableEmbedding(keras.layers.Layer):
    """Look up the features of one table.

    The table has room for `capacity` rows, of which the first `vocab_size` are
    known. A larger row number is an id that came up after the model was
    trained; it reads its bucket of unknown ids (`set_buckets`), by default
    row 0. Negative rows in a sequence are padding and give zeros.

    What a row starts with depends on the seed, the name of the table and the
    number of the row only (`initial_rows`), not on the capacity: two models of
    one seed start the same id alike, whenever they meet it.

    Args:
      capacity: V, rows of the table.
      dim: D, width of a row.
      vocab_size: rows known, at most `capacity`; see `set_vocab_size`.
      seed: of the values that rows start with.
      **kwargs: what Keras' layers take.

    Example:
      >>> items = ecdctr_tf.TableEmbedding(capacity=8, dim=4, vocab_size=5)
      >>> clicked = tf.constant([[1, 2, -1], [6, 0, -1]])
      >>> vectors = items({"item": tf.constant([3, 4]), "clicked": clicked})
      >>> {name: v.shape.as_list() for name, v in vectors.items()}
      {'clicked': [2, 3, 4], 'item': [2, 4]}
      >>> bool(tf.reduce_all(vectors["clicked"][1, 0] == items.embeddings[0]))
      True
      >>> items.set_vocab_size(7)  # Row 6 is known from now on.
      >>> vectors = items({"clicked": clicked})
      >>> bool(tf.reduce_all(vectors["clicked"][1, 0] == items.embeddings[6]))
      True
    """

    def __init__(
        self,
        capacity: int,
        dim: int,
        vocab_size: int,
        seed: int = 0,
        **kwargs: typing.Any,
    ):
        """Check the sizes and keep them."""
        super().__init__(**kwargs)
        if not 1 <= vocab_size <= capacity:
            raise ValueError(
                "`vocab_size` should be between 1 and `capacity`. Received: "
                f"vocab_size={vocab_size}, capacity={capacity}"
            )
        self.capacity = capacity
        self.dim = dim
        self.seed = seed
        self._initial_vocab_size = vocab_size
        self.embeddings = self.add_weight(
            "embeddings", [capacity, dim], initializer=_ByRow(seed, self.name)
        )
        self.vocab_size = self.add_weight(
            "vocab_size",
            [],
            dtype=tf.int32,
            initializer=keras.initializers.Constant(vocab_size),
            trainable=False,
        )

        # Bucket of each row while its id is unknown; empty: row 0 for all.
        self.unknown_rows: tf.Variable | None = None
        # Numbers that the first rows had when they started, int `[N]`; None:
        # they have been numbered as they are.
        self.first_rows: np.ndarray | None = None

    def set_vocab_size(self, rows: int) -> None:
        """Let the table know `rows` rows.

        Raises:
          ValueError: the table has no room for them, or knows more: ids that
            are known stay known.
        """
        known = int(self.vocab_size.numpy())
        if not known <= rows <= self.capacity:
            raise ValueError(
                f"{self.name} knows {known} rows and has room for "
                f"{self.capacity}; `rows` should lie between the two. "
                f"Received: {rows}. For more rows, build a larger model and "
                "restore the weights into it."
            )
        self.vocab_size.assign(rows)

    def set_buckets(self, buckets: np.ndarray) -> None:
        """Say which row an id reads while it is unknown.

        Args:
          buckets: int32, row number -> row of the bucket that the served model
            and the converter give to the id of that row.
        """
        self.unknown_rows = tf.Variable(
            np.asarray(buckets, np.int32), trainable=False
        )

    def initial_rows(self, first: int, last: int) -> np.ndarray:
        """Return what rows `first` to `last - 1` start with, `[N, D]`.

        Rows that have been renumbered since started with the values of the
        numbers that they had then, `first_rows`.
        """
        numbers = np.arange(last)
        if self.first_rows is not None:
            known = self.first_rows[:last]
            numbers[: len(known)] = known
        numbers = numbers[first:]
        end = int(numbers.max(initial=-1)) + 1
        values = _ByRow(self.seed, self.name)([end, self.dim])
        return values.numpy()[numbers]

    def call(self, rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the embeddings of features by name.

        Args:
          rows: name -> int32 `[B]` rows, or `[B, T]` with -1 for padding.

        Returns:
          Name -> float `[B, D]` or `[B, T, D]`.
        """
        numbers = self.numbers(rows)
        known = tf.logical_and(numbers >= 0, numbers < self.vocab_size)
        vectors = read_rows(self.embeddings, tf.where(known, numbers, 0))
        return self.features(vectors, rows)

    def numbers(self, rows: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return the rows of all features one after the other, int32 `[N]`.

        Unknown ids have the row of their bucket, if the table was told it.
        """
        flat = [tf.reshape(rows[name], [-1]) for name in sorted(rows)]
        numbers = tf.concat(flat, axis=0) if len(flat) > 1 else flat[0]
        if self.unknown_rows is None:
            return numbers
        place = tf.clip_by_value(numbers, 0, tf.size(self.unknown_rows) - 1)
        bucket = tf.gather(self.unknown_rows, place)
        return tf.where(numbers < self.vocab_size, numbers, bucket)

    def features(
        self, vectors: tf.Tensor, rows: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Return what `call` does, given the vectors `[N, D]` of `numbers`."""
        names = sorted(rows)
        parts = [vectors]
        if len(names) > 1:
            parts = tf.split(vectors, [tf.size(rows[name]) for name in names])
        return {
            name: self._shaped(part, rows[name])
            for name, part in zip(names, parts, strict=True)
        }

    def _shaped(self, vectors: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Return the vectors of one feature in its shape, padding as zeros."""
        if rows.shape.rank == 1:
            return tf.ensure_shape(vectors, [rows.shape[0], self.dim])
        shape = tf.concat([tf.shape(rows), [self.dim]], axis=0)
        vectors = tf.reshape(vectors, shape)
        vectors = tf.ensure_shape(vectors, [*rows.shape, self.dim])
        return vectors * tf.cast(rows >= 0, vectors.dtype)[..., tf.newaxis]

    def get_config(self) -> dict[str, typing.Any]:
        """Return the arguments of the layer; weights hold the rows known."""
        return {
            **super().get_config(),
            "capacity": self.capacity,
            "dim": self.dim,
            "vocab_size": self._initial_vocab_size,
            "seed": self.seed,
        }


def read_rows(table: tf.Variable, numbers: tf.Tensor) -> tf.Tensor:
    """Return rows of a table, which may lie on several parameter servers.

    Args:
      table: `[V, D]`.
      numbers: int32 `[N]` or `[N, K]`, rows of it.

    Returns:
      `[N, D]` or `[N, K, D]`.
    """
    if getattr(table, "is_sharded_variable", False):
        # `tf.gather` would fetch all rows of all servers first.
        return tf.nn.embedding_lookup(table, numbers)
    return tf.gather(table, numbers)


class _ByRow(keras.initializers.Initializer):
    """Uniform values in [-0.05, 0.05) that a longer table repeats.

    Args:
      seed: the seed of the model.
      name: the name of the table.
    """

    def __init__(self, seed: int, name: str):
        self._seed = [seed, zlib.crc32(name.encode())]

    def __call__(
        self,
        shape: Sequence[int],
        dtype: tf.DType | None = None,
        **kwargs: typing.Any,
    ) -> tf.Tensor:
        """Return float `[V, D]`, or a part of it for a sharded table."""
        offset = kwargs.get("partition_offset", [0, 0])[0]
        rows, dim = kwargs.get("partition_shape", shape)
        # The values of stateless numbers come in the order of their places.
        values = tf.random.stateless_uniform(
            [offset + rows, dim], self._seed, -0.05, 0.05, dtype or tf.float32
        )
        return values[offset:]
