"""How much of a newer CPM's change an A-CTR takes, judged by what it did.

Shapes: C candidates.
"""

import dataclasses
import typing
from collections.abc import Sequence

import numpy as np

from ecdctr_tf import typed_values
from ecdctr_tf.transfer.refresh import Strength

# The first one is the plain choice: it is made without evidence, and in doubt.
CANDIDATES = (
    Strength(tables=1.0, dense=1.0),
    Strength(tables=1.0, dense=0.0),
    Strength(tables=0.0, dense=0.0),
)
# What a change counts relative to the one after it.
_DECAY = 0.9
# Log loss that choosing may have cost, discounted, before it stops.
BUDGET = 1e-3


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What candidates lost on the days that they could have scored.

    The candidate with the least discounted loss is chosen, as long as choosing
    has not cost more than `BUDGET` against the plain choice; then that one is
    made until the cost has faded. So whatever the days bring, the discounted
    cost never exceeds `BUDGET` and the most that a candidate was worse by on a
    single day.

    Args:
      losses: of each candidate, the log losses of the days that it would have
        scored, discounted and summed.
      cost: what the choices lost beyond the plain one, discounted likewise.
      taken: the place of the candidate that was taken last.
      of_day: what each candidate lost on the day then; empty before the first.
    """

    losses: tuple[float, ...] = (0.0,) * len(CANDIDATES)
    cost: float = 0.0
    taken: int = 0
    of_day: tuple[float, ...] = ()

    @property
    def chosen(self) -> int:
        """The place of the candidate that is taken next."""
        best = int(np.argmin(self.losses))  # The first of equal ones.
        return best if self.cost <= BUDGET else 0

    @property
    def strength(self) -> Strength:
        """The candidate that is taken next."""
        return CANDIDATES[self.chosen]

    def after(self, losses: Sequence[float]) -> "Evidence":
        """Return what is known after a day.

        Args:
          losses: `[C]`, the mean log loss of the day by each candidate.

        Raises:
          ValueError: a loss is not finite, or there are not C of them.
        """
        if len(losses) != len(self.losses) or not np.isfinite(losses).all():
            raise ValueError(
                f"`losses` should be {len(self.losses)} finite numbers. "
                f"Received: {losses!r}"
            )
        cost = float(losses[self.chosen]) - float(losses[0])
        return Evidence(
            tuple(
                _DECAY * before + float(loss)
                for before, loss in zip(self.losses, losses, strict=True)
            ),
            _DECAY * self.cost + cost,
            self.chosen,
            tuple(map(float, losses)),
        )

    def to_dict(self) -> dict[str, typing.Any]:
        """Return the fields, by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, found: dict[str, typing.Any] | None) -> "Evidence":
        """Return what `to_dict` gave; None: before the first change.

        Raises:
          ValueError: it is damaged.
        """
        if not found:
            return cls()
        evidence = typed_values.make(cls, "`evidence`", found)
        if not (
            len(evidence.losses) == len(evidence.of_day) == len(CANDIDATES)
            and 0 <= evidence.taken < len(CANDIDATES)
        ):
            raise ValueError(
                f"`evidence` should be of {len(CANDIDATES)} candidates. "
                f"Received: {found}"
            )
        return evidence
