"""Files of logs to tables of bounded size: Parquet and delimited text."""

import datetime
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from absl import logging

from ecdctr_tf.input.conversion import (
    files,
    lake,
    log_columns,
    log_spec,
    text,
)

BATCH_ROWS = 131_072
_BUFFER_BYTES = 1 << 20
_PARQUET = b"PAR1"


def batches(
    file: files.File, log: log_spec.Text, wanted: Sequence[str]
) -> Iterator[pa.Table]:
    """Yield the wanted columns of a file in tables of bounded size.

    Text columns stay text; empty fields are null. Columns that the file lacks
    are taken from the names of its folders, such as `dt=2024-01-01`, as text.

    Args:
      file: Parquet, delimited text, or a Delta or Iceberg table.
      log: says how text is written.
      wanted: names of columns.

    Raises:
      ValueError: the file cannot be read, lacks a column or has it twice.
    """
    read = _text_batches
    if file.table:
        read = _table_batches
    elif _is_parquet(file):
        read = _parquet_batches
    folders = file.partitions
    try:
        for table in read(file, log, wanted):
            for name in wanted:
                if name not in table.column_names:
                    value = pa.scalar(folders[name], pa.string())
                    column = pa.repeat(value, len(table))
                    table = table.append_column(name, column)
                elif name in folders:
                    _check_folder(table[name], name, folders[name], file)
            yield table
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error


def _check_folder(
    values: pa.ChunkedArray, name: str, folder: str | None, file: files.File
) -> None:
    """Raise a ValueError unless a column holds what the folder says."""
    for value in pc.unique(values).to_pylist():
        text = str(value)
        if isinstance(value, datetime.datetime) and folder:
            text = text[: len(folder)]  # Its day, for a folder a day.
        try:
            same = float(value) == float(folder or "nan")
        except (TypeError, ValueError):
            same = text == str(folder)
        if not same:
            raise ValueError(
                f"{file}: the column {name!r} holds {value!r}, and its folder "
                f"says {folder!r}. Move the file, or name the folder as its "
                "rows are."
            )


def columns(file: files.File, log: log_spec.Text) -> list[str]:
    """Return the names of the columns of a file and of its folders.

    Raises:
      ValueError: the file cannot be read.
    """
    try:
        if file.table:
            names = _table(file).columns()
        elif _is_parquet(file):
            with _opened_parquet(file) as opened:
                names = opened.schema_arrow.names
        else:
            first = next(text.blocks(file, log), b"")
            names = list(log.columns) or text.header(first, log)
            if names and names[0].startswith("{"):
                raise ValueError(
                    f"{file} is JSON, which is not read. Write the logs as "
                    "Parquet or CSV."
                )
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    return list(dict.fromkeys([*names, *file.partitions]))


def _is_parquet(file: files.File) -> bool:
    if file.path.endswith(".parquet"):
        return True
    with file.filesystem.open_input_stream(
        file.path, compression=None
    ) as stream:
        return stream.read(len(_PARQUET)) == _PARQUET


def _in_file(
    have: Sequence[str], wanted: Sequence[str], file: files.File
) -> list[str]:
    """Return the wanted columns that a file has itself."""
    for name in wanted:
        if have.count(name) > 1:
            raise ValueError(
                f"{file} has {have.count(name)} columns {name!r}. Name the "
                "columns differently, or with `columns` of the log if the "
                "file is text without a header."
            )
        if name not in have and name not in file.partitions:
            raise ValueError(
                f"{file} lacks the column {name!r}, which the spec names. It "
                f"has: {', '.join([*have, *file.partitions])}."
            )
    return [name for name in wanted if name in have]


def _reject_header(
    table: pa.Table, file: files.File, row: int, given: bool
) -> None:
    """Raise a ValueError if a row of text holds the names of its columns.

    Args:
      table: rows of the file.
      file: names it.
      row: the number of the first row.
      given: whether the log names the columns.
    """
    again = pa.scalar(table.num_columns > 1)
    for name in table.column_names:
        again = pc.and_(again, pc.equal(table[name], name))
        if not pc.any(again).as_py():
            return
    place = pc.index(again, True).as_py()
    raise ValueError(
        f"{file}, row {row + place}, is a header: it holds the names of the "
        "columns. "
        + (
            "Leave `columns` of the log out."
            if given
            else "Take it out; files that are put together have one header."
        )
    )


