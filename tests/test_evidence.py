"""How much of a change is taken: follows what was best, at no great cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecdctr_tf.transfer.evidence import _DECAY, BUDGET, CANDIDATES, Evidence

PLAIN = 0


def play(days):
    """Return the choices of days `[T, C]`, and the evidence after them."""
    found, choices = Evidence(), []
    for losses in days:
        choices.append(found.chosen)
        found = found.after(losses)
    return choices, found


def test_all_is_taken_without_evidence_and_where_nothing_is_better():
    assert CANDIDATES[PLAIN].tables == CANDIDATES[PLAIN].dense == 1
    choices, _ = play([[0.5] * len(CANDIDATES)] * 5)
    assert choices == [PLAIN] * 5


@pytest.mark.parametrize("best", range(len(CANDIDATES)))
def test_the_best_is_followed_from_the_second_change_on(best):
    losses = [0.5 - 0.01 * (i == best) for i in range(len(CANDIDATES))]
    choices, found = play([losses] * 6)
    assert choices == [PLAIN] + [best] * 5
    assert found.strength == CANDIDATES[best]
    assert found.cost <= 0


def test_it_changes_its_mind():
    first = [0.5, 0.4, 0.6]
    then = [0.5, 0.502, 0.498]
    choices, _ = play([first] * 5 + [then] * 60)
    assert choices[4] == 1
    assert choices[-1] == 2


def adversary(found):
    """Whatever is chosen is bad today; what is not chosen looks good."""
    losses = np.full(len(CANDIDATES), 0.4)
    losses[found.chosen] = 0.5
    return losses


def test_an_adversary_costs_no_more_than_its_worst_day():
    found, worst = Evidence(), 0.0
    for _ in range(500):
        losses = adversary(found)
        worst = max(worst, losses[found.chosen] - losses[PLAIN])
        found = found.after(losses)
        assert found.cost <= BUDGET + worst + 1e-12


@given(
    st.lists(
        st.lists(
            st.floats(0, 20), min_size=len(CANDIDATES), max_size=len(CANDIDATES)
        ),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=300, deadline=None)
def test_any_days_cost_no_more_than_their_worst(days):
    """The discounted cost against the plain choice, recomputed from scratch."""
    choices, found = play(days)
    costs = [of[c] - of[PLAIN] for of, c in zip(days, choices, strict=True)]
    total = sum(
        cost * _DECAY ** (len(days) - 1 - i) for i, cost in enumerate(costs)
    )
    assert found.cost == pytest.approx(total, abs=1e-9)
    worst = max(max(of) - of[PLAIN] for of in days)
    assert total <= BUDGET + max(worst, 0) + 1e-9


def test_it_is_kept_as_json():
    _, found = play([[0.5, 0.4, 0.6], [0.3, 0.4, 0.2]])
    assert Evidence.from_dict(found.to_dict()) == found
    assert Evidence.from_dict(None) == Evidence()


@pytest.mark.parametrize("losses", [[1.0], [1.0, np.nan, 1.0]])
def test_losses_that_are_no_numbers_are_rejected(losses):
    with pytest.raises(ValueError, match="`losses` should be 3 finite"):
        Evidence().after(losses)
