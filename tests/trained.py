"""Days of the small world, and what levels have published of them."""

import shutil

import numpy as np

from ecdctr_tf import artefacts, store
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.windows import Window


def day(number: int) -> str:
    return f"2024-01-{number:02d}"


def days(first: int, last: int) -> list[Window]:
    return [Window(day(n), day(n)) for n in range(first, last + 1)]


def copy(run: Workdir, path) -> Workdir:
    shutil.copytree(run.path, path)
    return Workdir(path)


def scores(run, number, name="e_cdctr") -> dict:
    with np.load(run.ctr(name) / day(number) / artefacts.SCORES) as file:
        return {key: file[key] for key in file.files}


def manifest(run, number, name="e_cdctr") -> store.Manifest:
    return store.read_manifest(run.ctr(name) / day(number), "ctr")
