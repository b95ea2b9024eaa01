"""Bootstrap intervals against brute force, and how often they cover."""

import dataclasses
import json

import numpy as np
import pytest

from ecdctr_tf import metrics
from ecdctr_tf.metrics import bootstrap, weighted

SEEDS = {"good": 3, "poor": 3, "single": 1}


def make_day(seed, rows=120, users=30, levels=8, models=SEEDS, first_user=0):
    """Return rows whose scores tie often; single users hold many of them."""
    rng = np.random.default_rng(seed)
    user = first_user + (rng.random(rows) ** 2 * users).astype(np.int32)
    truth = 1 / (1 + np.exp(-rng.normal(size=rows)))
    click = (rng.random(rows) < truth).astype(np.float32)
    ctr = {}
    for i, (model, count) in enumerate(models.items()):
        noisy = truth + rng.normal(size=(count, rows)) * 0.2 * (i + 1)
        rounded = np.round(np.clip(noisy, 0, 1) * levels) / levels
        ctr[model] = list(rounded.astype(np.float32))
    return metrics.ScoredRows(click, user, ctr)


def repeated(day, weights):
    """Return the rows of users as often as `weights[user]` says.

    Copies of a user are users of their own, as draws with replacement are.
    """
    parts = []
    for user, times in enumerate(weights):
        mine = np.flatnonzero(day.user == user)
        parts += [(mine, f"{user} {copy}") for copy in range(times)]
    rows = np.concatenate([mine for mine, _ in parts]).astype(int)
    names = np.repeat([n for _, n in parts], [len(m) for m, _ in parts])
    return rows, names


def brute_force(day, weights):
    """Return the metrics of repeated rows, `[M, L]`, NaN for None."""
    rows, names = repeated(day, weights)
    lines = [line for seeds in day.ctr.values() for line in seeds]
    columns = []
    for line in lines:
        found = metrics.evaluate(day.click[rows], line[rows], names)
        columns.append([found[metric] for metric in metrics.METRICS])
    return np.array(columns, np.float64).T


def values_of(estimates, field):
    return [getattr(estimates[m], field) for m in metrics.METRICS]


def scorer_of(day, users):
    return weighted.Scorer(day, day.user), np.ones((1, users), np.int32)


@pytest.mark.parametrize("levels", [3, 1 << 20])
def test_weights_of_one_give_what_evaluate_does(levels):
    day = make_day(0, levels=levels)
    scorer, ones = scorer_of(day, 30)
    lines = [line for seeds in day.ctr.values() for line in seeds]
    for i, line in enumerate(lines):
        expected = metrics.evaluate(day.click, line, day.user)
        np.testing.assert_allclose(
            scorer(ones)[:, 0, i],
            [expected[metric] for metric in metrics.METRICS],
            rtol=1e-12,
        )


@pytest.mark.parametrize("levels", [3, 1 << 20])
def test_weights_equal_rows_repeated(levels):
    day = make_day(1, levels=levels)
    weights = np.random.default_rng(2).integers(0, 4, (5, 30), dtype=np.int32)
    actual = scorer_of(day, 30)[0](weights)  # [M, R, L]
    for i, row in enumerate(weights):
        np.testing.assert_allclose(
            actual[:, i], brute_force(day, row), rtol=1e-12
        )


@pytest.mark.parametrize(
    ("weight", "lanes"), [(1, 4), (500, 2), (20_000_000, 1)]
)
def test_large_weights_do_not_run_into_each_other(weight, lanes):
    day = make_day(1)
    weights = np.random.default_rng(2).integers(0, 4, (5, 30), dtype=np.int32)
    largest = 2 * int((weights[:, day.user].sum(axis=1) * weight).max())
    assert weighted._lanes(weights, largest).shape[2] == lanes
    scorer = scorer_of(day, 30)[0]
    np.testing.assert_allclose(
        scorer(weights * weight), scorer(weights), rtol=1e-12
    )


def test_days_of_one_class_are_undefined():
    day = metrics.ScoredRows([0, 0, 1], [0, 0, 1], {"m": [[0.1, 0.2, 0.9]]})
    values = scorer_of(day, 2)[0](np.array([[1, 0], [0, 1], [0, 0]], np.int32))
    undefined = np.isnan(values[:, :, 0]).tolist()
    # auc, gauc, log loss, normalized entropy, pcoc
    assert [row[0] for row in undefined] == [True, True, False, True, True]
    assert [row[1] for row in undefined] == [True, True, False, True, False]
    assert [row[2] for row in undefined] == [True] * 5


