"""Runs of lost days and lost slices, by hand."""

import itertools

import pytest

from ecdctr_tf.results import alarm as alarm_lib

BASE = {"auc": 0.7, "log_loss": 0.4}


def make_days(auc=(), log_loss=(), start=1):
    """Return days of ads-only and of E-CDCTR, so much better or worse."""
    count = max(len(auc), len(log_loss))
    pairs = itertools.zip_longest(auc, log_loss, fillvalue=0.0)
    return {
        f"2024-03-{start + i:02d}": {
            "ads_only": BASE,
            "e_cdctr": {
                "auc": None if a is None else 0.7 + a,
                "log_loss": 0.4 + b,
            },
        }
        for i, (a, b) in zip(range(count), pairs, strict=True)
    }


def make_slice(auc=0.0, log_loss=0.0, clicks=400, half=0.01):
    """Return a slice; its intervals are `half` to each side."""
    apart = {
        metric: {
            "mean": value,
            "low": value - half,
            "high": value + half,
            "significant": abs(value) > half,
        }
        for metric, value in (("auc", auc), ("log_loss", log_loss))
    }
    pair = {"e_cdctr - ads_only": apart}
    return {"clicks": clicks, "differences": pair}


def test_a_model_that_wins_everywhere_raises_no_alarm():
    found = alarm_lib.alarm(
        make_days([0.1] * 9, [-0.01] * 9), {"all": make_slice(0.1, -0.01)}
    )
    assert found["level"] == "good"
    assert found["runs"] == found["slices"] == []
    assert found["days"]["auc"] == {"compared": 9, "lost": 0}


def test_a_tie_is_no_loss():
    found = alarm_lib.alarm(make_days([0.0] * 5), {"all": make_slice()})
    assert found["level"] == "good"


def test_runs_are_days_in_a_row():
    auc = [-0.02, -0.01, 0.1, -0.01, -0.02, -0.03, 0.1]
    found = alarm_lib.alarm(make_days(auc), {})
    (run,) = found["runs"]
    assert (run["first"], run["last"]) == ("2024-03-04", "2024-03-06")
    assert run["metric"] == "auc" and run["days"] == 3
    assert run["lost_by"] == pytest.approx(0.02)
    assert found["days"]["auc"] == {"compared": 7, "lost": 5}
    # Of seven fair coins, a run of three is likely.
    assert run["level"] == found["level"] == "watch"


def test_a_run_longer_than_chance_is_an_alarm():
    found = alarm_lib.alarm(make_days([], [0.01] * 6 + [-0.01] * 2), {})
    (run,) = found["runs"]
    assert run["metric"] == "log_loss" and run["level"] == "alarm"
    assert found["level"] == "alarm"


def test_days_in_any_order_are_sorted():
    days = make_days([-0.1, -0.1, -0.1, 0.1])
    turned = dict(reversed(days.items()))
    assert alarm_lib.alarm(turned, {}) == alarm_lib.alarm(days, {})


def test_a_day_without_the_metric_ends_a_run():
    found = alarm_lib.alarm(make_days([-0.1, -0.1, None, -0.1, -0.1]), {})
    assert found["runs"] == []
    assert found["days"]["auc"] == {"compared": 4, "lost": 4}


def test_a_model_that_is_missing_loses_nothing():
    days = {day: {"ads_only": BASE} for day in make_days([0.0] * 4)}
    found = alarm_lib.alarm(days, {"all": {**make_slice(), "differences": {}}})
    assert found["level"] == "good"
    assert found["days"]["auc"] == {"compared": 0, "lost": 0}


def test_slices_lose_within_the_noise_or_beyond():
    slices = {
        "little": make_slice(auc=-0.001),
        "much": make_slice(auc=-0.2),
        "costly": make_slice(log_loss=0.2),
        "small": make_slice(auc=-0.2, clicks=99),
        "won": make_slice(auc=0.2, log_loss=-0.2),
    }
    found = alarm_lib.alarm({}, slices)["slices"]
    levels = {(s["slice"], s["metric"]): s["level"] for s in found}
    assert levels == {
        ("little", "auc"): "watch",
        ("much", "auc"): "alarm",
        ("costly", "log_loss"): "alarm",
    }
    (costly,) = (s for s in found if s["slice"] == "costly")
    assert costly["lost_by"] == pytest.approx(0.2)
    assert (costly["low"], costly["high"]) == pytest.approx((0.19, 0.21))
    (much,) = (s for s in found if s["slice"] == "much")
    assert (much["low"], much["high"]) == pytest.approx((0.19, 0.21))
    slices["small"]["clicks"] = 100
    assert len(alarm_lib.alarm({}, slices)["slices"]) == 4


@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("days", [0, 1, 4, 9])
def test_chance_of_run_equals_all_throws(length, days):
    throws = list(itertools.product("HT", repeat=days))
    found = sum("T" * length in "".join(throw) for throw in throws)
    expected = found / len(throws)
    assert alarm_lib.chance_of_run(length, days) == pytest.approx(expected)
