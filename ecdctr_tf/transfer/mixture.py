"""How a mixture weighs its experts, slice by slice, and what it has cost.

Shapes: E experts that are models, S slices, N rows of a day.
"""

import json
import pathlib
import typing
from collections.abc import Sequence

import numpy as np

from ecdctr_tf import typed_values
from ecdctr_tf.transfer.adahedge import AdaHedge
from ecdctr_tf.transfer.calibration import LIMIT, Calibration

# The expert that predicts the click rate of the newest scored days for all
# rows. Its weight pulls the others' predictions together: models are too sure.
CLICK_RATE = "click rate"
# What natural logs know of a row: its place is 2 * user + item.
SLICES = ("neither known", "item known", "user known", "both known")
# Weight of the click rate at first; the models share the rest.
_PRIOR = 0.05
# Of the rows of a day in the click rate, relative to those of the day after.
_DECAY = 0.9


class Mixture:
    """Weights of experts on a logit scale, from the days scored so far.

    The logit of a row is the weighted mean of its experts' logits. Weights are
    those of `AdaHedge`, one in each slice, of the gradient of the log loss at
    the weights of the day. The log loss is convex in them. So in each slice the
    log loss of all rows so far is at most that of any expert, and of any fixed
    mixture, plus `AdaHedge.bound`, whatever users and experts do. What comes
    out is calibrated on the days before, with a bound of its own.

    Args:
      experts: names of the models.

    Attributes:
      experts: the models' names, then `CLICK_RATE`.
      hedges: of each slice, the weights.
      lost: of each slice, the log loss of all rows so far, summed: of the
        mixture, not calibrated, and of each expert, `[1 + E + 1]`.
      rows: of each slice, the weights of the rows so far, summed.
      calibration: of the mixture.
    """

    def __init__(self, experts: Sequence[str]):
        """Start with equal weights of the models."""
        self.experts = (*experts, CLICK_RATE)
        prior = [(1 - _PRIOR) / len(experts)] * len(experts) + [_PRIOR]
        self.hedges = [AdaHedge(prior) for _ in SLICES]
        self.lost = np.zeros([len(SLICES), 1 + len(self.experts)])
        self.rows = np.zeros(len(SLICES))
        self.calibration = Calibration()
        self._clicks = self._weight = 0.0

    @property
    def click_logit(self) -> float | None:
        """The logit of the click rate; None before a click and a non-click."""
        if not 0 < self._clicks < self._weight:
            return None
        return float(np.log(self._clicks / (self._weight - self._clicks)))

    def weights(self) -> np.ndarray:
        """Return the weights, float64 `[S, E + 1]`.

        As long as there is no click rate, its weight is 0.
        """
        found = np.stack([hedge.weights() for hedge in self.hedges])
        if self.click_logit is None:
            found[:, -1] = 0
            found /= found.sum(axis=1, keepdims=True)
        return found

    def bound(self) -> float:
        """Return the most that can have been lost against the best experts.

        Against the best expert of each slice, in the summed log loss of all
        rows so far.
        """
        of_slices = [
            hedge.bound()[lost[1:].argmin()]
            for hedge, lost in zip(self.hedges, self.lost, strict=True)
        ]
        return float(sum(of_slices) + self.calibration.bound())

    def mix(self, logits: np.ndarray, slices: np.ndarray) -> np.ndarray:
        """Return the logits of rows, float64 `[N]`.

        Args:
          logits: `[E, N]`, of the models.
          slices: places in `SLICES`, int `[N]`.
        """
        return self.calibration.apply(self._mix(logits, slices))

    def _mix(self, logits: np.ndarray, slices: np.ndarray) -> np.ndarray:
        """Return logits that are not calibrated; as `mix`."""
        return np.einsum(
            "en,ne->n", self._experts_logits(logits), self.weights()[slices]
        )

    def learn(
        self,
        logits: np.ndarray,
        slices: np.ndarray,
        click: np.ndarray,
        weight: np.ndarray,
        launched: bool = True,
    ) -> None:
        """Take what a day's rows came to.

        Args:
          logits: `[E, N]`, of the models, which had not seen the day.
          slices: places in `SLICES`, int `[N]`.
          click: `[N]`, 0 or 1.
          weight: `[N]`, at least 0.
          launched: whether the models had seen ads before. What is wrong with
            their scores until then says nothing of later days.
        """
        mixed = self._mix(logits, slices)
        of_experts = self._experts_logits(logits)
        if self.click_logit is None:
            of_experts[-1] = mixed  # It abstains: it loses what the others do.
        residual = weight * (1 / (1 + np.exp(-mixed)) - click)
        for place, hedge in enumerate(self.hedges):
            inside = slices == place
            if not inside.any():
                continue
            hedge.update(of_experts[:, inside] @ residual[inside])
            both = np.vstack([mixed[None, inside], of_experts[:, inside]])
            losses = np.logaddexp(0, both) - click[inside] * both
            self.lost[place] += losses @ weight[inside]
            self.rows[place] += weight[inside].sum()
        if launched:
            self.calibration.learn(mixed, click, weight)
        self._clicks = _DECAY * self._clicks + float(weight @ click)
        self._weight = _DECAY * self._weight + float(weight.sum())

    def _experts_logits(self, logits: np.ndarray) -> np.ndarray:
        """Return `[E + 1, N]`, with the logit of the click rate."""
        rate = np.full_like(logits[:1], self.click_logit or 0.0, np.float64)
        return np.concatenate([np.clip(logits, -LIMIT, LIMIT), rate])

    def to_json(self) -> str:
        """Return the state, and for readers what follows from it."""
        weights = self.weights()
        found = {
            "experts": self.experts,
            "clicks": self._clicks,
            "weight": self._weight,
            "calibration": self.calibration.state(),
            "slices": {
                name: {
                    **self.hedges[i].state(),
                    "rows": float(self.rows[i]),
                    "log_loss": self.lost[i].tolist(),
                    "weights": weights[i].tolist(),
                    "bound": self.hedges[i].bound().tolist(),
                }
                for i, name in enumerate(SLICES)
            },
        }
        return typed_values.to_json(found, "the mixture")

    @classmethod
    def from_json(cls, path: pathlib.Path) -> "Mixture":
        """Return a mixture as it was written.

        Raises:
          ValueError: the file is not that of a mixture.
        """
        try:
            found = json.loads(path.read_text("utf-8"))
            return cls._from(found)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} does not hold the weights of a mixture "
                f"({error!r}). Delete {path.parent} and the days after it, and "
                "run `--stage=ctr` again."
            ) from error

    @classmethod
    def _from(cls, found: dict[str, typing.Any]) -> "Mixture":
        mixture = cls(found["experts"][:-1])
        mixture._clicks = float(found["clicks"])
        mixture._weight = float(found["weight"])
        mixture.calibration = Calibration.of(found["calibration"])
        for i, name in enumerate(SLICES):
            of = found["slices"][name]
            mixture.hedges[i] = AdaHedge(of["prior"], of["losses"], of["gap"])
            mixture.lost[i] = of["log_loss"]
            mixture.rows[i] = of["rows"]
        return mixture


def logits_of(ctr: np.ndarray) -> np.ndarray:
    """Return the logits of click probabilities, float64, within `LIMIT`."""
    ctr = np.asarray(ctr, np.float64)
    with np.errstate(divide="ignore"):
        return np.clip(np.log(ctr) - np.log1p(-ctr), -LIMIT, LIMIT)
