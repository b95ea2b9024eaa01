"""The pipeline: what is done to what, and what is brought together by key."""

import pathlib
import pickle
import typing
from collections.abc import Iterable

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.options import pipeline_options

from ecdctr_tf.input import data_directory
from ecdctr_tf.input.beam import (
    assembling,
    drawing,
    exchange,
    finishing,
    numbering,
    past,
    planning,
    reading,
)
from ecdctr_tf.input.beam import job as jobs
from ecdctr_tf.input.conversion import converter, id_checks, toml_spec

_RESULT = "result.pickle"
_APPEARED, _RANKS = "appeared", "ranks"


def convert(
    spec: toml_spec.ConversionSpec,
    source: str,
    out: str | pathlib.Path,
    options: pipeline_options.PipelineOptions,
    paths: dict[str, str] | None = None,
    file_format: str = "blocks",
    rows_per_file: int = converter.ROWS_PER_FILE,
    **sizes: int,
) -> dict:
    """Write a data directory by a Beam pipeline; see `convert_logs`.

    Args:
      spec: the conversion spec.
      source: folder or URI that relative paths start from, seen by all workers.
      out: the data directory, on a file system that all workers see; must not
        exist.
      options: of the runner.
      paths: name of a log -> path to read instead.
      file_format: "blocks" or "examples".
      rows_per_file: rows of a TFRecord file, which are in memory together.
      **sizes: of parts; see `job.Job`.

    Returns:
      The summary.

    Raises:
      FileExistsError: `out` exists.
      ValueError: the logs do not hold what they should, or the spec asks for
        what a pipeline cannot do.
    """
    jobs.check(spec)

    def write(staging: pathlib.Path) -> dict:
        job = jobs.Job(spec, staging, file_format, rows_per_file, **sizes)
        job.work.mkdir()
        spec.data_spec().save(staging / data_directory.SPEC)
        files = reading.log_files(job, source, paths)
        try:
            with beam.Pipeline(options=options) as pipeline:
                build(pipeline, job, files)
        except Exception as error:
            jobs.raise_noted(job, error)
            raise
        with open(job.work / _RESULT, "rb") as file:
            return finishing.finish(job, pickle.load(file))

    return converter.new_directory(out, write, file_format, rows_per_file)


def build(
    pipeline: beam.Pipeline, job: jobs.Job, files: list[reading.LogFile]
) -> None:
    """Add all steps of a conversion to a pipeline."""
    through = exchange.Exchange(job)
    read = (
        pipeline
        | "Files" >> beam.Create(files)
        | "SpreadFiles" >> beam.Reshuffle()
        | "Read"
        >> beam.FlatMap(reading.read, job).with_outputs(
            reading.FACTS, reading.SECONDS, main="events"
        )
    )
    ends = (
        read[reading.SECONDS]
        | "CountSeconds" >> beam.CombinePerKey(planning.summed)
        | "End" >> beam.FlatMap(planning.ends)
    )
    plan = pvalue.AsSingleton(
        _once(pipeline, "Plan")
        | "Plan"
        >> beam.Map(
            planning.plan,
            job,
            len(files),
            pvalue.AsIter(read[reading.FACTS]),
            pvalue.AsIter(ends),
        )
    )
    divided = through.put("Events", read["events"]) | (
        "Divide" >> beam.FlatMap(reading.divide, plan)
    )
    ordered = through.grouped("Stretch", through.put("Stretch", divided)) | (
        "Order" >> beam.Map(reading.order, job, plan)
    )
    encoded, sizes, alike = _numbered(ordered, job, plan, through)
    made = encoded
    if job.spec.negatives:
        made = drawing.drawn(encoded, job, plan, through)
    looked = made | "Look" >> beam.FlatMap(
        assembling.look, job, plan
    ).with_outputs(assembling.TALLIES, main="events")
    tallies = pvalue.AsDict(looked[assembling.TALLIES])
    known = through.grouped("Past", through.put("Past", looked["events"])) | (
        "GoThrough"
        >> beam.FlatMap(past.go_through, job, plan).with_outputs(
            past.TOTALS, main="found"
        )
    )
    found = through.put("Found", known["found"])
    rows = through.grouped("Found", _tokens("Found", made), found) | (
        "Rows" >> beam.FlatMap(assembling.rows, job, plan, tallies)
    )
    files_of_days = through.grouped("Rows", through.put("Rows", rows)) | (
        "Write" >> beam.Map(assembling.write, job)
    )
    tables = [table.name for table in job.spec.data_spec().tables]
    fingerprints = pvalue.AsDict(
        pipeline
        | "Tables" >> beam.Create(tables)
        | "Fingerprint"
        >> beam.Map(
            assembling.fingerprints, job, plan, sizes, pvalue.AsIter(encoded)
        )
    )
    days = _once(pipeline, "Days") | "Days" >> beam.FlatMap(
        assembling.days, plan
    )
    published = through.grouped("Days", days, files_of_days) | (
        "Publish"
        >> beam.Map(assembling.publish, job, plan, sizes, tallies, fingerprints)
    )
    _ = _once(pipeline, "Keep") | "Keep" >> beam.Map(
        _keep,
        job,
        plan,
        sizes,
        tallies,
        fingerprints,
        pvalue.AsIter(known[past.TOTALS]),
        pvalue.AsIter(alike),
        pvalue.AsIter(published),
        pvalue.AsIter(through.lost()),
    )


