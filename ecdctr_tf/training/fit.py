"""Fit a model on a window with Keras, resumable at any step.

The state of a window under way (weights, optimizers, running loss, learning
curve) is kept every `checkpoint_steps`. Since a stream's order depends on its
seed only, a killed run passes over the batches it has seen and ends with the
same numbers as an uninterrupted one.
"""

import dataclasses
import json
import logging
import pathlib
import shutil
from collections.abc import Callable

import tensorflow as tf
import tf_keras as keras
import tqdm

from ecdctr_tf import store
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.transfer import checkpoint, warm_start

_KIND = "progress"
_STATE = "state"
# Points of the learning curve of a window.
_CURVE_POINTS = 20


@dataclasses.dataclass(frozen=True)
class Task:
    """A window to fit and where to leave traces of it."""

    # Shown beside the progress bar.
    label: str
    # Number of steps to pass over -> the stream's remaining batches.
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
    # What the model comes from, as JSON-ready values. A state that began from
    # something else, such as an older CPM, is not taken up.
    start: dict = dataclasses.field(default_factory=dict)


def fit(model: CTRModel, task: Task) -> list[dict]:
    """Fit a compiled model on a window; return its learning curve.

    Returns:
      `[{"step", "rows", "loss"}, ...]`: mean log loss since the point before.
    """
    recorder = _Recorder(task)
    variables = _state_variables(model)
    done = recorder.restore(variables)
    # Keras refuses the empty rest of a window killed after its last step.
    if done * task.batch_size < task.rows:
        model.fit(
            task.stream(done),
            epochs=1,
            verbose=0,
            callbacks=[recorder],
        )
    shutil.rmtree(task.progress, ignore_errors=True)
    return recorder.curve


def _state_variables(model: CTRModel) -> dict[str, tf.Variable]:
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


class _Recorder(keras.callbacks.Callback):
    """Progress bar, learning curve, TensorBoard scalars, resumable states."""

    def __init__(self, task: Task):
        super().__init__()
        self._task = task
        self._steps = -(-task.rows // task.batch_size)
        self._every = max(self._steps // _CURVE_POINTS, 1)
        self._metric = None
        self.step = 0
        self.curve: list[dict] = []

    def restore(self, variables: dict) -> int:
        """Take up the newest state there is; return the steps done."""
        store.sweep(self._task.progress)
        states = store.dated(self._task.progress)
        self._variables = variables
        if states:
            path = self._task.progress / states[-1]
            manifest = store.verify(path, _KIND)
            if manifest.config != {"start": self._task.start}:
                logging.warning("%s began otherwise: it is dropped", path)
                shutil.rmtree(self._task.progress)
                return 0
            values = checkpoint.read(path / _STATE)
            warm_start.restore(variables, values, str(path))
            self.step = manifest.metrics["step"]
            self.curve = manifest.metrics["curve"]
            self._metric = manifest.metrics["metric"]
        return self.step

    def on_train_begin(self, logs=None):
        """Open the bar."""
        self._bar = tqdm.tqdm(
            total=self._task.rows,
            initial=min(self.step * self._task.batch_size, self._task.rows),
            desc=self._task.label,
            unit=" rows",
            unit_scale=True,
            mininterval=1.0,
            disable=not self._task.bar,
        )

    def on_epoch_begin(self, epoch, logs=None):
        """Take up the running loss, which Keras has just reset."""
        if self._metric is not None:
            for variable, value in zip(
                self.model.loss_metric.variables, self._metric, strict=True
            ):
                variable.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        """Count, record and keep the state at their paces."""
        self.step += 1
        rows = min(self.step * self._task.batch_size, self._task.rows)
        self._bar.update(rows - self._bar.n)
        if self.step % self._every == 0 or self.step == self._steps:
            loss = float(logs["loss"])
            self.curve.append({"step": self.step, "rows": rows, "loss": loss})
            self.model.loss_metric.reset_states()
        if self.step % self._task.checkpoint_steps == 0:
            self._keep()

    def on_train_end(self, logs=None):
        """Close the bar and write the scalars."""
        self._bar.close()
        if self._task.tensorboard is not None:
            writer = tf.summary.create_file_writer(str(self._task.tensorboard))
            with writer.as_default():
                for point in self.curve:
                    tf.summary.scalar("loss", point["loss"], point["step"])
            writer.close()

    def _keep(self) -> None:
        metric = [float(v) for v in self.model.loss_metric.variables]
        manifest = store.Manifest(
            kind=_KIND,
            config={"start": self._task.start},
            metrics={"step": self.step, "curve": self.curve, "metric": metric},
        )
        path = self._task.progress / f"{self.step:09d}"
        older = [self._task.progress / n for n in store.dated(path.parent)]
        with store.publish(path, manifest) as staging:
            checkpoint.write(staging / _STATE, self._variables)
        for state in older:
            shutil.rmtree(state)


def curve_text(curve: list[dict]) -> str:
    """Return a learning curve as JSON text."""
    return json.dumps(curve, indent=1) + "\n"
