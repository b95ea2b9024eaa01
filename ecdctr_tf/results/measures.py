"""Numbers that are made of the metrics of scored days."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ecdctr_tf import metrics
from ecdctr_tf.results import alarm
from ecdctr_tf.results.models import BASELINE, MAIN, MIXTURE, ORACLE, Model
from ecdctr_tf.results.slices import ScoredDay

# Counts of a scored day, the same for all models.
COUNTS = ("rows", "clicks", "gauc_users", "gauc_dropped_users")


def reported_days(models: Sequence[Model], days: Sequence[str]) -> list[str]:
    """Return the days that means are over: from `schedule.report_first` on.

    Args:
      models: the models.
      days: those that all of them scored.

    Raises:
      ValueError: there are no such days.
    """
    if not days:
        names = ", ".join(model.name for model in models) or "any model"
        raise ValueError(
            f"No day was scored by all of {names}. Score the same days of ads "
            "with each model: `python train_main.py --stage=ctr`, or "
            "`--stage=all`."
        )
    first = models[0].config.schedule.report_first
    kept = [day for day in days if day >= first]
    if not kept:
        raise ValueError(
            f"No scored day from `schedule.report_first` ({first}) on; the "
            f"scored days are {days[0]}..{days[-1]}. Score later days with "
            "`python train_main.py --stage=ctr`, or set an earlier day."
        )
    return kept


def of_day(day: ScoredDay) -> dict[str, dict]:
    """Return the metrics of a day.

    Returns:
      Model -> each metric, the mean over seeds, and `<metric>_std`, their
      deviation (n - 1; None for one seed). None where a seed lacks it.
    """
    user = day.rows["user"]
    found: dict[str, dict] = {}
    for model, ctr in day.ctr.items():
        seeds = [
            metrics.evaluate(day.click, of, user, day.weight) for of in ctr
        ]
        found[model] = {}
        for metric in metrics.METRICS:
            values = [of[metric] for of in seeds]
            known = None not in values
            several = known and len(values) > 1
            found[model] |= {
                metric: float(np.mean(values)) if known else None,
                f"{metric}_std": (
                    float(np.std(values, ddof=1)) if several else None
                ),
            }
    return found


def counts(days: Iterable[ScoredDay]) -> dict[str, int]:
    """Return the sums of `COUNTS` over days."""
    # They do not depend on predictions: clicks do.
    found = [
        metrics.evaluate(day.click, day.click, day.rows["user"], day.weight)
        for day in days
    ]
    return {name: sum(of[name] for of in found) for name in COUNTS}


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return E-CDCTR and the mixture against each other model.

    And each model against ads only.
    """
    names = [name for name in names if name != ORACLE]
    found: list[tuple[str, str]] = []
    for first in (MAIN, MIXTURE):
        others = [n for n in names if n != first and (n, first) not in found]
        found += [(first, name) for name in others if first in names]
    if BASELINE in names:
        others = [n for n in names if n not in (MAIN, MIXTURE, BASELINE)]
        found += [(name, BASELINE) for name in others]
    return found


def days_higher(
    by_day: Mapping[str, Mapping], days: Sequence[str], pair: str
) -> dict[str, int]:
    """Return on how many of the days one model is above another, by metric.

    Args:
      by_day: day -> what `of_day` returned.
      days: the days.
      pair: "a - b".
    """
    a, b = pair.split(" - ")
    return {
        metric: sum(
            (_minus(by_day[day][a][metric], by_day[day][b][metric]) or 0) > 0
            for day in days
        )
        for metric in metrics.METRICS
    }


def gaps_closed(models: Mapping[str, Mapping]) -> dict[str, dict]:
    """Return model -> `gap_closed`, of models between the two ends.

    Args:
      models: model -> metric -> fields of a `metrics.Estimate`.
    """
    means = {
        model: {metric: of["mean"] for metric, of in of_metric.items()}
        for model, of_metric in models.items()
    }
    shares = {
        model: gap_closed(means, model)
        for model in models
        if model not in (ORACLE, BASELINE)
    }
    return {model: of for model, of in shares.items() if of}


def gap_closed(
    models: Mapping[str, Mapping[str, float | None]], model: str
) -> dict[str, float | None]:
    """Return the share of the way from ads-only to the oracle, by metric.

        (model - ads_only) / (oracle - ads_only)

    Args:
      models: model -> metric -> its mean.
      model: name of the model.

    Returns:
      Metric -> share, 0 as good as ads-only, 1 as good as the truth; None
      where the oracle is not better (few rows, or true probabilities that
      sampling made false). Empty where one of the three is missing.
    """
    if not {ORACLE, BASELINE, model} <= set(models):
        return {}
    shares: dict[str, float | None] = {}
    for name, metric in metrics.METRICS.items():
        if not metric.better:
            continue
        low, high = models[BASELINE][name], models[ORACLE][name]
        gap, way = _minus(high, low), _minus(models[model][name], low)
        shares[name] = None
        if gap is not None and way is not None and gap * metric.better > 0:
            shares[name] = way / gap
    return shares


def worse_than_constant(
    models: Mapping[str, Mapping], labels: Mapping[str, str]
) -> list[str]:
    """Return a sentence on each model with a normalized entropy above 1.

    Args:
      models: model -> metric -> fields of a `metrics.Estimate`.
      labels: model -> what pages call it.
    """
    found = []
    for name, of in models.items():
        entropy = of["normalized_entropy"]["mean"]
        if entropy is not None and entropy > 1:
            found.append(
                f"{labels[name]} is worse than a constant: its normalized "
                f"entropy is {entropy:.2f}, and that of predicting the mean "
                "click rate for all rows is 1. Leave out features that "
                "--stage=diagnose warns of, or let --stage=compare --trials=4 "
                "choose the learning rates."
            )
    return found


def alarm_of(
    by_day: Mapping[str, Mapping],
    days: Sequence[str],
    by_slice: Mapping[str, Mapping],
) -> dict | None:
    """Return where E-CDCTR loses to ads only; None without both models."""
    if not {MAIN, BASELINE} <= set(by_day[days[0]]):
        return None
    return alarm.alarm({d: by_day[d] for d in days}, by_slice)


def summary(results: Mapping) -> dict:
    """Return the few numbers that a report of a run is opened for.

    Args:
      results: what `report.write` returned.

    Returns:
      `models` (name -> each metric, `<metric>_std`), `differences` ("a - b" ->
      metric -> fields of `metrics.Difference`, `days_higher`), `gap_closed`
      (metric -> share, of E-CDCTR), `averaged_days`, `seeds`, `pooled`,
      `COUNTS` and `notes`.
    """
    models = {
        model: {
            **{metric: of["mean"] for metric, of in of_metric.items()},
            **{f"{metric}_std": of["std"] for metric, of in of_metric.items()},
        }
        for model, of_metric in results["models"].items()
    }
    return {
        "models": models,
        "differences": results["differences"],
        "gap_closed": results["gap_closed"].get(MAIN, {}),
        "averaged_days": results["days"],
        **{key: results[key] for key in ("seeds", "pooled", *COUNTS, "notes")},
    }


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
