"""Lists: any number of entries a row, each an id and what else it has.

Shapes: N rows, B rows of a batch, T entries that a model reads, L places of a
request.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ecdctr_tf import features
from ecdctr_tf.deferred import tf
from ecdctr_tf.features import PADDING
from ecdctr_tf.kinds.feature import Arrays, Column, Feature, Numbering, Tensors
from ecdctr_tf.kinds.id import id_type

_LENGTH = "/length"
# Name of the ids in the Arrow structs of entries that have parts.
ID = "id"


@dataclasses.dataclass(frozen=True)
class Part:
    """What each entry of a list has beside its id."""

    # "weight", for the columns `<feature>/weight` and `<feature>_weight`.
    name: str
    # Stands for the part where a log or a request does not say it.
    unsaid: float | int | str
    # The table of a part that is an id; None: a number.
    table: features.TableSpec | None = None

    @property
    def dtype(self) -> str:
        """Type of a raw value."""
        return self.table.dtype if self.table else "float32"

    @property
    def arrow_type(self) -> pa.DataType:
        """Type of a raw value."""
        return id_type(self.table) if self.table else pa.float32()

    @property
    def fill(self) -> float | int:
        """What stands behind the entries of a row of a batch."""
        return PADDING if self.table else 0.0


class Listed(Feature):
    """Up to T entries a row: int32 `[B, T]`, padded behind the entries.

    A part of the entries is a column `<name>/<part>` beside it, int32 or
    float32 `[B, T]`. A block holds the entries of all rows one after the other,
    and `<name>/length`, their number in each row. An Example without the list
    has no entries.
    """

    padded = True
    in_logs = True
    # Whether the last entries of a list that is too long are kept; else the
    # first ones.
    keeps_last = False

    def parts(self) -> tuple[Part, ...]:
        """Return what each entry has beside its id."""
        return ()

    def column(self, part: Part) -> str:
        """Return the name of a part in files and batches."""
        return f"{self.name}/{part.name}"

    def sent(self, part: Part) -> str:
        """Return the name of a part in requests."""
        return f"{self.name}_{part.name}"

    def log_type(self) -> pa.DataType:
        """Return lists of ids, or of structs where the entries have parts."""
        of_id = id_type(self.table)
        if not self.parts():
            return pa.list_(of_id)
        fields = [(part.name, part.arrow_type) for part in self.parts()]
        return pa.list_(pa.struct([(ID, of_id), *fields]))

    def encode(self, raw: pa.Array, number: Numbering) -> dict[str, np.ndarray]:
        """Return the rows of the ids, and the parts."""
        lengths = raw.value_lengths().fill_null(0).to_numpy()
        entries = raw.flatten()
        ids = entries.field(ID) if self.parts() else entries
        flat = {self.name: number(self.table.name, ids)}
        for part in self.parts():
            values = entries.field(part.name)
            flat[self.column(part)] = (
                number(part.table.name, values)
                if part.table
                else values.to_numpy(zero_copy_only=False)
            )
        fills = self._fills()
        used = np.arange(self.feature.max_length) < lengths[:, np.newaxis]
        columns = {}
        for name, values in flat.items():
            columns[name] = np.full(used.shape, fills[name], values.dtype)
            columns[name][used] = values
        return columns

    def columns(self) -> dict[str, Column]:
        """Return the rows of the entries, and their parts."""
        shape = (self.feature.max_length,)
        columns = {self.name: Column("int32", shape)}
        for part in self.parts():
            dtype = "int32" if part.table else "float32"
            columns[self.column(part)] = Column(dtype, shape)
        return columns

    def block_types(self) -> dict[str, type[np.generic]]:
        """Return the types of entries, parts and lengths."""
        return {**super().block_types(), self.name + _LENGTH: np.uint16}

    def to_block(self, rows: Arrays) -> dict[str, np.ndarray]:
        """Return the entries that are there, their parts and their number."""
        used = np.asarray(rows[self.name]) != PADDING
        flat = {name: np.asarray(rows[name])[used] for name in self.columns()}
        return {**flat, self.name + _LENGTH: used.sum(1)}

    def from_block(self, block: Tensors) -> dict[str, tf.Tensor]:
        """Return the padded rows."""
        lengths = tf.cast(block[self.name + _LENGTH], tf.int32)
        return self._padded({n: block[n] for n in self.columns()}, lengths)

    def example_features(self, raw: bool) -> dict:
        """Return any number of entries."""
        dtype = tf.as_dtype(self.table.dtype) if raw else tf.int64
        wanted = {self.name: tf.io.RaggedFeature(dtype)}
        for part in self.parts():
            if raw:
                dtype = tf.as_dtype(part.dtype)
                wanted[self.sent(part)] = tf.io.RaggedFeature(dtype)
            else:
                dtype = tf.int64 if part.table else tf.float32
                wanted[self.column(part)] = tf.io.RaggedFeature(dtype)
        return wanted

    def example_values(self, columns: Arrays, raw: bool) -> dict:
        """Return the entries that are there, and their parts."""
        unused = self.table.padding if raw else PADDING
        used = np.asarray(columns[self.name]) != unused
        return {
            name: [
                values[there].tolist()
                for values, there in zip(
                    np.asarray(columns[name]), used, strict=True
                )
            ]
            for name in self.example_features(raw)
        }

    def from_examples(self, parsed: Tensors) -> dict[str, tf.Tensor]:
        """Return the padded rows."""
        lengths = tf.cast(parsed[self.name].row_lengths(), tf.int32)
        flat = {
            name: tf.cast(parsed[name].values, column.dtype)
            for name, column in self.columns().items()
        }
        return self._padded(flat, lengths)

    def id_columns(self) -> dict[str, str]:
        """Return the tables of the ids and of the parts that are ids."""
        of_parts = {
            self.column(part): part.table.name
            for part in self.parts()
            if part.table
        }
        return {self.name: self.table.name, **of_parts}

    def request(self) -> dict[str, Column]:
        """Return raw ids with unused places anywhere, `[B, L]`, and parts."""
        columns = {self.name: self.table.dtype}
        columns |= {self.sent(part): part.dtype for part in self.parts()}
        return {n: Column(dtype, (None,)) for n, dtype in columns.items()}

    def left_out(self) -> dict[str, float | int | str]:
        """Return what stands in the unused places of a request."""
        unsaid = {self.sent(part): part.unsaid for part in self.parts()}
        return {self.name: self.table.padding, **unsaid}

    def request_of_examples(self, parsed: Tensors) -> dict[str, tf.Tensor]:
        """Return the columns with unused places behind the entries.

        A row that says a part of its entries has to say it of all.
        """
        lengths = parsed[self.name].row_lengths()
        wide = parsed[self.name].to_tensor(self.table.padding)
        columns = {self.name: wide}
        for part in self.parts():
            said = parsed[self.sent(part)]
            counts = said.row_lengths()
            tf.debugging.assert_equal(
                counts,
                tf.where(counts > 0, lengths, 0),
                f"`{self.sent(part)}` should have as many values as "
                f"`{self.name}`, or none.",
            )
            shape = tf.shape(wide, tf.int64)
            columns[self.sent(part)] = said.to_tensor(part.unsaid, shape=shape)
        return columns

    def from_request(
        self, raw: Tensors, mappings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """Return the rows of the entries that are kept, and their parts."""
        column = raw[self.name]
        kept = self._kept(tf.not_equal(column, self.table.padding))  # [B, L]
        columns = {
            self.name: tf.where(
                kept, mappings[self.table.name].rows(column), PADDING
            )
        }
        for part in self.parts():
            values = raw[self.sent(part)]
            if part.table:
                values = mappings[part.table.name].rows(values)
            columns[self.column(part)] = tf.where(kept, values, part.fill)
        return columns

    def _kept(self, used: tf.Tensor) -> tf.Tensor:
        """Return which entries are read of those that are there, `[B, L]`."""
        place = tf.cumsum(
            tf.cast(used, tf.int32), axis=1, reverse=self.keeps_last
        )
        return tf.logical_and(used, place <= self.feature.max_length)

    def made_up(
        self, random: np.random.Generator, ids: Arrays, count: int
    ) -> dict[str, np.ndarray]:
        """Return lists: empty, short, of T entries, and longer ones."""
        most = self.feature.max_length
        shape = [count, most + 2]
        lengths = np.resize([0, 1, most, most + 2], count)
        unused = np.arange(most + 2) >= lengths[:, np.newaxis]
        columns = {self.name: random.choice(ids[self.table.name], shape)}
        columns[self.name][unused] = self.table.padding
        for part in self.parts():
            if part.table:
                values = random.choice(ids[part.table.name], shape)
            else:
                values = random.exponential(size=shape).astype(np.float32)
            values[unused] = part.unsaid
            columns[self.sent(part)] = values
        return columns

    def looked_up(
        self, raw: Arrays, spaces: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the rows of the entries that are kept, and their parts."""
        tables = {self.name: self.table}
        names = {self.name: self.name}
        for part in self.parts():
            names[self.column(part)] = self.sent(part)
            if part.table:
                tables[self.column(part)] = part.table
        most = self.feature.max_length
        kept = slice(-most, None) if self.keeps_last else slice(most)
        fills = self._fills()
        rows = {}
        for name, column in self.columns().items():
            shape = [len(raw[self.name]), most]
            rows[name] = np.full(shape, fills[name], column.dtype)
            for i, entries in enumerate(raw[names[name]]):
                used = entries[raw[self.name][i] != self.table.padding][kept]
                if name in tables:
                    used = spaces[tables[name].name].lookup(used)
                rows[name][i, : len(used)] = used
        return rows

    def measured(self, columns: Arrays) -> np.ndarray:
        """Return the number of entries."""
        return (columns[self.name] != PADDING).sum(axis=1).astype(np.float32)

    def codes(self, columns: Arrays, train: np.ndarray) -> np.ndarray:
        """Return the number of entries."""
        del train
        return (columns[self.name] != PADDING).sum(axis=1)

    def _fills(self) -> dict[str, float | int]:
        """Return what stands behind the entries, by column of a batch."""
        parts = {self.column(part): part.fill for part in self.parts()}
        return {self.name: PADDING, **parts}

    def _padded(
        self, flat: dict[str, tf.Tensor], lengths: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        fills, most = self._fills(), self.feature.max_length
        return {
            name: pad(values, lengths, most, fills[name], self.keeps_last)
            for name, values in flat.items()
        }


def pad(
    values: tf.Tensor,
    lengths: tf.Tensor,
    max_length: int,
    fill: float = PADDING,
    keeps_last: bool = True,
) -> tf.Tensor:
    """Return flat lists as a padded matrix.

    Args:
      values: the entries of all rows one after the other.
      lengths: int32 `[N]`, entries of each row.
      max_length: T.
      fill: what stands behind the entries of a row.
      keeps_last: whether longer rows keep their last entries or their first.

    Returns:
      `[N, T]`, of the type of the values.

    Raises:
      InvalidArgumentError: the lengths do not fit the entries.
    """
    # A ragged tensor that does not fit reads memory it does not own.
    message = (
        "The lengths of a list should be at least 0 and sum up to the number "
        "of its entries: the file is damaged. Convert its day again."
    )
    checks = [
        tf.debugging.assert_non_negative(lengths, message),
        tf.debugging.assert_equal(
            tf.reduce_sum(tf.cast(lengths, tf.int64)),
            tf.size(values, tf.int64),
            message,
        ),
    ]
    # Run eagerly, the checks are over and there is nothing to wait for.
    with tf.control_dependencies(list(filter(None, checks))):
        values = tf.identity(values)
    ragged = tf.RaggedTensor.from_row_lengths(values, lengths, validate=False)
    kept = slice(-max_length, None) if keeps_last else slice(max_length)
    # Cutting costs more than all the rest, and there is seldom what to cut.
    ragged = tf.cond(
        tf.reduce_max(lengths) > max_length,
        lambda: ragged[:, kept],
        lambda: ragged,
    )
    fill = tf.constant(fill, values.dtype)
    return ragged.to_tensor(fill, shape=[None, max_length])
