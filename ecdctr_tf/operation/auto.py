"""`--stage=auto`: carry out what is due on a date, each level on its own."""

import contextlib
import logging
import pathlib
import time
import traceback
from collections.abc import Callable

from ecdctr_tf import (
    artefacts,
    command_line,
    export,
    store,
    termination,
    windows,
)
from ecdctr_tf.export import versions
from ecdctr_tf.features import DOMAINS
from ecdctr_tf.input import as_of
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.operation import ages, plan, record, steps
from ecdctr_tf.operation.recording import Recording, days_of, outcome
from ecdctr_tf.operation.steps import Plan, Step
from ecdctr_tf.request import Request
from ecdctr_tf.results import page, text
from ecdctr_tf.training import history, mixing, natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import newest_before
from ecdctr_tf.transfer import historical

# In the work directory: one clock at a time.
LOCK = ".clock.lock"
# How far ahead of today and of the logs a date is planned.
_PLANNED_DAYS = 366


class UnfinishedError(ValueError):
    """Something that was due on a date was not done; the message says what."""

    exit_status = 1


class WaitingError(UnfinishedError):
    """Logs are not whole yet: give the command again later."""

    # As `EX_TEMPFAIL` of sysexits.h.
    exit_status = 75


class BusyError(store.TakenError):
    """Another clock is at work: give the command again later."""

    exit_status = WaitingError.exit_status


class RefusedError(UnfinishedError):
    """The gate refused the version; everything else was done."""

    exit_status = export.RefusedError.exit_status


ERRORS = {
    record.FAILED: UnfinishedError,
    record.REFUSED: RefusedError,
    record.WAITING: WaitingError,
}


def run(data: DataDirectory, request: Request) -> None:
    """Do what is due on a date, and say so.

    Args:
      data: the data directory; days from the date on are not read.
      request: with `date`, empty for today; with `dry_run`, nothing is done
        or written.

    Raises:
      UnfinishedError: something was not done; the rest was.
      BusyError: another clock is at work there.
      FileNotFoundError, ValueError: nothing could be planned.
    """
    today = as_of.today(data)
    date = request.date or today
    if request.dry_run:
        _check_not_far(data, date, today)
        planned = _planned(as_of.AsOf(data, date), request, exports=True)
        rows = {
            f"{i}": [s.title, s.days, s.action, s.reason]
            for i, s in enumerate(planned.steps, 1)
        }
        header = ["", "level", "days", "action", "because"]
        page.print_table(f"Plan of {date}", header, rows, {}, [], "left")
        return
    # Where the command comes from, it may be tomorrow already.
    if windows.day_number(date) > windows.day_number(today) + 1:
        raise ValueError(
            f"--date={date} lies in the future: today is {today} in the zone "
            "of the days. Its record would hide those of the dates before it. "
            "With --dry_run it may be a later one."
        )
    try:
        with locked(request):
            found = on_date(data, request, date)
    except store.TakenError as error:
        raise BusyError(str(error)) from error
    _print(found, record.path(request.workdir, date))
    check(found)


def _check_not_far(data: DataDirectory, date: str, today: str) -> None:
    """Raise a ValueError if a date is further than anybody plans."""
    newest = max((d for of in DOMAINS for d in data.days(of)), default=today)
    latest = windows.plus(max(today, newest), _PLANNED_DAYS)
    if windows.day_number(date) > windows.day_number(latest):
        raise ValueError(
            f"--date={date} is more than {_PLANNED_DAYS} days after today and "
            f"the newest logs. Set a date up to {latest}."
        )


def locked(request: Request) -> contextlib.AbstractContextManager:
    """Keep another clock out of the work directory.

    Raises:
      ValueError: another process is at work there.
    """
    return store.lock(request.workdir, f"running --stage={request.stage}", LOCK)


def check(found: record.Record) -> None:
    """Raise an error with the exit status of a date unless all was done."""
    if found.status in ERRORS:
        said = [a.text for a in found.alarms if a.what == found.status]
        raise ERRORS[found.status](
            f"{found.date} is {found.status}: {'; '.join(said)}"
        )


