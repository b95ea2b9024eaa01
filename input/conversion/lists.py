"""Lists in logs, Arrow lists or separated text, to one Arrow list a row.

Entries that are null, a text that stands for a missing value, or the padding of
their table (-1, empty text), are no entries: clients send the same in unused
places. Lists that are too long are cut here, so that no id gets a row that no
model reads.

Shapes: N rows, E entries of all rows one after the other.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import kinds
from ecdctr_tf.input.conversion import log_columns, separated, times, toml_spec
from ecdctr_tf.kinds import listed
from ecdctr_tf.kinds.id import id_type

# A column of raw ids, their table and its type -> the ids.
Ids = Callable[[log_columns.LogColumn, str, pa.DataType], pa.Array]


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads a feature whose values are lists from the columns of a table."""

    feature: toml_spec.Column
    # Key of `feature.sources` -> column.
    columns: Mapping[str, log_columns.LogColumn]
    # Reads ids.
    ids: Ids
    # How the times of the log are written.
    reading: times.Reading
    # int64 `[N]`, the times of the rows.
    seconds: pa.Array
    # Texts that stand for a missing entry.
    null_texts: Sequence[str] = ()

    def read(self, kind: kinds.Feature) -> pa.Array:
        """Return the lists, of the `log_type` of the feature's kind.

        Raises:
          ValueError: a value is not what it should be; the message names
            table, row, column and feature.
        """
        entries = self._entries(self.feature.name)
        if not isinstance(kind, kinds.Listed):
            return _vectors(entries, self.feature.length)
        parts: dict[str, pa.Array] = {}
        for part in kind.parts():
            if part.name == "weight":
                entries, parts["weight"] = self._weighted(entries)
            elif part.table:
                beside = self._beside(entries, kind.column(part))
                parts[part.name] = self.ids(
                    beside.column, part.table.name, part.arrow_type
                )
            else:
                beside = self._beside(entries, kind.column(part))
                parts[part.name] = self._ages(beside)
        table = kind.table
        ids = self.ids(entries.column, table.name, id_type(table))
        padding = pa.scalar(table.padding, ids.type)
        there = pc.fill_null(pc.not_equal(ids, padding), False)
        kept = there.to_numpy(zero_copy_only=False)
        if "age" in parts:
            # As in sequences made here: what was clicked strictly before.
            ages = parts["age"].to_numpy(zero_copy_only=False)
            kept = kept & ~(ages == 0)
        order, lengths = self._order(kind, entries.lengths, kept)
        flat = ids.take(order)
        if parts:
            taken = [flat, *(values.take(order) for values in parts.values())]
            flat = pa.StructArray.from_arrays(taken, [listed.ID, *parts])
        return _lists(flat, lengths)

    def _entries(self, reader: str) -> separated.Entries:
        column = self.columns[reader]
        entries = separated.entries(column, self.feature.separator)
        there = log_columns.without_texts(entries.column, self.null_texts)
        return dataclasses.replace(entries, column=there)

    def _beside(
        self, entries: separated.Entries, reader: str
    ) -> separated.Entries:
        """Return the entries of a column that has one for each of another's."""
        beside = self._entries(reader)
        differ = np.flatnonzero(beside.lengths != entries.lengths)
        if len(differ):
            row = int(differ[0])
            other = self.columns[self.feature.name]
            should = (
                f"hold as many entries as the column {other.name!r}, "
                f"{entries.lengths[row]}"
            )
            raise separated.error(self.columns[reader], row, should)
        return beside

    def _order(
        self, kind: kinds.Listed, lengths: np.ndarray, kept: np.ndarray
    ) -> tuple[pa.Array, np.ndarray]:
        """Return the places of the entries to take, and how many a row."""
        row = np.repeat(np.arange(len(lengths)), lengths)[kept]
        places = np.flatnonzero(kept)
        if self.feature.newest_first:
            places = places[np.lexsort((-places, row))]
        counts = np.bincount(row, minlength=len(lengths))
        before = np.repeat(np.cumsum(counts) - counts, counts)
        rank = np.arange(len(row)) - before
        most = kind.feature.max_length
        first = np.maximum(counts - most, 0) if kind.keeps_last else 0 * counts
        first = np.repeat(first, counts)
        taken = (rank >= first) & (rank < first + most)
        return pa.array(places[taken]), np.minimum(counts, most)

    def _weighted(
        self, entries: separated.Entries
    ) -> tuple[separated.Entries, pa.Array]:
        """Return the ids and the weights of weighted ids."""
        dtype = entries.column.type
        if self.feature.weights:
            weights = self._beside(entries, f"{self.feature.name}/weight")
        elif pa.types.is_struct(dtype) and dtype.num_fields == 2:
            pairs = entries.column.values
            entries = entries.having(pc.struct_field(pairs, 0))
            weights = entries.having(pc.struct_field(pairs, 1))
        elif pa.types.is_string(dtype):
            mark = self.feature.weight_separator
            entries, weights = separated.halves(entries, mark)
        elif pa.types.is_null(dtype):
            weights = entries
        else:
            raise ValueError(
                f"{entries.column.where}: {entries.column} holds lists of "
                f"{dtype}. Its entries should be pairs of id and weight, or "
                "`weights` should name a column with the weights."
            )
        should = "finite weights of at least 0"
        values = weights.column.cast(pa.float32(), should).values
        good = pc.and_(pc.is_finite(values), pc.greater_equal(values, 0))
        # The weight of what is no entry may be missing too.
        there = entries.column.values.is_valid()
        bad = pc.and_(there, pc.invert(pc.fill_null(good, False)))
        weights.column.reject(bad, f"hold {should}")
        return entries, pc.fill_null(values, 0.0)

    def _ages(self, entries: separated.Entries) -> pa.Array:
        """Return the seconds from entries to their rows, float32 `[E]`."""
        reading = self.reading
        if self.feature.time_column_unit:
            unit = self.feature.time_column_unit
            reading = dataclasses.replace(reading, unit=unit, format="")
        column = entries.column
        if not pa.types.is_null(column.type):
            values, _ = times.seconds(column, reading)
        else:
            values = column.values.cast(pa.int64())
        of_row = np.repeat(self.seconds.to_numpy(), entries.lengths)
        ages = pc.subtract(pa.array(of_row), values)
        bad = pc.or_(pc.less(ages, 0), pc.invert(times.plausible(values)))
        column.reject(
            pc.and_(pc.is_valid(values), pc.fill_null(bad, False)),
            f"hold times before that of the row, in {reading.unit}; "
            "`time_column_unit` says another unit",
        )
        ages = ages.cast(pa.float32(), safe=False)
        return pc.fill_null(ages, float("nan"))


def _vectors(entries: separated.Entries, length: int) -> pa.Array:
    """Return vectors of one length; null where they are missing."""
    lengths = entries.lengths
    column = entries.column.cast(pa.float32(), "numbers")
    numbers = column.values.to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(lengths)), lengths)
    unknown = np.bincount(row, np.isnan(numbers), minlength=len(lengths))
    infinite = np.bincount(row, np.isinf(numbers), minlength=len(lengths))
    there = unknown < lengths
    wrong = there & ((lengths != length) | (unknown > 0) | (infinite > 0))
    if wrong.any():
        should = f"hold {length} finite numbers, or none"
        raise separated.error(entries.whole, int(np.argmax(wrong)), should)
    flat = pa.array(numbers[there[row]], pa.float32())
    return _lists(flat, length * there, pa.array(~there))


def _lists(
    flat: pa.Array, lengths: np.ndarray, mask: pa.Array | None = None
) -> pa.ListArray:
    """Return an Arrow list a row."""
    offsets = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=mask)
