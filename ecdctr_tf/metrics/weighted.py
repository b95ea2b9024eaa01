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
      weight: `[N]`, at least 0; None weighs all rows alike. Rows of weight 0
        are left out of all columns.

    Raises:
      ValueError: a column is malformed, or a model has no seed.
    """

    click: np.ndarray
    user: np.ndarray
    ctr: Mapping[str, Sequence[np.ndarray]]
    weight: np.ndarray | None = None

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
        weight = checks.weights(click, self.weight)
        counted = weight > 0
        for name, value in (
            ("click", click[counted]),
            ("user", user[counted]),
            ("ctr", {m: [s[counted] for s in of] for m, of in ctr.items()}),
            ("weight", weight[counted]),
        ):
            object.__setattr__(self, name, value)

    @property
    def weights(self) -> np.ndarray:
        """The weight of each row, float64 `[N]`, above 0."""
        return checks.weights(self.click, self.weight)

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
            _Line.of(day.click, line, place, day.weights)
            for line in itertools.chain.from_iterable(day.ctr.values())
        ]
        self._clicked = place[day.click == 1]  # [P]
        self._clicked_weights = day.weights[day.click == 1]  # [P]
        # Sums of whole numbers share words, see `_lanes`.
        self._whole = bool((day.weights == 1).all())
        self._rows = len(place)

        rows = np.bincount(place, day.weights)  # [U]
        clicks = np.bincount(place, day.click * day.weights)  # [U]
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
                metric.by_user(day.click, ctr, place, day.weights)
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
        if self._whole:
            lanes = _lanes(weights, 2 * int(most))  # [W, U, k]
            words = lanes.view(np.uint64)[..., 0]  # [W, U]
        else:
            lanes = weights[..., np.newaxis].astype(np.float64)  # [R, U, 1]
            words = lanes[..., 0]
        clicked = lanes[:, self._clicked].astype(np.float64)  # [W, P, k]
        clicked *= self._clicked_weights[:, np.newaxis]
        width = self._rows - len(self._clicked) + 1
        # One room for all lines: fresh memory costs more than the sums in it.
        sums = np.zeros((len(words), width), words.dtype)
        won = np.empty((len(weights), len(self._lines)))
        for i, line in enumerate(self._lines):
            twice = line.twice_beaten(words, sums)  # [W, P]
            twice = twice.view(lanes.dtype).reshape(clicked.shape)
            each = np.einsum(
                "wpk,wpk->wk", clicked, twice.astype(np.float64)
            )  # [W, k]
            won[:, i] = each.flat[: len(weights)] / 2
        return won


@dataclasses.dataclass(frozen=True, eq=False)
class _Line:
    """The scores of one model and seed as the order of a day's rows."""

    # Users of the unclicked rows, from the lowest score to the highest, and
    # weights of these rows.
    unclicked: np.ndarray  # [Q]
    weight: np.ndarray  # [Q]
    # How many unclicked rows are below each clicked row, and not above it.
    below: np.ndarray  # [P]
    not_above: np.ndarray  # [P]

    @classmethod
    def of(
        cls,
        click: np.ndarray,
        score: np.ndarray,
        place: np.ndarray,
        weight: np.ndarray,
    ) -> "_Line":
        """Return the order of scores `[N]`.

        Args:
          click: `[N]`, 0 or 1.
          score: `[N]`.
          place: int `[N]`, whose rows they are.
          weight: `[N]`.
        """
        unclicked = np.flatnonzero(click == 0)
        unclicked = unclicked[np.argsort(score[unclicked], kind="stable")]
        low, clicked = score[unclicked], score[click == 1]
        return cls(
            place[unclicked],
            weight[unclicked],
            np.searchsorted(low, clicked, side="left"),
            np.searchsorted(low, clicked, side="right"),
        )

    def twice_beaten(self, words: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """Return twice the weight that each clicked row beats, `[W, P]`.

        A tie counts half.

        Args:
          words: `[W, U]`, weights of users: uint64, k replicates a word, where
            all rows have the weight 1, otherwise float64.
          sums: `[W, Q + 1]`, gets the weights of the first 0, 1 .. Q unclicked
            rows; its first column has to be 0.
        """
        rows = sums[:, 1:]
        np.take(words, self.unclicked, axis=1, out=rows, mode="clip")
        if words.dtype == np.float64:
            rows *= self.weight
        np.cumsum(rows, axis=1, out=rows)
        twice = np.take(sums, self.below, axis=1)  # [W, P]
        twice += np.take(sums, self.not_above, axis=1)
        return twice


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
