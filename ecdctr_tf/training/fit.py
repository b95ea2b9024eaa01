"""Fit a model on a window, resumable at any step.

The state of a window under way (weights, optimizers, running loss, learning
curve) is kept every `checkpoint_steps`, and where the process is asked to end.
The newest two are kept: a damaged one is passed over. Since a stream's order
depends on its seed only, a killed run passes over the batches it has seen and
ends with the same numbers as an uninterrupted one. States are kept until the
window has been published (`forget`).

Steps are taken by this process, or by several together (`distributed`). The
model is whole in this process all the same: what is recorded, kept, scored and
published is read from it.
"""

import contextlib
import dataclasses
import json
import logging
import math
import pathlib
import shutil
import time
import typing
from collections.abc import Callable, Iterator

import tensorflow as tf
import tqdm

from ecdctr_tf import store, termination
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.transfer import checkpoint, warm_start

_KIND = "progress"
_STATE = "state"
# Points of the learning curve of a window.
_CURVE_POINTS = 20
# Steps of one call into the graph; between two, the progress bar is moved.
_STEPS_AT_ONCE = 32


@dataclasses.dataclass(frozen=True)
class Task:
    """A window to fit and where to leave traces of it."""

    # Shown beside the progress bar.
    label: str
    # Number of steps to pass over -> the stream's remaining batches, which are
    # even: their sizes differ by one row at most.
    stream: Callable[[int], tf.data.Dataset]
    # Rows of the stream.
    rows: int
    batch_size: int
    checkpoint_steps: int
    # Directory of the resumable state.
    progress: pathlib.Path
    # Directory of the TensorBoard scalars, or None.
    tensorboard: pathlib.Path | None = None
    # Whether the window has a progress bar of its own.
    bar: bool = True
    # Step and number of steps from it on -> the files that they read, for the
    # message of a window that diverges.
    files: Callable[[int, int], list[str]] = lambda step, steps: []
    # What the model comes from, as JSON-ready values. A state that began from
    # something else, such as an older CPM, is not taken up.
    start: dict = dataclasses.field(default_factory=dict)


class Steps(typing.Protocol):
    """Takes the steps of a window."""

    def take(self, steps: int) -> float:
        """Take the next steps; let the model's running loss know of them.

        Args:
          steps: how many, at least 1.

        Returns:
          Seconds spent waiting for batches, or not a number.
        """
        ...

    def collect(self) -> None:
        """Give the model the weights and the state that there are now."""
        ...


class Here:
    """Takes the steps of a window in this process.

    Args:
      model: the model, compiled.
      task: the window.
      step: how many of its steps were taken before.
    """

    def __init__(self, model: CTRModel, task: "Task", step: int):
        """Trace the loop, unless the model has been trained before."""
        self._batches = iter(task.stream(step))
        self._train_steps = model.train_steps
        if not tf.config.functions_run_eagerly():
            # Traced once a model: streams of all windows have one signature.
            self._train_steps = model.train_steps.get_concrete_function(
                self._batches, tf.TensorSpec([], tf.int32)
            )

    def take(self, steps: int) -> float:
        """Take the next steps; return seconds spent waiting for batches."""
        return float(self._train_steps(self._batches, tf.constant(steps)))

    def collect(self) -> None:
        """Do nothing: it is the model itself that is trained."""


# Model as it begins, window, and steps of it that were taken before.
Begin: typing.TypeAlias = Callable[[CTRModel, Task, int], Steps]


class DivergenceError(ValueError):
    """Training has left the finite numbers."""


