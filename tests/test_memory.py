"""Memory that training gives back: of a model, and of many runs."""

import gc
import json
import pathlib
import subprocess
import sys
import weakref

import pytest

from ecdctr_tf import artefacts, model_table
from ecdctr_tf import config as configs
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from tests import memory_of_runs, training_world


def test_a_trained_model_is_freed_when_the_next_one_is_built(tmp_path):
    """No traced function keeps the variables of a model that is gone."""
    data = training_world.small_data(tmp_path / "data")
    first = _variables_of_a_trained_model(data, tmp_path / "first")
    assert any(handle() is not None for handle in first)
    _variables_of_a_trained_model(data, tmp_path / "second")
    gc.collect()
    assert not [handle() for handle in first if handle() is not None]


def _variables_of_a_trained_model(data, place) -> list[weakref.ref]:
    """Train and score with a model; return what stands for its variables."""
    row = model_table.model("ads_only")
    config = configs.of_model(training_world.SMALL_CONFIG, row)
    window = training_world.SMALL_ADS
    level = Level(data, Workdir(place), config, row, artefacts.CTR)
    level.fresh(window.last)
    level.fit({"ads": window}, "memory", bar=False)
    level.score(window)
    model = level.model
    variables = (*model.variables, *model.table_optimizer.variables)
    return [weakref.ref(variable.handle) for variable in variables]


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/statm").exists(),
    reason="resident memory is read from /proc",
)
@pytest.mark.long
def test_memory_of_a_comparison_stays_flat_over_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.memory_of_runs", str(tmp_path)],
        cwd=training_world.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [
        line.removeprefix(memory_of_runs.ANSWER)
        for line in done.stdout.splitlines()
        if line.startswith(memory_of_runs.ANSWER)
    ]
    (found,) = map(json.loads, answers)
    assert len(found) == 8
    assert max(found[2:]) <= 1.15 * found[1]


def test_conversion_shares_the_memory_that_threads_have_freed():
    code = (
        "from ecdctr_tf.input import convert; convert._share_memory(); "
        "import pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "system\n"
