"""The scored rows of a day with what every model predicted of them.

Shapes: N rows of a day.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ecdctr_tf import artefacts, features, windows
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import slices
from ecdctr_tf.results.models import ORACLE, Model
from ecdctr_tf.results.slices import ScoredDay

# Evaluation column that holds the true click probability, where there is one.
TRUE_CTR = "true_ctr"


def read(
    data: DataDirectory,
    models: Sequence[Model],
    day: str,
    held: Mapping[str, np.ndarray] | None = None,
) -> ScoredDay:
    """Return a scored day, with the oracle if the data knows the truth.

    Args:
      data: the data directory that the day came from.
      models: the models; all of them scored the day.
      day: name of the day, the last of those scored together.
      held: row numbers that its history holds, by role; see `coverage.held`.

    Raises:
      ValueError: two runs scored different rows of the day, or other rows than
        the data has.
    """
    window = models[0].window(day)
    truth = read_truth(data, window)
    ctr = {} if truth is None else {ORACLE: [truth[TRUE_CTR]]}
    first = models[0].scores(day)[0]
    for model in models:
        scores = model.scores(day)
        for run, of_seed in zip(model.workdirs, scores, strict=True):
            path = run.ctr(model.base) / day
            artefacts.check_rows(path, of_seed, first)
            artefacts.check_rows(path, of_seed, truth or {})
        ctr[model.name] = [of_seed["ctr"] for of_seed in scores]
    rows = {role: first[role] for role in slices.ROLES}
    return ScoredDay(
        window.first, first["click"], rows, ctr, held or {}, first["weight"]
    )


def read_truth(
    data: DataDirectory, window: windows.Window
) -> dict[str, np.ndarray] | None:
    """Return clicks and true click probabilities of ads, in the files' order.

    Returns:
      `click` and `true_ctr`, `[N]`; None where the data does not know them.
    """
    if TRUE_CTR not in data.spec.evaluation:
        return None
    # A spec cannot be without its user and item.
    names = [data.spec.user, data.spec.item]
    columns = streams.read_columns(data, "ads", window, names=names)
    return {name: columns[name] for name in ("click", TRUE_CTR)}


def by_slice(
    data: DataDirectory,
    days: Sequence[ScoredDay],
    pairs: Sequence[tuple[str, str]] = (),
) -> dict[str, dict]:
    """Return `slices.by_slice` of days, given all rows before them."""
    days = with_sources(data, days)
    ads = read_ads(data, max(day.day for day in days))
    unknown = unknown_rows(data.spec)
    return slices.by_slice(days, ads, unknown=unknown, pairs=pairs)


def with_sources(
    data: DataDirectory, days: Sequence[ScoredDay]
) -> list[ScoredDay]:
    """Return days that say which natural sources knew their users and items.

    The natural rows before the last of the days are gone through; where the
    logs do not say their sources, the days stay as they are.
    """
    names, unknown = data.sources, unknown_rows(data.spec)
    if not names:
        return list(days)
    columns = {role: getattr(data.spec, role) for role in slices.ROLES}
    # Of sources that are not known nothing is said.
    seen = {
        role: np.zeros([1 + len(names), size], bool)
        for role, size in table_sizes(data).items()
    }
    left = data.days(features.NATURAL)
    found: dict[int, ScoredDay] = {}
    for place in sorted(range(len(days)), key=lambda i: days[i].day):
        day = days[place]
        before = [name for name in left if name < day.day]
        left = left[len(before) :]
        if before:
            # All at once: opening a stream takes longer than a small day.
            window = windows.Window(before[0], before[-1])
            for group in streams.rows(
                data,
                features.NATURAL,
                window,
                names=list(columns.values()),
                with_source=True,
            ).as_numpy_iterator():
                for role, column in columns.items():
                    seen[role][group[features.SOURCE], group[column]] = True
        for role in slices.ROLES:
            seen[role][:, : unknown[role]] = False
        known = {
            name: {role: seen[role][i, day.rows[role]] for role in columns}
            for i, name in enumerate(names, 1)
        }
        found[place] = dataclasses.replace(day, sources=known)
    return [found[place] for place in range(len(days))]


def table_sizes(data: DataDirectory) -> dict[str, int]:
    """Return the rows of the users' and items' tables, "user" and "item"."""
    return {
        role: data.id_spaces[
            data.spec.feature(getattr(data.spec, role)).table
        ].rows
        for role in slices.ROLES
    }


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
    data: DataDirectory, last: str
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