def fit(
    model: CTRModel,
    task: Task,
    begin: Begin = Here,
) -> list[dict]:
    """Fit a compiled model on a window; return its learning curve.

    Args:
      model: the model.
      task: the window.
      begin: makes what takes the steps that are left.

    Returns:
      `[{"step", "rows", "loss"}, ...]`: mean log loss since the point before.

    Raises:
      DivergenceError: the loss or a weight is not finite. The last state that
        was kept is finite.
      Terminated: the process was asked to end; the state has been kept.
    """
    recorder = _Recorder(model, task)
    recorder.restore(state_variables(model))
    if recorder.left():
        taken = begin(model, task, recorder.step)
        recorder.open(taken)
        with termination.deferred() as ending:
            while (steps := recorder.left()) and not ending():
                began = time.perf_counter()
                waited = taken.take(steps)
                recorder.record(steps, waited, time.perf_counter() - began)
            if ending():
                recorder.keep()
        taken.collect()
    recorder.close()
    return recorder.curve


def forget(progress: pathlib.Path, day: str) -> None:
    """Remove the states of windows that end on a published day, or before.

    Of those that end later, only what killed writers left behind is removed.

    Args:
      progress: where a level keeps them, by names that end with the last day
        of the window.
      day: the last day that the level has learned.
    """
    done = over(progress, day)
    for window in done:
        shutil.rmtree(window, ignore_errors=True)
    if progress.is_dir():
        for window in progress.iterdir():
            store.sweep(window)


def over(progress: pathlib.Path, day: str) -> list[pathlib.Path]:
    """Return the states that `forget` removes; arguments as there."""
    if not progress.is_dir():
        return []
    return [w for w in progress.iterdir() if w.name[-len(day) :] <= day]


def state_variables(model: CTRModel) -> dict[str, tf.Variable]:
    """Return all that training changes, by name."""
    return {
        **checkpoint.named_variables(model.parts()),
        **optimizer_state(model),
    }


def optimizer_state(model: CTRModel) -> dict[str, tf.Variable]:
    """Return the variables of both optimizers, made if need be."""
    dense, tables = model.split_variables()
    model.optimizer.build(dense)
    model.table_optimizer.build(tables)
    return checkpoint.optimizer_variables(
        dense_optimizer=model.optimizer, table_optimizer=model.table_optimizer
    )


