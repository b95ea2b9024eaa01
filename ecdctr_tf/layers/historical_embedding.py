"""Historical embeddings: frozen TPM vectors, looked up as of a row's day.

This is the lookup layer that CPM and A-CTR share. Its vectors come from a
pre-trained-parameter checkpoint (`transfer.historical`) and are never trained.

Shapes: B batch, D embedding width, V table rows, S dated versions, K slots.
"""

import typing

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.layers.table_embedding import read_rows


class HistoricalTable(tf.Module):
    """Dated versions of the frozen vectors of one table.

    Args:
      vectors: float `[S, V, D]`, oldest version first.
      present: bool `[S, V]`, whether the version knows the id of the row.
      visible_from: int `[S]`, the first day (days since 1970-01-01) whose rows
        may see the version: the day after its window. Rising.
      name: of the module.
      fixed: whether there will always be as many versions and rows, as there
        have to be on a parameter server.

    Example:
      >>> table = ecdctr_tf.HistoricalTable(
      ...     vectors=[[[0.0], [1.0]], [[0.0], [2.0]]],
      ...     present=[[False, True], [False, True]],
      ...     visible_from=[100, 130],
      ... )
      >>> rows, days = tf.constant([1, 1, 0]), tf.constant([129, 130, 130])
      >>> vectors, found = table.lookup(rows, days, slots=1)
      >>> vectors[:, 0, 0].numpy().tolist()
      [1.0, 2.0, 0.0]
      >>> found[:, 0].numpy().tolist()
      [True, True, False]
    """

    def __init__(
        self,
        vectors: npt.ArrayLike,
        present: npt.ArrayLike,
        visible_from: npt.ArrayLike,
        name: str | None = None,
        fixed: bool = False,
    ):
        """Check the shapes and freeze the arrays."""
        super().__init__(name=name)
        vectors = np.asarray(vectors, np.float32)
        present = np.asarray(present, np.bool_)
        if (
            vectors.ndim != 3
            or present.shape != vectors.shape[:2]
            or np.shape(visible_from) != vectors.shape[:1]
        ):
            raise ValueError(
                "`vectors`, `present` and `visible_from` should have the "
                "shapes [S, V, D], [S, V] and [S]. Received: "
                f"{vectors.shape}, {present.shape} and {np.shape(visible_from)}"
            )
        self.dim = vectors.shape[2]
        if np.any(np.diff(visible_from) <= 0):
            raise ValueError(
                "`visible_from` should increase from version to version. "
                f"Received: {np.asarray(visible_from).tolist()}"
            )
        # Ids without a vector read zeros, whatever the version holds for them.
        vectors = np.where(present[:, :, np.newaxis], vectors, 0)
        self.vectors = _frozen(vectors.reshape(-1, self.dim), fixed)
        self.present = _frozen(present.astype(np.bool_).reshape(-1), fixed)
        self.visible_from = _frozen(np.asarray(visible_from, np.int32), fixed)

    @property
    def versions(self) -> int:
        """S, the number of versions."""
        return len(self.visible_from.numpy())

    @property
    def rows(self) -> int:
        """V, the rows of a version."""
        return len(self.present.numpy()) // max(self.versions, 1)

    def known(self, day: int, slots: int) -> npt.NDArray[np.bool_]:
        """Return which rows of the table have a vector that a day may see.

        Args:
          day: days since 1970-01-01.
          slots: K, versions a row gets, newest first.

        Returns:
          bool `[V]`.
        """
        seen = np.searchsorted(self.visible_from.numpy(), day, side="right")
        present = self.present.numpy().reshape(self.versions, self.rows)
        return present[max(seen - slots, 0) : seen].any(axis=0)

    def assign(self, other: "HistoricalTable") -> None:
        """Take over the versions of another table of the same width."""
        for mine, theirs in (
            (self.vectors, other.vectors),
            (self.present, other.present),
            (self.visible_from, other.visible_from),
        ):
            mine.assign(theirs)

    def clear(self) -> None:
        """Forget all vectors, as when the service that holds them fails."""
        self.present.assign(tf.zeros_like(self.present))

    def lookup(
        self, rows: tf.Tensor, days: tf.Tensor, slots: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the newest versions that rows of these days may see.

        Args:
          rows: int32 `[B]` rows of the table.
          days: int32 `[B]`, days since 1970-01-01.
          slots: K, versions a row gets, newest first.

        Returns:
          float32 `[B, K, D]` vectors, zero where there is none, and bool
          `[B, K]` whether there is one.
        """
        size = tf.size(self.present) // tf.size(self.visible_from)  # V
        seen = tf.searchsorted(self.visible_from, days, side="right")  # [B]
        version = seen[:, tf.newaxis] - 1 - tf.range(slots)  # [B, K]
        known = tf.logical_and(rows >= 0, rows < size)[:, tf.newaxis]
        valid = tf.logical_and(version >= 0, known)  # [B, K]
        place = version * size + rows[:, tf.newaxis]  # [B, K]
        place = tf.where(valid, place, 0)
        found = tf.logical_and(valid, tf.gather(self.present, place))
        vectors = read_rows(self.vectors, place)  # [B, K, D]
        mask = tf.cast(found, vectors.dtype)[:, :, tf.newaxis]
        return vectors * mask, found


def _frozen(values: np.ndarray, fixed: bool) -> tf.Variable:
    # Of any length, so that newer versions can be taken over in place.
    shape = values.shape if fixed else [None, *values.shape[1:]]
    return tf.Variable(values, trainable=False, shape=shape)


@keras.saving.register_keras_serializable("ecdctr_tf")
class HistoricalEmbedding(keras.layers.Layer):
    """Turn the dated vectors of an id into one input of the network.

    Args:
      mode: "single" (the newest version only: the versions were aggregated
        offline), "concat" (K newest side by side), "attention" (their
        average, weighted by a learned score of vector and age) or
        "self_attention" (the mean of what self-attention makes of them).
      slots: K.
      table: the frozen vectors that `call` reads where it is given no others.
        They are saved with the layer.
      **kwargs: what Keras' layers take.

    Example:
      >>> table = ecdctr_tf.HistoricalTable(
      ...     vectors=[[[0.0, 0.0], [1.0, -1.0]]],
      ...     present=[[False, True]],
      ...     visible_from=[19_700],
      ... )
      >>> recall = ecdctr_tf.HistoricalEmbedding("single", 1, table)
      >>> user, day = (keras.Input([], dtype="int32") for _ in range(2))
      >>> vector, known = recall(user, day)
      >>> x = keras.layers.Concatenate()([vector, known])
      >>> model = keras.Model([user, day], x)
      >>> users, days = np.array([1, 1, 0]), np.array([19_699, 19_700, 19_700])
      >>> model.predict([users, days], verbose=0).tolist()
      [[0.0, 0.0, 0.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0]]

    Reference: self-attention over the newest snapshots: E-CDCTR
    (arXiv 2408.16238).
    """

    MODES = ("single", "concat", "attention", "self_attention")

    def __init__(
        self,
        mode: str,
        slots: int,
        table: HistoricalTable | None = None,
        **kwargs: typing.Any,
    ):
        """Check the mode and keep it."""
        super().__init__(**kwargs)
        if mode not in self.MODES:
            raise ValueError(
                f"`mode` should be one of {', '.join(self.MODES)}. "
                f"Received: {mode!r}"
            )
        self.mode = mode
        self.slots = 1 if mode == "single" else slots
        self.table = table
        if table is not None:
            # Keras saves the variables of a layer, not those of its modules.
            self._frozen = list(table.variables)
        if mode == "attention":
            self.scorer = keras.layers.Dense(1, name="scorer")
            self.age_bias = self.add_weight(
                "age_bias", [self.slots], initializer="zeros"
            )
        elif mode == "self_attention":
            self.self_attention = SnapshotSelfAttention()

    def call(
        self,
        rows: tf.Tensor,
        days: tf.Tensor,
        table: HistoricalTable | None = None,
        dropped: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return historical vectors and flags.

        Args:
          rows: int32 `[B]` rows of the table.
          days: int32 `[B]`, days since 1970-01-01.
          table: the frozen vectors; None for those of the layer.
          dropped: bool `[B]`, batch rows that read no history; None for none.

        Returns:
          float32 `[B, D]` (`[B, K * D]` for "concat"), zeros without history,
          and float32 `[B, 1]`: 1 where there is history, else 0.

        Raises:
          ValueError: neither `call` nor the layer was given a table.
        """
        table = table or self.table
        if table is None:
            raise ValueError(
                "`table` should be given to the layer or to its call. "
                "Received: None"
            )
        vectors, found = table.lookup(rows, days, self.slots)
        if dropped is not None:
            found = tf.logical_and(found, ~dropped[:, tf.newaxis])
            mask = tf.cast(~dropped, vectors.dtype)
            vectors *= mask[:, tf.newaxis, tf.newaxis]
        flag = tf.cast(tf.reduce_any(found, axis=1, keepdims=True), tf.float32)
        if self.mode == "attention":
            scores = tf.squeeze(self.scorer(vectors), axis=2) + self.age_bias
            scores = tf.where(found, scores, scores.dtype.min)  # [B, K]
            weights = tf.nn.softmax(scores)[:, :, tf.newaxis]
            return tf.reduce_sum(weights * vectors, axis=1), flag
        if self.mode == "self_attention":
            return self.self_attention(vectors, found), flag
        shape = [-1, self.slots * table.dim]
        return tf.reshape(vectors, shape), flag

    def get_config(self) -> dict[str, typing.Any]:
        """Return the arguments of the layer, of its table only the sizes."""
        table = self.table
        return {
            **super().get_config(),
            "mode": self.mode,
            "slots": self.slots,
            "table": table and [table.versions, table.rows, table.dim],
        }

    @classmethod
    def from_config(
        cls, config: dict[str, typing.Any]
    ) -> "HistoricalEmbedding":
        """Return a layer whose table is empty until weights are loaded."""
        config = dict(config)
        if config["table"]:
            versions, rows, dim = config["table"]
            config["table"] = HistoricalTable(
                np.zeros([versions, rows, dim]),
                np.zeros([versions, rows]),
                np.arange(versions),
            )
        return cls(**config)


class SnapshotSelfAttention(keras.layers.Layer):
    """Combine an id's snapshots by self-attention, then their mean.

    `mean_k softmax_j(q_k . k_j / sqrt(D)) v_j` over the snapshots that know the
    id. Values start as the vectors themselves and queries and keys small, so
    that training starts from the mean of the snapshots.

    Reference: E-CDCTR (arXiv 2408.16238).
    """

    def build(self, input_shape: tf.TensorShape) -> None:
        """Make the projections, `[D, D]` each."""
        dim = input_shape[-1]
        for name, initializer in (
            ("query", "glorot_uniform"),
            ("key", "glorot_uniform"),
            ("value", "identity"),
        ):
            weight = self.add_weight(name, [dim, dim], initializer=initializer)
            setattr(self, name, weight)

    def call(self, vectors: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        """Return float32 `[B, D]`, zeros where no snapshot knows the id.

        Args:
          vectors: float32 `[B, K, D]`.
          found: bool `[B, K]`, whether the snapshot knows the id.
        """
        query = tf.matmul(vectors, self.query)  # [B, K, D]
        key = tf.matmul(vectors, self.key)  # [B, K, D]
        value = tf.matmul(vectors, self.value)  # [B, K, D]
        scale = tf.math.rsqrt(tf.cast(tf.shape(vectors)[-1], vectors.dtype))
        scores = tf.matmul(query, key, transpose_b=True) * scale  # [B, K, K]
        scores = tf.where(found[:, tf.newaxis, :], scores, scores.dtype.min)
        read = tf.matmul(tf.nn.softmax(scores), value)  # [B, K, D]
        known = tf.cast(found, vectors.dtype)[:, :, tf.newaxis]  # [B, K, 1]
        total = tf.reduce_sum(read * known, axis=1)  # [B, D]
        return tf.math.divide_no_nan(total, tf.reduce_sum(known, axis=1))
