"""Metrics by hand and against slow loops over pairs and users."""

import doctest
import math
import time

import numpy as np
import pytest

from ecdctr_tf import metrics
from ecdctr_tf.metrics import ranking


def pairs_auc(click, score):
    won = total = 0
    for clicked, a in zip(click, score, strict=True):
        for unclicked, b in zip(click, score, strict=True):
            if clicked == 1 and unclicked == 0:
                total += 1
                won += 1.0 if a > b else 0.5 if a == b else 0.0
    return won / total


def random_rows(seed, rows, users, levels):
    rng = np.random.default_rng(seed)
    click = (rng.random(rows) < 0.3).astype(np.float32)
    score = (rng.integers(0, levels, rows) / levels).astype(np.float32)
    return click, score, rng.integers(0, users, rows, dtype=np.int32)


def test_doctests():
    assert doctest.testmod(ranking).failed == 0
    assert doctest.testmod(ranking).attempted == 4


def test_auc_by_hand():
    # clicked 0.35 beats 0.1, loses to 0.4; clicked 0.8 beats both: 3 of 4.
    assert metrics.auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert metrics.auc([1, 0], [2.0, -3.0]) == 1.0
    assert metrics.auc([1, 0], [0.0, 1.0]) == 0.0


def test_auc_ties_count_half():
    assert metrics.auc([1, 0, 0, 1], [5, 5, 5, 5]) == 0.5
    # clicked 0.5: tie with 0.5 and win over 0.2: 1.5 of 2 pairs.
    assert metrics.auc([1, 0, 0], [0.5, 0.5, 0.2]) == 0.75


@pytest.mark.parametrize("seed", range(5))
def test_auc_equals_loop_over_pairs(seed):
    click, score, _ = random_rows(seed, 150, 1, 12)
    expected = pairs_auc(click, score)
    assert metrics.auc(click, score) == pytest.approx(expected, abs=1e-12)


def test_expected_auc_by_hand():
    # pairs (i, j) that count, with p_i (1 - p_j): (0, 1) 0.5 * 0.75 is won,
    # (1, 0) 0.25 * 0.5 is lost.
    assert metrics.expected_auc([0.5, 0.25], [2, 1]) == 0.375 / 0.5
    assert metrics.expected_auc([0.5, 0.25], [1, 1]) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_expected_auc_equals_loop_over_pairs(seed):
    rng = np.random.default_rng(seed)
    p = rng.random(60)
    score = rng.integers(0, 15, 60) / 15
    won = total = 0.0
    for i in range(60):
        for j in range(60):
            if i != j:
                weight = p[i] * (1 - p[j])
                total += weight
                twice = int(score[i] > score[j]) + int(score[i] >= score[j])
                won += weight * twice
    actual = metrics.expected_auc(p, score)
    assert actual == pytest.approx(won / 2 / total, abs=1e-12)


def test_expected_auc_is_auc_where_the_truth_is_certain():
    click, score, _ = random_rows(3, 200, 1, 20)
    expected = metrics.auc(click, score)
    assert metrics.expected_auc(click, score) == pytest.approx(expected)


def test_expected_auc_is_what_clicks_come_to_on_average():
    rng = np.random.default_rng(5)
    p = rng.random(3_000) * 0.3
    score = p + 0.1 * rng.random(3_000)
    drawn = [
        metrics.auc((rng.random(3_000) < p).astype(int), score)
        for _ in range(200)
    ]
    error = np.std(drawn) / math.sqrt(200)
    actual = metrics.expected_auc(p, score)
    assert actual == pytest.approx(np.mean(drawn), abs=4 * error)


def test_remembered_clicks_do_not_raise_expected_auc():
    rng = np.random.default_rng(6)
    p = np.full(4_000, 0.2)
    click = (rng.random(4_000) < p).astype(int)
    assert metrics.auc(click, click + 0.0) == 1.0
    assert metrics.expected_auc(p, click) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("p", [[], [0.5], [0, 0], [1, 1]])
def test_expected_auc_without_pairs_raises(p):
    with pytest.raises(ValueError, match="needs two rows"):
        metrics.expected_auc(p, [0.5] * len(p))


@pytest.mark.parametrize(
    ("p", "score", "message"),
    [
        ([0.1, 1.2], [0, 1], r"in \[0, 1\]. Received: values from 0.1 to 1.2"),
        ([0.1, 0.2], [0], "as many rows as `true_ctr`"),
        ([0.1, np.nan], [0, 1], "`true_ctr` should be finite"),
        ([0.1, 0.2], [0, np.inf], "`score` should be finite"),
    ],
)
def test_expected_auc_refuses_malformed_rows(p, score, message):
    with pytest.raises(ValueError, match=message):
        metrics.expected_auc(p, score)


