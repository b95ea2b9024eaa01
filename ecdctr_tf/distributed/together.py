"""Replicas that take each step together, with a part of the batch each.

`MirroredStrategy` has its replicas on the GPUs of one machine. Under
`MultiWorkerMirroredStrategy` each process of the cluster has some. The chief
leads: what the others are to do next, they learn from a sum over all processes
to which only the chief gives numbers. What a window is made of, they read from
a job in the work directory. They write nothing.

The batches are those of one process, and the statistics and gradients of a
batch are summed over its parts: what is learned is what one process would have
learned, up to rounding.
"""

import contextlib
import enum
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ecdctr_tf import windows
from ecdctr_tf.distributed import copies, jobs, losing, roles
from ecdctr_tf.input import time_parts
from ecdctr_tf.layers import replicas
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.training import fit
from ecdctr_tf.training.level import Level


class _Order(enum.IntEnum):
    """What the chief has all processes do next."""

    # Read the job of that number.
    BEGIN = 1
    # Take that many steps.
    STEP = 2
    # End: the stage is done, or has failed.
    END = 3
    FAIL = 4


class Together:
    """The processes, or the GPUs of one, that take each step together.

    Args:
      role: which of the processes this one is.
      workdir: the work directory, which all of them see.
    """

    def __init__(self, role: roles.Role, workdir: pathlib.Path):
        """Make the strategy, once all processes are there."""
        self._role = role
        self._alone = role.strategy == roles.MIRRORED
        self._jobs = jobs.Jobs(workdir)
        with losing.noticed():
            self._strategy = _strategy(role)
        self._copy: copies.Copy | None = None

    @property
    def _replicas(self) -> range:
        """The replicas of this process, by their numbers among all."""
        here = len(self._strategy.extended.worker_devices)
        processes = [
            (job, index)
            for job in (roles.CHIEF, roles.WORKER)
            for index in range(len(self._role.jobs.get(job, ())))
        ]
        place = 0
        if not self._alone:
            place = processes.index((self._role.job, self._role.index))
        return range(place * here, (place + 1) * here)

    @contextlib.contextmanager
    def leading(self) -> Iterator["Together"]:
        """Let the other processes end with the `with` block."""
        try:
            yield self
        except losing.LostError:
            raise  # There is nobody left to tell.
        except BaseException:
            with contextlib.suppress(losing.LostError):
                self._order(_Order.FAIL)
            raise
        self._order(_Order.END)
        self._jobs.clear()

    def begin(
        self,
        level: Level,
        parts: dict[str, windows.Window],
        part: time_parts.Part | None,
    ) -> fit.Begin:
        """Return what begins a window of a level; see `level.Cluster`."""

        def begin(model: CTRModel, task: fit.Task, step: int) -> fit.Steps:
            del task  # Its batches are those of the level.
            window = jobs.Window(parts, part, step)
            anew = self._copy is None or not self._copy.fits(model)
            if not self._alone:
                number = self._jobs.write(level, window, anew)
                self._order(_Order.BEGIN, number)
            return self._begun(level, window, anew)

        return begin

    def follow(self, data_dir: pathlib.Path) -> None:
        """Do what the chief says until it ends.

        Args:
          data_dir: the data directory.

        Raises:
          LostError: a process is gone, or the chief has failed.
        """
        level: Level | None = None
        steps: _Steps | None = None
        while True:
            order, argument = map(int, self.summed([0, 0]))
            if order == _Order.BEGIN:
                level, window, anew = self._jobs.read(argument, data_dir, level)
                steps = self._begun(level, window, anew)
            elif order == _Order.STEP and steps is not None:
                steps.go(argument)
            elif order == _Order.END:
                return
            else:
                raise losing.LostError(
                    "The chief has failed; its message says why. Start all "
                    "processes of the cluster again."
                )

    def _order(self, order: _Order, argument: int = 0) -> None:
        if not self._alone:
            self.summed([order, argument])

    def summed(self, values: Sequence[float]) -> list[float]:
        """Return the sum of what each process gives."""
        first = self._replicas[0]

        def of_replica(
            context: tf.distribute.experimental.ValueContext,
        ) -> tf.Tensor:
            mine = context.replica_id_in_sync_group == first
            given = np.array(values, np.float64)
            return tf.constant(given if mine else np.zeros_like(given))

        make = self._strategy.experimental_distribute_values_from_function
        with losing.noticed():
            total = self._sum(make(of_replica))
            one, *_ = self._strategy.experimental_local_results(total)
            return one.numpy().tolist()

    @tf.function(reduce_retracing=True)
    def _sum(self, values: tf.Tensor) -> tf.Tensor:
        def sum_of_replicas(value: tf.Tensor) -> tf.Tensor:
            # A new tensor, which is on the device of the replica.
            return replicas.total(tf.identity(value))

        return self._strategy.run(sum_of_replicas, args=(values,))

    def _begun(self, level: Level, window: jobs.Window, anew: bool) -> "_Steps":
        """Begin a window, as all other processes do now.

        Args:
          level: the level, with the values that the window begins with.
          window: what is to be trained on.
          anew: whether the model is another one than that of the last window.
        """
        strategy, here = self._strategy, self._replicas
        with losing.noticed():
            if anew or self._copy is None:
                self._copy = None  # Frees its variables first.
                self._copy = copies.Copy(strategy, level)
                self._loop = _loop(self._copy)
            self._copy.spread()
            batches = strategy.distribute_datasets_from_function(
                lambda context: shares(
                    level.stream(window.parts, window.step, window.part),
                    here,
                    strategy.num_replicas_in_sync,
                )
            )
            return _Steps(self, self._copy, self._loop, iter(batches))

    def take(self, steps: int) -> None:
        """Have the other processes take steps, if there are any."""
        self._order(_Order.STEP, steps)

    def all_losses(self, losses: list[float]) -> list[float]:
        """Return the running losses of all processes together."""
        return losses if self._alone else self.summed(losses)


