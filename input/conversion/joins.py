"""Small files whose columns are joined to the rows of a log."""

import os

import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import (
    files,
    ids,
    log_columns,
    log_spec,
    readers,
)


class Side:
    """The file of a join, in memory as a whole.

    Args:
      join: says what is joined.
      source: folder or URI that relative paths start from.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it cannot be read, is empty, or holds a key twice.
    """

    def __init__(self, join: log_spec.Join, source: str | os.PathLike[str]):
        wanted = [join.key, *join.take]
        parts = [
            part
            for file in files.find(source, join.path)
            for part in readers.batches(file, join, wanted)
        ]
        if not parts:
            raise ValueError(f"The files of the join {join.path!r} are empty.")
        table = log_columns.without_null_texts(
            pa.concat_tables(parts), join.null_texts
        )
        self._table = table.combine_chunks()
        self._join = join
        # The first key of a row; whether a row had a key that is there.
        self._first: object = None
        self._matched = False
        values, counts = pc.value_counts(table[join.key]).flatten()
        again = pc.greater(counts, 1)
        if pc.any(again).as_py():
            place = pc.index(again, True).as_py()
            raise ValueError(
                f"{join.path}: the column {join.key!r} should hold each key "
                f"of the join once. Received {counts[place]} times: "
                f"{values[place].as_py()!r}"
            )

    def joined(self, table: pa.Table, where: str) -> pa.Table:
        """Return rows with the columns of the join; null without a key.

        Args:
          table: rows of a log.
          where: names their file.
        """
        join = self._join
        keys = log_columns.of(
            self._table, join.key, "the key of the join", join.path
        )
        on = log_columns.of(table, join.on, "the key of a join", where)
        found, wanted = ids.comparable(on, keys)
        place = pc.index_in(found, wanted, skip_nulls=True)
        if self._first is None and found.null_count < len(found):
            self._first = found.drop_null()[0].as_py()
        self._matched |= place.null_count < len(place)
        for name in join.take:
            values = self._table[name].combine_chunks().take(place)
            table = table.append_column(name, values)
        return table

    def check(self, log: log_spec.Log) -> None:
        """Raise a ValueError if no row of a log had a key that is there."""
        if self._first is None or self._matched:
            return
        join, keys = self._join, self._table[self._join.key].drop_null()
        example = repr(keys[0].as_py()) if len(keys) else "none"
        raise ValueError(
            f"No row of the log {log.name or log.path!r} has a key of the join "
            f"{join.path!r}: its column {join.on!r} holds such as "
            f"{self._first!r}, and {join.key!r} of the join such as {example}. "
            "Write them alike, name the right columns, or leave the join out."
        )
