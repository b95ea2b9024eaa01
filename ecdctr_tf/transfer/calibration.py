"""What the days scored before say of logits: which head, what line of them.

Shapes: N rows of a day, H heads.
"""

import typing

import numpy as np

from ecdctr_tf.transfer.adahedge import AdaHedge

# How much the rows of a day count, relative to those of the day after.
_DECAY = 0.8
# A line other than the logits themselves has to pay for its distance, as if
# this much information spoke for them.
_PRIOR = 300.0
# The least scale: the order of rows stays as it is.
_LEAST_SCALE = 0.1
# Logits beyond minus this and this count as these.
LIMIT = 16.0
# The weight of the line at first; the logits as they are have the rest.
_TRUST = 0.5
_NEWTON_STEPS = 50
_CONVERGED = 1e-10


class Calibration:
    """`scale * logit + shift`, fitted to past days, and how far to trust it.

    The logit is a mean of those of heads, whose shares are those of `AdaHedge`
    on the gradient of the log loss, equal ones at first. So a head that reads
    history counts as much as it was worth, and the log loss of all rows so far
    is at most that of any head, and of any fixed shares, plus a bound.

    A model may be too sure, or predict too many clicks day after day, because
    what it reads drifts. The line is a logistic regression of clicks on the
    logits that the days before were scored with; older days count less. It is
    weighed against the logits as they are by `AdaHedge`, so that the log loss
    of all rows so far is at most theirs plus `bound`, whatever clicks come.

    Args:
      heads: H.

    Attributes:
      lost: the log loss of all rows so far, summed: of calibrated logits, and
        of those that were given.
      learned: whether there was a day.
    """

    def __init__(self, heads: int = 1):
        """Start with the mean of the heads as it is."""
        self._heads = AdaHedge(np.full(heads, 1 / heads)) if heads > 1 else None
        self.lost = np.zeros(2)
        self.learned = False
        self._line = np.array([1.0, 0.0])
        # What past days say of the line, as a quadratic form about it.
        self._precision = np.zeros([2, 2])
        self._pull = np.zeros(2)
        self._hedge = AdaHedge([1 - _TRUST, _TRUST])

    def shares(self) -> np.ndarray:
        """Return the share of each head in the logit of the next day, `[H]`."""
        return np.ones(1) if self._heads is None else self._heads.weights()

    def weights(self) -> np.ndarray:
        """Return what the logits of heads are multiplied by, and the shift.

        Returns:
          float64 `[H + 1]`.
        """
        scale, shift = self.line()
        return np.append(scale * self.shares(), shift)

    def line(self) -> tuple[float, float]:
        """Return scale and shift of the next day, trust included."""
        kept, trust = self._hedge.weights()
        scale, shift = trust * self._line
        return float(kept + scale), float(shift)

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated logits, `[N]`."""
        scale, shift = self.line()
        return scale * logits + shift

    def learn(
        self, logits: np.ndarray, click: np.ndarray, weight: np.ndarray
    ) -> None:
        """Take what a day's rows came to.

        Args:
          logits: `[N]`, or of each head `[N, H]`, not calibrated, of a model
            that had not seen the day.
          click: `[N]`, 0 or 1.
          weight: `[N]`, at least 0.
        """
        heads = np.clip(logits, -LIMIT, LIMIT).astype(np.float64)
        heads = heads.reshape(len(heads), len(self.shares()))
        logits = heads @ self.shares()
        self.learned = True
        if self._heads is not None:
            self._heads.update((weight * (_sigmoid(logits) - click)) @ heads)
        both = np.stack([self.apply(logits), logits])
        losses = np.logaddexp(0, both) - click * both
        self.lost += losses @ weight
        residual = weight * (_sigmoid(both[0]) - click)
        scale, shift = self._line
        self._hedge.update(
            [residual @ logits, residual @ (scale * logits + shift)]
        )
        self._fit(
            np.stack([logits, np.ones_like(logits)], axis=1), click, weight
        )

    def _fit(
        self, rows: np.ndarray, click: np.ndarray, weight: np.ndarray
    ) -> None:
        """Fit the line to a day and what is remembered, by Newton's method.

        Args:
          rows: `[N, 2]`, logits and ones.
          click: `[N]`.
          weight: `[N]`.
        """
        precision = _DECAY * self._precision + _PRIOR * np.eye(2)
        pull = _DECAY * self._pull + [_PRIOR, 0.0]

        def cost(line: np.ndarray) -> float:
            logits = rows @ line
            losses = np.logaddexp(0, logits) - click * logits
            return weight @ losses + line @ (precision @ line / 2 - pull)

        line = self._line
        for _ in range(_NEWTON_STEPS):
            gradient, curvature = _derivatives(rows, click, weight, line)
            step = np.linalg.solve(
                precision + curvature, precision @ line - pull + gradient
            )
            # A full step may overshoot where predictions are all but certain.
            while (
                cost(line - step) > cost(line) and abs(step).max() > _CONVERGED
            ):
                step = step / 2
            line = line - step
            if abs(step).max() <= _CONVERGED:
                break
        line = np.array([max(line[0], _LEAST_SCALE), line[1]])
        gradient, curvature = _derivatives(rows, click, weight, line)
        self._line = line
        self._precision = _DECAY * self._precision + curvature
        self._pull = _DECAY * self._pull + curvature @ line - gradient

    def bound(self) -> float:
        """Return the most that can have been lost against the given logits."""
        return float(self._hedge.bound()[0])

    def bound_of_heads(self) -> np.ndarray:
        """Return the most that can have been lost against each head, `[H]`.

        Of logits that are not calibrated, in the summed log loss so far.
        """
        return np.zeros(1) if self._heads is None else self._heads.bound()

    def state(self) -> dict[str, typing.Any]:
        """Return what `of` takes, as JSON holds it."""
        return {
            "line": self._line.tolist(),
            "precision": self._precision.tolist(),
            "pull": self._pull.tolist(),
            "log_loss": self.lost.tolist(),
            "trust": self._hedge.state(),
            "heads": self._heads.state() if self._heads else None,
        }

    @classmethod
    def of(cls, state: dict[str, typing.Any] | None) -> "Calibration":
        """Return the calibration of a state; nothing: before the first day.

        Raises:
          ValueError: it is damaged.
        """
        found = cls()
        if not state:
            return found
        try:
            found._line = _numbers(state["line"], [2])
            found._precision = _numbers(state["precision"], [2, 2])
            found._pull = _numbers(state["pull"], [2])
            found.lost = _numbers(state["log_loss"], [2])
            found._hedge = AdaHedge(**state["trust"])
            if found._line[0] < _LEAST_SCALE:
                raise ValueError("the scale is too small")
            if state["heads"]:
                found._heads = AdaHedge(**state["heads"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"`calibration` should be as it was written ({error!r}). "
                f"Received: {state}"
            ) from error
        found.learned = True
        return found


def _numbers(values: typing.Any, shape: list[int]) -> np.ndarray:
    """Return finite numbers of a shape, float64."""
    found = np.array(values, np.float64)
    if list(found.shape) != shape or not np.isfinite(found).all():
        raise ValueError(f"not finite numbers of the shape {shape}")
    return found


def _derivatives(
    rows: np.ndarray, click: np.ndarray, weight: np.ndarray, line: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient `[2]` and Hessian `[2, 2]` of the log loss of a line."""
    ctr = _sigmoid(rows @ line)
    curvature = (weight * ctr * (1 - ctr))[:, np.newaxis] * rows
    return (weight * (ctr - click)) @ rows, rows.T @ curvature


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * logits))
