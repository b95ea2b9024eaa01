"""Scored days, and slices of their rows: how well known users and items are.

What is known of a row is what was there before its day: the ads rows of earlier
days, and the historical tables that the day may see. Days scored together
count from the first of them.

Shapes: N rows of a day, H row numbers that a historical table holds.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ecdctr_tf import metrics

ROLES = ("user", "item")
ALL = "all"
# Of the bootstrap: there are many slices.
_REPLICATES = 200
# Most earlier ads rows of a user or item of the long tail.
TAIL = 5


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredDay:
    """The rows of a scored day and what each model predicted of them.

    Args:
      day: the day, or of days scored together the first one.
      click: `[N]`, 0 or 1.
      rows: "user" and "item" -> row number in its table, int `[N]`.
      ctr: model -> predictions `[N]`, in [0, 1], one a seed.
      held: "user" and "item" -> row numbers that the historical tables hold,
        int `[H]`; a role that is missing has no covered slices.
      weight: of each row in the metrics, `[N]`; None weighs all rows alike.
      sources: natural source -> "user" and "item" -> whether it had rows of
        them before the day, bool `[N]`.
    """

    day: str
    click: np.ndarray
    rows: Mapping[str, np.ndarray]
    ctr: Mapping[str, Sequence[np.ndarray]]
    held: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    weight: np.ndarray | None = None
    sources: Mapping[str, Mapping[str, np.ndarray]] = dataclasses.field(
        default_factory=dict
    )

    def of(self, mask: np.ndarray | slice) -> metrics.ScoredRows:
        """Return the rows `mask` `[N]` as intervals take them."""
        return metrics.ScoredRows(
            self.click[mask],
            self.rows["user"][mask],
            {
                model: [c[mask] for c in seeds]
                for model, seeds in self.ctr.items()
            },
            None if self.weight is None else self.weight[mask],
        )


def by_slice(
    days: Sequence[ScoredDay],
    ads: Mapping[str, Mapping[str, np.ndarray]],
    unknown: Mapping[str, int] | None = None,
    pairs: Sequence[tuple[str, str]] = (),
) -> dict[str, dict]:
    """Return the metrics of each slice, of its rows of all days together.

    Args:
      days: the scored days, of the same models.
      ads: day of ads -> "user" and "item" -> row numbers, int. Days that are
        not earlier than a scored day are not looked at.
      unknown: "user" and "item" -> how many rows at the beginning of the table
        belong to unknown ids. Such ids are always new.
      pairs: (a, b) of models whose difference is looked at.

    Returns:
      Slice ("all", and those of `masks`) -> `rows`, `clicks`, `models` (model
      -> metric -> fields of `metrics.Estimate`) and `differences` ("a - b" ->
      metric -> fields of `metrics.Difference`; empty of no rows).
    """
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
        for name, mask in masks(day, counts).items():
            parts.setdefault(name, []).append((day, mask))
    return {name: measured(part, pairs) for name, part in parts.items()}


def masks(
    day: ScoredDay, before: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return which rows of a day are in each slice.

    Args:
      day: the rows.
      before: "user" and "item" -> rows of earlier ads days that are of the same
        user or item, int `[N]`.

    Returns:
      bool `[N]` of `user_new` (never seen before) and `user_known`,
      `user_tail` (seen at most `TAIL` times, new ones too) and `user_head`,
      `user_covered` (held by the historical table) and `user_uncovered`; and
      the same of `item`. The last two only of roles that history has. Of each
      natural source `user_in_<source>` and `user_not_in_<source>`, likewise.
    """
    found = {}
    for role in ROLES:
        sides = {
            ("new", "known"): before[role] == 0,
            ("tail", "head"): before[role] <= TAIL,
        }
        if role in day.held:
            covered = np.isin(day.rows[role], day.held[role])
            sides["covered", "uncovered"] = covered
        for (inside, outside), mask in sides.items():
            found[f"{role}_{inside}"] = mask
            found[f"{role}_{outside}"] = ~mask
        for source, known in day.sources.items():
            found[f"{role}_in_{source}"] = known[role]
            found[f"{role}_not_in_{source}"] = ~known[role]
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
    """
    columns = [*ads.values(), *(rows for _, rows in scored)]
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


def measured(
    parts: Sequence[tuple], pairs: Sequence[tuple[str, str]] = ()
) -> dict:
    """Return the metrics of parts of days, taken together.

    Args:
      parts: scored days of the same models, each with a mask of its rows, bool
        `[N]` or a slice; at least one.
      pairs: (a, b) of models whose difference is looked at.

    Returns:
      `rows`, `clicks`, `models` and `differences`, as of a slice in `by_slice`.
    """
    rows = [day.of(mask) for day, mask in parts]
    found = {
        "rows": sum(len(of.click) for of in rows),
        "clicks": int(sum(of.click.sum() for of in rows)),
    }
    if not found["rows"]:
        nothing = dataclasses.asdict(
            metrics.Estimate(None, None, None, None, 0)
        )
        models = {
            model: dict.fromkeys(metrics.METRICS, nothing)
            for model in rows[0].ctr
        }
        return {**found, "models": models, "differences": {}}
    of_metrics = dataclasses.asdict(
        metrics.intervals(rows, pairs, pooled=True, replicates=_REPLICATES)
    )
    return {**found, **{k: of_metrics[k] for k in ("models", "differences")}}
