"""Embeddings of all ids and sequences of a row, table by table.

Shapes: B batch, T entries of a sequence, D embedding width.
"""

import typing

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.kernels import row_updates
from ecdctr_tf.layers.table_embedding import TableEmbedding


@keras.saving.register_keras_serializable("ecdctr_tf")
class FeatureEmbedding(keras.layers.Layer):
    """Look up every feature that lives on a table.

    Args:
      tables: feature name -> table name.
      table_rows: table name -> rows known.
      dim: D.
      capacities: table name -> rows there is room for; others get `capacity`.
      seed: of the values that rows start with.
      **kwargs: what Keras' layers take.

    Example:
      >>> user, item = (keras.Input([], dtype="int32") for _ in range(2))
      >>> clicked = keras.Input([3], dtype="int32")
      >>> embedded = ecdctr_tf.FeatureEmbedding(
      ...     tables={"user": "user", "item": "item", "clicked": "item"},
      ...     table_rows={"user": 1000, "item": 50},
      ...     dim=4,
      ... )({"user": user, "item": item, "clicked": clicked})
      >>> interest = ecdctr_tf.TargetAttention()(
      ...     embedded["item"], embedded["clicked"], clicked >= 0
      ... )
      >>> x = keras.layers.Concatenate()([embedded["user"], interest])
      >>> click = keras.layers.Dense(1, activation="sigmoid")(x)
      >>> model = keras.Model([user, item, clicked], click)
      >>> rows = [np.array([7]), np.array([3]), np.array([[1, 2, -1]])]
      >>> model.predict(rows, verbose=0).shape
      (1, 1)
    """

    def __init__(
        self,
        tables: dict[str, str],
        table_rows: dict[str, int],
        dim: int,
        capacities: dict[str, int] | None = None,
        seed: int = 0,
        **kwargs: typing.Any,
    ):
        """Make a table with some room to grow for each name."""
        super().__init__(**kwargs)
        self._arguments = {
            "tables": dict(tables),
            "table_rows": dict(table_rows),
            "dim": dim,
            "capacities": dict(capacities or {}),
            "seed": seed,
        }
        self._of_table = {
            table: sorted(f for f, t in tables.items() if t == table)
            for table in sorted(set(tables.values()))
        }
        room = {n: capacity(table_rows[n]) for n in self._of_table}
        room.update(capacities or {})
        self.tables = {
            name: TableEmbedding(
                room[name], dim, table_rows[name], seed, name=name
            )
            for name in self._of_table
        }

    @property
    def capacities(self) -> dict[str, int]:
        """Rows there is room for, by table name."""
        return {name: table.capacity for name, table in self.tables.items()}

    @property
    def table_of(self) -> dict[str, str]:
        """The name of the table in which each column is looked up."""
        return {
            name: table
            for table, names in self._of_table.items()
            for name in names
        }

    def grow(self, table_rows: dict[str, int]) -> bool:
        """Let the tables know more rows; return whether all had room.

        Args:
          table_rows: table name -> rows. Fewer than a table knows change
            nothing: ids that are known stay known.
        """
        if any(table_rows[n] > t.capacity for n, t in self.tables.items()):
            return False
        for name, table in self.tables.items():
            known = int(table.vocab_size.numpy())
            table.set_vocab_size(max(table_rows[name], known))
        return True

    def call(
        self, inputs: dict[str, tf.Tensor], training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Return feature name -> `[B, D]` (id) or `[B, T, D]` (sequence).

        Args:
          inputs: name -> int32 `[B]` or `[B, T]` rows; -1 is padding. Names
            that are on no table are passed over.
          training: whether the compiled lookup may be used, which an exported
            model must not hold.
        """
        rows = {
            table: {name: inputs[name] for name in names}
            for table, names in self._of_table.items()
        }
        tables = [self.tables[name] for name in rows]
        of_tables = list(zip(tables, rows.values(), strict=True))
        if training and all(row_updates.usable(t.embeddings) for t in tables):
            vectors = row_updates.lookup(
                [t.embeddings for t in tables],
                [t.numbers(r) for t, r in of_tables],
                [t.vocab_size for t in tables],
            )
            parts = [
                table.features(read, of_table)
                for read, (table, of_table) in zip(
                    vectors, of_tables, strict=True
                )
            ]
        else:
            parts = [table(of_table) for table, of_table in of_tables]
        return {name: vector for part in parts for name, vector in part.items()}

    def get_config(self) -> dict[str, typing.Any]:
        """Return the arguments of the layer; weights hold the rows known."""
        return {**super().get_config(), **self._arguments}


def capacity(rows: int) -> int:
    """Return room for one row more at least and a quarter more (8) at most.

    A table that grows a little every day is then rebuilt rarely.
    """
    step = max(1 << max(rows.bit_length() - 3, 0), 8)
    return -(-(rows + 1) // step) * step
