"""Parts of a state from pieces on disk, without holding one in memory."""

import pathlib
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

# Values of an array that are in memory together.
CHUNK = 1 << 20
Chunks = Iterator[np.ndarray]


class Archive:
    """A file as `np.savez` writes it, an array after the other.

    Args:
      path: the file.
    """

    def __init__(self, path: pathlib.Path):
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> "Archive":
        """Return the archive, which is closed at the end."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._zip.close()

    def add(
        self, name: str, dtype: npt.DTypeLike, made: Callable[[], Chunks]
    ) -> None:
        """Write an array.

        Args:
          name: of the array.
          dtype: of its values.
          made: yields it in chunks; is called twice, as the length comes first.
        """
        length = sum(map(len, made()))
        header = np.lib.format.header_data_from_array_1_0(np.zeros(0, dtype))
        header["shape"] = (length,)
        with self._zip.open(f"{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in made():
                file.write(np.ascontiguousarray(chunk, dtype).tobytes())

    def put(self, name: str, array: np.ndarray) -> None:
        """Write an array that is in memory."""
        with self._zip.open(f"{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, array)


class Pieces:
    """The pieces of a part of the state.

    Args:
      directory: holds a folder for each piece, which is a range of keys or
        those of a hash.
    """

    def __init__(self, directory: pathlib.Path):
        numbers = [int(path.name) for path in directory.glob("*")]
        self.numbers = sorted(numbers)
        self._directory = directory

    def array(self, number: int, name: str) -> np.ndarray:
        """Return an array of a piece, on disk; one without values if not."""
        path = self._directory / str(number) / f"{name}.npy"
        if not path.exists():
            return np.zeros(0, np.int64)
        return np.load(path)

    def chunks(self, name: str) -> Chunks:
        """Yield the arrays of all pieces, in order."""
        for number in self.numbers:
            yield self.array(number, name)

    def by_key(self, name: str, size: int, fill: int) -> Chunks:
        """Yield an array by key, up to the last value that is not `fill`.

        Args:
          name: of the array.
          size: keys of a range, which is a piece.
          fill: the value of keys that a piece lacks.
        """
        used = {
            number: np.flatnonzero(self.array(number, name) != fill)
            for number in self.numbers
        }
        there = [number for number, places in used.items() if len(places)]
        for number in range(there[-1] + 1 if there else 0):
            array = self.array(number, name)
            whole = np.full(size, fill, array.dtype)
            whole[: len(array)] = array
            last = number == there[-1]
            yield whole[: used[number][-1] + 1] if last else whole

    def merged(
        self, keys: str, values: str, day: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield keys of all pieces, sorted, and their values, in chunks.

        Args:
          keys: name of the array of keys, which is sorted in each piece.
          values: name of the array of values.
          day: place of the day, of those whose keys follow each other; None:
            they are all of one.
        """
        runs = []
        for number in self.numbers:
            path = self._directory / str(number)
            run = [np.load(path / f"{n}.npy", "r") for n in (keys, values)]
            if day is not None:
                sizes = np.load(path / "sizes.npy")
                start = int(sizes[:day].sum())
                run = [array[start : start + int(sizes[day])] for array in run]
            if len(run[0]):
                runs.append(run)
        step = max(CHUNK // max(len(runs), 1), 1)
        while runs:
            stop = min(of[min(step, len(of)) - 1] for of, _ in runs)
            counts = [int(np.searchsorted(of, stop, "right")) for of, _ in runs]
            taken = [
                np.concatenate(
                    [run[i][:n] for run, n in zip(runs, counts, strict=True)]
                )
                for i in (0, 1)
            ]
            order = np.argsort(taken[0])
            yield taken[0][order], taken[1][order]
            left = [
                [array[n:] for array in run]
                for run, n in zip(runs, counts, strict=True)
            ]
            runs = [run for run in left if len(run[0])]
