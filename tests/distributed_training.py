"""Training under a `tf.distribute` strategy; run in a process of its own.

`python -m tests.distributed_training STRATEGY` fits a small model with each
optimizer of tables and prints, as one line of JSON, optimizer -> what came out.
All strategies see the same batches, of which each replica has a part.
"""

import contextlib
import json
import os
import secrets
import socket
import sys
import tempfile

import numpy as np
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.kernels import row_updates
from ecdctr_tf.optimizers.lazy_adam import LazyAdam
from ecdctr_tf.optimizers.row_wise_adagrad import RowWiseAdagrad

OPTIMIZERS = {
    "lazy_adam": lambda: LazyAdam(0.05, epsilon=1e-4, weight_decay=0.01),
    "row_wise_adagrad": lambda: RowWiseAdagrad(
        0.2, initial_accumulator=0.1, clipnorm=1.0
    ),
}
ROWS, WIDTH, BATCH, BATCHES, EPOCHS = 41, 3, 8, 8, 4
ANSWER = "answer: "
PORTS = range(20_000, 32_000)
_SERVERS = []


def free_addresses(count: int) -> list[str]:
    """Return addresses on this machine that nothing listens to.

    They are none of those that the system gives to connections. So who is
    started again there finds its own address free.
    """
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            # Not `random`: each process of tests seeds that alike.
            port = secrets.choice(PORTS)
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("localhost", port)))
                ports.append(port)
    return [f"localhost:{port}" for port in ports]


def mirrored():
    """Return a strategy over two logical devices."""
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, halves)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def workers():
    """Return the strategy of the workers that `TF_CONFIG` names."""
    return tf.distribute.MultiWorkerMirroredStrategy()


def servers():
    """Return a strategy over two workers and two parameter servers.

    All of them are in this process, but speak over the network.
    """
    tasks = {"worker": 2, "ps": 2}
    cluster = tf.train.ClusterSpec(
        {job: free_addresses(count) for job, count in tasks.items()}
    )
    # On few cores the two workers would wait for each other.
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=4)
    for job, count in tasks.items():
        for task in range(count):
            server = tf.distribute.Server(cluster, job, task, config=config)
            _SERVERS.append(server)
    # The table is large enough for two shards, other weights are not.
    partitioner = tf.distribute.experimental.partitioners.MinSizePartitioner(
        min_shard_bytes=ROWS * WIDTH * 4 // 3, max_shards=2
    )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, rpc_layer="grpc"
    )
    return tf.distribute.ParameterServerStrategy(resolver, partitioner)


STRATEGIES = {f.__name__: f for f in (mirrored, workers, servers)}


def batches() -> tf.data.Dataset:
    """Return the batches of an epoch: ids `[8, 2]` and targets `[8, 1]`."""
    random = np.random.default_rng(0)
    # Small ids come up more often, and so in the parts of several replicas.
    # The last row never does.
    ids = (random.random([BATCH * BATCHES, 2]) ** 2 * (ROWS - 1)).astype("i")
    targets = (ids % 3).sum(1, keepdims=True).astype("f")
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    data = tf.data.Dataset.from_tensor_slices((ids, targets)).batch(BATCH)
    return data.with_options(options)


def first_table() -> np.ndarray:
    """Return the table that all begin with, `[41, 3]`."""
    return np.linspace(-1, 1, ROWS * WIDTH, dtype="f").reshape([ROWS, WIDTH])


def network(optimizer) -> keras.Model:
    """Return a compiled model; its first layer has the table."""
    table = keras.layers.Embedding(ROWS, WIDTH, input_length=2)
    head = keras.layers.Dense(1, kernel_initializer=keras.initializers.Ones())
    model = keras.Sequential([table, keras.layers.Flatten(), head])
    model.build([None, 2])
    table.embeddings.assign(first_table())
    model.compile(optimizer, "mse")
    return model


def shards(variable) -> list[tf.Variable]:
    """Return the variables that a variable consists of."""
    return list(getattr(variable, "variables", [variable]))


def whole(variable) -> list:
    """Return the values of a variable, whatever it consists of."""
    parts = [tf.convert_to_tensor(part).numpy() for part in shards(variable)]
    return np.concatenate(parts).tolist()


def fit(strategy, make) -> dict:
    """Return what came out of training with an optimizer."""
    # Whether the compiled updates were used, each time that it was decided.
    decisions = []
    usable = row_updates.usable
    row_updates.usable = lambda v: decisions.append(usable(v)) or decisions[-1]
    with strategy.scope():
        model = network(make())
    fitted = model.fit(
        batches().repeat(), steps_per_epoch=BATCHES, epochs=EPOCHS, verbose=0
    )
    row_updates.usable = usable
    table, optimizer = model.layers[0].embeddings, model.optimizer
    # The first variable counts steps; those of the table are next.
    states = optimizer.variables[1 : 1 + len(optimizer._states[0])]
    answer = {
        "losses": fitted.history["loss"],
        "table": whole(table),
        "states": [whole(state) for state in states],
        "dense": [w.tolist() for w in model.layers[-1].get_weights()],
        "steps": int(optimizer.iterations.numpy()),
        "replicas": strategy.num_replicas_in_sync,
        "shard_rows": [part.shape[0] for part in shards(table)],
        "devices": [part.device for part in shards(table)],
        "state_devices": [[p.device for p in shards(s)] for s in states],
        "compiled": sorted(set(decisions)),
    }
    if len(answer["shard_rows"]) > 1:
        answer["moved"] = moved(strategy, make, model)
    return answer


def moved(strategy, make, model) -> list:
    """Return a sharded state that went through a whole one and back."""
    with tempfile.TemporaryDirectory() as directory:
        path = tf.train.Checkpoint(model=model).write(f"{directory}/sharded")
        one = network(make())
        one.optimizer.build(one.trainable_variables)
        checkpoint = tf.train.Checkpoint(model=one)
        checkpoint.read(path).assert_consumed()
        path = checkpoint.write(f"{directory}/whole")
        with strategy.scope():
            again = network(make())
            again.optimizer.build(again.trainable_variables)
        tf.train.Checkpoint(model=again).read(path).assert_consumed()
    states = again.optimizer.variables[1 : 1 + len(one.optimizer._states[0])]
    return [whole(state) for state in states]


if __name__ == "__main__":
    made = STRATEGIES[sys.argv[1]]()
    results = {name: fit(made, make) for name, make in OPTIMIZERS.items()}
    print(ANSWER + json.dumps(results), flush=True)
    # Servers have no end of their own.
    os._exit(0)
