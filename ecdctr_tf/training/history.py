"""What CPM and A-CTR read of the TPM: historical tables, first rows."""

import logging
import pathlib

from ecdctr_tf import config as configs
from ecdctr_tf import store, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.training import levels, workdir
from ecdctr_tf.transfer import historical, snapshots, warm_start


def aggregate(
    run: workdir.Workdir, config: configs.Config, days: list[str]
) -> pathlib.Path:
    """Publish the historical tables of the newest of some snapshots.

    Where snapshots end on scored days (`schedule.tpm_last` after
    `schedule.ctr_first`), those that a scored day has to read instead of a
    newer one, which has seen the day, are published too; and all, where CPMs
    are late (`schedule.cpm_lag`), for their windows may end before any.

    Args:
      run: the work directory.
      config: the run's config.
      days: the snapshots' days, in order.

    Returns:
      The newest artefact's place. One published before is left as it is.

    Raises:
      FileNotFoundError: there is no snapshot.
    """
    if not days:
        raise FileNotFoundError(
            f"{run.tpm} holds no snapshot. Train one with "
            "`python train_main.py --stage=tpm`."
        )
    first = config.schedule.ctr_first
    before = [i for i, day in enumerate(days) if not first or day < first]
    skipped = before[-1] if before and not config.schedule.cpm_lag else 0
    for i in range(skipped, len(days)):
        path = run.historical / days[i]
        if not path.exists():
            snapshot_dirs = [run.tpm / day for day in days[: i + 1]]
            historical.aggregate(snapshot_dirs, path, config.history)
    return path


def newest_before(
    data: DataDirectory, run: workdir.Workdir, day: str
) -> tuple[pathlib.Path | None, dict[str, HistoricalTable]]:
    """Return the newest historical tables that a row of a day may see.

    Raises:
      FileNotFoundError: there are none.
    """
    path = workdir.newest_before(run.historical, day)
    if path is None:
        raise FileNotFoundError(
            f"{run.historical} holds nothing from before {day}. Make it with "
            "`python train_main.py --stage=aggregate`, or train without "
            "history: --set model.history=false."
        )
    manifest = store.read_manifest(path, historical.KIND)
    historical.check_before(manifest, day, path)
    return path, historical.load(path, data.id_spaces)


def start_tables(
    data: DataDirectory,
    run: workdir.Workdir,
    config: configs.Config,
    level: levels.Level,
    day: str,
    path: pathlib.Path,
) -> None:
    """Start a fresh level's tables from the TPM's newest rows before a day.

    Args:
      data: the data directory.
      run: the work directory.
      config: the run's config.
      level: the level; gets weights and a parent. Stays as it is, with a
        warning, where there is no snapshot from before the day.
      day: the first day that the level will be trained on.
      path: place of the artefact that the level will be.

    Raises:
      FileNotFoundError, ValueError: the snapshot is damaged, of another id
        space, or of another width.
    """
    late = windows.Window.ending(day, config.history.lag + 1).first
    snapshot = workdir.newest_before(run.tpm, late)
    if snapshot is None:
        logging.warning(
            "no TPM snapshot ended before %s: the tables of the %s start fresh",
            late,
            level.kind,
        )
        return
    manifest = store.read_manifest(snapshot, snapshots.KIND)
    historical.check_before(manifest, day, snapshot)
    warm_start.check_ids(manifest, data.id_spaces, snapshot)
    for name, table in snapshots.read(snapshot).items():
        if name not in level.model.embedding.tables:
            continue
        variable = level.model.embedding.tables[name].embeddings
        if table.vectors.shape[1] != variable.shape[1]:
            raise ValueError(
                f"Table {name!r} of {snapshot} has width "
                f"{table.vectors.shape[1]}, that of the {level.kind} "
                f"{variable.shape[1]}. Set tpm_model.embedding_dim as "
                "model.embedding_dim, or history.start_tables=false."
            )
        rows = table.rows(data.id_spaces[name])
        values = variable.numpy()
        values[rows] = table.vectors
        variable.assign(values)
    level.parents["tpm"] = store.parent(snapshot, path)
