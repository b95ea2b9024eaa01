"""Metrics of the days that a work directory scored, as `alarm` takes them."""

from collections.abc import Sequence

from ecdctr_tf import config as configs
from ecdctr_tf.diagnostics import alarm as alarm_lib
from ecdctr_tf.evaluation import runs as runs_lib
from ecdctr_tf.evaluation import scored_rows
from ecdctr_tf.input.data_directory import DataDirectory

FULL, BASELINE = "e_cdctr", "ads_only"


def measure(
    data: DataDirectory,
    runs: Sequence[runs_lib.Run],
    history: configs.HistoryConfig,
    first: str = "",
) -> dict | None:
    """Return the alarm of the days that both models scored in every run.

    Args:
      data: the data directory that the runs were scored on.
      runs: work directories of one configuration, one a seed; metrics are
        means over them.
      history: how the runs read history; one that has a `config.json` says so
        itself.
      first: days before this one are not looked at.

    Returns:
      What `alarm.alarm` returns, and `metrics`: day -> model -> metric; or
      None if there is no such day.

    Raises:
      ValueError: both models scored different rows, or scores are damaged.
    """
    models = [FULL, BASELINE]
    scored = [set(run.scored_days(m)) for run in runs for m in models]
    days = sorted(set.intersection(*scored)) if scored else []
    days = [day for day in days if day >= first]
    if not days:
        return None
    evaluated = runs_lib.evaluate(runs, models, days, data)
    by_day = {
        day: alarm_lib.means([_of_models(result, day) for result in evaluated])
        for day in days
    }
    parts = [_slices(data, run, days, history) for run in runs]
    by_slice = {
        name: {
            **of,
            "models": alarm_lib.means([p[name]["models"] for p in parts]),
        }
        for name, of in parts[0].items()
        if all(name in part for part in parts)
    }
    found = alarm_lib.alarm(by_day, by_slice, FULL, BASELINE)
    return {**found, "metrics": by_day}


def _of_models(result: dict, day: str) -> dict:
    return {model: result[model][day] for model in (FULL, BASELINE)}


def _slices(data, run: runs_lib.Run, days, history) -> dict:
    kept = run.path / "config.json"
    if kept.exists():
        history = configs.Config.from_json(kept).history
    held = scored_rows.held_rows(run, days, data, history)
    scored = scored_rows.read_scored(run, [FULL, BASELINE], days, held)
    return scored_rows.measure(data, scored)
