"""Which windows each level is trained on: dates from config and data."""

import dataclasses
import logging
import pathlib

from ecdctr_tf import config as configs
from ecdctr_tf import store, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import workdir


@dataclasses.dataclass(frozen=True)
class Plan:
    """The windows of a run, in dates."""

    tpm: list[windows.Window]
    cpm: list[windows.Window]
    # Days of ads that are scored and then trained on together.
    ctr: list[windows.Window]


def plan(data: DataDirectory, schedule: configs.ScheduleConfig) -> Plan:
    """Return the windows of a run, each level at its own pace.

    TPM and CPM have windows up to the day before the first scored day, then go
    on while ads are scored: a window is planned once its days are there and a
    scored day comes after it. Empty dates are filled from the days there are.
    Windows without natural rows, as where the logs have a gap, are left out;
    the first CPM window ends with the last natural rows before the scored day.
    Before there are ads, the first scored day is that after all natural days.
    Where ads begin no later than the natural logs, it comes after `cpm_days` of
    these.

    Raises:
      FileNotFoundError: there are no natural days.
      ValueError: a date is not one, or a window ends before it starts.
    """
    natural = data.window("natural")
    ads = _ads(data)
    try:
        return _plan(schedule, natural, ads, data.days_with_rows("natural"))
    except ValueError as error:
        raise ValueError(
            f"{error} There are natural logs of {natural}, and ads of "
            f"{ads or 'no day'}."
        ) from error


def due(
    data: DataDirectory, schedule: configs.ScheduleConfig, date: str
) -> Plan:
    """Return the windows that are over before a date, also of late days.

    They are those that `plan` returns once all days up to the date are there.
    So a domain that is late holds up nothing of the other one, and a window
    that is not over is never cut. Nothing is due while the first scored day is
    not known: the first ads may only be late, and a TPM must not have learned
    their day.

    Args:
      data: the data directory, with days before the date only.
      schedule: the schedule.
      date: the day after the last one that is over.

    Raises:
      FileNotFoundError, ValueError: as `plan`.
    """
    yesterday = windows.plus(date, -1)
    known = data.window("natural")
    natural = windows.Window(known.first, yesterday)
    # Natural days that are late still come, with rows.
    late = [day for day in natural.days if day > known.last]
    days = [*data.days_with_rows("natural"), *late]
    ads = _ads(data)
    launch = schedule.ctr_first
    if not launch and ads:
        launch = _earliest(schedule, natural, ads)
    if not launch:
        return Plan([], [], [])
    if launch > date:
        first = schedule.tpm_first or natural.first
        if first > yesterday:
            return Plan([], [], [])
        last = min(yesterday, schedule.tpm_last or yesterday)
        whole = _split(_window("TPM", "tpm_first", first, last), schedule)
        if not _is_whole(whole[-1], schedule.tpm_days):
            whole.pop()
        return Plan(_with_rows(whole, natural, days), [], [])
    # What trains TPM and CPM is ready before the day of the date is scored.
    ctr = windows.Window(launch, min(date, schedule.ctr_last or date))
    scored = []
    if launch <= yesterday:
        over = windows.Window(launch, min(yesterday, ctr.last))
        scored = over.split(schedule.ctr_days)
        if scored[-1].last < ctr.last and not _is_whole(
            scored[-1], schedule.ctr_days
        ):
            scored.pop()
    tpm, cpm = (
        _with_rows([w for w in planned if w.last < date], natural, days)
        for planned in (
            _tpm_windows(schedule, natural, ctr),
            _cpm_windows(schedule, days, ctr),
        )
    )
    return Plan(tpm, cpm, scored)


def _ads(data: DataDirectory) -> windows.Window | None:
    return data.window("ads") if data.days("ads") else None


def _earliest(
    schedule: configs.ScheduleConfig,
    natural: windows.Window,
    ads: windows.Window,
) -> str:
    """Return the first scored day where the schedule does not say it."""
    earliest = windows.plus(ads.first, schedule.catch_up_days)
    if earliest <= natural.first:
        # Something has to be learned before the first scored day.
        earliest = windows.plus(natural.first, schedule.cpm_days)
    return earliest


def _plan(
    schedule: configs.ScheduleConfig,
    natural: windows.Window,
    ads: windows.Window | None,
    days: list[str],
) -> Plan:
    """Return the windows of a run.

    Args:
      schedule: the schedule.
      natural: the natural days there are.
      ads: the days of ads, None if there are none.
      days: the natural days with rows.
    """
    earliest = (
        _earliest(schedule, natural, ads)
        if ads
        else windows.plus(natural.last, 1)
    )
    first = schedule.ctr_first or earliest
    ctr = _window(
        "A-CTR",
        "ctr_first, ctr_last, cpm_days or catch_up_days",
        first,
        schedule.ctr_last or (ads.last if ads else first),
    )
    return Plan(
        tpm=_with_rows(_tpm_windows(schedule, natural, ctr), natural, days),
        cpm=_with_rows(_cpm_windows(schedule, days, ctr), natural, days),
        ctr=ctr.split(schedule.ctr_days) if ads else [],
    )


