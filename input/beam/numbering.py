"""Numbers of ids, in order of their first appearance in the logs.

An appearance is a stretch and the place of the id among the distinct ones of
the stretch. Appearances of one id are brought together in a partition of the
ids, first appearances of one stretch in that stretch; there they are ranked,
and the ranks, added to the new ids of all stretches before, are the numbers.
So nobody ever holds a vocabulary: a partition holds its own ids, a stretch its
own, and all hold how many ids are new in each stretch.

Shapes: S stretches, N ids of a stretch or of a partition.
"""

import dataclasses
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from apache_beam import pvalue

from ecdctr_tf.input import id_space
from ecdctr_tf.input.beam import job as jobs
from ecdctr_tf.input.beam import planning, reading
from ecdctr_tf.input.conversion import encoding, id_checks, ids

# "ids" and a table, or "keys" and a role; see `encoding.Encoder.vocabularies`.
Name = tuple[str, str]
# A vocabulary and the number of a partition of its ids.
Part = tuple[Name, int]
NEW, ALIKE, PADDINGS = "new", "alike", "paddings"


@dataclasses.dataclass(frozen=True)
class Appeared:
    """Ids of a partition that appear in a stretch, in order."""

    stretch: int
    # int64 `[N]`, among the distinct ids of the stretch.
    places: np.ndarray
    ids: pa.Array


@dataclasses.dataclass(frozen=True)
class Ranks:
    """Ids of a partition that are new in a stretch."""

    stretch: int
    # int64 `[N]`, among all that are new in the stretch, in order.
    ranks: np.ndarray


def appeared(
    number: int, job: jobs.Job, plan: planning.Plan
) -> Iterator[tuple[Part, Appeared]]:
    """Yield the ids of a stretch by partition."""
    encoder = encoding.Encoder(job.spec)
    encoder.encode(reading.stretch(job, number))
    partitions = plan.partitions(job)
    for name, vocabulary in encoder.vocabularies().items():
        known = vocabulary.entries
        of = _partitions(known, partitions)
        for part in np.unique(of).tolist():
            places = np.flatnonzero(of == part)
            own = known.take(pa.array(places))
            yield (name, part), Appeared(number, places, own)


def _partitions(known: pa.Array, partitions: int) -> np.ndarray:
    """Return the partition of each id; texts that seem to be one share it."""
    if pa.types.is_integer(known.type):
        return jobs.hashed(known.to_numpy()) % np.uint64(partitions)
    texts = ids.forms(known).to_pylist()
    hashes = [zlib.crc32(text.encode()) for text in texts]
    return np.array(hashes, np.int64) % partitions


