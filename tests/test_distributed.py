"""Levels under the strategies of `tf.distribute`, each in its own processes.

The same windows are trained by one process, by two devices, by two workers and
with two parameter servers. `test_clusters` kills processes, and takes long.
"""

import json
import os
import pathlib
import socket
import subprocess
import threading

import numpy as np
import pytest
import tensorflow as tf
import yaml

from ecdctr_tf import model_table
from ecdctr_tf.distributed import clusters, losing, roles, servers, together
from ecdctr_tf.transfer import checkpoint
from tests import (
    clustered,
    distributed_training,
    processes,
    trained,
    training_world,
)

LIMIT_SECONDS = 600
TPM = "tpm/2024-01-02"
DAYS = [f"e_cdctr/ctr/{trained.day(n)}" for n in (5, clustered.GROWS_ON)]
CLUSTER = {
    "chief": ["a:1"],
    "worker": ["b:1", "c:1"],
    "ps": ["d:1", "e:1"],
}


def begin(strategy, data, run, level, **environment) -> subprocess.Popen:
    return processes.begun(
        *("tests.clustered", strategy, data, run, level),
        **{"ECDCTR_TF_COMPILED": "off", **environment},
    )


def said(*of) -> list[str]:
    return processes.said(of, LIMIT_SECONDS)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def data(place):
    jump = trained.day(clustered.GROWS_ON)
    return training_world.small_data(place / "data", jump=jump)


@pytest.fixture(scope="module")
def begun(place, data, eagerly):
    """TPM and CPM, as one process trains them."""
    return trained.pretrained(data, place / "begun")


@pytest.fixture(scope="module")
def one_process(place, data, begun, eagerly):
    """Days of the A-CTR after them."""
    run = trained.copy(begun, place / "one_process")
    return trained.train(data, run, trained.days(5, clustered.GROWS_ON)).path


def days(strategy, data, begun) -> tuple[pathlib.Path, str]:
    """Train the days under a strategy."""
    run = trained.copy(begun, begun.path.with_name(strategy)).path
    (output,) = said(begin(strategy, data.path, run, "ctr"))
    return run, output


@pytest.fixture(scope="module")
def workers(place, data):
    """A TPM that two workers have trained."""
    addresses = {"worker": distributed_training.free_addresses(2)}
    configs = [
        {"cluster": addresses, "task": {"type": "worker", "index": index}}
        for index in range(2)
    ]
    run = place / "workers"
    said(
        *(
            begin(
                *("multi_worker", data.path, run, "tpm"),
                TF_CONFIG=json.dumps(config),
            )
            for config in configs
        )
    )
    return run


def values(run, path, file) -> dict[str, np.ndarray]:
    return checkpoint.read(run / path / file)


def assert_same(run, expected, path):
    for file in ("weights", "optimizer"):
        ours, theirs = (values(of, path, file) for of in (run, expected))
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            np.testing.assert_allclose(
                ours[name], value, 1e-3, 2e-4, err_msg=name
            )


def test_two_devices_learn_what_one_process_does(data, begun, one_process):
    """Days of the A-CTR, whose tables outgrow their room."""
    run, _ = days("mirrored", data, begun)
    for path in DAYS:
        assert_same(run, one_process, path)


@pytest.mark.long
def test_two_workers_learn_what_one_process_does(workers, begun):
    assert_same(workers, begun.path, TPM)
    assert not (workers / ".cluster").exists()


@pytest.mark.long
def test_parameter_servers_train_tables_in_shards(data, begun, one_process):
    """Numbers differ from run to run; rows, steps and shapes do not."""
    run, devices = days("parameter_server", data, begun)
    for path in DAYS:
        for file in ("weights", "optimizer"):
            found, expected = (
                values(of, path, file) for of in (run, one_process)
            )
            assert list(found) == list(expected)
            for name, value in expected.items():
                assert found[name].shape == value.shape
                if name.startswith("embedding/"):
                    np.testing.assert_allclose(found[name], value, atol=0.01)
        steps = "table_optimizer/0"
        assert found[steps] == expected[steps]
    both = "/job:ps/replica:0/task:{}/device:CPU:0"
    both = f"{both.format(0)} {both.format(1)}"
    assert devices.splitlines() == [both, both]


def test_each_row_is_in_the_part_of_one_replica():
    rows = tf.data.Dataset.range(11).batch(4)
    batches = rows.map(lambda row: ({"row": row}, tf.cast(row, tf.float32)))
    found = [
        [
            inputs["row"].numpy().tolist()
            for inputs, _ in together.shares(batches, numbers, 3)
        ]
        for numbers in ([0, 1], [2])
    ]
    assert found == [[[0, 3], [1], [4, 7], [5], [8], [9]], [[2], [6], [10]]]