def _parquet_batches(
    file: files.File, log: log_spec.Text, wanted: Sequence[str]
) -> Iterator[pa.Table]:
    with _opened_parquet(file) as opened:
        columns = _in_file(opened.schema_arrow.names, wanted, file)
        row = 0
        for batch in opened.iter_batches(BATCH_ROWS, columns=columns):
            yield _plain(pa.Table.from_batches([batch]), str(file), row)
            row += len(batch)


def _table_batches(
    file: files.File, log: log_spec.Text, wanted: Sequence[str]
) -> Iterator[pa.Table]:
    table = _table(file)
    columns = _in_file(table.columns(), wanted, file)
    row = 0
    for batch in table.batches(columns, BATCH_ROWS):
        yield _plain(pa.Table.from_batches([batch]), str(file), row)
        row += len(batch)


def _table(file: files.File) -> lake.Table:
    return lake.Table(file.filesystem, file.path, file.name, file.table)


def _opened_parquet(file: files.File) -> pa.parquet.ParquetFile:
    return pa.parquet.ParquetFile(
        file.path,
        filesystem=file.filesystem,
        # By the page: a row group may be larger than memory.
        buffer_size=_BUFFER_BYTES,
        pre_buffer=False,
    )


def _plain(table: pa.Table, where: str, row: int) -> pa.Table:
    """Return a table whose text is of one type, `string`.

    Args:
      table: rows of a file.
      where: names the file.
      row: the number of the first row.

    Raises:
      ValueError: bytes are no text.
    """
    rows = pa.chunked_array([np.arange(row, row + len(table))])
    for place, name in enumerate(table.column_names):
        values = table[name]
        if isinstance(values.type, pa.BaseExtensionType):
            values = values.cast(values.type.storage_type)
        column = log_columns.LogColumn(values, name, where, "", rows).plain()
        table = table.set_column(place, name, column.values)
    return table


def _text_batches(
    file: files.File, log: log_spec.Text, wanted: Sequence[str]
) -> Iterator[pa.Table]:
    blocks = text.blocks(file, log)
    first = next(blocks, None)
    if first is None:
        logging.warning("%s is empty.", file)
        return
    names = list(log.columns) or text.header(first, log)
    columns = _in_file(names, wanted, file)
    header, row = int(not log.columns), 0

    bad: list[pa.csv.InvalidRow] = []

    def refuse(invalid: pa.csv.InvalidRow) -> str:
        bad.append(invalid)
        return "error"

    parse = pa.csv.ParseOptions(
        delimiter=text.delimiter(log),
        quote_char=log.quote or False,
        escape_char=log.escape or False,
        newlines_in_values=True,
        invalid_row_handler=refuse,
    )
    convert = pa.csv.ConvertOptions(
        include_columns=columns,
        column_types=dict.fromkeys(columns, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    for block in itertools.chain([first], blocks):
        # Only one thread alone knows the number of a row.
        reader = pa.csv.ReadOptions(
            column_names=names,
            skip_rows_after_names=header,
            block_size=len(block) + 1,
            use_threads=False,
        )
        source = pa.BufferReader(block)
        try:
            table = pa.csv.read_csv(source, reader, parse, convert)
        except pa.ArrowInvalid as error:
            if not bad:
                raise
            place = row + bad[0].number - 1 - header
            raise ValueError(
                f"{file}, row {place}: there should be "
                f"{bad[0].expected_columns} fields, as in the header or in "
                f"`columns` of the log; there are {bad[0].actual_columns}. "
                "Check `delimiter`, `quote` and `escape`. Received: "
                f"{bad[0].text[:200]!r}"
            ) from error
        _reject_header(table, file, row, bool(log.columns))
        yield text.restored(table, log)
        header, row = 0, row + len(table)
