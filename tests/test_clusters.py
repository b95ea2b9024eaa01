"""Clusters of processes that train the A-CTR, and what ends in their midst.

Where a process ends, what was published stays, nothing of the window under way
is, and each day is trained on once, whoever trains it in the end.
"""

import shutil

import numpy as np
import pytest

from ecdctr_tf import artefacts, store
from ecdctr_tf.transfer import checkpoint
from tests import training_world
from tests.cluster import Cluster

pytestmark = pytest.mark.long
SERVERS = {"chief": 1, "worker": 2, "ps": 2}
WORKERS = {"worker": 2}
DAYS = ["2024-01-10", "2024-01-11", "2024-01-12"]
# A state of the A-CTR's window of the second day.
UNDER_WAY = ".progress/e_cdctr/ctr/2024-01-11*/*/manifest.json"


@pytest.fixture
def data(finished_world):
    return finished_world / "data"


@pytest.fixture
def finished(finished_world):
    """The days as one process has trained them."""
    return finished_world / "run" / "e_cdctr" / "ctr"


@pytest.fixture
def run(finished_world, tmp_path):
    """TPM and CPM, as one process has trained them; no day of ads."""
    place = tmp_path / "run"
    shutil.copytree(finished_world / "run", place)
    shutil.rmtree(place / "e_cdctr" / "ctr")
    return place


def cluster(jobs, strategy, data, run, *flags) -> Cluster:
    command = training_world.command(
        data, run, "ctr", "--models=e_cdctr", f"--strategy={strategy}", *flags
    )
    logs = run.parent / "logs"
    return Cluster(jobs, [c for c in command if c != "--deterministic"], logs)


def servers(data, run, *flags, jobs=None) -> Cluster:
    return cluster(jobs or SERVERS, "parameter_server", data, run, *flags)


def manifests(run) -> list[store.Manifest]:
    days = run / "e_cdctr" / "ctr"
    return [store.verify(days / d, artefacts.CTR) for d in store.dated(days)]


def assert_each_day_was_trained_once(run, finished):
    """And as well as by one process, within the noise."""
    days = run / "e_cdctr" / "ctr"
    assert store.dated(days) == DAYS
    assert not list((run / ".progress").glob("e_cdctr/ctr/*/*"))
    for day, manifest in zip(DAYS, manifests(run), strict=True):
        expected = store.read_manifest(finished / day, artefacts.CTR)
        assert manifest.rows == expected.rows
        assert manifest.metrics["rows"] == expected.metrics["rows"]
        found = artefacts.read_scores(days / day)
        artefacts.check_rows(
            days / day, found, artefacts.read_scores(finished / day)
        )
        steps = "table_optimizer/0"
        taken, as_one = (
            checkpoint.read(place / day / artefacts.OPTIMIZER)[steps]
            for place in (days, finished)
        )
        assert taken >= as_one  # A batch may be handed out twice.
        assert taken <= as_one + 1
    mean = [
        np.mean([m.metrics["auc"] for m in of])
        for of in (
            manifests(run),
            [store.read_manifest(finished / d, artefacts.CTR) for d in DAYS],
        )
    ]
    assert abs(mean[0] - mean[1]) < 0.05


def assert_same(run, finished):
    """The weights are those of one process, up to rounding."""
    for day in DAYS:
        ours, theirs = (
            checkpoint.read(place / day / artefacts.WEIGHTS)
            for place in (run / "e_cdctr" / "ctr", finished)
        )
        for name, value in theirs.items():
            np.testing.assert_allclose(
                ours[name], value, 0.01, 0.003, err_msg=f"{day} {name}"
            )


def failed(own: Cluster, job="chief", index=0) -> str:
    """Return what a process said, which has to have failed."""
    assert own.wait(job, index) == 1, own.said()
    said = own.log(job, index).read_text()
    assert "Traceback" not in said
    return said


def test_a_worker_is_killed_and_the_others_go_on(data, run, finished):
    with servers(data, run) as own:
        own.until(lambda: list(run.glob(UNDER_WAY)))
        own.kill("worker", 1)
        for job, index in [("chief", 0), ("worker", 0), ("ps", 0), ("ps", 1)]:
            assert own.wait(job, index) == 0, own.said()
    assert_each_day_was_trained_once(run, finished)


def test_a_parameter_server_is_killed(data, run, finished):
    with servers(data, run) as own:
        own.until(lambda: list(run.glob(UNDER_WAY)))
        own.kill("ps", 1)
        assert "A process of the cluster is gone" in failed(own)
        assert store.dated(run / "e_cdctr" / "ctr") == DAYS[:1]
        own.supervise()
    assert_each_day_was_trained_once(run, finished)


def test_the_chief_of_servers_is_killed(data, run, finished):
    with servers(data, run) as own:
        own.until(lambda: list(run.glob(UNDER_WAY)))
        own.kill("chief")
        assert store.dated(run / "e_cdctr" / "ctr") == DAYS[:1]
        own.supervise()
    assert_each_day_was_trained_once(run, finished)


def test_a_run_goes_on_with_three_servers_and_with_none(data, run, finished):
    for day, jobs in ((DAYS[0], SERVERS), (DAYS[1], {**SERVERS, "ps": 3})):
        with servers(
            data, run, f"--start={day}", f"--end={day}", jobs=jobs
        ) as own:
            assert own.wait("chief") == 0, own.said()
    training_world.train(data, run, "ctr", "--models=e_cdctr")
    assert_each_day_was_trained_once(run, finished)


def test_a_mirrored_worker_is_killed(data, run, finished):
    with cluster(WORKERS, "multi_worker", data, run) as own:
        own.until(lambda: list(run.glob(UNDER_WAY)))
        own.kill("worker", 1)
        assert "A process of the cluster is gone" in failed(own, "worker", 0)
        assert store.dated(run / "e_cdctr" / "ctr") == DAYS[:1]
        own.supervise()
    assert_each_day_was_trained_once(run, finished)
    assert_same(run, finished)


def test_the_chief_of_mirrored_workers_is_killed(data, run, finished):
    with cluster(WORKERS, "multi_worker", data, run) as own:
        own.until(lambda: list(run.glob(UNDER_WAY)))
        own.kill("worker", 0)
        assert "A process of the cluster is gone" in failed(own, "worker", 1)
        assert store.dated(run / "e_cdctr" / "ctr") == DAYS[:1]
        own.supervise()
    assert_each_day_was_trained_once(run, finished)
    assert_same(run, finished)
