"""Vocabularies, summary and state, from what the workers left behind."""

import dataclasses
import functools
import itertools
import pathlib
import shutil
from collections.abc import Iterable, Iterator

import numpy as np

from ecdctr_tf import features, store, typed_values, windows
from ecdctr_tf.input import data_directory, id_space
from ecdctr_tf.input.beam import assembling, drawing, pieces, planning
from ecdctr_tf.input.beam import job as jobs
from ecdctr_tf.input.conversion import (
    encoding,
    id_checks,
    row_features,
    state,
    tally,
    two_passes,
)

_FIRST = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class Result:
    """What a pipeline found."""

    plan: planning.Plan
    # Vocabulary -> how many ids it has before each stretch.
    sizes: dict[tuple[str, str], np.ndarray]
    # Stretch -> its impressions and so on; see `assembling.look`.
    tallies: dict[int, tuple[int, ...]]
    # Table -> the fingerprints of its ids.
    fingerprints: dict[str, assembling.Fingerprints]
    # What the parts of the ids add to the summary.
    totals: dict[tuple[str, str], int]
    # Table -> pairs of ids that seem to be one, and how many.
    alike: dict[str, tuple[int, list[list[str]]]]


def finish(job: jobs.Job, result: Result) -> dict:
    """Write what is not of a day, and return the summary."""
    ids = _write_vocabularies(job, result)
    summary = _summary(job, result)
    text = typed_values.to_json(summary, "the summary")
    (job.directory / state.SUMMARY).write_text(text, encoding="utf-8")
    plan = result.plan
    manifest = state.described(
        job.spec,
        job.file_format,
        windows.Window(
            windows.day_name(plan.days[0]), windows.day_name(plan.days[-1])
        ),
        plan.last_days,
        plan.clicks_only,
        ids,
        sum(summary[domain]["rows"] for domain in features.DOMAINS),
        0,
    )
    path = job.directory / state.STATE / manifest.window.last
    with store.publish(path, manifest) as staging:
        for day, moment in plan.moments.items():
            place = staging
            if moment == jobs.BEHIND:
                place = staging / state.BEHIND
                place.mkdir()
            _State(job, result, moment, day, place).write()
        shutil.copy(job.directory / state.SUMMARY, staging)
    shutil.rmtree(job.work)
    return summary


def _write_vocabularies(job: jobs.Job, result: Result) -> dict[str, dict]:
    """Write the vocabularies; return the fingerprint of each table's ids."""
    (job.directory / "ids").mkdir()
    for name, space in encoding.Encoder(job.spec).id_spaces.items():
        if isinstance(space, id_space.Vocabulary):
            with store.replacing(job.directory / "ids" / f"{name}.txt") as path:
                with open(path, "wb") as file:
                    file.writelines(_lines(job, ("ids", name)))
    rows = assembling.table_rows(job, result.sizes, len(result.plan.stretches))
    return {
        name: result.fingerprints[name].fingerprint(count)
        for name, count in rows.items()
    }


def _lines(
    job: jobs.Job, vocabulary: tuple[str, str], stretches: int | None = None
) -> Iterator[bytes]:
    """Yield the lines of a vocabulary that the first stretches gave it."""
    directory = job.new_ids(vocabulary)
    numbers = sorted(int(path.stem) for path in directory.glob("[0-9]*.txt"))
    for number in numbers:
        if stretches is None or number < stretches:
            yield (directory / f"{number}.txt").read_bytes()


def _summary(job: jobs.Job, result: Result) -> dict:
    last = result.plan.days[-1]
    totals = assembling.tallied(result.plan, result.tallies, last).totals()
    totals.update(result.totals)
    summary = tally.summary(totals)
    spaces = id_space.load(
        (
            table
            for table in job.spec.data_spec().tables
            if any(
                f.table == table.name and f.default is not None
                for f in job.spec.features
            )
        ),
        job.directory,
    )
    id_checks.warn_of_defaults(job.spec, spaces)
    alike = {}
    for table in job.spec.data_spec().tables:
        count, pairs = result.alike.get(table.name, (0, []))
        if count:
            id_checks.reject_alike(job.spec, table.name, pairs[0], count)
            alike[table.name] = pairs
    summary |= {"crossings": {}, "alike": alike}
    if job.spec.sources:
        data = data_directory.DataDirectory(job.directory)
        days = [(data, day) for day in data.days(features.NATURAL)]
        summary["sources"] = two_passes.of_sources(job.spec, days)
    return summary


