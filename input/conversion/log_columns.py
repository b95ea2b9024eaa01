"""A column of a log: its values, and errors that say where they came from."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Column of row numbers that readers of files add for error messages. No file
# has a column of such a name.
ROW = "\0row"
# Texts that stand for a missing value in columns of whole numbers, too.
_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class LogColumn:
    """A column of a table of a log, with what errors say about it."""

    values: pa.ChunkedArray | pa.Array
    # The name of the column in the log.
    name: str
    # The file or table.
    where: str
    # What reads the column, such as "the feature 'price'".
    reader: str = ""
    # The number of each row in its file; None: they are counted from 0.
    rows: pa.ChunkedArray | None = None

    @property
    def type(self) -> pa.DataType:
        """The type of the values."""
        return self.values.type

    def having(self, values: pa.ChunkedArray | pa.Array) -> "LogColumn":
        """Return the column with other values for the same rows."""
        return dataclasses.replace(self, values=values)

    def plain(self) -> "LogColumn":
        """Return the column less the encodings that Parquet files may have.

        Dictionaries are decoded, and text of any type is `string`.

        Raises:
          ValueError: bytes are no text.
        """
        values = self.values
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_large_string(values.type) or pa.types.is_string_view(
            values.type
        ):
            values = values.cast(pa.string())
        column = self.having(values)
        if pa.types.is_binary(values.type) or pa.types.is_large_binary(
            values.type
        ):
            column = column.cast(pa.string(), "text in UTF-8, not other bytes")
        return column

    def cast(self, dtype: pa.DataType, should: str = "") -> "LogColumn":
        """Return the column with values of another type.

        Args:
          dtype: the type.
          should: what the values should be; without it, of the type.

        Raises:
          ValueError: a value is not one of the type; the message names it.
        """
        try:
            return self.having(self.values.cast(dtype))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            should = should or str(dtype)
            place = _first_failing(self.values, dtype)
            if place is None:
                raise ValueError(
                    f"{self.where}: {self} should hold {should}. It is "
                    f"{self.type}."
                ) from error
            raise self.error(place, f"hold {should}") from error

    def numbers(self, should: str = "numbers") -> "LogColumn":
        """Return the column as doubles: null and NaN stay, true is 1.

        Args:
          should: what the values should be.

        Raises:
          ValueError: a value is no number.
        """
        column = self.plain()
        if pa.types.is_integer(column.type):
            # Above 2^53 the nearest double will do.
            return column.having(column.values.cast(pa.float64(), safe=False))
        if pa.types.is_string(column.type):
            texts = pc.utf8_lower(column.values)
            word = pc.is_in(texts, pa.array(["true", "false"]))
            number = pc.if_else(pc.equal(texts, "true"), "1", "0")
            column = column.having(pc.if_else(word, number, column.values))
        return column.cast(pa.float64(), should)

    def reject(self, bad: pa.Array | pa.ChunkedArray, should: str) -> None:
        """Raise where `bad` is true, naming the first row and its value.

        Args:
          bad: bool, one for each row.
          should: what the column should do, such as "hold 0 or 1".
        """
        if pc.any(bad).as_py():
            raise self.error(pc.index(bad, True).as_py(), should)

    def error(
        self, place: int, should: str, value: object = None
    ) -> ValueError:
        """Return an error about a row.

        Args:
          place: of the row in this table.
          should: what the column should do.
          value: what was received; None for the value of the column.
        """
        received = self.values[place].as_py() if value is None else value
        return ValueError(
            f"{self.where}, row {self.row(place)}: {self} should {should}. "
            f"Received: {received!r}"
        )

    def row(self, place: int) -> int:
        """Return the number that a row of this table has in its file."""
        return place if self.rows is None else self.rows[place].as_py()

    def __str__(self) -> str:
        """Return the name of the column and what reads it."""
        reader = f" ({self.reader})" if self.reader else ""
        return f"the column {self.name!r}{reader}"


def of(table: pa.Table, name: str, reader: str, where: str) -> LogColumn:
    """Return a column of a table of a log.

    Args:
      table: has a column `ROW` if it is a part of a file.
      name: of the column.
      reader: what reads it.
      where: names the file.
    """
    rows = table[ROW] if ROW in table.column_names else None
    return LogColumn(table[name], name, where, reader, rows)


def without_null_texts(table: pa.Table, texts: Sequence[str]) -> pa.Table:
    """Return the rows, with null where a text stands for a missing value."""
    for place, name in enumerate(table.column_names):
        column = without_texts(of(table, name, "", "").plain(), texts)
        table = table.set_column(place, name, column.values)
    return table


def without_texts(column: LogColumn, texts: Sequence[str]) -> LogColumn:
    """Return a column with null where a text, or its number, stands for one."""
    wanted: list = []
    if pa.types.is_string(column.type):
        wanted = list(texts)
    elif pa.types.is_integer(column.type):
        ends = np.iinfo(str(column.type))
        numbers = (int(text) for text in texts if _NUMBER.fullmatch(text))
        wanted = [n for n in numbers if ends.min <= n <= ends.max]
    if not wanted:
        return column
    missing = pc.is_in(column.values, pa.array(wanted, column.type))
    if not pc.any(missing).as_py():
        return column
    none = pa.scalar(None, column.type)
    return column.having(pc.if_else(missing, none, column.values))


def floor_divide(
    column: pa.ChunkedArray | pa.Array, divisor: int
) -> pa.ChunkedArray:
    """Return whole numbers divided, rounded down also below zero."""
    if divisor == 1:
        return column
    rest = pc.subtract(column, pc.multiply(pc.divide(column, divisor), divisor))
    below = pc.cast(pc.less(rest, 0), pa.int64())
    return pc.subtract(pc.divide(column, divisor), below)


def _first_failing(values: pa.ChunkedArray, dtype: pa.DataType) -> int | None:
    """Return the place of the first value that cannot be cast, if one can."""
    try:
        values.slice(0, 0).cast(dtype)
    except pa.ArrowNotImplementedError:
        return None
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            values.slice(low, middle - low).cast(dtype)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low
