import collections

import numpy as np
import pytest

from ecdctr_tf.input.conversion import encoding, negatives, past_spec


def _clicks(seed, count, users=8, items=12, seconds=400):
    rng = np.random.default_rng(seed)
    return {
        encoding.USER: rng.integers(0, users, count),
        encoding.ITEM: rng.integers(0, items, count),
        encoding.TIME: np.sort(rng.integers(0, seconds, count)),
    }


def _seen(pool):
    seen = negatives.SeenPairs()
    seen.start(
        negatives.pair(pool[encoding.USER], pool[encoding.ITEM]),
        pool[encoding.TIME],
    )
    return seen


def _draw(pool, rule, stream=(0, 0)):
    clicks = np.arange(len(pool[encoding.TIME]))
    return negatives.draw(pool, clicks, _seen(pool), rule, stream)


def _allowed(pool, click, rule):
    """Return the places that a click's negatives may come from, by a loop."""
    user, time = pool[encoding.USER][click], pool[encoding.TIME][click]
    before = {
        pool[encoding.ITEM][j]
        for j in range(len(pool[encoding.TIME]))
        if pool[encoding.USER][j] == user and pool[encoding.TIME][j] < time
    }
    return {
        j
        for j in range(len(pool[encoding.TIME]))
        if time - rule.window_seconds <= pool[encoding.TIME][j] < time
        and pool[encoding.USER][j] != user
        and pool[encoding.ITEM][j] not in before | {pool[encoding.ITEM][click]}
    }


def test_draw_keeps_the_rules():
    pool = _clicks(0, 300, items=40)
    rule = past_spec.Negatives(per_click=3, window_seconds=60)
    drawn = _draw(pool, rule)
    short = 0
    for click, places in enumerate(drawn):
        allowed = _allowed(pool, click, rule)
        there = [place for place in places if place >= 0]
        items = [pool[encoding.ITEM][place] for place in there]
        assert set(there) <= allowed
        assert len(items) == len(set(items))
        distinct = {pool[encoding.ITEM][place] for place in allowed}
        short += min(3, len(distinct)) - len(there)
    assert short <= 9  # Of 900: given up after some rounds.


def test_draw_is_uniform_over_the_clicks_of_others():
    # One click of user 0 on item 9; before it item 1 twice, item 2 once, and
    # user 0's own click on item 3, which cannot be drawn.
    block = {
        encoding.USER: [1, 2, 1, 0],
        encoding.ITEM: [1, 1, 2, 3],
        encoding.TIME: [1, 2, 3, 4],
    }
    pool = {name: np.array([*v, 9]) for name, v in block.items()}
    pool[encoding.USER][-1] = 0
    rule = past_spec.Negatives(per_click=1, window_seconds=100)
    seen = _seen(pool)
    drawn = collections.Counter(
        pool[encoding.ITEM][
            negatives.draw(pool, np.array([4]), seen, rule, (d, 0))
        ][0, 0]
        for d in range(1500)
    )
    assert set(drawn) == {1, 2}
    # Standard deviation of the share: .012.
    assert drawn[1] / 1500 == pytest.approx(2 / 3, abs=0.05)


def test_draw_depends_on_seed_and_day_only_and_not_on_later_clicks():
    pool = _clicks(3, 200)
    rule = past_spec.Negatives(per_click=2, window_seconds=100, seed=5)
    drawn = _draw(pool, rule)
    np.testing.assert_array_equal(drawn, _draw(pool, rule))
    assert (drawn != _draw(pool, rule, (1, 0))).any()
    cut = int(np.searchsorted(pool[encoding.TIME], pool[encoding.TIME][120]))
    part = {name: column[:cut] for name, column in pool.items()}
    np.testing.assert_array_equal(_draw(part, rule), drawn[:cut])


def test_draw_without_candidates_gives_none():
    pool = {encoding.USER: np.array([0, 0]), encoding.ITEM: np.array([1, 2])}
    pool[encoding.TIME] = np.array([5, 6])
    drawn = _draw(pool, past_spec.Negatives(per_click=2))
    assert (drawn == -1).all()


def test_seen_pairs_are_those_strictly_before():
    seen = negatives.SeenPairs()
    seen.start(np.array([7, 3, 7]), np.array([20, 10, 15]))
    asked = np.array([7, 7, 3, 4])
    got = seen.seen(asked, np.array([15, 16, 11, 99]))
    assert got.tolist() == [False, True, True, False]
    seen.end()
    seen.start(np.array([4]), np.array([90]))
    got = seen.seen(asked, np.array([0, 0, 0, 91]))
    assert got.tolist() == [True, True, True, True]


def test_reclicks_match_a_loop():
    pool = _clicks(4, 120, users=4, items=6, seconds=60)
    again = negatives.reclicks(
        pool[encoding.USER],
        pool[encoding.ITEM],
        pool[encoding.TIME],
        _seen(pool),
    )
    before = set()
    for i, pair in enumerate(
        zip(pool[encoding.USER], pool[encoding.ITEM], strict=True)
    ):
        assert again[i] == (pair in before)
        before.add(pair)
