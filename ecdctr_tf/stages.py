"""The stages in order, for one seed or several."""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from ecdctr_tf import artefacts, diagnostics, export, store, windows
from ecdctr_tf.comparison import matrix, search, variants
from ecdctr_tf.distributed import clusters
from ecdctr_tf.erasure import expiry, runs
from ecdctr_tf.erasure import stage as erasure
from ecdctr_tf.export import checks
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.monitoring import prometheus, tracking
from ecdctr_tf.operation import (
    auto,
    family,
    pages,
    record,
    replay,
    retention,
)
from ecdctr_tf.request import Request
from ecdctr_tf.results import data_sets, given, page, report, sections, text
from ecdctr_tf.results import models as models_lib
from ecdctr_tf.training import daily, history, mixing, natural, schedule
from ecdctr_tf.training.level import Level

_ENTROPY = "normalized_entropy"


def run(request: Request) -> None:
    """Run a stage, or all of them.

    Raises:
      FileNotFoundError, ValueError: what the stage needs is missing or does
        not fit; nothing published before is changed.
    """
    if request.workdir is not None and request.stage not in _CHANGING:
        runs.check_finished(request.workdir)
    if request.deterministic:
        tf.config.experimental.enable_op_determinism()
    if request.stage in WITHOUT_LOGS:
        return WITHOUT_LOGS[request.stage](request)
    clusters.check(request.role, request.models)
    if not request.role.leads:
        clusters.follow(request.role, request.data_dir, request.workdir)
        return
    with clusters.lead(request.role, request.workdir) as cluster:
        _run(dataclasses.replace(request, cluster=cluster))


def _run(request: Request) -> None:
    """Run stages that read logs."""
    data = DataDirectory(request.data_dir, request.config.input.damaged)
    data.check_days()
    if request.stage in APART:
        APART[request.stage](data, request)
        return
    # A misspelt name is rejected before anything is trained.
    data.without(request.config.model.exclude)
    if request.stage != "all":
        _watched(request.stage, data, request)
        _keep_config(request)
        return
    summary = refusal = None
    for stage in ("tpm", "aggregate", "cpm", "ctr", "export", "report"):
        if stage == "report" and not data.days("ads"):
            logging.warning("There is no report: there are no ads yet.")
            continue
        try:
            summary = _watched(stage, data, request)
        except export.RefusedError as error:
            refusal = error  # The report shows what is wrong.
    _keep_config(request)
    if summary is not None:
        sections.print_table(summary)
    if refusal is not None:
        raise refusal


def _watched(stage: str, data: DataDirectory, request: Request) -> dict | None:
    """Run a stage and write what monitoring reads, also if some is not done."""
    found = undone = None
    try:
        found = STAGES[stage](data, request)
    except (export.RefusedError, auto.UnfinishedError) as error:
        undone = error
    if not request.dry_run:
        try:
            _monitor(request)
        except (OSError, ValueError) as error:
            # The command ends as its stage did, whatever gauges find beside it.
            logging.warning("Monitoring: %s", error)
    if undone is not None:
        raise undone
    return found


def _monitor(request: Request) -> None:
    """Write the gauges of the run, and log its artefacts to MLflow.

    Of several seeds, the gauges are those of the first.

    Raises:
      FileNotFoundError: there is no work directory.
      ValueError: the newest artefact of a level is damaged; the gauges of the
        others are written.
    """
    if not request.workdir.is_dir():
        raise FileNotFoundError(
            f"There is no work directory at {request.workdir}."
        )
    runs = request.runs()
    run_dir, _ = runs[0]
    damaged = prometheus.write(
        request.metrics_file or run_dir.path / prometheus.FILE,
        run_dir.levels(),
        request.export_place,
        record.newest(request.workdir),
    )
    if damaged:
        raise ValueError(" ".join(damaged))
    for run_dir, config in runs:
        if config.monitoring.mlflow:
            tracking.log(config.monitoring.mlflow, run_dir.levels())


def _keep_config(request: Request) -> None:
    """Leave the config of the last command that succeeded, for `--config`."""
    if request.dry_run:
        return
    for run_dir, config in request.runs():
        if run_dir.path.is_dir():
            store.write_text(run_dir.config_file, config.to_json())


def _tpm(data: DataDirectory, request: Request) -> None:
    _natural(data, request, artefacts.TPM)


def _cpm(data: DataDirectory, request: Request) -> None:
    _natural(data, request, artefacts.CPM)


def _natural(data: DataDirectory, request: Request, kind: str) -> None:
    """Train TPMs or CPMs on the window asked for, or on those planned."""
    for level in request.levels(data, kind):
        with _said(level):
            if request.window is not None:
                natural.train(level, request.window)
            else:
                natural.train_planned(level)


