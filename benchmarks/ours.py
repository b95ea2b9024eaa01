"""This project's training path from files on disk, as `train_main.py` runs it.

A process of `worker.Worker`. Settings: `data` (a data directory of
`world.write`), and fields of `TrainingConfig`. Those that only peers have are
passed over.
"""

import dataclasses
import pathlib
import tempfile
import time

from benchmarks import worker, world
from benchmarks.peers import UNITS, WIDTH
from ecdctr_tf import artefacts, model_table, windows
from ecdctr_tf import config as configs
from ecdctr_tf.input import data_directory
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir

_OF_PEERS = ("arrays", "table_rows", "steps")
NETWORK = configs.ModelConfig(
    embedding_dim=WIDTH,
    hidden_units=UNITS,
    cross_layers=0,
    attention=False,
    products=False,
    history=False,
)


def training(settings: dict) -> configs.TrainingConfig:
    """Return how the level is trained, from the settings of a process."""
    others = ("data", *_OF_PEERS)
    changes = {k: v for k, v in settings.items() if k not in others}
    # No window is long enough for a resumable state.
    plain = configs.TrainingConfig(checkpoint_steps=1_000_000)
    return dataclasses.replace(plain, **changes)


def level(
    data: data_directory.DataDirectory,
    config: configs.Config,
    run: pathlib.Path,
) -> Level:
    """Return the CPM of a config under training.

    Args:
      data: the data directory.
      config: the config.
      run: its work directory, where resumable states and history lie.
    """
    row = model_table.model("e_cdctr")
    return Level(data, Workdir(run), config, row, artefacts.CPM)


def rate(trained: Level, window: windows.Window) -> float:
    """Fit a level on a window of natural days; return rows/s."""
    rows = trained.rows
    began = time.perf_counter()
    trained.fit({world.DOMAIN: window}, "benchmark", bar=False)
    return (trained.rows - rows) / (time.perf_counter() - began)


def make():
    """Build the model, fit the first day; return the measuring function."""
    settings = worker.settings()
    data = data_directory.DataDirectory(settings["data"])
    config = configs.Config(model=NETWORK, cpm=training(settings))
    first, *others = data.days(world.DOMAIN)
    with tempfile.TemporaryDirectory() as directory:
        trained = level(data, config, pathlib.Path(directory))
    trained.fresh(others[-1])
    rate(trained, windows.Window(first, first))
    window = windows.Window(others[0], others[-1])
    return lambda: rate(trained, window)


if __name__ == "__main__":
    worker.serve(make, ["tensorflow", "tf_keras"])
