"""How many scored rows are of users and items that history knows.

Shapes: N rows of a day, S dated versions, V table rows.
"""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from ecdctr_tf import config as config_lib
from ecdctr_tf import features, store, windows
from ecdctr_tf.evaluation import runs as runs_lib
from ecdctr_tf.evaluation import slices
from ecdctr_tf.transfer import historical

# Table name -> which rows a version knows, bool [V].
History = dict[str, np.ndarray]


def coverage(
    run: runs_lib.Run,
    model: str,
    days: Sequence[str],
    spec: features.DataSpec,
    history: config_lib.HistoryConfig,
    read: Callable[[pathlib.Path], History],
) -> dict[str, dict]:
    """Return the share of each day's rows that history knows.

    A row counts if one of the dated versions that it may see, as many of the
    newest as the aggregation reads, knows its user or item.

    Args:
      run: whose scores and historical embeddings are looked at.
      model: whose scores say which rows a day has.
      days: the scored days.
      spec: says which tables users and items are of.
      history: how many versions a row sees.
      read: returns the dated versions in a `historical/<day>` directory.

    Returns:
      Day -> `rows`, and `user`, `item`, `both`: shares in [0, 1], of tables
      that history has. Days before the first history are left out.
    """
    result = {}
    for day, masks in held(run, days, spec, history, read).items():
        scores = run.scores(model, day)
        known = {role: _member(m, scores[role]) for role, m in masks.items()}
        if len(known) == 2:
            known["both"] = known["user"] & known["item"]
        if known and len(scores["click"]):
            shares = {k: float(v.mean()) for k, v in known.items()}
            result[day] = {"rows": len(scores["click"]), **shares}
    return result


def held(
    run: runs_lib.Run,
    days: Sequence[str],
    spec: features.DataSpec,
    history: config_lib.HistoryConfig,
    read: Callable[[pathlib.Path], History],
) -> dict[str, dict[str, np.ndarray]]:
    """Return which row numbers history holds for the rows of each day.

    Args:
      run: whose historical embeddings are looked at.
      days: the scored days.
      spec: as for `coverage`.
      history: as for `coverage`.
      read: as for `coverage`.

    Returns:
      Day -> "user" and "item", of tables that history has -> bool `[V]`. Days
      before the first history are left out.
    """
    directory = run.path / "historical"
    published = store.dated(directory)
    known: dict[str, dict[str, np.ndarray]] = {}
    result = {}
    for day in days:
        today = windows.Window(day, day)
        seen = historical.seen_in(published, today, history)
        for version in seen:
            if version not in known:
                known[version] = read(directory / version)
        if not seen:
            continue
        result[day] = {}
        for role in slices.ROLES:
            name = spec.feature(getattr(spec, role)).table
            masks = [known[v][name] for v in seen if name in known[v]]
            if masks:
                result[day][role] = _union(masks)
    return result


def read_history(directory: pathlib.Path, id_spaces: dict) -> History:
    """Return which rows a version of `historical/<day>` knows.

    Args:
      directory: the artefact.
      id_spaces: table name -> id space of the data directory.

    Returns:
      Table name -> bool `[V]`.

    Raises:
      FileNotFoundError, ValueError: it is missing, damaged, or of other ids.
    """
    found = {}
    for name, (rows, _) in historical.read(directory, id_spaces).items():
        mask = np.zeros([int(rows.max(initial=0)) + 1], bool)
        mask[rows] = True
        found[name] = mask
    return found


def _union(masks: list[np.ndarray]) -> np.ndarray:
    """Return which rows any of some masks has, bool of the longest length."""
    union = np.zeros([max(len(mask) for mask in masks)], bool)
    for mask in masks:
        union[: len(mask)] |= mask
    return union


def _member(mask: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return whether each row number is one that the mask has, `[N]`."""
    inside = (rows >= 0) & (rows < len(mask))
    if not len(mask):
        return inside
    return inside & mask[np.where(inside, rows, 0)]
