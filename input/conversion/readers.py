"""Files of logs to tables of bounded size: Parquet and delimited text."""

import io
import pathlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ecdctr_tf.input.conversion import log_spec

BATCH_ROWS = 131_072
TEXT_BYTES = 8 << 20
# Stands for a delimiter of several characters while the text is parsed.
_UNIT_SEPARATOR = "\x1f"


def find(source: pathlib.Path, path: str) -> list[pathlib.Path]:
    """Return the files that a path or glob stands for, in order.

    Raises:
      FileNotFoundError: there are none.
    """
    full = source / path
    if full.is_file():
        return [full]
    root = pathlib.Path(full.anchor or ".")
    pattern = str(full.relative_to(root)) if full.anchor else str(full)
    files = sorted(f for f in root.glob(pattern) if f.is_file())
    if not files:
        raise FileNotFoundError(
            f"No file matches {full}. Give the directory of the logs with "
            "--source, or the path of a log with --log=name=path."
        )
    return files


def batches(
    file: pathlib.Path,
    log: log_spec.Log | log_spec.Join,
    wanted: Sequence[str],
) -> Iterator[pa.Table]:
    """Yield the wanted columns of a file in tables of bounded size.

    Text columns stay text; empty fields are null.

    Args:
      file: `.parquet`, or delimited text.
      log: says delimiter, encoding and the columns of a file without header.
      wanted: names of columns.

    Raises:
      ValueError: the file cannot be read or lacks a column.
    """
    parquet = file.suffix == ".parquet"
    read = _parquet_batches if parquet else _text_batches
    try:
        for table in read(file, log, wanted):
            _check_columns(table.column_names, wanted, file)
            yield table
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error


def _check_columns(
    have: Sequence[str], wanted: Sequence[str], file: pathlib.Path
) -> None:
    missing = [name for name in wanted if name not in have]
    if missing:
        raise ValueError(
            f"{file} lacks the column {missing[0]!r}, which the spec names. "
            f"It has: {', '.join(have)}."
        )


def _parquet_batches(
    file: pathlib.Path, log: log_spec.Log | log_spec.Join, wanted: Sequence[str]
) -> Iterator[pa.Table]:
    with pa.parquet.ParquetFile(file) as opened:
        _check_columns(opened.schema_arrow.names, wanted, file)
        for batch in opened.iter_batches(BATCH_ROWS, columns=list(wanted)):
            yield pa.Table.from_batches([batch])


def _text_batches(
    file: pathlib.Path, log: log_spec.Log | log_spec.Join, wanted: Sequence[str]
) -> Iterator[pa.Table]:
    single = len(log.delimiter) == 1
    names = list(log.columns)
    if not names:
        names = _header(file, log)
    _check_columns(names, wanted, file)
    parse = pa.csv.ParseOptions(
        delimiter=log.delimiter if single else _UNIT_SEPARATOR,
        quote_char='"' if log.delimiter == "," else False,
    )
    convert = pa.csv.ConvertOptions(
        include_columns=list(wanted),
        column_types=dict.fromkeys(wanted, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    for block, first in _text_blocks(file, log):
        reader = pa.csv.ReadOptions(
            column_names=names,
            skip_rows=int(first and not log.columns),
            encoding=log.encoding,
            block_size=len(block) + 1,
        )
        if first and not log.columns and block.count(b"\n") < 2:
            if not block.partition(b"\n")[2].strip():
                continue  # A header and nothing else.
        yield pa.csv.read_csv(io.BytesIO(block), reader, parse, convert)


def _header(file: pathlib.Path, log: log_spec.Log | log_spec.Join) -> list[str]:
    """Return the names in the first line of a text file."""
    with open(file, encoding=log.encoding) as opened:
        line = opened.readline().rstrip("\r\n")
    names = line.split(log.delimiter)
    return [name.strip('"') for name in names]


def _text_blocks(
    file: pathlib.Path, log: log_spec.Log | log_spec.Join
) -> Iterator[tuple[bytes, bool]]:
    """Yield whole lines of a file, some megabytes at a time."""
    wide = log.delimiter.encode(log.encoding) if log.delimiter[1:] else b""
    rest, first = b"", True
    with open(file, "rb") as opened:
        while True:
            chunk = opened.read(TEXT_BYTES)
            if chunk:
                block, _, rest = (rest + chunk).rpartition(b"\n")
            else:
                block, rest = rest, b""
            if block.strip():
                if wide:
                    block = block.replace(wide, _UNIT_SEPARATOR.encode())
                yield block + b"\n", first
                first = False
            if not chunk:
                return
