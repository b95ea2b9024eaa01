"""Workers that take steps at their own pace, and servers that hold the tables.

Under `ParameterServerStrategy` tables and their optimizer state lie in shards
on the servers. The chief reads the batches, in the order of one process, and
hands each to a worker that is free. Workers do not wait for each other: a step
may start from weights that lack the last steps of the others, so numbers differ
from run to run. A batch whose worker ends is handed to another one.
"""

import contextlib
import os
import pathlib
import socket
import time
import uuid
from collections.abc import Callable, Iterator

import tensorflow as tf

from ecdctr_tf import store, windows
from ecdctr_tf.distributed import copies, jobs, losing, roles
from ecdctr_tf.input import time_parts
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.training import fit
from ecdctr_tf.training.level import Level

# Below this, a shard would cost more to ask for than to hold.
_LEAST_SHARD_BYTES = 256 << 10
_ENDED = "ended"
_LOOK_EVERY_SECONDS = 1.0
# After this, a chief that is gone is not waited for any more.
_WAIT_SECONDS = 600.0


class Servers:
    """The cluster of a chief, workers and parameter servers, for the chief.

    Args:
      role: the chief's.
      workdir: the work directory, which all processes see.
    """

    def __init__(self, role: roles.Role, workdir: pathlib.Path):
        """Connect to the workers and servers, once all are there."""
        self._place = workdir / jobs.DIRECTORY
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            _spec(role), task_type=role.job, task_id=0, rpc_layer="grpc"
        )
        with losing.noticed():
            self._strategy = tf.distribute.ParameterServerStrategy(
                resolver, _partitioner(len(role.jobs[roles.SERVER]))
            )
            self._coordinator = tf.distribute.coordinator.ClusterCoordinator(
                self._strategy
            )
        self._copy: copies.Copy | None = None

    @contextlib.contextmanager
    def leading(self) -> Iterator["Servers"]:
        """Let the other processes end after the `with` block.

        Where it fails they stay, and serve the chief that is started again,
        if that is soon.
        """
        yield self
        self._place.mkdir(parents=True, exist_ok=True)
        store.write_text(self._place / _ENDED, uuid.uuid4().hex)

    def begin(
        self,
        level: Level,
        parts: dict[str, windows.Window],
        part: time_parts.Part | None,
    ) -> fit.Begin:
        """Return what begins a window of a level; see `level.Cluster`."""
        del parts, part  # The chief reads the batches.

        def begin(model: CTRModel, task: fit.Task, step: int) -> fit.Steps:
            with losing.noticed():
                if self._copy is None or not self._copy.fits(model):
                    self._copy = None  # Frees its variables first.
                    self._copy = copies.Copy(self._strategy, level)
                self._copy.spread()
            return _Steps(self._coordinator, self._copy, task.stream(step))

        return begin


class _Steps:
    """Hands batches to workers.

    Args:
      coordinator: knows the workers.
      copy: the model that they train.
      batches: what is left of the window's.
    """

    def __init__(
        self,
        coordinator: tf.distribute.coordinator.ClusterCoordinator,
        copy: copies.Copy,
        batches: tf.data.Dataset,
    ):
        self._coordinator = coordinator
        self._copy = copy
        self._batches = iter(batches)
        self._step = copy.step(batches.element_spec)

    def take(self, steps: int) -> float:
        """Have the next steps taken; return seconds spent reading batches."""
        waited = 0.0
        with losing.noticed():
            for _ in range(steps):
                began = time.perf_counter()
                batch = next(self._batches)
                waited += time.perf_counter() - began
                self._coordinator.schedule(self._step, args=batch)
            self._coordinator.join()
            copies.add_losses(self._copy.of, self._copy.losses())
        return waited

    def collect(self) -> None:
        """Give the model the weights and the state that there are now."""
        with losing.noticed():
            self._copy.collect()


def serve(role: roles.Role, workdir: pathlib.Path) -> None:
    """Be a worker or a parameter server until the chief has ended.

    Args:
      role: of this process.
      workdir: the work directory, in which the chief says so.

    Raises:
      LostError: the chief is gone and has not come back.
    """
    # Calls to a process that is gone fail, instead of waiting for it.
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
    ended = workdir / jobs.DIRECTORY / _ENDED
    # Of a run before this one.
    before = _text(ended)
    # On few cores, calls between the processes would wait for each other.
    threads = max(4, os.cpu_count() or 1)
    server = tf.distribute.Server(
        _spec(role),
        role.job,
        role.index,
        config=tf.compat.v1.ConfigProto(inter_op_parallelism_threads=threads),
    )
    (address,) = role.jobs[roles.CHIEF]
    chief = _Presence(address)
    while _text(ended) == before:
        chief.look()
        if chief.gone() > _WAIT_SECONDS:
            raise losing.LostError(
                f"The chief at {address} has been gone for "
                f"{_WAIT_SECONDS / 60:.0f} minutes. Nothing of the window "
                "under way was published. Start it and this process again: "
                "training goes on from the last state kept."
            )
        time.sleep(_LOOK_EVERY_SECONDS)
    del server


class _Presence:
    """Whether a process that was there is gone, and for how long.

    Args:
      address: where it listens, host:port.
    """

    def __init__(self, address: str):
        host, _, port = address.rpartition(":")
        self._address = host.strip("[]"), int(port)
        self._seen: float | None = None

    def look(self) -> None:
        """Note whether it listens now."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(self._address, _LOOK_EVERY_SECONDS),
        ):
            self._seen = time.monotonic()

    def gone(self) -> float:
        """Return the seconds since it was there; 0 before it ever was."""
        return 0.0 if self._seen is None else time.monotonic() - self._seen


def _partitioner(servers: int) -> Callable[..., list[int]]:
    """Return what says in how many shards a variable lies, axis by axis."""
    by_size = tf.distribute.experimental.partitioners.MinSizePartitioner(
        _LEAST_SHARD_BYTES, servers
    )

    def shards(shape: tf.TensorShape, dtype: tf.DType) -> list[int]:
        # What is no table is read whole in each step.
        return by_size(shape, dtype) if shape.rank == 2 else [1] * shape.rank

    return shards


def _text(file: pathlib.Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return ""


def _spec(role: roles.Role) -> tf.train.ClusterSpec:
    return tf.train.ClusterSpec({j: list(a) for j, a in role.jobs.items()})