def left(
    planned: list[windows.Window], directory: pathlib.Path, kind: str
) -> list[windows.Window]:
    """Return what a level has not learned of the windows planned for it.

    Windows that the level has learned are left out, also where the schedule was
    another one then, which is said. A window that it has learned the beginning
    of is cut.
    """
    published = [
        store.read_manifest(directory / day, kind).window
        for day in store.dated(directory)
    ]
    learned = max((window.last for window in published), default="")
    cleaned = workdir.cleaned(directory)
    found = []
    for window in planned:
        if window.first > learned:
            found.append(window)
        elif window.last > learned:
            found.append(windows.Window(windows.plus(learned, 1), window.last))
            logging.warning(
                "%s has already learned the days up to %s: of the window %s, "
                "only %s is trained.",
                directory,
                learned,
                window,
                found[-1],
            )
        elif window not in published and window.last > cleaned:
            logging.warning(
                "%s has already learned the days up to %s, in other windows: "
                "%s is skipped.",
                directory,
                learned,
                window,
            )
    return found


def _with_rows(
    planned: list[windows.Window], natural: windows.Window, days: list[str]
) -> list[windows.Window]:
    """Return the windows less those in a gap of the logs.

    Args:
      planned: the windows.
      natural: the natural days there are; a window that ends later is kept.
      days: those of them with rows.
    """
    return [
        window
        for window in planned
        if window.last > natural.last
        or any(window.first <= day <= window.last for day in days)
    ]


def _window(level: str, fields: str, first: str, last: str) -> windows.Window:
    """Return a window; the error says whose it is and what sets it."""
    try:
        return windows.Window(first, last)
    except ValueError as error:
        raise ValueError(
            f"The schedule leaves the {level} no window: {error}. Set "
            f"schedule.{fields}."
        ) from error


def _tpm_windows(
    schedule: configs.ScheduleConfig,
    natural: windows.Window,
    ctr: windows.Window,
) -> list[windows.Window]:
    """Return the windows before the first scored day, then those after it."""
    before = windows.plus(ctr.first, -1)
    if schedule.tpm_last:
        # Compared as text below, which only dates can be.
        _window("TPM", "tpm_last", schedule.tpm_last, schedule.tpm_last)
    launch = _window(
        "TPM",
        "tpm_first, tpm_last or ctr_first",
        schedule.tpm_first or natural.first,
        min(before, schedule.tpm_last or natural.last),
    )
    found = _split(launch, schedule)
    end = schedule.tpm_last or min(windows.plus(ctr.last, -1), natural.last)
    if end <= launch.last:
        return found
    later = _split(windows.Window(windows.plus(launch.last, 1), end), schedule)
    if not schedule.tpm_last and not _is_whole(later[-1], schedule.tpm_days):
        later.pop()
    return found + later


def _split(
    window: windows.Window, schedule: configs.ScheduleConfig
) -> list[windows.Window]:
    """Return the TPM's windows of some days in a row."""
    days = schedule.tpm_days
    return window.split(days) if days else window.months()


def _is_whole(window: windows.Window, days: int) -> bool:
    """Return whether a window has all its days, or ends with its month."""
    if days:
        return len(window.days) == days
    return windows.plus(window.last, 1)[:7] != window.last[:7]


def _cpm_windows(
    schedule: configs.ScheduleConfig,
    days: list[str],
    ctr: windows.Window,
) -> list[windows.Window]:
    """Return the window before the first scored day, then each refresh's.

    Args:
      schedule: the schedule.
      days: the natural days with rows.
      ctr: the scored days.
    """
    lag = schedule.cpm_lag + 1
    latest = windows.plus(ctr.first, -lag)
    last = max((day for day in days if day <= latest), default=latest)
    first = max(windows.plus(last, 1 - schedule.cpm_days), days[0])
    found = [_window("CPM", "ctr_first or cpm_lag", first, last)]
    end = min(windows.plus(ctr.last, -lag), days[-1])
    while schedule.cpm_every and windows.plus(last, schedule.cpm_every) <= end:
        window = windows.Window(
            windows.plus(last, 1), windows.plus(last, schedule.cpm_every)
        )
        found.append(window)
        last = window.last
    return found
