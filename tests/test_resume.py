"""Killed at any moment and started again, a run ends with the same bits."""

import signal
import subprocess
import time

import numpy as np
import pytest

from ecdctr_tf.transfer import checkpoint
from tests import training_world


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.make_data(tmp_path_factory.mktemp("world") / "data")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run that nobody disturbed."""
    run = tmp_path_factory.mktemp("finished") / "run"
    training_world.train(data, run, "all")
    return run


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


def test_a_finished_run_is_left_alone(data, finished):
    before = {p: p.stat().st_mtime_ns for p in finished.glob("**/weights.*")}
    training_world.train(data, finished, "all")
    after = {p: p.stat().st_mtime_ns for p in finished.glob("**/weights.*")}
    assert before == after
    assert before


def test_another_seed_gives_other_numbers(data, finished, tmp_path):
    run = tmp_path / "run"
    training_world.train(data, run, "tpm", settings=["seed=1"])
    name = "weights:embedding/tables/user/embeddings"
    other = artefacts(run)[f"tpm/2024-01-09/{name}"]
    assert np.any(other != artefacts(finished)[f"tpm/2024-01-09/{name}"])
