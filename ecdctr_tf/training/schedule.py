"""Which windows each level is trained on: dates from config and data."""

import dataclasses

from ecdctr_tf import config as configs
from ecdctr_tf import windows
from ecdctr_tf.input.data_directory import DataDirectory


@dataclasses.dataclass(frozen=True)
class Plan:
    """The windows of a run, in dates."""

    tpm: list[windows.Window]
    cpm: list[windows.Window]
    # Days of ads that are scored and then trained on together.
    ctr: list[windows.Window]


def plan(data: DataDirectory, schedule: configs.ScheduleConfig) -> Plan:
    """Return the windows of a run.

    Empty dates are filled from the days there are: natural logs up to the day
    before the first scored day for the TPM, and all days of ads but those that
    a new A-CTR catches up on.

    Raises:
      FileNotFoundError: a domain has no days.
      ValueError: a date is not one, or a window ends before it starts.
    """
    ads = data.window("ads")
    natural = data.window("natural")
    first = schedule.ctr_first or windows.day_name(
        windows.day_number(ads.first) + schedule.catch_up_days
    )
    ctr = _window(
        "A-CTR",
        "ctr_first, ctr_last or catch_up_days",
        first,
        schedule.ctr_last or ads.last,
    )
    before = windows.day_name(windows.day_number(first) - 1)
    tpm = _window(
        "TPM",
        "tpm_first, tpm_last or ctr_first",
        schedule.tpm_first or natural.first,
        schedule.tpm_last or min(before, natural.last),
    )
    return Plan(
        tpm=tpm.split(schedule.tpm_days) if schedule.tpm_days else tpm.months(),
        cpm=_cpm_windows(schedule, natural, ctr),
        ctr=ctr.split(schedule.ctr_days),
    )


def _window(level: str, fields: str, first: str, last: str) -> windows.Window:
    """Return a window; the error says whose it is and what sets it."""
    try:
        return windows.Window(first, last)
    except ValueError as error:
        raise ValueError(
            f"The schedule leaves the {level} no window: {error}. Set "
            f"schedule.{fields}."
        ) from error


def _cpm_windows(
    schedule: configs.ScheduleConfig,
    natural: windows.Window,
    ctr: windows.Window,
) -> list[windows.Window]:
    """Return the window before the first scored day, then each refresh's."""
    last = windows.day_number(ctr.first) - 1 - schedule.cpm_lag
    first = max(last - schedule.cpm_days + 1, windows.day_number(natural.first))
    found = [
        _window(
            "CPM",
            "ctr_first or cpm_lag",
            windows.day_name(first),
            windows.day_name(last),
        )
    ]
    if schedule.cpm_every:
        end = windows.day_number(ctr.last) - 1 - schedule.cpm_lag
        while last + schedule.cpm_every <= end:
            found.append(
                windows.Window(
                    windows.day_name(last + 1),
                    windows.day_name(last + schedule.cpm_every),
                )
            )
            last += schedule.cpm_every
    return found
