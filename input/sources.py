"""How the natural rows of a window count, by the source that they come from.

A source, such as feed or search, may have a share of the weights of a window,
be read of its newest days only, or be left out. Shares scale the weights of
rows, so no row is drawn or repeated. Rows of days that are not read, and of
sources that are left out, are not there at all.

Shapes: D days of a window, S sources with 0, those that are not known; N rows.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ecdctr_tf import features, windows
from ecdctr_tf.input import data_directory, row_groups


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is asked for, by name of the source; the same of every window."""

    # Share of the weights of a window, above 0. The others have what is left,
    # in the proportion of their rows.
    shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    # Newest days that are read, counted from the source's last day with rows in
    # the window; at least 1.
    days: Mapping[str, int] = dataclasses.field(default_factory=dict)
    # Sources that are left out.
    exclude: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether anything is asked for."""
        return bool(self.shares or self.days or self.exclude)

    def check(self, data: data_directory.DataDirectory) -> None:
        """Raise a ValueError if a name is not that of a source of the data."""
        if not self:
            return
        names = data.sources
        for name in (*self.shares, *self.days, *self.exclude):
            if name not in (*names, features.UNKNOWN_SOURCE):
                there = ", ".join(names) or "none: its logs name no `source`"
                raise ValueError(
                    f"There is no natural source {name!r}. The sources of "
                    f"{data.path} are {there}."
                )


@dataclasses.dataclass(frozen=True, eq=False)
class Use:
    """Which natural rows of a window are read, and how much they count."""

    # Number of the first day.
    first: int
    # float32 `[D, S]`, what weights are multiplied by; 0: rows are left out.
    factors: np.ndarray
    # Rows that are read.
    rows: int
    # Source -> its `rows` that are read, with shares also the `share` of their
    # weights.
    of_sources: dict[str, dict]

    def apply(self, groups: tf.data.Dataset) -> tf.data.Dataset:
        """Return groups of rows as they count, without their sources.

        Their former weights stay beside them (`features.BASE_WEIGHT`).

        Args:
          groups: of columns, or of columns and clicks, as `row_groups.read`
            gives them with sources.
        """
        factors = tf.constant(self.factors)

        @tf.autograph.experimental.do_not_convert
        def weigh(columns: dict, *clicks: tf.Tensor) -> dict | tuple:
            columns = dict(columns)
            place = [columns["day"] - self.first, columns.pop(features.SOURCE)]
            factor = tf.gather_nd(factors, tf.stack(place, 1))  # [N]
            columns[features.BASE_WEIGHT] = columns["weight"]
            columns["weight"] *= factor
            found = (columns, *clicks) if clicks else columns
            if not self.factors.all():
                kept = factor > 0
                found = tf.nest.map_structure(
                    lambda column: tf.boolean_mask(column, kept), found
                )
            return found

        return groups.map(weigh, tf.data.AUTOTUNE)


def use(
    data: data_directory.DataDirectory, window: windows.Window, wish: Wish
) -> Use | None:
    """Return how the natural rows of a window count; None: as they are.

    Raises:
      FileNotFoundError, ValueError: a day is missing or damaged, a name is not
        that of a source, or shares leave nothing for a source that has rows.
    """
    if not wish:
        return None
    wish.check(data)
    names = (features.UNKNOWN_SOURCE, *data.sources)
    days = data.covered(features.NATURAL, window)
    held = [data.of_sources(day) for day in days]
    none = {"rows": 0, "weight": 0.0}
    rows = np.array([[of.get(n, none)["rows"] for n in names] for of in held])
    left_out = _left_out(rows, names, wish)
    read = np.where(left_out, 0, rows)  # [D, S]
    rows = read.sum(axis=0)
    factors = np.where(left_out, 0.0, 1.0)
    of_sources: dict[str, dict[str, float]] = {
        name: {"rows": int(count)}
        for name, count in zip(names, rows, strict=True)
        if count
    }
    if wish.shares:
        weights = np.array(
            [[of.get(n, none)["weight"] for n in names] for of in held], float
        )
        for number in np.flatnonzero(np.isnan(weights).any(axis=1)):
            # Written before there were sources.
            weights[number] = 0
            weights[number, 0] = _weight(data, days[number])
        weights = np.where(left_out, 0, weights).sum(axis=0)  # [S]
        shares = _shares(wish.shares, names, weights, window)
        total = weights.sum()
        there = weights > 0
        factors[:, there] *= shares[there] * total / weights[there]
        for place, name in enumerate(names):
            if name in of_sources:
                of_sources[name]["share"] = float(shares[place])
    return Use(
        windows.day_number(window.first),
        factors.astype(np.float32),
        int(rows.sum()),
        of_sources,
    )


def _left_out(
    rows: np.ndarray, names: tuple[str, ...], wish: Wish
) -> np.ndarray:
    """Return which sources are left out of which days, bool `[D, S]`.

    Args:
      rows: of each day and source, `[D, S]`.
      names: of the sources.
      wish: what is asked for.
    """
    found = np.zeros(rows.shape, bool)
    for place, name in enumerate(names):
        if name in wish.exclude:
            found[:, place] = True
        elif name in wish.days:
            newest = np.flatnonzero(rows[:, place]).max(initial=0)
            found[: max(newest + 1 - wish.days[name], 0), place] = True
    return found


def _shares(
    asked: Mapping[str, float],
    names: tuple[str, ...],
    weights: np.ndarray,
    window: windows.Window,
) -> np.ndarray:
    """Return the share of each source in the weights of a window, `[S]`.

    What sources without rows should have goes to the others in proportion.

    Raises:
      ValueError: nothing is left for a source that has rows.
    """
    named = np.array([name in asked for name in names])
    found = np.array([asked.get(name, 0.0) for name in names])
    others = np.where(named, 0, weights)
    left = 1 - sum(asked.values())
    if others.any():
        if left < 1e-9:
            lacking = ", ".join(
                n for n, w in zip(names, others, strict=True) if w
            )
            raise ValueError(
                f"`sources.shares` sum to 1, which leaves nothing for the "
                f"natural rows of {lacking} in {window}. Give them a share, "
                "leave them out (sources.exclude), or lower the other shares."
            )
        found += left * others / others.sum()
    found = np.where(weights > 0, found, 0)
    return found / max(found.sum(), 1e-30)


def _weight(data: data_directory.DataDirectory, day: str) -> float:
    """Return the sum of the weights of a natural day."""
    window = windows.Window(day, day)
    spec = data.spec.select([data.spec.user, data.spec.item])
    groups = row_groups.read(
        data, features.NATURAL, window, None, 1, spec, False
    )
    return float(
        sum(
            group["weight"].astype(float).sum()
            for group in groups.as_numpy_iterator()
        )
    )
