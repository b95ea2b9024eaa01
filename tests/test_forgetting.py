"""Transfer and forgetting by hand and against loops over windows."""

import doctest

import numpy as np
import pytest

from ecdctr_tf import metrics
from ecdctr_tf.metrics import forgetting

NAN = np.nan
# After three windows; what was learned of window 0 is lost, of 1 partly.
MATRIX = np.array([[0.8, 0.6, 0.55], [0.7, 0.9, 0.65], [0.5, 0.85, 0.95]])
BASELINE = [0.5, 0.5, 0.6]


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
    # window 1: 0.6 - 0.5, window 2: 0.65 - 0.6
    expected = (0.1 + 0.05) / 2
    actual = metrics.forward_transfer(MATRIX, BASELINE)
    assert actual == pytest.approx(expected)


def test_forward_transfer_counts_the_window_after_the_last():
    # window 1: 0.6 - 0.5, window 2, never trained on: 0.65 - 0.6
    actual = metrics.forward_transfer(MATRIX[:2], BASELINE)
    assert actual == pytest.approx((0.1 + 0.05) / 2)


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
    baseline = rng.random(windows[1])
    last = windows[0] - 1
    assert metrics.backward_transfer(matrix) == pytest.approx(
        loop_of(matrix, lambda r, j: r[last, j] - r[j, j], range(last))
    )
    assert metrics.forward_transfer(matrix, baseline) == pytest.approx(
        loop_of(
            matrix,
            lambda r, j: r[j - 1, j] - baseline[j],
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
    baseline = [NAN, 0.5, NAN]
    actual = metrics.forward_transfer(matrix, baseline)
    assert actual == pytest.approx(0.1)


def test_nothing_measured_gives_none():
    for matrix in ([[0.5]], np.full((3, 3), NAN)):
        baseline = np.zeros(len(matrix))
        assert metrics.backward_transfer(matrix) is None
        assert metrics.forward_transfer(matrix, baseline) is None
        assert metrics.average_forgetting(matrix) is None


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([0.5, 0.6], r"shape \[I, J\].*Received: shape \(2,\)"),
        (np.zeros((3, 2)), r"Received: shape \(3, 2\)"),
        (np.zeros((0, 2)), r"Received: shape \(0, 2\)"),
        ([[0.5, 0.6], [0.5]], "all of the same length"),
        ([["a"]], "should be rows of numbers"),
        ([[0.5, np.inf], [0.5, 0.5]], "1 infinite"),
    ],
)
def test_malformed_matrices_raise(matrix, message):
    for function in (metrics.backward_transfer, metrics.average_forgetting):
        with pytest.raises(ValueError, match=message):
            function(matrix)
    with pytest.raises(ValueError, match=message):
        metrics.forward_transfer(matrix, [0.5, 0.5])


@pytest.mark.parametrize("baseline", [0.5, [0.5, 0.5], [[0.5, 0.5, 0.5]]])
def test_baseline_of_another_shape_raises(baseline):
    with pytest.raises(ValueError, match="each of the 3 columns"):
        metrics.forward_transfer(MATRIX, baseline)
