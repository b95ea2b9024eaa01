"""A window is fitted, interrupted and taken up again in one process."""

import dataclasses
import json
import pathlib
import signal

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import store, termination
from ecdctr_tf.input import streams
from ecdctr_tf.model_table import model as model_row
from ecdctr_tf.training import fit
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint
from ecdctr_tf.windows import Window

WINDOW = Window("2024-01-01", "2024-01-03")
# 60 rows twice, 8 at a time.
STEPS = 15
BATCH = 8
CONFIG = configs.Config(
    model=configs.ModelConfig(
        embedding_dim=3, hidden_units=(4,), heads=1, history=False
    ),
    cpm=configs.TrainingConfig(batch_size=BATCH, passes=2),
)


class Killed(Exception):
    """Stands for the end of a process."""


def new_model(data):
    run = Workdir(data.path.parent / "run")
    level = Level(data, run, CONFIG, model_row("e_cdctr"), "cpm")
    level.fresh(WINDOW.last)
    return level.model


@pytest.fixture(scope="module")
def pool():
    """The model that `fresh` gives, once it is built."""
    return {}


@pytest.fixture
def fresh(pool, tiny_data):
    """Return a function that gives a model as new: one, put back each time."""

    def give():
        if not pool:
            pool["model"] = new_model(tiny_data)
            pool["state"] = state(pool["model"])
        for name, variable in variables(pool["model"]).items():
            variable.assign(pool["state"][name])
        return pool["model"]

    return give


def new_task(data, progress, **fields) -> fit.Task:
    """Return a task on all natural rows, twice, with fields of one's own."""

    def stream(skip):
        return streams.batches(
            data, "natural", WINDOW, BATCH, seed=1, passes=2, skip=skip
        )

    task = fit.Task("window", stream, 120, BATCH, 4, progress, bar=False)
    return dataclasses.replace(task, **fields)


def kill(model, task, steps):
    """Fit, but die once that many steps are done, before they are recorded."""
    left = [steps]

    def die(self, *taken):
        if not left[0]:
            raise Killed
        left[0] -= 1
        record(self, *taken)

    record = fit._Recorder.record
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "_STEPS_AT_ONCE", 1)
        patch.setattr(fit._Recorder, "record", die)
        with pytest.raises(Killed):
            fit.fit(model, task)


def variables(model) -> dict:
    """Return weights and optimizer state by name."""
    return {
        **checkpoint.named_variables(model.parts()),
        **fit.optimizer_state(model),
    }


def state(model) -> dict[str, np.ndarray]:
    """Return the values of `variables`."""
    return {name: v.numpy() for name, v in variables(model).items()}


def assert_same(found: dict, expected: dict):
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value, rtol=1e-5, atol=1e-6, err_msg=name
        )


@pytest.fixture(scope="module")
def finished():
    """State and curve of a window that nobody disturbed, once made."""
    return {}


@pytest.fixture
def undisturbed(finished, fresh, tiny_data, tmp_path):
    if not finished:
        model = fresh()
        task = new_task(tiny_data, tmp_path / "undisturbed")
        finished["curve"] = fit.fit(model, task)
        finished["state"] = state(model)
    return finished


def test_resumed_equals_undisturbed(undisturbed, fresh, tiny_data, tmp_path):
    progress = tmp_path / "states" / "2024-03-03"
    task = new_task(tiny_data, progress)
    kill(fresh(), task, 7)
    assert store.dated(progress) == ["000000004"]
    kill(fresh(), task, 6)
    assert store.dated(progress) == ["000000004", "000000008"]
    # As in a process of its own, with nothing left but the files.
    model = new_model(tiny_data)
    skipped = []
    curve = fit.fit(
        model,
        dataclasses.replace(
            task, stream=lambda skip: skipped.append(skip) or task.stream(skip)
        ),
    )
    # The steps before are not done again.
    assert skipped == [8]
    assert_same(state(model), undisturbed["state"])
    assert [p["step"] for p in curve] == list(range(1, STEPS + 1))
    np.testing.assert_allclose(
        [p["loss"] for p in curve],
        [p["loss"] for p in undisturbed["curve"]],
        atol=1e-6,
    )
    # The window has yet to be published.
    assert store.dated(progress) == ["000000008", "000000012"]
    leftover = progress / ".staging-000000012-0123abcd"
    leftover.mkdir()
    fit.forget(progress.parent, "2024-03-02")
    assert store.dated(progress) == ["000000008", "000000012"]
    assert not leftover.exists()
    fit.forget(progress.parent, "2024-03-03")
    assert not progress.exists()


