"""What models forget: the matrix, history as of which day, measures, pages."""

import dataclasses

import numpy as np
import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import metrics, store, windows
from ecdctr_tf.comparison import matrix, variants
from ecdctr_tf.results import forgetting, report, rescoring, sections, text
from tests import training_world

D3, D4, D5, D6 = (f"2024-01-0{n}" for n in range(3, 7))
pytestmark = pytest.mark.usefixtures("eagerly")

# The TPM has a window a day, also while ads are scored.
CONFIG = dataclasses.replace(
    training_world.SMALL_CONFIG,
    schedule=configs.ScheduleConfig(
        tpm_days=1,
        tpm_last=D5,
        cpm_days=2,
        ctr_first=D4,
        ctr_last=D6,
        catch_up_days=1,
    ),
    forgetting=configs.ForgettingConfig(
        group_days=1, returns_after=1, return_days=1
    ),
)
SPANS = [windows.Window(day, day) for day in (D4, D5, D6)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    chosen = variants.chosen(["e_cdctr", "cpm_finetune"])
    return matrix.Matrix(data, root, CONFIG, trials=1).run(chosen, (0, 1))


@pytest.fixture(scope="module")
def models(runs):
    return runs


@pytest.fixture(scope="module")
def measured(data, models):
    return forgetting.measured(data, models, SPANS, replicates=50)


def auc_matrix(data, r, run, truths=None, today=False):
    """Return R, `[3, 3]`."""
    found = np.full((3, 3), np.nan)
    model = r
    cells = rescoring.each(data, model, run, SPANS, today)
    for i, j, ctr in cells:
        click = published(run, SPANS[j].last)["click"]
        found[i, j] = (
            metrics.auc(click, ctr)
            if truths is None
            else metrics.expected_auc(truths[j], ctr)
        )
    return found


def published(run, day, name="e_cdctr"):
    with np.load(run.ctr(name) / day / "scores.npz") as file:
        return {column: file[column] for column in file.files}


def scored_by(data, r, place, day, **options):
    """Scores of a day by the model after another, with history as of it."""
    window = windows.Window(day, day)
    level = opened(data, r, SPANS[place].last, window)
    return level.score(window, **options)


def opened(data, r, published, window):
    """Return a level at a published day, with the history of a window."""
    model = r
    return rescoring.opened(data, model, r.workdirs[0], published, window)


def test_history_rolls_on_with_the_scored_days(runs):
    run = runs[0].workdirs[0]
    assert store.dated(run.historical) == [
        "2024-01-01",
        "2024-01-02",
        D3,
        D4,
        D5,
    ]
    read = [
        store.read_manifest(run.ctr("e_cdctr") / day, "ctr").parents
        for day in (D4, D5, D6)
    ]
    versions = [
        [role.split()[1] for role in sorted(p) if role.startswith("historical")]
        for p in read
    ]
    # On its first day the A-CTR catches up on day 3 as well.
    assert versions == [["2024-01-02", D3], [D4], [D5]]


@pytest.mark.parametrize("known", [False, True])
def test_matrix_is_of_each_model_on_each_day(data, runs, known):
    r = runs[0]
    run = r.workdirs[0]
    clicks = [published(run, span.last)["click"] for span in SPANS]
    truths = None
    if known:
        rng = np.random.default_rng(0)
        truths = [rng.random(len(click)) for click in clicks]
    found = auc_matrix(data, r, run, truths)

    def auc(j, ctr):
        if known:
            return metrics.expected_auc(truths[j], ctr)
        return metrics.auc(clicks[j], ctr)

    for j in (1, 2):
        before = SPANS[j - 1].last
        level = opened(data, r, before, SPANS[j])
        ctr = level.score(SPANS[j])["ctr"]
        assert found[j - 1, j] == pytest.approx(auc(j, ctr))
        # With statistics as of the day, it is what was published: a newer
        # version of history came into sight. All ads are less than 80 rows.
        past = windows.Window("2024-01-03", before)
        level.estimate_statistics(past, SPANS[j].last)
        level.calibrate(past, SPANS[j].last)
        ctr = level.score(SPANS[j])["ctr"]
        expected = published(run, SPANS[j].last)["ctr"]
        np.testing.assert_allclose(ctr, expected, atol=1e-5)
    # The last model scores the first day with the history of that day.
    ctr = scored_by(data, r, 2, D4)["ctr"]
    assert found[2, 0] == pytest.approx(auc(0, ctr))


def test_matrix_of_today_looks_history_up_as_of_the_day_after(data, runs):
    r = runs[0]
    args = (data, r, r.workdirs[0])
    served, today = (auc_matrix(*args, today=t) for t in (False, True))
    # What comes next is served with the history of today.
    for j in (1, 2):
        assert today[j - 1, j] == pytest.approx(served[j - 1, j])
    tomorrow = windows.Window("2024-01-07", "2024-01-07")
    level = opened(data, r, D6, tomorrow)
    scores = level.score(SPANS[0], as_of="2024-01-07")
    expected = metrics.auc(scores["click"], scores["ctr"])
    assert today[2, 0] == pytest.approx(expected)
    ctr = scored_by(data, r, 2, D4)["ctr"]
    assert np.abs(scores["ctr"] - ctr).max() > 1e-6


def test_rows_scored_as_of_a_day_before_all_snapshots_have_no_history(
    data, runs
):
    r = runs[0]
    model = r
    run = r.workdirs[0]
    (down,) = rescoring.without_history(data, model, run, [SPANS[1]])
    scores = scored_by(data, r, 0, D5, as_of="2024-01-01")
    np.testing.assert_allclose(scores["ctr"], down, rtol=1e-5)


def test_measures_are_those_of_the_matrix(data, runs, measured):
    r = runs[0]
    of = measured["forgetting"]["e_cdctr"]
    matrices = [auc_matrix(data, r, run) for run in r.workdirs]
    np.testing.assert_allclose(of["matrix"], np.mean(matrices, axis=0))
    assert of["days"] == [str(span) for span in SPANS]
    measures = of["measures"]
    expected = [float(metrics.backward_transfer(m)) for m in matrices]
    assert measures["backward_transfer"]["seeds"] == pytest.approx(expected)
    expected = [(m[2, 0] + m[2, 1]) / 2 for m in matrices]
    assert measures["kept"]["seeds"] == pytest.approx(expected)
    assert measures["kept"]["mean"] == pytest.approx(np.mean(expected))


def test_returns_are_first_days_as_they_were_scored(runs, measured):
    for name, r in zip(("e_cdctr", "cpm_finetune"), runs, strict=True):
        measures = measured["forgetting"][name]["measures"]
        for seed, run in enumerate(r.workdirs):
            of = [
                store.read_manifest(run.ctr(name) / span.last, "ctr").metrics
                for span in SPANS
            ]
            first, second, third = (m["auc"] for m in of)
            assert measures["return"]["seeds"][seed] == pytest.approx(
                (second + third) / 2
            )
            assert measures["return_gain"]["seeds"][seed] == pytest.approx(
                (third - first) / 2
            )


def test_differences_are_paired_by_seed(measured):
    (pair,) = measured["forgetting_differences"].items()
    assert pair[0] == "e_cdctr - cpm_finetune"
    a, b = (
        measured["forgetting"][name]["measures"]
        for name in ("e_cdctr", "cpm_finetune")
    )
    for key, of in pair[1].items():
        apart = np.subtract(a[key]["seeds"], b[key]["seeds"])
        assert of["seeds"] == pytest.approx(apart)
        assert of["mean"] == pytest.approx(apart.mean())
        assert of["low"] <= of["high"]
        assert of["significant"] == (of["low"] > 0 or of["high"] < 0)


def test_intervals_are_of_users_drawn_with_all_their_rows(
    data, runs, models, measured
):
    """Against rows repeated as often as their users are drawn."""
    r = runs[1]
    cells: list = [{}, {}]
    for k, run in enumerate(r.workdirs):
        each = rescoring.each(data, models[1], run, SPANS)
        for i, j, ctr in each:
            cells[k][i, j] = ctr
    rows = [
        published(r.workdirs[0], span.last, "cpm_finetune") for span in SPANS
    ]
    users = np.unique(np.concatenate([of["user"] for of in rows]))
    drawn = metrics.draw_users(len(users), 50, np.random.default_rng(0))
    kept = np.zeros((50, 2))
    for (replicate, k), _ in np.ndenumerate(kept):
        for j in (0, 1):
            times = drawn[replicate][np.searchsorted(users, rows[j]["user"])]
            click = np.repeat(rows[j]["click"], times)
            ctr = np.repeat(cells[k][2, j], times)
            both = len(set(click)) == 2
            kept[replicate, k] += (
                metrics.auc(click, ctr) / 2 if both else np.nan
            )
    found = measured["forgetting"]["cpm_finetune"]["measures"]["kept"]
    assert found["undefined"] < 25
    expected = metrics.estimate(np.array(found["seeds"]), kept)
    assert (found["low"], found["high"]) == pytest.approx(
        (expected.low, expected.high)
    )
    assert found["low"] < found["mean"] < found["high"]


def test_a_model_without_history_has_one_matrix(measured):
    measures = measured["forgetting"]["cpm_finetune"]["measures"]
    today = measures["backward_transfer_today"]["seeds"]
    assert measures["backward_transfer"]["seeds"] == today


def test_page_shows_intervals_and_what_is_noise(data, models, tmp_path):
    found = report.write(data, models, tmp_path)
    of, apart = sections._forgetting(found)
    assert of.header[1:3] == ["backward transfer", "with today's history"]
    assert [row[0] for row in of.rows] == [m.label for m in models]
    assert len(apart.rows) == 1
    for section in (of, apart):
        assert f"## {section.title}" in (tmp_path / "results.md").read_text()
        assert all(len(row) == len(section.header) for row in section.rows)
    shown = {
        "mean": 0.25,
        "low": 0.125,
        "high": 0.375,
        "significant": True,
    }
    noise = {**shown, "low": -0.125, "significant": False}
    measure = sections._measure
    assert measure("kept", shown) == "0.2500 [0.1250, 0.3750]"
    assert measure("forgetting", shown) == "+0.2500 [+0.1250, +0.3750]"
    assert measure("forgetting", noise).endswith(text.WITHIN)


def test_groups_are_days_that_follow_each_other():
    def lasts(days, group_days):
        spans = [windows.Window(day, day) for day in days]
        parts = forgetting.groups(spans, group_days)
        return [[span.last[-2:] for span in part] for part in parts]

    days = windows.Window("2024-01-01", "2024-01-12").days
    assert [len(part) for part in lasts(days, 0)] == [3, 3, 2, 2, 2]
    assert [len(part) for part in lasts(days[:3], 0)] == [1, 1, 1]
    assert [len(part) for part in lasts(days, 5)] == [5, 5, 2]
    gap = [*days[:2], *days[6:8]]
    assert lasts(gap, 3) == [["01", "02"], ["07", "08"]]


def test_one_group_has_no_forgetting(data, models):
    found = forgetting.measured(data, models, SPANS[:1])
    assert found == {"forgetting": {}, "forgetting_differences": {}}
