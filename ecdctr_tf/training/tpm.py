"""TPM: the tiny pre-training model on long windows of natural logs."""

import functools
import logging
import pathlib
import time

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf import kinds, windows
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import levels, natural, workdir
from ecdctr_tf.transfer import snapshots


def train_tpm(
    data: DataDirectory,
    run: workdir.Workdir,
    config: configs.Config,
    window: windows.Window,
) -> pathlib.Path:
    """Train the TPM on from its last run and publish a dated snapshot.

    Args:
      data: the data directory.
      run: the work directory; the newest snapshot in it is continued.
      config: the run's config.
      window: days of natural logs.

    Returns:
      The snapshot's place. A window published before is left as it is.

    Raises:
      FileNotFoundError, ValueError: a day or the last run is missing, damaged
        or of another spec or id space.
    """
    path = run.tpm / window.last
    if path.exists():
        logging.info("tpm %s is there", window)
        return path
    began = time.monotonic()
    stage = configs.tpm_config(config)
    table_rows = data.table_rows(window.last)
    level = natural.continued(
        data, config, stage, snapshots.KIND, run.tpm, window, table_rows
    )
    curve, metrics = natural.train(
        data, run, config, stage, level, window, ("tpm", window.last)
    )
    tables = _seen(data, level, window)
    metrics["seconds"] = time.monotonic() - began
    levels.publish(
        data,
        config,
        level,
        path,
        window,
        curve,
        metrics,
        functools.partial(snapshots.write, tables=tables),
    )
    return path


def _seen(data, level, window) -> dict[str, snapshots.SnapshotTable]:
    """Return the embeddings of the ids in a window, with their counts."""
    of_table: dict[str, list[str]] = {}
    for feature in kinds.ids(level.model.spec):
        of_table.setdefault(feature.table, []).append(feature.name)
    names = [feature.name for feature in level.model.spec.features]
    counts = {n: np.zeros(level.table_rows[n], np.int64) for n in of_table}
    for group in streams.rows(data, natural.DOMAIN, window, names=names):
        for table, columns in of_table.items():
            for column in columns:
                counts[table] += np.bincount(
                    group[column].numpy(), minlength=len(counts[table])
                )
    return {
        table: snapshots.SnapshotTable.seen(
            data.id_spaces[table],
            level.model.embedding.tables[table].embeddings.numpy(),
            counts[table],
        )
        for table in of_table
    }
