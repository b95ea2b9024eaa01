"""Telling domains apart: alike near 0.5, other ids or numbers near 1."""

import numpy as np
import pytest

from ecdctr_tf import features
from ecdctr_tf.diagnostics import domain_shift, logistic
from ecdctr_tf.input import streams
from tests import diagnostics_world as world


def measure(data, **values):
    return domain_shift.measure(data, **values)


def test_domains_that_are_alike_are_not_told_apart(tmp_path):
    data = world.make(tmp_path / "data", world.ALL, world.ALL, (900, 800))
    found = measure(data)
    assert 0.45 < found["auc"] < 0.55
    assert all(0.45 < auc < 0.55 for auc in found["features"].values())
    # Six common days, 3 to 8; the last two are held out.
    assert found["train"] == "2024-01-03..2024-01-06"
    assert found["held_out"] == "2024-01-07..2024-01-08"
    assert found["rows"] == {"train": 3200, "held_out": 1600}
    assert found["same_days"]


def test_domains_of_other_ids_are_told_apart(tmp_path):
    data = world.make(tmp_path / "data", world.FIRST, world.SECOND)
    found = measure(data)
    assert found["auc"] > 0.99
    assert found["features"]["user_id"] > 0.99
    assert found["features"]["item_id"] > 0.99
    assert 0.4 < found["features"]["price"] < 0.6


def test_a_dense_number_that_differs_is_found_and_can_be_excluded(tmp_path):
    ads = {**world.ALL, "price": 4.0}
    data = world.make(tmp_path / "data", world.ALL, ads, (600, 600))
    found = measure(data)
    assert next(iter(found["features"])) == "price"
    assert found["features"]["price"] > 0.98
    without = measure(data, exclude=["price"])
    assert "price" not in without["features"]
    assert without["auc"] < 0.56


def test_it_is_later_days_that_are_held_out(tmp_path):
    """The domains differ on the days trained on, and no more after."""
    ads = {**world.ALL, "price": 4.0}
    days = (world.NATURAL_DAYS, world.ADS_DAYS[:4])
    data = world.make(tmp_path / "data", world.ALL, ads, (600, 600), days)
    rng = np.random.default_rng(1)
    for day in world.ADS_DAYS[4:6]:
        rows = world.columns(day, rng=rng, count=600, **world.ALL)
        data.write_day("ads", day, [rows], {"user": 61, "item": 41})
    found = measure(data)
    assert found["held_out"] == "2024-01-07..2024-01-08"
    assert 0.4 < found["auc"] < 0.6


def test_the_same_seed_gives_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(domain_shift, "_ROWS", 300)
    data = world.make(tmp_path / "data", world.ALL, world.FIRST)
    found = measure(data)
    assert found["rows"]["train"] == 4 * 300 // 6
    assert measure(data) == found
    assert measure(data, seed=1) != found


def test_days_of_one_domain_only_are_paired_in_order(tmp_path):
    days = (world.NATURAL_DAYS[:4], ["2024-02-01", "2024-02-02", "2024-02-03"])
    data = world.make(tmp_path / "data", world.ALL, world.ALL, days=days)
    found = measure(data)
    assert not found["same_days"]
    assert found["held_out"] == "2024-02-03..2024-02-03"


def test_one_day_cannot_be_measured(tmp_path):
    days = (world.NATURAL_DAYS, world.ADS_DAYS[:1])
    data = world.make(tmp_path / "data", world.ALL, world.ALL, days=days)
    assert measure(data) is None


def test_a_sample_holds_rows_of_the_day_once(tmp_path):
    data = world.make(tmp_path / "data", world.ALL, world.ALL, (9000, 50))
    day = world.NATURAL_DAYS[0]
    found = domain_shift.sample(data, "natural", day, 500, 7, data.spec)
    found = found["price"]
    window = data.window("natural").__class__(day, day)
    every = streams.read_columns(data, "natural", window)["price"]
    assert len(np.unique(found)) == 500
    assert np.isin(found, every).all()
    whole = domain_shift.sample(data, "natural", day, 9000, 7, data.spec)
    assert np.array_equal(whole["price"], every)


def test_codes_by_hand():
    none = features.PADDING
    columns = {
        "user_id": np.array([3, 0, logistic.CODES + 2, 5]),
        "item_id": np.array([1, 1, 1, 2]),
        "clicked": np.array(
            [[none] * 3, [none, none, 4], [1, 2, 3], [none, 6, 6]]
        ),
        "price": np.array([0.0, 1.0, 2.0, 1e9]),
    }
    train = np.array([True, True, True, False])
    found = logistic.encode(world.SPEC, columns, train)
    assert found[:, 0].tolist() == [3, 0, 2, 5]
    assert found[:, 2].tolist() == [0, 1, 3, 2]
    # In order, and the held-out row beyond all quantiles of the others.
    assert (np.diff(found[:3, 3]) > 0).all()
    assert found[3, 3] == found[2, 3]


def test_weights_come_to_the_log_odds_of_a_code():
    rng = np.random.default_rng(0)
    code = np.repeat([0, 1], 8000)
    label = (rng.random(16_000) < np.where(code, 0.8, 0.2)).astype(float)
    weights = logistic.fit(code[:, None], label, seed=0)
    odds = np.log(0.8 / 0.2)
    assert weights[0, :2] == pytest.approx([-odds, odds], abs=0.2)
    assert not weights[0, 2:].any()
    assert logistic.logits(weights, np.array([[1], [5]]))[1] == 0
