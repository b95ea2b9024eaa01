"""Events of both domains to a data directory: a new one, or more days of one.

A new directory is made under another name beside its place and renamed at the
end, so it is there whole or not at all. Days are appended to one as `appending`
says; what of the past they need is in the directory (`state`). How
rows are made of events is in `two_passes`.
"""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from ecdctr_tf import features, store, windows
from ecdctr_tf.input import data_directory
from ecdctr_tf.input.conversion import (
    appending,
    exchanged,
    held,
    state,
    toml_spec,
    two_passes,
)

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
        and optionally `day`, checked against the time, and, where the spec has
        sources, `@source`, the name of each natural row's. Other columns are
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

    def write(staging: pathlib.Path) -> dict:
        passes = two_passes.Passes(spec, staging, file_format, rows_per_file)
        passes.read(tables, progress)
        return passes.write(progress)

    return new_directory(out, write, file_format, rows_per_file)


def new_directory(
    out: str | pathlib.Path,
    write: Callable[[pathlib.Path], dict],
    file_format: str,
    rows_per_file: int,
) -> dict:
    """Make a data directory, which is there whole or not at all.

    Args:
      out: the data directory; must not exist.
      write: makes a data directory of an empty one; returns its summary.
      file_format: "blocks" or "examples".
      rows_per_file: rows of a TFRecord file.

    Returns:
      The summary.

    Raises:
      FileExistsError: `out` exists.
      ValueError: as `write`; the format or the rows are none; or another
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
            summary = write(staging)
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

    Each domain is appended at its own pace: its days have to come after its
    own last day. A day that comes later than days of the other domain that are
    held has the rows that it would have if it had come in time; the days that
    are held stay as they are. Days in between without events are written too,
    as a window has no holes.
    Interrupted at any moment, the directory is taken back to what it was by
    the next append, which may be of the same tables or others. If all was in
    place already, the same tables given again are accepted. Readers see whole
    days, and vocabularies that hold all their ids.

    Where features have changed, the events of all days that are held are gone
    through once more, so that sequences and counts are right from the first new
    day on. The rows of these days stay, and lack the features that are new.

    Args:
      spec: the one that `out` was converted with. What says how to read logs
        may differ: `logs`, `first_day`, and what is done about null users and
        items and wrong times. Features may be added, removed or retyped; see
        `spec_changes`.
      tables: as of `convert_tables`, of days after the last one that `out`
        holds of their domain.
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
        last one of its domain; spec, format or state are not those of `out`; or
        another append to `out` is under way.
    """
    out = pathlib.Path(out)
    _check(file_format, rows_per_file)
    doing = "appending days"
    with _opened(spec, out, file_format, doing, True) as (lock, past):
        finished = appending.finished(lock, past)
        appending.clean(past)
        with store.staged(out / "append") as staging:
            passes = two_passes.Passes(
                spec,
                staging,
                file_format,
                rows_per_file,
                held.Held.all_of(past),
            )
            given = passes.read(tables, progress, finished)
            if given == finished:
                return json.loads((out / SUMMARY).read_text("utf-8"))
            summary = passes.write(progress)
            appending.begin(lock, past, given)
            if store.dated(staging / state.STATE) == [past.window.last]:
                appending.exchange(staging, out)
            else:
                appending.move_in(staging, out)
    return summary


def replace_day(
    spec: toml_spec.ConversionSpec,
    tables: Iterable[tuple[str, pa.Table]],
    out: str | pathlib.Path,
    day: str,
    file_format: str = "blocks",
    rows_per_file: int = ROWS_PER_FILE,
    progress: bool = True,
) -> exchanged.Exchanged:
    """Convert a day again, and all later days, which depend on it.

    The days come out as if all logs had been converted anew. Ids that only the
    former rows had are gone; ids after them may have other rows.

    Args:
      spec: the one that `out` was converted with; see `append_tables`.
      tables: as of `convert_tables`. Events of other days are passed over. A
        domain without events of the day keeps those it has.
      out: the data directory.
      day: the day, of those that `out` holds.
      file_format: that of the days of `out`.
      rows_per_file: rows of a TFRecord file, which are in memory together.
      progress: whether to show bars on stderr.

    Returns:
      What has changed.

    Raises:
      FileNotFoundError, ValueError: as `append_tables`, or `out` does not hold
        the day, or the tables have no events of it.
    """
    out = pathlib.Path(out)
    _check(file_format, rows_per_file)
    windows.day_number(day)
    with _opened(spec, out, file_format, f"replacing {day}") as (_, past):
        appending.clean(past)
        with store.staged(out / "replace") as staging:
            passes = two_passes.Passes(
                spec,
                staging,
                file_format,
                rows_per_file,
                held.Held.before(past, day),
                day,
            )
            passes.read(tables, progress)
            summary = passes.write(progress)
            before = exchanged.Before(past.data)
            appending.exchange(staging, out)
    return before.compared(summary)


def drop_days(
    spec: toml_spec.ConversionSpec,
    out: str | pathlib.Path,
    day: str,
    file_format: str = "blocks",
    progress: bool = True,
) -> exchanged.Exchanged:
    """Take back a day and all later days, of both domains.

    The directory is then what it was before they were appended.

    Args:
      spec: the one that `out` was converted with; see `append_tables`.
      out: the data directory.
      day: the first day to drop.
      file_format: that of the days of `out`.
      progress: whether to show bars on stderr.

    Returns:
      What has changed: nothing if no day is that late.

    Raises:
      FileNotFoundError, ValueError: as `append_tables`; or no day is earlier.
    """
    out = pathlib.Path(out)
    windows.day_number(day)
    with _opened(spec, out, file_format, "dropping days") as (_, past):
        appending.clean(past)
        if day <= past.window.first:
            raise ValueError(
                f"{out} holds the days {past.window}; days can be dropped from "
                f"the second one on. Received: {day!r}"
            )
        if day > past.window.last:
            summary = json.loads((out / SUMMARY).read_text("utf-8"))
            return exchanged.Exchanged({}, False, summary)
        with store.staged(out / "drop") as staging:
            base = held.Held.before(past, day)
            passes = two_passes.Passes(
                spec, staging, file_format, ROWS_PER_FILE, base
            )
            summary = passes.write(progress)
            before = exchanged.Before(past.data)
            appending.exchange(staging, out)
        appending.clean(state.load(out, spec, file_format))
    return before.compared(summary)


@contextlib.contextmanager
def _opened(
    spec: toml_spec.ConversionSpec,
    out: pathlib.Path,
    file_format: str,
    doing: str,
    may_change: bool = False,
) -> Iterator[tuple[store.Lock, state.Past]]:
    """Give the lock of a data directory, and what it holds."""
    # A lock would make a directory where there is none.
    features.DataSpec.load(out / data_directory.SPEC)
    with store.lock(out, doing) as lock:
        appending.go_on(out)
        appending.settle_specs(out)
        yield lock, state.load(out, spec, file_format, may_change)


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
