"""Scoring again with the models of past days: forgetting, a history that fails.

Shapes: J groups of scored days, and as many models.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import tqdm

from ecdctr_tf import config as configs
from ecdctr_tf import store, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.training import history, levels, scoring, workdir

KIND = "ctr"


def each(
    data: DataDirectory,
    run: workdir.Workdir,
    config: configs.Config,
    name: str,
    groups: Sequence[windows.Window],
    today: bool = False,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield what the model after each group of days predicts of each group.

    The model of group i has been trained up to the last day of it: group j > i
    it will learn later, group j <= i it has learned.

    Historical embeddings are those that the rows were served with: the newest
    of before group j ended, and of those what a row's day may see. With `today`
    they are what a row would be served with on the day after group i, so that
    all that the model reads, but the features of the row, is of that day.

    Args:
      data: the data directory.
      run: a run of a model without joint training.
      config: its config.
      name: what its days are published under.
      groups: J windows of scored days, in order.
      today: which historical embeddings rows see.

    Yields:
      i, j, and the predictions of the rows of group j, in the order of their
      files.

    Raises:
      FileNotFoundError: the last day of a group has not been published.
    """
    for i, group in enumerate(groups):
        tomorrow = windows.day_name(windows.day_number(group.last) + 1)
        model, known = None, None
        for j, scored in enumerate(groups):
            day = tomorrow if today else scored.last
            newest = workdir.newest_before(run.historical, day)
            if model is None or (config.model.history and newest != known):
                model = load(data, run, config, name, group.last, day)
                known = newest
            as_of = tomorrow if today else ""
            yield i, j, scoring.score(model, data, scored, as_of=as_of)["ctr"]


def without_history(
    data: DataDirectory,
    run: workdir.Workdir,
    config: configs.Config,
    name: str,
    days: Sequence[windows.Window],
) -> list[np.ndarray]:
    """Return what is predicted of days if every historical vector is missing.

    Args:
      data: the data directory.
      run: a run with history.
      config: its config.
      name: what its days are published under.
      days: windows as they were scored.

    Returns:
      The predictions of the rows of each window.

    Raises:
      FileNotFoundError: no day from before a window has been published.
    """
    published = store.dated(run.ctr(name))
    found = []
    for day in tqdm.tqdm(days, "history down", unit="day"):
        earlier = [d for d in published if d < day.first]
        if not earlier:
            raise FileNotFoundError(
                f"{run.ctr(name)} holds no model from before {day.first}."
            )
        model = load(data, run, config, name, earlier[-1], day.first)
        for table in model.history_tables.values():
            table.clear()
        found.append(scoring.score(model, data, day)["ctr"])
    return found


def load(
    data: DataDirectory,
    run: workdir.Workdir,
    config: configs.Config,
    name: str,
    published: str,
    day: str,
) -> CTRModel:
    """Return a published model with the history that a day may see.

    Args:
      data: the data directory.
      run: the run.
      config: its config.
      name: what its days are published under.
      published: the day that the model was trained on last.
      day: of the rows that it will score.
    """
    tables: dict = {}
    if config.model.history:
        _, tables = history.newest_before(data, run, day)
    path = run.ctr(name) / published
    stage = configs.ctr_config(config)
    return levels.load(data, config, stage, path, KIND, tables).model
