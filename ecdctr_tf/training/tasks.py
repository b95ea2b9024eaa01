"""A window of either domain as a task for `fit`."""

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
        seed=config.seed * 1_000_000 + windows.day_number(window.last),
        passes=training.passes,
        skip=skip,
        names=[f.name for f in model.spec.features],
    )


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
    return fit.Task(
        label=f"{label} {window}",
        stream=lambda skip: stream(
            data, config, training, model, domain, window, skip
        ),
        rows=data.rows(domain, window) * training.passes,
        batch_size=training.batch_size,
        checkpoint_steps=training.checkpoint_steps,
        progress=progress,
        **others,
    )
