"""The last rows of a scored day: scored before they are learned, then learned.

A day of ads in the small world has 16 rows, one a second, in batches of 8.
"""

import json

import numpy as np
import pytest

from ecdctr_tf import artefacts, config, metrics, model_table, store
from ecdctr_tf.comparison import matrix, variants
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import fit, holding_out, level, mixing, natural
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint, mixture
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

ROWS = training_world.SMALL_ADS_ROWS
HELD = 4
SETTINGS = ("gate.share=0.25", "gate.least_rows=4", "ctr.checkpoint_steps=1")


class Killed(Exception):
    """Stands for the end of a process."""


def settings(*more: str) -> config.Config:
    return config.override(training_world.SMALL_CONFIG, [*SETTINGS, *more])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("logs") / "data")


@pytest.fixture(scope="module")
def begun(data, tmp_path_factory):
    return pretrained(data, tmp_path_factory.mktemp("begun") / "run")


@pytest.fixture(scope="module")
def held(data, begun, tmp_path_factory):
    """Days 5 and 6 of E-CDCTR."""
    run = copy(begun, tmp_path_factory.mktemp("held") / "run")
    return train(data, run, days(5, 6), settings())


def held_out(run, number, name="e_cdctr") -> dict:
    path = run.ctr(name) / day(number)
    return artefacts.read_scores(path, artefacts.HELD_OUT)


def weights(run, number, name="e_cdctr") -> dict:
    path = run.ctr(name) / day(number) / artefacts.WEIGHTS
    return checkpoint.read(path)


def changed_day(path, number, change) -> DataDirectory:
    """Return the small world with other rows on a day of ads.

    Args:
      path: of the data directory.
      number: of the day.
      change: called with its columns.
    """
    data = training_world.small_data(path)
    window = Window(day(number), day(number))
    columns = streams.read_columns(data, "ads", window)
    columns.pop("day")
    change(columns)
    ids = data.manifest("ads", day(number)).ids
    store.remove(path / "ads" / day(number))
    used = {name: of["rows"] for name, of in ids.items()}
    data.write_day("ads", day(number), [columns], used)
    return DataDirectory(path)


def with_other_clicks(path, number, changed) -> DataDirectory:
    """Return the small world where some clicks of a day are others."""

    def change(columns):
        columns["click"][changed] = 1 - columns["click"][changed]

    return changed_day(path, number, change)


def test_the_rows_held_out_are_the_last_of_the_day(held):
    found, whole = held_out(held, 6), scores(held, 6)
    assert len(found["ctr"]) == HELD
    for name in ("click", "user", "item", "weight"):
        np.testing.assert_array_equal(found[name], whole[name][-HELD:])
    assert np.abs(found["ctr"] - whole["ctr"][-HELD:]).max() > 1e-4


def test_the_manifest_judges_them(held):
    said = manifest(held, 6).metrics["held_out"]
    columns = held_out(held, 6)
    expected = metrics.evaluate(
        *(columns[name] for name in ("click", "ctr", "user", "weight"))
    )
    assert said == {"since": said["since"], **expected}
    assert said["since"] % 86_400 == ROWS - HELD


def test_they_are_scored_before_they_are_learned(data, begun, held, tmp_path):
    """Their clicks change the weights of the day, and none of its scores."""
    run = copy(begun, tmp_path / "run")
    other = with_other_clicks(tmp_path / "data", 5, slice(-HELD, None))
    train(other, run, days(5, 6), settings())
    for name, same in (("ctr", True), ("user", True), ("click", False)):
        pair = [held_out(r, 5)[name] for r in (run, held)]
        assert np.array_equal(*pair) == same, name
    assert np.array_equal(scores(run, 5)["ctr"], scores(held, 5)["ctr"])
    assert not np.array_equal(scores(run, 6)["ctr"], scores(held, 6)["ctr"])


def test_the_rows_before_them_are_learned_when_they_are_scored(
    begun, held, tmp_path
):
    run = copy(begun, tmp_path / "run")
    other = with_other_clicks(tmp_path / "data", 5, slice(4))
    train(other, run, days(5, 5), settings())
    pair = [held_out(r, 5)["ctr"] for r in (run, held)]
    assert not np.array_equal(*pair)


def test_every_row_is_trained_on_once(data, held):
    for number in (5, 6):
        assert manifest(held, number).metrics["trained_rows"] == ROWS
        path = held.ctr("e_cdctr") / day(number)
        curve = json.loads((path / artefacts.CURVE).read_text())
        # Twelve rows are two batches, four are one.
        assert [(p["step"], p["rows"]) for p in curve] == [
            (1, 6),
            (2, 12),
            (3, 16),
        ]
    assert manifest(held, 6).rows == 2 * ROWS


