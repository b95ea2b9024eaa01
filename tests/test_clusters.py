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


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """`data/`, and `run/` as one process trains it."""
    place = tmp_path_factory.mktemp("world")
    data = training_world.make_data(place / "data")
    of_model = "--models=e_cdctr"
    stages = [("tpm",), ("aggregate",), ("cpm", of_model), ("ctr", of_model)]
    training_world.wait(
        training_world.train_stages(data, place / "run", stages)
    )
    return place


@pytest.fixture
def data(world):
    return world / "data"


@pytest.fixture
def finished(world):
    """The days as one process has trained them."""
    return world / "run" / "e_cdctr" / "ctr"


@pytest.fixture
def pretrained(world, tmp_path):
    """TPM and CPM, as one process has trained them; no day of ads."""
    place = tmp_path / "run"
    shutil.copytree(world / "run", place)
    shutil.rmtree(place / "e_cdctr" / "ctr")
    return place


@pytest.fixture
def run(pretrained, finished):
    """The same, and the first day of ads."""
    first = pretrained / "e_cdctr" / "ctr" / DAYS[0]
    shutil.copytree(finished / DAYS[0], first)
    return pretrained


def cluster(jobs, strategy, data, run) -> Cluster:
    command = training_world.command(
        data, run, "ctr", "--models=e_cdctr", f"--strategy={strategy}"
    )
    logs = run.parent / "logs"
    return Cluster(jobs, [c for c in command if c != "--deterministic"], logs)


def servers(data, run, **jobs) -> Cluster:
    return cluster({**SERVERS, **jobs}, "parameter_server", data, run)


def workers(data, run) -> Cluster:
    return cluster(WORKERS, "multi_worker", data, run)


def in_the_midst_of(run, day):
    """Return what says whether a state of the window of a day was kept."""
    states = f".progress/e_cdctr/ctr/{day}*/[0-9]*"
    return lambda: list(run.glob(states))


def manifests(run) -> list[store.Manifest]:
    days = run / "e_cdctr" / "ctr"
    return [store.verify(days / d, artefacts.CTR) for d in store.dated(days)]


def assert_each_day_was_trained_once(run, finished, twice=0):
    """And as well as by one process, within the noise.

    Args:
      run: the work directory.
      finished: the days as one process has trained them.
      twice: batches that may have been handed out twice.
    """
    days = run / "e_cdctr" / "ctr"
    assert store.dated(days) == DAYS
    assert not list((run / ".progress").glob("e_cdctr/ctr/*/*"))
    as_one = [store.read_manifest(finished / d, artefacts.CTR) for d in DAYS]
    for day, manifest, expected in zip(
        DAYS, manifests(run), as_one, strict=True
    ):
        assert manifest.rows == expected.rows
        assert manifest.metrics["rows"] == expected.metrics["rows"]
        found = artefacts.read_scores(days / day)
        artefacts.check_rows(
            days / day, found, artefacts.read_scores(finished / day)
        )
        steps, needed = (
            checkpoint.read(place / day / artefacts.OPTIMIZER)[
                "table_optimizer/0"
            ]
            for place in (days, finished)
        )
        assert needed <= steps <= needed + twice
    ours, theirs = (
        np.mean([m.metrics["auc"] for m in of])
        for of in (manifests(run), as_one)
    )
    # Of as many rows, the standard error of an AUC is twice that.
    assert abs(ours - theirs) < 0.02


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


def assert_failed(own: Cluster, job, index, run):
    """A process has said that others are gone, and published nothing."""
    assert own.wait(job, index) == 1, own.said()
    said = own.log(job, index).read_text()
    assert "A process of the cluster is gone" in said
    assert "Traceback" not in said
    assert store.dated(run / "e_cdctr" / "ctr") == DAYS[:1]


def test_workers_are_killed(data, run, finished):
    """The other one goes on; where both are gone, they are waited for."""
    published = run / "e_cdctr" / "ctr" / DAYS[1]
    with servers(data, run) as own:
        own.until(in_the_midst_of(run, DAYS[1]))
        own.kill("worker", 1)
        own.until(published.exists)
        own.kill("worker", 0)
        own.supervise()
    assert_each_day_was_trained_once(run, finished, twice=2)


def test_a_parameter_server_is_killed(data, run, finished):
    with servers(data, run) as own:
        own.until(in_the_midst_of(run, DAYS[1]))
        own.kill("ps", 1)
        own.start("ps", 1)
        assert_failed(own, "chief", 0, run)
        own.supervise()
    assert_each_day_was_trained_once(run, finished)


def test_the_chief_of_servers_is_killed(data, run, finished):
    with servers(data, run) as own:
        own.until(in_the_midst_of(run, DAYS[1]))
        own.kill("chief")
        assert store.dated(run / "e_cdctr" / "ctr") == DAYS[:1]
        own.supervise()
    assert_each_day_was_trained_once(run, finished)


def test_a_run_goes_on_with_three_servers_and_with_none(
    data, pretrained, finished
):
    """In the midst of a window, each time."""
    for day, jobs in ((DAYS[1], {}), (DAYS[2], {"worker": 1, "ps": 3})):
        with servers(data, pretrained, **jobs) as own:
            own.until(in_the_midst_of(pretrained, day))
    training_world.train(data, pretrained, "ctr", "--models=e_cdctr")
    assert_each_day_was_trained_once(pretrained, finished)


@pytest.mark.parametrize(("killed", "other"), [(1, 0), (0, 1)])
def test_a_mirrored_worker_is_killed(data, run, finished, killed, other):
    """The first of them is the chief."""
    with workers(data, run) as own:
        own.until(in_the_midst_of(run, DAYS[1]))
        own.kill("worker", killed)
        own.start("worker", killed)
        assert_failed(own, "worker", other, run)
        own.supervise()
    assert_each_day_was_trained_once(run, finished)
    assert_same(run, finished)
