"""All diagnostics of a data directory and, if there is one, of a run on it."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

from ecdctr_tf import config as configs
from ecdctr_tf import store
from ecdctr_tf.diagnostics import (
    counting,
    daily_constants,
    domain_shift,
    item_ctr,
    overlap,
    page,
    scored,
    snapshot_drift,
    verdicts,
)
from ecdctr_tf.evaluation import runs as runs_lib
from ecdctr_tf.evaluation import scored_rows, slices
from ecdctr_tf.input.data_directory import DataDirectory

# Newest days of ads that the verdicts on overlap are of.
_LAST_DAYS = 7


def write(
    data: DataDirectory,
    run_dirs: Sequence[pathlib.Path],
    out_dir: pathlib.Path,
    config: configs.Config,
    notes: Sequence[str] = (),
    progress: bool = True,
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
      progress: whether to show bars and print the verdicts.

    Returns:
      What `diagnostics.json` holds: `overlap` (`Overlap.result`), `item_ctr`
      (`ItemCTR.result`), `domain_shift`, `daily_constants`, `snapshot_drift`
      and `alarm` (what each module's `measure` returns), `verdicts` (fields of
      `Verdict`) and `notes`.

    Raises:
      FileNotFoundError, ValueError: there are no days of a domain, or
        something read is damaged.
    """
    runs = [runs_lib.Run(pathlib.Path(path)) for path in run_dirs]
    found = {
        **_counted(data, progress),
        "domain_shift": domain_shift.measure(
            data, config.model.exclude, config.seed, progress=progress
        ),
        "daily_constants": daily_constants.measure(
            data, config.model.exclude, config.seed
        ),
        "snapshot_drift": (
            snapshot_drift.measure(runs[0].path / "tpm") if runs else {}
        ),
        "alarm": scored.measure(
            data, runs, config.history, config.schedule.report_first
        ),
        "notes": [*notes, *_cautions(data)],
    }
    found["verdicts"] = [
        dataclasses.asdict(verdict) for verdict in verdicts.verdicts(found)
    ]
    written = {
        "diagnostics.json": json.dumps(found, indent=1) + "\n",
        **page.files(found),
    }
    for name, content in written.items():
        store.write_text(out_dir / name, content)
    if progress:
        page.print_table(found, out_dir)
    return found


def _counted(data: DataDirectory, progress: bool) -> dict:
    """Return what one pass over the rows counts."""
    days = data.days(counting.ADS)
    if not days:
        raise FileNotFoundError(f"{data.path / counting.ADS} holds no days.")
    table_rows = data.table_rows(days[-1])
    sizes = {
        role: table_rows[data.spec.feature(getattr(data.spec, role)).table]
        for role in slices.ROLES
    }
    unknown = scored_rows.unknown_rows(data.spec)
    known = overlap.Overlap(sizes, unknown, days[-_LAST_DAYS:][0])
    items = item_ctr.ItemCTR(sizes["item"], unknown["item"])
    for rows in counting.walk(data, progress):
        known.add(rows)
        items.add(rows)
    return {"overlap": known.result(), "item_ctr": items.result()}


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