class _Recorder:
    """Progress bar, learning curve, TensorBoard scalars, resumable states."""

    def __init__(self, model: CTRModel, task: Task):
        self._model = model
        self._task = task
        self._steps = -(-task.rows // task.batch_size)
        self._every = max(self._steps // _CURVE_POINTS, 1)
        self._bar: tqdm.tqdm = None
        # Seconds of waiting for input and of everything, since the last point.
        self._waited, self._passed = 0.0, 0.0
        # (step, share of the time spent waiting for input)
        self._waits: list[tuple[int, float]] = []
        self.step = 0
        self.curve: list[dict] = []
        model.loss_metric.reset_states()

    def restore(self, variables: dict) -> None:
        """Take up the newest state that is whole, if there is one."""
        store.sweep(self._task.progress)
        self._variables = variables
        for path in reversed(self._states()):
            try:
                manifest = store.verify(path, _KIND)
            except (FileNotFoundError, ValueError) as error:
                logging.warning(
                    "%s The window goes on from the state before.", error
                )
                shutil.rmtree(path)
                continue
            self._take(path, manifest)
            return

    def _states(self) -> list[pathlib.Path]:
        """Return the states of the window, oldest first."""
        return sorted(self._task.progress.glob("[0-9]*"))

    def _take(self, path: pathlib.Path, manifest: store.Manifest) -> None:
        """Take up a state, unless it began from something else."""
        if manifest.config != {"start": self._task.start}:
            logging.warning(
                "%s began from other days, weights or settings. It is deleted, "
                "and the window starts again.",
                path,
            )
            shutil.rmtree(self._task.progress)
            return
        values = checkpoint.read(path / _STATE)
        warm_start.restore(self._variables, values, str(path))
        self.step = manifest.metrics["step"]
        self.curve = manifest.metrics["curve"]
        metric = self._model.loss_metric.variables
        for variable, value in zip(
            metric, manifest.metrics["metric"], strict=True
        ):
            variable.assign(value)

    def left(self) -> int:
        """Return the steps up to the next moment to record, 0 at the end."""
        return min(
            self._steps - self.step,
            self._every - self.step % self._every,
            self._task.checkpoint_steps
            - self.step % self._task.checkpoint_steps,
            _STEPS_AT_ONCE,
        )

    def open(self, taken: Steps) -> None:
        """Show the progress bar.

        Args:
          taken: what takes the steps.
        """
        self._taken = taken
        self._bar = tqdm.tqdm(
            total=self._task.rows,
            initial=self._rows(),
            desc=self._task.label,
            unit=" rows",
            unit_scale=True,
            mininterval=1.0,
            leave=False,
            # None: shown on a terminal, not in a log.
            disable=None if self._task.bar else True,
        )

    def record(self, steps: int, waited: float, passed: float) -> None:
        """Count steps taken, and record and keep the state at their paces.

        Args:
          steps: how many were taken.
          waited: seconds of them spent waiting for input, or not a number.
          passed: seconds they took.
        """
        self.step += steps
        self._waited += waited
        self._passed += passed
        self._bar.update(self._rows() - self._bar.n)
        self._check(
            math.isfinite(float(self._model.loss_metric.result())), steps=steps
        )
        if self.step % self._every == 0 or self.step == self._steps:
            loss = self._model.loss_metric
            point = {"step": self.step, "rows": self._rows()}
            self.curve.append({**point, "loss": float(loss.result())})
            loss.reset_states()
            if not math.isnan(self._waited):
                self._waits.append((self.step, self._waited / self._passed))
            self._waited, self._passed = 0.0, 0.0
        if self.step % self._task.checkpoint_steps == 0:
            self.keep()

    def _rows(self) -> int:
        return self.step * self._task.rows // max(self._steps, 1)

    def _check(
        self, finite: bool, what: str = "the loss", steps: int = 0
    ) -> None:
        """Stop the window unless training is among finite numbers.

        Args:
          finite: whether it is.
          what: is looked at.
          steps: since it was looked at last; 0: unknown.
        """
        if finite:
            return
        self._bar.close()
        files = self._task.files(self.step - steps, steps) if steps else []
        read = f" The last {steps} steps read {', '.join(files)}."
        raise DivergenceError(
            f"Training of {self._task.label} diverged: {what} was not finite "
            f"by step {self.step} of {self._steps}. Nothing of the window is "
            f"published.{read if files else ''} Try lower learning rates "
            "(dense_learning_rate, table_learning_rate), and look for extreme "
            "numbers in the days of the window."
        )

    @contextlib.contextmanager
    def _finite_weights(self) -> Iterator[None]:
        """Stop the window where a weight is found not to be finite."""
        try:
            yield
        except checkpoint.NotFiniteError as error:
            self._check(False, f"a weight ({str(error).rstrip('.')})")

    def close(self) -> None:
        """Check the weights, close the bar and write the scalars."""
        if self._steps:
            with self._finite_weights():
                checkpoint.check_finite(self._variables)
        if self._bar is not None:
            self._bar.close()
        if self._task.tensorboard is None:
            return
        writer = tf.summary.create_file_writer(str(self._task.tensorboard))
        with writer.as_default():
            for point in self.curve:
                tf.summary.scalar("loss", point["loss"], point["step"])
            for step, share in self._waits:
                tf.summary.scalar("input_wait", share, step)
        writer.close()

    def keep(self) -> None:
        """Keep the state at this step, and the one before."""
        path = self._task.progress / f"{self.step:09d}"
        if path.exists():
            return
        self._taken.collect()
        metric = [float(v) for v in self._model.loss_metric.variables]
        manifest = store.Manifest(
            kind=_KIND,
            config={"start": self._task.start},
            metrics={"step": self.step, "curve": self.curve, "metric": metric},
        )
        older = self._states()[:-1]
        # They are looked at as they are written.
        with self._finite_weights(), store.publish(path, manifest) as staging:
            checkpoint.write(staging / _STATE, self._variables)
        for state in older:
            store.remove(state)


def curve_text(curve: list[dict]) -> str:
    """Return a learning curve as JSON text."""
    return json.dumps(curve, indent=1, allow_nan=False) + "\n"