@contextlib.contextmanager
def _said(level: Level) -> Iterator[None]:
    """Print one line on what a level publishes in the `with` block."""
    before = store.dated(level.directory)
    yield
    level.check_newest()
    published = store.dated(level.directory)
    new = [day for day in published if day not in before]
    names = {artefacts.TPM: "TPM", artefacts.CPM: f"CPM of {level.row.label}"}
    title = names.get(level.kind, level.row.label)
    if not new:
        said = (
            f"nothing new, up to {published[-1]}"
            if published
            else "nothing to do"
        )
        print(f"{title}: {said}")
        return
    found = [store.read_manifest(level.directory / d, level.kind) for d in new]
    seconds = sum(of.metrics.get("seconds", 0) for of in found)
    print(
        f"{title}: {text.plural(len(new), 'window')} up to {new[-1]} in "
        f"{text.duration(seconds)}{_quality(found)}"
    )


def _quality(found: list[store.Manifest]) -> str:
    """Return the means of what windows came to."""
    said = ""
    for key, label in (("loss", "loss"), ("auc", "AUC"), (_ENTROPY, "NE")):
        values = [of.metrics.get(key) for of in found]
        known = [value for value in values if value is not None]
        if known:
            said += f", {label} {sum(known) / len(known):.4f}"
            if key == _ENTROPY and sum(known) > len(known):
                said += " (above 1: worse than a constant)"
    return said


def _aggregate(data: DataDirectory, request: Request) -> None:
    last = request.window.last if request.window is not None else ""
    for place, config in request.histories(data).items():
        new = history.aggregate(place, config, last)
        print(
            f"aggregate: {text.plural(len(new), 'new historical version')} "
            f"({config.history.aggregation}) in {place.historical}, up to "
            f"{store.dated(place.historical)[-1]}"
        )


def _ctr(data: DataDirectory, request: Request) -> None:
    for level in request.levels(data, artefacts.CTR):
        if request.window is None:
            parts = schedule.plan(data, level.config.schedule).ctr
        else:
            parts = request.window.split(level.config.schedule.ctr_days)
        with _said(level):
            mixing.trainer(level).run(parts)


def _export(data: DataDirectory, request: Request) -> None:
    """Export the newest day of E-CDCTR in the first run, or of another model.

    Of several models without E-CDCTR, it is the first one asked for. Where
    there are no ads yet, it is what would score their first day.
    """
    run_dir, _ = request.runs()[0]
    name = request.exported_model
    days = store.dated(run_dir.ctr(name))
    if days and request.window is not None:
        there = f"{days[0]}..{days[-1]}" if len(days) > 1 else days[0]
        days = [day for day in days if day <= request.window.last]
        if not days:
            raise ValueError(
                f"{run_dir.ctr(name)} holds the days {there}, none of them up "
                f"to --end={request.window.last}. Set a later --end."
            )
    artefact = (
        run_dir.ctr(name) / days[-1] if days else _launched(data, request, name)
    )
    print(request.export(artefact))


def _launched(data: DataDirectory, request: Request, name: str) -> pathlib.Path:
    """Return an A-CTR for the day after `--end`, or after all natural days.

    Raises:
      FileNotFoundError: the model cannot do without ads, there are ads that it
        should be trained on first, or no CPM.
      ValueError: the CPM does not fit.
    """
    request = dataclasses.replace(request, models=(name,))
    level = next(request.levels(data, artefacts.CTR))
    eve = data.window("natural").last
    if request.window is not None:
        eve = request.window.last
    ads = any(day <= eve for day in data.days("ads"))
    if ads or not level.row.has_cpm:
        raise FileNotFoundError(
            f"{level.directory} holds no day to export. Train one with "
            "`python train_main.py --stage=ctr`. (Before the first day of ads "
            "a model that starts from a CPM is exported without.)"
        )
    return daily.DailyTrainer(level).launch(windows.plus(eve, 1))


def _report(data: DataDirectory, request: Request) -> dict:
    report_dir = request.report_dir or request.workdir / "report"
    models, left_out = models_lib.of_workdirs(
        [run_dir for run_dir, _ in request.runs()], request.config
    )
    notes = [*request.notes, *left_out]
    found = report.write(
        data,
        models,
        report_dir,
        notes,
        False,
        _scores(request),
        pages.sections(request.workdir),
    )
    if request.stage == "report":
        sections.print_table(found)
    return found


def _replay(data: DataDirectory, request: Request) -> None:
    """Replay dates, then report what they came to."""
    found = replay.run(data, request)
    if any(of.learned["ctr"] for of in found):
        sections.print_table(_report(data, request))
    else:
        logging.warning("There is no report: no day of ads was scored.")
    replay.check(found)


