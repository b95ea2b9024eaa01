"""How many scored rows are of users and items that history knows.

Shapes: N rows of a day, H row numbers that a historical table holds.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from ecdctr_tf import artefacts, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import slices
from ecdctr_tf.results.models import MAIN, Model
from ecdctr_tf.transfer import historical


def of_models(
    models: Sequence[Model], days: Sequence[str], data: DataDirectory
) -> dict[str, dict[str, np.ndarray]]:
    """Return `held` of E-CDCTR, or of another model that reads history.

    Raises:
      FileNotFoundError, ValueError: as `held`, or a version is gone that a day
        looked up.
    """
    for model in sorted(models, key=lambda model: model.name != MAIN):
        if model.config.model.history:
            run = model.workdirs[0]
            for day in days:
                path = run.ctr(model.base) / day
                manifest = store.read_manifest(path, artefacts.CTR)
                historical.check_versions(manifest, path)
            return held(run.historical, days, data, model.config.history)
    return {}


def held(
    directory: pathlib.Path,
    days: Sequence[str],
    data: DataDirectory,
    history: configs.HistoryConfig,
) -> dict[str, dict[str, np.ndarray]]:
    """Return which row numbers history holds for the rows of each day.

    A row number is held if one of the dated versions that the day may see, as
    many of the newest as the aggregation reads, knows it.

    Args:
      directory: where the historical embeddings were published.
      days: the scored days.
      data: the data directory of the run.
      history: how many versions a row sees.

    Returns:
      Day -> "user" and "item", of tables that history has -> int64 `[H]`. Days
      before the first history are left out.

    Raises:
      FileNotFoundError, ValueError: history is damaged, or of other ids.
    """
    published = store.dated(directory)
    known: dict[str, dict[str, np.ndarray]] = {}
    tables = {
        role: data.spec.feature(getattr(data.spec, role)).table
        for role in slices.ROLES
    }
    result = {}
    for day in days:
        seen = historical.seen_in(published, windows.Window(day, day), history)
        for version in set(seen) - set(known):
            read = historical.read(directory / version, data.id_spaces)
            known[version] = {name: rows for name, (rows, _) in read.items()}
        if seen:
            result[day] = {
                role: np.unique(np.concatenate([known[v][name] for v in seen]))
                for role, name in tables.items()
                if name in known[seen[-1]]
            }
    return result


def shares(
    rows: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return the share of a day's rows that history knows.

    Args:
      rows: "user" and "item" -> row numbers `[N]`.
      known: what `held` returned of the day.

    Returns:
      `rows`, N, and `user`, `item` and `both`, in [0, 1], as far as history has
      them.
    """
    masks = {role: np.isin(rows[role], known[role]) for role in known}
    if len(masks) == 2:
        masks["both"] = masks["user"] & masks["item"]
    count = len(rows["user"])
    return {
        "rows": count,
        **{name: float(mask.mean()) for name, mask in masks.items() if count},
    }


def mean(by_day: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the shares of the rows of all days together, by role."""
    days = [of for of in by_day.values() if of["rows"]]
    rows = sum(of["rows"] for of in days)
    return {
        role: sum(of["rows"] * of[role] for of in days) / rows
        for role in ("user", "item", "both")
        if days and all(role in of for of in days)
    }
