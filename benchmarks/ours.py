"""This project's training path from files on disk, as `train_main.py` runs it.

A process of `worker.Worker`. Settings: `data` (a data directory of
`world.write`), and fields of `TrainingConfig`.
"""

import dataclasses
import pathlib
import tempfile
import time

from benchmarks import worker, world
from benchmarks.peers import UNITS, WIDTH
from ecdctr_tf import config as configs
from ecdctr_tf import windows
from ecdctr_tf.input import data_directory
from ecdctr_tf.models import ctr_model
from ecdctr_tf.training import fit, levels, tasks

NETWORK = configs.ModelConfig(
    embedding_dim=WIDTH,
    hidden_units=UNITS,
    cross_layers=0,
    attention=False,
    products=False,
    history=False,
)


def training(settings: dict) -> configs.TrainingConfig:
    """Return how the level is trained: the settings less `data`."""
    changes = {k: v for k, v in settings.items() if k != "data"}
    return dataclasses.replace(configs.TrainingConfig(), **changes)


def rate(
    data: data_directory.DataDirectory,
    stage: configs.StageConfig,
    model: ctr_model.CTRModel,
    window: windows.Window,
) -> float:
    """Fit a model on a window of natural days; return rows/s."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        task = tasks.task(
            data,
            configs.Config(),
            stage.training,
            model,
            world.DOMAIN,
            window,
            "benchmark",
            pathlib.Path(directory) / "progress",
            bar=False,
        )
        fit.fit(model, task)
        return task.rows / (time.perf_counter() - began)


def make():
    """Build the model, fit the first day; return the measuring function."""
    settings = worker.settings()
    data = data_directory.DataDirectory(settings["data"])
    stage = configs.StageConfig(NETWORK, training(settings))
    first, *others = data.days(world.DOMAIN)
    rows = data.table_rows(others[-1])
    model = levels.build(data, configs.Config(), stage, "cpm", rows)
    rate(data, stage, model, windows.Window(first, first))
    window = windows.Window(others[0], others[-1])
    return lambda: rate(data, stage, model, window)


if __name__ == "__main__":
    worker.serve(make, ["tensorflow", "tf_keras"])
