"""Days of ads in a small world: scored, then trained on, then published."""

import json
import shutil

import numpy as np
import pytest

from ecdctr_tf import artefacts, metrics, stages, store
from ecdctr_tf import config as configs
from ecdctr_tf.input import data_directory
from ecdctr_tf.model_table import model as model_row
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.training import daily, fit, history, natural, origins
from ecdctr_tf.training.level import NATURAL, Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint, evidence
from ecdctr_tf.windows import Window
from tests import training_world
from tests.trained import (
    copy,
    day,
    days,
    manifest,
    pretrained,
    scores,
    train,
    train_natural,
)

pytestmark = pytest.mark.usefixtures("eagerly")

CONFIG = training_world.SMALL_CONFIG
ROWS = training_world.SMALL_ADS_ROWS
# Ads rows of a day in steps of eight.
DAY_STEPS = ROWS // CONFIG.ctr.batch_size
USERS = "embedding/tables/user/embeddings"
E_CDCTR = model_row("e_cdctr")


class Killed(Exception):
    """Stands for the end of a process."""


def settings(*assignments, config=CONFIG) -> configs.Config:
    return configs.override(config, list(assignments))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("daily")


@pytest.fixture(scope="module")
def data(place):
    return training_world.small_data(place / "data")


@pytest.fixture(scope="module")
def begun(place, data):
    """TPM on days 1 and 2, its table, and an E-CDCTR CPM on days 3 and 4."""
    return pretrained(data, place / "begun")


@pytest.fixture(scope="module")
def scored(place, data, begun):
    """Days 5 and 6 on top."""
    return train(data, copy(begun, place / "scored"), days(5, 6))


def weights(run, number, file=artefacts.WEIGHTS) -> dict:
    return checkpoint.read(run.ctr("e_cdctr") / day(number) / file)


def opened(data, run, path, kind, window) -> Level:
    """Return a published level that looks history up for days."""
    level = Level(data, run, CONFIG, E_CDCTR, kind)
    level.look_up(window)
    level.open(path)
    return level


def score_with(data, run, path, kind, number, window=None) -> np.ndarray:
    """Return a published model's probabilities of clicks on a day."""
    window = window or Window(day(number), day(number))
    return opened(data, run, path, kind, window).score(window)["ctr"]


def test_the_first_day_is_scored_by_the_cpm(data, begun, scored):
    """Its logits are shifted to the click rate of the ads before."""
    published = begun.cpm("e_cdctr") / day(4)
    today, past = Window(day(5), day(5)), Window(day(3), day(4))
    level = opened(data, begun, published, "cpm", today)
    plain = level.score(today)["ctr"]
    level.calibrate(past, day(5))
    found = scores(scored, 5)["ctr"]
    np.testing.assert_allclose(found, level.score(today)["ctr"], atol=1e-6)
    shift = np.log(found / (1 - found)) - np.log(plain / (1 - plain))
    assert np.ptp(shift) < 1e-4 < np.abs(shift).min()
    before = level.score(past, as_of=day(5))
    assert metrics.pcoc(before["click"], before["ctr"]) == pytest.approx(1)


def test_where_there_were_no_ads_the_first_day_is_as_of_the_cpm(
    data, begun, tmp_path
):
    later = training_world.small_data(tmp_path / "data")
    for number in (3, 4):
        shutil.rmtree(later.path / "ads" / day(number))
    run = copy(begun, tmp_path / "run")
    train(data_directory.DataDirectory(later.path), run, days(5, 5))
    published = begun.cpm("e_cdctr") / day(4)
    expected = score_with(data, begun, published, "cpm", 5)
    np.testing.assert_allclose(scores(run, 5)["ctr"], expected, atol=1e-6)


def test_a_day_is_scored_before_it_is_trained_on(data, scored):
    """By the model of the day before, and not by its own."""
    found = scores(scored, 6)["ctr"]
    before, after = (scored.ctr("e_cdctr") / day(n) for n in (5, 6))
    expected = score_with(data, scored, before, "ctr", 6)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    other = score_with(data, scored, after, "ctr", 6)
    assert np.abs(found - other).max() > 1e-4


def test_scores_are_of_the_rows_in_the_order_of_the_files(data, scored):
    from ecdctr_tf.input import streams

    columns = streams.read_columns(data, "ads", Window(day(6), day(6)))
    found = scores(scored, 6)
    np.testing.assert_array_equal(found["click"], columns["click"])
    np.testing.assert_array_equal(found["user"], columns["user_id"])
    np.testing.assert_array_equal(found["item"], columns["item_id"])
    assert found["ctr"].dtype == np.float32


