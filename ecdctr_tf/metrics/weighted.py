"""Metrics of a day for many weights of its users at once.

Shapes: N rows of a day, U users, P clicked and Q unclicked rows, L lines (a
line is the scores of one model and seed), R replicates of weights, M metrics,
W words that hold the weights of k replicates each.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from ecdctr_tf.metrics import checks
from ecdctr_tf.metrics.metric import ByUser, Sums
from ecdctr_tf.metrics.table import METRICS


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredRows:
    """The rows of a day and what each model predicted of them.

    Args:
      click: `[N]`, 0 or 1.
      user: `[N]` integers or strings; one value is one user on all days.
      ctr: model -> a seed's predictions `[N]`, in [0, 1], one a seed.

    Raises:
      ValueError: a column is malformed, or a model has no seed.
    """

    click: np.ndarray
    user: np.ndarray
    ctr: Mapping[str, Sequence[np.ndarray]]

    def __post_init__(self) -> None:
        """Check the columns; hold them as float64."""
        click, _ = checks.clicks_and_scores(self.click, self.click)
        user = checks.groups(click, self.user)
        ctr = {
            model: [checks.clicks_and_probabilities(click, s)[1] for s in seeds]
            for model, seeds in self.ctr.items()
        }
        empty = [model for model, seeds in ctr.items() if not seeds]
        if empty or not ctr:
            raise ValueError(
                "`ctr` should have a seed's predictions of each model. "
                f"Received: none of {', '.join(empty) or 'any model'}"
            )
        for name, value in (("click", click), ("user", user), ("ctr", ctr)):
            object.__setattr__(self, name, value)

    @property
    def seeds(self) -> dict[str, int]:
        """The number of seeds of each model."""
        return {model: len(seeds) for model, seeds in self.ctr.items()}


class Scorer:
    """The metrics of one day for any weights of its users.

    Lines are sorted once; AUC then costs a gather and a cumulative sum of the
    unclicked rows. The other metrics are made of sums by user.
    """

    def __init__(self, day: ScoredRows, user: np.ndarray):
        """Sort the lines.

        Args:
          day: the rows.
          user: int `[N]`, numbers of the users among those of all days.
        """
        # Numbers of the day's users, and the place of each row among them.
        self.users, place = np.unique(user, return_inverse=True)  # [U], [N]
        self._lines = [
            _Line.of(day.click, line, place)
            for line in itertools.chain.from_iterable(day.ctr.values())
        ]
        self._clicked = place[day.click == 1]  # [P]
        self._rows = len(place)

        rows = np.bincount(place).astype(np.float64)  # [U]
        clicks = np.bincount(place, day.click)  # [U]
        mixed = np.where((clicks > 0) & (clicks < rows), rows, 0)
        sums = [np.stack([rows, clicks, mixed], axis=1)]
        # Metrics of the same sums share their columns.
        self._columns: dict[ByUser | None, slice] = {}
        for metric in METRICS.values():
            if metric.by_user is None or metric.by_user in self._columns:
                continue
            first = sum(part.shape[1] for part in sums)
            last = first + len(self._lines)
            self._columns[metric.by_user] = slice(first, last)
            of_lines = [
                metric.by_user(day.click, ctr, place)
                for ctr in itertools.chain.from_iterable(day.ctr.values())
            ]
            sums.append(np.stack(of_lines, axis=1))  # [U, L]
        self._sums = np.concatenate(sums, axis=1)

    @property
    def width(self) -> int:
        """Numbers that a replicate holds at a time."""
        return self._rows + len(self.users)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return the metrics, NaN where undefined.

        Args:
          weights: int32 `[R, users of all days]`, times each user counts.

        Returns:
          float64 `[M, R, L]`, in the order of `METRICS`.
        """
        weights = weights[:, self.users]  # [R, U]
        sums = weights.astype(np.float64) @ self._sums
        rows, clicks, mixed = (sums[:, i, np.newaxis] for i in range(3))
        values = []
        for metric in METRICS.values():
            columns = slice(0)
            if metric.by_user is not None:
                columns = self._columns[metric.by_user]
            values.append(
                metric.weighted(
                    Sums(
                        rows,
                        clicks,
                        mixed,
                        sums[:, columns],
                        lambda: self._won(weights, rows.max()),
                    )
                )
            )
        return np.stack(values)

    def _won(self, weights: np.ndarray, most: float) -> np.ndarray:
        """Return the weight of the pairs each line wins, a tie half, `[R, L]`.

        Args:
          weights: int32 `[R, U]`.
          most: the largest weight of all rows of a replicate.
        """
        lanes = _lanes(weights, 2 * int(most))  # [W, U, k]
        words = lanes.view(np.uint64)[..., 0]  # [W, U]
        clicked = lanes[:, self._clicked].astype(np.float64)  # [W, P, k]
        width = self._rows - len(self._clicked) + 1
        # One room for all lines: fresh memory costs more than the sums in it.
        sums = np.zeros((len(words), width), np.uint64)
        won = np.empty((len(weights), len(self._lines)))
        for i, line in enumerate(self._lines):
            won[:, i] = line.won(words, clicked, sums).flat[: len(weights)]
        return won


