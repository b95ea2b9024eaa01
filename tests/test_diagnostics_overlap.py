"""What natural logs knew of the ads on their day, by hand and by a loop."""

import numpy as np
import pytest

from ecdctr_tf.diagnostics import counting, item_ctr, overlap
from ecdctr_tf.input import streams
from tests import diagnostics_world as world

SIZES = {"user": 10, "item": 8}
UNKNOWN = {"user": 1, "item": 1}


def rows(day, domain, user, item, click=None, weight=None):
    click = np.zeros(len(user)) if click is None else click
    weight = np.ones(len(user)) if weight is None else weight
    return counting.Rows(
        f"2024-03-0{day}",
        domain,
        np.array(user, np.int32),
        np.array(item, np.int32),
        np.array(click, np.float32),
        np.array(weight, np.float32),
    )


def counted(parts, last_from="2024-03-03"):
    found = overlap.Overlap(SIZES, UNKNOWN, last_from)
    for part in parts:
        found.add(part)
    return found.result()


def small_world():
    """User 1 is known from day 2 on, user 2 and item 5 from day 3 on."""
    return [
        rows(1, "ads", [1, 2], [5, 5], [1, 0]),
        rows(1, "natural", [1] * 4, [3, 3, 3, 3]),
        rows(2, "ads", [1, 2], [5, 3], [1, 1]),
        rows(2, "natural", [2, 0], [5, 5]),
        rows(3, "ads", [1, 2, 9, 0], [5, 5, 5, 6], [0, 1, 0, 1]),
    ]


def test_overlap_by_hand():
    found = counted(small_world())
    every, last = found["all"], found["last"]
    assert (every["first"], every["last"]) == ("2024-03-01", "2024-03-03")
    assert (every["rows"], every["clicks"]) == (8, 5)
    # Users 1, 2 and 9 have ads; 9 is never known, and 0 is nobody.
    assert every["user"]["ids"] == 3
    assert every["user"]["ids_share"] == pytest.approx(2 / 3)
    # User 1 on days 2 and 3, user 2 on day 3.
    assert every["user"]["rows_share"] == 3 / 8
    # Item 3 on day 2, item 5 three times on day 3; item 6 never.
    assert every["item"]["ids"] == 3
    assert every["item"]["rows_share"] == 4 / 8
    assert every["both_share"] == 2 / 8
    assert every["either_share"] == 5 / 8
    assert (last["first"], last["rows"]) == ("2024-03-03", 4)
    assert last["user"]["rows_share"] == 2 / 4
    assert last["user"]["ids_share"] == pytest.approx(2 / 3)


def test_buckets_by_hand():
    found = counted(small_world())["all"]["user"]["buckets"]
    # User 1 had four natural rows, user 2 one.
    assert {name: of["rows"] for name, of in found.items()} == {
        "0": 5,
        "1-3": 1,
        "4-15": 2,
        "16-63": 0,
        "64+": 0,
    }
    assert found["1-3"]["ctr"] == 1.0
    assert found["4-15"]["ctr"] == 0.5
    assert found["64+"] == {"rows": 0, "share": 0.0, "ctr": None}


@pytest.mark.parametrize(
    ("count", "bucket"),
    [(3, "1-3"), (4, "4-15"), (15, "4-15"), (16, "16-63"), (63, "16-63")]
    + [(64, "64+")],
)
def test_ends_of_the_buckets(count, bucket):
    parts = [
        rows(1, "natural", [7] * count, [1] * count),
        rows(2, "ads", [7], [2]),
    ]
    assert counted(parts)["all"]["user"]["buckets"][bucket]["rows"] == 1


def test_natural_rows_of_the_same_day_or_later_change_nothing():
    parts = small_world()
    crowd = np.repeat(np.arange(8), 100)
    for day in (3, 4):
        planted = [*parts, rows(day, "natural", crowd, crowd)]
        assert counted(planted) == counted(parts)
    assert counted([rows(1, "natural", crowd, crowd), *parts[2:]]) != counted(
        parts[2:]
    )


@pytest.mark.parametrize(("day", "domain"), [(1, "natural"), (2, "ads")])
def test_rows_that_would_see_the_future_raise(day, domain):
    found = overlap.Overlap(SIZES, UNKNOWN, "")
    found.add(rows(2, "natural", [1], [1]))
    with pytest.raises(ValueError, match="should come in order of days"):
        found.add(rows(day, domain, [1], [1]))


def test_no_ads_give_no_shares():
    found = counted([rows(1, "natural", [1], [1])])["all"]
    assert found["rows"] == 0
    assert found["either_share"] is found["user"]["ids_share"] is None