def test_means_are_over_seeds_of_means_over_days():
    days = [make_day(seed) for seed in range(3)]
    result = metrics.intervals(days, replicates=2)
    for model, count in SEEDS.items():
        seeds = []
        for k in range(count):
            found = [
                metrics.evaluate(d.click, d.ctr[model][k], d.user) for d in days
            ]
            seeds.append(
                [np.mean([f[m] for f in found]) for m in metrics.METRICS]
            )
        actual = result.models[model]
        assert values_of(actual, "mean") == pytest.approx(np.mean(seeds, 0))
        if count == 1:
            assert values_of(actual, "std") == [None] * 5
        else:
            expected = np.std(seeds, 0, ddof=1)
            assert values_of(actual, "std") == pytest.approx(expected)


def test_pooled_is_of_all_rows_together():
    days = [make_day(seed) for seed in range(3)]
    result = metrics.intervals(days, replicates=2, pooled=True)
    found = metrics.evaluate(
        np.concatenate([day.click for day in days]),
        np.concatenate([day.ctr["single"][0] for day in days]),
        np.concatenate([day.user for day in days]),
    )
    expected = [found[metric] for metric in metrics.METRICS]
    actual = values_of(result.models["single"], "mean")
    assert actual == pytest.approx(expected, rel=1e-12)
    apart = metrics.intervals(days, replicates=2).models["single"]["auc"]
    assert apart.mean != pytest.approx(expected[0], rel=1e-6)


def test_a_day_without_the_metric_is_left_out_of_the_mean():
    day = make_day(0)
    silent = metrics.ScoredRows(np.zeros(120), day.user, day.ctr)
    empty = metrics.ScoredRows([], [], {m: [[]] * k for m, k in SEEDS.items()})
    alone = metrics.intervals([day], replicates=20)
    result = metrics.intervals([silent, day, empty], replicates=20)
    for metric in ("auc", "gauc", "normalized_entropy", "pcoc"):
        expected = dataclasses.asdict(alone.models["good"][metric])
        actual = dataclasses.asdict(result.models["good"][metric])
        assert actual == pytest.approx(expected)
    losses = [
        metrics.log_loss(d.click, d.ctr["single"][0]) for d in (silent, day)
    ]
    actual = result.models["single"]["log_loss"].mean
    assert actual == pytest.approx(np.mean(losses))
    metrics.intervals([silent, day, empty], replicates=2, pooled=True)


def test_metrics_that_no_day_has_are_none():
    day = metrics.ScoredRows([0, 0], [1, 2], {"a": [[0.1, 0.3]]})
    result = metrics.intervals([day], [("a", "a")], replicates=4)
    none = {"mean": None, "std": None, "low": None, "high": None}
    assert dataclasses.asdict(result.models["a"]["auc"]) == {
        **none,
        "undefined": 4,
    }
    difference = result.differences["a - a"]["auc"]
    assert difference.mean is None and difference.significant is False
    assert result.models["a"]["log_loss"].undefined == 0


def test_replicates_that_draw_no_click_are_counted():
    # One of two users has the only click: a quarter draws the other twice.
    day = metrics.ScoredRows([0, 0, 1], [1, 1, 2], {"m": [[0.1, 0.2, 0.9]]})
    pcoc = metrics.intervals([day], replicates=2000).models["m"]["pcoc"]
    assert 400 < pcoc.undefined < 600
    assert pcoc.low == pytest.approx(0.9)


def test_interval_is_of_the_quantiles_of_brute_force_replicates():
    days = [make_day(3), make_day(4)]
    replicates, seed = 150, 7
    rng = np.random.default_rng([seed, 0])
    drawn = bootstrap._draw_seeds(3, replicates, seed)
    assert drawn.shape == (replicates, 2)
    good, apart = [], []
    for seeds in drawn:
        users = np.unique(np.concatenate([day.user for day in days]))
        weights = np.zeros(30, int)
        for user in rng.integers(0, len(users), len(users)):
            weights[users[user]] += 1
        lines = np.mean([brute_force(day, weights) for day in days], 0)
        good.append(lines[:, seeds].mean(1))
        apart.append(good[-1] - lines[:, 3 + seeds].mean(1))
    result = metrics.intervals(
        days, [("good", "poor")], replicates=replicates, level=0.9, seed=seed
    )
    for actual, values in (
        (result.models["good"], good),
        (result.differences["good - poor"], apart),
    ):
        low, high = np.quantile(values, [0.05, 0.95], axis=0)
        assert values_of(actual, "low") == pytest.approx(low, rel=1e-9)
        assert values_of(actual, "high") == pytest.approx(high, rel=1e-9)


