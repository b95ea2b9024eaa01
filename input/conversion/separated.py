"""The entries of lists: of Arrow lists, or of text with separators."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import log_columns

# Characters of a value that an error shows.
_LONGEST_VALUE = 80


@dataclasses.dataclass(frozen=True)
class Entries:
    """The entries of all rows one after the other."""

    # With a value for each entry; its rows are those that the entries are of.
    column: log_columns.LogColumn
    # int64, the number of entries of each row.
    lengths: np.ndarray
    # The column that they are of, with a value for each row.
    whole: log_columns.LogColumn

    def having(self, values: pa.Array) -> "Entries":
        """Return other values for the same entries."""
        return dataclasses.replace(self, column=self.column.having(values))


def entries(column: log_columns.LogColumn, separator: str) -> Entries:
    """Return the entries of a column.

    Of separated text, such as `a|b` or `[a, b]`, space around entries is
    dropped, and within brackets also quotes; empty entries are null.

    Args:
      column: lists, or text if there is a separator.
      separator: of the entries of a text, or "".

    Raises:
      ValueError: the column holds neither.
    """
    column = column.plain()
    values = _array(column.values)
    if pa.types.is_null(values.type):
        values = values.cast(pa.list_(pa.null()))
    if pa.types.is_map(values.type):
        of_key, of_item = values.type.key_type, values.type.item_type
        pairs = pa.struct([("key", of_key), ("value", of_item)])
        values = values.cast(pa.list_(pairs))
    if separator and pa.types.is_integer(values.type):
        values = values.cast(pa.string())  # A text of one value.
    if separator and pa.types.is_string(values.type):
        flat, lengths = _split(values, separator)
    elif _is_list(values.type):
        flat = pc.list_flatten(values)
        lengths = pc.list_value_length(values)
        lengths = pc.if_else(values.is_valid(), lengths, 0)
    else:
        hint = "" if separator else ", or set its `separator`"
        raise ValueError(
            f"{column.where}: {column} should hold lists or separated text"
            f"{hint}. It is {values.type}."
        )
    counts = lengths.to_numpy().astype(np.int64)
    numbers = np.arange(len(values))
    if column.rows is not None:
        numbers = column.rows.to_numpy()
    rows = pa.array(np.repeat(numbers, counts))
    of_each = dataclasses.replace(column, values=flat, rows=rows).plain()
    return Entries(of_each, counts, column)


def halves(entries: Entries, mark: str) -> tuple[Entries, Entries]:
    """Return what is before and behind the last mark of texts such as `a:1`.

    Raises:
      ValueError: a text has no mark.
    """
    parts = pc.split_pattern(
        entries.column.values, mark, max_splits=1, reverse=True
    )
    alone = pc.fill_null(pc.equal(pc.list_value_length(parts), 1), False)
    entries.column.reject(
        alone, f"hold ids with a weight each, such as a{mark}0.5"
    )
    # Where there is no text there are no halves to choose from.
    parts = pc.fill_null(parts, ["", "0"])
    ids = pc.utf8_trim_whitespace(pc.list_element(parts, 0))
    ids = pc.if_else(entries.column.values.is_valid(), ids, None)
    weights = pc.utf8_trim_whitespace(pc.list_element(parts, 1))
    return entries.having(ids), entries.having(weights)


def error(column: log_columns.LogColumn, row: int, should: str) -> ValueError:
    """Return an error about the list of a row."""
    value = repr(column.values[row].as_py())
    if len(value) > _LONGEST_VALUE:
        value = f"{value[:_LONGEST_VALUE]}..."
    return column.error(row, should, _Written(value))


class _Written(str):
    """Text that is shown as it is."""

    def __repr__(self) -> str:
        return str(self)


def _split(text: pa.Array, separator: str) -> tuple[pa.Array, pa.Array]:
    """Return the entries of texts, and how many each has."""
    text = pc.utf8_trim_whitespace(text)
    bracketed = pc.match_substring_regex(text, r"^\[.*\]$")
    bracketed = pc.fill_null(bracketed, False)
    inner = pc.utf8_slice_codeunits(text, 1, -1)
    lists = pc.split_pattern(pc.if_else(bracketed, inner, text), separator)
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    flat = pc.utf8_trim_whitespace(pc.list_flatten(lists))
    if pc.any(bracketed).as_py():
        within = bracketed.to_numpy(zero_copy_only=False)
        bare = pc.replace_substring_regex(
            flat, r"""^(?:'(.*)'|"(.*)")$""", r"\1\2"
        )
        quoted = pa.array(np.repeat(within, lengths.to_numpy()))
        flat = pc.if_else(quoted, bare, flat)
    return pc.if_else(pc.equal(flat, ""), None, flat), lengths


def _is_list(dtype: pa.DataType) -> bool:
    return (
        pa.types.is_list(dtype)
        or pa.types.is_large_list(dtype)
        or pa.types.is_fixed_size_list(dtype)
    )


def _array(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    if not isinstance(values, pa.ChunkedArray):
        return values
    joined = values.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        joined = pa.concat_arrays(joined.chunks)
    return joined