class _Steps:
    """Takes the steps of a window on all replicas.

    Args:
      together: the processes.
      copy: the model that they train.
      loop: takes steps on the batches of an iterator.
      batches: the iterator.
    """

    def __init__(
        self,
        together: Together,
        copy: copies.Copy,
        loop: Callable[[Any, tf.Tensor], None],
        batches: Any,
    ):
        self._together = together
        self._copy = copy
        self._loop = loop
        self._batches = batches

    def take(self, steps: int) -> float:
        """Take the next steps, in all processes; the wait is not known."""
        self._together.take(steps)
        self.go(steps)
        return math.nan

    def go(self, steps: int) -> None:
        """Take steps, as all other processes do now."""
        with losing.noticed():
            self._loop(self._batches, tf.constant(steps))
        losses = self._together.all_losses(self._copy.losses())
        copies.add_losses(self._copy.of, losses)

    def collect(self) -> None:
        """Give the model the weights and the state that there are now."""
        self._copy.collect()


def _strategy(role: roles.Role) -> tf.distribute.Strategy:
    if role.strategy == roles.MIRRORED:
        strategy = tf.distribute.MirroredStrategy()
    else:
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(dict(role.jobs)),
            task_type=role.job,
            task_id=role.index,
            rpc_layer="grpc",
        )
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    # All replicas have as many parts of batches as there are steps. Otherwise
    # they would tell each other before each step whether they have one more.
    strategy.extended.experimental_enable_get_next_as_optional = False
    return strategy


def _loop(copy: copies.Copy) -> Callable[[Any, tf.Tensor], None]:
    """Return what takes steps on the batches of an iterator."""

    @tf.function(reduce_retracing=True)
    def take(batches: Any, steps: tf.Tensor) -> None:
        take_step = tf.autograph.experimental.do_not_convert(
            copy.model.train_step
        )
        for _ in tf.range(steps):
            copy.strategy.run(take_step, args=(next(batches),))

    return take


def shares(
    batches: tf.data.Dataset, numbers: Sequence[int], every: int
) -> tf.data.Dataset:
    """Return the parts of batches that some replicas get, one after the other.

    Replica r of R gets the rows r, r + R, ... of each batch: parts differ by
    one row at most, and each row is in one of them.

    Args:
      batches: `(features, clicks)`.
      numbers: of the replicas.
      every: R, how many replicas there are.
    """

    @tf.autograph.experimental.do_not_convert
    def parts(*batch: tf.Tensor) -> tf.data.Dataset:
        def part(replica: tf.Tensor) -> tuple:
            return tf.nest.map_structure(
                lambda column: column[replica::every], batch
            )

        return tf.data.Dataset.from_tensor_slices(list(numbers)).map(part)

    return batches.flat_map(parts)
