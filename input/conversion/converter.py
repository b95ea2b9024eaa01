"""Events of both domains to a data directory: a new one, or more days of one.

A new directory is made under another name beside its place and renamed at the
end, so it is there whole or not at all. Days are appended to one as `appending`
says; what of the past they need is in the directory (`state`). How
rows are made of events is in `two_passes`.
"""

import json
import pathlib
from collections.abc import Iterable

import pyarrow as pa

from ecdctr_tf import store
from ecdctr_tf.input import data_directory
from ecdctr_tf.input.conversion import appending, state, toml_spec, two_passes

ROWS_PER_FILE = 131_072
SUMMARY = state.SUMMARY


def convert_tables(
    spec: toml_spec.ConversionSpec,
    tables: Iterable[tuple[str, pa.Table]],
    out: str | pathlib.Path,
    file_format: str = "blocks",
    rows_per_file: int = ROWS_PER_FILE,
    progress: bool = True,
) -> dict:
    """Write a data directory from tables in memory, one after the other.

    Args:
      spec: tables, features and rules; its `logs` are not read.
      tables: pairs of a domain ("natural" or "ads") and a table of any size,
        in any order of time. Columns: one for each `[[features]]` entry (its
        `column`, or else its name; so `user_id` and `item_id`), `timestamp`
        (seconds UTC or an Arrow timestamp, UTC unless it has a zone), the
        evaluation columns; `click` (0 or 1) unless the domain is clicks only,
        and optionally `day`, checked against the time. Other columns are
        dropped.
      out: the data directory; must not exist.
      file_format: "blocks" or "examples".
      rows_per_file: rows of a TFRecord file, which are in memory together.
      progress: whether to show bars on stderr.

    Returns:
      The summary, as saved in `summary.json`: see `tally`.

    Raises:
      FileExistsError: `out` exists.
      ValueError: a table does not hold what it should, there are no rows, a
        domain of clicks only has no `negatives` in the spec, or another
        process is converting to `out`.
    """
    out = pathlib.Path(out)
    _check(file_format, rows_per_file)
    if out.exists():
        raise FileExistsError(
            f"{out} already exists. Append days to it (`--append`), delete it, "
            "or choose another directory."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    doing = f"converting logs to {out}"
    with store.lock(out.parent, doing, f".{out.name}.lock"):
        store.sweep(out.parent, out.name)
        with store.staged(out) as staging:
            passes = two_passes.Passes(
                spec, staging, file_format, rows_per_file
            )
            passes.read(tables, progress)
            summary = passes.write(progress)
            store.sync(staging)
            store.rename(staging, out)
    return summary


def append_tables(
    spec: toml_spec.ConversionSpec,
    tables: Iterable[tuple[str, pa.Table]],
    out: str | pathlib.Path,
    file_format: str = "blocks",
    rows_per_file: int = ROWS_PER_FILE,
    progress: bool = True,
) -> dict:
    """Append days to a data directory, as if all had been converted at once.

    Days in between without events are written too, as a window has no holes.
    Interrupted at any moment, the directory is taken back to what it was by
    the next append, which may be of the same tables or others. If all was in
    place already, the same tables given again are accepted. Readers see whole
    days, and vocabularies that hold all their ids.

    Args:
      spec: the one that `out` was converted with; what says how to read logs
        may differ: `logs`, `first_day`, and what is done about null users and
        items and wrong times.
      tables: as of `convert_tables`, of days after the last one of `out`.
      out: the data directory, made by `convert_tables`.
      file_format: that of the days of `out`.
      rows_per_file: rows of a TFRecord file, which are in memory together.
      progress: whether to show bars on stderr.

    Returns:
      The summary of all days, as saved in `summary.json`.

    Raises:
      FileNotFoundError: there is no data directory at `out`, or it has no
        state to append to.
      ValueError: as `convert_tables`; a table has events of a day up to the
        last one of `out`; spec, format or state are not those of `out`; or
        another append to `out` is under way.
    """
    out = pathlib.Path(out)
    _check(file_format, rows_per_file)
    # A lock would make a directory where there is none.
    data_directory.DataDirectory(out)
    with store.lock(out, "appending days") as lock:
        past = state.load(out, spec, file_format)
        finished = appending.finished(lock, past)
        appending.clean(past)
        with store.staged(out / "append") as staging:
            passes = two_passes.Passes(
                spec, staging, file_format, rows_per_file, past
            )
            given = passes.read(tables, progress, finished)
            if given == finished:
                return json.loads((out / SUMMARY).read_text("utf-8"))
            summary = passes.write(progress)
            appending.begin(lock, past, given)
            appending.move_in(staging, out)
    return summary


def _check(file_format: str, rows_per_file: int) -> None:
    if file_format not in data_directory.FORMATS:
        raise ValueError(
            f"The format should be one of {', '.join(data_directory.FORMATS)}. "
            f"Received: {file_format!r}"
        )
    if rows_per_file < 1:
        raise ValueError(
            f"`rows_per_file` should be at least 1. Received: {rows_per_file}"
        )