def _numbered(
    ordered: beam.PCollection,
    job: jobs.Job,
    plan: pvalue.AsSingleton,
    through: exchange.Exchange,
) -> tuple[beam.PCollection, pvalue.AsSingleton, beam.PCollection]:
    """Return stretches with columns, sizes of vocabularies, and alike ids."""
    appeared = through.put(
        "Ids",
        ordered | "Appear" >> beam.FlatMap(numbering.appeared, job, plan),
    )
    first = through.grouped("Ids", appeared) | (
        "First" >> beam.FlatMap(numbering.firsts)
    )
    ranked = through.grouped("First", through.put("First", first)) | (
        "Rank"
        >> beam.FlatMap(numbering.ranked).with_outputs(
            numbering.NEW, main=_RANKS
        )
    )
    sizes = pvalue.AsSingleton(
        _once(ordered.pipeline, "Before")
        | "Before"
        >> beam.Map(
            numbering.before, plan, pvalue.AsIter(ranked[numbering.NEW])
        )
    )
    ranks = through.put("Ranks", ranked[_RANKS])
    numbered = through.joined("Ranks", {_APPEARED: appeared, _RANKS: ranks}) | (
        "Number"
        >> beam.FlatMap(numbering.numbered, job, sizes).with_outputs(
            numbering.ALIKE, numbering.PADDINGS, main="numbers"
        )
    )
    numbers = through.put("Numbers", numbered["numbers"])
    encoded = through.grouped(
        "Numbers", _tokens("Numbers", ordered), numbers
    ) | (
        "Encode"
        >> beam.Map(
            assembling.encode,
            job,
            sizes,
            pvalue.AsDict(numbered[numbering.PADDINGS]),
        )
    )
    return encoded, sizes, numbered[numbering.ALIKE]


def _once(pipeline: beam.Pipeline, name: str) -> beam.PCollection:
    """Return one element, for what is done once of side inputs."""
    return pipeline | f"OnceFor{name}" >> beam.Create([None])


def _tokens(name: str, stretches: beam.PCollection) -> beam.PCollection:
    """Return pairs of a stretch and None, for stretches with nothing found."""
    return stretches | f"Tokens{name}" >> beam.Map(lambda n: (n, None))


def _keep(
    _: None,
    job: jobs.Job,
    plan: planning.Plan,
    sizes: dict,
    tallies: dict,
    fingerprints: dict[str, assembling.Fingerprints],
    totals: Iterable[dict],
    alike: Iterable[tuple[str, int, list]],
    published: Iterable[typing.Any],
    lost: Iterable[tuple[str, int]],
) -> None:
    """Write what the pipeline found, once all days are there.

    Raises:
      ValueError: the runner has lost something.
    """
    del published
    with jobs.noting(job):
        exchange.check(lost)
    summed: dict[tuple[str, str], int] = {}
    for part in totals:
        for key, count in part.items():
            summed[key] = summed.get(key, 0) + count
    of_tables: dict[str, tuple[int, list]] = {}
    for table, count, pairs in alike:
        before = of_tables.get(table, (0, []))
        of_tables[table] = before[0] + count, before[1] + pairs
    shown = {
        table: (count, [p for _, p in sorted(pairs)][: id_checks.SHOWN])
        for table, (count, pairs) in of_tables.items()
    }
    result = finishing.Result(plan, sizes, tallies, fingerprints, summed, shown)
    with jobs.scratch(job.work / _RESULT) as path, open(path, "wb") as file:
        pickle.dump(result, file)
