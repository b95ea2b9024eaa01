"""How a text file is laid out: encoding, delimiter, and names of columns."""

import codecs
import collections
import csv
import dataclasses
import pathlib
import re

from ecdctr_tf.input.conversion import files

# Bytes at the beginning of a file that are looked at.
HEAD_BYTES = 1 << 20
_LINES = 1_000
# In order of preference where several divide the lines alike.
_DELIMITERS = ("\t", "::", "\x01", ",", ";", "|")
_NAME = re.compile(r"[A-Za-z_][\w .\-/#]{0,60}")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How to read a text file; a Parquet file has an empty one."""

    encoding: str = "utf-8"
    delimiter: str = ","
    # Stands around fields; empty if quotes are part of the values.
    quote: str = '"'
    # Whether the first line names the columns.
    header: bool = True
    # Names of the columns, from the header or made up.
    columns: tuple[str, ...] = ()


def of_text(file: files.File) -> Layout | None:
    """Return the layout of a text file, or None if it is not a table.

    Args:
      file: may be compressed; its name then ends in .gz, .bz2 or .zst.
    """
    with file.filesystem.open_input_stream(file.path) as opened:
        head = opened.read(HEAD_BYTES)
    encoding = _encoding(head)
    text = head.decode(encoding, errors="replace")
    lines = text.splitlines()
    if len(head) == HEAD_BYTES:
        lines = lines[:-1]  # It may be cut.
    lines = [line for line in lines[:_LINES] if line.strip()]
    if not lines or "\0" in text:
        return None
    delimiter = _delimiter(lines)
    if not delimiter:
        return None
    rows = [_cells(line, delimiter) for line in lines]
    if _is_header(rows):
        names = tuple(cell.strip('"') for cell in rows[0])
        return Layout(encoding, delimiter, _quote(rows), True, names)
    stem = pathlib.PurePath(file.path).name.split(".")[0]
    stem = re.sub(r"[\W\d_]+", "_", stem).strip("_") or "column"
    names = tuple(f"{stem}_{i + 1}" for i in range(len(rows[0])))
    return Layout(encoding, delimiter, _quote(rows), False, names)


def _encoding(head: bytes) -> str:
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if head.startswith(mark):
            return name
    try:
        # The last character of a long file may be cut.
        decoder = codecs.getincrementaldecoder("utf-8")()
        decoder.decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _delimiter(lines: list[str]) -> str:
    """Return what divides nearly all lines into the same number of cells."""
    best, best_share = "", 0.0
    for delimiter in _DELIMITERS:
        counts = collections.Counter(
            len(_cells(line, delimiter)) for line in lines
        )
        width, times = counts.most_common(1)[0]
        share = times / len(lines)
        if width > 2 and share >= 0.9 and share > best_share:
            best, best_share = delimiter, share
    return best


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == ",":
        return next(csv.reader([line]), [])
    return line.split(delimiter)


def _quote(rows: list[list[str]]) -> str:
    """Return the quote, or "" if a field only begins with one."""
    for row in rows:
        for cell in row:
            inside = cell[1:-1].replace('""', "")
            closed = len(cell) > 1 and cell[-1] == '"' and '"' not in inside
            if cell.startswith('"') and not closed:
                return ""
    return '"'


def _is_header(rows: list[list[str]]) -> bool:
    """Return whether the first row names columns and is not like the others."""
    first = [cell.strip().strip('"') for cell in rows[0]]
    if len(set(first)) < len(first):
        return False
    if not all(_NAME.fullmatch(cell) for cell in first):
        return False
    if len(rows) == 1:
        return True
    for place, name in enumerate(first):
        below = {row[place] for row in rows[1:] if len(row) > place}
        if name in below:
            return False
    return True
