"""What every kind of feature has to say about its values.

Shapes: N rows of a file or requests, B rows of a batch, T entries of a sequence
that a model reads, L places of a sequence in a request, D embedding width.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from ecdctr_tf import config as configs
from ecdctr_tf import features
from ecdctr_tf.deferred import keras, tf

# Columns by name.
Arrays = Mapping[str, np.ndarray]
Tensors: TypeAlias = "Mapping[str, tf.Tensor]"
# The name of a table and raw ids -> their rows, int32; new ids get rows.
Numbering = Callable[[str, pa.Array], np.ndarray]
# Layers by name.
Layers: TypeAlias = "Mapping[str, keras.layers.Layer]"


@dataclasses.dataclass(frozen=True)
class Column:
    """The type of a column of batches or requests."""

    # "int32", "int64", "float32" or "string".
    dtype: str
    # Of the value of a row; None: any size.
    shape: tuple[int | None, ...] = ()

    def tensor(self, name: str | None = None) -> tf.TensorSpec:
        """Return the type of the tensor, whose first dimension is the rows."""
        return tf.TensorSpec([None, *self.shape], self.dtype, name)


class Feature:
    """A feature of a data set; a subclass is a kind of features.

    The methods follow a value from the log over files and batches to the logit,
    then from a client's request to the logit. Every mapping is from the name of
    a column, of which a feature may have several: the first is called as the
    feature, others `<name>/<part>`, which no feature can be called, or
    `<name>_<part>` in requests. What is implemented here fits columns with one
    value a row.

    Args:
      feature: the feature.
      data: the spec that the feature is part of.
    """

    # Whether a value is one row of a table. Such features may say who saw what;
    # the basic ones are multiplied with each other and have history.
    one_row = False
    # Whether `convert` can read the feature from a column of a log.
    in_logs = False
    # Whether clients fill unused places with the `padding` of the table.
    padded = False
    # Whether a layer of the feature scales its inputs, which batch norm then
    # leaves as they are.
    scaled = False

    def __init__(self, feature: features.FeatureSpec, data: features.DataSpec):
        self.feature = feature
        self.data = data

    @property
    def name(self) -> str:
        """The name of the feature, which its first column has too."""
        return self.feature.name

    @property
    def table(self) -> features.TableSpec:
        """The table that the ids of the feature belong to."""
        return self.data.table(self.feature.table)

    @property
    def of_candidate(self) -> bool:
        """Whether each ad of a request has its own; else it is the user's."""
        return self.feature.side == "item" or self.name == self.data.item

    # Logs to rows.

    def log_type(self) -> pa.DataType:
        """Return the type that the column of a log is cast to."""
        raise NotImplementedError

    def encode(self, raw: pa.Array, number: Numbering) -> dict[str, np.ndarray]:
        """Return the columns of a batch, given the values of a log.

        Args:
          raw: the values, of type `log_type`.
          number: gives ids the rows of their table.
        """
        raise NotImplementedError

    def missing(self, number: Numbering) -> dict[str, np.ndarray]:
        """Return the columns of one row in which the feature is missing.

        Args:
          number: as for `encode`.
        """
        dtype = self.log_type()
        if pa.types.is_floating(dtype):
            return self.encode(pa.array([math.nan], dtype), number)
        return self.encode(pa.nulls(1, dtype), number)

    # Batches and files.

    def columns(self) -> dict[str, Column]:
        """Return the columns of a batch."""
        raise NotImplementedError

    def block_types(self) -> dict[str, type[np.generic]]:
        """Return the columns of a block, with the NumPy types of numbers."""
        return {n: np.dtype(c.dtype).type for n, c in self.columns().items()}

    def to_block(self, rows: Arrays) -> dict[str, np.ndarray]:
        """Return the columns of `block_types` of rows as batches hold them."""
        return {name: rows[name] for name in self.columns()}

    def from_block(self, block: Tensors) -> dict[str, tf.Tensor]:
        """Return the columns of a batch, given those of a block, each flat."""
        return {name: block[name] for name in self.columns()}

    def example_features(self, raw: bool) -> dict:
        """Return what `tf.io.parse_example` has to look for.

        Args:
          raw: whether ids are raw, as clients send them; else they are int64
            rows of their table, as files hold them.
        """
        raise NotImplementedError

    def example_values(self, columns: Arrays, raw: bool) -> dict[str, Sequence]:
        """Return the values of each column of `example_features`, row by row.

        A value is a list; None leaves the column out of the row.

        Args:
          columns: as batches hold them, or those of `request`.
          raw: as for `example_features`.
        """
        del raw
        own = {name: np.asarray(columns[name]) for name in self.columns()}
        # A size of -1 would be ambiguous where there are no rows.
        return {
            name: column.reshape(
                len(column), math.prod(column.shape[1:])
            ).tolist()
            for name, column in own.items()
        }

    def from_examples(self, parsed: Tensors) -> dict[str, tf.Tensor]:
        """Return the columns of a batch, given the parsed columns of a file."""
        return {
            name: tf.cast(parsed[name], column.dtype)
            for name, column in self.columns().items()
        }

    # The network.

    def id_columns(self) -> dict[str, str]:
        """Return the columns of files that hold table rows, with the table."""
        return {}

    def tables(self, config: configs.ModelConfig) -> dict[str, str]:
        """Return the columns of a batch that are embedded, with their table."""
        del config
        return self.id_columns()

    def layers(
        self, config: configs.ModelConfig
    ) -> dict[str, keras.layers.Layer]:
        """Return the layers of this feature alone, by the names they keep.

        Raises:
          ValueError: the spec lacks what the layers would read.
        """
        del config
        return {}

    def compared(self) -> tuple[str, ...]:
        """Return the names of other features that its layers compare it with.

        The user and the item, which stay what they are, are left out.
        """
        return ()

    def inputs(
        self,
        batch: Tensors,
        embedded: Tensors,
        layers: Layers,
    ) -> list[tf.Tensor]:
        """Return what the network reads of the feature, each float `[B, ...]`.

        Args:
          batch: the columns of a batch.
          embedded: the embeddings of the columns that are on a table.
          layers: layers by name, those of `layers` among them.
        """
        raise NotImplementedError

    def lacks(self, layers: Layers, rows: int = 0) -> bool:
        """Return whether `adapt` should be given more rows.

        Args:
          layers: those of the model.
          rows: how many rows the model has been trained on.
        """
        del layers, rows
        return False

    def unseen(self, layers: Layers) -> bool:
        """Return whether the layers have never seen values that differ."""
        del layers
        return False

    def adapt(self, columns: Arrays, layers: Layers) -> None:
        """Give the layers the statistics that they lack, from rows.

        Args:
          columns: as batches hold them, of rows that may be learned from.
          layers: layers by name, those of `layers` among them.
        """
        del columns, layers

    # Requests.

    def request(self) -> dict[str, Column]:
        """Return the raw columns that a client sends."""
        raise NotImplementedError

    def left_out(self) -> dict[str, float | int | str]:
        """Return the columns of `request` that a client may leave out.

        Returns:
          Column -> the value that then stands in each row, or each place.
        """
        return {}

    def request_of_examples(self, parsed: Tensors) -> dict[str, tf.Tensor]:
        """Return the columns of `request`, given parsed raw Examples."""
        return {name: parsed[name] for name in self.request()}

    def from_request(
        self, raw: Tensors, mappings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """Return the columns of a batch, in the served graph.

        Args:
          raw: the columns of `request`.
          mappings: table name -> its `export.id_mapping.IdMapping`.
        """
        raise NotImplementedError

    def made_up(
        self,
        random: np.random.Generator,
        ids: Arrays,
        count: int,
    ) -> dict[str, np.ndarray]:
        """Return raw columns of `count` requests to try an export with.

        Args:
          random: what to draw from.
          ids: table name -> some raw ids, known and unknown ones.
          count: N.
        """
        raise NotImplementedError

    def looked_up(
        self, raw: Arrays, spaces: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the columns of a batch without the served graph.

        `from_request` is compared with this, so the two share nothing.

        Args:
          raw: the columns of `request`.
          spaces: table name -> its `input.id_space.IdSpace`.
        """
        raise NotImplementedError

    # Diagnostics.

    def measured(self, columns: Arrays) -> np.ndarray:
        """Return what tells whether the values of a day are as ever.

        Args:
          columns: as batches hold them.

        Returns:
          `[N]`: ids as whole numbers, anything else as float32, NaN where it
          is missing.
        """
        return columns[self.name]

    def codes(self, columns: Arrays, train: np.ndarray) -> np.ndarray:
        """Return a whole number for each row that tells its value from others.

        Args:
          columns: as batches hold them.
          train: bool `[N]`, the rows that what depends on data is taken of.

        Returns:
          int `[N]`.
        """
        raise NotImplementedError