def test_a_user_first_seen_on_the_scored_day_is_unknown(data, scored):
    """The vocabulary of the day before ends before row 0's user."""
    assert manifest(scored, 5).ids["user"]["rows"] == 12 + 5
    assert scores(scored, 6)["user"][0] == 12 + 5


def test_metrics_of_a_day_are_those_of_its_scores(scored):
    found = manifest(scored, 6).metrics
    clicked, p = scores(scored, 6)["click"], scores(scored, 6)["ctr"]
    p = p.astype(np.float64)
    pairs = [
        (a > b) + 0.5 * (a == b)
        for a in p[clicked == 1]
        for b in p[clicked == 0]
    ]
    assert found["auc"] == pytest.approx(np.mean(pairs), abs=1e-9)
    losses = -np.log(np.where(clicked == 1, p, 1 - p))
    assert found["log_loss"] == pytest.approx(losses.mean(), abs=1e-6)
    assert (found["rows"], found["clicks"]) == (ROWS, clicked.sum())
    assert found["trained_rows"] == ROWS


def test_a_new_process_goes_on_with_the_same_weights(
    data, begun, scored, tmp_path
):
    run = copy(begun, tmp_path / "run")
    for part in days(5, 6):
        train(data, run, [part])
    for file in (artefacts.WEIGHTS, artefacts.OPTIMIZER):
        expected, found = weights(scored, 6, file), weights(run, 6, file)
        assert list(found) == list(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(
                found[name], value, rtol=1e-5, atol=1e-6, err_msg=name
            )


def test_optimizer_state_is_carried_over_days(scored):
    """The CPM's does not come along: the first day starts at step 0."""
    steps = [
        int(weights(scored, n, artefacts.OPTIMIZER)["dense_optimizer/0"])
        for n in (5, 6)
    ]
    assert steps == [DAY_STEPS, 2 * DAY_STEPS]
    # Moments of users who had no ads on day 6 are those of day 5.
    away = [u for u in range(1, 17) if u not in scores(scored, 6)["user"]]
    before, after = (weights(scored, n, artefacts.OPTIMIZER) for n in (5, 6))
    shape = weights(scored, 5)[USERS].shape
    slots = [
        name
        for name, value in before.items()
        if name.startswith("table_optimizer") and value.shape == shape
    ]
    assert slots
    for name in slots:
        np.testing.assert_array_equal(after[name][away], before[name][away])
    assert any(np.any(before[name][1:17]) for name in slots)


def test_published_days_are_left_alone(data, scored):
    before = training_world.tree(scored.path)
    train(data, scored, days(5, 6))
    assert training_world.tree(scored.path) == before


def test_tables_grow_by_row_into_a_larger_model(data, begun, tmp_path):
    """Sixty users come on day 6, more than there is room for."""
    grown = training_world.small_data(tmp_path / "data", jump=day(6))
    run = train(grown, copy(begun, tmp_path / "run"), days(5, 6))
    before, after = weights(run, 5)[USERS], weights(run, 6)[USERS]
    assert len(before) == 24
    assert len(after) >= 12 + 6 + 60
    assert manifest(run, 6).ids["user"]["rows"] == 12 + 6 + 60
    users = scores(run, 6)["user"]
    away = [u for u in range(1, 17) if u not in users]
    assert away
    np.testing.assert_array_equal(after[away], before[away])
    # New users are learned on their first day: fresh rows are below 0.05.
    new = users[users >= len(before)]
    assert len(new) > 3
    untouched = np.setdiff1d(np.arange(24, 78), new)
    assert np.abs(after[untouched]).max() <= 0.05
    # A row starts alike whether there was room for it from the first or not.
    start = artefacts.build(
        grown.spec, CONFIG, E_CDCTR, "ctr", grown.table_rows(day(6))
    )
    start = start.embedding.tables["user"].embeddings.numpy()
    np.testing.assert_array_equal(after[untouched], start[untouched])
    assert np.all(np.any(after[new] != start[new], axis=1))
    # The optimizer goes on counting.
    steps = weights(run, 6, artefacts.OPTIMIZER)["dense_optimizer/0"]
    assert int(steps) == 2 * DAY_STEPS


def test_grow_keeps_scores_and_state(data, begun):
    """Within the room there is, and beyond it."""
    window = Window(day(3), day(3))
    path = begun.cpm("e_cdctr") / day(4)
    level = opened(data, begun, path, "cpm", window)
    expected = level.score(window)["ctr"]
    for users, larger in ((24, False), (80, True)):
        model = level.model
        old = {n: v.numpy() for n, v in fit.optimizer_state(model).items()}
        level.grow({"user": users, "item": 9})
        assert (level.model is not model) == larger
        assert level.table_rows["user"] == users
        found = level.score(window)["ctr"]
        np.testing.assert_allclose(found, expected, atol=1e-6)
        new = fit.optimizer_state(level.model)
        assert list(new) == list(old)
        for name, value in old.items():
            kept = new[name].numpy()
            if value.ndim:
                kept = kept[: len(value)]
            np.testing.assert_array_equal(kept, value, err_msg=name)


def test_known_ids_never_shrink(data, begun):
    """Fewer rows than are known change nothing."""
    window = Window(day(3), day(3))
    path = begun.cpm("e_cdctr") / day(4)
    level = opened(data, begun, path, "cpm", window)
    level.grow({"user": 5, "item": 12})
    assert level.table_rows == {"user": 12 + 4, "item": 12}
    assert int(level.model.embedding.tables["user"].vocab_size) == 12 + 4


def newer_cpm(data, run) -> None:
    train_natural(data, run, "cpm", 5, 6)


def test_a_newer_cpm_starts_the_a_ctr_anew(data, begun, tmp_path):
    """With two days to catch up on; the day after goes on from there."""
    config = settings("warm_start.refresh=restart")
    run = train(data, copy(begun, tmp_path / "run"), days(5, 6), config)
    newer_cpm(data, run)
    config = settings("schedule.catch_up_days=2", config=config)
    train(data, run, days(7, 8), config)
    assert [manifest(run, n).rows for n in (5, 6)] == [ROWS, 2 * ROWS]
    assert [manifest(run, n).rows for n in (7, 8)] == [3 * ROWS, 4 * ROWS]
    # A CPM of the scored day or later is for the days after it.
    assert manifest(run, 6).parents["cpm"]["path"].endswith(day(4))
    for n in (7, 8):
        assert manifest(run, n).parents["cpm"]["path"].endswith(day(6))
    report = run.ctr("e_cdctr") / day(7) / "restore.json"
    assert json.loads(report.read_text())["source"] == f"e_cdctr/cpm/{day(6)}"
    assert not (run.ctr("e_cdctr") / day(8) / "restore.json").exists()
    steps = weights(run, 7, artefacts.OPTIMIZER)["dense_optimizer/0"]
    assert int(steps) == 3 * DAY_STEPS


def test_a_day_has_one_cpm_also_where_another_is_published_meanwhile(
    data, begun, tmp_path
):
    run = copy(begun, tmp_path / "run")
    level = Level(data, run, CONFIG, E_CDCTR, "ctr")
    origin = origins.FromCPM(level)
    assert origin.cpm(day(7)).name == day(4)
    newer_cpm(data, run)
    assert origin.cpm(day(7)).name == day(4)
    assert origin.cpm(day(8)).name == day(6)


def test_a_newer_cpm_adds_its_change(data, scored, tmp_path):
    """To the weights of the day before; statistics are estimated anew.

    No step of a CPM touches the rows of ids that it does not know: there the
    difference of two CPMs is that from the first value, or nothing.
    """
    run = copy(scored, tmp_path / "run")
    newer_cpm(data, run)
    train(data, run, days(7, 7))
    old, new = (
        checkpoint.read(run.cpm("e_cdctr") / day(n) / artefacts.WEIGHTS)
        for n in (4, 6)
    )
    # All days of ads, since those days have less than 8 / (1 - 0.9) rows.
    past = Window(day(3), day(6))
    path = run.ctr("e_cdctr") / day(6)
    level = opened(data, run, path, "ctr", Window(day(7), day(7)))
    for name, variable in artefacts.weights(level.model).items():
        if "moving_" not in name:
            variable.assign_add(new[name] - old[name])
    level.estimate_statistics(past, day(7))
    level.calibrate(past, day(7))
    expected = level.score(Window(day(7), day(7)))["ctr"]
    np.testing.assert_allclose(scores(run, 7)["ctr"], expected, atol=1e-5)
    # No day of ads is trained on again.
    assert manifest(run, 7).rows == 3 * ROWS
    assert manifest(run, 7).parents["cpm"]["path"].endswith(day(6))
    report = json.loads(
        (run.ctr("e_cdctr") / day(7) / "restore.json").read_text()
    )
    assert report["source"] == f"e_cdctr/cpm/{day(4)}..{day(6)}"
    assert {v["status"] for v in report["variables"]} == {"shifted", "restored"}


def test_judging_a_change_leaves_nothing_behind(data, scored, tmp_path):
    """The first change is taken whole: days are as those without judging."""
    found = {}
    for kind in ("evidence", "change"):
        config = settings(f"warm_start.refresh={kind}")
        run = copy(scored, tmp_path / kind)
        shutil.rmtree(run.ctr("e_cdctr"))
        train(data, run, days(5, 6), config)
        newer_cpm(data, run)
        found[kind] = train(data, run, days(7, 7), config)
    judged, plain = found["evidence"], found["change"]
    np.testing.assert_array_equal(
        scores(judged, 7)["ctr"], scores(plain, 7)["ctr"]
    )
    for file in (artefacts.WEIGHTS, artefacts.OPTIMIZER):
        mine, others = weights(judged, 7, file), weights(plain, 7, file)
        for name, value in mine.items():
            np.testing.assert_array_equal(value, others[name], name)
    assert "evidence" not in manifest(plain, 7).config


def test_parts_of_a_change_are_judged_on_the_scored_day(data, scored, tmp_path):
    """By the log loss that each would have had, before it is trained on."""
    run = copy(scored, tmp_path / "run")
    newer_cpm(data, run)
    train(data, run, days(7, 8))
    judged = manifest(run, 7).config["evidence"]
    today, past = Window(day(7), day(7)), Window(day(3), day(6))
    old, new = (
        checkpoint.read(run.cpm("e_cdctr") / day(n) / artefacts.WEIGHTS)
        for n in (4, 6)
    )
    expected = []
    for strength in evidence.CANDIDATES:
        path = run.ctr("e_cdctr") / day(6)
        level = opened(data, run, path, "ctr", today)
        for name, variable in artefacts.weights(level.model).items():
            part = strength.dense
            if name.startswith("embedding/"):
                part = strength.tables
            if "moving_" not in name:
                variable.assign_add(part * (new[name] - old[name]))
        level.estimate_statistics(past, day(7))
        level.calibrate(past, day(7))
        found = level.score(today)
        expected.append(
            metrics.evaluate(*(found[n] for n in ("click", "ctr", "user")))[
                "log_loss"
            ]
        )
    np.testing.assert_allclose(judged["of_day"], expected, rtol=1e-5)
    assert judged["of_day"][0] == manifest(run, 7).metrics["log_loss"]
    assert judged["taken"] == 0
    # Kept until the next change, also by a new process.
    assert manifest(run, 8).config["evidence"] == judged


def test_the_next_change_is_taken_as_the_evidence_says(
    data, scored, tmp_path, monkeypatch
):
    """Of nothing, tables and dense weights stay as the ads left them."""
    run = copy(scored, tmp_path / "run")
    newer_cpm(data, run)
    monkeypatch.setattr(evidence.Evidence, "chosen", 2)
    train(data, run, days(7, 7))
    path = run.ctr("e_cdctr") / day(6)
    level = opened(data, run, path, "ctr", Window(day(7), day(7)))
    level.estimate_statistics(Window(day(3), day(6)), day(7))
    level.calibrate(Window(day(3), day(6)), day(7))
    expected = level.score(Window(day(7), day(7)))["ctr"]
    np.testing.assert_allclose(scores(run, 7)["ctr"], expected, atol=1e-6)
    assert manifest(run, 7).config["evidence"]["taken"] == 2


def test_newer_history_has_statistics_estimated_as_of_the_scored_day(
    data, scored, tmp_path
):
    """The rows of the days before see the version that the scored day sees."""
    run = copy(scored, tmp_path / "run")
    train_natural(data, run, "snapshot", 3, 6)
    history.aggregate(run, CONFIG)
    train(data, run, days(7, 7))
    assert "historical " + day(6) in manifest(run, 7).parents
    path = run.ctr("e_cdctr") / day(6)
    level = opened(data, run, path, "ctr", Window(day(7), day(7)))
    before = level.score(Window(day(7), day(7)))["ctr"]
    level.estimate_statistics(Window(day(3), day(6)), day(7))
    level.calibrate(Window(day(3), day(6)), day(7))
    expected = level.score(Window(day(7), day(7)))["ctr"]
    np.testing.assert_allclose(scores(run, 7)["ctr"], expected, atol=1e-5)
    assert np.abs(expected - before).max() > 1e-4
    # With the vectors that those days saw themselves it would be otherwise.
    level = opened(data, run, path, "ctr", Window(day(3), day(7)))
    level.model.estimate_statistics(
        level.stream({"ads": Window(day(3), day(6))})
    )
    other = level.score(Window(day(7), day(7)))["ctr"]
    assert np.abs(expected - other).max() > 1e-4


def test_a_day_killed_under_an_older_cpm_starts_anew(data, scored, tmp_path):
    """What was under way then is of another model; it is not taken up."""
    config = settings("ctr.checkpoint_steps=1")
    run = copy(scored, tmp_path / "run")
    plain = copy(scored, tmp_path / "plain")

    def die(self):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit._Recorder, "close", die)
        with pytest.raises(Killed):
            train(data, run, days(7, 7), config)
    assert list(run.path.glob(".progress/e_cdctr/ctr/*/*/state.index"))
    for each in (run, plain):
        newer_cpm(data, each)
        train(data, each, days(7, 7), config)
    expected, found = weights(plain, 7), weights(run, 7)
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value, rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_files_do_not_tell_what_the_process_did_before(data, begun, tmp_path):
    """A day after a restart has the bytes that it has without one."""
    level = Level(data, begun, CONFIG, E_CDCTR, "ctr")
    level.look_up(Window(day(5), day(5)))
    for name in ("first", "second"):
        level.fresh(day(4))
        parts = {
            "weights": artefacts.weights(level.model),
            "optimizer": fit.optimizer_state(level.model),
        }
        for part, variables in parts.items():
            checkpoint.write(tmp_path / name / part, variables)
    first, second = (
        training_world.tree(tmp_path / name) for name in ("first", "second")
    )
    assert first == second