def test_running_loss_is_taken_up(
    undisturbed, fresh, tiny_data, tmp_path, monkeypatch
):
    """A point of the curve may lie across the moment of the kill."""
    monkeypatch.setattr(fit, "_CURVE_POINTS", 2)
    task = new_task(tiny_data, tmp_path / "progress")
    kill(fresh(), task, 11)
    curve = fit.fit(fresh(), task)
    assert [p["step"] for p in curve] == [7, 14, 15]
    losses = [p["loss"] for p in undisturbed["curve"]]
    expected = [np.mean(losses[:7]), np.mean(losses[7:14]), losses[14]]
    np.testing.assert_allclose([p["loss"] for p in curve], expected, atol=1e-6)


def test_killed_after_the_last_step_is_finished(
    undisturbed, fresh, tiny_data, tmp_path, monkeypatch
):
    """The state of the last step leaves no batch to fit."""

    def die(self):
        raise Killed

    task = new_task(tiny_data, tmp_path / "progress", checkpoint_steps=STEPS)
    with monkeypatch.context() as patch:
        patch.setattr(fit._Recorder, "close", die)
        with pytest.raises(Killed):
            fit.fit(fresh(), task)
    assert store.dated(task.progress) == [f"{STEPS:09d}"]
    model = fresh()
    curve = fit.fit(model, task)
    assert_same(state(model), undisturbed["state"])
    assert len(curve) == len(undisturbed["curve"])


def test_state_of_another_start_is_not_taken_up(
    undisturbed, fresh, tiny_data, tmp_path
):
    """As when a newer CPM was published while the A-CTR was down."""
    task = new_task(tiny_data, tmp_path / "progress", start={"rows": 5})
    other = fresh()
    other.head.bias.assign([3.0])
    kill(other, task, 7)
    model = fresh()
    curve = fit.fit(model, dataclasses.replace(task, start={"rows": 6}))
    assert_same(state(model), undisturbed["state"])
    assert curve == undisturbed["curve"]


def test_curve_is_the_mean_log_loss_since_the_point_before(
    fresh, tiny_data, tmp_path, monkeypatch
):
    """Recomputed row by row, in NumPy, from logits before each step."""
    monkeypatch.setattr(fit, "_CURVE_POINTS", 4)
    task = new_task(tiny_data, tmp_path / "progress")
    curve = fit.fit(fresh(), task)
    # Every third of 15 steps, and 120 rows in all.
    assert [p["step"] for p in curve] == [3, 6, 9, 12, 15]
    assert [p["rows"] for p in curve] == [24, 48, 72, 96, 120]

    losses = losses_of(fresh(), task.stream(0))
    expected = [np.mean(losses[i : i + 24]) for i in range(0, 120, 24)]
    np.testing.assert_allclose([p["loss"] for p in curve], expected, atol=1e-5)


def losses_of(twin, stream) -> list[float]:
    """Return the loss of each row before the step it is trained on by."""
    losses = []
    for inputs, clicks in stream:
        # The gradient step sees batch norm in training mode.
        before = state(twin)
        logits = twin(inputs, training=True).numpy().astype(np.float64)
        for name, variable in variables(twin).items():
            variable.assign(before[name])
        y = clicks.numpy()
        losses += list(np.log1p(np.exp(logits)) - y * logits)
        twin.train_on_batch(inputs, clicks)
    return losses


def test_batches_count_by_their_rows(fresh, tiny_data, tmp_path, monkeypatch):
    """60 rows in nine batches of six or seven: the loss is a mean of rows."""
    monkeypatch.setattr(fit, "_CURVE_POINTS", 1)
    stream = streams.batches(tiny_data, "natural", WINDOW, 7, seed=1)
    task = new_task(
        tiny_data,
        tmp_path / "progress",
        stream=lambda skip: stream.skip(skip),
        rows=60,
        batch_size=7,
    )
    (point,) = fit.fit(fresh(), task)
    assert (point["step"], point["rows"]) == (9, 60)
    losses = losses_of(fresh(), stream)
    assert len(losses) == 60
    assert point["loss"] == pytest.approx(np.mean(losses), abs=1e-5)


