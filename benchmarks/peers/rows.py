"""The rows that peers read, which `world.write_arrays` wrote."""

import pathlib

import numpy as np


def load(directory: str) -> tuple[np.ndarray, np.ndarray]:
    """Return ids, int32 `[N, F]`, and clicks, float32 `[N]`."""
    path = pathlib.Path(directory)
    return np.load(path / "ids.npy"), np.load(path / "clicks.npy")