def test_a_killed_day_is_taken_up(data, begun, scored, tmp_path):
    """Its scores and its weights are those of a day that went through."""
    config = settings("ctr.checkpoint_steps=1")
    run = copy(begun, tmp_path / "run")

    def die(self):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit._Recorder, "close", die)
        with pytest.raises(Killed):
            train(data, run, days(5, 5), config)
    assert not store.dated(run.ctr("e_cdctr"))
    train(data, run, days(5, 5), config)
    for name, value in scores(scored, 5).items():
        np.testing.assert_allclose(scores(run, 5)[name], value, atol=1e-6)
    for name, value in weights(scored, 5).items():
        np.testing.assert_allclose(
            weights(run, 5)[name], value, rtol=1e-5, atol=1e-6, err_msg=name
        )
    assert manifest(run, 5).rows == ROWS


def test_replay_goes_through_past_days_again(data, begun, tmp_path):
    run = train(
        data,
        copy(begun, tmp_path / "run"),
        days(5, 5),
        settings("ctr.replay_days=2"),
    )
    assert manifest(run, 5).metrics["trained_rows"] == 3 * ROWS
    assert manifest(run, 5).metrics["rows"] == ROWS
    assert manifest(run, 5).window == Window(day(5), day(5))
    curve = json.loads((run.ctr("e_cdctr") / day(5) / "curve.json").read_text())
    assert curve[-1]["rows"] == 3 * ROWS


