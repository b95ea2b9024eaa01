"""Everything that is known of scored models, measured and written.

The models are those of a work directory (`--stage=report`) or of a comparison
(`--stage=compare`): the page is the same, with fewer or more of them.
"""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from ecdctr_tf import metrics, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import (
    costs,
    coverage,
    details,
    forgetting,
    given,
    measures,
    rescoring,
    scored,
    sections,
    text,
)
from ecdctr_tf.results.models import (
    DOWN,
    MAIN,
    OF_SLICES,
    Model,
    common_days,
    seed_name,
    unscored,
)
from ecdctr_tf.results.page import Section
from ecdctr_tf.results.slices import ScoredDay

# Of the bootstrap of models and differences.
REPLICATES = 1000
LABELS = {"oracle": "oracle (true CTR)", DOWN: "E-CDCTR, history down"}


def write(
    data: DataDirectory,
    models: Sequence[Model],
    out_dir: pathlib.Path,
    notes: Sequence[str] = (),
    rescored: bool = True,
    others: Sequence[given.Given] = (),
    more: Sequence[Section] = (),
) -> dict:
    """Measure models on the days that all of them scored; write what came out.

    Args:
      data: the data directory.
      models: the models, of the same seeds.
      out_dir: gets `index.html`, `results.json`, `results.csv`, `results.md`,
        the short `summary.json` and `summary.md`, and `plots/<name>.png`;
        files there are replaced.
      notes: sentences that qualify the numbers.
      rescored: whether models of past days score again: what they forget, and
        E-CDCTR with its history down.
      others: scores from files, which join on the days that means are over.
      more: sections at the end of the page.

    Returns:
      `paths`, what was written, and what `results.json` holds:
      `models` (name -> metric -> fields of `metrics.Estimate`), `differences`
      ("a - b" -> metric -> fields of `metrics.Difference`, `days_higher`),
      `gap_closed` (model -> metric -> share of the way from ads only to the
      oracle), `by_day` (day -> model -> metrics), `slices` and `alarm` (see
      those modules), `coverage` (day -> shares), `costs`, `forgetting` and
      `forgetting_differences` (see `forgetting.measured`), `tuning`, `labels`,
      `ablations`, `days` (that means are over), `seeds`, `notes`,
      `worse_than_constant` (the notes that say so), `pooled` and
      `measures.COUNTS`.

    Raises:
      ValueError: no day was scored by all models, or they scored different
        rows of a day.
    """
    notes = [*notes, *data.losses(), *unscored(data, models)]
    results = _measured(data, models, notes, rescored, others)
    own = details.sections(models)
    page = sections.full_page(results, [*own, *more])
    files = {
        "results.json": text.to_json(results),
        "results.csv": _csv(results),
        "summary.json": text.to_json(measures.summary(results)),
        "summary.md": sections.short_page(results).markdown(),
    }
    paths = page.write(out_dir, "results", files, png=True)
    return {**results, "paths": paths}


def _measured(
    data: DataDirectory,
    models: Sequence[Model],
    notes: Sequence[str],
    rescored: bool,
    others: Sequence[given.Given],
) -> dict:
    """Return what `results.json` holds; see `write`."""
    names = common_days(models)
    reported = measures.reported_days(models, names)
    pooled = models[0].config.schedule.report_pooled
    held = coverage.of_models(models, names, data)
    every = {
        name: scored.read(data, models, name, held.get(name)) for name in names
    }
    days = [every[name] for name in reported]
    spans = [models[0].window(name) for name in reported]
    if rescored:
        days = _with_history_down(data, models, spans, days)
    for scores in others:
        days = [
            _joined(day, scores.name, [scores.of_day(data, span)])
            for span, day in zip(spans, days, strict=True)
        ]
    every |= zip(reported, days, strict=True)
    by_day = {name: measures.of_day(day) for name, day in every.items()}
    pairs = measures.pairs(list(days[0].ctr))
    found = dataclasses.asdict(
        metrics.intervals(
            [day.of(np.s_[:]) for day in days],
            pairs,
            pooled=pooled,
            replicates=REPLICATES,
            progress=True,
        )
    )
    for pair, of_metric in found["differences"].items():
        higher = measures.days_higher(by_day, reported, pair)
        for metric, of in of_metric.items():
            of["days_higher"] = higher[metric]
    against = [pair for pair in pairs if pair in OF_SLICES]
    by_slice = scored.by_slice(data, days, against)
    labels = LABELS | {model.name: model.label for model in models}
    labels |= {scores.name: scores.name for scores in others}
    worse = measures.worse_than_constant(found["models"], labels)
    return {
        **found,
        "gap_closed": measures.gaps_closed(found["models"]),
        "by_day": by_day,
        "slices": by_slice,
        "alarm": measures.alarm_of(by_day, reported, by_slice),
        "coverage": {
            name: coverage.shares(every[name].rows, known)
            for name, known in held.items()
        },
        "costs": {model.name: costs.costs(model) for model in models},
        **forgetting.measured(data, models if rescored else [], spans),
        "tuning": {m.name: list(m.trials) for m in models if m.trials},
        "labels": labels,
        "ablations": [model.name for model in models if model.ablation],
        "days": reported,
        "seeds": [seed_name(run) for run in models[0].workdirs],
        "pooled": pooled,
        **measures.counts(days),
        "notes": [*notes, *worse, *_caution(len(models[0].workdirs))],
        "worse_than_constant": worse,
    }


def _with_history_down(
    data: DataDirectory,
    models: Sequence[Model],
    spans: Sequence[windows.Window],
    days: Sequence[ScoredDay],
) -> list[ScoredDay]:
    """Return days with what E-CDCTR predicts of them without its history.

    They stay as they are where the first scored day is reported: the model
    that scored it was not published, so it cannot be asked again.
    """
    for model in models:
        if model.name != MAIN or not model.config.model.history:
            continue
        if model.scored_days(model.workdirs[0])[0] >= spans[0].first:
            continue
        seeds = [
            rescoring.without_history(data, model, run, spans)
            for run in model.workdirs
        ]
        return [
            _joined(day, DOWN, list(down))
            for day, down in zip(days, zip(*seeds, strict=True), strict=True)
        ]
    return list(days)


def _joined(day: ScoredDay, name: str, ctr: list[np.ndarray]) -> ScoredDay:
    return dataclasses.replace(day, ctr={**day.ctr, name: ctr})


def _caution(seeds: int) -> list[str]:
    """Return a note on intervals of few seeds; see `metrics.bootstrap`."""
    if seeds >= 5:
        return []
    if seeds == 1:
        return [
            "With one seed the intervals say how much other users would "
            "change, and nothing of other seeds."
        ]
    return [
        f"With {seeds} seeds the intervals say too little of "
        "how seeds differ: where nothing but seeds differs, an interval of "
        "three holds the truth 75 times in 100."
    ]


def _csv(results: dict) -> str:
    """Return models and differences, a line a number."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    fields = ("mean", "std", "low", "high")
    writer.writerow(("of", "metric", *fields))
    for part in ("models", "differences"):
        for name, of_metric in results[part].items():
            for metric, estimate in of_metric.items():
                values = [estimate[field] for field in fields]
                writer.writerow((name, metric, *values))
    return file.getvalue()
