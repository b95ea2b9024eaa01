"""The stage itself: what is done in which order, and what is said of it."""

import dataclasses
import datetime
import pathlib
from collections.abc import Mapping

import pyarrow as pa

from ecdctr_tf.erasure import (
    changes,
    cost,
    exports,
    holding,
    records,
    runs,
    users,
    verify,
)
from ecdctr_tf.export import versions
from ecdctr_tf.input.conversion import erasing
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import page, text

# In the work directory: what each erasure did, and what it cost.
RECORD = "erasures.json"
Costs = Mapping[str, float | None]


@dataclasses.dataclass(frozen=True)
class Done:
    """What an erasure did, or would do."""

    # Of those asked for, and known to the data directory.
    ids: int
    known: int
    # `<domain>/<day>` -> its rows that go.
    rows: dict[str, int]
    # How many artefacts and exported versions are made anew.
    artefacts: int
    versions: int


def run(
    data_dir: pathlib.Path,
    workdir: pathlib.Path,
    export_dir: pathlib.Path,
    file: pathlib.Path,
    dry_run: bool = False,
) -> None:
    """Erase users; say what was done, what is left, and what it cost.

    Args:
      data_dir: the data directory.
      workdir: the work directory.
      export_dir: the base path of the served model; need not exist.
      file: the ids, see `users.read`.
      dry_run: whether to say only what would be done.

    Raises:
      FileNotFoundError: a directory or the file is missing.
      ValueError: the file holds no ids; an artefact is damaged or of another
        data directory; an exported version cannot be made anew; another process
        is at work: nothing is erased. Or something of the users is left.
    """
    if not workdir.is_dir():
        raise FileNotFoundError(f"There is no work directory at {workdir}.")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    if dry_run:
        data = DataDirectory(data_dir)
        ids = users.read(file, erasing.table_of(data))
        _show(_planned(data, workdir, export_dir, ids, date), "would be erased")
        return
    with holding.held(data_dir, workdir, export_dir, "erasing users"):
        data = DataDirectory(data_dir)
        ids = users.read(file, erasing.table_of(data))
        found = _erase(data, workdir, export_dir, ids, date)
    _check(found)


def _planned(
    data: DataDirectory,
    workdir: pathlib.Path,
    export_dir: pathlib.Path,
    ids: pa.Array,
    date: str,
) -> Done:
    """Return what an erasure would do."""
    planned = erasing.Erasing(data, ids, date)
    exports.check(export_dir)
    runs.check(workdir)
    stale = _run(workdir, data, date).stale()
    numbers = exports.stale(export_dir, data)
    there = runs.places(workdir)
    if planned.known:
        stale, numbers = list(there), versions.numbers(export_dir)
    gone = {"/".join(day): of.rows for day, of in planned.counts().items()}
    return Done(len(ids), planned.known, gone, len(stale), len(numbers))


def _erase(
    data: DataDirectory,
    workdir: pathlib.Path,
    export_dir: pathlib.Path,
    ids: pa.Array,
    date: str,
) -> list[verify.Outcome]:
    """Erase users where nobody else is at work; return what is left."""
    entries = records.read(workdir / RECORD, "what erasures did")
    exports.check(export_dir)
    runs.check(workdir)
    if export_dir.is_dir():
        versions.finish(export_dir)
    begun = erasing.Erasing(data, ids, date)
    begins = not _run(workdir, data, date).stale()
    before: Costs = {}
    if begins and begun.known:
        before = cost.auc(workdir, data, begun.rows)
    table = erasing.table_of(data).name
    gone: erasing.Counts = {}
    if begun.known:
        gone = begun.run(runs.known_rows(workdir).get(table, ()))
        data = DataDirectory(data.path)
    made = _run(workdir, data, date).run()
    numbers = exports.stale(export_dir, data)
    exports.run(export_dir, data.path, numbers)
    exports.rename_withdrawn(export_dir, runs.former(workdir))
    days = {"/".join(day): of.rows for day, of in gone.items()}
    done = Done(len(ids), begun.known, days, made, len(numbers))
    _show(done, "erased")
    if begun.known or made or numbers:
        after = cost.auc(workdir, data, begun.rows)
        _show_cost(before, after)
        auc = {name: [before.get(name), value] for name, value in after.items()}
        entries.append({"date": date, **dataclasses.asdict(done), "auc": auc})
        records.write(workdir / RECORD, entries)
    return verify.run(data, workdir, export_dir, ids)


def _run(workdir: pathlib.Path, data: DataDirectory, date: str) -> runs.Run:
    return runs.Run(workdir, changes.Erasure(data), date)


def _show(done: Done, what: str) -> None:
    """Print what was done, or would be."""
    unknown = done.ids - done.known
    print(
        f"{text.plural(done.known, 'user')} {what}; {unknown:,} of "
        f"{done.ids:,} ids are not known."
    )
    print(
        f"{text.plural(sum(done.rows.values()), 'row')} of "
        f"{text.plural(len(done.rows), 'day')}, "
        f"{text.plural(done.artefacts, 'artefact')} and "
        f"{text.plural(done.versions, 'exported version')} {what} from."
    )


def _show_cost(before: Costs, after: Costs) -> None:
    """Print the AUC of all others, before and after."""
    if not after:
        print("No day of ads was scored, so there is no AUC to compare.")
        return
    if not before:
        print(
            "The AUC of before is not known: this command finished one that "
            "was interrupted."
        )
    page.print_table(
        "AUC of all other users, as the models predict their rows",
        ["model", "before", "after"],
        {
            name: [text.number(before.get(name), 6), text.number(value, 6)]
            for name, value in after.items()
        },
        {},
        [],
    )


def _check(outcomes: list[verify.Outcome]) -> None:
    """Print what is left of the users.

    Raises:
      ValueError: something is.
    """
    failed = [of.what for of in outcomes if of.found]
    page.print_table(
        "What is left of the users",
        ["looked for in", "looked at", "found"],
        verify.lines(outcomes),
        {name: "bold" for name in failed},
        [],
        "left",
    )
    if failed:
        raise ValueError(
            f"Something is left of the users: {', '.join(failed)}. The table "
            "says where. Remove it, and run this command again."
        )
