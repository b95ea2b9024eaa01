"""Artefacts as runs of MLflow, in a store of files."""

import json
import sys

import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import stages, store, windows
from ecdctr_tf.monitoring import tracking
from ecdctr_tf.request import Request
from ecdctr_tf.training.workdir import Workdir

DAY = "2024-02-01"


def publish(path, kind, metrics, parents=None):
    window = windows.Window(path.name, path.name)
    manifest = store.Manifest(
        kind, window, metrics=metrics, parents=parents or {}
    )
    with store.publish(path, manifest) as staging:
        settings = {"seed": 3, "model": {"embedding_dim": 8}}
        store.write_text(staging / "config.json", json.dumps(settings))
    return store.file_hash(path / store.MANIFEST)


@pytest.fixture
def run(tmp_path):
    return Workdir(tmp_path / "run")


def test_without_mlflow_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ValueError, match=r"pip install 'ecdctr-tf\[mlflow\]'"):
        tracking.log("ctr", run.levels())


@pytest.fixture
def client(tmp_path, monkeypatch):
    mlflow = pytest.importorskip(
        "mlflow", reason="MLflow is the extra `mlflow`, which is not installed"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return mlflow.MlflowClient((tmp_path / "runs").as_uri())


def logged(client):
    experiment = client.get_experiment_by_name("ctr")
    found = client.search_runs([experiment.experiment_id])
    return {run.info.run_name: run for run in found}


def test_an_artefact_is_a_run_with_its_hashes(client, run):
    parents = {"cpm": {"path": "../../cpm/2024-01-31", "manifest": "ab12"}}
    found = {
        "auc": 0.7,
        "gauc": None,
        "seconds": 2.5,
        "held_out": {"auc": 0.75},
        "inputs": {"days": [], "warnings": ["one"]},
    }
    place = run.ctr("e_cdctr") / DAY
    published = publish(place, "ctr", found, parents)
    tracking.log("ctr", run.levels())
    [(name, one)] = logged(client).items()
    assert name == f"e_cdctr ctr {DAY}"
    metrics = {"auc": 0.7, "seconds": 2.5, "held_out/auc": 0.75}
    assert one.data.metrics == metrics
    assert one.data.params["seed"] == "3"
    assert one.data.params["model.embedding_dim"] == "8"
    tags = one.data.tags
    assert tags[tracking.MANIFEST] == published
    assert tags["ecdctr.parent.cpm"] == "ab12"
    assert tags["ecdctr.window"] == f"{DAY}..{DAY}"
    assert one.info.status == "FINISHED"
    assert one.info.end_time - one.info.start_time == 2500


def test_each_artefact_is_logged_once(client, run):
    publish(run.ctr("e_cdctr") / DAY, "ctr", {})
    for _ in range(2):
        tracking.log("ctr", run.levels())
        assert len(logged(client)) == 1
    publish(run.tpm / DAY, "snapshot", {})
    tracking.log("ctr", run.levels())
    assert set(logged(client)) == {f"e_cdctr ctr {DAY}", f"tpm {DAY}"}


def test_a_run_that_was_not_finished_is_logged_again(client, run):
    published = publish(run.ctr("e_cdctr") / DAY, "ctr", {"auc": 0.5})
    place = client.create_experiment("ctr")
    client.create_run(place, tags={tracking.MANIFEST: published})
    tracking.log("ctr", run.levels())
    assert logged(client)[f"e_cdctr ctr {DAY}"].data.metrics == {"auc": 0.5}


def test_each_stage_logs_where_the_config_says(client, run, tmp_path):
    publish(run.ctr("e_cdctr") / DAY, "ctr", {})
    config = configs.override(configs.Config(), ["monitoring.mlflow=ctr"])
    request = Request(
        stage="monitor",
        data_dir=None,
        workdir=run.path,
        config=config,
        models=("e_cdctr",),
    )
    stages.run(request)
    assert set(logged(client)) == {f"e_cdctr ctr {DAY}"}


def test_a_server_that_fails_is_a_warning(client, run, monkeypatch, caplog):
    from mlflow.exceptions import MlflowException

    def down(*arguments, **options):
        raise MlflowException("no answer\nfor long")

    publish(run.ctr("e_cdctr") / DAY, "ctr", {})
    monkeypatch.setattr("mlflow.MlflowClient.create_run", down)
    tracking.log("ctr", run.levels())
    assert "the next command tries again: no answer" in caplog.text
