"""Impressions for logs of clicks only: negatives drawn from others' clicks.

A click gets negatives drawn uniformly over the clicks that other users of the
domain made in the seconds before it, so an item is drawn as often as it was
popular then. The negatives of a click are different items, never the clicked
one and never one that the user had clicked before, in either domain.

The draw of a click depends on the seed, the day, its place among the day's
clicks and on earlier clicks only.

Shapes: P clicks in the pool, N clicks, k negatives a click.
"""

import numpy as np

from ecdctr_tf.input.conversion import (
    encoding,
    key_arrays,
    past_spec,
)

# Draws after which a negative that is never allowed is given up.
ROUNDS = 20


def pair(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Return one int64 number for each pair of a user and an item key."""
    return (user.astype(np.int64) << 32) | item.astype(np.int64)


class SeenPairs:
    """Pairs of user and item that were clicked, with a stretch of a day."""

    def __init__(self) -> None:
        self._before = np.zeros(0, np.int64)
        self._now = np.zeros(0, np.int64)
        self._first = np.zeros(0, np.int64)

    def start(self, pairs: np.ndarray, times: np.ndarray) -> None:
        """Take in the clicks of a stretch, of both domains, in any order."""
        order = np.lexsort((times, pairs))
        pairs, times = pairs[order], times[order]
        first = np.r_[True, pairs[1:] != pairs[:-1]][: len(pairs)]
        self._now, self._first = pairs[first], times[first]

    def end(self) -> None:
        """Make the clicks of the stretch earlier clicks."""
        new = self._now[~_found(self._before, self._now)[0]]
        # Two sorted runs: a stable sort merges them.
        self._before = np.sort(
            np.concatenate([self._before, new]), kind="stable"
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the `pairs` of the days so far, int64, sorted."""
        return {"pairs": self._before}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` returned."""
        self._before = arrays["pairs"]

    def seen(self, pairs: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return whether each pair was clicked strictly before its time."""
        earlier, _ = _found(self._before, pairs)
        now, place = _found(self._now, pairs)
        if len(self._now):
            now &= self._first[place] < times
        return earlier | now


def _found(
    table: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether values are in a sorted table, and their places."""
    place = key_arrays.places(table, values)
    if not len(table):
        return np.zeros(len(values), bool), place
    place = np.minimum(place, len(table) - 1)
    return table[place] == values, place


def reclicks(
    user: np.ndarray, item: np.ndarray, time: np.ndarray, seen: SeenPairs
) -> np.ndarray:
    """Return which clicks, in order of time, repeat an earlier one, bool `[N]`.

    Of equal clicks in the same second the first in order is the original.
    """
    pairs = pair(user, item)
    order = np.argsort(pairs, kind="stable")
    again = np.zeros(len(pairs), bool)
    again[order[1:]] = pairs[order][1:] == pairs[order][:-1]
    return again | seen.seen(pairs, time)


def draw(
    pool: dict[str, np.ndarray],
    clicks: np.ndarray,
    seen: SeenPairs,
    rule: past_spec.Negatives,
    stream: tuple[int, ...],
    before: int = 0,
    rounds: int = ROUNDS,
) -> np.ndarray:
    """Draw negatives.

    Args:
      pool: `USER`, `ITEM` (keys) and `TIME` (seconds) of `encoding`, `[P]`, in
        order of time: the clicks, and those of the window before them.
      clicks: int `[N]`, places in the pool of the clicks that get negatives.
      seen: the pairs clicked.
      rule: number, window and seed.
      stream: further numbers of the seed: the day and the domain.
      before: clicks of the day that got negatives before.
      rounds: draws after which a negative is given up.

    Returns:
      int64 `[N, k]`, places in the pool of the clicks whose items are the
      negatives; -1 where there was nothing to draw.
    """
    draws = _Draws(pool, clicks, rule, stream, before)
    drawn = np.full((len(clicks), rule.per_click), -1, np.int64)
    flat = drawn.reshape(-1)
    for attempt in range(rounds):
        open_places = np.flatnonzero((flat < 0) & draws.possible)
        if not len(open_places):
            break
        place = draws.places(attempt, open_places)
        rows = draws.row[open_places]
        good = _allowed(pool, clicks[rows], place, seen)
        flat[open_places[good]] = place[good]
        _reopen_repeats(drawn, pool[encoding.ITEM], np.unique(rows))
    return drawn


def asked(
    pool: dict[str, np.ndarray],
    clicks: np.ndarray,
    rule: past_spec.Negatives,
    stream: tuple[int, ...],
    before: int,
    attempts: range,
    drawn: np.ndarray,
) -> np.ndarray:
    """Return the pairs that `draw` may look up in some of its rounds.

    Args:
      pool: as of `draw`; so are `clicks`, `rule`, `stream` and `before`.
      clicks: which get negatives.
      rule: number, window and seed.
      stream: further numbers of the seed.
      before: clicks of the day that got negatives before.
      attempts: the rounds.
      drawn: int64 `[N, k]`, as `draw` returned it of the rounds before; clicks
        that have all negatives ask nothing.

    Returns:
      int64, sorted, each pair once.
    """
    draws = _Draws(pool, clicks, rule, stream, before)
    waiting = np.repeat((drawn < 0).any(1), rule.per_click)
    open_places = np.flatnonzero(waiting & draws.possible)
    click = clicks[draws.row[open_places]]
    pairs = [np.zeros(0, np.int64)]
    for attempt in attempts:
        place = draws.places(attempt, open_places)
        of, other = _drawn(pool, click, place)
        pairs.append(np.unique(of[other]))
    return np.unique(np.concatenate(pairs))


class _Draws:
    """What is drawn for each negative in each round, allowed or not."""

    def __init__(
        self,
        pool: dict[str, np.ndarray],
        clicks: np.ndarray,
        rule: past_spec.Negatives,
        stream: tuple[int, ...],
        before: int,
    ):
        times, time = pool[encoding.TIME], pool[encoding.TIME][clicks]
        self._low = np.searchsorted(times, time - rule.window_seconds)
        self._width = np.searchsorted(times, time) - self._low
        self._seed = [rule.seed, *stream]
        self._before = before * rule.per_click
        # int `[N * k]`, the click of each negative.
        self.row = np.repeat(np.arange(len(clicks)), rule.per_click)
        # bool `[N * k]`, whether there is anything to draw.
        self.possible = self._width[self.row] > 0

    def places(self, attempt: int, which: np.ndarray) -> np.ndarray:
        """Return places in the pool, int64, of some negatives in a round."""
        bits = np.random.PCG64([*self._seed, attempt])
        # Each number takes one step.
        bits.advance(self._before)
        uniform = np.random.Generator(bits).random(len(self.row))[which]
        rows = self.row[which]
        return self._low[rows] + (uniform * self._width[rows]).astype(np.int64)


def _drawn(
    pool: dict[str, np.ndarray], click: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return drawn pairs, and whether users and items are others."""
    user, item = pool[encoding.USER][click], pool[encoding.ITEM][place]
    other = (pool[encoding.USER][place] != user) & (
        pool[encoding.ITEM][click] != item
    )
    return pair(user, item), other


def _allowed(
    pool: dict[str, np.ndarray],
    click: np.ndarray,
    place: np.ndarray,
    seen: SeenPairs,
) -> np.ndarray:
    """Return which drawn places may be negatives of their clicks."""
    pairs, other = _drawn(pool, click, place)
    return other & ~seen.seen(pairs, pool[encoding.TIME][click])


def _reopen_repeats(
    drawn: np.ndarray, items: np.ndarray, rows: np.ndarray
) -> None:
    """Set to -1 what repeats an item to its left, in the given rows."""
    part = drawn[rows]
    item = np.where(part < 0, -1, items[part])
    for right in range(1, part.shape[1]):
        same = item[:, :right] == item[:, right : right + 1]
        repeated = same.any(1) & (item[:, right] >= 0)
        part[repeated, right] = -1
        item[repeated, right] = -1
    drawn[rows] = part