def test_parts_of_replicates_do_not_matter(monkeypatch):
    days = [make_day(0), make_day(1)]
    whole = metrics.intervals(days, replicates=30)
    monkeypatch.setattr(bootstrap, "_CELLS", 1000)
    parts = metrics.intervals(days, replicates=30)
    for model in SEEDS:
        for field in ("mean", "low", "high", "undefined"):
            actual = values_of(parts.models[model], field)
            expected = values_of(whole.models[model], field)
            assert actual == pytest.approx(expected, rel=1e-12)


def test_seed_decides_the_draws():
    days = [make_day(0), make_day(1)]
    first = metrics.intervals(days, [("good", "single")], replicates=50, seed=3)
    again = metrics.intervals(days, [("good", "single")], replicates=50, seed=3)
    other = metrics.intervals(days, [("good", "single")], replicates=50, seed=4)
    assert first == again
    assert first != other
    assert first.models["good"]["auc"].mean == other.models["good"]["auc"].mean
    json.dumps(dataclasses.asdict(first), allow_nan=False)


def test_equal_models_do_not_differ():
    day = make_day(0, rows=400)
    ctr = {"filler": day.ctr["poor"], "a": day.ctr["good"]}
    day = metrics.ScoredRows(day.click, day.user, ctr | {"b": day.ctr["good"]})
    result = metrics.intervals([day], [("a", "b")], replicates=200)
    for difference in result.differences["a - b"].values():
        assert difference.mean == pytest.approx(0, abs=1e-12)
        assert difference.low == pytest.approx(0, abs=1e-12)
        assert not difference.significant


def test_a_difference_of_rounding_is_not_significant():
    first, drawn = np.full((5, 2), 0.7), np.full((5, 10), 0.7)
    for shift, expected in ((1e-15, False), (-1e-15, False), (1e-6, True)):
        found = bootstrap._differences(
            (first + shift, drawn + shift), (first, drawn), 0.95
        )
        assert [d.significant for d in found.values()] == [expected] * 5


def test_a_small_but_steady_difference_is_significant():
    # b is a with a quarter of its scores blurred: apart by less than either
    # model's interval is wide, but by about as much whichever users are drawn.
    rng = np.random.default_rng(0)
    rows = 4000
    truth = 1 / (1 + np.exp(-rng.normal(size=rows)))
    click = rng.random(rows) < truth
    blurred = np.where(rng.random(rows) < 0.25, rng.random(rows), truth)
    user = rng.integers(0, 400, rows)
    day = metrics.ScoredRows(click, user, {"a": [truth], "b": [blurred]})
    result = metrics.intervals([day], [("a", "b"), ("b", "a")], replicates=300)
    a, b = result.models["a"]["log_loss"], result.models["b"]["log_loss"]
    better = result.differences["b - a"]["log_loss"]
    worse = result.differences["a - b"]["log_loss"]
    assert better.significant and better.low > 0
    assert worse.significant and worse.high < 0
    assert worse.low == pytest.approx(-better.high)
    # what pairing gains: unpaired, the variances would add up
    unpaired = np.hypot(a.high - a.low, b.high - b.low)
    assert better.high - better.low < 0.8 * unpaired


def test_seeds_that_are_compared_are_drawn_together():
    # b is a with other numbers, seed by seed: the difference has no seed noise.
    rng = np.random.default_rng(1)
    click, user = rng.random(500) < 0.4, np.arange(500)
    a = [np.full(500, rate) for rate in (0.2, 0.4, 0.6)]
    day = metrics.ScoredRows(click, user, {"a": a, "b": [s + 0.1 for s in a]})
    result = metrics.intervals([day], [("b", "a")], replicates=200)
    difference = result.differences["b - a"]["pcoc"]
    model = result.models["a"]["pcoc"]
    assert difference.mean == pytest.approx(0.1 / click.mean())
    assert difference.high - difference.low < 0.1
    assert model.high - model.low > 0.5
    assert difference.std == pytest.approx(0, abs=1e-12)


