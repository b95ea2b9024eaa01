"""`--stage=replay`: dates in a row, as they would have happened."""

import time

from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.operation import auto, record
from ecdctr_tf.request import Request
from ecdctr_tf.results import text

# Dates that were not carried out.
_AGAIN = (record.FAILED, record.RUNNING)


def run(data: DataDirectory, request: Request) -> list[record.Record]:
    """Carry out each date of a window as `--stage=auto` would have.

    On each date, only the days before it are seen; those that are there now
    count as if they had been there in time. Dates that were carried out
    before are passed over, so that a replay that was killed goes on.

    Args:
      data: the data directory.
      request: with `window`, the dates.

    Returns:
      What happened on each date.

    Raises:
      FileNotFoundError, ValueError: a date could not be planned, or another
        process is at work.
    """
    dates = request.window.days
    found: list[record.Record] = []
    began, carried_out = time.monotonic(), 0
    with auto.locked(request):
        for i, date in enumerate(dates, 1):
            is_last = i == len(dates)
            before = record.read(request.workdir, date)
            # The last one may not have been the last one before.
            over = before and before.status not in _AGAIN
            if over and not is_last:
                found.append(before)
                continue
            exports = is_last or request.config.clock.replay_exports == "each"
            found.append(auto.on_date(data, request, date, exports))
            carried_out += 1
            each = (time.monotonic() - began) / carried_out
            left = len(dates) - i
            print(
                f"{date}: {_said(found[-1])} ({text.plural(left, 'date')} "
                f"left, about {text.duration(left * each)})",
                flush=True,
            )
    return found


def check(found: list[record.Record]) -> None:
    """Raise an error that names the dates on which something failed.

    Raises:
      UnfinishedError: a level failed, or a version was refused. Dates that
        waited are not an error: a later date has made up for them, or the
        report says that none has.
    """
    for status in (record.FAILED, record.REFUSED):
        dates = [of.date for of in found if of.status == status]
        if dates:
            raise auto.ERRORS[status](
                f"{text.plural(len(dates), 'date')} of the replay "
                f"{status}, the first one {dates[0]}. {record.DIRECTORY} in "
                "the work directory says why."
            )


def _said(found: record.Record) -> str:
    """Return what was done on a date, in a few words."""
    done = [of.title for of in found.steps if of.result == record.DONE]
    counts = [
        f"{title} x{done.count(title)}" if done.count(title) > 1 else title
        for title in dict.fromkeys(done)
    ]
    return f"{found.status}; {', '.join(counts) or 'nothing was due'}"
