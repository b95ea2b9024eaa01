"""Joint models over days of both domains in a small world."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import artefacts, export, model_table, scoring, store
from ecdctr_tf import config as configs
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import daily, fit
from ecdctr_tf.training import level as levels
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint
from ecdctr_tf.windows import Window
from tests import training_world
from tests.trained import day, days

pytestmark = pytest.mark.usefixtures("eagerly")

NAMES = [
    row.name
    for row in model_table.MODELS.values()
    if row.origin == model_table.BOTH_DOMAINS
]
CONFIG = configs.override(
    training_world.SMALL_CONFIG,
    [
        *(f"{name}.batch_size=8" for name in NAMES),
        "schedule.cpm_days=2",
        "schedule.catch_up_days=1",
    ],
)
NATURAL, ADS = training_world.SMALL_NATURAL_ROWS, training_world.SMALL_ADS_ROWS
# Two days of natural logs and one of ads come before the first scored day.
START, DAY = 2 * NATURAL + ADS, NATURAL + ADS


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    """Days 5 and 6 of each model, made when it is asked for."""
    place, made = tmp_path_factory.mktemp("joint"), {}

    def of(name) -> Workdir:
        if name not in made:
            run = Workdir(place / name)
            made[name] = train(data, run, days(5, 6), name=name)
        return made[name]

    return of


def train(data, run, parts, config=CONFIG, name="joint") -> Workdir:
    """Go through days in a new trainer, as a new process does."""
    row = model_table.model(name)
    of_model = configs.of_model(config, row)
    daily.DailyTrainer(Level(data, run, of_model, row, "ctr")).run(parts)
    return run


def scores(run, number, name="joint") -> dict:
    with np.load(run.ctr(name) / day(number) / artefacts.SCORES) as file:
        return {key: file[key] for key in file.files}


def manifest(run, number, name="joint") -> store.Manifest:
    return store.read_manifest(run.ctr(name) / day(number), "ctr")


def weights(run, number, name="joint", file=artefacts.WEIGHTS) -> dict:
    return checkpoint.read(run.ctr(name) / day(number) / file)


def load(data, run, number, name):
    return artefacts.read_model(run.ctr(name) / day(number), data)


def assert_equal_runs(found: Workdir, expected: Workdir, number, name="joint"):
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
    """As ads, by the published model of the day before."""
    run = finished(name)
    found = scores(run, 6, name)
    before, after = (load(data, run, n, name) for n in (5, 6))
    columns = streams.read_columns(data, "ads", *days(6, 6))
    inputs = {n: tf.constant(columns[n]) for n in ("user_id", "item_id")}
    inputs |= {n: tf.constant(columns[n]) for n in ("price", "day")}
    domains = {d: tf.fill([ADS], d) for d in (0, 1)}
    ads = before.score({**inputs, "domain": domains[1]})
    np.testing.assert_allclose(found["ctr"], ads, atol=1e-6)
    natural = before.score({**inputs, "domain": domains[0]})
    assert np.abs(found["ctr"] - natural).max() > 1e-4
    later = after.score({**inputs, "domain": domains[1]})
    assert np.abs(found["ctr"] - later).max() > 1e-4
    np.testing.assert_array_equal(found["click"], columns["click"])
    np.testing.assert_array_equal(found["user"], columns["user_id"])


@pytest.mark.parametrize("name", NAMES)
def test_a_new_process_goes_on_with_the_same_numbers(
    data, finished, tmp_path, name
):
    run = Workdir(tmp_path / "run")
    for part in days(5, 6):
        train(data, run, [part], name=name)
    assert_equal_runs(run, finished(name), 6, name)


def test_rows_of_both_domains_are_counted(finished):
    run = finished("joint")
    for number, rows in ((5, START + DAY), (6, START + 2 * DAY)):
        assert manifest(run, number).rows == rows
        assert manifest(run, number).metrics["trained_rows"] == DAY
        assert manifest(run, number).metrics["rows"] == ADS
        assert manifest(run, number).metrics["seconds"] > 0
        assert manifest(run, number).window == Window(day(number), day(number))
        state = weights(run, number, file=artefacts.OPTIMIZER)
        assert int(state["dense_optimizer/0"]) == rows // 8
    curve = json.loads((run.ctr("joint") / day(6) / "curve.json").read_text())
    assert curve[-1]["rows"] == DAY
    assert manifest(run, 6).parents == {}


def test_windows_that_are_learned(data, tmp_path, monkeypatch):
    """Before the first scored day those of the schedule, then each day."""
    seen = []

    def spy(self, parts, *args, **kwargs):
        seen.append({name: str(window) for name, window in parts.items()})
        return fit_level(self, parts, *args, **kwargs)

    fit_level = levels.Level.fit
    monkeypatch.setattr(levels.Level, "fit", spy)
    train(data, Workdir(tmp_path / "run"), days(5, 6))
    assert seen == [
        {"natural": f"{day(3)}..{day(4)}", "ads": f"{day(4)}..{day(4)}"},
        {"natural": f"{day(5)}..{day(5)}", "ads": f"{day(5)}..{day(5)}"},
        {"natural": f"{day(6)}..{day(6)}", "ads": f"{day(6)}..{day(6)}"},
    ]


def test_start_without_ads_and_windows_of_days(data, tmp_path):
    config = configs.override(CONFIG, ["schedule.catch_up_days=0"])
    window = Window(day(5), day(6))
    run = train(data, Workdir(tmp_path / "run"), [window], config)
    assert store.dated(run.ctr("joint")) == [day(6)]
    assert manifest(run, 6).rows == 2 * NATURAL + 2 * DAY
    assert manifest(run, 6).window == window
    assert len(scores(run, 6)["ctr"]) == 2 * ADS


def test_settings_of_other_levels_change_nothing(data, finished, tmp_path):
    """No TPM, no CPM, no history: what is said of them is not used."""
    config = configs.override(
        CONFIG, ["ctr.batch_size=4", "history.snapshots=2", "cpm.passes=3"]
    )
    run = train(data, Workdir(tmp_path / "run"), days(5, 5), config)
    assert_equal_runs(run, finished("joint"), 5)
    names = {path.name for path in run.path.iterdir()}
    assert not names & {"tpm", "historical"}
    assert not run.cpm("joint").exists()


# The first window that ends is the start, the second the first day.
@pytest.mark.parametrize("ended", [1, 2])
def test_a_killed_day_is_taken_up(data, finished, tmp_path, ended):
    config = configs.override(CONFIG, ["joint.checkpoint_steps=2"])
    run = Workdir(tmp_path / "run")
    left = [ended]
    close = fit._Recorder.close

    def die(self):
        left[0] -= 1
        if not left[0]:
            raise Killed
        close(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit._Recorder, "close", die)
        with pytest.raises(Killed):
            train(data, run, days(5, 6), config)
    assert list(run.path.glob(".progress/joint/ctr/*/*/state.index"))
    assert not store.dated(run.ctr("joint"))
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        restore = fit._Recorder.restore

        def spy(self, variables):
            restore(self, variables)
            steps.append(self.step)

        patch.setattr(fit._Recorder, "restore", spy)
        train(data, run, days(5, 6), config)
    # Of eight steps of the start and of five of the day; the last was the end.
    # States of the start are kept until the day is published.
    assert steps == [[8, 0, 0], [8, 4, 0]][ended - 1]
    for number in (5, 6):
        assert_equal_runs(run, finished("joint"), number)


def planted(data, path, domain, first) -> DataDirectory:
    """Return a copy whose clicks give the item away from a day on."""
    shutil.copytree(data.path, path)
    copy = DataDirectory(path)
    for name in [d for d in copy.days(domain) if d >= first]:
        columns = streams.read_columns(data, domain, Window(name, name))
        del columns["day"]
        columns["click"] = (columns["item_id"] % 2).astype(np.float32)
        ids = data.manifest(domain, name).ids
        shutil.rmtree(path / domain / name)
        rows = {table: entry["rows"] for table, entry in ids.items()}
        copy.write_day(domain, name, [columns], rows)
    return copy


@pytest.mark.parametrize("domain", ["natural", "ads"])
@pytest.mark.parametrize("name", ["joint", "star"])
def test_the_future_of_no_domain_changes_a_score(
    data, finished, tmp_path, domain, name
):
    """Planted from day 5 on; the day after it has become the past."""
    other = planted(data, tmp_path / "data", domain, day(5))
    run = train(other, Workdir(tmp_path / "run"), days(5, 6), name=name)
    found = [scores(run, n, name)["ctr"] for n in (5, 6)]
    expected = [scores(finished(name), n, name)["ctr"] for n in (5, 6)]
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    assert np.abs(found[1] - expected[1]).max() > 1e-4


def test_a_user_first_seen_on_the_scored_day_is_unknown(finished):
    assert manifest(finished("joint"), 5).ids["user"]["rows"] == 12 + 5
    assert scores(finished("joint"), 6)["user"][0] == 12 + 5


@pytest.mark.parametrize("name", ["ple", "star"])
def test_tables_grow_into_a_larger_model(tmp_path, name):
    """Sixty users come on day 6, more than there is room for."""
    grown = training_world.small_data(tmp_path / "data", jump=day(6))
    run = train(grown, Workdir(tmp_path / "run"), days(5, 6), name=name)
    users = "embedding/tables/user/embeddings"
    before, after = (weights(run, n, name) for n in (5, 6))
    assert len(before[users]) < 78 <= len(after[users])
    assert set(before) == set(after)
    assert manifest(run, 6, name).rows == START + 2 * DAY
    model = load(grown, run, 6, name)
    assert np.isfinite(scoring.score(model, grown, days(7, 7)[0])["ctr"]).all()


def test_days_without_ads_are_passed_over(tmp_path):
    data = training_world.small_data(tmp_path / "data", empty=day(5))
    run = train(data, Workdir(tmp_path / "run"), days(5, 6))
    assert store.dated(run.ctr("joint")) == [day(6)]
    # Days 4 and 5 of natural logs, no ads, then day 6.
    assert manifest(run, 6).rows == 2 * NATURAL + DAY


def test_published_days_are_left_alone(data, finished):
    before = training_world.tree(finished("joint").path)
    train(data, finished("joint"), days(5, 6))
    assert training_world.tree(finished("joint").path) == before


def test_days_that_are_not_there_raise_before_anything_is_done(data, tmp_path):
    run = Workdir(tmp_path / "run")
    with pytest.raises(ValueError, match="natural lacks 2024-01-07"):
        train(data, run, days(6, 7))
    with pytest.raises(ValueError, match="ads lacks 2024-01-02"):
        train(data, run, days(2, 3))
    assert not run.path.exists()


def test_no_natural_logs_to_start_with_raise(data, tmp_path):
    shutil.copytree(data.path, tmp_path / "data")
    for number in range(1, 5):
        shutil.rmtree(tmp_path / "data" / "natural" / day(number))
    with pytest.raises(ValueError, match="none of the 2 days before .*01-05"):
        train(
            DataDirectory(tmp_path / "data"),
            Workdir(tmp_path / "run"),
            days(5, 5),
        )


def test_requests_are_answered_as_ads(data, finished, tmp_path):
    """The export was compared with the model before it got its name."""
    name = "joint"
    artefact = finished(name).ctr(name) / day(6)
    version = export.export_model(artefact, data.path, tmp_path)
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    columns = streams.read_columns(data, "ads", *days(7, 7))
    space = {t: data.id_spaces[t] for t in ("user", "item")}
    found = served(
        user_id=tf.constant(space["user"].ids[columns["user_id"] - 1]),
        item_id=tf.constant(space["item"].ids[columns["item_id"] - 1]),
        price=tf.constant(columns["price"]),
    )
    model = load(data, finished(name), 6, name)
    inputs = {n: tf.constant(columns[n]) for n in ("user_id", "item_id")}
    inputs |= {n: tf.constant(columns[n]) for n in ("price", "day")}
    expected = model.score({**inputs, "domain": tf.fill([ADS], 1)})
    np.testing.assert_allclose(found["ctr"], expected, atol=1e-6)
