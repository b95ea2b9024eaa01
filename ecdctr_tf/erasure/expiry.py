"""`--stage=expire`: ids that came up on none of the newest days go.

As by an erasure, the data directory is exchanged first, then the artefacts of
the work directory, then each exported version; a command that was killed is
finished by the same command.
"""

import dataclasses
import datetime
import pathlib
from collections.abc import Iterator

from ecdctr_tf import artefacts, features, store
from ecdctr_tf import config as configs
from ecdctr_tf.erasure import changes, exports, holding, records, runs
from ecdctr_tf.export import versions
from ecdctr_tf.input.conversion import expiring
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import page, text

# In the work directory: what each expiry did.
RECORD = "expiries.json"


@dataclasses.dataclass(frozen=True)
class Done:
    """What an expiry did, or would do."""

    unseen_days: int
    # Table -> ids that go, of tables that lose some.
    ids: dict[str, int]
    # Table -> its rows before and after.
    rows: dict[str, tuple[int, int]]
    # How many artefacts and exported versions are made anew.
    artefacts: int
    versions: int


def run(
    data_dir: pathlib.Path,
    workdir: pathlib.Path,
    export_dir: pathlib.Path,
    unseen_days: int,
    dry_run: bool = False,
) -> None:
    """Let ids expire; say what was done.

    Args:
      data_dir: the data directory.
      workdir: the work directory.
      export_dir: the base path of the served model; need not exist.
      unseen_days: ids go that came up on none of so many newest days of either
        domain; at least 1, and the days of the longest window of a level.
      dry_run: whether to say only what would be done.

    Raises:
      FileNotFoundError: a directory is missing.
      ValueError: a level reads more days, or an A-CTR has days to score; an
        artefact is of another data directory; an exported version cannot be
        made anew; or another process is at work.
    """
    if not workdir.is_dir():
        raise FileNotFoundError(f"There is no work directory at {workdir}.")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    if dry_run:
        _show(_planned(data_dir, workdir, export_dir, unseen_days, date), True)
        return
    with holding.held(data_dir, workdir, export_dir, "letting ids expire"):
        done = _expire(data_dir, workdir, export_dir, unseen_days, date)
    _show(done, False)


def _planned(
    data_dir: pathlib.Path,
    workdir: pathlib.Path,
    export_dir: pathlib.Path,
    unseen_days: int,
    date: str,
) -> Done:
    """Return what an expiry would do."""
    data = DataDirectory(data_dir)
    _check(data, workdir, unseen_days)
    exports.check(export_dir)
    runs.check(workdir)
    stale = runs.Run(workdir, changes.Expiry(data), date).stale()
    numbers = exports.stale(export_dir, data)
    planned = expiring.Expiring(data, unseen_days, date)
    if planned.ids:
        stale = list(runs.places(workdir))
        numbers = versions.numbers(export_dir)
    return Done(
        unseen_days, planned.ids, planned.rows, len(stale), len(numbers)
    )


def _expire(
    data_dir: pathlib.Path,
    workdir: pathlib.Path,
    export_dir: pathlib.Path,
    unseen_days: int,
    date: str,
) -> Done:
    """Let ids expire where nobody else is at work.

    An expiry that was interrupted is finished first: the artefacts have to
    have the numbers of now before these change again.
    """
    data = DataDirectory(data_dir)
    entries = records.read(workdir / RECORD, "what expiries did")
    exports.check(export_dir)
    runs.check(workdir)
    if export_dir.is_dir():
        versions.finish(export_dir)
    _check(data, workdir, unseen_days)
    finished = _follow(data, workdir, export_dir, date)
    begun = expiring.Expiring(data, unseen_days, date)
    made = (0, 0)
    if begun.any:
        begun.run(runs.known_rows(workdir))
        made = _follow(DataDirectory(data_dir), workdir, export_dir, date)
    done = Done(
        unseen_days,
        begun.ids,
        begun.rows,
        finished[0] + made[0],
        finished[1] + made[1],
    )
    if done.ids or done.artefacts or done.versions:
        entries.append({"date": date, **dataclasses.asdict(done)})
        records.write(workdir / RECORD, entries)
    return done


def _follow(
    data: DataDirectory,
    workdir: pathlib.Path,
    export_dir: pathlib.Path,
    date: str,
) -> tuple[int, int]:
    """Bring artefacts and versions to the newest expiry of the data directory.

    Returns:
      How many artefacts and versions were made anew.
    """
    run = runs.Run(workdir, changes.Expiry(data), date)
    made = run.run() if run.stale() else 0
    numbers = exports.stale(export_dir, data)
    exports.run(export_dir, data.path, numbers)
    exports.rename_withdrawn(export_dir, runs.former(workdir))
    return made, len(numbers)


def _check(
    data: DataDirectory, workdir: pathlib.Path, unseen_days: int
) -> None:
    """Raise a ValueError if a level still needs what would go."""
    for what, days in _read(workdir):
        if days > unseen_days:
            raise ValueError(
                f"{what} has {days} days. Ids have to be unseen for as many "
                "days at least before they expire. Received: "
                f"--unseen_days={unseen_days}"
            )
    scored = data.days_with_rows(features.ADS)[-1:]
    for day in scored:
        for directory in _of_ads(workdir):
            newest = store.dated(directory)[-1]
            if newest < day:
                raise ValueError(
                    f"{directory} has learned the ads up to {newest}; there "
                    f"are ads up to {day}, and days from before an expiry are "
                    "not scored after it. Train it with --stage=ctr first, or "
                    "delete it if it is not needed any more."
                )


def _read(workdir: pathlib.Path) -> Iterator[tuple[str, int]]:
    """Yield what reads how many days together."""
    for place, manifest in runs.places(workdir).items():
        if manifest.window and manifest.kind in (artefacts.TPM, artefacts.CPM):
            yield f"The window of {place}", len(manifest.window.days)
        if artefacts.CONFIG in manifest.files:
            config = artefacts.read_config(place, manifest.kind)
            yield f"The longest window of {place}", _longest(config)


def _longest(config: configs.Config) -> int:
    """Return how many days are read together at most."""
    schedule = config.schedule
    return max(
        schedule.tpm_days or 31,  # 0 means months.
        schedule.cpm_days,
        schedule.cpm_every,
        schedule.catch_up_days,
        schedule.ctr_days,
        config.ctr.replay_days + schedule.ctr_days,
        config.warm_start.warm_up_days,
    )


def _of_ads(workdir: pathlib.Path) -> list[pathlib.Path]:
    """Return the directories of the days of A-CTRs."""
    found = {
        place.parent
        for place, manifest in runs.places(workdir).items()
        if artefacts.SCORES in manifest.files
    }
    return sorted(found)


def _show(done: Done, dry_run: bool) -> None:
    """Print what was done, or would be."""
    what = "would expire" if dry_run else "expired"
    total = sum(done.ids.values())
    print(
        f"{text.plural(total, 'id')} {what} that came up on none of the newest "
        f"{text.plural(done.unseen_days, 'day')}."
    )
    print(
        f"{text.plural(done.artefacts, 'artefact')} and "
        f"{text.plural(done.versions, 'exported version')} "
        f"{'would be' if dry_run else 'were'} made anew."
    )
    page.print_table(
        "Rows of tables",
        ["table", "before", "after"],
        {
            name: [f"{before:,}", f"{after:,}"]
            for name, (before, after) in done.rows.items()
        },
        {},
        [],
    )
