r"""Look for damage in a data directory, and have back what can be read.

  python -m ecdctr_tf.input.doctor DATA_DIR
  python -m ecdctr_tf.input.doctor DATA_DIR --repair

Every file is compared with what its manifest says, several at a time. By
default nothing is changed; the exit status is 1 where something is damaged.

With --repair, the records of damaged files of rows that are whole become new
files, and the manifest of the day says how many rows and clicks are lost. A day
is repaired as a whole or not at all. What cannot be had back is only reported:
put it back from a copy, or convert the day again.
"""

import dataclasses
import importlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from concurrent import futures

from absl import app, flags

from ecdctr_tf import command_line, features, store, windows
from ecdctr_tf.input import damage, data_directory, day_checks
from ecdctr_tf.input.conversion import appending, state
from ecdctr_tf.results import page, text

_REPAIR = flags.DEFINE_bool(
    "repair",
    False,
    "Write what can be read of damaged days anew, and note what is lost.",
)
_AGAIN = "no: convert the day again"
_COPY = "no: put it back from a copy, or convert all logs again"


@dataclasses.dataclass(frozen=True)
class Finding:
    """A file or directory that is damaged."""

    # Relative to the data directory.
    place: str
    # What is wrong.
    what: str
    # Whether it can be had back, in words.
    remedy: str
    # The day of a domain whose rows can be had back in part, or None.
    day: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was looked at, and what is wrong with it."""

    files: int
    days: int
    findings: list[Finding]


def examine(directory: str | pathlib.Path) -> Diagnosis:
    """Compare every file of a data directory with its manifest.

    Raises:
      FileNotFoundError: there is no data directory.
      ValueError: its spec is damaged, or days of it are being exchanged.
    """
    data = data_directory.DataDirectory(directory)
    days = [(d, day) for d in features.DOMAINS for day in _days(data.path / d)]
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        looked_at = list(pool.map(lambda place: _of_day(data, *place), days))
    findings = [found for _, of_day in looked_at for found in of_day]
    findings += [*_of_holes(days), *_of_ids(data), *_of_state(data.path)]
    return Diagnosis(sum(n for n, _ in looked_at), len(days), findings)


def repair(directory: str | pathlib.Path) -> dict[str, dict[str, int]]:
    """Write what can be read of damaged days anew.

    Args:
      directory: the data directory.

    Returns:
      `<domain>/<day>` -> `rows` and `clicks` that are lost, of each day that
      was repaired.

    Raises:
      FileNotFoundError, ValueError: as `examine`, or another process is writing
        to the directory.
    """
    directory = pathlib.Path(directory)
    features.DataSpec.load(directory / data_directory.SPEC)
    with store.lock(directory, "repairing days"):
        appending.go_on(directory)
        store.sweep(directory)
        found = examine(directory).findings
        days = sorted({finding.day for finding in found if finding.day})
        if not days:
            return {}
        data = data_directory.DataDirectory(directory)
        lost = {}
        with store.staged(directory / "repair") as staging:
            for domain, day in days:
                lost[f"{domain}/{day}"] = _repair(data, domain, day, staging)
            appending.exchange(staging, directory)
    return lost


def _repair(
    data: data_directory.DataDirectory,
    domain: str,
    day: str,
    staging: pathlib.Path,
) -> dict[str, int]:
    """Publish what can be read of a day in a staging directory."""
    path, manifest = data.path / domain / day, data.manifest(domain, day)
    file_format = data_directory.FORMATS[manifest.config["format"]]
    names = day_checks.shards(manifest)
    with tempfile.TemporaryDirectory(dir=staging) as salvage:
        left = damage.readable(
            path, manifest, names, file_format, pathlib.Path(salvage)
        )
        before = manifest.metrics.get(damage.LOST, {})
        new = dataclasses.replace(
            left.manifest,
            config={**manifest.config, "shards": len(left.files)},
            metrics={
                **left.manifest.metrics,
                damage.LOST: {
                    name: count + before.get(name, 0)
                    for name, count in left.lost.items()
                },
            },
            files={},
        )
        files = list(left.files)
        events = data_directory.EVENTS
        if events in manifest.files and not damage.found(path, [events]):
            files.append(path / events)
        with store.publish(staging / domain / day, new) as place:
            for file in files:
                shutil.copy2(file, place / file.name)
    return left.lost


def _days(directory: pathlib.Path) -> list[str]:
    """Return the names of days, also of those without a manifest."""
    if not directory.is_dir():
        return []
    return sorted(p.name for p in directory.iterdir() if windows.is_day(p.name))


def _of_day(
    data: data_directory.DataDirectory, domain: str, day: str
) -> tuple[int, list[Finding]]:
    """Return how many files a day has, and what is wrong with them."""
    place, path = f"{domain}/{day}", data.path / domain / day
    try:
        manifest = data.manifest(domain, day)
    except (FileNotFoundError, ValueError) as error:
        file = f"{place}/{store.MANIFEST}"
        return 1, [Finding(file, str(error), _AGAIN)]
    names = day_checks.shards(manifest)
    wrong = damage.found(path, list(manifest.files))
    findings = []
    for name, what in wrong.items():
        file = f"{place}/{name}"
        if name == data_directory.EVENTS:
            findings.append(Finding(file, what, _COPY))
        else:
            remedy = "in part: --repair"
            findings.append(Finding(file, what, remedy, (domain, day)))
    converted = (data.path / state.STATE).is_dir()
    lost = damage.LOST in manifest.metrics
    if converted and lost and data_directory.EVENTS not in manifest.files:
        what = f"had a damaged {data_directory.EVENTS} when it was repaired"
        findings.append(Finding(place, what, _COPY))
    if not wrong.keys() & set(names):
        try:
            data.files(domain, day)
        except ValueError as error:
            findings.append(Finding(place, str(error), _AGAIN))
    return 1 + len(manifest.files), findings


def _of_holes(days: list[tuple[str, str]]) -> Iterator[Finding]:
    for domain in features.DOMAINS:
        own = [day for d, day in days if d == domain]
        if own:
            for day in windows.Window(own[0], own[-1]).days:
                if day not in own:
                    yield Finding(f"{domain}/{day}", "is missing", _AGAIN)


def _of_ids(data: data_directory.DataDirectory) -> Iterator[Finding]:
    try:
        _ = data.id_spaces
    except (FileNotFoundError, ValueError) as error:
        yield Finding("ids", str(error), _COPY)


def _of_state(directory: pathlib.Path) -> Iterator[Finding]:
    """Yield what is wrong with what the next append needs."""
    for day in _days(directory / state.STATE):
        try:
            store.verify(directory / state.STATE / day, state.KIND)
        except (FileNotFoundError, ValueError) as error:
            yield Finding(f"{state.STATE}/{day}", str(error), _COPY)


def show(found: Diagnosis, directory: pathlib.Path) -> None:
    """Print what is wrong."""
    page.print_table(
        f"{directory}",
        ["damaged", "can be had back", "what is wrong"],
        {f.place: [f.remedy, f.what] for f in found.findings},
        {},
        [],
        "left",
    )


def main(argv: list[str]) -> None:
    """Examine, or repair, the directory of the arguments."""
    with command_line.reported():
        if len(argv) != 2:
            raise ValueError(
                "One data directory should be given. Received: "
                f"{' '.join(argv[1:]) or 'none'}"
            )
        directory = pathlib.Path(argv[1])
        # It takes seconds to load, and what it says then does not help.
        with command_line.quiet_start():
            importlib.import_module("tensorflow")
        if _REPAIR.value:
            for day, lost in repair(directory).items():
                print(
                    f"repaired {day}: {text.plural(lost['rows'], 'row')} with "
                    f"{text.plural(lost['clicks'], 'click')} lost"
                )
        found = examine(directory)
        looked_at = f"{found.files:,} files of {found.days:,} days"
        if not found.findings:
            print(f"{looked_at} of {directory} are as their manifests say.")
            return
        show(found, directory)
        raise ValueError(
            f"{text.plural(len(found.findings), 'file')} of {looked_at} of "
            f"{directory} are damaged."
        )


def run() -> None:
    """Enter from the console script `ecdctr-doctor`."""
    app.run(main)


if __name__ == "__main__":
    run()
