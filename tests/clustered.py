"""A level trained under a strategy; run in a process of its own.

`python -m tests.clustered STRATEGY DATA RUN LEVEL` trains a level of the small
world: `tpm`, or `ctr`, two days of the A-CTR, on the second of which the tables
outgrow their room. What a process does not lead, it follows.
"""

import os
import pathlib
import sys

import tensorflow as tf

from ecdctr_tf import windows
from ecdctr_tf.distributed import clusters, roles, servers
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import daily, natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from tests import distributed_training, trained

GROWS_ON = 6
_SERVERS = []


def two_devices() -> None:
    """Let mirrored training have two devices, as on a machine with two GPUs."""
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, halves)
    mirrored = tf.distribute.MirroredStrategy
    tf.distribute.MirroredStrategy = lambda: mirrored(["CPU:0", "CPU:1"])


def start_servers() -> roles.Role:
    """Start two workers and two servers in this process; return the chief."""
    counts = {roles.CHIEF: 1, roles.WORKER: 2, roles.SERVER: 2}
    jobs = {
        job: tuple(distributed_training.free_addresses(count))
        for job, count in counts.items()
    }
    spec = tf.train.ClusterSpec({job: list(of) for job, of in jobs.items()})
    # On few cores the two workers would wait for each other.
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=4)
    for job in (roles.WORKER, roles.SERVER):
        for index in range(counts[job]):
            server = tf.distribute.Server(spec, job, index, config=config)
            _SERVERS.append(server)
    # The tables of the small world are small.
    servers._LEAST_SHARD_BYTES = 64
    return roles.Role(roles.PARAMETER_SERVER, jobs)


def role(strategy: str) -> roles.Role:
    if strategy == roles.MIRRORED:
        two_devices()
    if strategy == roles.PARAMETER_SERVER:
        return start_servers()
    return roles.of_environment(strategy)


def train(data, run, cluster, name) -> None:
    def level(kind):
        row = trained.model_table.model("e_cdctr")
        return Level(data, run, trained.CONFIG, row, kind, cluster=cluster)

    if name == "tpm":
        window = windows.Window(trained.day(1), trained.day(2))
        natural.train(level("snapshot"), window)
    else:
        trainer = daily.DailyTrainer(level("ctr"))
        trainer.run(trained.days(5, GROWS_ON))


def say_places(cluster) -> None:
    """Print the devices of the shards of each table, a line each."""
    for table in cluster._copy.model.embedding.tables.values():
        shards = table.embeddings.variables
        print(*sorted({part.device for part in shards}))


def main(strategy, data, run, level) -> None:
    own = role(strategy)
    run, data = pathlib.Path(run), pathlib.Path(data)
    if not own.leads:
        clusters.follow(own, data, run)
        return
    with clusters.lead(own, run) as cluster:
        train(DataDirectory(data), Workdir(run), cluster, level)
        if strategy == roles.PARAMETER_SERVER:
            say_places(cluster)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    # Servers in this process have no end of their own.
    os._exit(0)