@pytest.mark.parametrize("steps", [1, 1000])
@pytest.mark.parametrize("moment", ["between", "later", "published"])
def test_a_day_killed_at_any_step_is_that_of_one_that_went_through(
    data, begun, held, tmp_path, monkeypatch, moment, steps
):
    run = copy(begun, tmp_path / "run")
    some = settings(f"ctr.checkpoint_steps={steps}")

    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "between":
            patch.setattr(holding_out, "HeldOut", die)
            patch.setattr(level.Level, "fit", _once(level.Level.fit))
        elif moment == "later":
            patch.setattr(fit._Recorder, "close", _once(fit._Recorder.close))
        else:
            patch.setattr(level.Level, "publish", die)
        with pytest.raises(Killed):
            train(data, run, days(5, 5), some)
    states = run.progress("ctr", "e_cdctr")
    kept = sorted(path.name[:5] for path in states.glob("*"))
    if steps == 1:
        both = ["2024-", "later"]
        assert kept == (both[:1] if moment == "between" else both)
    train(data, run, days(5, 6), some)
    for number in (5, 6):
        for found, expected in (
            (weights(run, number), weights(held, number)),
            (held_out(run, number), held_out(held, number)),
            (scores(run, number), scores(held, number)),
        ):
            assert list(found) == list(expected)
            for name, value in expected.items():
                np.testing.assert_array_equal(found[name], value, name)
    assert not list(states.glob("*"))


def _once(function):
    """Return a function that ends the process when it is called again."""
    calls = []

    def called(*args, **kwargs):
        if calls:
            raise Killed
        calls.append(args)
        return function(*args, **kwargs)

    return called


def test_a_state_of_other_parts_is_not_taken_up(data, begun, tmp_path, caplog):
    run = copy(begun, tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit._Recorder, "close", _once(fit._Recorder.close))
        with pytest.raises(Killed):
            train(data, run, days(5, 5), settings())
    train(data, run, days(5, 5), settings("gate.share=0.5"))
    assert "began from other days, weights or settings" in caplog.text
    straight = copy(begun, tmp_path / "straight")
    train(data, straight, days(5, 5), settings("gate.share=0.5"))
    for name, value in weights(straight, 5).items():
        np.testing.assert_array_equal(weights(run, 5)[name], value)


@pytest.mark.parametrize("setting", ["gate.share=0", "gate.least_rows=5"])
def test_days_of_few_rows_are_learned_as_a_whole(
    data, begun, tmp_path, setting
):
    run = copy(begun, tmp_path / "run")
    train(data, run, days(5, 5), settings(setting))
    assert "held_out" not in manifest(run, 5).metrics
    assert artefacts.HELD_OUT not in manifest(run, 5).files
    whole = copy(begun, tmp_path / "whole")
    train(data, whole, days(5, 5))
    for name, value in weights(whole, 5).items():
        np.testing.assert_array_equal(weights(run, 5)[name], value)


def test_a_day_of_one_second_is_learned_as_a_whole(begun, tmp_path):
    def change(columns):
        columns["timestamp"][:] = columns["timestamp"][0]

    run = copy(begun, tmp_path / "run")
    data = changed_day(tmp_path / "data", 5, change)
    train(data, run, days(5, 5), settings())
    assert "held_out" not in manifest(run, 5).metrics


def test_of_days_scored_together_the_last_rows_are_held_out(
    data, begun, tmp_path
):
    run = copy(begun, tmp_path / "run")
    train(data, run, [Window(day(5), day(6))], settings())
    found, whole = held_out(run, 6), scores(run, 6)
    np.testing.assert_array_equal(found["user"], whole["user"][-2 * HELD :])
    assert manifest(run, 6).metrics["trained_rows"] == 2 * ROWS


def test_past_days_are_gone_through_before_the_rows_held_out(
    data, begun, tmp_path
):
    run = copy(begun, tmp_path / "run")
    train(data, run, days(5, 5), settings("ctr.replay_days=1"))
    assert len(held_out(run, 5)["ctr"]) == HELD
    assert manifest(run, 5).metrics["trained_rows"] == 2 * ROWS


def test_a_day_of_several_passes_holds_no_rows_out(data, begun, tmp_path):
    """They would be gone through again and again by themselves."""
    run = copy(begun, tmp_path / "run")
    train(data, run, days(5, 5), settings("ctr.passes=2"))
    assert "held_out" not in manifest(run, 5).metrics
    assert manifest(run, 5).metrics["trained_rows"] == 2 * ROWS


