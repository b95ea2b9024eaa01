"""Values of a key in order, however many there are and however they come."""

import pickle
import tempfile
import typing
from collections.abc import Iterable, Iterator


class Spool:
    """Values on the disk of a worker, by number.

    A runner gives the values of a key in any order; held on disk, they can be
    gone through in theirs, one in memory at a time.

    Args:
      values: pairs of a number and a value.
    """

    def __init__(self, values: Iterable[tuple[int, typing.Any]]):
        self._file = tempfile.TemporaryFile()
        self._places: dict[int, list[int]] = {}
        for number, value in values:
            self._places.setdefault(number, []).append(self._file.tell())
            pickle.dump(value, self._file, pickle.HIGHEST_PROTOCOL)

    @property
    def numbers(self) -> list[int]:
        """The numbers that there are values of, in order."""
        return sorted(self._places)

    def __contains__(self, number: int) -> bool:
        """Return whether there are values of a number."""
        return number in self._places

    def of(self, number: int) -> Iterator[typing.Any]:
        """Yield the values of a number."""
        for place in self._places.get(number, ()):
            self._file.seek(place)
            yield pickle.load(self._file)
