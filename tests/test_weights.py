"""Rows with weights, from files to what is served."""

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import artefacts, export, metrics, scoring, windows
from ecdctr_tf import config as configs
from ecdctr_tf.input import data_directory, id_space, streams
from ecdctr_tf.model_table import model as model_row
from ecdctr_tf.models import ctr_model
from ecdctr_tf.training import daily, level
from ecdctr_tf.training.workdir import Workdir
from tests import training_world

pytestmark = pytest.mark.usefixtures("eagerly")

SPEC = training_world.SMALL_SPEC
# Click rates of the eight items.
RATES = np.array([0.02, 0.03, 0.05, 0.05, 0.1, 0.1, 0.2, 0.3])
# Share of the rows without a click that are kept.
KEPT = 0.1
DAY, NEXT = "2024-01-01", "2024-01-02"
CONFIG = configs.of_model(
    configs.override(
        training_world.SMALL_CONFIG,
        [
            "ads_only.batch_size=256",
            "ads_only.passes=50",
            "ads_only.dense_learning_rate=0.01",
            "ads_only.table_learning_rate=0.01",
        ],
    ),
    model_row("ads_only"),
)


def window(day):
    return windows.Window(day, day)


def rows_of(day, count, seed):
    """Return rows of a day, clicked at the rates of their items."""
    rng = np.random.default_rng(seed)
    item = rng.integers(1, 9, count)
    return {
        "user_id": rng.integers(1, 20, count).astype(np.int32),
        "item_id": item.astype(np.int32),
        "price": rng.random(count).astype(np.float32),
        "click": (rng.random(count) < RATES[item - 1]).astype(np.float32),
        "timestamp": windows.day_number(day) * 86_400 + np.arange(count),
    }


def downsampled(rows, weigh):
    """Return the clicks and some of the other rows, with weights if asked."""
    rng = np.random.default_rng(3)
    kept = (rows["click"] == 1) | (rng.random(len(rows["click"])) < KEPT)
    rows = {name: column[kept] for name, column in rows.items()}
    if weigh:
        rows["weight"] = np.where(rows["click"] == 1, 1, 1 / KEPT)
    return rows


def make_data(path, weigh, seed=0):
    """Write a downsampled day of ads and a whole one."""
    path.mkdir(parents=True)
    SPEC.save(path / data_directory.SPEC)
    for table, count in zip(SPEC.tables, (20, 8), strict=True):
        space = id_space.new(table)
        space.append(np.arange(count))
        space.save(path / "ids")
    data = data_directory.DataDirectory(path)
    known = {"user": 21, "item": 9}
    few = downsampled(rows_of(DAY, 8_000, seed), weigh)
    data.write_day("ads", DAY, [few], known)
    data.write_day("ads", NEXT, [rows_of(NEXT, 8_000, seed + 1)], known)
    return data


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("weighted") / "data", True)


@pytest.fixture(scope="module")
def trained(weighted):
    """The first day scored and learned."""
    run = Workdir(weighted.path.parent / "run")
    row = model_row("ads_only")
    own = level.Level(weighted, run, CONFIG, row, "ctr")
    daily.DailyTrainer(own).run([window(DAY)])
    return run


def next_day(data, run):
    """Return the scores of the second day, by the model of the first."""
    model = artefacts.read_model(run.ctr("ads_only") / DAY, data)
    return scoring.score(model, data, window(NEXT))


def scores(run, day):
    with np.load(run.ctr("ads_only") / day / "scores.npz") as file:
        return dict(file)


@pytest.mark.long
def test_a_model_of_downsampled_rows_is_calibrated_to_all_rows(
    weighted, trained, tmp_path
):
    full = next_day(weighted, trained)
    assert metrics.pcoc(full["click"], full["ctr"]) == pytest.approx(1, abs=0.1)
    for item in (5, 7, 8):
        of = full["item"] == item
        rate = RATES[item - 1]
        assert full["ctr"][of].mean() == pytest.approx(rate, rel=0.35)
    # Without weights it learns the rate of the rows that were kept.
    data = make_data(tmp_path / "data", False)
    row = model_row("ads_only")
    own = level.Level(data, Workdir(tmp_path / "run"), CONFIG, row, "ctr")
    own.fresh(DAY)
    own.fit({"ads": window(DAY)}, "unweighted", bar=False)
    biased = own.score(window(NEXT))
    assert metrics.pcoc(biased["click"], biased["ctr"]) > 3


def test_metrics_of_a_downsampled_day_are_those_of_the_whole(trained):
    found = scores(trained, DAY)
    assert set(np.unique(found["weight"])) == {1, 10}
    weights = (found["weight"],)
    rate = np.average(found["click"], weights=found["weight"])
    assert rate == pytest.approx(RATES.mean(), rel=0.2)
    assert found["click"].mean() > 3 * rate
    columns = [found[name] for name in ("click", "ctr", "user")]
    evaluated = metrics.evaluate(*columns, *weights)
    assert evaluated["pcoc"] == pytest.approx(
        np.average(found["ctr"], weights=found["weight"]) / rate
    )


def test_served_scores_are_those_of_training(weighted, trained, tmp_path):
    artefact = trained.ctr("ads_only") / DAY
    version = export.export_model(artefact, weighted.path, tmp_path)
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    inputs = serve.structured_input_signature[1]
    assert set(inputs) == {"user_id", "item_id", "price"}
    rows = streams.read_columns(weighted, "ads", window(NEXT))
    served = serve(
        # Row 1 of a table is id 0.
        user_id=tf.constant(rows["user_id"] - 1, tf.int64),
        item_id=tf.constant(rows["item_id"] - 1, tf.int64),
        price=tf.constant(rows["price"]),
    )
    expected = next_day(weighted, trained)["ctr"]
    np.testing.assert_allclose(served["ctr"], expected, atol=1e-6)


def test_the_loss_is_a_mean_by_weight():
    clicks, logits = tf.constant([1.0, 0.0]), tf.constant([0, np.log(3.0)])
    expected = (3 * np.log(2) + np.log(4)) / 4
    for scale in (1e-6, 1.0, 1e6):
        weights = tf.constant([3.0, 1.0]) * scale
        found = ctr_model.log_loss(clicks, logits, weights)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert ctr_model.log_loss(clicks, logits, tf.zeros(2)) == 0
    np.testing.assert_array_equal(
        ctr_model.log_loss(clicks, logits, tf.ones(2)),
        ctr_model.log_loss(clicks, logits),
    )
