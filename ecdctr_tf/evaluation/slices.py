"""Metrics of slices of the scored rows: how well known users and items are.

What is known of a row is what was there before its day: the ads rows of earlier
days, and the historical tables that the day may see. Days scored together
count from the first of them.

Shapes: N rows of a day, H row numbers that a historical table holds.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ecdctr_tf import config as config_lib
from ecdctr_tf import features, metrics, store, windows
from ecdctr_tf.evaluation import coverage
from ecdctr_tf.evaluation import runs as runs_lib
from ecdctr_tf.input import data_directory, streams
from ecdctr_tf.transfer import historical

ROLES = ("user", "item")
METRICS = ("auc", "gauc", "log_loss")
ALL = "all"
# Most earlier ads rows of a user or item of the long tail.
TAIL = 5


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredDay:
    """The rows of a scored day and one prediction of each model.

    Args:
      day: the day, or of days scored together the first one.
      click: `[N]`, 0 or 1.
      rows: "user" and "item" -> row number in its table, int `[N]`.
      ctr: model -> predictions `[N]`, in [0, 1].
      held: "user" and "item" -> row numbers that the historical tables hold,
        int `[H]`; a role that is missing has no covered slices.

    Raises:
      ValueError: a role is missing, or columns are of unlike lengths.
    """

    day: str
    click: np.ndarray
    rows: Mapping[str, np.ndarray]
    ctr: Mapping[str, np.ndarray]
    held: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        """Check the columns."""
        windows.day_number(self.day)
        missing = set(ROLES) - set(self.rows)
        if missing:
            raise ValueError(
                f"`rows` of {self.day} should have {' and '.join(ROLES)}. "
                f"Received: {', '.join(self.rows) or 'nothing'}"
            )
        for name, column in {**self.rows, **self.ctr}.items():
            if np.shape(column) != (len(self.click),):
                raise ValueError(
                    f"{name!r} of {self.day} should have a value for each of "
                    f"the {len(self.click):,} clicks. "
                    f"Received: shape {np.shape(column)}"
                )


def by_slice(
    days: Sequence[ScoredDay],
    ads: Mapping[str, Mapping[str, np.ndarray]],
    tail: int = TAIL,
    unknown: Mapping[str, int] | None = None,
) -> dict[str, dict]:
    """Return the metrics of each slice, of its rows of all days together.

    Args:
      days: the scored days, of the same models.
      ads: day of ads -> "user" and "item" -> row numbers, int. Days that are
        not earlier than a scored day are not looked at.
      tail: most earlier rows of a user or item of the long tail.
      unknown: "user" and "item" -> how many rows at the beginning of the table
        belong to unknown ids. Such ids are always new.

    Returns:
      Slice ("all", and those of `masks`) -> `rows`, `clicks` and `models`:
      model -> `auc`, `gauc` (users of the slice's rows), `log_loss` (nats),
      None where undefined, as `metrics.evaluate` has them.

    Raises:
      ValueError: there are no days, or they are of unlike models.
    """
    if not days or any(set(d.ctr) != set(days[0].ctr) for d in days):
        raise ValueError(
            "`days` should be one or more, scored by the same models. "
            f"Received: {[(d.day, list(d.ctr)) for d in days]}"
        )
    before = {
        role: rows_before(
            {day: columns[role] for day, columns in ads.items()},
            [(day.day, day.rows[role]) for day in days],
            (unknown or {}).get(role, 0),
        )
        for role in ROLES
    }
    parts: dict[str, list] = {ALL: [(d, np.s_[:]) for d in days]}
    for i, day in enumerate(days):
        counts = {role: before[role][i] for role in ROLES}
        for name, mask in masks(day, counts, tail).items():
            parts.setdefault(name, []).append((day, mask))
    return {name: _metrics(part, days[0].ctr) for name, part in parts.items()}


def masks(
    day: ScoredDay, before: Mapping[str, np.ndarray], tail: int = TAIL
) -> dict[str, np.ndarray]:
    """Return which rows of a day are in each slice.

    Args:
      day: the rows.
      before: "user" and "item" -> rows of earlier ads days that are of the same
        user or item, int `[N]`.
      tail: most earlier rows of the long tail.

    Returns:
      bool `[N]` of `user_new` (never seen before) and `user_known`,
      `user_tail` (seen at most `tail` times, new ones too) and `user_head`,
      `user_covered` (held by the historical table) and `user_uncovered`; and
      the same of `item`. The last two only of roles that history has.

    Raises:
      ValueError: `tail` is below 0.
    """
    if tail < 0:
        raise ValueError(f"`tail` should be at least 0. Received: {tail}")
    found = {}
    for role in ROLES:
        sides = {
            ("new", "known"): before[role] == 0,
            ("tail", "head"): before[role] <= tail,
        }
        if role in day.held:
            covered = np.isin(day.rows[role], day.held[role])
            sides["covered", "uncovered"] = covered
        for (inside, outside), mask in sides.items():
            found[f"{role}_{inside}"] = mask
            found[f"{role}_{outside}"] = ~mask
    return found


def rows_before(
    ads: Mapping[str, np.ndarray],
    scored: Sequence[tuple[str, np.ndarray]],
    unknown: int = 0,
) -> list[np.ndarray]:
    """Return how often each row number stood in ads before the row's day.

    Args:
      ads: day -> row numbers of one table, int, at least 0, one an ads row.
      scored: day and row numbers `[N]` of the rows asked for, in any order.
      unknown: rows at the beginning of the table that belong to unknown ids;
        nothing was seen of those.

    Returns:
      int64 `[N]` of each of `scored`.

    Raises:
      ValueError: a row number is below 0.
    """
    columns = [*ads.values(), *(rows for _, rows in scored)]
    if any(np.min(rows, initial=0) < 0 for rows in columns):
        raise ValueError(
            "Row numbers should be at least 0. Received: "
            f"{min(np.min(rows, initial=0) for rows in columns)}"
        )
    size = 1 + max((int(np.max(r, initial=0)) for r in columns), default=0)
    counts = np.zeros(size, np.int64)
    result: list = [None] * len(scored)
    days = sorted(ads)
    for i in sorted(range(len(scored)), key=lambda i: scored[i][0]):
        day, rows = scored[i]
        while days and days[0] < day:
            counts += np.bincount(ads[days.pop(0)], minlength=size)
        counts[:unknown] = 0
        result[i] = counts[rows]
    return result


def unknown_rows(spec: features.DataSpec) -> dict[str, int]:
    """Return how many rows of the users' and items' tables have unknown ids.

    Returns:
      "user" and "item" -> the buckets of a vocabulary; 0 of a hashed table,
      whose rows are all of ids.
    """
    tables = {
        role: spec.table(spec.feature(getattr(spec, role)).table)
        for role in ROLES
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
    names = {role: getattr(data.spec, role) for role in ROLES}
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
) -> list[ScoredDay]:
    """Return the days that models of a run scored.

    Args:
      run: the artefacts of one seed.
      models: names of the models.
      days: days that all of them scored.
      held: day -> what `held_rows` returns; other days have no history.

    Raises:
      FileNotFoundError: a model did not score a day.
      ValueError: two models scored different rows of a day.
    """
    result = []
    for day in days:
        scores = {model: run.scores(model, day) for model in models}
        first = scores[models[0]]
        for model, other in scores.items():
            for name in ("click", *ROLES):
                if not np.array_equal(first[name], other[name]):
                    raise ValueError(
                        f"{model} scored other rows of {day} than {models[0]} "
                        f"in {run.path}: {name!r} differs. Score the day again "
                        "from one data directory."
                    )
        result.append(
            ScoredDay(
                run.window(models[0], day).first,
                first["click"],
                {role: first[role] for role in ROLES},
                {model: values["ctr"] for model, values in scores.items()},
                (held or {}).get(day, {}),
            )
        )
    return result


def held_rows(
    run: runs_lib.Run,
    days: Sequence[str],
    spec: features.DataSpec,
    history: config_lib.HistoryConfig,
    read: Callable[[pathlib.Path], coverage.History],
) -> dict[str, dict[str, np.ndarray]]:
    """Return the row numbers that history holds for the rows of each day.

    A row number is held if one of the dated versions that the day may see, as
    many of the newest as the aggregation reads, has it: as in
    `coverage.coverage`.

    Args:
      run: whose historical embeddings are looked at.
      days: the scored days.
      spec: says which tables users and items are of.
      history: how many versions a row sees.
      read: returns the dated versions in a `historical/<day>` directory, such
        as `coverage.read_history`.

    Returns:
      Day -> "user" and "item", of tables that history has -> int64 `[H]`.
      Days before the first history are left out.
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
        for role in ROLES:
            name = spec.feature(getattr(spec, role)).table
            if name in versions[newest]:
                mask = coverage.visible(
                    *versions[newest][name], windows.day_number(day), slots
                )
                result[day][role] = np.flatnonzero(mask)
    return result


def _metrics(parts: Sequence[tuple], models) -> dict:
    """Return the metrics of parts `(day, mask)` of days, taken together."""

    def joined(column):
        return np.concatenate([column(day)[mask] for day, mask in parts])

    click = joined(lambda day: np.asarray(day.click))
    user = joined(lambda day: np.asarray(day.rows["user"]))
    found = {
        model: metrics.evaluate(
            click, joined(lambda day, m=model: np.asarray(day.ctr[m])), user
        )
        for model in models
    }
    return {
        "rows": len(click),
        "clicks": int(click.sum()),
        "models": {
            model: {metric: values[metric] for metric in METRICS}
            for model, values in found.items()
        },
    }
