"""What slices are made of, read from a run and its data directory.

Shapes: N rows of a day, H row numbers that a historical table holds.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ecdctr_tf import config as config_lib
from ecdctr_tf import features, windows
from ecdctr_tf.evaluation import coverage, slices
from ecdctr_tf.evaluation import runs as runs_lib
from ecdctr_tf.input import data_directory, streams


def unknown_rows(spec: features.DataSpec) -> dict[str, int]:
    """Return how many rows of the users' and items' tables have unknown ids.

    Returns:
      "user" and "item" -> the buckets of a vocabulary; 0 of a hashed table,
      whose rows are all of ids.
    """
    tables = {
        role: spec.table(spec.feature(getattr(spec, role)).table)
        for role in slices.ROLES
    }
    return {
        role: 0 if table.ids == "hashing" else table.buckets
        for role, table in tables.items()
    }


def read_ads(
    data: data_directory.DataDirectory, last: str
) -> dict[str, dict[str, np.ndarray]]:
    """Return the users and items of the ads rows before a day.

    Args:
      data: the data directory.
      last: days from this one on are not read.

    Returns:
      Day -> "user" and "item" -> int32 row numbers, one an ads row.
    """
    names = {role: getattr(data.spec, role) for role in slices.ROLES}
    result = {}
    for day in data.days("ads"):
        if day < last:
            window = windows.Window(day, day)
            columns = streams.read_columns(
                data, "ads", window, names=list(names.values())
            )
            result[day] = {role: columns[name] for role, name in names.items()}
    return result


def read_scored(
    run: runs_lib.Run,
    models: Sequence[str],
    days: Sequence[str],
    held: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> list[slices.ScoredDay]:
    """Return the days that models of a run scored.

    Args:
      run: the artefacts of one seed.
      models: names of the models.
      days: days that all of them scored.
      held: day -> row numbers by role, as from `held_rows`; other days have no
        history.

    Raises:
      FileNotFoundError: a model did not score a day.
      ValueError: two models scored different rows of a day.
    """
    result = []
    for day in days:
        scores = {model: run.scores(model, day) for model in models}
        first = scores[models[0]]
        for model, other in scores.items():
            for name in ("click", *slices.ROLES):
                if not np.array_equal(first[name], other[name]):
                    raise ValueError(
                        f"{model} scored other rows of {day} than {models[0]} "
                        f"in {run.path}: {name!r} differs. Score the day again "
                        "from one data directory."
                    )
        result.append(
            slices.ScoredDay(
                run.window(models[0], day).first,
                first["click"],
                {role: first[role] for role in slices.ROLES},
                {model: values["ctr"] for model, values in scores.items()},
                (held or {}).get(day, {}),
            )
        )
    return result


def held_rows(
    run: runs_lib.Run,
    days: Sequence[str],
    data: data_directory.DataDirectory,
    history: config_lib.HistoryConfig,
) -> dict[str, dict[str, np.ndarray]]:
    """Return the row numbers that history holds for the rows of each day.

    Args:
      run: whose historical embeddings are looked at.
      days: the scored days.
      data: the data directory of the run.
      history: how many versions a row sees.

    Returns:
      Day -> "user" and "item", of tables that history has -> int64 `[H]`.
      Days before the first history are left out.

    Raises:
      FileNotFoundError, ValueError: history is damaged, or of other ids.
    """
    held = coverage.held(
        run,
        days,
        data.spec,
        history,
        lambda path: coverage.read_history(path, data.id_spaces),
    )
    return {
        day: {role: np.flatnonzero(mask) for role, mask in of.items()}
        for day, of in held.items()
    }


def measure(
    data: data_directory.DataDirectory, days: Sequence[slices.ScoredDay]
) -> dict[str, dict]:
    """Return `slices.by_slice` of days, given all the ads before them.

    Raises:
      ValueError: there are no days, or they are of unlike models.
    """
    ads = read_ads(data, max((day.day for day in days), default=""))
    return slices.by_slice(days, ads, unknown=unknown_rows(data.spec))