def historical_of(run, number) -> list[str]:
    """Return the days of the historical versions that a day was made from."""
    roles = manifest(run, number).parents
    return [r.split()[1] for r in sorted(roles) if r.startswith("historical")]


def test_newer_history_is_taken_up(data, begun, scored, tmp_path):
    """By a trainer that goes on and by a new one alike."""
    going = copy(begun, tmp_path / "going")
    trainer = daily.DailyTrainer(Level(data, going, CONFIG, E_CDCTR, "ctr"))
    trainer.run(days(5, 6))
    new = copy(scored, tmp_path / "new")
    for run in (going, new):
        train_natural(data, run, "snapshot", 3, 6)
        history.aggregate(run, CONFIG)
    trainer.run(days(7, 7))
    train(data, new, days(7, 7))
    found = [scores(run, 7)["ctr"] for run in (going, new)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    without = train(data, copy(scored, tmp_path / "without"), days(7, 7))
    assert np.abs(found[0] - scores(without, 7)["ctr"]).max() > 1e-4
    for run in (going, new):
        assert historical_of(run, 6) == [day(2)]
        assert historical_of(run, 7)[-1] == day(6)
    assert historical_of(without, 7) == [day(2)]


def test_a_version_is_of_the_snapshot_that_is_there(data, begun, tmp_path):
    """A TPM that is trained again changes its history, or it is said."""
    run = copy(begun, tmp_path / "run")
    shutil.rmtree(run.tpm)
    history_before = (run.historical / day(2) / store.MANIFEST).read_bytes()
    with pytest.raises(FileNotFoundError, match=f"no snapshot up to {day(1)}"):
        history.aggregate(run, CONFIG, day(1))
    other = settings("tpm.l2=0.5")
    window = Window(day(1), day(2))
    natural.train(Level(data, run, other, E_CDCTR, "snapshot"), window)
    with pytest.raises(ValueError, match=f"historical/{day(2)} was made from"):
        history.aggregate(run, CONFIG)
    after = (run.historical / day(2) / store.MANIFEST).read_bytes()
    assert after == history_before
    shutil.rmtree(run.historical / day(2))
    assert history.aggregate(run, CONFIG) == [run.historical / day(2)]
    assert history.aggregate(run, CONFIG) == []


def test_models_that_aggregate_otherwise_have_versions_of_their_own(
    data, begun, tmp_path
):
    """E-CDCTR and the paper's settings lie in one work directory."""
    run = copy(begun, tmp_path / "run")
    models = ("e_cdctr", "ads_only", "paper")
    stages.run(stages.Request("aggregate", data.path, run.path, CONFIG, models))
    paper = run.path / "paper/historical"
    found = {
        place: store.read_manifest(place / day(2), "historical").config
        for place in (run.historical, paper)
    }
    assert found[run.historical]["aggregation"] == "mean"
    assert found[paper] == {"aggregation": "snapshot"}
    assert not (run.path / "ads_only/historical").exists()
    row = model_row("paper")
    own = configs.of_model(CONFIG, row)
    places = run.of_model(row, CONFIG, own)
    level = Level(data, places, own, row, "cpm")
    natural.train(level, Window(day(3), day(4)))
    trainer = daily.DailyTrainer(Level(data, places, own, row, "ctr"))
    trainer.run(days(5, 5))
    parents = store.read_manifest(run.ctr("paper") / day(5), "ctr").parents
    assert "cpm" in parents


def test_versions_of_other_settings_are_not_passed_over(begun):
    with pytest.raises(ValueError, match="was aggregated with.*'mean'.*'last'"):
        history.aggregate(begun, settings("history.aggregation=last"))


def test_every_snapshot_has_a_version(data, begun, tmp_path):
    run = copy(begun, tmp_path / "run")
    shutil.rmtree(run.historical)
    train_natural(data, run, "snapshot", 3, 6)
    assert history.aggregate(run, CONFIG, day(5)) == [run.historical / day(2)]
    assert history.aggregate(run, CONFIG) == [run.historical / day(6)]
    assert history.aggregate(run, CONFIG) == []
    found = store.read_manifest(run.historical / day(6), "historical")
    assert list(found.parents) == [f"snapshot {day(n)}" for n in (2, 6)]


def test_statistics_are_estimated_on_past_days_only(
    data, begun, tmp_path, monkeypatch
):
    seen = {}

    def spy(model, dataset):
        dataset = list(dataset)
        seen["as of"] = {int(d) for inputs, _ in dataset for d in inputs["day"]}
        variables = checkpoint.named_variables(model.parts())
        before = {n: v.numpy() for n, v in variables.items()}
        adapt(model, dataset)
        seen["changed"] = {
            n.split("/")[-1]
            for n, v in variables.items()
            if np.any(v.numpy() != before[n])
        }

    def record(level, window, day):
        seen["rows of"] = window
        estimate(level, window, day)

    adapt, estimate = CTRModel.estimate_statistics, Level.estimate_statistics
    monkeypatch.setattr(CTRModel, "estimate_statistics", spy)
    monkeypatch.setattr(Level, "estimate_statistics", record)
    config = settings(
        "warm_start.batch_norm=statistics", "schedule.catch_up_days=2"
    )
    train(data, copy(begun, tmp_path / "run"), days(5, 5), config)
    assert seen["rows of"] == Window(day(3), day(4))
    # Day 5 of January 2024 since 1970-01-01: they look history up as of it.
    assert seen["as of"] == {19727}
    assert seen["changed"] == {"moving_mean", "moving_variance"}


def test_statistics_without_past_days_raise(data, begun, tmp_path):
    config = settings("warm_start.batch_norm=statistics")
    run = copy(begun, tmp_path / "run")
    with pytest.raises(
        ValueError, match=f"ads from before {day(5)}.*schedule.catch_up_days"
    ):
        train(data, run, days(5, 5), config)


def test_windows_of_days_are_scored_as_a_whole(data, begun, tmp_path):
    run = copy(begun, tmp_path / "run")
    window = Window(day(5), day(6))
    train(data, run, [window])
    assert store.dated(run.ctr("e_cdctr")) == [day(6)]
    published = begun.cpm("e_cdctr") / day(4)
    level = opened(data, begun, published, "cpm", window)
    level.calibrate(Window(day(3), day(4)), day(5))
    expected = level.score(window)["ctr"]
    found = scores(run, 6)["ctr"]
    assert len(found) == 2 * ROWS
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert manifest(run, 6).window == window


def test_a_window_that_became_longer_goes_on_where_it_ended(
    data, begun, tmp_path
):
    """Days 5 and 6 were the last there were; windows are of three days."""
    run = copy(begun, tmp_path / "run")
    train(data, run, [Window(day(5), day(6))])
    before = (run.ctr("e_cdctr") / day(6) / "manifest.json").read_bytes()
    train(data, run, [Window(day(5), day(7))])
    assert store.dated(run.ctr("e_cdctr")) == [day(6), day(7)]
    manifest = store.read_manifest(run.ctr("e_cdctr") / day(7), "ctr")
    assert manifest.window == Window(day(7), day(7))
    assert len(scores(run, 7)["click"]) == ROWS
    after = (run.ctr("e_cdctr") / day(6) / "manifest.json").read_bytes()
    assert after == before
    straight = train(
        data,
        copy(begun, tmp_path / "straight"),
        [Window(day(5), day(6)), *days(7, 7)],
    )
    assert np.array_equal(scores(run, 7)["ctr"], scores(straight, 7)["ctr"])


def test_a_day_without_rows_is_passed_over(tmp_path):
    """Alone, and among the days to catch up on."""
    data = training_world.small_data(tmp_path / "data", empty=day(6))
    config = settings("schedule.catch_up_days=2")
    run = Workdir(tmp_path / "run")
    train(data, run, days(6, 7), config, "ads_only")
    assert store.dated(run.ctr("ads_only")) == [day(7)]
    # Day 5 to catch up on, and day 7.
    assert manifest(run, 7, "ads_only").rows == 2 * ROWS


def test_ads_only_needs_no_other_level(data, tmp_path):
    config = settings("ads_only.batch_size=4")
    run = train(data, Workdir(tmp_path / "run"), days(5, 5), config, "ads_only")
    found = manifest(run, 5, "ads_only")
    assert found.parents == {}
    assert not (run.ctr("ads_only") / day(5) / "restore.json").exists()
    # Trained as `ads_only` says, not as `ctr` does.
    path = run.ctr("ads_only") / day(5) / artefacts.OPTIMIZER
    assert int(checkpoint.read(path)["dense_optimizer/0"]) == ROWS // 4


def test_missing_cpm_raises(data, begun, tmp_path):
    run = copy(begun, tmp_path / "run")
    before = training_world.tree(run.path)
    with pytest.raises(
        FileNotFoundError, match=f"no CPM from before {day(4)}.*--stage=cpm"
    ):
        train(data, run, days(4, 4))
    assert training_world.tree(run.path) == before


def test_a_late_cpm_is_not_used_early(data, begun, tmp_path):
    """The CPM of day 4 is two days late: day 7 is the first to have it."""
    config = settings("schedule.cpm_lag=2")
    run = copy(begun, tmp_path / "run")
    with pytest.raises(
        FileNotFoundError, match="no CPM from before 2024-01-04"
    ):
        train(data, run, days(6, 6), config)
    train(data, run, days(7, 7), config)
    manifest = store.read_manifest(run.ctr("e_cdctr") / day(7), "ctr")
    assert manifest.parents["cpm"]["path"].endswith(day(4))


def test_missing_history_raises(data, begun, tmp_path):
    run = copy(begun, tmp_path / "run")
    shutil.rmtree(run.historical)
    with pytest.raises(
        FileNotFoundError,
        match="historical holds no historical version.*--stage=aggregate",
    ):
        train(data, run, days(5, 5))


def test_days_that_are_not_there_raise_before_anything_is_done(data, tmp_path):
    run = Workdir(tmp_path / "run")
    with pytest.raises(ValueError, match="lacks 2024-01-09 of the window"):
        train(data, run, days(8, 9), name="ads_only")
    assert not run.path.exists()


def test_too_little_restored_raises(data, begun, tmp_path):
    """`full` leaves batch norm as it is, so not everything came along."""
    config = settings("warm_start.batch_norm=full", "warm_start.min_restored=1")
    run = copy(begun, tmp_path / "run")
    with pytest.raises(ValueError, match="Only .*% of the A-CTR's weights"):
        train(data, run, days(5, 5), config)
    assert not store.dated(run.ctr("e_cdctr"))


def test_a_day_before_what_was_learned_raises(data, scored, tmp_path):
    """A model never goes back in time: the day cannot be trained on now."""
    run = copy(scored, tmp_path / "run")
    shutil.rmtree(run.ctr("e_cdctr") / day(5))
    before = training_world.tree(run.path)
    for parts in (days(5, 6), days(4, 4)):
        with pytest.raises(
            ValueError,
            match=f"days up to {day(6)}, but not {parts[0].first}; an A-CTR "
            "never goes back in time",
        ):
            train(data, run, parts)
    assert training_world.tree(run.path) == before


def test_natural_days_are_learned_once(data, begun, tmp_path):
    """The same window again is left as it is; another one has to be later."""
    run = copy(begun, tmp_path / "run")
    before = training_world.tree(run.path)
    train_natural(data, run, "cpm", 3, 4)
    for first in (2, 4):
        with pytest.raises(
            ValueError, match=f"begins after {day(4)}, or delete the artefacts"
        ):
            train_natural(data, run, "cpm", first, 6)
    with pytest.raises(ValueError, match="never goes back in time"):
        train_natural(data, run, "cpm", 4, 4)
    assert training_world.tree(run.path) == before


def test_a_cpm_is_scored_on_the_first_day_of_its_window(data, scored, tmp_path):
    run = copy(scored, tmp_path / "run")
    newer_cpm(data, run)
    window = Window(day(5), day(5))
    path = run.cpm("e_cdctr")
    level = opened(data, run, path / day(4), "cpm", window)
    # The users of the window are known by then.
    level.grow(data.table_rows(day(6)))
    found = level.score(window, NATURAL)
    p, click = found["ctr"].astype(np.float64), found["click"]
    losses = -np.log(np.where(click == 1, p, 1 - p))
    kept = store.read_manifest(path / day(6), "cpm").metrics["natural"]
    assert kept["log_loss"] == pytest.approx(losses.mean(), abs=1e-5)
    first = store.read_manifest(path / day(4), "cpm").metrics["natural"]
    assert first == {}


@pytest.mark.parametrize("deleted", [[6], [5, 6]])
def test_deleted_days_are_trained_again_as_of_then(
    data, scored, tmp_path, caplog, deleted
):
    """It is said; a CPM that came later and has seen the days is not used."""
    run = copy(scored, tmp_path / "run")
    expected = training_world.tree(run.path)
    newer_cpm(data, run)
    for number in deleted:
        shutil.rmtree(run.ctr("e_cdctr") / day(number))
    train(data, run, days(5, 6))
    (said,) = [r.getMessage() for r in caplog.records if "deleted" in r.msg]
    assert f"had artefacts up to {day(6)}" in said
    after = training_world.tree(run.path)
    for name, content in expected.items():
        if name.endswith(("weights.data-00000-of-00001", "scores.npz")):
            assert after[name] == content, name
    caplog.clear()
    train(data, run, days(5, 6))
    assert not caplog.records


def test_deleted_natural_windows_are_said(data, begun, tmp_path, caplog):
    run = copy(begun, tmp_path / "run")
    newer_cpm(data, run)
    shutil.rmtree(run.cpm("e_cdctr") / day(6))
    newer_cpm(data, run)
    assert f"had artefacts up to {day(6)}" in caplog.text
    assert f"those after {day(4)} were deleted" in caplog.text
