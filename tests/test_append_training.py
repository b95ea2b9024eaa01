"""A run goes on with appended days as if they had been there from the first."""

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf import store, windows
from ecdctr_tf.input.conversion import converter, logs, toml_spec
from ecdctr_tf.training import workdir
from tests import training_world
from tests.test_resume import MODELS, artefacts

SCORED = ["2024-01-10", "2024-01-11", "2024-01-12"]


@pytest.fixture
def spec(finished_world):
    return toml_spec.ConversionSpec.load(finished_world / "logs.toml")


def tables(spec, directory, first, last):
    """Yield the tables of raw logs from a day up to another."""
    days = range(windows.day_number(first), windows.day_number(last) + 1)
    for domain, table in logs.tables(spec, directory):
        day = table["timestamp"].cast(pa.int64()).to_numpy() // 86_400
        yield domain, table.filter(pa.array(np.isin(day, days)))


def write_times(run):
    """Return when each file of each model's days was written."""
    files = [p for m in MODELS for p in (run / m).rglob("*") if p.is_file()]
    return {p: p.stat().st_mtime_ns for p in files if p.name != workdir.NEWEST}


@pytest.mark.long
def test_ctr_goes_on_with_appended_days(finished_world, spec, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    early = tables(spec, finished_world, "2024-01-01", SCORED[0])
    converter.convert_tables(spec, early, data, progress=False)
    stages = [("tpm",), ("aggregate",), ("cpm",), ("ctr",)]
    training_world.wait(training_world.train_stages(data, run, stages))
    before = write_times(run)
    for day in SCORED[1:]:
        late = tables(spec, finished_world, day, day)
        converter.append_tables(spec, late, data, progress=False)
    whole = training_world.tree(finished_world / "data")
    assert training_world.tree(data) == whole
    training_world.train(data, run, "ctr")
    after = write_times(run)
    assert {path: after[path] for path in before} == before
    for model in MODELS:
        assert store.dated(run / model / "ctr") == SCORED
    expected, found = artefacts(finished_world / "run"), artefacts(run)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