@pytest.mark.parametrize("click", [[0, 0], [1, 1], []])
def test_auc_of_one_class_raises(click):
    with pytest.raises(ValueError, match="with and without a click"):
        metrics.auc(click, [0.5] * len(click))


def test_gauc_weighs_by_impressions():
    # user 1: 2 rows, AUC 1; user 2: 3 rows, AUC 1/2; user 3 has no click.
    result = metrics.gauc(
        [1, 0, 0, 1, 0, 0],
        [0.9, 0.1, 0.8, 0.5, 0.2, 0.7],
        [1, 1, 2, 2, 2, 3],
    )
    assert result.value == pytest.approx((2 * 1 + 3 * 0.5) / 5)
    assert (result.groups, result.dropped_groups) == (2, 1)


@pytest.mark.parametrize("seed", range(5))
def test_gauc_equals_loop_over_users(seed):
    click, score, user = random_rows(seed, 300, 40, 6)
    total = weight = kept = 0
    for u in set(user.tolist()):
        mine = user == u
        if 0 < click[mine].sum() < mine.sum():
            total += mine.sum() * pairs_auc(click[mine], score[mine])
            weight += mine.sum()
            kept += 1
    result = metrics.gauc(click, score, user)
    assert result.value == pytest.approx(total / weight, abs=1e-12)
    assert result.groups == kept
    assert result.dropped_groups == len(set(user.tolist())) - kept


def test_gauc_of_string_groups_and_order_of_rows():
    click, score, user = random_rows(9, 200, 20, 5)
    names = np.array([f"u{u}" for u in user])
    order = np.random.default_rng(0).permutation(200)
    result = metrics.gauc(click, score, user)
    again = metrics.gauc(click[order], score[order], names[order])
    assert again.value == pytest.approx(result.value, abs=1e-12)
    assert again.groups == result.groups


def test_gauc_without_a_group_of_both_classes_is_none():
    result = metrics.gauc([1, 0], [0.5, 0.5], [1, 2])
    assert result == metrics.GaucResult(None, 0, 2)


def test_gauc_of_half_a_million_rows_is_fast():
    click, score, user = random_rows(0, 500_000, 60_000, 1 << 20)
    start = time.process_time()
    metrics.gauc(click, score, user)
    assert time.process_time() - start < 2.0


def test_log_loss_by_hand():
    expected = -(math.log(0.8) + math.log(0.9) + math.log(0.5)) / 3
    actual = metrics.log_loss([1, 0, 1], [0.8, 0.1, 0.5])
    assert actual == pytest.approx(expected)


def test_log_loss_of_a_sure_mistake_is_finite():
    expected = -math.log(1e-7)
    assert metrics.log_loss([1], [0.0]) == pytest.approx(expected)
    assert metrics.log_loss([0], [1.0]) == pytest.approx(expected)


def test_normalized_entropy_by_hand():
    # the mean click rate itself gives 1
    value = metrics.normalized_entropy([1, 0, 0, 0], [0.25] * 4)
    assert value == pytest.approx(1.0)
    # entropy of one half is log 2; the loss is -log 0.8
    value = metrics.normalized_entropy([1, 0], [0.8, 0.2])
    assert value == pytest.approx(math.log(0.8) / math.log(0.5))


def test_normalized_entropy_of_one_class_raises():
    with pytest.raises(ValueError, match="with and without a click"):
        metrics.normalized_entropy([0, 0], [0.1, 0.2])


def test_pcoc_by_hand():
    value = metrics.pcoc([1, 0, 0, 0], [0.2, 0.1, 0.3, 0.2])
    assert value == pytest.approx(0.8)


def test_pcoc_without_a_click_raises():
    with pytest.raises(ValueError, match="needs a click"):
        metrics.pcoc([0, 0], [0.1, 0.1])


def test_evaluate_by_hand():
    result = metrics.evaluate(
        [1, 0, 0], np.array([0.8, 0.2, 0.5], np.float32), [4, 4, 5]
    )
    assert result["rows"] == 3 and result["clicks"] == 1
    assert result["auc"] == 1.0 and result["gauc"] == 1.0
    assert result["gauc_users"] == 1 and result["gauc_dropped_users"] == 1
    assert result["pcoc"] == pytest.approx(1.5)
    loss = -(2 * math.log(0.8) + math.log(0.5)) / 3
    assert result["log_loss"] == pytest.approx(loss)
    entropy = -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
    assert result["normalized_entropy"] == pytest.approx(loss / entropy)


def test_evaluate_of_one_class_gives_none():
    result = metrics.evaluate([0, 0], [0.1, 0.3], [1, 1])
    undefined = {k for k, v in result.items() if v is None}
    assert undefined == {"auc", "gauc", "normalized_entropy", "pcoc"}
    assert result["gauc_dropped_users"] == 1


