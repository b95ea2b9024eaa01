"""Scoring again with the models of past days: forgetting, a history that fails.

Shapes: J groups of scored days, and as many models.
"""

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf import metrics, store, windows
from ecdctr_tf.comparison import shared
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import history, levels, scoring

KIND = "ctr"


def matrix(
    data: DataDirectory,
    run: shared.SharedWorkdir,
    config: configs.Config,
    name: str,
    groups: list[windows.Window],
    metric: str = "auc",
) -> np.ndarray:
    """Return a metric of the model after each group of days, on each group.

    Entry (i, j) is of the model that has been trained up to the last day of
    group i, on the rows of group j: above the diagonal days that it will learn
    later, on it and below days that it has learned. Historical embeddings are
    those of that model; a row still sees those of before its day only.

    Args:
      data: the data directory.
      run: a run of a variant without joint training.
      config: its config.
      name: the variant's base, which its days are published under.
      groups: J windows of scored days, in order.
      metric: key of what `metrics.evaluate` returns.

    Returns:
      float64 `[J, J]`; not a number where the metric is not defined.

    Raises:
      FileNotFoundError: the last day of a group has not been published.
    """
    found = np.full((len(groups), len(groups)), np.nan)
    for i, group in enumerate(groups):
        level = _level(data, run, config, name, group.last, group.last)
        for j, scored in enumerate(groups):
            scores = scoring.score(level.model, data, scored)
            value = metrics.evaluate(
                scores["click"], scores["ctr"], scores["user"]
            )[metric]
            found[i, j] = np.nan if value is None else value
    return found


def without_history(
    data: DataDirectory,
    run: shared.SharedWorkdir,
    config: configs.Config,
    name: str,
    days: list[windows.Window],
) -> list[dict[str, np.ndarray]]:
    """Score days as if every historical vector were missing that day.

    Args:
      data: the data directory.
      run: a run with history.
      config: its config.
      name: the variant's base.
      days: windows as they were scored.

    Returns:
      What `scoring.score` returns, for each window.

    Raises:
      FileNotFoundError: no day from before a window has been published.
    """
    published = store.dated(run.ctr(name))
    found = []
    for day in days:
        earlier = [d for d in published if d < day.first]
        if not earlier:
            raise FileNotFoundError(
                f"{run.ctr(name)} holds no model from before {day.first}."
            )
        level = _level(data, run, config, name, earlier[-1], day.first)
        for table in level.model.history_tables.values():
            table.clear()
        found.append(scoring.score(level.model, data, day))
    return found


def _level(data, run, config, name, published, day) -> levels.Level:
    """Return a published model with the history that rows of a day may see."""
    tables = {}
    if config.model.history:
        _, tables = history.newest_before(data, run, day)
    path = run.ctr(name) / published
    stage = configs.ctr_config(config)
    return levels.load(data, config, stage, path, KIND, tables)
