"""Weights of experts that follow what each of them is worth: AdaHedge.

Shapes: E experts.
"""

import typing

import numpy as np
import numpy.typing as npt

# Below it, the rate would overflow.
_LEAST_GAP = 1e-300


class AdaHedge:
    """Give experts weights that can cost little against the best of them.

    Round by round, `weights` says how much each expert counts, then `update`
    takes what each of them lost. The weights are `prior * exp(-rate * loss)`
    of the losses so far, and the rate falls as the weights turn out to lose
    more than they would with hindsight. It starts such that a first round,
    which says little, moves them little. No setting has to be tuned.

    What the weighted experts lost in all is at most that of any one expert plus
    `bound`, whatever the losses are: also those that an adversary chooses.
    Losses that are the gradient of a convex loss at the weights bound that loss
    in the same way, against the best fixed weights too.

    Reference: Follow the Leader If You Can, Hedge If You Must (JMLR 2014),
    section 2; with a prior that need not be uniform, and a calm start.

    Args:
      prior: `[E]`, the weights of the first round, each above 0; E at least 2.
      losses: `[E]`, of the rounds so far.
      gap: what the weights have lost so far beyond the best mixture of each
        round, and by how much the losses of the first round differ; at least 0.

    Raises:
      ValueError: the prior is not a distribution.

    Example:
      >>> experts = AdaHedge([0.5, 0.5])
      >>> for _ in range(20):
      ...     experts.update([1.0, 0.0])
      >>> experts.weights().round(3).tolist()
      [0.0, 1.0]
    """

    def __init__(
        self,
        prior: npt.ArrayLike,
        losses: npt.ArrayLike | None = None,
        gap: float = 0.0,
    ):
        """Check the prior and keep the state."""
        self.prior = np.asarray(prior, np.float64)
        if (
            self.prior.ndim != 1
            or len(self.prior) < 2
            or not (self.prior > 0).all()
            or not np.isclose(self.prior.sum(), 1)
        ):
            raise ValueError(
                "`prior` should be at least two weights above 0 with the sum "
                f"1. Received: {prior!r}"
            )
        zeros = np.zeros_like(self.prior)
        self.losses = zeros if losses is None else np.array(losses, np.float64)
        self.gap = float(gap)

    def weights(self) -> np.ndarray:
        """Return the weights of the next round, float64 `[E]`, of sum 1."""
        behind = self.losses - self.losses.min()
        rate = self._rate()
        if rate is None:
            found = self.prior * (behind <= 0)
        else:
            found = self.prior * np.exp(-rate * behind)
        return found / found.sum()

    def update(self, losses: npt.ArrayLike) -> None:
        """Take what each expert lost in a round, `[E]` finite numbers.

        Raises:
          ValueError: a loss is not finite, or there are not E of them.
        """
        lost = np.asarray(losses, np.float64)
        if lost.shape != self.prior.shape or not np.isfinite(lost).all():
            raise ValueError(
                f"`losses` should be {len(self.prior)} finite numbers. "
                f"Received: {losses!r}"
            )
        weights = self.weights()
        behind = lost - lost.min()
        rate = self._rate()
        if rate is None:
            mixed = 0.0
            self.gap += float(behind.max())
        else:
            mixed = -np.log(weights @ np.exp(-rate * behind)) / rate
        # Rounding must not make the rate rise.
        self.gap += max(float(weights @ behind - mixed), 0.0)
        self.losses = self.losses + lost

    def bound(self) -> np.ndarray:
        """Return the most that can have been lost against each expert.

        Returns:
          float64 `[E]`, in the unit of the losses.
        """
        experts = np.log(len(self.prior))
        return self.gap * (1 + np.log(1 / self.prior) / experts)

    def state(self) -> dict[str, typing.Any]:
        """Return the arguments that make it anew, as JSON holds them."""
        return {
            "prior": self.prior.tolist(),
            "losses": self.losses.tolist(),
            "gap": self.gap,
        }

    def _rate(self) -> float | None:
        """Return the learning rate; None where it is infinite.

        Then only the best experts so far count.
        """
        if self.gap < _LEAST_GAP:
            return None
        return float(np.log(len(self.prior)) / self.gap)
