"""All diagnostics of a data directory and, if there is one, of a run on it."""

import dataclasses
import pathlib
from collections.abc import Sequence

from ecdctr_tf import config as configs
from ecdctr_tf.diagnostics import (
    by_source,
    counting,
    daily_constants,
    domain_shift,
    item_ctr,
    one_domain,
    overlap,
    sections,
    snapshot_drift,
    verdicts,
)
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import coverage, measures, scored, slices, text
from ecdctr_tf.results import models as models_lib
from ecdctr_tf.training.workdir import Workdir

# Newest days of ads that the verdicts on overlap are of.
_LAST_DAYS = 7


def write(
    data: DataDirectory,
    run_dirs: Sequence[pathlib.Path],
    out_dir: pathlib.Path,
    config: configs.Config,
    notes: Sequence[str] = (),
) -> dict:
    """Measure whether transfer can pay, and write what came out.

    Args:
      data: the data directory.
      run_dirs: work directories, one a seed; they are read only, and may be
        empty or missing. Snapshots are those of the first.
      out_dir: gets `diagnostics.json`, `diagnostics.md` and `index.html`; files
        there are replaced.
      config: says the seed, the features that models leave out, how history
        is read, and the first day that a report is of.
      notes: sentences that qualify the numbers.

    Returns:
      What `diagnostics.json` holds: `overlap` (`Overlap.result`), `item_ctr`
      (`ItemCTR.result`), `sources` (`BySource.result`; left out where the logs
      do not say theirs), `domain_shift`, `daily_constants`, `one_domain` and
      `snapshot_drift` (what each module's `measure` returns), `alarm` (what
      `alarm.alarm` returns, and `metrics` by day), `verdicts` (fields of
      `Verdict`) and `notes`.

    Raises:
      FileNotFoundError, ValueError: there are no days of a domain, or
        something read is damaged.
    """
    runs = [Workdir(pathlib.Path(path)) for path in run_dirs]
    found = {
        **_counted(data),
        "domain_shift": domain_shift.measure(
            data, config.model.exclude, config.seed
        ),
        "daily_constants": daily_constants.measure(
            data, config.model.exclude, config.seed
        ),
        "one_domain": one_domain.measure(
            data, config.model.exclude, config.seed
        ),
        "snapshot_drift": snapshot_drift.measure(runs[0].tpm) if runs else {},
        "alarm": _alarm(data, runs, config),
        "notes": [*notes, *_cautions(data)],
    }
    found["verdicts"] = [
        dataclasses.asdict(verdict) for verdict in verdicts.verdicts(found)
    ]
    page = sections.diagnostics_page(found)
    written = {"diagnostics.json": text.to_json(found)}
    page.write(out_dir, "diagnostics", written)
    sections.print_table(page, out_dir)
    return found


def _alarm(
    data: DataDirectory, runs: Sequence[Workdir], config: configs.Config
) -> dict | None:
    """Return where E-CDCTR loses to ads only, and the metrics of both by day.

    None where no day from the first reported one on was scored by both.
    """
    begun = runs[0].kept_config() if runs else None
    if begun is not None:
        config = dataclasses.replace(begun, schedule=config.schedule)
    names = (models_lib.MAIN, models_lib.BASELINE)
    models, _ = models_lib.of_workdirs(runs, config)
    models = [model for model in models if model.name in names]
    days = [
        day
        for day in models_lib.common_days(models)
        if day >= config.schedule.report_first
    ]
    if len(models) < len(names) or not days:
        return None
    held = coverage.of_models(models, days, data)
    read = {d: scored.read(data, models, d, held.get(d)) for d in days}
    by_day = {
        name: {m: of for m, of in measures.of_day(day).items() if m in names}
        for name, day in read.items()
    }
    by_slice = scored.by_slice(data, list(read.values()), [names])
    found = measures.alarm_of(by_day, days, by_slice)
    return found and {**found, "metrics": by_day}


def _counted(data: DataDirectory) -> dict:
    """Return what one pass over the rows counts."""
    days = data.days(counting.ADS)
    if not days:
        raise FileNotFoundError(f"{data.path / counting.ADS} holds no days.")
    last_from = days[-_LAST_DAYS:][0]
    sizes = scored.table_sizes(data)
    unknown = scored.unknown_rows(data.spec)
    known = overlap.Overlap(sizes, unknown, last_from)
    items = item_ctr.ItemCTR(sizes["item"], unknown["item"])
    sources = by_source.BySource(data.sources, sizes, unknown, last_from)
    for rows in counting.walk(data):
        known.add(rows)
        items.add(rows)
        sources.add(rows)
    found = {"overlap": known.result(), "item_ctr": items.result()}
    if data.sources:
        found["sources"] = sources.result()
    return found


def _cautions(data: DataDirectory) -> list[str]:
    """Return a note on tables whose ids share rows."""
    spec = data.spec
    tables = {
        spec.table(spec.feature(getattr(spec, role)).table)
        for role in slices.ROLES
    }
    return [
        f"Ids of table {table.name!r} are hashed and share rows, so overlap "
        "and activity are overstated."
        for table in sorted(tables, key=lambda table: table.name)
        if table.ids == "hashing"
    ]
