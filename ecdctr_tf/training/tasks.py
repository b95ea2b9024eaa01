"""A window of either domain, or of both, as a task for `fit`."""

import pathlib

import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import windows
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.training import fit


def stream(
    data: DataDirectory,
    config: configs.Config,
    training: configs.TrainingConfig,
    model: CTRModel,
    domain: str,
    window: windows.Window,
    skip: int = 0,
) -> tf.data.Dataset:
    """Return the batches of what a model reads of a window, in a run's order.

    Args:
      data: the data directory.
      config: the run's config; another seed gives another order.
      training: batch size and passes.
      model: says which features to read.
      domain: "natural" or "ads".
      window: the days.
      skip: steps to pass over.
    """
    return streams.batches(
        data,
        domain,
        window,
        training.batch_size,
        seed=_seed(config, window),
        passes=training.passes,
        skip=skip,
        names=[f.name for f in model.spec.features],
    )


def _seed(config: configs.Config, window: windows.Window) -> int:
    return config.seed * 1_000_000 + windows.day_number(window.last)


def task(
    data: DataDirectory,
    config: configs.Config,
    training: configs.TrainingConfig,
    model: CTRModel,
    domain: str,
    window: windows.Window,
    label: str,
    progress: pathlib.Path,
    **others,
) -> fit.Task:
    """Return the task of fitting a model on a window.

    Args:
      data: the data directory.
      config: the run's config.
      training: how to train.
      model: the model.
      domain: "natural" or "ads".
      window: the days.
      label: shown beside the progress bar.
      progress: directory of the resumable state.
      **others: further fields of `fit.Task`.
    """
    return _task(
        training,
        rows=data.rows(domain, window),
        label=f"{label} {window}",
        stream=lambda skip: stream(
            data, config, training, model, domain, window, skip
        ),
        progress=progress,
        **others,
    )


def mixed_task(
    data: DataDirectory,
    config: configs.Config,
    training: configs.TrainingConfig,
    model: CTRModel,
    parts: dict[str, windows.Window],
    label: str,
    progress: pathlib.Path,
    **others,
) -> fit.Task:
    """Return the task of fitting a joint model on rows of several domains.

    Args:
      data: the data directory.
      config: the run's config.
      training: how to train.
      model: the model.
      parts: domain -> its days.
      label: shown beside the progress bar.
      progress: directory of the resumable state.
      **others: further fields of `fit.Task`.
    """
    newest = max(parts.values(), key=lambda window: window.last)
    return _task(
        training,
        rows=sum(data.rows(*part) for part in parts.items()),
        label=f"{label} {newest}",
        stream=lambda skip: streams.mixed(
            data,
            parts,
            training.batch_size,
            seed=_seed(config, newest),
            passes=training.passes,
            skip=skip,
            names=[f.name for f in model.spec.features],
        ),
        progress=progress,
        **others,
    )


def _task(training: configs.TrainingConfig, rows: int, **others) -> fit.Task:
    """Return a task of going through rows as `training` says."""
    return fit.Task(
        rows=rows * training.passes,
        batch_size=training.batch_size,
        checkpoint_steps=training.checkpoint_steps,
        **others,
    )
