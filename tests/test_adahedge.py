"""Weights of experts, and that they lose little whatever the losses are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from ecdctr_tf.transfer.adahedge import AdaHedge

PRIOR = [0.6, 0.3, 0.1]


def play(hedge, choose, rounds):
    """Return what the weights and each expert lost in rounds.

    Args:
      hedge: the weights.
      choose: round and weights -> losses; an adversary sees the weights.
      rounds: how many.
    """
    lost, of_experts = 0.0, np.zeros(len(hedge.prior))
    for number in range(rounds):
        weights = hedge.weights()
        losses = np.asarray(choose(number, weights), float)
        lost += weights @ losses
        of_experts += losses
        hedge.update(losses)
    return lost, of_experts


def against_the_heaviest(number, weights):
    return (np.arange(len(weights)) == np.argmax(weights)).astype(float)


def alternating(number, weights):
    return np.eye(len(weights))[number % len(weights)] * (1 + number % 2)


def leader_falls(number, weights):
    """The first expert is best for long, then the last one is."""
    place = 0 if number < 100 else len(weights) - 1
    return 1 - np.eye(len(weights))[place]


def growing(number, weights):
    """Losses whose scale is not known beforehand."""
    return against_the_heaviest(number, weights) * 1.1**number


ADVERSARIES = [against_the_heaviest, alternating, leader_falls, growing]


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("prior", [PRIOR, [0.5, 0.5]])
def test_loss_is_within_the_bound_whatever_an_adversary_does(adversary, prior):
    hedge = AdaHedge(prior)
    lost, of_experts = play(hedge, adversary, 200)
    assert (lost - of_experts <= hedge.bound() + 1e-9).all()


@given(
    numpy_strategies.arrays(
        float,
        st.tuples(st.integers(1, 40), st.just(3)),
        elements=st.floats(-100, 100),
    )
)
@settings(max_examples=200, deadline=None)
def test_loss_is_within_the_bound_of_any_losses(losses):
    hedge = AdaHedge(PRIOR)
    lost, of_experts = play(hedge, lambda i, _: losses[i], len(losses))
    assert (lost - of_experts <= hedge.bound() + 1e-6).all()
    # De Rooij et al., theorem 6: known before the rounds from their ranges.
    ranges = np.ptp(losses, axis=1)
    experts = np.log(len(PRIOR))
    known = np.sqrt((ranges**2).sum() / 4 * experts)
    known += (2 / 3 * experts + 2) * ranges.max()  # One of them to start.
    assert hedge.gap <= known + 1e-6


def test_the_bound_grows_with_the_root_of_the_rounds():
    bounds = []
    for rounds in (100, 400, 1600):
        hedge = AdaHedge([0.5, 0.5])
        play(hedge, against_the_heaviest, rounds)
        bounds.append(hedge.bound()[0])
    assert bounds[1] / bounds[0] == pytest.approx(2, rel=0.1)
    assert bounds[2] / bounds[1] == pytest.approx(2, rel=0.1)


def test_weights_start_from_the_prior_and_follow_the_best():
    hedge = AdaHedge(PRIOR)
    np.testing.assert_allclose(hedge.weights(), PRIOR)
    play(hedge, lambda *_: [1, 0, 1], 50)
    assert hedge.weights()[1] > 0.999


def test_the_first_round_moves_the_weights_little():
    hedge = AdaHedge([0.5, 0.5])
    hedge.update([1.0, 0.0])
    assert 0.5 < hedge.weights()[1] < 0.7


def test_equal_losses_change_nothing():
    hedge = AdaHedge(PRIOR)
    play(hedge, lambda *_: [3, 3, 3], 10)
    np.testing.assert_allclose(hedge.weights(), PRIOR)
    assert hedge.bound().max() == 0


def test_weights_do_not_depend_on_the_unit_of_losses():
    found = []
    for unit in (1e-6, 1, 1e6):
        hedge = AdaHedge(PRIOR)
        random = np.random.default_rng(0)
        play(hedge, lambda *_, r=random, u=unit: u * r.normal(size=3), 30)
        found.append(hedge.weights())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    np.testing.assert_allclose(found[2], found[1], rtol=1e-6)


def test_it_goes_on_from_its_state():
    whole, first = AdaHedge(PRIOR), AdaHedge(PRIOR)
    play(whole, alternating, 8)
    play(first, alternating, 4)
    second = AdaHedge(**first.state())
    play(second, alternating, 4)
    # Rounds 4 to 8 repeat the first ones but for their numbers.
    other = AdaHedge(PRIOR)
    play(other, alternating, 4)
    play(other, alternating, 4)
    assert second.state() == other.state()


@pytest.mark.parametrize(
    "prior", [[1.0], [0.5, 0.4], [1.5, -0.5], [1.0, 0.0], [[0.5, 0.5]]]
)
def test_a_prior_that_is_no_distribution_is_rejected(prior):
    with pytest.raises(ValueError, match="`prior` should be at least two"):
        AdaHedge(prior)


@pytest.mark.parametrize("losses", [[1, 2], [1, 2, np.nan], [1, 2, np.inf]])
def test_losses_that_are_no_numbers_are_rejected(losses):
    hedge = AdaHedge(PRIOR)
    with pytest.raises(ValueError, match="`losses` should be 3 finite"):
        hedge.update(losses)
    np.testing.assert_allclose(hedge.weights(), PRIOR)
