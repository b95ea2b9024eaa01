"""Scoring again with the models of past days: forgetting, a history that fails.

Shapes: J groups of scored days, and as many models.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import tqdm

from ecdctr_tf import artefacts, store, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results.models import Model
from ecdctr_tf.training import workdir
from ecdctr_tf.training.level import Level


def each(
    data: DataDirectory,
    model: Model,
    run: workdir.Workdir,
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
      model: a model that does not learn both domains together.
      run: one of its runs.
      groups: J windows of scored days, in order.
      today: which historical embeddings rows see.

    Yields:
      i, j, and the predictions of the rows of group j, in the order of their
      files.

    Raises:
      FileNotFoundError: the last day of a group has not been published.
    """
    level = None
    for i, group in enumerate(groups):
        tomorrow = windows.plus(group.last, 1)
        for j, scored in enumerate(groups):
            seen = windows.Window(tomorrow, tomorrow) if today else scored
            level = opened(data, model, run, group.last, seen, level)
            as_of = tomorrow if today else ""
            yield i, j, level.score(scored, as_of=as_of)["ctr"]


def without_history(
    data: DataDirectory,
    model: Model,
    run: workdir.Workdir,
    days: Sequence[windows.Window],
) -> list[np.ndarray]:
    """Return what is predicted of days if every historical vector is missing.

    Args:
      data: the data directory.
      model: a model with history.
      run: one of its runs.
      days: windows as they were scored.

    Returns:
      The predictions of the rows of each window.

    Raises:
      FileNotFoundError: no day from before a window has been published.
    """
    published = store.dated(run.ctr(model.base))
    level, found = None, []
    for day in tqdm.tqdm(days, "history down", unit="day"):
        earlier = [d for d in published if d < day.first]
        if not earlier:
            raise FileNotFoundError(
                f"{run.ctr(model.base)} holds no model from before {day.first}."
            )
        seen = windows.Window(day.first, day.first)
        level = opened(data, model, run, earlier[-1], seen, level)
        for table in level.model.history_tables.values():
            table.clear()
        found.append(level.score(day)["ctr"])
    return found


def opened(
    data: DataDirectory,
    model: Model,
    run: workdir.Workdir,
    published: str,
    window: windows.Window,
    level: Level | None = None,
) -> Level:
    """Return a published day as a level, with the history that rows may see.

    Args:
      data: the data directory.
      model: the model.
      run: one of its runs.
      published: the day that the model was trained on last.
      window: the days of the rows that it will score.
      level: what was returned last, which is used again if it fits.
    """
    path = run.ctr(model.base) / published
    manifest = store.read_manifest(path, artefacts.CTR)
    cpm = artefacts.cpm_of(path, manifest)
    if level is None or level.last != path:
        config = artefacts.read_config(path, artefacts.CTR)
        # It reads the features that it was trained with.
        spec = data.specs.get(manifest.spec)
        level = Level(data, run, config, model.row, artefacts.CTR, spec)
        level.look_up(window, cpm)
        level.open(path)
    level.look_up(window, cpm)
    return level
