"""Values brought together by key: they go through files, and are counted.

Beam's direct runner holds in memory what it groups, and with worker processes
it was seen to lose some tens of megabytes of what a busy worker sent it,
without a word. So values lie in files that all workers see, a runner moves
their paths, and as many values have to come out of a group as went into it.
"""

import collections
import dataclasses
import pathlib
import pickle
import secrets
import typing
from collections.abc import Iterable, Iterator

import apache_beam as beam

from ecdctr_tf.input.beam import job as jobs


@dataclasses.dataclass(frozen=True)
class Parcel:
    """A value that lies in a file."""

    path: pathlib.Path
    # What the value begins with, where it is a pair of a number and columns.
    number: int | None

    def value(self) -> typing.Any:
        """Return the value."""
        with open(self.path, "rb") as file:
            return pickle.load(file)


class Values:
    """The values of a key, in any order, of which one is in memory at a time.

    Args:
      found: parcels, or values that are small.
    """

    def __init__(self, found: Iterable):
        self._found = found

    def __iter__(self) -> Iterator:
        """Yield the values; they can be gone through again."""
        for value in self._found:
            yield value.value() if isinstance(value, Parcel) else value

    def by_number(self) -> "Numbered":
        """Return the values, which are pairs of a number and columns."""
        return Numbered(self._found)


class Numbered:
    """Columns by number, such as that of their stretch.

    Args:
      parcels: of pairs of a number and columns.
    """

    def __init__(self, parcels: Iterable[Parcel]):
        self._parcels = collections.defaultdict(list)
        for parcel in parcels:
            self._parcels[parcel.number].append(parcel)

    @property
    def numbers(self) -> list[int]:
        """The numbers that there are columns of, in order."""
        return sorted(self._parcels)

    def __contains__(self, number: int) -> bool:
        """Return whether there are columns of a number."""
        return number in self._parcels

    def of(self, number: int) -> Iterator[typing.Any]:
        """Yield the columns of a number."""
        for parcel in self._parcels.get(number, ()):
            yield parcel.value()[1]


class Exchange:
    """The groups of a pipeline.

    Args:
      job: of the conversion.
    """

    def __init__(self, job: jobs.Job):
        self._job = job
        self._counts: list[beam.PCollection] = []

    def put(self, name: str, pairs: beam.PCollection) -> beam.PCollection:
        """Return pairs of a key and a value with the values in files."""
        return pairs | f"Put{name}" >> beam.Map(_put, self._job, name)

    def grouped(self, name: str, *pairs: beam.PCollection) -> beam.PCollection:
        """Return keys and `Values`, which are those of several collections."""
        for number, sent in enumerate(pairs):
            self._count(f"{name}{number}", sent, name, _one)
        groups = (
            pairs
            | f"Flatten{name}" >> beam.Flatten()
            | f"Group{name}" >> beam.GroupByKey()
        )
        self._count(f"Grouped{name}", groups, name, _received)
        return groups | f"Open{name}" >> beam.Map(_opened)

    def joined(
        self, name: str, pairs: dict[str, beam.PCollection]
    ) -> beam.PCollection:
        """Return keys, and `Values` by the name of their collection."""
        for of, sent in pairs.items():
            self._count(f"{name}-{of}", sent, name, _one)
        groups = pairs | f"Group{name}" >> beam.CoGroupByKey()
        self._count(f"Joined{name}", groups, name, _joined)
        return groups | f"Open{name}" >> beam.Map(_all_opened)

    def lost(self) -> beam.PCollection:
        """Return the name of each group, and how many values it has lost."""
        return (
            self._counts
            | "FlattenCounts" >> beam.Flatten()
            | "Lost" >> beam.CombinePerKey(sum)
        )

    def _count(
        self,
        label: str,
        counted: beam.PCollection,
        name: str,
        count: typing.Callable,
    ) -> None:
        self._counts.append(
            counted
            | f"Count{label}" >> beam.Map(lambda pair: (name, count(pair)))
        )


def check(lost: Iterable[tuple[str, int]]) -> None:
    """Raise a ValueError if a group has lost values."""
    found = [f"{count} on the way to {name!r}" for name, count in lost if count]
    if found:
        raise ValueError(
            f"The runner lost values: {', '.join(sorted(found))}. No data "
            "directory was written. Try again, with another runner or fewer "
            "workers on a machine."
        )


def _put(
    pair: tuple[typing.Any, typing.Any], job: jobs.Job, name: str
) -> tuple[typing.Any, Parcel]:
    """Write the value of a pair to a file, unless it lies in one."""
    key, value = pair
    if isinstance(value, Parcel):
        return key, value
    # Work that is done twice leaves a file that nobody has the path of.
    token = secrets.token_hex(16)
    path = job.work / "parcels" / name / token[:2] / token
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
    first = value[0] if isinstance(value, tuple) else None
    return key, Parcel(path, first if isinstance(first, int) else None)


def _opened(
    group: tuple[typing.Any, Iterable],
) -> tuple[typing.Any, typing.Any]:
    key, found = group
    return key, Values(found)


def _all_opened(
    group: tuple[typing.Any, dict[str, Iterable]],
) -> tuple[typing.Any, typing.Any]:
    key, found = group
    return key, {name: Values(held) for name, held in found.items()}


def _one(pair: tuple) -> int:
    return 1


def _received(group: tuple[typing.Any, Iterable]) -> int:
    return -sum(1 for _ in group[1])


def _joined(group: tuple[typing.Any, dict[str, Iterable]]) -> int:
    return sum(_received((of, held)) for of, held in group[1].items())
