"""The numbers of a report: means over days, then over seeds, and differences.

A metric of a model is its mean over the averaged days, a number a seed, and
the mean and standard deviation (n - 1) of those over seeds.
"""

import math
from collections.abc import Sequence

from ecdctr_tf.evaluation import runs as runs_lib

METRICS = ("auc", "gauc", "log_loss", "normalized_entropy", "pcoc")
# Counts of a scored day, the same for all models.
COUNTS = ("rows", "clicks", "gauc_users", "gauc_dropped_users")
# Metrics of which a share of the gap to the oracle can be closed, and the sign
# of what is better.
GAP_METRICS = {"auc": 1, "gauc": 1, "log_loss": -1, "normalized_entropy": -1}
PAIRS = (
    ("e_cdctr", "ads_only"),
    ("e_cdctr", "cpm_finetune"),
    ("cpm_finetune", "ads_only"),
)
BASELINE = "ads_only"


def averaged_days(days: Sequence[str], first: str) -> list[str]:
    """Return the days of a report: those from `first` on, or all if empty.

    Raises:
      ValueError: no scored day is left.
    """
    kept = [day for day in days if day >= first]
    if not kept:
        raise ValueError(
            f"No scored day from `schedule.report_first` ({first}) on; the "
            f"scored days are {days[0]}..{days[-1]}. Score later days with "
            "`python train_main.py --stage=ctr`, or set an earlier day."
        )
    return kept


def summarize(
    results: Sequence[dict],
    averaged: Sequence[str],
    pooled: Sequence[dict] | None = None,
) -> dict:
    """Return the numbers of a report, ready for JSON.

    Args:
      results: for each seed, model -> day -> metrics (`runs.evaluate`).
      averaged: the days that means are over.
      pooled: for each seed, model -> metrics of the rows of the averaged days
        together, to take instead of means over days (`runs.pooled`); there is
        no oracle then.

    Returns:
      `models`: model -> each metric and `<metric>_std`, `days`, `seeds`;
      `gap_closed`: metric -> share, of E-CDCTR, empty without an oracle;
      `differences`: "a - b" -> metric -> `mean`, `std`, `standard_error` of
      the seeds' differences, and `days_higher`, the averaged days in which a
      is above b (means over seeds); `days`: day -> model -> metrics;
      `averaged_days`; `rows`, `clicks`, `gauc_users` and `gauc_dropped_users`
      summed over the averaged days. None stands for what is undefined: a
      standard deviation of one seed, AUC of days of one class.
    """
    order = [runs_lib.ORACLE, *results[0]]
    names = [n for n in dict.fromkeys(order) if n in results[0]]
    if pooled is not None:
        names = [name for name in names if name in pooled[0]]
        means = {n: [_row(seed[n]) for seed in pooled] for n in names}
    else:
        means = {n: _seed_means(results, n, averaged) for n in names}
    models = {
        name: {
            **_with_std(means[name]),
            "days": len(averaged),
            "seeds": len(results),
        }
        for name in names
    }
    days = {
        day: {n: _with_std([_row(r[n][day]) for r in results]) for n in names}
        for day in results[0][names[-1]]
    }
    first = results[0][names[-1]]
    return {
        "models": models,
        "gap_closed": gap_closed(models, "e_cdctr"),
        "differences": {
            f"{a} - {b}": _differences(means[a], means[b], days, averaged, a, b)
            for a, b in PAIRS
            if a in names and b in names
        },
        "days": days,
        "averaged_days": list(averaged),
        "pooled": pooled is not None,
        **{key: sum(first[day][key] for day in averaged) for key in COUNTS},
    }


def gap_closed(models: dict, model: str) -> dict:
    """Return the share of the way from ads-only to the oracle, by metric.

        (model - ads_only) / (oracle - ads_only)

    Args:
      models: as in the result of `summarize`.
      model: name of the model.

    Returns:
      Metric -> share, 0 as good as ads-only, 1 as good as the truth; None
      where the oracle is not better (few rows, or true probabilities that
      sampling made false). Empty where one of the three is missing.
    """
    if not {runs_lib.ORACLE, BASELINE, model} <= set(models):
        return {}
    shares = {}
    for metric, sign in GAP_METRICS.items():
        low, high = models[BASELINE][metric], models[runs_lib.ORACLE][metric]
        gap = _minus(high, low)
        way = _minus(models[model][metric], low)
        defined = None not in (gap, way) and gap * sign > 0
        shares[metric] = way / gap if defined else None
    return shares


def mean_and_std(values: Sequence) -> tuple[float | None, float | None]:
    """Return mean and standard deviation (n - 1) of what is not None."""
    known = [v for v in values if v is not None]
    if not known:
        return None, None
    # Equal values have exactly no deviation, whatever the rounding.
    equal = len(set(known)) == 1
    mean = known[0] if equal else math.fsum(known) / len(known)
    if len(known) < 2:
        return mean, None
    squares = math.fsum((v - mean) ** 2 for v in known)
    return mean, math.sqrt(squares / (len(known) - 1))


def _row(values: dict) -> dict:
    return {metric: values[metric] for metric in METRICS}


def _seed_means(results, name: str, averaged) -> list[dict]:
    """Return the mean over days of each metric, a dict a seed."""
    return [
        {
            m: mean_and_std([result[name][day][m] for day in averaged])[0]
            for m in METRICS
        }
        for result in results
    ]


def _with_std(seeds: list[dict]) -> dict:
    values = {}
    for metric in METRICS:
        mean, std = mean_and_std([seed[metric] for seed in seeds])
        values |= {metric: mean, f"{metric}_std": std}
    return values


def _differences(first, second, days, averaged, a: str, b: str) -> dict:
    result = {}
    for metric in METRICS:
        pairs = zip(first, second, strict=True)
        apart = [_minus(x[metric], y[metric]) for x, y in pairs]
        mean, std = mean_and_std(apart)
        error = None if std is None else std / math.sqrt(len(apart))
        daily = (
            _minus(days[d][a][metric], days[d][b][metric]) for d in averaged
        )
        result[metric] = {
            "mean": mean,
            "std": std,
            "standard_error": error,
            "days_higher": sum(v is not None and v > 0 for v in daily),
        }
    return result


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
