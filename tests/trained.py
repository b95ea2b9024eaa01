"""Days of the small world, and what levels have published of them."""

import shutil

import numpy as np

from ecdctr_tf import artefacts, model_table, store
from ecdctr_tf import config as configs
from ecdctr_tf.training import history, mixing, natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.windows import Window
from tests import training_world

CONFIG = training_world.SMALL_CONFIG


def day(number: int) -> str:
    return f"2024-01-{number:02d}"


def days(first: int, last: int) -> list[Window]:
    return [Window(day(n), day(n)) for n in range(first, last + 1)]


def copy(run: Workdir, path) -> Workdir:
    shutil.copytree(run.path, path)
    return Workdir(path)


def pretrained(data, path) -> Workdir:
    """TPM on days 1 and 2, its table, and an E-CDCTR CPM on days 3 and 4."""
    run = Workdir(path)
    train_natural(data, run, "snapshot", 1, 2)
    history.aggregate(run, CONFIG)
    train_natural(data, run, "cpm", 3, 4)
    return run


def train_natural(data, run, kind, first, last) -> None:
    """Train a TPM or a CPM of E-CDCTR on days."""
    row = model_table.model("e_cdctr")
    window = Window(day(first), day(last))
    natural.train(Level(data, run, CONFIG, row, kind), window)


def train(data, run, parts, config=CONFIG, name="e_cdctr") -> Workdir:
    """Go through days in a new trainer, as a new process does."""
    row = model_table.model(name)
    config = configs.of_model(config, row)
    mixing.trainer(Level(data, run, config, row, "ctr")).run(parts)
    return run


def scores(run, number, name="e_cdctr") -> dict:
    with np.load(run.ctr(name) / day(number) / artefacts.SCORES) as file:
        return {key: file[key] for key in file.files}


def manifest(run, number, name="e_cdctr") -> store.Manifest:
    return store.read_manifest(run.ctr(name) / day(number), "ctr")
