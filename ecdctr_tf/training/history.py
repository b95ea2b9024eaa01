"""What CPM and A-CTR read of the TPM: historical tables, first rows."""

import logging
import pathlib
from collections.abc import Mapping

from ecdctr_tf import artefacts, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.layers.table_embedding import TableEmbedding
from ecdctr_tf.training import workdir
from ecdctr_tf.transfer import historical, snapshots, warm_start


def aggregate(
    run: workdir.Workdir, config: configs.Config, last: str = ""
) -> list[pathlib.Path]:
    """Publish the historical version of each snapshot that lacks one.

    Args:
      run: the work directory.
      config: the config of E-CDCTR.
      last: the last day of a snapshot that counts; empty: all count.

    Returns:
      The places of the versions that were published now.

    Raises:
      FileNotFoundError: there is no snapshot.
      ValueError: a version that is there was made with other settings, or from
        another snapshot of the same name.
    """
    days = [day for day in store.dated(run.tpm) if not last or day <= last]
    if not days:
        raise FileNotFoundError(
            f"{run.tpm} holds no snapshot{f' up to {last}' if last else ''}. "
            "Train one with `python train_main.py --stage=tpm`."
        )
    published = []
    with store.lock(run.historical, "aggregating snapshots"):
        store.sweep(run.historical)
        there = set(store.dated(run.historical))
        for i, day in enumerate(days):
            path = run.historical / day
            if day in there:
                manifest = store.read_manifest(path, historical.KIND)
                historical.check_settings(manifest, config.history, path)
                historical.check_snapshots(manifest, path)
                logging.info("%s already exists", path)
                continue
            snapshot_dirs = [run.tpm / d for d in days[: i + 1]]
            historical.aggregate(snapshot_dirs, path, config.history)
            published.append(path)
    return published


class History:
    """The historical tables that a level reads, loaded once for a window.

    Args:
      data: the data directory.
      run: the work directory.
      config: the config of the model.

    Attributes:
      tables: table name -> historical vectors; empty before `see`.
      versions: the artefacts that they were loaded from.
    """

    def __init__(
        self,
        data: DataDirectory,
        run: workdir.Workdir,
        config: configs.Config,
    ):
        """Keep where the tables come from."""
        self._data = data
        self._run = run
        self._settings = config.history
        self.tables: Mapping[str, HistoricalTable] = {}
        self.versions: list[pathlib.Path] = []
        self._merged: pathlib.Path | None = None

    def see(self, window: windows.Window, cpm: pathlib.Path | None) -> None:
        """Load what rows of a window may see, unless it is loaded.

        Args:
          window: the days of the rows.
          cpm: the CPM that an A-CTR reads merged tables of; None for a CPM.

        Raises:
          FileNotFoundError: there is no version from before the window's end.
        """
        if self._settings.merges and cpm is not None:
            if self._merged != cpm:
                self.tables = artefacts.read_merged(cpm, self._data)
                self._merged = cpm
            return
        days = store.dated(self._run.historical)
        seen = historical.seen_in(days, window, self._settings)
        if not seen:
            raise FileNotFoundError(
                f"{self._run.historical} holds no historical version that rows "
                f"of {window.last} may see. Publish one with `python "
                "train_main.py --stage=aggregate`, or train without historical "
                "embeddings: --set model.history=false."
            )
        versions = [self._run.historical / day for day in seen]
        if versions != self.versions:
            self.tables = historical.load(
                versions, self._data.id_spaces, self._settings
            )
            self.versions = versions


def newest_snapshot(
    run: workdir.Workdir, config: configs.Config, day: str
) -> pathlib.Path | None:
    """Return the newest snapshot that a level trained from a day on may see."""
    late = windows.plus(day, -config.history.lag)
    return workdir.newest_before(run.tpm, late)


def start_tables(
    data: DataDirectory,
    snapshot: pathlib.Path,
    day: str,
    tables: Mapping[str, TableEmbedding],
) -> None:
    """Start embedding tables from the rows of a snapshot.

    Args:
      data: the data directory.
      snapshot: the snapshot.
      day: the first day that the level will be trained on.
      tables: table name -> the level's embeddings; those that the snapshot
        lacks stay as they are.

    Raises:
      FileNotFoundError, ValueError: the snapshot is damaged, has seen the day,
        or is of another id space or width.
    """
    manifest = store.read_manifest(snapshot, snapshots.KIND)
    historical.check_before(manifest, day, snapshot)
    warm_start.check_ids(manifest, data.id_spaces, snapshot)
    for name, table in snapshots.read(snapshot).items():
        if name not in tables:
            continue
        variable = tables[name].embeddings
        if table.vectors.shape[1] != variable.shape[1]:
            raise ValueError(
                f"Table {name!r} of {snapshot} has width "
                f"{table.vectors.shape[1]}; the model has width "
                f"{variable.shape[1]}. Set tpm_model.embedding_dim "
                "to the value of model.embedding_dim, or set "
                "history.start_tables=false."
            )
        values = variable.numpy()
        rows = snapshots.rows_of(table.ids, data.id_spaces[name])
        values[rows] = table.vectors
        variable.assign(values)