def test_a_loss_that_is_not_finite_raises(fresh, tiny_data, tmp_path):
    read = []
    task = new_task(
        tiny_data,
        tmp_path / "progress",
        files=lambda *steps: (
            read.append(steps) or ["natural/2024-01-01/part-00000.tfrecord"]
        ),
    )
    model = fresh()
    model.head.bias.assign([np.nan])
    with pytest.raises(
        fit.DivergenceError,
        match="window diverged: the loss was not finite by step 1 of 15"
        ".*learning_rate",
    ) as raised:
        fit.fit(model, task)
    assert read == [(0, 1)]
    assert " read natural/2024-01-01/part-00000.tfrecord" in str(raised.value)
    assert not store.dated(task.progress)


def test_a_weight_that_is_not_finite_raises(fresh, tiny_data, tmp_path):
    """Moving statistics are not read in training: no loss gives them away."""
    task = new_task(tiny_data, tmp_path / "progress")
    model = fresh()
    model.input_norm.moving_mean.assign(model.input_norm.moving_mean * np.inf)
    with pytest.raises(fit.DivergenceError, match="input_norm/moving_mean"):
        fit.fit(model, task)
    assert not store.dated(task.progress)


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("harmed", [["manifest.json"], ["state.data*"], ["*"]])
@pytest.mark.parametrize("harm", [flip, pathlib.Path.unlink])
def test_a_damaged_state_falls_back_to_the_one_before(
    undisturbed, fresh, tiny_data, tmp_path, caplog, harm, harmed
):
    task = new_task(tiny_data, tmp_path / "progress")
    kill(fresh(), task, 9)
    for pattern in harmed:
        for file in (task.progress / "000000008").glob(pattern):
            harm(file)
    model, skipped = fresh(), []
    stream = dataclasses.replace(
        task, stream=lambda skip: skipped.append(skip) or task.stream(skip)
    )
    fit.fit(model, stream)
    assert skipped == [4]
    assert "000000008" in caplog.text
    assert "goes on from the state before" in caplog.text
    assert_same(state(model), undisturbed["state"])


def test_where_all_states_are_damaged_the_window_starts_again(
    undisturbed, fresh, tiny_data, tmp_path, caplog
):
    task = new_task(tiny_data, tmp_path / "progress")
    kill(fresh(), task, 9)
    for file in task.progress.glob("*/state.index"):
        file.write_bytes(b"")
    model = fresh()
    fit.fit(model, task)
    assert len(caplog.records) == 2
    assert_same(state(model), undisturbed["state"])


def test_asked_to_end_the_state_is_kept_first(
    undisturbed, fresh, tiny_data, tmp_path, monkeypatch
):
    """Between two checkpoints: none of the steps is taken again."""
    task = new_task(tiny_data, tmp_path / "progress", checkpoint_steps=100)
    record, skipped = fit._Recorder.record, []

    def end(self, *taken):
        record(self, *taken)
        if self.step == 6:
            termination.handle(signal.SIGTERM, None)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_STEPS_AT_ONCE", 1)
        patch.setattr(fit._Recorder, "record", end)
        with pytest.raises(termination.Terminated):
            fit.fit(fresh(), task)
    assert store.dated(task.progress) == ["000000006"]
    model = fresh()
    stream = dataclasses.replace(
        task, stream=lambda skip: skipped.append(skip) or task.stream(skip)
    )
    fit.fit(model, stream)
    assert skipped == [6]
    assert_same(state(model), undisturbed["state"])


def test_a_window_without_rows_changes_nothing(fresh, tiny_data, tmp_path):
    model = fresh()
    before = state(model)
    task = new_task(tiny_data, tmp_path / "progress", rows=0)
    assert fit.fit(model, task) == []
    for name, value in state(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_tensorboard_gets_the_curve(fresh, tiny_data, tmp_path):
    task = new_task(
        tiny_data, tmp_path / "progress", tensorboard=tmp_path / "scalars"
    )
    curve = fit.fit(fresh(), task)
    (events,) = (tmp_path / "scalars").glob("events.*")
    found = [
        (event.step, tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.tag == "loss"
    ]
    assert [step for step, _ in found] == [p["step"] for p in curve]
    np.testing.assert_allclose(
        [loss for _, loss in found], [p["loss"] for p in curve], rtol=1e-6
    )


def test_curve_text_is_json():
    curve = [{"step": 1, "rows": 8, "loss": 0.5}]
    assert json.loads(fit.curve_text(curve)) == curve
