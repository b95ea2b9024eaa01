"""An alarm for negative transfer: where the full model loses to ads only.

Simple rules on metrics that were computed before; no rows are read and nothing
is drawn. A run of lost days is held against the chance that a fair coin shows
one as long, a lost slice against a rough size of its noise.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

# Metric -> whether larger is better.
METRICS = {"auc": True, "log_loss": False}
GOOD, WATCH, ALARM = "good", "watch", "alarm"
# Chance of a run of lost days from which on it is no alarm.
_CHANCE = 0.05
# Standard error of the difference of two models' log loss on the same rows, by
# the log loss and the root of the clicks: as measured of E-CDCTR and ads only
# on the demo's scored days. Models that are more alike have less.
_LOG_LOSS_NOISE = 0.35
# Standard errors that a loss has to exceed to be an alarm.
_ERRORS = 2.0


def alarm(
    days: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    slices: Mapping[str, Mapping],
    full: str = "e_cdctr",
    baseline: str = "ads_only",
    min_days: int = 3,
    min_clicks: int = 100,
) -> dict:
    """Return where a model with transfer loses to one without.

    Args:
      days: day -> model -> metric -> value, such as `summary["days"]`; `auc`
        and `log_loss` are looked at. A day that lacks a value ends a run.
      slices: slice -> `rows`, `clicks` and `models` (model -> metric -> value),
        as `evaluation.slices.by_slice` returns them.
      full: the model with transfer.
      baseline: the model without.
      min_days: least scored days in a row that make a run.
      min_clicks: least clicks of a slice that is looked at.

    Returns:
      `level`: the worst of all, "good", "watch" or "alarm".
      `days`: metric -> `compared` and `lost` days.
      `runs`: `metric`, `first`, `last`, `days`, `lost_by` (mean, above 0),
      `chance` that the compared days of two equal models hold a run as long,
      and `level`: "alarm" if the chance is at most 5 %, else "watch". Days of
      one model resemble each other, so the chance is rather too small.
      `slices`: `slice`, `metric`, `clicks`, `lost_by`, `noise` (two rough
      standard errors), `level`: "alarm" if beyond the noise, else "watch".
      Empty lists if nothing was lost.

    Raises:
      ValueError: `min_days` or `min_clicks` is below 1.
    """
    for name, value in (("min_days", min_days), ("min_clicks", min_clicks)):
        if value < 1:
            raise ValueError(
                f"`{name}` should be at least 1. Received: {value}"
            )
    lost = {
        metric: {
            day: _lost_by(metric, days[day].get(full), days[day].get(baseline))
            for day in sorted(days)
        }
        for metric in METRICS
    }
    runs = [
        run
        for m in METRICS
        for run in _runs(m, list(lost[m].items()), min_days)
    ]
    bad_slices = [
        found
        for name, of in slices.items()
        if of["clicks"] >= min_clicks
        for found in _of_slice(name, of, full, baseline)
    ]
    levels = [found["level"] for found in (*runs, *bad_slices)]
    return {
        "full": full,
        "baseline": baseline,
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


def means(
    seeds: Sequence[Mapping[str, Mapping[str, float | None]]],
) -> dict[str, dict[str, float | None]]:
    """Return the means over seeds of the metrics that the alarm looks at.

    Args:
      seeds: model -> metric -> value, one a seed.

    Returns:
      Model -> metric -> mean, None where a seed lacks it.
    """
    found = {}
    for model in seeds[0]:
        found[model] = {}
        for metric in METRICS:
            values = [of[model][metric] for of in seeds]
            known = None not in values
            found[model][metric] = float(np.mean(values)) if known else None
    return found


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


def auc_error(auc: float, clicks: int, others: int) -> float:
    """Return the standard error of an AUC.

    Args:
      auc: in [0, 1].
      clicks: clicked rows, at least 1.
      others: rows without a click, at least 1.

    Source: Hanley and McNeil, "The meaning and use of the area under a receiver
    operating characteristic (ROC) curve".
    """
    square = auc**2
    two_clicks = auc / (2 - auc) - square
    two_others = 2 * square / (1 + auc) - square
    variance = auc * (1 - auc)
    variance += (clicks - 1) * two_clicks + (others - 1) * two_others
    return math.sqrt(max(variance, 0.0) / (clicks * others))


def _lost_by(metric: str, full, baseline) -> float | None:
    """Return by how much the full model is worse; None where undefined."""
    ours, theirs = ((of or {}).get(metric) for of in (full, baseline))
    if ours is None or theirs is None:
        return None
    return theirs - ours if METRICS[metric] else ours - theirs


def _runs(metric: str, lost: list, min_days: int) -> list[dict]:
    """Return the runs of lost days of a metric, `lost` in order of days."""
    compared = sum(value is not None for _, value in lost)
    found = []
    for losing, group in itertools.groupby(
        lost, lambda item: item[1] is not None and item[1] > 0
    ):
        run = list(group)
        if not losing or len(run) < min_days:
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


def _of_slice(name: str, of: Mapping, full: str, baseline: str) -> list[dict]:
    """Return the metrics that the full model loses on a slice."""
    models, clicks = of["models"], of["clicks"]
    found = []
    for metric in METRICS:
        lost = _lost_by(metric, models.get(full), models.get(baseline))
        if lost is None or lost <= 0:
            continue
        value = models[baseline][metric]
        if metric == "auc":
            error = auc_error(value, clicks, of["rows"] - clicks)
        else:
            error = _LOG_LOSS_NOISE * value / math.sqrt(clicks)
        noise = _ERRORS * error
        found.append(
            {
                "slice": name,
                "metric": metric,
                "clicks": clicks,
                "lost_by": lost,
                "noise": noise,
                "level": ALARM if lost > noise else WATCH,
            }
        )
    return found
