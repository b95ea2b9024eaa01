"""Files of delimited text to blocks of whole rows, as UTF-8.

What differs between files is evened out here, some megabytes at a time:
compression, encoding, byte order marks, line ends, and delimiters of more than
one byte. Fields are taken apart in `readers`.
"""

import codecs
import csv
import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import files, log_spec, quotes

BLOCK_BYTES = 8 << 20
# A row that is not at its end after so many blocks is taken for a fault.
_ROW_BLOCKS = 2
# Stands for a delimiter of several bytes.
_UNIT_SEPARATOR = "\x1f"
# First bytes of a file -> how it is compressed.
_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\x04\x22\x4d\x18": "lz4",
}
# First bytes of files that are neither text nor read otherwise.
_OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\xfd7zXZ": "compressed as xz",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"SQLite format": "an SQLite database",
}
# Byte order marks; that of UTF-16 begins that of UTF-32.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def delimiter(text: log_spec.Text) -> str:
    """Return the delimiter of the blocks."""
    single = len(text.delimiter.encode()) == 1
    return text.delimiter if single else _UNIT_SEPARATOR


def header(block: bytes, text: log_spec.Text) -> list[str]:
    """Return the fields of the first row of a block."""
    rows = csv.reader(
        io.TextIOWrapper(io.BytesIO(block), "utf-8", newline=""),
        delimiter=delimiter(text),
        quotechar=text.quote or None,
        escapechar=text.escape or None,
        quoting=csv.QUOTE_MINIMAL if text.quote else csv.QUOTE_NONE,
    )
    try:
        return next(rows, [])
    except csv.Error as error:
        raise ValueError(f"Its header cannot be read: {error}") from error


def restored(table: pa.Table, text: log_spec.Text) -> pa.Table:
    """Return the fields of a block, a long delimiter in a quoted one back."""
    if text.quote and delimiter(text) != text.delimiter:
        columns = [
            pc.replace_substring(column, _UNIT_SEPARATOR, text.delimiter)
            for column in table.columns
        ]
        return pa.table(columns, table.column_names)
    return table


def blocks(file: files.File, text: log_spec.Text) -> Iterator[bytes]:
    """Yield the rows of a file, whole, in blocks of some megabytes.

    Args:
      file: may be compressed.
      text: says how it is written; a byte order mark is believed first.

    Raises:
      OSError: a compressed file is damaged or cut.
      ValueError: it is not text of that encoding, or a row has no end.
    """
    single = delimiter(text).encode()
    marks = text.quote.encode(), text.escape.encode()
    limit = _ROW_BLOCKS * BLOCK_BYTES
    rest, line, opened = b"", 1, None
    for part in _decoded(file, text.encoding):
        rest += part.encode()
        if delimiter(text) != text.delimiter:
            rest = rest.replace(text.delimiter.encode(), single)
        try:
            end, opened = quotes.end_of_rows(rest, single, *marks)
        except quotes.MalformedError as error:
            line += rest.count(b"\n", 0, error.place)
            raise ValueError(_unclosed(file, line)) from error
        if end:
            whole = rest[:end].lstrip(b"\n")
            if whole:
                yield whole
            line += rest.count(b"\n", 0, end)
            rest = rest[end:]
        if len(rest) > limit:
            break
    if opened is not None:
        line += rest.count(b"\n", 0, opened)
        raise ValueError(_unclosed(file, line))
    if len(rest) > limit:
        raise ValueError(
            f"{file}, line {line}, is longer than {limit:,} bytes. Logs "
            "should be Parquet files, or text with a row a line."
        )
    if rest:
        yield rest + b"\n"


def _unclosed(file: files.File, line: int) -> str:
    return (
        f"{file}, line {line}: a quoted field does not end with a quote before "
        "a delimiter or line break. Mend the line, or set `quote` and `escape` "
        'of the log: `quote = ""` if quotes are part of the values.'
    )


def _decoded(file: files.File, encoding: str) -> Iterator[str]:
    """Yield the characters of a file; lines end in a line feed."""
    decoder: io.IncrementalNewlineDecoder | None = None
    line = 1
    for chunk in _decompressed(file):
        if decoder is None:
            marks = [name for m, name in _MARKS.items() if chunk.startswith(m)]
            decode = codecs.getincrementaldecoder([*marks, encoding][0])()
            decoder = io.IncrementalNewlineDecoder(decode, translate=True)
        try:
            part = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line += error.object.count(b"\n", 0, error.start)
            raise ValueError(
                f"{file}, line {line}: {error}. Set `encoding` of the log, "
                "such as utf-16 or latin-1."
            ) from error
        if line == 1 and "\0" in part.partition("\n")[0]:
            raise ValueError(
                f"{file} is no text: its first line has zero bytes. Logs may "
                "be Parquet files, or text, which may be compressed as gzip, "
                "zstd, bz2 or lz4; set `encoding` of the log if it is UTF-16, "
                "or give a `path` without the file if it is no part of the log."
            )
        line += part.count("\n")
        yield part


def _decompressed(file: files.File) -> Iterator[bytes]:
    """Yield the bytes of a file, and none at its end."""
    with _opened(file, None) as stream:
        start = stream.read(16)
    for mark, kind in _OTHERS.items():
        if start.startswith(mark):
            raise ValueError(
                f"{file} is {kind}, which is not read. Write Parquet, or text, "
                "which may be compressed as gzip, zstd, bz2 or lz4; or give a "
                "`path` without the file if it is no part of the log."
            )
    kinds = [k for m, k in _COMPRESSIONS.items() if start.startswith(m)]
    with _opened(file, *kinds or [None]) as stream:
        while chunk := stream.read(BLOCK_BYTES):
            yield chunk
    yield b""


def _opened(file: files.File, compression: str | None) -> pa.NativeFile:
    return file.filesystem.open_input_stream(file.path, compression=compression)
