"""Features that do not vary within a day, or in one of the domains."""

import numpy as np
import pytest

from ecdctr_tf.diagnostics import daily_constants, one_domain, verdicts
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
        (np.full(50, np.nan), np.full(50, np.nan)),
        (np.full(50, 1.0), np.r_[np.full(49, 2.0), np.nan]),
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


@pytest.mark.parametrize(
    ("natural", "ads", "only"),
    [
        ([1, 2], [1, 2], {"natural": [], "ads": []}),
        ([1, np.nan], [1, np.nan], {"natural": [], "ads": []}),
        ([7, 7], [7, 7], {"natural": [], "ads": []}),
        ([np.nan, np.nan], [1, 2], {"natural": [], "ads": ["price"]}),
        ([0, 0], [1, 2], {"natural": [], "ads": ["price"]}),
        ([0, 0], [1, np.nan], {"natural": [], "ads": ["price"]}),
        ([1, 2], [np.nan, np.nan], {"natural": ["price"], "ads": []}),
    ],
)
def test_what_varies_in_one_domain_only(tmp_path, natural, ads, only):
    data = world.make(tmp_path / "data", world.ALL, world.ALL, days=([], []))
    rng = np.random.default_rng(0)
    for domain, price in (("natural", natural), ("ads", ads)):
        rows = world.columns("2024-01-01", rng=rng, count=50, **world.ALL)
        rows["price"] = np.resize(price, 50).astype(np.float32)
        data.write_day(domain, "2024-01-01", [rows], {"user": 61, "item": 41})
    assert one_domain.measure(data) == only
    verdict = verdicts._one_domain(only)
    named = [name for names in only.values() for name in names]
    assert verdict.level == ("watch" if named else "good")
    assert ("price" in verdict.finding) == bool(named)


def test_commands_name_what_to_leave_out():
    found = verdicts._one_domain({"natural": ["a", "b"], "ads": ["bid"]})
    assert found.finding == (
        "varying in ads only: bid; varying in natural logs only: a, b"
    )
    assert found.meaning.endswith("--set model.exclude=a,b.")


def test_one_domain_alone_says_nothing(tmp_path):
    data = made(tmp_path / "data", days(np.arange(50.0)))
    assert one_domain.measure(data) is None
    assert verdicts._one_domain(None).level == "not measured"
