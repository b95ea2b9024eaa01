"""Transfer and forgetting by hand and against loops over windows."""

import doctest

import numpy as np
import pytest

from ecdctr_tf import metrics
from ecdctr_tf.metrics import forgetting

NAN = np.nan
# After three windows; what was learned of window 0 is lost, of 1 partly.
MATRIX = np.array([[0.8, 0.6, 0.55], [0.7, 0.9, 0.65], [0.5, 0.85, 0.95]])
BASELINE = 0.5


def loop_of(matrix, term, columns):
    terms = [term(matrix, j) for j in columns]
    return np.mean([t for t in terms if not np.isnan(t)])


def test_doctests():
    result = doctest.testmod(forgetting)
    assert (result.failed, result.attempted) == (0, 3)


def test_backward_transfer_by_hand():
    # window 0: 0.5 - 0.8, window 1: 0.85 - 0.9
    expected = (-0.3 - 0.05) / 2
    assert metrics.backward_transfer(MATRIX) == pytest.approx(expected)


def test_forward_transfer_by_hand():
    # window 1: 0.6 - 0.5, window 2: 0.65 - 0.5
    expected = (0.1 + 0.15) / 2
    actual = metrics.forward_transfer(MATRIX, BASELINE)
    assert actual == pytest.approx(expected)


def test_forward_transfer_counts_the_window_after_the_last():
    # window 1: 0.6 - 0.5, window 2, never trained on: 0.65 - 0.5
    actual = metrics.forward_transfer(MATRIX[:2], BASELINE)
    assert actual == pytest.approx((0.1 + 0.15) / 2)


def test_forgetting_by_hand():
    # window 0: 0.8 - 0.5, window 1: 0.9 - 0.85
    assert metrics.average_forgetting(MATRIX) == pytest.approx((0.3 + 0.05) / 2)


def test_forgetting_is_from_the_best_and_not_from_the_diagonal():
    matrix = [[0.6, NAN, NAN], [0.9, 0.7, NAN], [0.8, 0.7, 0.7]]
    assert metrics.average_forgetting(matrix) == pytest.approx((0.1 + 0) / 2)
    assert metrics.backward_transfer(matrix) == pytest.approx((0.2 + 0) / 2)


@pytest.mark.parametrize("windows", [(5, 5), (4, 7)])
def test_equal_loops_over_windows_with_gaps(windows):
    rng = np.random.default_rng(3)
    matrix = rng.random(windows)
    matrix[rng.random(windows) < 0.2] = NAN
    baseline = rng.random()
    last = windows[0] - 1
    assert metrics.backward_transfer(matrix) == pytest.approx(
        loop_of(matrix, lambda r, j: r[last, j] - r[j, j], range(last))
    )
    assert metrics.forward_transfer(matrix, baseline) == pytest.approx(
        loop_of(
            matrix,
            lambda r, j: r[j - 1, j] - baseline,
            range(1, min(windows[0], windows[1] - 1) + 1),
        )
    )
    assert metrics.average_forgetting(matrix) == pytest.approx(
        loop_of(
            matrix,
            lambda r, j: np.nanmax(r[: last + 1, j]) - r[last, j],
            range(last),
        )
    )


def test_terms_not_measured_are_left_out():
    matrix = MATRIX.copy()
    matrix[2, 0] = NAN
    assert metrics.backward_transfer(matrix) == pytest.approx(-0.05)
    assert metrics.average_forgetting(matrix) == pytest.approx(0.05)
    matrix[1, 2] = NAN
    assert metrics.forward_transfer(matrix, 0.5) == pytest.approx(0.1)


def test_nothing_measured_gives_nan():
    for matrix in ([[0.5]], np.full((3, 3), NAN)):
        assert np.isnan(metrics.backward_transfer(matrix))
        assert np.isnan(metrics.forward_transfer(matrix, 0.5))
        assert np.isnan(metrics.average_forgetting(matrix))


def test_many_matrices_at_once():
    matrices = np.random.default_rng(0).random((2, 4, 5, 5))
    for measure in (
        metrics.backward_transfer,
        metrics.average_forgetting,
        lambda matrix: metrics.forward_transfer(matrix, 0.5),
    ):
        found = measure(matrices)
        assert found.shape == (2, 4)
        assert found[1, 2] == pytest.approx(float(measure(matrices[1, 2])))