def on_date(
    data: DataDirectory, request: Request, date: str, exports: bool = True
) -> record.Record:
    """Carry out what is due on a date; errors of one level stay its own.

    Args:
      data: the data directory.
      request: what the command asks for.
      date: the first day of which nothing is read.
      exports: whether the date exports a version.

    Returns:
      What was done, which is written to `operation/<date>.json`.
    """
    seen = as_of.AsOf(data, date)
    planned = _planned(seen, request, exports)
    runner = _Runner(request, seen)
    recording = Recording(request, planned)
    recording.begin()
    found = recording.end([runner.carry_out(step) for step in planned.steps])
    for alarm in found.alarms:
        logging.warning("%s: %s", date, alarm.text)
    return found


def _planned(data: as_of.AsOf, request: Request, exports: bool) -> Plan:
    data.without(request.config.model.exclude)  # A misspelt one is an error.
    before = record.newest(request.workdir, data.date)
    return plan.make(request, data, before.skipped if before else (), exports)


class _Runner:
    """Carries out steps; what failed keeps only its own later steps back.

    So does what waits for another process, which is at work on a level.
    """

    def __init__(self, request: Request, data: as_of.AsOf):
        self._request = request
        self._data = data
        # Place -> what became of the step there that was not done.
        self._undone: dict[str, str] = {}
        # What trains the steps of one level, which still has its weights.
        self._trains: tuple[tuple, Callable[[windows.Window], object]] | None
        self._trains = None

    def carry_out(self, step: Step) -> record.Outcome:
        """Carry out a step, if it does anything; return what became of it."""
        if step.action not in steps.DOES:
            return outcome(step)
        before = self._undone.get(step.place)
        if before == record.FAILED:
            return outcome(step, record.NOT_TRIED)
        if before == record.WAITING:
            return outcome(step, before, "the days before come first")
        began = time.monotonic()
        said, result = "", record.DONE
        try:
            said = self._do(step)
        except export.RefusedError as error:
            said, result = command_line.one_line(error), record.REFUSED
        except Exception as error:
            if termination.asked():
                raise  # It came of that, or came first: nothing else begins.
            if not command_line.expected(error):
                traceback.print_exc()
            said, result = command_line.one_line(error), record.FAILED
            # What a level lacks may be what the other process is making.
            lacks = isinstance(error, FileNotFoundError)
            waited_for = lacks and record.WAITING in self._undone.values()
            if isinstance(error, store.TakenError) or waited_for:
                result = record.WAITING
            self._undone[step.place] = result
        return outcome(step, result, said, time.monotonic() - began)

    def _do(self, step: Step) -> str:
        """Do what a step says; return what is to be said of it."""
        if step.kind == steps.VERSION:
            return self._export()
        if step.kind == steps.HISTORICAL:
            for run, config in self._request.histories(self._data).items():
                if run.historical == self._request.workdir / step.place:
                    history.aggregate(run, config, step.window.last)
                    # Raises where the TPM failed.
                    store.read_manifest(
                        run.historical / step.window.last, historical.KIND
                    )
            return ""
        key = step.place, tuple(sorted(step.left_out.items()))
        if self._trains is None or self._trains[0] != key:
            level = plan.level_of(self._request, self._data, step)
            self._trains = key, _training(level)
        self._trains[1](step.window)
        return ""

    def _export(self) -> str:
        """Export the newest day there is, be it the one planned or not."""
        request, date = self._request, self._data.date
        newest = newest_before(ages.places(request)["ctr"], date)
        live = versions.live_day(request.export_place)
        if newest is None or newest.name <= live:
            return "there is no newer day of the A-CTR"
        behind = ages.behind(ages.newest(request, date), date)
        refused = ages.too_old(behind, request.config)
        if refused and not request.force_publish:
            raise ValueError(f"nothing is exported: {refused}")
        return " ".join(request.export(newest).split())


def _training(level: Level) -> Callable[[windows.Window], object]:
    """Return what trains a level on a window."""
    if level.kind != artefacts.CTR:
        return lambda window: natural.train(level, window)
    trainer = mixing.trainer(level)
    return lambda window: trainer.run([window])


def _print(found: record.Record, file: pathlib.Path) -> None:
    rows = {
        f"{i}": [
            of.title,
            days_of(of),
            of.result or of.action,
            of.said or of.reason,
        ]
        for i, of in enumerate(found.steps, 1)
    }
    behind = ", ".join(
        f"{ages.LEVELS.get(level, level)} {text.plural(age, 'day')}"
        for level, age in found.ages.items()
        if age is not None
    )
    title = f"{found.date}: {found.status}; behind: {behind or text.NOTHING}"
    header = ["", "level", "days", "done", "because"]
    page.print_table(title, header, rows, {}, [str(file)], "left")
