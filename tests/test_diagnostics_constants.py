"""Features that do not vary within a day."""

import numpy as np
import pytest

from ecdctr_tf.diagnostics import daily_constants, verdicts
from tests import diagnostics_world as world


def made(path, prices: dict[str, np.ndarray]):
    """Return a data directory without rows but for these natural prices."""
    data = world.make(path, world.ALL, world.ALL, days=([], []))
    rng = np.random.default_rng(0)
    for day, price in prices.items():
        rows = world.columns(day, rng=rng, count=len(price), **world.ALL)
        rows["price"] = price.astype(np.float32)
        data.write_day("natural", day, [rows], {"user": 61, "item": 41})
    return data


def days(*prices):
    return {f"2024-01-0{i}": p for i, p in enumerate(prices, start=1)}


def test_one_value_a_day_is_found(tmp_path):
    data = made(tmp_path / "data", days(np.full(50, 1.0), np.full(50, 2.0)))
    assert daily_constants.measure(data) == ["price"]
    assert daily_constants.measure(data, exclude=("price",)) == []


@pytest.mark.parametrize(
    "prices",
    [
        # One row differs; of one row nothing can be said; the same always.
        (np.full(50, 1.0), np.r_[np.full(49, 2.0), 3.0]),
        (np.full(50, 1.0), np.arange(50.0), np.full(1, 2.0)),
        (np.full(50, 1.0), np.full(50, 1.0)),
    ],
)
def test_others_are_not(tmp_path, prices):
    assert daily_constants.measure(made(tmp_path / "data", days(*prices))) == []


def test_one_day_says_nothing(tmp_path):
    data = made(tmp_path / "data", days(np.full(50, 1.0), np.full(1, 1.0)))
    assert daily_constants.measure(data) is None


@pytest.mark.parametrize(
    ("constants", "level"),
    [([], "good"), (["hour", "weekday"], "watch"), (None, "not measured")],
)
def test_levels(constants, level):
    found = verdicts._features(constants)
    assert found.level == level
    told = "model.exclude=hour,weekday" in found.meaning
    assert told == bool(constants)