class _State:
    """The parts of a state at the end of a day.

    Args:
      job: of the conversion.
      result: of the pipeline.
      moment: of the state.
      day: the day.
      place: the folder to write to.
    """

    def __init__(
        self,
        job: jobs.Job,
        result: Result,
        moment: str,
        day: int,
        place: pathlib.Path,
    ):
        self._job = job
        self._result = result
        self._moment = moment
        self._day = day
        self._place = place

    def write(self) -> None:
        """Write the file of each part."""
        spec = self._job.spec
        for role in (spec.user, spec.item):
            self._write_keys(role)
        for name in row_features.histories(spec):
            self._write_history(f"history-{name}")
        for count in spec.counts:
            for domain in features.DOMAINS:
                if count.domain in (domain, "both", "same"):
                    self._write_count(f"count-{count.name}-{domain}")
        with self._archive("ages") as file:
            of = self._pieces("ages")
            self._add_by_key(file, of, "first", _FIRST)
        for domain in spec.negatives:
            clicks = drawing.tail(
                self._job, self._result.plan, domain, self._day
            )
            arrays: dict = {f"tail/{name}": c for name, c in clicks.items()}
            np.savez(self._place / f"negatives-{domain}.npz", **arrays)
        with self._archive("seen_pairs") as file:
            of_pairs = self._pieces("seen_pairs")
            file.add(
                "pairs",
                np.int64,
                lambda: (
                    pairs for pairs, _ in of_pairs.merged("pairs", "pairs")
                ),
            )
        self._write_summary()

    def _archive(self, part: str) -> pieces.Archive:
        return pieces.Archive(self._place / f"{part}.npz")

    def _pieces(self, part: str) -> pieces.Pieces:
        return pieces.Pieces(self._job.pieces(self._moment, part))

    def _add_by_key(
        self,
        file: pieces.Archive,
        of: pieces.Pieces,
        name: str,
        fill: int,
        dtype: type = np.int64,
    ) -> None:
        size = self._job.range_keys
        file.add(name, dtype, lambda: of.by_key(name, size, fill))

    def _write_keys(self, role: str) -> None:
        until = self._result.plan.until(self._day)
        with self._archive(f"keys-{role}") as file:
            file.add(
                "text",
                np.uint8,
                lambda: (
                    np.frombuffer(lines, np.uint8)
                    for lines in _lines(self._job, ("keys", role), until)
                ),
            )

    def _write_history(self, part: str) -> None:
        of = self._pieces(part)
        with self._archive(part) as file:
            self._add_by_key(file, of, "held", 0, np.int32)
            file.add("items", np.int32, lambda: of.chunks("items"))

    def _write_count(self, part: str) -> None:
        of = self._pieces(part)
        days, sizes = np.zeros((2, 0), np.int64)
        if of.numbers:
            days = of.array(of.numbers[0], "days")
            every = [of.array(number, "sizes") for number in of.numbers]
            sizes = np.sum(every, 0)
        by_day = range(len(days))
        with self._archive(part) as file:
            self._add_merged(file, of, ("keys", "counts"), [None])
            file.put("days", days)
            file.put("sizes", sizes)
            self._add_merged(file, of, ("day_keys", "day_counts"), by_day)

    def _add_merged(
        self,
        file: pieces.Archive,
        of: pieces.Pieces,
        names: tuple[str, str],
        days: Iterable[int | None],
    ) -> None:
        """Add keys and values of pieces, one day after the other."""

        def made(place: int) -> Iterator[np.ndarray]:
            for day in days:
                for pair in of.merged(*names, day):
                    yield pair[place]

        for place, name in enumerate(names):
            file.add(name, np.int64, functools.partial(made, place))

    def _write_summary(self) -> None:
        made = assembling.tallied(
            self._result.plan, self._result.tallies, self._day
        )
        arrays = made.arrays()
        of = self._pieces("summary")
        with self._archive("summary") as file:
            for domain, role in itertools.product(
                features.DOMAINS, ("user", "item")
            ):
                name = f"{domain}_{role}"
                del arrays[name]
                self._add_by_key(file, of, name, 0)
            for name, array in arrays.items():
                file.put(name, array)
