"""What each level of a run cost: rows trained on, seconds, bytes."""

import pathlib

import numpy as np

from ecdctr_tf import artefacts, model_table, store
from ecdctr_tf import config as configs
from ecdctr_tf.comparison import shared


def costs(
    run: shared.SharedWorkdir,
    config: configs.Config,
    row: model_table.ModelRow,
) -> dict[str, dict]:
    """Return the costs of a run by level.

    Args:
      run: the run.
      config: its config.
      row: the model.

    Returns:
      "tpm", "cpm" and "ctr", what it has of them, each with `refreshes`
      (artefacts published), `rows` (trained on, mean of a refresh), `seconds`
      (mean of a refresh, scoring included) and `bytes` (weights and optimizer
      state of the newest). A level that several runs share is counted for each.
    """
    kinds = {"tpm": artefacts.TPM, "cpm": artefacts.CPM, "ctr": artefacts.CTR}
    if not configs.reads_tpm(config):
        del kinds["tpm"]
    if not row.has_cpm:
        del kinds["cpm"]
    return {
        name: _of_level(run.level(kind, row.base), kind)
        for name, kind in kinds.items()
    }


def _of_level(directory: pathlib.Path, kind: str) -> dict:
    paths = [directory / day for day in store.dated(directory)]
    manifests = [store.read_manifest(path, kind) for path in paths]
    rows = [m.metrics.get("trained_rows") for m in manifests]
    if kind != artefacts.CTR:
        # `rows` of a manifest counts the whole lineage.
        rows = np.diff([0, *(m.rows for m in manifests)])
    return {
        "refreshes": len(paths),
        "rows": float(np.mean(rows)),
        "seconds": float(np.mean([m.metrics["seconds"] for m in manifests])),
        "bytes": sum(
            file["bytes"]
            for name, file in manifests[-1].files.items()
            if name.startswith((artefacts.WEIGHTS, artefacts.OPTIMIZER))
        ),
    }