class _Partition:
    """The ids of a partition, by first appearance.

    Args:
      found: what appeared in each stretch, in any order.
    """

    def __init__(self, found: Iterable[Appeared]):
        self.appeared = sorted(found, key=lambda part: part.stretch)
        coded = pa.concat_arrays([part.ids for part in self.appeared])
        coded = coded.dictionary_encode()
        # The distinct ids, as they first appear.
        self.ids = coded.dictionary
        self.indices = coded.indices.to_numpy()
        places = np.concatenate([part.places for part in self.appeared])
        sizes = [len(part.places) for part in self.appeared]
        numbers = [part.stretch for part in self.appeared]
        _, first = np.unique(self.indices, return_index=True)
        self.stretches = np.repeat(numbers, sizes)[first]
        self.places = places[first]

    def place(self, encoder: encoding.Encoder, name: Name) -> int | None:
        """Return the place of the id that stands for a missing one."""
        padding = encoder.vocabularies()[name].table.padding
        place = pa.compute.index(self.ids, padding).as_py()
        return None if place < 0 else place

    def firsts(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield stretches, and the places of the ids that are new in them."""
        starts = np.flatnonzero(np.diff(self.stretches, prepend=-1))
        for start, places in zip(
            starts, np.split(self.places, starts[1:]), strict=True
        ):
            yield int(self.stretches[start]), places


def firsts(
    found: tuple[Part, Iterable[Appeared]],
) -> Iterator[tuple[tuple[Name, int], tuple[int, np.ndarray]]]:
    """Yield the new ids of each stretch that a partition holds.

    Yields:
      Vocabulary and stretch; partition, and places among the stretch's ids.
    """
    (name, part), values = found
    for stretch, places in _Partition(values).firsts():
        yield (name, stretch), (part, places)


def ranked(
    found: tuple[tuple[Name, int], Iterable[tuple[int, np.ndarray]]],
) -> Iterator:
    """Yield the ranks of the ids that are new in a stretch, by partition.

    Yields:
      Partition and ranks; tagged `NEW`, vocabulary, stretch and their number.
    """
    (name, stretch), parts = found
    held = list(parts)
    places = np.sort(np.concatenate([p for _, p in held]))
    for part, own in held:
        ranks = np.searchsorted(places, own)
        yield (name, part), Ranks(stretch, ranks)
    yield pvalue.TaggedOutput(NEW, (name, stretch, len(places)))


def before(
    _: None, plan: planning.Plan, new: Iterable[tuple[Name, int, int]]
) -> dict[Name, np.ndarray]:
    """Return how many ids a vocabulary has before each stretch, `[S + 1]`."""
    counts: dict[Name, np.ndarray] = {}
    for name, stretch, count in new:
        of = counts.setdefault(name, np.zeros(len(plan.stretches), np.int64))
        of[stretch] = count
    return {name: np.append(0, np.cumsum(of)) for name, of in counts.items()}


def numbered(
    found: tuple[Part, dict[str, Iterable]],
    job: jobs.Job,
    sizes: dict[Name, np.ndarray],
) -> Iterator:
    """Yield the numbers of the ids of a partition by stretch.

    Args:
      found: the partition; its `appeared` and its `ranks`.
      job: of the conversion.
      sizes: as `before` returns them.

    Yields:
      Stretch; vocabulary, places among its ids and numbers of these, int64
      `[N]`. Tagged `ALIKE`, table, number of pairs of ids that seem to be one,
      and the first of them as number of the id, and pair. Tagged `PADDINGS`,
      vocabulary and number of the id that a missing one is looked up as.
    """
    (name, _), values = found
    partition = _Partition(values["appeared"])
    ranks = {entry.stretch: entry.ranks for entry in values["ranks"]}
    numbers = np.concatenate(
        [sizes[name][new] + ranks[new] for new, _ in partition.firsts()]
    )
    ends = np.cumsum([len(part.places) for part in partition.appeared])
    for part, indices in zip(
        partition.appeared,
        np.split(partition.indices, ends[:-1]),
        strict=True,
    ):
        yield part.stretch, (name, part.places, numbers[indices])
    padding = partition.place(encoding.Encoder(job.spec), name)
    if padding is not None:
        yield pvalue.TaggedOutput(PADDINGS, (name, int(numbers[padding])))
    if name[0] == "ids" and pa.types.is_string(partition.ids.type):
        pairs = ids.alike(partition.ids)
        places = pa.array([text for text, _ in pairs], pa.string())
        of = numbers[pa.compute.index_in(places, partition.ids).to_numpy()]
        first = sorted(zip(of.tolist(), map(list, pairs), strict=True))
        first = first[: id_checks.SHOWN]
        yield pvalue.TaggedOutput(ALIKE, (name[1], len(pairs), first))


def renumber(
    encoder: encoding.Encoder,
    table: pa.Table,
    found: Iterable[tuple[Name, np.ndarray, np.ndarray]],
    paddings: dict[Name, int],
) -> tuple[dict[str, np.ndarray], dict[Name, id_space.Renumbered]]:
    """Return the columns of a stretch, and its vocabularies.

    Args:
      encoder: a new one.
      table: the events of the stretch.
      found: vocabulary, places and numbers, as `numbered` yields them.
      paddings: vocabulary -> number of the id that a missing one is looked up
        as, where an earlier stretch has it.
    """
    own = encoding.Encoder(encoder.spec)
    own.encode(table)
    vocabularies = own.vocabularies()
    for name in paddings:
        vocabularies[name].append([vocabularies[name].table.padding])
    numbers = {
        name: np.full(len(vocabulary.entries), paddings.get(name, 0))
        for name, vocabulary in vocabularies.items()
    }
    for name, places, of in found:
        numbers[name][places] = of
    made = {
        name: id_space.Renumbered(vocabulary, numbers[name])
        for name, vocabulary in vocabularies.items()
    }
    encoder.renumber(made)
    return encoder.encode(table), made


def write_new_ids(
    job: jobs.Job,
    number: int,
    sizes: dict[Name, np.ndarray],
    found: dict[Name, id_space.Renumbered],
) -> None:
    """Write the ids that are new in a stretch, as vocabularies are written."""
    for name, vocabulary in found.items():
        if name not in sizes:
            continue
        text = vocabulary.text_from(*sizes[name][number : number + 2])
        if text:
            path = job.new_ids(name) / f"{number}.txt"
            with jobs.scratch(path) as made:
                made.write_bytes(text)
