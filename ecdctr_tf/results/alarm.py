"""An alarm for negative transfer: where the full model loses to ads only.

Simple rules on metrics that were computed before; no rows are read and nothing
is drawn. A run of lost days is held against the chance that a fair coin shows
one as long, a lost slice against the interval of its difference.
"""

import itertools
from collections.abc import Mapping

from ecdctr_tf import metrics
from ecdctr_tf.results.models import BASELINE, MAIN

# The metrics that are looked at.
METRICS = ("auc", "log_loss")
GOOD, WATCH, ALARM = "good", "watch", "alarm"
# Least lost days in a row that make a run; least clicks of a slice.
_MIN_DAYS = 3
_MIN_CLICKS = 100
# Chance of a run of lost days from which on it is no alarm.
_CHANCE = 0.05


def alarm(
    days: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    slices: Mapping[str, Mapping],
) -> dict:
    """Return where E-CDCTR loses to ads only.

    Args:
      days: day -> model -> metric -> value, such as `by_day` of results; `auc`
        and `log_loss` are looked at. A day that lacks a value ends a run.
      slices: slice -> `clicks` and `differences` ("full - baseline" -> metric
        -> fields of `metrics.Difference`), as `slices.by_slice` returns them.

    Returns:
      `level`: the worst of all, "good", "watch" or "alarm".
      `days`: metric -> `compared` and `lost` days.
      `runs`: `metric`, `first`, `last`, `days`, `lost_by` (mean, above 0),
      `chance` that the compared days of two equal models hold a run as long,
      and `level`: "alarm" if the chance is at most 5 %, else "watch". Days of
      one model resemble each other, so the chance is rather too small.
      `slices`: `slice`, `metric`, `clicks`, `lost_by` (above 0), its interval
      `low` and `high`, and `level`: "alarm" if that excludes 0, else "watch".
      Empty lists if nothing was lost.
    """
    lost = {
        metric: {
            day: _lost_by(metric, days[day].get(MAIN), days[day].get(BASELINE))
            for day in sorted(days)
        }
        for metric in METRICS
    }
    runs = [run for m in METRICS for run in _runs(m, list(lost[m].items()))]
    bad_slices = [
        found
        for name, of in slices.items()
        if of["clicks"] >= _MIN_CLICKS
        for found in _of_slice(name, of, f"{MAIN} - {BASELINE}")
    ]
    levels = [found["level"] for found in (*runs, *bad_slices)]
    return {
        "level": max([GOOD, *levels], key=(GOOD, WATCH, ALARM).index),
        "days": {
            metric: {
                "compared": sum(v is not None for v in of.values()),
                "lost": sum(v is not None and v > 0 for v in of.values()),
            }
            for metric, of in lost.items()
        },
        "runs": runs,
        "slices": bad_slices,
    }


def chance_of_run(length: int, days: int) -> float:
    """Return the chance that fair coins of so many days show a run of tails.

    Args:
      length: least days in a row, at least 1.
      days: coins thrown.

    Example:

    >>> chance_of_run(2, 3)  # TTT, TTH, HTT of eight
    0.375
    """
    # Chance of no such run yet, by the length of the run of tails at the end.
    ending = [1.0] + [0.0] * (length - 1)
    for _ in range(days):
        ending = [0.5 * sum(ending), *(0.5 * e for e in ending[:-1])]
    return 1 - sum(ending)


def _lost_by(
    metric: str, full: Mapping | None, baseline: Mapping | None
) -> float | None:
    """Return by how much the full model is worse; None where undefined."""
    ours, theirs = ((of or {}).get(metric) for of in (full, baseline))
    if ours is None or theirs is None:
        return None
    return (theirs - ours) * metrics.METRICS[metric].better


def _runs(metric: str, lost: list) -> list[dict]:
    """Return the runs of lost days of a metric, `lost` in order of days."""
    compared = sum(value is not None for _, value in lost)
    found = []
    for losing, group in itertools.groupby(
        lost, lambda item: item[1] is not None and item[1] > 0
    ):
        run = list(group)
        if not losing or len(run) < _MIN_DAYS:
            continue
        chance = chance_of_run(len(run), compared)
        found.append(
            {
                "metric": metric,
                "first": run[0][0],
                "last": run[-1][0],
                "days": len(run),
                "lost_by": sum(value for _, value in run) / len(run),
                "chance": chance,
                "level": ALARM if chance <= _CHANCE else WATCH,
            }
        )
    return found


def _of_slice(name: str, of: Mapping, pair: str) -> list[dict]:
    """Return the metrics that the full model loses on a slice."""
    found = []
    for metric in METRICS:
        apart = of["differences"].get(pair, {}).get(metric)
        if apart is None or apart["mean"] is None:
            continue
        worse = -metrics.METRICS[metric].better
        if worse * apart["mean"] <= 0:
            continue
        low, high = sorted(worse * apart[end] for end in ("low", "high"))
        found.append(
            {
                "slice": name,
                "metric": metric,
                "clicks": of["clicks"],
                "lost_by": worse * apart["mean"],
                "low": low,
                "high": high,
                "level": ALARM if apart["significant"] else WATCH,
            }
        )
    return found
