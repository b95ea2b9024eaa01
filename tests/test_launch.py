"""Before the first ads: what a CPM alone would score their first day with."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import stages, store
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.model_table import model as model_row
from ecdctr_tf.training import daily, schedule
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.windows import Window
from tests import training_world

pytestmark = pytest.mark.usefixtures("eagerly")

CONFIG = configs.override(
    training_world.SMALL_CONFIG,
    ["schedule.tpm_days=2", "schedule.cpm_days=2"],
)
FIRST = "2024-01-05"
EVE = "2024-01-04"


def request(data, run, stage, window=None, models=("e_cdctr",)):
    return stages.Request(
        stage, data, run, CONFIG, models=models, window=window
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("launch")


@pytest.fixture(scope="module")
def later(place):
    """Logs with ads from the first day on."""
    data = training_world.small_data(place / "later")
    for day in ("2024-01-03", EVE):
        shutil.rmtree(data.path / "ads" / day)
    return DataDirectory(data.path)


@pytest.fixture(scope="module")
def data(place, later):
    """The same logs on the eve of the first day."""
    shutil.copytree(later.path, place / "data")
    shutil.rmtree(place / "data" / "ads")
    for day in (FIRST, "2024-01-06"):
        shutil.rmtree(place / "data" / "natural" / day)
    return DataDirectory(place / "data")


@pytest.fixture(scope="module")
def run(place, data):
    """All stages on the eve."""
    stages.run(request(data.path, place / "run", "all"))
    return Workdir(place / "run")


@pytest.fixture(scope="module")
def first_day(place, later, run):
    """What the A-CTR scores the first day with, before it learns of it."""
    shutil.copytree(run.path, place / "scored")
    row = model_row("e_cdctr")
    scored = Workdir(place / "scored")
    level = Level(later, scored, CONFIG, row, "ctr")
    daily.DailyTrainer(level).run([Window(FIRST, FIRST)])
    with np.load(scored.ctr("e_cdctr") / FIRST / "scores.npz") as file:
        return dict(file)


def test_levels_of_natural_logs_are_planned_up_to_the_eve(data):
    plan = schedule.plan(data, CONFIG.schedule)
    assert [str(w) for w in plan.tpm] == [
        "2024-01-01..2024-01-02",
        "2024-01-03..2024-01-04",
    ]
    assert [str(w) for w in plan.cpm] == ["2024-01-03..2024-01-04"]
    assert plan.ctr == []


def test_the_export_scores_the_first_day_as_the_a_ctr_does(
    run, later, first_day
):
    loaded = tf.saved_model.load(str(run.path / "export" / "20240104"))
    rows = streams.read_columns(later, "ads", Window(FIRST, FIRST))
    # Row 1 of a table is id 0.
    raw = {
        "user_id": tf.constant(rows["user_id"] - 1, tf.int64),
        "item_id": tf.constant(rows["item_id"] - 1, tf.int64),
        "price": tf.constant(rows["price"]),
    }
    served = loaded.signatures["serving_default"](**raw)["ctr"].numpy()
    np.testing.assert_allclose(served, first_day["ctr"], atol=1e-6)


def test_the_launch_is_no_day_of_the_a_ctr(run):
    assert store.dated(run.ctr("e_cdctr")) == []
    launched = run.launch("e_cdctr") / EVE
    manifest = store.verify(launched, "ctr")
    assert manifest.rows == 0
    assert {"cpm", "historical 2024-01-04"} <= set(manifest.parents)


def test_the_same_command_again_changes_nothing(data, run):
    before = training_world.tree(run.path / "e_cdctr" / "launch")
    stages.run(request(data.path, run.path, "export"))
    assert training_world.tree(run.path / "e_cdctr" / "launch") == before


def test_where_there_are_ads_they_are_trained_on_first(later, run):
    with pytest.raises(FileNotFoundError, match="holds no day to export"):
        stages.run(request(later.path, run.path, "export"))


def test_a_model_without_a_cpm_has_no_launch(data, run):
    with pytest.raises(FileNotFoundError, match="ads_only.*holds no day"):
        stages.run(request(data.path, run.path, "export", models=("ads_only",)))


def test_a_launch_needs_a_cpm(place, data):
    with pytest.raises(FileNotFoundError, match="--stage=cpm"):
        stages.run(request(data.path, place / "empty", "export"))
