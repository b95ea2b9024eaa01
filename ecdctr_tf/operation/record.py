"""What happened on a date: one JSON file a date, `operation/<date>.json`."""

import dataclasses
import pathlib
import typing

from ecdctr_tf import store, typed_values, windows

DIRECTORY = "operation"
# What a date came to, the worst first: an error; a version that the gate
# refused; logs that are not whole, or another process at work; or neither.
FAILED, REFUSED, WAITING, DONE = "failed", "refused", "waiting", "done"
WORST = (FAILED, REFUSED, WAITING)
# Its command is at work, or was killed.
RUNNING = "running"
# What an alarm may be of, beside these: days of ads that were passed over, and
# levels that are behind.
SKIPPED, OLD = "skipped", "old"
ALARMS = (*WORST, SKIPPED, OLD)
# What became of a step that does something, beside some of these.
PLANNED, NOT_TRIED = "planned", "not tried"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A step of a plan, and what became of it."""

    title: str
    place: str
    action: str
    # First and last day that it learns; None without any.
    days: tuple[str, ...] | None
    reason: str
    # "done", "failed", "refused", "waiting" for another process, "not tried",
    # or, while the command is at work, "planned"; empty where nothing is done.
    result: str
    # What it said, or the error, in one line.
    said: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Alarm:
    """Something that a person should know."""

    # One of `ALARMS`.
    what: str
    # One line.
    text: str


@dataclasses.dataclass(frozen=True)
class Record:
    """What happened on a date."""

    date: str
    # "done", "waiting", "refused", "failed" or "running".
    status: str
    steps: tuple[Outcome, ...]
    # Level of the exported model ("tpm", "cpm", "ctr") -> the last day that it
    # has learned, None where it has published nothing; "version": the day of
    # the live version.
    learned: dict[str, str | None]
    # The same levels -> how many days before the date they have not learned.
    ages: dict[str, int | None]
    alarms: tuple[Alarm, ...]
    # Days of ads whose rows were left out, up to this date.
    skipped: tuple[str, ...]
    # Seconds of all steps that were carried out.
    seconds: float

    def to_json(self) -> str:
        """Return the record as JSON text."""
        said = typed_values.sealed(dataclasses.asdict(self))
        return typed_values.to_json(said, "the record")


def path(workdir: pathlib.Path, date: str) -> pathlib.Path:
    """Return the file of a date."""
    return workdir / DIRECTORY / f"{date}.json"


def write(workdir: pathlib.Path, record: Record) -> None:
    """Write a record, unless it is there already as it is."""
    file = path(workdir, record.date)
    text = record.to_json()
    if not file.exists() or file.read_text("utf-8") != text:
        store.write_text(file, text)


def read(workdir: pathlib.Path, date: str) -> Record | None:
    """Return the record of a date; None if there is none.

    Raises:
      ValueError: the file is damaged.
    """
    file = path(workdir, date)
    if not file.exists():
        return None
    try:
        values = typed_values.from_json(file.read_bytes())
        typed_values.check("It", dict, values)
        if typed_values.is_edited(values):
            raise ValueError(typed_values.EDITED)
        for name, kind in (("steps", Outcome), ("alarms", Alarm)):
            entries: typing.Any = values.get(name)
            typed_values.check(f"`{name}`", list, entries)
            values[name] = [
                typed_values.make(kind, name, entry) for entry in entries
            ]
        return typed_values.make(Record, date, values)
    except ValueError as error:
        raise ValueError(
            f"{file} does not hold what happened on a date: "
            f"{str(error).rstrip('.')}. Put it back, or delete it: then the "
            "days of ads that were skipped before may be asked for again."
        ) from error


def dates(workdir: pathlib.Path) -> list[str]:
    """Return the dates that there are records of, in order."""
    names = (file.stem for file in (workdir / DIRECTORY).glob("*.json"))
    return sorted(name for name in names if windows.is_day(name))


def newest(workdir: pathlib.Path, date: str = "") -> Record | None:
    """Return the last record, if there is one.

    Args:
      workdir: the work directory.
      date: the last date that counts; empty: any.
    """
    known = [found for found in dates(workdir) if not date or found <= date]
    return read(workdir, known[-1]) if known else None
