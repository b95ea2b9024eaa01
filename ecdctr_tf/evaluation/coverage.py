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

# Table -> (present bool [S, V], visible_from int [S], days since 1970-01-01).
History = dict[str, tuple[np.ndarray, np.ndarray]]


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
    learned = history.aggregation in historical.LEARNED
    slots = history.snapshots if learned else 1
    published, versions = store.dated(directory), {}
    result = {}
    for day in days:
        earlier = [last for last in published if last < day]
        if not earlier:
            continue
        newest = earlier[-1]
        if newest not in versions:
            versions[newest] = read(directory / newest)
        result[day] = {}
        for role in slices.ROLES:
            name = spec.feature(getattr(spec, role)).table
            if name in versions[newest]:
                table = versions[newest][name]
                today = windows.day_number(day)
                result[day][role] = visible(*table, today, slots)
    return result


def read_history(directory: pathlib.Path, id_spaces: dict) -> History:
    """Return what the dated versions of a `historical/<day>` artefact know.

    Args:
      directory: the artefact.
      id_spaces: table name -> id space of the data directory.

    Raises:
      FileNotFoundError, ValueError: it is missing, damaged, or of other ids.
    """
    return {
        name: (
            table.present.numpy().reshape(table.versions, table.rows),
            table.visible_from.numpy(),
        )
        for name, table in historical.load(directory, id_spaces).items()
    }


def visible(present, visible_from, day: int, slots: int) -> np.ndarray:
    """Return which table rows the newest visible versions know.

    Args:
      present: bool `[S, V]`, oldest version first.
      visible_from: int `[S]`, rising.
      day: days since 1970-01-01.
      slots: versions that a row sees.

    Returns:
      bool `[V]`.
    """
    seen = int(np.searchsorted(visible_from, day, side="right"))
    present = np.asarray(present, bool)
    return present[max(seen - slots, 0) : seen].any(axis=0)


def _member(mask: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return whether each row number is one that the mask has, `[N]`."""
    inside = (rows >= 0) & (rows < len(mask))
    if not len(mask):
        return inside
    return inside & mask[np.where(inside, rows, 0)]
