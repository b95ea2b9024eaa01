"""Rows that hold a list of items to one row for each item of the list."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import log_columns, log_spec

# Column with the labels that come from the list itself, 0 or 1. No file has a
# column of such a name.
LABEL = "\0label"
# Rows that are taken apart together: a row may hold hundreds of entries.
_ROWS = 8_192


def exploded(
    table: pa.Table, rule: log_spec.Explode, where: str
) -> Iterator[pa.Table]:
    """Yield the rows with one entry each.

    Args:
      table: the columns of a log.
      rule: says which column holds a list, and where its labels are.
      where: names the table in errors.

    Yields:
      Tables with the entries in place of the lists, and with `LABEL` if the
      rule says where labels are. Null entries are left out. An entry that was
      clicked without being in the list gets a row at the end of it.

    Raises:
      ValueError: a column holds neither lists nor text, or a label is neither
        0 nor 1.
    """
    for start in range(0, len(table), _ROWS):
        yield _taken_apart(table.slice(start, _ROWS), rule, where)


def _taken_apart(
    table: pa.Table, rule: log_spec.Explode, where: str
) -> pa.Table:
    row, entry = _entries(table, rule.column, rule, where)
    label: np.ndarray | pa.Array | None = None
    if rule.clicked:
        of_clicked = _entries(table, rule.clicked, rule, where)
        row, entry, label = _with_clicked((row, entry), of_clicked)
    elif rule.label_separator:
        whole = log_columns.of(table, rule.column, "`explode`", where)
        rows = None if whole.rows is None else whole.rows.take(pa.array(row))
        column = dataclasses.replace(whole, values=entry, rows=rows)
        entry, label = _split_labels(column, rule)
    table = table.drop_columns([rule.column]).take(row)
    table = table.append_column(rule.column, entry)
    if label is None:
        return table
    return table.append_column(LABEL, pa.array(label, pa.int8()))


def _entries(
    table: pa.Table, name: str, rule: log_spec.Explode, where: str
) -> tuple[np.ndarray, pa.Array]:
    """Return the row that each entry of a column is of, and the entries."""
    column = table[name].combine_chunks()
    if rule.separator and pa.types.is_string(column.type):
        column = pc.split_pattern(column, rule.separator)
    if not (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    ):
        raise ValueError(
            f"{where}: the column {name!r}, which `explode` of the log reads, "
            "should hold lists, or text with a `separator`. It is "
            f"{column.type}."
        )
    row, entry = pc.list_parent_indices(column), pc.list_flatten(column)
    kept = pc.is_valid(entry)
    if pa.types.is_string(entry.type):
        kept = pc.and_(kept, pc.fill_null(pc.not_equal(entry, ""), False))
    return row.filter(kept).to_numpy(), entry.filter(kept)


def _with_clicked(
    shown: tuple[np.ndarray, pa.Array], clicked: tuple[np.ndarray, pa.Array]
) -> tuple[np.ndarray, pa.Array, np.ndarray]:
    """Return the entries that were shown or clicked, and their labels."""
    row = np.concatenate([shown[0], clicked[0]])
    entry = pa.concat_arrays([shown[1], clicked[1].cast(shown[1].type)])
    code = entry.dictionary_encode().indices.to_numpy()
    # One number for an entry of a row.
    key = row * (code.max(initial=0) + 1) + code
    split = len(shown[0])
    label = np.isin(key, key[split:])
    extra = split + np.unique(key[split:], return_index=True)[1]
    extra = extra[~np.isin(key[extra], key[:split])]
    place = np.concatenate([np.arange(split), np.sort(extra)])
    place = place[np.argsort(row[place], kind="stable")]
    return row[place], entry.take(pa.array(place)), label[place]


def _split_labels(
    column: log_columns.LogColumn, rule: log_spec.Explode
) -> tuple[pa.Array, pa.Array]:
    """Return entries without their labels, and the labels."""
    entry = column.values.cast(pa.string())
    label = pc.ends_with(entry, f"{rule.label_separator}1")
    none = pc.ends_with(entry, f"{rule.label_separator}0")
    column.reject(
        pc.invert(pc.or_(label, none)),
        f"hold entries that end in {rule.label_separator}0 or "
        f"{rule.label_separator}1",
    )
    stop = -1 - len(rule.label_separator)
    return pc.utf8_slice_codeunits(entry, 0, stop), label.cast(pa.int8())
