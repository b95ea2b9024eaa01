"""Scoring again with the models of past days: forgetting, a history that fails.

Shapes: J groups of scored days, and as many models.
"""

import numpy as np
import tqdm

from ecdctr_tf import artefacts, metrics, model_table, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.comparison import shared
from ecdctr_tf.evaluation import runs as runs_lib
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import level as levels


def matrix(
    data: DataDirectory,
    run: shared.SharedWorkdir,
    config: configs.Config,
    row: model_table.ModelRow,
    groups: list[windows.Window],
    truths: list[np.ndarray] | None = None,
    today: bool = False,
) -> np.ndarray:
    """Return the AUC of the model after each group of days, on each group.

    Entry (i, j) is of the model that has been trained up to the last day of
    group i, on the rows of group j: above the diagonal days that it will learn
    later, on it and below days that it has learned. It has learned the clicks
    of those rows; with the true click probabilities AUC is that of the truth
    (`metrics.expected_auc`), where remembered clicks do not count.

    Historical embeddings are those that the rows were served with: the newest
    of before group j ended, and of those what a row's day may see. With `today`
    they are what a row would be served with on the day after group i, so that
    all that the model reads, but the features of the row, is of that day.

    Args:
      data: the data directory.
      run: a run of a variant without joint training.
      config: its config.
      row: the model.
      groups: J windows of scored days, in order.
      truths: the true click probabilities of the rows of each group, in the
        order of their files; None where they are not known.
      today: which historical embeddings rows see.

    Returns:
      float64 `[J, J]`; not a number where AUC is not defined.

    Raises:
      FileNotFoundError: the last day of a group has not been published.
    """
    found = np.full((len(groups), len(groups)), np.nan)
    for i, group in enumerate(groups):
        tomorrow = windows.day_name(windows.day_number(group.last) + 1)
        level = levels.Level(data, run, config, row, artefacts.CTR)
        for j, scored in enumerate(groups):
            first = tomorrow if today else scored.first
            last = tomorrow if today else scored.last
            _open(level, group.last, windows.Window(first, last))
            scores = level.score(scored, as_of=tomorrow if today else "")
            truth = None if truths is None else truths[j]
            found[i, j] = auc(scores["click"], scores["ctr"], truth)
    return found


def auc(click, ctr, truth: np.ndarray | None = None) -> float:
    """Return AUC, by the truth where it is known; NaN where not defined.

    Args:
      click: `[N]`, 0 or 1.
      ctr: `[N]`, what a model predicted.
      truth: `[N]`, true click probabilities, or None.
    """
    if truth is not None:
        return metrics.expected_auc(truth, ctr)
    if click.min() == click.max():
        return np.nan
    return metrics.auc(click, ctr)


def truth(data: DataDirectory, span: windows.Window) -> np.ndarray | None:
    """Return the true click probabilities of ads, float `[N]`, or None.

    Args:
      data: the data directory; knows them where `true_ctr` is one of its
        evaluation columns.
      span: the days. Rows are in the order of their files.
    """
    if runs_lib.TRUE_CTR not in data.spec.evaluation:
        return None
    names = [data.spec.user, data.spec.item]
    columns = streams.read_columns(data, levels.ADS, span, names=names)
    return columns[runs_lib.TRUE_CTR]


def without_history(
    data: DataDirectory,
    run: shared.SharedWorkdir,
    config: configs.Config,
    row: model_table.ModelRow,
    days: list[windows.Window],
) -> list[dict[str, np.ndarray]]:
    """Score days as if every historical vector were missing that day.

    Args:
      data: the data directory.
      run: a run with history.
      config: its config.
      row: the model.
      days: windows as they were scored.

    Returns:
      What `Level.score` returns, for each window.

    Raises:
      FileNotFoundError: no day from before a window has been published.
    """
    published = store.dated(run.ctr(row.base))
    found = []
    for day in tqdm.tqdm(days, "history down", unit="day"):
        earlier = [d for d in published if d < day.first]
        if not earlier:
            raise FileNotFoundError(
                f"{run.ctr(row.base)} holds no model from before {day.first}."
            )
        level = levels.Level(data, run, config, row, artefacts.CTR)
        _open(level, earlier[-1], windows.Window(day.first, day.first))
        for table in level.model.history_tables.values():
            table.clear()
        found.append(level.score(day))
    return found


def _open(level: levels.Level, published: str, window: windows.Window) -> None:
    """Bring a level to a published day, with the history that rows may see."""
    path = level.directory / published
    manifest = store.read_manifest(path, artefacts.CTR)
    cpm = None
    if artefacts.CPM in manifest.parents:
        cpm = artefacts.parent_path(path, manifest, artefacts.CPM)
    if level.last != path:
        level.look_up(window, cpm)
        level.open(path)
    level.look_up(window, cpm)