@pytest.fixture
def task(monkeypatch):
    def set_task(job, index=0, cluster=CLUSTER):
        config = {"cluster": cluster, "task": {"type": job, "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))

    return set_task


@pytest.mark.parametrize(
    ("job", "index", "leads"),
    [("chief", 0, True), ("worker", 0, False), ("ps", 1, False)],
)
def test_the_chief_leads(task, job, index, leads):
    task(job, index)
    assert roles.of_environment("parameter_server").leads is leads


@pytest.mark.parametrize(("index", "leads"), [(0, True), (1, False)])
def test_of_workers_alone_the_first_leads(task, index, leads):
    task("worker", index, {"worker": ["a:1", "b:1"]})
    assert roles.of_environment("multi_worker").leads is leads


@pytest.mark.parametrize(
    ("strategy", "given", "message"),
    [
        ("multi_worker", "", "needs TF_CONFIG"),
        ("multi_worker", "{", "should be JSON such as"),
        ("multi_worker", "[]", "should be JSON such as"),
        (
            "multi_worker",
            {"cluster": {"worker": ["nowhere"]}},
            "should be host:port, not 'nowhere'",
        ),
        ("multi_worker", {"cluster": CLUSTER}, "the jobs chief, worker for"),
        (
            "parameter_server",
            {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}},
            "Received: chief, worker",
        ),
        (
            "parameter_server",
            {"cluster": {**CLUSTER, "chief": ["a:1", "f:1"]}},
            "should have one chief. Received: a:1, f:1",
        ),
        (
            "parameter_server",
            {"cluster": CLUSTER, "task": {"type": "ps", "index": 2}},
            "Received: ps 2 of 1 chief, 2 ps, 2 worker",
        ),
        ("none", {"cluster": CLUSTER}, "--strategy=none is for one"),
        ("mirrored", {"cluster": CLUSTER}, "--strategy=mirrored is for one"),
    ],
)
def test_a_wrong_cluster_is_rejected(monkeypatch, strategy, given, message):
    text = given if isinstance(given, str) else json.dumps(given)
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError) as error:
        roles.of_environment(strategy)
    assert message in str(error.value)


def test_one_process_needs_no_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert roles.of_environment("none").leads
    assert roles.of_environment("mirrored").leads


def test_a_chief_that_does_not_come_back_is_not_waited_for(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tf.distribute, "Server", lambda *of, **config: None)
    monkeypatch.setattr(servers, "_LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(servers, "_WAIT_SECONDS", 0.1)
    monkeypatch.setenv("GRPC_FAIL_FAST", "use_caller")
    chief = socket.create_server(("localhost", 0))

    def be_seen_and_end():
        connection, _ = chief.accept()
        connection.close()
        chief.close()

    threading.Thread(target=be_seen_and_end).start()
    address = f"localhost:{chief.getsockname()[1]}"
    jobs = {"chief": (address,), "worker": ("b:1",), "ps": ("d:1",)}
    role = roles.Role("parameter_server", jobs, "worker")
    with pytest.raises(losing.LostError, match=f"{address} has been gone"):
        servers.serve(role, tmp_path)


@pytest.mark.parametrize("model", ["keep", "star"])
def test_models_of_other_networks_are_rejected(model):
    with pytest.raises(ValueError, match=f"{model} has another one"):
        clusters.check(roles.Role("mirrored"), ["e_cdctr", model])
    clusters.check(roles.Role("none"), list(model_table.MODELS))


def test_the_cluster_for_kubernetes_names_its_pods():
    """Each address of the cluster is that of a pod, which has the task."""
    path = pathlib.Path(training_world.ROOT) / "deploy" / "cluster.yaml"
    parts = list(yaml.safe_load_all(path.read_text()))
    by = {(part["kind"], part["metadata"]["name"]): part for part in parts}
    found = by["ConfigMap", "ctr-cluster"]["data"]
    cluster = json.loads(found["cluster.json"])
    assert list(cluster) == ["chief", "worker", "ps"]
    for job, addresses in cluster.items():
        name = f"ctr-{job}"
        kind = "Job" if job == "chief" else "StatefulSet"
        spec = by[kind, name]["spec"]
        hosts = [f"{name}-{i}.{name}" for i in range(spec.get("replicas", 0))]
        assert addresses == [f"{host}:2222" for host in hosts or [name]]
        (container,) = spec["template"]["spec"]["containers"]
        assert container["command"] == ["sh", "/cluster/train.sh"]
        assert {"name": "JOB", "value": job} in container["env"]
        service = by["Service", name]["spec"]
        labels = spec["template"]["metadata"]["labels"]
        assert service["selector"] == labels
        assert service["clusterIP"] == "None"


@pytest.mark.parametrize(
    ("job", "host", "index"),
    [
        ("chief", "chief", 0),
        ("worker", "ctr-worker-1", 1),
        ("ps", "ctr-ps-0", 0),
    ],
)
def test_the_script_for_kubernetes_sets_the_task(tmp_path, job, host, index):
    path = pathlib.Path(training_world.ROOT) / "deploy" / "cluster.yaml"
    parts = next(yaml.safe_load_all(path.read_text()))["data"]
    (tmp_path / "cluster.json").write_text(parts["cluster.json"])
    train = tmp_path / "ecdctr-train"
    train.write_text('#!/bin/sh\nprintf "%s" "$TF_CONFIG"\n')
    train.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", parts["train.sh"].replace("/cluster/", f"{tmp_path}/")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        | {"JOB": job, "HOSTNAME": host},
        capture_output=True,
        text=True,
        check=True,
    )
    config = json.loads(done.stdout)
    assert config["task"] == {"type": job, "index": index}
    assert config["cluster"]["chief"] == ["ctr-chief:2222"]
