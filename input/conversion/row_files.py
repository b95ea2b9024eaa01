"""Rows of a day to files of one size, whatever comes together."""

import functools
from collections.abc import Callable
from concurrent import futures

import numpy as np

Rows = dict[str, np.ndarray]
# Returns the rows of some impressions.
Make = Callable[[slice], Rows]


class RowFiles:
    """The files of a day of a domain.

    Args:
      write: writes the rows of the file of a number.
      rows_per_file: rows of each file but the last.
      pool: where files are made and written.
    """

    def __init__(
        self,
        write: Callable[[int, Rows], None],
        rows_per_file: int,
        pool: futures.Executor,
    ):
        self._write = write
        self._size = rows_per_file
        self._pool = pool
        self._parts: list[Callable[[], Rows]] = []
        self._rows = 0
        self._files = 0
        self._written: list[futures.Future] = []

    def add(self, count: int, make: Make) -> None:
        """Begin to write the files that further rows fill.

        Args:
          count: rows.
          make: is called for some of them at a time, until `wait` returns.
        """
        start = 0
        while start < count:
            stop = min(start + self._size - self._rows, count)
            part = slice(start, stop)
            self._parts.append(functools.partial(make, part))
            self._rows += stop - start
            start = stop
            if self._rows == self._size:
                self.end()

    def end(self) -> None:
        """Begin to write the rows that are left."""
        if self._parts:
            number, parts = self._files, self._parts
            self._written.append(self._pool.submit(self._put, number, parts))
            self._files += 1
        self._parts, self._rows = [], 0

    def wait(self) -> None:
        """Wait for what was begun; rows of no file yet are made."""
        made = [part() for part in self._parts]
        self._parts = [functools.partial(dict, rows) for rows in made]
        for written in self._written:
            written.result()
        self._written = []

    def _put(self, number: int, parts: list[Callable[[], Rows]]) -> None:
        made = [part() for part in parts]
        rows = made[0]
        if made[1:]:
            rows = {n: np.concatenate([m[n] for m in made]) for n in rows}
        self._write(number, rows)
