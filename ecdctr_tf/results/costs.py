"""What each level of a model cost: windows, rows, seconds, bytes."""

import pathlib
from collections.abc import Sequence

import numpy as np

from ecdctr_tf import artefacts, store, windows
from ecdctr_tf.results.models import Model


def costs(model: Model) -> dict[str, dict]:
    """Return the costs of a model's first run by level.

    Returns:
      "tpm", "cpm" and "ctr", what it has of them, each with `windows` (texts),
      `refreshes` (artefacts published), `rows` (trained on, mean of a refresh),
      `seconds` (mean of a refresh, scoring included; None where not recorded)
      and `bytes` (weights and optimizer state of the newest). A level that
      several models share is counted for each.
    """
    return {
        level: _of_level(directory, kind)
        for level, (directory, kind) in model.levels().items()
        if store.dated(directory)
    }


def _of_level(directory: pathlib.Path, kind: str) -> dict:
    paths = [directory / day for day in store.dated(directory)]
    manifests = [store.read_manifest(path, kind) for path in paths]
    seconds = [m.metrics.get("seconds", 0) for m in manifests]
    return {
        "windows": _windows([m.window for m in manifests if m.window]),
        "refreshes": len(paths),
        "rows": float(np.mean([*map(_rows, paths, manifests)])),
        "seconds": float(np.mean(seconds)) if all(seconds) else None,
        "bytes": sum(
            file["bytes"]
            for name, file in manifests[-1].files.items()
            if name.startswith((artefacts.WEIGHTS, artefacts.OPTIMIZER))
        ),
    }


def _rows(path: pathlib.Path, manifest: store.Manifest) -> int:
    """Return the rows of an artefact's own window.

    Its manifest also counts what the artefacts that it goes on from read.
    """
    curve = artefacts.read_json(path, manifest.kind, artefacts.CURVE)
    return curve[-1]["rows"] if curve else manifest.rows


def _windows(found: Sequence[windows.Window]) -> list[str]:
    """Return windows as texts: up to four in full, more by their ends."""
    texts = [str(w) if w.first != w.last else w.first for w in found]
    if len(texts) <= 4:
        return texts
    how = f"in {len(texts)} windows"
    if all(w.first == w.last for w in found):
        how = "day by day"
    return [f"{found[0].first}..{found[-1].last}, {how}"]
