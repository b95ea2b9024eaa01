"""Optimizers inside `fit` under the strategies of `tf.distribute`.

Strategies train in processes of their own (`distributed_training`), because
devices and clusters cannot be taken back. On the CPU; nothing here says how it
goes on GPUs.
"""

import json
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from tests import distributed_training, processes

# Wide enough for a loaded machine.
LIMIT_SECONDS = 600
OPTIMIZERS = list(distributed_training.OPTIMIZERS)
STEPS = distributed_training.BATCHES * distributed_training.EPOCHS

both = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def begin(strategy, **environment) -> subprocess.Popen:
    return processes.begun(
        "tests.distributed_training", strategy, **environment
    )


def answers(*of) -> list[dict]:
    """Return what processes answer; fail with their output if they fail."""
    found = []
    for output in processes.said(of, LIMIT_SECONDS):
        (line,) = [
            line
            for line in output.splitlines()
            if line.startswith(distributed_training.ANSWER)
        ]
        found.append(json.loads(line.removeprefix(distributed_training.ANSWER)))
    return found


@pytest.fixture(scope="module")
def single():
    """What one device learns, in this process."""
    fit, none = distributed_training.fit, tf.distribute.get_strategy()
    makers = distributed_training.OPTIMIZERS
    return {name: fit(none, make) for name, make in makers.items()}


@pytest.fixture(scope="module")
def mirrored():
    return answers(begin("mirrored"))[0]


@pytest.fixture(scope="module")
def workers():
    cluster = {"worker": distributed_training.free_addresses(2)}
    tasks = [{"type": "worker", "index": index} for index in range(2)]
    return answers(
        *(
            begin(
                "workers",
                TF_CONFIG=json.dumps({"cluster": cluster, "task": task}),
            )
            for task in tasks
        )
    )


@pytest.fixture(scope="module")
def servers():
    return answers(begin("servers"))[0]


def assert_trained(result):
    losses = result["losses"]
    assert losses[-1] < losses[0] / 2
    assert result["steps"] == STEPS
    used = np.concatenate(
        [np.unique(ids) for ids, _ in distributed_training.batches()]
    )
    first = distributed_training.first_table()
    changed = (np.array(result["table"]) != first).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(changed), np.unique(used))
    assert not changed.all()


def assert_same(result, expected):
    for name in ("losses", "table"):
        np.testing.assert_allclose(result[name], expected[name], 1e-4, 1e-5)
    for name in ("states", "dense"):
        for ours, theirs in zip(result[name], expected[name], strict=True):
            np.testing.assert_allclose(ours, theirs, 1e-4, 1e-5)


@both
def test_one_device_trains(optimizer, single):
    assert_trained(single[optimizer])


@both
def test_two_devices_train_as_one(optimizer, single, mirrored):
    assert_trained(mirrored[optimizer])
    assert mirrored[optimizer]["replicas"] == 2
    assert_same(mirrored[optimizer], single[optimizer])
    assert mirrored[optimizer]["compiled"] == [False]


@both
def test_two_workers_train_as_one(optimizer, single, workers):
    for worker in workers:
        assert_trained(worker[optimizer])
        assert worker[optimizer]["replicas"] == 2
        assert_same(worker[optimizer], single[optimizer])
        assert worker[optimizer]["compiled"] == [False]


@both
def test_parameter_servers_train_the_shards_of_a_table(optimizer, servers):
    """Workers do not wait for each other: numbers differ from run to run."""
    result = servers[optimizer]
    assert_trained(result)
    assert result["compiled"] == [False]
    assert result["shard_rows"] == [21, 20]
    first = distributed_training.first_table()
    changed = (np.array(result["table"]) != first).any(axis=1)
    assert changed[:21].any() and changed[21:].any()


@both
def test_parameter_servers_hold_the_state_of_their_shards(optimizer, servers):
    result = servers[optimizer]
    assert len(set(result["devices"])) == 2
    assert all("/job:ps/" in device for device in result["devices"])
    for devices in result["state_devices"]:
        assert devices == result["devices"]
    first = distributed_training.first_table()
    changed = (np.array(result["table"]) != first).any(axis=1)
    begin_at = {"lazy_adam": 0.0, "row_wise_adagrad": 0.1}[optimizer]
    for state in result["states"]:
        # Of a row without updates, it is what it was at the beginning.
        # Exactly: second moments of small gradients are smaller than any bound.
        rows = np.reshape(state, [distributed_training.ROWS, -1])
        updated = (np.float32(rows) != np.float32(begin_at)).any(axis=1)
        np.testing.assert_array_equal(updated, changed)


@both
def test_checkpoints_go_from_shards_to_a_whole_table_and_back(
    optimizer, servers
):
    result = servers[optimizer]
    for ours, again in zip(result["states"], result["moved"], strict=True):
        np.testing.assert_array_equal(ours, again)