def test_evaluate_of_no_rows_gives_none():
    result = metrics.evaluate([], [], [])
    assert result["rows"] == 0 and result["gauc_users"] == 0
    assert result["log_loss"] is None and result["auc"] is None


@pytest.mark.parametrize(
    ("click", "ctr", "user", "message"),
    [
        ([1, 0], [0.5], [1, 1], "`ctr` should have as many rows"),
        ([1, 0], [0.5, 0.5], [1], "`group` should have as many rows"),
        ([[1, 0]], [[0.5, 0.5]], [[1, 1]], r"of shape \[N\]"),
        ([1, 2], [0.5, 0.5], [1, 1], "should be 0 or 1"),
        ([1, 0], [0.5, np.nan], [1, 1], "1 of 2 rows are NaN"),
        ([1, np.nan], [0.5, 0.5], [1, 1], "`click` should be finite"),
        ([1, 0], [-0.5, 3.0], [1, 1], "apply a sigmoid to logits"),
        ([1, 0], ["a", "b"], [1, 1], "`ctr` should be numbers"),
        ([1, 0], [0.5, 0.5], [1.0, 2.0], "integers or strings"),
    ],
)
def test_malformed_inputs_raise(click, ctr, user, message):
    with pytest.raises(ValueError, match=message):
        metrics.evaluate(click, ctr, user)


def weighted_rows(seed=0, rows=200):
    """Return click, ctr (with ties), user and whole weights, some of them 0."""
    rng = np.random.default_rng(seed)
    ctr = np.round(rng.random(rows), 1)
    click = (rng.random(rows) < 0.2 + 0.6 * ctr).astype(np.float32)
    return click, ctr, rng.integers(0, 25, rows), rng.integers(0, 4, rows)


@pytest.mark.parametrize("scale", [1, 0.3, 1e-6, 1e6])
def test_a_row_of_weight_k_counts_as_k_rows(scale):
    click, ctr, user, weight = weighted_rows()
    expected = metrics.evaluate(
        *(np.repeat(c, weight) for c in (click, ctr, user))
    )
    found = metrics.evaluate(click, ctr, user, weight * scale)
    for name in metrics.METRICS:
        assert found[name] == pytest.approx(expected[name], rel=1e-12)
    assert found["gauc_users"] == expected["gauc_users"]
    assert found["rows"] == (weight > 0).sum()
    assert found["clicks"] == click[weight > 0].sum()


def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    click, ctr, user, _ = weighted_rows()
    for kept in (click == 1, click == 0, np.zeros(len(click), bool)):
        assert metrics.evaluate(click, ctr, user, kept) == metrics.evaluate(
            click[kept], ctr[kept], user[kept]
        )
    with pytest.raises(ValueError, match="AUC needs rows with and without"):
        metrics.auc(click, ctr, click)
    with pytest.raises(ValueError, match="PCOC needs rows"):
        metrics.pcoc(click, ctr, np.zeros(len(click)))


def test_weights_of_one_change_no_bit():
    click, ctr, user, weight = weighted_rows()
    ones = np.ones(len(weight))
    assert metrics.evaluate(click, ctr, user) == metrics.evaluate(
        click, ctr, user, ones
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, -0.5], "at least 0. Received: -0.5"),
        ([1, np.nan], "should be finite"),
        ([1, np.inf], "should be finite"),
        ([1, 1, 1], "as many rows as `click`. Received: 3 and 2"),
        ([[1, 1]], "shape"),
        (["a", "b"], "should be numbers"),
    ],
)
def test_weights_are_checked(weight, message):
    with pytest.raises(ValueError, match=message):
        metrics.evaluate([0, 1], [0.1, 0.2], [1, 2], weight)


def test_the_shift_of_logits_makes_pcoc_1():
    click, ctr, _, weight = weighted_rows()
    ctr = np.clip(ctr, 0.01, 0.99)
    for weights in (None, weight):
        shift = metrics.logit_shift(click, ctr, weights)
        odds = ctr / (1 - ctr) * np.exp(shift)
        moved = odds / (1 + odds)
        assert metrics.pcoc(click, moved, weights) == pytest.approx(1)
        assert metrics.auc(click, moved) == metrics.auc(click, ctr)


def test_rows_of_one_class_shift_nothing():
    assert metrics.logit_shift([0, 0], [0.1, 0.2]) == 0
    assert metrics.logit_shift([1, 0], [0.1, 0.2], [1, 0]) == 0
    with pytest.raises(ValueError, match="The shift of logits needs rows"):
        metrics.logit_shift([], [])


def test_sure_predictions_are_shifted_too():
    shift = metrics.logit_shift([1, 0], [0.0, 0.0])
    assert shift == pytest.approx(np.log(1e7), rel=1e-6)
