"""t-intervals over seeds, against printed tables and by simulation."""

import doctest
import math

import numpy as np
import pytest

from ecdctr_tf import metrics
from ecdctr_tf.metrics import seeds

# Of |T|, as tables of Student's t print them.
TABLE = {
    (1, 0.95): 12.706,
    (2, 0.95): 4.303,
    (3, 0.95): 3.182,
    (4, 0.95): 2.776,
    (5, 0.95): 2.571,
    (9, 0.95): 2.262,
    (30, 0.95): 2.042,
    (2, 0.99): 9.925,
    (7, 0.90): 1.895,
}


def test_doctests():
    result = doctest.testmod(seeds)
    assert (result.failed, result.attempted) == (0, 3)


@pytest.mark.parametrize(("of", "expected"), TABLE.items())
def test_quantile_is_that_of_the_tables(of, expected):
    assert seeds.quantile(*of) == pytest.approx(expected, abs=6e-4)


def test_over_seeds_by_hand():
    found = metrics.over_seeds([0.1, 0.2, 0.3])
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert found.mean == pytest.approx(0.2)
    assert found.std == pytest.approx(0.1)
    assert found.low == pytest.approx(0.2 - half, rel=1e-5)
    assert found.high == pytest.approx(0.2 + half, rel=1e-5)
    assert not found.significant
    assert metrics.over_seeds([0.19, 0.2, 0.21]).significant
    assert metrics.over_seeds([-0.19, -0.2, -0.21]).significant


def test_three_seeds_hold_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for values in rng.normal(1.0, 2.0, (4_000, 3)):
        found = metrics.over_seeds(values)
        held += found.low <= 1.0 <= found.high
    assert held / 4_000 == pytest.approx(0.95, abs=0.012)


def test_what_is_not_known_is_none():
    one = metrics.over_seeds([0.5])
    assert (one.mean, one.low, one.significant) == (0.5, None, False)
    gap = metrics.over_seeds([0.5, None])
    assert (gap.mean, gap.low, gap.undefined) == (None, None, 1)


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="one seed at least"):
        metrics.over_seeds([])
    with pytest.raises(ValueError, match=r"`level` should be in \(0, 1\)"):
        metrics.over_seeds([1.0], level=1.0)