@dataclasses.dataclass(frozen=True, eq=False)
class _Line:
    """The scores of one model and seed as the order of a day's rows."""

    # Users of the unclicked rows, from the lowest score to the highest.
    unclicked: np.ndarray  # [Q]
    # How many unclicked rows are below each clicked row, and not above it.
    below: np.ndarray  # [P]
    not_above: np.ndarray  # [P]

    @classmethod
    def of(
        cls, click: np.ndarray, score: np.ndarray, place: np.ndarray
    ) -> "_Line":
        """Return the order of scores `[N]`; `place` `[N]` is whose they are."""
        unclicked = np.flatnonzero(click == 0)
        unclicked = unclicked[np.argsort(score[unclicked], kind="stable")]
        low, clicked = score[unclicked], score[click == 1]
        return cls(
            place[unclicked],
            np.searchsorted(low, clicked, side="left"),
            np.searchsorted(low, clicked, side="right"),
        )

    def won(
        self, words: np.ndarray, clicked: np.ndarray, sums: np.ndarray
    ) -> np.ndarray:
        """Return the weight of the pairs won, a tie half, `[W, k]`.

        Args:
          words: uint64 `[W, U]`, weights of users, k replicates a word.
          clicked: float64 `[W, P, k]`, weights of the clicked rows.
          sums: uint64 `[W, Q + 1]`, gets the weights of the first 0, 1 .. Q
            unclicked rows; its first column has to be 0.
        """
        rows = sums[:, 1:]
        np.take(words, self.unclicked, axis=1, out=rows, mode="clip")
        np.cumsum(rows, axis=1, out=rows)
        twice = np.take(sums, self.below, axis=1)  # [W, P]
        twice += np.take(sums, self.not_above, axis=1)
        twice = twice.view(f"u{8 // clicked.shape[2]}").reshape(clicked.shape)
        return np.einsum("wpk,wpk->wk", clicked, twice.astype(np.float64)) / 2


def _lanes(weights: np.ndarray, largest: int) -> np.ndarray:
    """Return weights such that k replicates share a word of 64 bits.

    Words are gathered and added up as numbers; what is in one lane never
    reaches the next, since no sum is above `largest`.

    Args:
      weights: int32 `[R, U]`, at least 0.
      largest: the largest sum that a lane has to hold.

    Returns:
      unsigned `[W, U, k]`, W = R / k rounded up; replicate w k + i at
      `[w, :, i]`, zeros after the last.
    """
    fits = (t for t in ("u2", "u4") if largest <= np.iinfo(t).max)
    dtype = np.dtype(next(fits, "u8"))
    count = 8 // dtype.itemsize  # k
    replicates, users = weights.shape
    words = -(-replicates // count)
    padded = np.zeros((words * count, users), dtype)
    padded[:replicates] = weights
    lanes = padded.reshape(words, count, users).transpose(0, 2, 1)
    return np.ascontiguousarray(lanes)
