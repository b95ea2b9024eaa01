"""Embedding tables that grow, read by one gather for all features of a table.

Shapes: B batch, T entries of a sequence, D embedding width, V rows.
"""

import typing

import tensorflow as tf
import tf_keras as keras


@keras.saving.register_keras_serializable("ecdctr_tf")
class TableEmbedding(keras.layers.Layer):
    """Look up the features of one table.

    The table has room for `capacity` rows, of which the first `vocab_size` are
    known. A larger row number is an id that came up after the model was
    trained; it reads row 0, that of unknown ids. Negative rows in a sequence
    are padding and give zeros.

    Args:
      capacity: V, rows of the table.
      dim: D, width of a row.
      vocab_size: rows known, at most `capacity`; see `set_vocab_size`.
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
        self, capacity: int, dim: int, vocab_size: int, **kwargs: typing.Any
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
        self._initial_vocab_size = vocab_size
        self.embeddings = self.add_weight(
            "embeddings",
            [capacity, dim],
            initializer=keras.initializers.RandomUniform(-0.05, 0.05),
        )
        self.vocab_size = self.add_weight(
            "vocab_size",
            [],
            dtype=tf.int32,
            initializer=keras.initializers.Constant(vocab_size),
            trainable=False,
        )

    def set_vocab_size(self, rows: int) -> None:
        """Let the table know `rows` rows.

        Raises:
          ValueError: the table has no room for them.
        """
        if rows > self.capacity:
            raise ValueError(
                f"{self.name} has room for {self.capacity} rows. "
                f"Received: {rows}. Build a larger model and restore into it."
            )
        self.vocab_size.assign(rows)

    def call(self, rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the embeddings of features by name.

        Args:
          rows: name -> int32 `[B]` rows, or `[B, T]` with -1 for padding.

        Returns:
          Name -> float `[B, D]` or `[B, T, D]`.
        """
        numbers = self.numbers(rows)
        known = tf.logical_and(numbers >= 0, numbers < self.vocab_size)
        vectors = tf.gather(self.embeddings, tf.where(known, numbers, 0))
        return self.features(vectors, rows)

    def numbers(self, rows: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return the rows of all features one after the other, int32 `[N]`."""
        flat = [tf.reshape(rows[name], [-1]) for name in sorted(rows)]
        return tf.concat(flat, axis=0) if len(flat) > 1 else flat[0]

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
        }
