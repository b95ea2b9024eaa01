"""Commands in an order that nobody planned, and weights that got lost in it."""

import dataclasses
import logging
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import artefacts, model_table, stages, store
from ecdctr_tf import config as configs
from ecdctr_tf import scoring as scoring_lib
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models import ctr_model
from ecdctr_tf.training import daily, fit, history, natural
from ecdctr_tf.training import level as levels
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint
from ecdctr_tf.windows import Window
from tests import training_world
from tests.trained import day

pytestmark = pytest.mark.usefixtures("eagerly")

CONFIG = training_world.SMALL_CONFIG
E_CDCTR = model_table.model("e_cdctr")
USERS = "embedding/tables/user/embeddings"


def train_natural(data, run, kind, first, last, config=CONFIG):
    window = Window(day(first), day(last))
    return natural.train(Level(data, run, config, E_CDCTR, kind), window)


def train_days(data, run, *numbers, config=CONFIG, row=E_CDCTR):
    config = configs.of_model(config, row)
    trainer = daily.DailyTrainer(Level(data, run, config, row, "ctr"))
    trainer.run([Window(day(n), day(n)) for n in numbers])


def manifest(run, number, kind="ctr") -> store.Manifest:
    return store.read_manifest(run.level(kind, "e_cdctr") / day(number), kind)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A TPM of days 1 and 2 and a CPM of 3 and 4; 60 users come on day 6."""
    place = tmp_path_factory.mktemp("order")
    data = training_world.small_data(place / "data", jump=day(6))
    run = Workdir(place / "run")
    train_natural(data, run, "snapshot", 1, 2)
    history.aggregate(run, CONFIG)
    train_natural(data, run, "cpm", 3, 4)
    return place


@pytest.fixture
def data(place):
    return DataDirectory(place / "data")


@pytest.fixture
def run(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    return Workdir(tmp_path / "run")


@pytest.fixture
def scoring(monkeypatch):
    """Users known, and their vectors, at each day that is scored."""
    seen = []

    def spy(model, *arguments):
        table = model.embedding.tables["user"]
        known = int(table.vocab_size.numpy())
        seen.append((known, table.embeddings.numpy()[:known]))
        return score(model, *arguments)

    score = scoring_lib.score
    monkeypatch.setattr(scoring_lib, "score", spy)
    return seen


def test_a_late_cpm_takes_no_users_away(data, run, scoring):
    """The CPM of day 5 comes when the A-CTR has learned day 6.

    It knows 17 rows of users (day 5), the A-CTR 78.
    """
    config = configs.override(CONFIG, ["warm_start.refresh=change"])
    train_days(data, run, 5, 6, config=config)
    # Before day 5 the newest ads are scored too: a CPM has come.
    assert [known for known, _ in scoring] == [16, 16, 17]
    train_natural(data, run, "cpm", 5, 5)
    scoring.clear()
    train_days(data, run, 7, config=config)
    known, vectors = scoring[-1]
    assert known == 78
    assert manifest(run, 7).parents["cpm"]["path"].endswith(day(5))
    # Rows that the CPM does not know are as the A-CTR learned them; the others
    # have the change of the CPM.
    path = run.ctr("e_cdctr") / day(6) / artefacts.WEIGHTS
    before = checkpoint.read(path)[USERS]
    np.testing.assert_array_equal(vectors[17:], before[17:78])
    assert np.any(vectors[:17] != before[:17])


def test_a_cpm_that_is_late_by_more_days_takes_nothing_back(data, run, caplog):
    """On day 8 a lag of two days allows for the CPM of day 4 only."""
    train_natural(data, run, "cpm", 5, 6)
    train_days(data, run, 7)
    late = configs.override(CONFIG, ["schedule.cpm_lag=2"])
    with caplog.at_level(logging.WARNING):
        train_days(data, run, 8, config=late)
    for number in (7, 8):
        assert manifest(run, number).parents["cpm"]["path"].endswith(day(6))
    assert f"keeps the CPM of {day(6)} for {day(8)}" in caplog.text
    assert not (run.ctr("e_cdctr") / day(8) / artefacts.RESTORE).exists()


def test_a_typo_leaves_nothing_behind(data, tmp_path):
    """The command is given again without it."""

    def train(exclude):
        config = configs.override(CONFIG, [f"model.exclude={exclude}"])
        stages.run(
            stages.Request(
                stage="ctr",
                data_dir=data.path,
                workdir=tmp_path / "run",
                config=config,
                models=("ads_only",),
                window=Window(day(5), day(5)),
            )
        )

    with pytest.raises(ValueError, match="prise"):
        train("prise")
    assert not (tmp_path / "run").exists()
    train("price")
    assert store.dated(tmp_path / "run/ads_only/ctr") == [day(5)]


def test_a_fitted_window_outlives_a_failed_publication(
    data, tmp_path, monkeypatch
):
    """As where the disk was full: training is not done again."""
    run = Workdir(tmp_path / "run")
    config = configs.override(CONFIG, ["tpm.checkpoint_steps=1"])

    def fail(self, *arguments):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(levels.Level, "_write", fail)
        with pytest.raises(OSError, match="No space left"):
            train_natural(data, run, "snapshot", 1, 2, config)
    assert not store.dated(run.tpm)
    # 48 rows, eight at a time.
    progress = run.progress("snapshot", "e_cdctr") / day(2)
    assert store.dated(progress) == ["000000005", "000000006"]

    def train_steps(self, *arguments):
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(ctr_model.CTRModel, "train_steps", train_steps)
        train_natural(data, run, "snapshot", 1, 2, config)
    assert manifest(run, 2, "snapshot").rows == 48
    assert not progress.exists()


def rates(level: str) -> configs.Config:
    """Return a config whose learning rates make a level diverge."""
    fields = ("dense_learning_rate", "table_learning_rate")
    return configs.override(CONFIG, [f"{level}.{f}=1e38" for f in fields])


def test_a_tpm_that_diverged_is_not_published(data, tmp_path):
    run = Workdir(tmp_path / "run")
    with pytest.raises(fit.DivergenceError, match="tpm .* diverged"):
        train_natural(data, run, "snapshot", 1, 2, rates("tpm"))
    assert not store.dated(run.tpm)
    with pytest.raises(FileNotFoundError, match="holds no snapshot"):
        history.aggregate(run, CONFIG)
    # Lower rates are enough: nothing has to be cleared away.
    train_natural(data, run, "snapshot", 1, 2)


def test_levels_that_diverged_are_not_published(data, run):
    shutil.rmtree(run.cpm("e_cdctr"))
    with pytest.raises(fit.DivergenceError, match="cpm .* diverged"):
        train_natural(data, run, "cpm", 3, 4, rates("cpm"))
    assert not store.dated(run.cpm("e_cdctr"))
    train_natural(data, run, "cpm", 3, 4)
    with pytest.raises(fit.DivergenceError, match="e_cdctr .* diverged"):
        train_days(data, run, 5, config=rates("ctr"))
    assert not store.dated(run.ctr("e_cdctr"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_not_written(tmp_path, value):
    vectors = np.array([[1.0, value]], np.float32)
    with pytest.raises(
        checkpoint.NotFiniteError, match="user/vectors hold values"
    ):
        checkpoint.write(tmp_path / "snapshot", {"user/vectors": vectors})
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="JSON"):
        fit.curve_text([{"step": 1, "rows": 8, "loss": value}])


class _Taller(ctr_model.CTRModel):
    """A model with one more layer, kept in an attribute of a given name."""

    kept_in: str

    def _make_top(self, config, l2, policy):
        super()._make_top(config, l2, policy)
        setattr(self, self.kept_in, keras.layers.Dense(3))

    def _top(self, x, domain, training):
        more = getattr(self, self.kept_in)(x)  # [B, 3]
        more = tf.reduce_sum(more, axis=1, keepdims=True)
        return super()._top(x, domain, training) + more


@pytest.fixture
def taller(monkeypatch):
    """Return a function that adds a row for a model with one more layer."""

    def add(kept_in) -> model_table.ModelRow:
        network = type("Taller", (_Taller,), {"kept_in": kept_in})
        monkeypatch.setattr(ctr_model, "Taller", network, raising=False)
        row = dataclasses.replace(
            model_table.model("ads_only"),
            name="taller",
            network="ctr_model.Taller",
        )
        monkeypatch.setitem(model_table.MODELS, "taller", row)
        return row

    return add


def test_a_layer_in_a_public_attribute_is_saved(data, tmp_path, taller):
    run, row = Workdir(tmp_path / "run"), taller("extra")
    train_days(data, run, 5, row=row)
    path = run.ctr("taller") / day(5)
    kernel = checkpoint.read(path / artefacts.WEIGHTS)["extra/kernel"]
    model = artefacts.read_model(path, data)
    np.testing.assert_array_equal(model.extra.kernel.numpy(), kernel)
    fresh = artefacts.build(
        data.spec,
        configs.of_model(CONFIG, row),
        row,
        "ctr",
        data.table_rows(day(4)),
    )
    assert np.any(kernel != fresh.extra.kernel.numpy())


def test_a_layer_in_a_private_attribute_is_rejected(data, tmp_path, taller):
    run, row = Workdir(tmp_path / "run"), taller("_extra")
    with pytest.raises(
        ValueError, match="Taller has weights that no checkpoint.*public"
    ):
        train_days(data, run, 5, row=row)
    assert not store.dated(run.ctr("taller"))


def test_parents_say_whether_tables_started_from_a_tpm(data, run):
    """No snapshot ended before day 2; one did before day 3."""
    assert CONFIG.history.start_tables
    assert "tpm" in manifest(run, 4, "cpm").parents
    shutil.rmtree(run.cpm("e_cdctr"))
    train_natural(data, run, "cpm", 2, 4)
    assert "tpm" not in manifest(run, 4, "cpm").parents