def _compare(data: DataDirectory, request: Request) -> None:
    """Tune, train and score variants; write what came out."""
    _scores(request)  # A file that does not fit is rejected before training.
    rows = variants.chosen(request.models, request.config.sources.exclude)
    models = matrix.Matrix(
        data, request.workdir, request.config, request.trials
    ).run(rows, request.seeds or (0,))
    report_dir = request.report_dir or request.workdir / "comparison"
    found = report.write(
        data, models, report_dir, request.notes, others=_scores(request)
    )
    if request.trials > 1:
        best = search.best(request.config, models)
        store.write_text(report_dir / "best.json", best.to_json())
        found["paths"].append(str(report_dir / "best.json"))
    sections.print_table(found)


def _scores(request: Request) -> list[given.Given]:
    """Return the scores of files that were asked for."""
    taken = [*variants.VARIANTS, *report.LABELS]
    found = []
    for flag in request.scores:
        found.append(given.read(flag, taken))
        taken.append(found[-1].name)
    return found


def _compare_sets(request: Request) -> None:
    """Write one table of comparisons on several data sets."""
    sets = data_sets.read(request.results)
    data_sets.print_table(
        data_sets.write(
            sets, request.reference, request.report_dir, request.notes
        )
    )


def _roll_back(request: Request) -> None:
    """Return to the exported version before the newest."""
    back, now = export.roll_back(request.export_dir, " ".join(request.notes))
    print(f"rolled version {back} back; {now} is the newest version now")


def _verify(request: Request) -> None:
    """Check an export, print what was found.

    Raises:
      ValueError: a check failed.
    """
    path, outcomes = checks.run(request.export_dir, request.pythons)
    failed = [of.check for of in outcomes if of.result == checks.FAILED]
    page.print_table(
        f"{path}",
        ["check", "result", "found"],
        {of.check: [of.result, of.detail] for of in outcomes},
        {name: "bold" for name in failed},
        [],
        "left",
    )
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(outcomes)} checks of {path} failed: "
            f"{', '.join(failed)}. Do not serve it."
        )


def _explain(request: Request) -> None:
    """Print the family tree of an artefact."""
    family.show(family.trace(request.path))


def _clean(request: Request) -> None:
    """Delete what is not needed and not to be kept, or say what that is."""
    export_dir = request.export_dir or request.workdir / "export"
    if not export_dir.is_dir():
        logging.warning(
            "There are no exported versions in %s. If they are elsewhere, give "
            "--export_dir, so that what they were made from stays.",
            export_dir,
        )
    with contextlib.ExitStack() as locks:
        if request.workdir.is_dir() and not request.dry_run:
            # Between its steps a clock holds no level.
            locks.enter_context(auto.locked(request))
        for run_dir, config in request.runs():
            freed = retention.clean(
                run_dir, export_dir, config, request.dry_run
            )
            retention.show(freed, run_dir.path, request.dry_run)


def _erase(request: Request) -> None:
    """Erase users from data, work directory and exported versions."""
    with _beside_no_clock(request):
        erasure.run(
            request.data_dir,
            request.workdir,
            request.export_place,
            request.users,
            request.dry_run,
        )


def _expire(request: Request) -> None:
    """Let ids expire from data, work directory and exported versions."""
    with _beside_no_clock(request):
        expiry.run(
            request.data_dir,
            request.workdir,
            request.export_place,
            request.unseen_days,
            request.dry_run,
        )


def _beside_no_clock(request: Request) -> contextlib.AbstractContextManager:
    """Return what keeps the clock out, which holds no level between steps."""
    if request.workdir.is_dir() and not request.dry_run:
        return auto.locked(request)
    return contextlib.nullcontext()


def _diagnose(data: DataDirectory, request: Request) -> None:
    """Look at the logs, and at a run if there is one; leave it as it is."""
    runs = request.runs() if request.workdir else []
    report_dir = request.report_dir or request.workdir / "diagnostics"
    run_dirs = [run_dir.path for run_dir, _ in runs]
    diagnostics.write(data, run_dirs, report_dir, request.config, request.notes)


STAGES = {
    "tpm": _tpm,
    "aggregate": _aggregate,
    "cpm": _cpm,
    "ctr": _ctr,
    "export": _export,
    "report": _report,
    "auto": auto.run,
    "replay": _replay,
}
# Stages that do not take up a run: its config is neither kept nor compared.
APART = {"compare": _compare, "diagnose": _diagnose}
# Stages that read neither logs nor runs.
WITHOUT_LOGS = {
    "compare_sets": _compare_sets,
    "rollback": _roll_back,
    "verify": _verify,
    "explain": _explain,
    "monitor": _monitor,
    "clean": _clean,
    "erase": _erase,
    "expire": _expire,
}
# Those that change artefacts, and go on where they were interrupted.
_CHANGING = ("erase", "expire")
