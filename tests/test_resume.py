"""Killed at any moment and started again, a run ends with the same bits."""

import dataclasses
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import model_table, stages
from ecdctr_tf.training import natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint, snapshots
from ecdctr_tf.windows import Window
from tests import training_world

DAY = "2024-01-01"
MODELS = ("ads_only", "cpm_finetune", "e_cdctr")


@pytest.fixture
def data(finished_world):
    return finished_world / "data"


@pytest.fixture
def finished(finished_world):
    """A run that nobody disturbed."""
    return finished_world / "run"


def kill_once_there(process, pattern, directory, timeout=120):
    """Kill a process as soon as a path of that pattern exists."""
    end = time.monotonic() + timeout
    while not list(directory.glob(pattern)):
        assert process.poll() is None, f"ended before {pattern} was there"
        assert time.monotonic() < end, f"no {pattern} after {timeout} s"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def artefacts(run):
    """Return every array that a run published, by file and name."""
    found = {}
    for index in sorted(run.glob("**/*.index")):
        if ".progress" in index.parts or "export" in index.parts:
            continue
        prefix = index.with_suffix("")
        for name, value in checkpoint.read(prefix).items():
            found[f"{prefix.relative_to(run)}:{name}"] = value
    for scores in sorted(run.glob("**/scores.npz")):
        with np.load(scores) as file:
            for name in file.files:
                found[f"{scores.relative_to(run)}:{name}"] = file[name]
    for curve in sorted(run.glob("**/curve.json")):
        found[str(curve.relative_to(run))] = np.array(curve.read_text())
    return found


def test_resumed_equals_uninterrupted(data, finished, tmp_path):
    run = tmp_path / "run"
    command = training_world.command(data, run, "all")
    for pattern in (
        ".progress/tpm/*/*/manifest.json",
        ".progress/cpm_finetune/cpm/*/*/manifest.json",
        "e_cdctr/ctr/2024-01-10/manifest.json",
    ):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        kill_once_there(process, pattern, run)
    training_world.train(data, run, "all")
    expected, found = artefacts(finished), artefacts(run)
    assert list(found) == list(expected)
    assert len(found) > 100
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_finished_run_is_left_alone(data, finished, tmp_path):
    """Nothing is trained, so this process may do it."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    levels = ("tpm", "historical", *MODELS)
    before = {level: training_world.tree(run / level) for level in levels}
    stages.run(
        stages.Request(
            stage="all",
            data_dir=data,
            workdir=run,
            config=configs.Config.from_json(run / "config.json"),
            models=MODELS,
        )
    )
    for level, files in before.items():
        assert files
        assert training_world.tree(run / level) == files


def test_another_seed_gives_other_numbers(eagerly, tmp_path):
    data = training_world.small_data(tmp_path / "data")
    vectors = []
    for seed in (0, 1):
        config = dataclasses.replace(training_world.SMALL_CONFIG, seed=seed)
        run = Workdir(tmp_path / f"seed-{seed}")
        row = model_table.model("e_cdctr")
        level = Level(data, run, config, row, "snapshot")
        path = natural.train(level, Window(DAY, DAY))
        vectors.append(snapshots.read(path)["user"].vectors)
    assert np.all(np.any(np.abs(vectors[0] - vectors[1]) > 1e-3, axis=1))
