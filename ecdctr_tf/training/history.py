"""Aggregation: snapshots to the historical tables that CPM and A-CTR read."""

import pathlib

from ecdctr_tf import config as configs
from ecdctr_tf import store
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.training import workdir
from ecdctr_tf.transfer import historical


def aggregate(
    run: workdir.Workdir, config: configs.Config, days: list[str]
) -> pathlib.Path:
    """Publish the historical tables of the newest of some snapshots.

    Args:
      run: the work directory.
      config: the run's config.
      days: the snapshots' days, in order.

    Returns:
      The artefact's place. One published before is left as it is.

    Raises:
      FileNotFoundError: there is no snapshot.
    """
    if not days:
        raise FileNotFoundError(
            f"{run.tpm} holds no snapshot. Train one with "
            "`python train_main.py --stage=tpm`."
        )
    path = run.historical / days[-1]
    if not path.exists():
        snapshot_dirs = [run.tpm / day for day in days]
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
