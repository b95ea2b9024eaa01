"""What each level of a run cost: rows trained on, seconds, bytes."""

import pathlib

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf import store
from ecdctr_tf.comparison import shared
from ecdctr_tf.training import levels


def costs(
    run: shared.SharedWorkdir, config: configs.Config, name: str
) -> dict[str, dict]:
    """Return the costs of a run by level.

    Args:
      run: the run.
      config: its config.
      name: the variant's base.

    Returns:
      "tpm", "cpm" and "ctr", what it has of them, each with `refreshes`
      (artefacts published), `rows` (trained on, mean of a refresh), `seconds`
      (mean of a refresh, scoring included) and `bytes` (weights and optimizer
      state of the newest). A level that several runs share is counted for each.
    """
    joint = name in configs.JOINT_MODELS
    found = {}
    if configs.reads_tpm(config) and not joint:
        found["tpm"] = _of_level(run.tpm, "snapshot")
    if config.warm_start.from_cpm and not joint:
        found["cpm"] = _of_level(run.cpm(name), "cpm")
    return {**found, "ctr": _of_level(run.ctr(name), "ctr")}


def _of_level(directory: pathlib.Path, kind: str) -> dict:
    paths = [directory / day for day in store.dated(directory)]
    manifests = [store.read_manifest(path, kind) for path in paths]
    rows = [m.metrics.get("trained_rows") for m in manifests]
    if kind != "ctr":
        # `rows` of a manifest counts the whole lineage.
        rows = np.diff([0, *(m.rows for m in manifests)])
    return {
        "refreshes": len(paths),
        "rows": float(np.mean(rows)),
        "seconds": float(np.mean([m.metrics["seconds"] for m in manifests])),
        "bytes": sum(
            file["bytes"]
            for name, file in manifests[-1].files.items()
            if name.startswith((levels.WEIGHTS, levels.OPTIMIZER))
        ),
    }
