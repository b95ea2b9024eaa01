"""Days of ads whose scores are corrected by what the days before came to."""

import shutil

import numpy as np
import pytest

from ecdctr_tf import artefacts
from ecdctr_tf import config as configs
from ecdctr_tf.input import data_directory, streams
from ecdctr_tf.model_table import model as model_row
from ecdctr_tf.training.level import Level
from ecdctr_tf.transfer.calibration import Calibration
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


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("calibrated")


@pytest.fixture(scope="module")
def data(place):
    return training_world.small_data(place / "data")


@pytest.fixture(scope="module")
def begun(place, data):
    return pretrained(data, place / "begun")


@pytest.fixture(scope="module")
def scored(place, data, begun):
    """E-CDCTR on days 5 to 7, with the CPM of day 4."""
    return train(data, copy(begun, place / "scored"), days(5, 7))


def calibration(run, number) -> Calibration:
    return Calibration.of(manifest(run, number).config["calibration"])


def logits(ctr) -> np.ndarray:
    ctr = ctr.astype(np.float64)
    return np.log(ctr) - np.log1p(-ctr)


def test_a_day_has_the_line_of_the_day_before(data, scored):
    today = Window(day(7), day(7))
    level = Level(data, scored, CONFIG, model_row("e_cdctr"), artefacts.CTR)
    level.look_up(today)
    level.open(scored.ctr("e_cdctr") / day(6))
    heads = level.score(today)["heads"]
    before = calibration(scored, 6)
    assert before.line() != (1.0, 0.0)
    found = logits(scores(scored, 7)["ctr"])
    given = heads @ before.shares()
    np.testing.assert_allclose(found, before.apply(given), atol=1e-4)


def test_each_day_is_learned_from_what_it_was_scored_with(data, scored):
    for number in (6, 7):
        today = Window(day(number), day(number))
        level = Level(data, scored, CONFIG, model_row("e_cdctr"), artefacts.CTR)
        level.look_up(today)
        level.open(scored.ctr("e_cdctr") / day(number - 1))
        found = level.calibration
        of_day = scores(scored, number)
        heads = level.score(today)["heads"]
        found.learn(heads, of_day["click"], of_day["weight"])
        written = calibration(scored, number)
        np.testing.assert_allclose(
            found.weights(), written.weights(), rtol=1e-5
        )
        np.testing.assert_allclose(found.lost, written.lost, rtol=1e-5)


def test_what_is_served_has_the_line_of_its_day(data, scored):
    path = scored.ctr("e_cdctr") / day(7)
    model = artefacts.read_model(path, data)
    weights = calibration(scored, 7).weights()
    np.testing.assert_allclose(model.line.numpy(), weights, rtol=1e-6)


def test_a_new_model_keeps_what_was_wrong_with_the_one_before(
    data, begun, tmp_path
):
    config = configs.override(CONFIG, ["warm_start.refresh=restart"])
    run = train(data, copy(begun, tmp_path / "run"), days(5, 6), config)
    train_natural(data, run, "cpm", 5, 6)
    train(data, run, days(7, 7), config)
    assert manifest(run, 7).parents["cpm"]["path"].endswith(day(6))
    lost = [calibration(run, number).lost[1] for number in (5, 6, 7)]
    assert 0 < lost[0] < lost[1] < lost[2]


def test_a_day_without_ads_before_teaches_nothing(data, begun, tmp_path):
    """Of a launch the click rate of ads is not known yet."""
    later = training_world.small_data(tmp_path / "data")
    for number in (3, 4):
        shutil.rmtree(later.path / "ads" / day(number))
    later = data_directory.DataDirectory(later.path)
    run = train(later, copy(begun, tmp_path / "run"), days(5, 6))
    assert "calibration" not in manifest(run, 5).config
    rows = len(scores(run, 6)["click"])
    assert 0 < calibration(run, 6).lost[1] < 10 * rows


def test_an_empty_day_before_is_no_launch(data, begun, tmp_path):
    """Days that hold no rows of ads say nothing of their click rate."""
    later = training_world.small_data(tmp_path / "data")
    for number in (3, 4):
        shutil.rmtree(later.path / "ads" / day(number))
        later.write_day("ads", day(number), [], later.table_rows(day(number)))
    level = Level(later, begun, CONFIG, model_row("e_cdctr"), artefacts.CTR)
    assert not level.launched(day(5))
    assert level.launched(day(6))


def test_a_day_whose_rows_count_nothing(data, begun, tmp_path):
    """Its rows have the weight 0: it is scored, and teaches nothing."""
    window = Window(day(5), day(5))
    rows = streams.read_columns(data, "ads", window)
    other = training_world.small_data(tmp_path / "data")
    shutil.rmtree(other.path / "ads" / day(5))
    rows["weight"] = np.zeros_like(rows["click"])
    other.write_day("ads", day(5), [rows], data.table_rows(day(5)))
    other = data_directory.DataDirectory(other.path)
    run = train(other, copy(begun, tmp_path / "run"), days(5, 6))
    found = manifest(run, 5)
    assert found.metrics["log_loss"] is None
    assert "loss_before" not in found.metrics
    assert calibration(run, 5).line() == pytest.approx((1, 0))
    assert "loss_before" in manifest(run, 6).metrics


def test_it_can_be_left_out(data, begun, scored, tmp_path):
    config = configs.override(CONFIG, ["ctr.calibrate=false"])
    run = train(data, copy(begun, tmp_path / "run"), days(5, 6), config)
    for number in (5, 6):
        assert "calibration" not in manifest(run, number).config
    same = [scores(r, 5)["ctr"] for r in (run, scored)]
    np.testing.assert_array_equal(*same)
    apart = [scores(r, 6)["ctr"] for r in (run, scored)]
    assert np.abs(apart[0] - apart[1]).max() > 1e-4
