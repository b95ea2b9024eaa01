"""How the inputs of a scored day differ from those of the days before.

What was counted of the newest scored days is handed from day to day, so no row
is read twice for it. A day is held against them all together; how far they are
from each other says how much is usual.

Shapes: B bins of a feature.
"""

import dataclasses
import statistics
import typing
from collections.abc import Mapping, Sequence

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf.monitoring.bins import Seen

# Fewest days that a day is compared with before anything is warned of.
_LEAST_DAYS = 3
# A feature has drifted where its PSI is this many times what was usual.
_UNUSUAL = 2


@dataclasses.dataclass
class Record:
    """What the newest scored days held of a feature."""

    # Kind and table of the feature: bins of another one cannot be compared.
    of: str
    # Between the bins of numbers; None: of ids, or not decided yet.
    edges: list[float] | None = None
    # Day -> what it held, in order.
    days: dict[str, Seen] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, typing.Any]:
        """Return the record as values of JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, typing.Any]) -> "Record":
        """Return the record that `to_dict` turned into values."""
        days = {day: Seen(**of) for day, of in values["days"].items()}
        return cls(values["of"], values["edges"], days)

    def after(self, day: str, seen: Seen, most: int) -> "Record":
        """Return the record with another day, of the newest `most` days."""
        kept = list({**self.days, day: seen}.items())[-most:]
        return dataclasses.replace(self, days=dict(kept))


def psi(bins: Sequence[int], others: Sequence[int]) -> float:
    """Return the population stability index of two histograms, at least 0.

    It is the symmetric Kullback-Leibler divergence of the shares of the bins,
    to each of which half a row is added.

    Args:
      bins: rows of each bin, `[B]`.
      others: the same of other rows; a shorter one lacks rows in the last bins.
    """
    size = max(len(bins), len(others))
    shares = []
    for counted in (bins, others):
        rows = np.zeros(size) + 0.5
        rows[: len(counted)] += counted
        shares.append(rows / rows.sum())
    one, other = shares
    return float(((one - other) * np.log(one / other)).sum())


def compare(seen: Seen, before: Sequence[Seen]) -> dict[str, float | None]:
    """Return how what a day held of a feature differs from earlier days.

    Args:
      seen: what the day held.
      before: what the days before it held, oldest first.

    Returns:
      `psi`, of the day against all days before together, and `psi_before`, the
      greatest of any of these against the others; `new` and `historical`, the
      shares of `Seen`, and `new_before` and `historical_before`, their means.
      What cannot be said is None.
    """
    found: dict[str, float | None] = {"psi": None, "psi_before": None}
    if before:
        found["psi"] = psi(seen.bins, _summed(before))
    if len(before) > 1:
        found["psi_before"] = max(
            psi(day.bins, _summed([*before[:i], *before[i + 1 :]]))
            for i, day in enumerate(before)
        )
    for name in ("new", "historical"):
        shares = [getattr(day, name) for day in before]
        known = [share for share in shares if share is not None]
        found[name] = getattr(seen, name)
        found[f"{name}_before"] = statistics.fmean(known) if known else None
    return found


def _summed(days: Sequence[Seen]) -> list[int]:
    """Return the rows of each bin of several days together."""
    size = max(len(day.bins) for day in days)
    total = np.zeros(size, np.int64)
    for day in days:
        total[: len(day.bins)] += day.bins
    return total.tolist()


def warnings(
    found: Mapping[str, Mapping[str, float | None]],
    days: int,
    limits: configs.MonitoringConfig,
) -> list[str]:
    """Return what to look into, a clause for each; nothing of few days before.

    Args:
      found: feature -> what `compare` returned.
      days: how many days before the features were compared with.
      limits: from where on there is a warning.
    """
    if days < _LEAST_DAYS:
        return []
    said = []
    for name, of in found.items():
        if of["psi"] > max(limits.psi, _UNUSUAL * of["psi_before"]):
            said.append(
                f"the values of {name} are distributed otherwise (PSI "
                f"{of['psi']:.2f}, at most {of['psi_before']:.2f} before)"
            )
        for share, worse, limit, what in (
            ("new", 1, limits.new_ids, f"ids of {name} are new"),
            ("historical", -1, limits.coverage, f"rows know {name}'s history"),
        ):
            now, usual = of[share], of[f"{share}_before"]
            if None not in (now, usual) and worse * (now - usual) > limit:
                said.append(f"{now:.0%} of the {what}, {usual:.0%} before")
    return said
