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
_ROUNDS = 20


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

    Returns:
      int64 `[N, k]`, places in the pool of the clicks whose items are the
      negatives; -1 where there was nothing to draw.
    """
    time, k = pool[encoding.TIME][clicks], rule.per_click
    low = np.searchsorted(pool[encoding.TIME], time - rule.window_seconds)
    width = np.searchsorted(pool[encoding.TIME], time) - low
    drawn = np.full((len(clicks), k), -1, np.int64)
    row = np.repeat(np.arange(len(clicks)), k)
    flat = drawn.reshape(-1)
    for attempt in range(_ROUNDS):
        open_places = np.flatnonzero((flat < 0) & (width[row] > 0))
        if not len(open_places):
            break
        bits = np.random.PCG64([rule.seed, *stream, attempt])
        # Each number takes one step.
        bits.advance(before * k)
        uniform = np.random.Generator(bits).random(len(row))[open_places]
        rows = row[open_places]
        place = low[rows] + (uniform * width[rows]).astype(np.int64)
        good = _allowed(pool, clicks[rows], place, seen)
        flat[open_places[good]] = place[good]
        _reopen_repeats(drawn, pool[encoding.ITEM], np.unique(rows))
    return drawn


def _allowed(
    pool: dict[str, np.ndarray],
    click: np.ndarray,
    place: np.ndarray,
    seen: SeenPairs,
) -> np.ndarray:
    """Return which drawn places may be negatives of their clicks."""
    user, item = pool[encoding.USER][click], pool[encoding.ITEM][place]
    other = (pool[encoding.USER][place] != user) & (
        pool[encoding.ITEM][click] != item
    )
    return other & ~seen.seen(pair(user, item), pool[encoding.TIME][click])


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