def test_joint_models_part_natural_rows_at_the_same_moment(data, tmp_path):
    """Of 24 natural rows a day, one a second, 12 are before the twelfth."""
    name = "joint"
    some = settings(f"{name}.batch_size=8", "schedule.cpm_days=1")
    row = model_table.model(name)
    some = config.of_model(some, row)
    run = Workdir(tmp_path / "run")
    trainer = level.Level(data, run, some, row, "ctr")
    today = Window(day(5), day(5))
    window = {"natural": Window(day(4), day(5)), "ads": today}
    first, later = holding_out.split(trainer, today, window)
    assert first.rows == {"natural": 24 + 12, "ads": 12}
    assert later.rows == {"natural": 12, "ads": 4}
    mixing.trainer(trainer).run([today])
    assert manifest(run, 5, name).metrics["trained_rows"] == 24 + ROWS
    assert len(held_out(run, 5, name)["ctr"]) == HELD


def test_a_frozen_cpm_beside_the_model(data, begun, tmp_path):
    run = copy(begun, tmp_path / "run")
    row = model_table.model("keep")
    own = config.of_model(settings("keep.batch_size=8"), row)
    cpm = level.Level(data, run, own, row, "cpm")
    natural.train(cpm, Window(day(3), day(4)))
    train(data, run, days(5, 6), settings("keep.batch_size=8"), "keep")
    assert len(held_out(run, 6, "keep")["ctr"]) == HELD


def test_a_model_that_learns_nothing_scores_them_as_the_day(
    data, begun, tmp_path
):
    run = copy(begun, tmp_path / "run")
    train(data, run, days(5, 5), settings(), "cpm_only")
    found, whole = (of(run, 5, "cpm_only")["ctr"] for of in (held_out, scores))
    np.testing.assert_allclose(found, whole[-HELD:], atol=1e-6)


@pytest.fixture(scope="module")
def mixed(data, begun, tmp_path_factory):
    run = copy(begun, tmp_path_factory.mktemp("mixed") / "run")
    for name in (*model_table.model("no_regret").experts, "no_regret"):
        train(data, run, days(5, 6), settings(), name)
    return run


def test_a_mixture_weighs_them_as_before_the_day(mixed):
    path = mixed.ctr("no_regret") / day(5) / artefacts.MIXTURE
    before = mixture.Mixture.from_json(path)
    names = model_table.model("no_regret").experts
    logits = np.stack(
        [mixture.logits_of(held_out(mixed, 6, name)["ctr"]) for name in names]
    )
    found = mixture.logits_of(held_out(mixed, 6, "no_regret")["ctr"])
    of_slices = [before.mix(logits, np.full(HELD, i)) for i in range(4)]
    nearest = np.abs(np.array(of_slices) - found).min(axis=0)
    np.testing.assert_allclose(nearest, 0, atol=1e-5)
    said = manifest(mixed, 6, "no_regret").metrics["held_out"]
    assert said["since"] == manifest(mixed, 6).metrics["held_out"]["since"]


def test_a_mixture_of_experts_that_held_other_rows_out_holds_none(
    data, begun, tmp_path
):
    run = copy(begun, tmp_path / "run")
    for name in model_table.model("no_regret").experts:
        some = settings("gate.share=0.5") if name == "ads_only" else settings()
        train(data, run, days(5, 5), some, name)
    train(data, run, days(5, 5), settings(), "no_regret")
    assert "held_out" not in manifest(run, 5, "no_regret").metrics


def test_the_share_may_change_from_day_to_day(data, held, tmp_path):
    run = copy(held, tmp_path / "run")
    train(data, run, days(7, 7), settings("gate.share=0.5"))
    assert len(held_out(run, 7)["ctr"]) == ROWS // 2


def test_a_comparison_holds_nothing_out(data, tmp_path):
    rows = variants.chosen(["ads_only"])
    some = settings("ads_only.batch_size=8", "schedule.ctr_first=2024-01-07")
    (model,) = matrix.Matrix(data, tmp_path, some, 1).run(rows, [0])
    (run,) = model.workdirs
    assert "held_out" not in manifest(run, 7, "ads_only").metrics


def test_a_newer_cpm_does_not_stand_in_the_way(data, held, tmp_path):
    """The change is judged by the scores of the whole day, as ever."""
    run = copy(held, tmp_path / "run")
    train_natural(data, run, "cpm", 5, 6)
    train(data, run, days(7, 7), settings())
    assert len(held_out(run, 7)["ctr"]) == HELD
    assert manifest(run, 7).config["evidence"]["of_day"]
