"""Embedding tables that grow, read by one gather for all features of a table.

Shapes: B batch, T entries of a sequence, D embedding width, V rows.
"""

import tensorflow as tf
import tf_keras as keras


class TableEmbedding(keras.layers.Layer):
    """Look up the features of one table.

    The table has room for `capacity` rows, of which the first `vocab_size` are
    known. A larger row number is an id that came up after the model was
    trained; it reads row 0, that of unknown ids. Negative rows are padding and
    give zeros.

    Args:
      capacity: V, rows of the table.
      dim: D, width of a row.
      vocab_size: rows known, at most `capacity`; see `set_vocab_size`.
    """

    def __init__(self, capacity: int, dim: int, vocab_size: int, **kwargs):
        """Check the sizes and keep them."""
        super().__init__(**kwargs)
        if not 1 <= vocab_size <= capacity:
            raise ValueError(
                "`vocab_size` should be between 1 and `capacity`. Received: "
                f"vocab_size={vocab_size}, capacity={capacity}"
            )
        self.capacity = capacity
        self.dim = dim
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
          rows: name -> int32 `[B]` or `[B, T]` rows; -1 is padding.

        Returns:
          Name -> float `[B, D]` or `[B, T, D]`.
        """
        names = sorted(rows)
        flat = tf.concat([tf.reshape(rows[n], [-1]) for n in names], axis=0)
        known = tf.where(flat < self.vocab_size, flat, 0)
        vectors = tf.gather(self.embeddings, tf.maximum(known, 0))
        vectors *= tf.cast(flat >= 0, vectors.dtype)[:, tf.newaxis]
        sizes = [tf.size(rows[name]) for name in names]
        parts = tf.split(vectors, sizes)
        embedded = {}
        for name, part in zip(names, parts, strict=True):
            shape = tf.concat([tf.shape(rows[name]), [self.dim]], axis=0)
            part = tf.reshape(part, shape)
            part.set_shape([*rows[name].shape, self.dim])
            embedded[name] = part
        return embedded