def test_difference_of_unlike_numbers_of_seeds_has_no_std():
    result = metrics.intervals(
        [make_day(0)], [("good", "single")], replicates=20
    )
    difference = result.differences["good - single"]["auc"]
    means = [result.models[m]["auc"].mean for m in ("good", "single")]
    assert difference.mean == pytest.approx(means[0] - means[1])
    assert difference.std is None
    assert difference.low < difference.high


def covered(clustered, worlds=200):
    """Return how often the interval of PCOC has the truth, which is 1.

    Each user has a click rate of their own, unknown to the model, which says
    the mean rate of all: rows of a user go astray together.
    """
    rng = np.random.default_rng(5)
    hits = 0
    for world in range(worlds):
        user = np.repeat(np.arange(150), 8)
        click = rng.random(1200) < rng.choice([0.05, 0.55], 150)[user]
        drawn_by = user if clustered else np.arange(1200)
        day = metrics.ScoredRows(click, drawn_by, {"m": [np.full(1200, 0.3)]})
        found = metrics.intervals([day], replicates=200, seed=world)
        pcoc = found.models["m"]["pcoc"]
        hits += pcoc.low <= 1 <= pcoc.high
    return hits / worlds


def test_interval_over_users_covers_the_truth():
    assert 0.90 <= covered(clustered=True) <= 0.985


def test_interval_over_rows_would_not():
    assert covered(clustered=False, worlds=100) < 0.85


def seed_noise_covered(seeds, worlds=200):
    """Return how often the interval has the mean over all seeds there are."""
    rng = np.random.default_rng(6)
    hits = 0
    for world in range(worlds):
        click = rng.random(600) < 0.3
        shift = rng.normal(size=5) * 0.03
        ctr = [np.full(600, 0.3 + s) for s in shift[:seeds]]
        day = metrics.ScoredRows(click, np.arange(600) // 4, {"m": ctr})
        found = metrics.intervals([day], replicates=200, seed=world)
        pcoc = found.models["m"]["pcoc"]
        hits += pcoc.low <= 1 <= pcoc.high
    return hits / worlds


def test_interval_has_seed_noise_in_it():
    assert seed_noise_covered(seeds=5) > 0.86
    # One seed shows nothing of what other seeds would give.
    assert seed_noise_covered(seeds=1) < 0.80


def test_a_model_by_chance_is_seldom_significant():
    rng = np.random.default_rng(8)
    significant = 0
    for world in range(200):
        click = rng.random(600) < 0.3
        user = rng.integers(0, 100, 600)
        ctr = {"a": [rng.random(600)], "b": [rng.random(600)]}
        day = metrics.ScoredRows(click, user, ctr)
        found = metrics.intervals(
            [day], [("a", "b")], replicates=200, seed=world
        )
        significant += found.differences["a - b"]["auc"].significant
    assert 2 <= significant <= 22  # 5 % of 200 are 10


@pytest.mark.parametrize(
    ("click", "user", "ctr", "message"),
    [
        ([1, 0], [1, 1], {"m": [[0.5]]}, "`ctr` should have as many rows"),
        ([1, 0], [1], {"m": [[0.5, 0.5]]}, "`group` should have as many rows"),
        ([1, 2], [1, 1], {"m": [[0.5, 0.5]]}, "should be 0 or 1"),
        ([1, 0], [1, 1], {"m": [[0.5, 3.0]]}, "apply a sigmoid to logits"),
        ([1, 0], [1, 1], {"m": [[0.5, np.nan]]}, "1 of 2 rows are NaN"),
        ([1, 0], [1, 1], {"m": []}, "Received: none of m"),
        ([1, 0], [1, 1], {}, "Received: none of any model"),
    ],
)
def test_malformed_rows_raise(click, user, ctr, message):
    with pytest.raises(ValueError, match=message):
        metrics.ScoredRows(click, user, ctr)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicates": 0}, "`replicates` should be at least 1. Received: 0"),
        ({"level": 1}, r"`level` should be in \(0, 1\). Received: 1"),
        ({"seed": -1}, "`seed` should be at least 0. Received: -1"),
        ({"pairs": [("good", "best")]}, "good, poor, single.*'best'"),
    ],
)
def test_malformed_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        metrics.intervals([make_day(0)], **options)


