import numpy as np
import pytest

from ecdctr_tf.input.conversion import history_features, key_arrays


def test_click_history_matches_a_loop():
    rng = np.random.default_rng(1)
    history = history_features.ClickHistory(4)
    past = {}  # user -> items, in order
    for _ in range(5):
        user = rng.integers(0, 6, 40)
        item = rng.integers(0, 9, 40)
        second = rng.integers(0, 30, 40)
        history.start(user, item, second)
        asked = rng.integers(0, 8, 25)
        when = rng.integers(0, 31, 25)
        for length in (2, 4):
            got = history.before(asked, when, length)
            for row, u, t in zip(got, asked, when, strict=True):
                today = sorted(
                    (s, i)
                    for v, i, s in zip(user, item, second, strict=True)
                    if v == u and s < t
                )
                # Four are kept over night, the day's own come on top.
                known = [*past.get(u, [])[-4:], *(i for _, i in today)]
                newest = known[-length:]
                expected = newest + [-1] * (length - len(newest))
                assert row.tolist() == expected
        order = np.lexsort((item, second, user))
        for u, i in zip(user[order], item[order], strict=True):
            past.setdefault(u, []).append(i)
        history.end()


def test_click_history_does_not_see_the_same_second():
    history = history_features.ClickHistory(3)
    history.start(np.array([0]), np.array([7]), np.array([10]))
    asked = np.array([0, 0])
    got = history.before(asked, np.array([10, 11]), 3)
    assert got.tolist() == [[-1, -1, -1], [7, -1, -1]]


def test_click_history_of_a_day_without_clicks():
    history = history_features.ClickHistory(2)
    none = np.zeros(0, np.int64)
    history.start(none, none, none)
    got = history.before(np.array([3]), np.array([5]), 2)
    assert got.tolist() == [[-1, -1]]
    history.end()


@pytest.mark.parametrize("window", [0, 1, 3])
def test_day_counts_match_a_loop(window):
    rng = np.random.default_rng(2)
    counts = history_features.DayCounts(window)
    events = []  # (day, key)
    # Days 4 and 5 have no events: the window is one of days, not of events.
    for day in (0, 1, 2, 3, 6, 7):
        counts.start_day(day)
        first = day - window if window else 0
        for key in range(12):
            expected = sum(k == key and d >= first for d, k in events)
            assert counts.before(np.array([key]))[0] == expected
        keys = rng.integers(0, 10, 20)
        counts.add(keys)
        counts.end_day(day)
        events += [(day, key) for key in keys]


def test_first_seen_hours_are_zero_at_the_first_event():
    ages = history_features.FirstSeen()
    ages.start(np.array([2, 0, 2]), np.array([7200, 3600, 10_800]))
    hours = ages.hours(np.array([2, 2, 0]), np.array([7200, 10_800, 9000]))
    np.testing.assert_allclose(hours, [0, 1, 1.5])
    ages.start(np.array([2, 5]), np.array([90_000, 86_400]))
    hours = ages.hours(np.array([2, 5, 5]), np.array([93_600, 86_400, 0]))
    np.testing.assert_allclose(hours, [24, 0, 0])


def taken_up(part, *args):
    """Return a new part of the same class with the state of another."""
    new = type(part)(*args)
    new.restore({name: a.copy() for name, a in part.arrays().items()})
    return new


def test_click_history_is_taken_up():
    history = history_features.ClickHistory(2)
    user, item = np.array([3, 0, 3, 3]), np.array([5, 6, 7, 8])
    history.start(user, item, np.arange(4))
    history.end()
    arrays = history.arrays()
    # Of user 3 the newest two; users without clicks take no room.
    assert arrays["held"].tolist() == [1, 0, 0, 2]
    assert arrays["items"].tolist() == [6, 7, 8]
    history = taken_up(history, 2)
    history.start(np.array([0]), np.array([9]), np.array([10]))
    got = history.before(np.array([0, 3, 4]), np.array([11, 0, 0]), 2)
    assert got.tolist() == [[6, 9], [7, 8], [-1, -1]]


@pytest.mark.parametrize("window", [0, 2])
def test_day_counts_are_taken_up(window):
    counts = history_features.DayCounts(window)
    counts = taken_up(counts, window)  # Of nothing, too.
    for day, keys in ((0, [4, 4, 7]), (1, [7]), (2, [4])):
        counts.start_day(day)
        counts.add(np.array(keys))
        counts.end_day(day)
        counts = taken_up(counts, window)
    counts.start_day(3)
    expected = [1, 1, 0] if window else [3, 2, 0]
    assert counts.before(np.array([4, 7, 8])).tolist() == expected


def test_first_seen_is_taken_up():
    ages = history_features.FirstSeen()
    ages.start(np.array([2, 0]), np.array([7200, 3600]))
    ages = taken_up(ages)
    ages.start(np.array([4, 2]), np.array([86_400, 90_000]))
    hours = ages.hours(np.array([0, 2, 4]), np.full(3, 90_000))
    np.testing.assert_allclose(hours, [24, 23, 1])


def test_trimmed_ends_with_the_last_row_that_was_set():
    array = np.array([1, -1, 2, -1, -1])
    assert key_arrays.trimmed(array, -1).tolist() == [1, -1, 2]
    assert key_arrays.trimmed(array[3:], -1).tolist() == []


def test_grown_keeps_what_there_was():
    array = np.array([1, 2], np.int32)
    assert key_arrays.grown(array, 2, -1) is array
    assert key_arrays.grown(array, 3, -1).tolist() == [1, 2, -1, -1]
