"""Models beside a frozen CPM over days of ads in a small world."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ecdctr_tf import artefacts, export, model_table, store
from ecdctr_tf import config as configs
from ecdctr_tf.comparison import matrix, shared, variants
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import costs
from ecdctr_tf.training import daily, fit, natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint
from ecdctr_tf.windows import Window
from tests import training_world
from tests.test_both_domains import planted
from tests.trained import copy, day, days, manifest, scores

pytestmark = pytest.mark.usefixtures("eagerly")

# A killed run can be taken up at every step.
CONFIG = configs.override(
    training_world.SMALL_CONFIG, ["ctr.checkpoint_steps=1"]
)
NAMES = [
    row.name
    for row in model_table.MODELS.values()
    if row.origin == model_table.BESIDE_CPM and row.cpms == 1
]
# What the origin does is tried with one that starts from the CPM and one that
# starts from scratch; what a network can do wrong, with all.
OF_ORIGIN = ("ctnet", "keep")
# Those whose scores do not depend on the CPM, only what they learn from ads.
TAUGHT = ("exfm",)
ROWS = training_world.SMALL_ADS_ROWS
USERS = "embedding/tables/user/embeddings"


class Killed(Exception):
    """Stands for the end of a process."""


def of(name, config=CONFIG):
    """Return the config and the row of a model."""
    row = model_table.model(name)
    return configs.of_model(config, row), row


def train_cpm(data, run, name, first, last, config=CONFIG):
    window = Window(day(first), day(last))
    return natural.train(
        Level(data, run, *of(name, config), artefacts.CPM), window
    )


def trainer_of(data, run, name, config=CONFIG) -> daily.DailyTrainer:
    return daily.DailyTrainer(
        Level(data, run, *of(name, config), artefacts.CTR)
    )


def train(data, run, parts, name, config=CONFIG) -> Workdir:
    """Go through days in a new trainer, as a new process does."""
    trainer_of(data, run, name, config).run(parts)
    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def begun(tmp_path_factory, data):
    """CPMs on days 3 and 4 and on days 5 and 6, the same for all models."""
    run = Workdir(tmp_path_factory.mktemp("begun") / "run")
    for first, last in ((3, 4), (5, 6)):
        train_cpm(data, run, NAMES[0], first, last)
    for name in NAMES[1:]:
        shutil.copytree(run.cpm(NAMES[0]), run.cpm(name))
    return run


@pytest.fixture(scope="module", params=[("natural", 7), ("ads", 6)], ids=str)
def other_future(request, tmp_path_factory, data, begun):
    """Days from day 5 on are planted, also those of the newer CPM.

    These are the domain, the day that sees the plant, the data, and a run with
    the CPMs, which are the same for all models.
    """
    domain, seen = request.param
    place = tmp_path_factory.mktemp("other_future")
    other = planted(data, place / "data", domain, day(5))
    run = copy(begun, place / "run")
    newer = run.cpm(NAMES[0]) / day(6)
    shutil.rmtree(newer)
    train_cpm(other, run, NAMES[0], 5, 6)
    for name in NAMES[1:]:
        shutil.rmtree(run.cpm(name) / day(6))
        shutil.copytree(newer, run.cpm(name) / day(6))
    return domain, seen, other, run


@pytest.fixture(scope="module")
def other_cpm(tmp_path_factory, data):
    """Another CPM on days 5 and 6, the same for all models."""
    run = Workdir(tmp_path_factory.mktemp("other_cpm") / "run")
    config = dataclasses.replace(CONFIG, seed=1)
    train_cpm(data, run, NAMES[0], 5, 6, config)
    return run.cpm(NAMES[0])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data, begun):
    """Days 5 to 7 of each; on the last one the newer CPM is there."""
    run = copy(begun, tmp_path_factory.mktemp("finished") / "run")
    for name in NAMES:
        train(data, run, days(5, 7), name)
    return run


def weights(run, number, name, file=artefacts.WEIGHTS) -> dict:
    return checkpoint.read(run.ctr(name) / day(number) / file)


def of_cpm(run, number, name) -> dict:
    return checkpoint.read(run.cpm(name) / day(number) / artefacts.WEIGHTS)


def score_beside(
    data, run, name, own, beside, number, estimated=None
) -> np.ndarray:
    """Return the scores of a day by a published day beside a CPM.

    Args:
      data: the data directory.
      run: the work directory.
      name: of the model.
      own: its day.
      beside: the day of the CPM.
      number: the day that is scored.
      estimated: the ads that batch norm's statistics and the click rate are
        estimated on before; None: they are those of the published day.
    """
    config, row = of(name)
    level = Level(data, run, config, row, artefacts.CTR)
    level.sources = [
        artefacts.read_cpm(
            run.cpm(name) / day(beside), data, row, config, data.spec
        )
    ]
    level.open(run.ctr(name) / day(own))
    if estimated is not None:
        level.estimate_statistics(estimated, day(number))
        level.calibrate(estimated, day(number))
    return level.score(*days(number, number))["ctr"]


def assert_equal_runs(found: Workdir, expected: Workdir, number, name):
    for file in (artefacts.WEIGHTS, artefacts.OPTIMIZER):
        arrays = weights(found, number, name, file)
        for key, value in weights(expected, number, name, file).items():
            np.testing.assert_allclose(
                arrays[key], value, rtol=1e-5, atol=1e-6, err_msg=key
            )
    for key, value in scores(expected, number, name).items():
        np.testing.assert_allclose(
            scores(found, number, name)[key], value, atol=1e-6
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_day_is_scored_before_it_is_trained_on(data, finished, name):
    """By the day before, beside the CPM of then, and not by its own."""
    found = scores(finished, 6, name)["ctr"]
    before = score_beside(data, finished, name, own=5, beside=4, number=6)
    np.testing.assert_allclose(found, before, atol=1e-6)
    after = score_beside(data, finished, name, own=6, beside=4, number=6)
    assert np.abs(found - after).max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_newer_cpm_takes_the_place_of_the_source_only(data, finished, name):
    """Day 7 is scored by day 6 as it was, beside the newer CPM.

    Only the statistics of batch norm are estimated anew, on the newest ads, and
    the output bias is shifted to their click rate. The moving statistics
    remember ten batches of 8 rows; there are 64 rows of ads.
    """
    found = scores(finished, 7, name)["ctr"]
    newer = score_beside(
        data,
        finished,
        name,
        own=6,
        beside=6,
        number=7,
        estimated=Window(day(3), day(6)),
    )
    np.testing.assert_allclose(found, newer, atol=1e-6)
    older = score_beside(data, finished, name, own=6, beside=4, number=7)
    assert np.abs(found - older).max() > 1e-5
    paths = [
        manifest(finished, n, name).parents["cpm"]["path"][-10:]
        for n in (5, 6, 7)
    ]
    assert paths == [day(4), day(4), day(6)]
    # Nothing starts anew: rows and steps go on, users away stay as they were.
    assert [manifest(finished, n, name).rows for n in (5, 6, 7)] == [
        ROWS,
        2 * ROWS,
        3 * ROWS,
    ]
    steps = weights(finished, 7, name, artefacts.OPTIMIZER)["dense_optimizer/0"]
    assert int(steps) == 3 * ROWS // CONFIG.ctr.batch_size
    seen = scores(finished, 7, name)["user"]
    away = np.setdiff1d(np.arange(1, 18), seen)
    assert len(away)
    before, after = (weights(finished, n, name)[USERS] for n in (6, 7))
    np.testing.assert_array_equal(after[away], before[away])


@pytest.mark.parametrize("name", OF_ORIGIN)
def test_the_frozen_cpm_keeps_its_bits(data, begun, tmp_path, name):
    run = copy(begun, tmp_path / "run")
    trainer = trainer_of(data, run, name)
    trainer.run(days(5, 6))
    (source,) = trainer._level.model.sources
    variables = checkpoint.named_variables(source.parts())
    expected = of_cpm(begun, 4, name)
    assert set(variables) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(variables[key].numpy(), value, key)
    assert training_world.tree(run.cpm(name)) == training_world.tree(
        begun.cpm(name)
    )
    # It is not published with the days.
    assert not any("source" in key for key in weights(run, 6, name))


def test_ctnet_starts_as_the_cpm(data, begun, finished):
    """The first day is scored as by the CPM alone; the report says why.

    The CPM is brought to the click rate of the ads before.
    """
    level = Level(data, finished, *of("ctnet"), artefacts.CPM)
    level.open(finished.cpm("ctnet") / day(4))
    level.calibrate(Window(day(3), day(4)), day(5))
    expected = level.score(*days(5, 5))["ctr"]
    found = scores(finished, 5, "ctnet")["ctr"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    report = json.loads(
        (finished.ctr("ctnet") / day(5) / "restore.json").read_text()
    )
    status = {v["name"]: v["status"] for v in report["variables"]}
    new = {name for name in status if status[name] == "new"}
    assert {n.split("/")[0] for n in new} == {"adapters", "head_adapter"}
    assert {status[n] for n in set(status) - new} <= {"restored", "remapped"}
    assert not (finished.ctr("ctnet") / day(7) / "restore.json").exists()


def test_adapters_count_neither_as_restored_nor_as_missing(
    data, begun, tmp_path
):
    config = configs.override(CONFIG, ["warm_start.min_restored=1"])
    run = copy(begun, tmp_path / "run")
    train(data, run, days(5, 5), "ctnet", config)
    assert store.dated(run.ctr("ctnet")) == [day(5)]


def test_keep_starts_from_scratch(data, finished):
    """Users without ads have fresh rows, not those of the CPM."""
    config, row = of("keep")
    level = Level(data, finished, config, row, artefacts.CTR)
    path = finished.cpm("keep") / day(4)
    level.sources = [artefacts.read_cpm(path, data, row, config, data.spec)]
    level.fresh(day(4))
    start = level.model.embedding.tables["user"].embeddings.numpy()
    seen = scores(finished, 5, "keep")["user"]
    away = np.setdiff1d(np.arange(1, 17), seen)
    assert len(away)
    found = weights(finished, 5, "keep")[USERS][away]
    np.testing.assert_array_equal(found, start[away])
    assert np.any(found != of_cpm(finished, 4, "keep")[USERS][away])
    assert not (finished.ctr("keep") / day(5) / "restore.json").exists()


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_killed_on_every_day_a_new_process_ends_with_the_same_numbers(
    data, begun, finished, tmp_path, monkeypatch, name
):
    """Killed in the middle of each day, which another one takes up."""
    run = copy(begun, tmp_path / "run")
    keep = fit._Recorder.keep

    def die(self):
        keep(self)
        raise Killed

    for number in (5, 6, 7):
        with monkeypatch.context() as patch:
            patch.setattr(fit._Recorder, "keep", die)
            with pytest.raises(Killed):
                train(data, run, days(number, number), name)
        steps = list(run.path.glob(f".progress/{name}/ctr/*/*1"))
        assert len(steps) == 1, steps
        train(data, run, days(number, number), name)
    for number in (5, 6, 7):
        assert_equal_runs(run, finished, number, name)


_DETERMINISTIC = """
import sys
import tensorflow as tf
tf.config.experimental.enable_op_determinism()
tf.config.run_functions_eagerly(True)
from tests import test_beside_cpm
test_beside_cpm.train_a_day(*sys.argv[1:])
"""


def train_a_day(data_dir, run) -> None:
    """Train all on the first day."""
    data, run = DataDirectory(data_dir), Workdir(pathlib.Path(run))
    for name in NAMES:
        train(data, run, days(5, 5), name)


@pytest.mark.long
def test_with_deterministic_operations_the_numbers_are_the_same(
    data, begun, finished, tmp_path
):
    """In a process of its own: determinism cannot be taken back."""
    run = copy(begun, tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-c", _DETERMINISTIC, data.path, run.path],
        cwd=training_world.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in NAMES:
        assert_equal_runs(run, finished, 5, name)


@pytest.mark.parametrize("name", NAMES)
def test_the_future_of_no_domain_changes_a_score(
    finished, other_future, tmp_path, name
):
    domain, seen, other, begun = other_future
    run = copy(begun, tmp_path / "run")
    train(other, run, days(5, seen), name)
    for number in range(5, seen + 1):
        found, expected = (
            scores(r, number, name)["ctr"] for r in (run, finished)
        )
        differs = np.abs(found - expected).max()
        # The day after it the plant is the past, and is seen.
        past = number == seen and not (domain == "natural" and name in TAUGHT)
        assert differs > 1e-5 if past else differs < 1e-6, number


@pytest.mark.parametrize("name", OF_ORIGIN)
def test_a_cpm_that_has_seen_the_scored_day_is_refused(
    data, begun, tmp_path, name
):
    """Whatever the name of its directory says."""
    run = copy(begun, tmp_path / "run")
    shutil.rmtree(run.cpm(name) / day(4))
    with pytest.raises(FileNotFoundError, match=f"no CPM from before {day(5)}"):
        train(data, run, days(5, 5), name)
    shutil.move(run.cpm(name) / day(6), run.cpm(name) / day(4))
    with pytest.raises(ValueError, match=day(6)):
        train(data, run, days(5, 5), name)
    assert not store.dated(run.ctr(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_cpm_of_a_published_day_is_needed(
    data, finished, other_cpm, tmp_path, name
):
    """That very one: another one in its place is refused."""
    run = copy(finished, tmp_path / "run")
    shutil.rmtree(run.cpm(name) / day(6))
    with pytest.raises(FileNotFoundError, match=f"{day(6)}.* is gone"):
        train(data, run, days(8, 8), name)
    shutil.rmtree(run.cpm(name))
    shutil.copytree(other_cpm, run.cpm(name))
    with pytest.raises(ValueError, match=f"{day(6)} is not the artefact from"):
        train(data, run, days(8, 8), name)


@pytest.mark.parametrize("name", OF_ORIGIN)
def test_tables_grow_and_those_of_the_source_do_not(begun, tmp_path, name):
    """Sixty users come on day 6, more than there is room for."""
    grown = training_world.small_data(tmp_path / "data", jump=day(6))
    run = Workdir(tmp_path / "run")
    train_cpm(grown, run, name, 3, 4)
    trainer = trainer_of(grown, run, name)
    trainer.run(days(5, 6))
    before, after = (weights(run, n, name)[USERS] for n in (5, 6))
    assert len(before) < 78 <= len(after)
    (source,) = trainer._level.model.sources
    assert source.embedding.tables["user"].capacity == len(before)
    found = trainer._level.score(*days(7, 7))["ctr"]
    expected = score_beside(grown, run, name, own=6, beside=4, number=7)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", OF_ORIGIN)
def test_unread_settings_change_nothing(data, begun, finished, tmp_path, name):
    """No TPM, no history, no restart, whatever the config says of them."""
    settings = ["warm_start.refresh=restart"]
    settings += ["history.snapshots=2", "ads_only.batch_size=4"]
    config = configs.override(CONFIG, settings)
    run = copy(begun, tmp_path / "run")
    train(data, run, days(5, 7), name, config)
    assert_equal_runs(run, finished, 7, name)


def test_a_comparison_trains_one_cpm_for_all(data, tmp_path):
    """That of fine-tuning; the days of each model are its own."""
    schedule = configs.ScheduleConfig(
        cpm_days=2, ctr_first=day(5), ctr_last=day(5), catch_up_days=1
    )
    config = dataclasses.replace(CONFIG, schedule=schedule)
    chosen = variants.chosen(["cpm_finetune", *NAMES])
    runs = matrix.Matrix(data, tmp_path, config, trials=1).run(chosen, (0,))
    works = [r.workdirs[0] for r in runs]
    assert len({w.cpm("x") for w in works}) == 1
    assert len({w.path for w in works}) == len(chosen)
    assert len(list(tmp_path.glob("cpm/*/*/manifest.json"))) == 1
    for r, run in zip(runs, works, strict=True):
        assert isinstance(run, shared.SharedWorkdir)
        assert store.dated(run.ctr(r.row.base)) == [day(5)]
        found = costs.costs(r)
        assert set(found) == {"cpm", "ctr"}
        # What is frozen is counted with the CPM: the days hold no copy of it.
        assert found["ctr"]["bytes"] < 2 * found["cpm"]["bytes"]
        # The day to catch up on, and the scored one.
        last = store.read_manifest(run.ctr(r.row.base) / day(5), "ctr")
        assert last.rows == 2 * ROWS


def test_kgd_is_exported_with_what_it_reads_of_the_cpm(
    data, finished, tmp_path
):
    """The export answered as the model does before it got its name."""
    artefact = finished.ctr("kgd") / day(6)
    version = export.export_model(artefact, data.path, tmp_path)
    assert (version / "saved_model.pb").exists()