@pytest.mark.parametrize("chunk", [1 << 20, 70])
def test_walk_equals_a_loop_over_the_rows(tmp_path, monkeypatch, chunk):
    """Days without a gap and with one, in parts of a day or whole."""
    monkeypatch.setattr(counting, "_CHUNK", chunk)
    natural, ads = world.NATURAL_DAYS, world.ADS_DAYS
    days = ([*natural[:2], *natural[4:]], [*ads[:3], *ads[5:]])
    few = (40, 50)
    data = world.make(
        tmp_path / "data", world.FIRST, world.ALL, counts=few, days=days
    )
    sizes = {"user": world.USERS + 1, "item": world.ITEMS + 1}
    found = overlap.Overlap(sizes, UNKNOWN, "2024-01-08")
    order = []
    for part in counting.walk(data):
        found.add(part)
        order.append((part.day, part.domain))
    assert len(set(order)) == len(days[0]) + len(days[1])
    assert len(order) == len(set(order))

    def read(domain, day):
        window = data.window(domain).__class__(day, day)
        return streams.read_columns(data, domain, window)

    known_rows = total = 0
    for day in days[1]:
        earlier = [read("natural", d) for d in days[0] if d < day]
        for user in read("ads", day)["user_id"]:
            total += 1
            known_rows += any(user in of["user_id"] for of in earlier)
    result = found.result()["all"]
    assert result["rows"] == total == 5 * 50
    assert result["user"]["rows_share"] == pytest.approx(known_rows / total)


def test_a_day_of_more_rows_than_a_chunk_comes_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "_CHUNK", 1)
    data = world.make(tmp_path / "data", world.ALL, world.ALL, (9000, 20))
    parts = [part for part in counting.walk(data) if part.day == "2024-01-01"]
    assert len(parts) > 1
    assert sum(len(part.click) for part in parts) == 9000


@pytest.mark.parametrize(
    ("natural", "share"), [(world.ALL, 1.0), (world.FIRST, 0.0)]
)
def test_full_and_no_overlap(tmp_path, natural, share):
    data = world.make(tmp_path / "data", natural, world.SECOND, (900, 200))
    sizes = {"user": world.USERS + 1, "item": world.ITEMS + 1}
    found = overlap.Overlap(sizes, UNKNOWN, "")
    for part in counting.walk(data):
        found.add(part)
    for period in found.result().values():
        assert period["both_share"] == period["either_share"] == share
        for role in overlap.ROLES:
            assert period[role]["ids_share"] == share
            assert period[role]["rows_share"] == share


def item_world(order, natural_rows=4000, seed=0):
    """Count items whose click rate is `order` / 30 in ads, their number / 30
    in natural rows."""
    rng = np.random.default_rng(seed)
    found = item_ctr.ItemCTR(21, unknown=1)
    for day in range(1, 9):
        for domain, rates in (("ads", order), ("natural", np.arange(21))):
            item = rng.integers(1, 21, natural_rows)
            click = rng.random(natural_rows) < rates[item] / 30
            found.add(rows(day, domain, item, item, click))
    return found


def test_items_that_agree_turn_or_do_not_agree():
    same = item_world(np.arange(21)).result()
    assert same["items"] == 20
    assert same["spearman"] > 0.99 and same["ceiling"] > 0.99
    turned = item_world(21 - np.arange(21)).result()
    assert turned["relative"] < -0.99
    shuffled = np.random.default_rng(3).permutation(21)
    expected = item_ctr.spearman(shuffled[1:], np.arange(20))
    other = item_world(shuffled).result()
    assert other["spearman"] == pytest.approx(expected, abs=0.05)


def test_noise_lowers_the_ceiling_and_not_the_relative_correlation():
    noisy = item_world(np.arange(21), natural_rows=150).result()
    assert 0.5 < noisy["ceiling"] < 0.98
    assert noisy["spearman"] < 0.98
    assert noisy["relative"] == pytest.approx(1.0, abs=0.1)


def test_too_few_items_have_no_correlation():
    found = item_ctr.ItemCTR(21, unknown=1)
    item = np.repeat(np.arange(10), 30)
    for domain in ("ads", "natural"):
        found.add(rows(1, domain, item, item))
    # Items 1 to 9: item 0 is of unknown ids.
    assert found.result() is None


def test_spearman_with_ties_by_hand():
    # Ranks 1.5, 1.5, 3, 4 and 1, 2, 3.5, 3.5.
    a, b = [1, 1, 2, 3], [4, 5, 6, 6]
    x = np.array([1.5, 1.5, 3, 4]) - 2.5
    y = np.array([1, 2, 3.5, 3.5]) - 2.5
    expected = (x @ y) / np.sqrt((x @ x) * (y @ y))
    assert item_ctr.spearman(a, b) == pytest.approx(expected)
    assert item_ctr.spearman([1, 1], [1, 2]) is None
