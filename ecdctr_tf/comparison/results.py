"""What a comparison came to: tables with intervals, slices, costs, forgetting.

Shapes: N rows of a day.
"""

import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from ecdctr_tf import metrics, store, windows
from ecdctr_tf.comparison import costs, forgetting, page, rescoring
from ecdctr_tf.comparison.matrix import Runs
from ecdctr_tf.diagnostics import alarm
from ecdctr_tf.evaluation import runs as runs_lib
from ecdctr_tf.evaluation import scored_rows, slices
from ecdctr_tf.evaluation import summary as summary_lib
from ecdctr_tf.input.data_directory import DataDirectory

MAIN, BASELINE = "e_cdctr", "ads_only"
# Scored like a model: E-CDCTR on days when no historical vector can be had.
DOWN = "e_cdctr_history_down"


def write(
    data: DataDirectory,
    runs: Sequence[Runs],
    out_dir: pathlib.Path,
    notes: Sequence[str] = (),
    replicates: int = 1000,
) -> dict:
    """Write the results of a comparison.

    Args:
      data: the data directory.
      runs: the runs of each variant, of the same seeds.
      out_dir: gets `results.json`, `results.md`, `results.csv`, `index.html`
        and `plots/`; files there are replaced.
      notes: sentences that qualify the numbers.
      replicates: of the bootstrap.

    Returns:
      What `results.json` holds: `models` (name -> metric -> mean, std, low,
      high), `differences` ("a - b" -> metric -> the same and `significant`),
      `slices`, `alarm` (see `diagnostics.alarm`), `costs`, `forgetting` and
      `forgetting_differences` (see `forgetting.measured`), `tuning`, `labels`,
      `days`, `seeds`, `notes`.

    Raises:
      ValueError: runs scored different rows of a day, or none.
    """
    config = runs[0].config
    days = _common_days(runs)
    days = summary_lib.averaged_days(days, config.schedule.report_first)
    spans = {
        day: _run(runs[0], 0).window(runs[0].variant.base, day) for day in days
    }
    scored = _scored(data, runs, spans)
    names = list(scored[0].ctr)
    found = metrics.intervals(
        scored,
        _pairs(names),
        pooled=config.schedule.report_pooled,
        replicates=replicates,
        progress=True,
    )
    by_slice = _slices(data, runs, spans, scored)
    results = {
        **dataclasses.asdict(found),
        "labels": {name: page.label(name) for name in names},
        "slices": by_slice,
        "alarm": _alarm(days, scored, by_slice),
        "costs": {
            r.variant.name: costs.costs(r.workdirs[0], r.config, r.variant)
            for r in runs
        },
        **forgetting.measured(data, runs, list(spans.values())),
        "tuning": {r.variant.name: r.trials for r in runs if r.trials},
        "days": days,
        "seeds": [_run(runs[0], i).name for i in range(len(runs[0].workdirs))],
        "pooled": config.schedule.report_pooled,
        "notes": [*notes, *_caution(len(runs[0].workdirs))],
    }
    files = {
        "results.json": json.dumps(results, indent=1) + "\n",
        "results.csv": _csv(results),
        **page.files(results),
    }
    for name, content in files.items():
        store.write_text(out_dir / name, content)
    page.print_table(results, out_dir)
    return results


def _caution(seeds: int) -> list[str]:
    """Return a note on intervals of few seeds; see `metrics.bootstrap`."""
    if seeds >= 5:
        return []
    return [
        f"With {seeds} {'seed' if seeds == 1 else 'seeds'} the intervals say "
        "too little of how seeds differ: where nothing but seeds differs, an "
        "interval of three holds the truth 75 times in 100."
    ]


def _run(runs: Runs, seed: int) -> runs_lib.Run:
    return runs_lib.Run(runs.workdirs[seed].path)


def _common_days(runs: Sequence[Runs]) -> list[str]:
    """Return the days that all runs scored, in order."""
    days = [
        set(_run(r, i).scored_days(r.variant.base))
        for r in runs
        for i in range(len(r.workdirs))
    ]
    common = sorted(set.intersection(*days))
    if not common:
        raise ValueError("No day was scored by all of the variants.")
    return common


def _scored(
    data: DataDirectory,
    runs: Sequence[Runs],
    spans: dict[str, windows.Window],
) -> list[metrics.ScoredRows]:
    """Return the rows of each day with all predictions, the truth's too."""
    down = _without_history(data, runs, list(spans.values()))
    found = []
    for place, (day, span) in enumerate(spans.items()):
        ctr, first = {}, None
        for r in runs:
            scores = [
                _run(r, i).scores(r.variant.base, day)
                for i in range(len(r.workdirs))
            ]
            first = first or scores[0]
            for of_seed in scores:
                if not np.array_equal(of_seed["click"], first["click"]):
                    raise ValueError(
                        f"{r.variant.name} scored other rows of {day} than "
                        f"{runs[0].variant.name}. Compare on one data "
                        "directory, in a new --workdir."
                    )
            ctr[r.variant.name] = [of_seed["ctr"] for of_seed in scores]
        if down:
            ctr[DOWN] = [of_seed[place]["ctr"] for of_seed in down]
        truth = rescoring.truth(data, span)
        if truth is not None:
            ctr[runs_lib.ORACLE] = [truth]
        found.append(metrics.ScoredRows(first["click"], first["user"], ctr))
    return found


def _slices(data, runs, spans, scored) -> dict:
    """Return the metrics of slices of the rows, of the first seed."""
    held = {}
    for r in runs:
        if r.variant.name == MAIN and r.config.model.history:
            historical = runs_lib.Run(r.workdirs[0].historical.parent)
            held = scored_rows.held_rows(
                historical, list(spans), data, r.config.history
            )
    days = []
    for (day, span), rows in zip(spans.items(), scored, strict=True):
        read = _run(runs[0], 0).scores(runs[0].variant.base, day)
        roles = {role: read[role] for role in slices.ROLES}
        ctr = {name: seeds[0] for name, seeds in rows.ctr.items()}
        days.append(
            slices.ScoredDay(
                span.first, rows.click, roles, ctr, held.get(day, {})
            )
        )
    return scored_rows.measure(data, days)


def _alarm(days, scored, by_slice) -> dict | None:
    """Return where E-CDCTR loses to ads only; None without both models."""
    models = (MAIN, BASELINE)
    if not all(model in scored[0].ctr for model in models):
        return None
    by_day = {}
    for day, rows in zip(days, scored, strict=True):
        seeds = [
            {
                model: metrics.evaluate(rows.click, ctr, rows.user)
                for model, ctr in zip(models, pair, strict=True)
            }
            for pair in zip(*(rows.ctr[model] for model in models), strict=True)
        ]
        by_day[day] = alarm.means(seeds)
    return alarm.alarm(by_day, by_slice, *models)


def _without_history(data, runs, spans) -> list[list[dict]]:
    """Return the scores of E-CDCTR with its history down, for each seed.

    None where the first scored day is reported: the model that scored it was
    not published, so it cannot be asked again.
    """
    return [
        rescoring.without_history(data, run, r.config, r.variant, spans)
        for r in runs
        if r.variant.name == MAIN and r.config.model.history
        for run in r.workdirs
        if store.dated(run.ctr(r.variant.base))[0] < spans[0].first
    ]


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return E-CDCTR against each other model, and each against ads only."""
    models = [name for name in names if name != runs_lib.ORACLE]
    pairs = [(MAIN, n) for n in models if n != MAIN and MAIN in models]
    if BASELINE in models:
        pairs += [(n, BASELINE) for n in models if n not in (MAIN, BASELINE)]
    return pairs


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