def test_days_of_other_models_or_none_raise():
    with pytest.raises(ValueError, match="same models and numbers of seeds"):
        metrics.intervals([make_day(0), make_day(1, models={"good": 3})])
    with pytest.raises(ValueError, match="`days` should hold rows"):
        metrics.intervals([])
    with pytest.raises(ValueError, match="`days` should hold rows"):
        metrics.intervals([metrics.ScoredRows([], [], {"m": [[]]})])


def test_a_row_of_the_table_is_all_that_a_new_metric_needs(monkeypatch):
    brier = metrics.Metric(
        "brier",
        "Brier score",
        better=-1,
        needs=lambda rows, clicks: rows > 0,
        value=lambda click, ctr, user, weight: float(
            np.average((click - ctr) ** 2, weights=weight)
        ),
        weighted=lambda sums: sums.own / sums.rows,
        by_user=lambda click, ctr, user, weight: np.bincount(
            user, weight * (click - ctr) ** 2
        ),
    )
    monkeypatch.setitem(metrics.METRICS, "brier", brier)
    day = make_day(0)
    weights = np.random.default_rng(2).integers(0, 4, (5, 30), dtype=np.int32)
    actual = scorer_of(day, 30)[0](weights)
    for i, row in enumerate(weights):
        np.testing.assert_allclose(actual[:, i], brute_force(day, row))
    found = metrics.intervals([day], [("good", "poor")], replicates=50)
    of = found.differences["good - poor"]["brier"]
    assert of.low <= of.mean < 0


@pytest.mark.parametrize("scale", [1, 0.7, 1e5])
def test_rows_of_weight_k_have_the_intervals_of_k_rows(scale):
    day = make_day(4)
    weight = np.random.default_rng(5).integers(0, 4, len(day.click))
    many = metrics.ScoredRows(
        np.repeat(day.click, weight),
        np.repeat(day.user, weight),
        {m: [np.repeat(s, weight) for s in of] for m, of in day.ctr.items()},
    )
    heavy = metrics.ScoredRows(day.click, day.user, day.ctr, weight * scale)
    drawn = np.random.default_rng(6).integers(0, 4, (7, 30), dtype=np.int32)
    np.testing.assert_allclose(
        scorer_of(heavy, 30)[0](drawn),
        scorer_of(many, 30)[0](drawn),
        rtol=1e-9,
    )
    options = {"pairs": [("good", "poor")], "pooled": True, "replicates": 30}
    found, expected = (
        metrics.intervals([of, of], **options) for of in (heavy, many)
    )
    for model in SEEDS:
        for field in ("mean", "low", "high"):
            assert values_of(found.models[model], field) == pytest.approx(
                values_of(expected.models[model], field)
            )


def test_estimate_is_what_intervals_has_of_a_metric():
    day = make_day(3)
    expected = metrics.intervals([day], [("good", "poor")], replicates=40)
    users, number = np.unique(day.user, return_inverse=True)
    scorer, ones = weighted.Scorer(day, number), np.ones((1, len(users)), int)
    drawn = metrics.draw_users(len(users), 40, np.random.default_rng([0, 0]))
    point, values = scorer(ones)[0], scorer(drawn)[0]  # [R, L]
    good, poor = slice(0, 3), slice(3, 6)
    of = metrics.estimate(point[0, good], values[:, good])
    fields = dataclasses.asdict(expected.models["good"]["auc"])
    assert {k: getattr(of, k) for k in fields} == pytest.approx(fields)
    apart = metrics.estimate(
        point[0, good] - point[0, poor], values[:, good] - values[:, poor]
    )
    of_pair = expected.differences["good - poor"]["auc"]
    assert dataclasses.asdict(apart) == pytest.approx(
        dataclasses.asdict(of_pair)
    )


@pytest.mark.parametrize("levels", [3, 1 << 20])
def test_weighted_expected_auc_is_that_of_rows_repeated(levels):
    day = make_day(4, levels=levels)
    (score,) = day.ctr["single"]
    truth = np.random.default_rng(5).random(len(score))
    weights = np.random.default_rng(2).integers(0, 4, (5, 30), dtype=np.int32)
    weights[4] = 0
    found = metrics.weighted_expected_auc(
        truth, score, day.user, weights, np.ones(len(truth))
    )
    for value, row in zip(found[:4], weights, strict=False):
        rows, _ = repeated(day, row)
        expected = metrics.expected_auc(truth[rows], score[rows])
        assert value == pytest.approx(expected)
    assert np.isnan(found[4])
