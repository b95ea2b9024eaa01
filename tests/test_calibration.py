"""Logits brought to the clicks of past days, and what that can cost."""

import json

import numpy as np
import pytest

from ecdctr_tf.transfer.calibration import Calibration


def rows(seed, line=(1.0, 0.0), count=20_000):
    """Return logits, clicks and weights; clicks follow a line of the logits."""
    random = np.random.default_rng(seed)
    logits = random.normal(-1.0, 1.5, count)
    scale, shift = line
    true = 1 / (1 + np.exp(-(scale * logits + shift)))
    click = (random.random(count) < true).astype(float)
    return logits, click, np.ones(count)


def test_the_first_day_is_left_as_it_is():
    assert Calibration().line() == (1.0, 0.0)
    logits = np.array([-3.0, 0.0, 2.0])
    np.testing.assert_array_equal(Calibration().apply(logits), logits)


@pytest.mark.parametrize("line", [(1.0, -0.5), (0.7, 0.3), (1.4, 0.2)])
def test_a_line_that_lasts_is_found(line):
    found = Calibration()
    for day in range(10):
        found.learn(*rows(day, line))
    np.testing.assert_allclose(found.line(), line, atol=0.08)
    calibrated, given = found.lost
    assert calibrated < given


def test_one_day_is_fitted_as_logistic_regression_with_a_prior():
    """At the optimum the gradient of loss and prior is 0."""
    logits, click, weight = rows(0, (0.8, -0.3))
    weight = np.where(click > 0, 2.0, weight)
    found = Calibration()
    found.learn(logits, click, weight)
    scale, shift = found.state()["line"]
    residual = weight * (1 / (1 + np.exp(-(scale * logits + shift))) - click)
    gradient = np.array([residual @ logits, residual.sum()])
    prior = 300.0 * np.array([scale - 1, shift])
    np.testing.assert_allclose(gradient + prior, 0, atol=1e-4)


def test_calibrated_logits_stay_calibrated():
    found = Calibration()
    for day in range(30):
        found.learn(*rows(day))
    np.testing.assert_allclose(found.line(), (1, 0), atol=0.05)


def test_days_long_ago_are_forgotten():
    found = Calibration()
    for day in range(40):
        found.learn(*rows(day, (1.0, -0.8 if day < 20 else 0.4)))
    assert found.state()["line"][1] == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_an_adversary_cannot_make_it_lose_more_than_the_bound(seed):
    """Each day's clicks are what the calibrated logits predict least."""
    random = np.random.default_rng(seed)
    found = Calibration()
    for _ in range(50):
        logits = random.normal(0, 2, 200)
        against = found.apply(logits) < logits
        found.learn(logits, against.astype(float), np.ones(200))
        calibrated, given = found.lost
        assert calibrated <= given + found.bound() + 1e-6


@pytest.mark.parametrize("click", [0.0, 1.0])
@pytest.mark.parametrize("size", [1e-3, 1.0, 16.0])
def test_days_of_one_class_leave_a_finite_line(click, size):
    found = Calibration()
    for _ in range(20):
        logits = np.linspace(-size, size, 50)
        found.learn(logits, np.full(50, click), np.ones(50))
    assert np.isfinite(found.line()).all()
    assert (found.apply(np.zeros(1)) > 0) == bool(click)


def test_no_rows_and_weights_of_0_teach_nothing():
    found = Calibration()
    found.learn(np.zeros(0), np.zeros(0), np.zeros(0))
    found.learn(np.ones(3), np.ones(3), np.zeros(3))
    assert found.line() == pytest.approx((1, 0))
    assert not found.lost.any()


def test_a_state_that_was_written_goes_on_alike():
    whole, parted = Calibration(), Calibration()
    for day in range(6):
        whole.learn(*rows(day, (0.9, -0.2)))
        parted.learn(*rows(day, (0.9, -0.2)))
        parted = Calibration.of(json.loads(json.dumps(parted.state())))
    assert whole.state() == parted.state()


def two_heads(seed, knows=0, count=5_000):
    """Return logits of two heads, of which one knows the truth, and clicks."""
    random = np.random.default_rng(seed)
    truth = random.normal(-1.0, 1.5, count)
    click = (random.random(count) < 1 / (1 + np.exp(-truth))).astype(float)
    heads = np.stack([truth, random.normal(-1.0, 1.5, count)], axis=1)
    return heads if knows == 0 else heads[:, ::-1], click, np.ones(count)


@pytest.mark.parametrize("knows", [0, 1])
def test_the_head_that_knows_more_gets_the_larger_share(knows):
    found = Calibration(heads=2)
    np.testing.assert_array_equal(found.weights(), [0.5, 0.5, 0.0])
    for day in range(10):
        found.learn(*two_heads(day, knows))
    assert found.shares()[knows] > 0.8
    assert found.shares().sum() == pytest.approx(1)
    scale, shift = found.line()
    expected = np.append(scale * found.shares(), shift)
    np.testing.assert_allclose(found.weights(), expected)


def test_heads_cannot_lose_more_than_the_bound_against_any_of_them():
    """First one head knows the truth, then the other, whose clicks turn."""
    random = np.random.default_rng(0)
    found, lost, of_heads = Calibration(heads=2), 0.0, np.zeros(2)
    for day in range(60):
        heads, click, weight = two_heads(day, knows=day // 20 % 2, count=300)
        if day % 3 == 0:
            click = (random.random(300) < 0.5).astype(float)
        both = np.column_stack([heads, heads @ found.shares()])
        losses = (np.logaddexp(0, both) - click[:, np.newaxis] * both).sum(0)
        of_heads += losses[:2]
        lost += losses[2]
        found.learn(heads, click, weight)
        assert (lost - of_heads <= found.bound_of_heads() + 1e-6).all()


def test_a_state_of_two_heads_that_was_written_goes_on_alike():
    whole, parted = Calibration(heads=2), Calibration(heads=2)
    for day in range(4):
        whole.learn(*two_heads(day))
        parted.learn(*two_heads(day))
        parted = Calibration.of(json.loads(json.dumps(parted.state())))
    assert whole.state() == parted.state()
