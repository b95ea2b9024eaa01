"""The natural levels: TPM with its snapshots, aggregation, CPM."""

import functools
import logging
import pathlib
import time

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf import store, windows
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.training import fit, levels, workdir
from ecdctr_tf.transfer import historical, snapshots, warm_start

NATURAL = "natural"


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
    level = _continued(
        data, config, stage, snapshots.KIND, run.tpm, window, table_rows
    )
    curve = _fit(data, run, config, stage, level, window, ("tpm", window.last))
    level.rows += data.rows(NATURAL, window) * stage.training.passes
    tables = _seen(data, level, window)
    metrics = {"seconds": time.monotonic() - began, "loss": curve[-1]["loss"]}
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


def _continued(
    data, config, stage, kind, directory, window, table_rows, history=None
) -> levels.Level:
    """Return the level of the last run before a window, or a fresh one."""
    last = workdir.newest_before(directory, window.last)
    if last is None:
        model = levels.build(data, config, stage, kind, table_rows, history)
        return levels.Level(model, kind, table_rows)
    manifest = store.read_manifest(last, kind)
    if manifest.window.last >= window.first:
        raise ValueError(
            f"{last} was trained up to {manifest.window.last}, inside the "
            f"window {window} asked for: days would be learned twice. Ask for "
            "a window that begins later."
        )
    level = load(data, config, stage, last, kind, history)
    levels.grow(data, config, stage, level, table_rows)
    level.parents["last"] = store.parent(last, directory / window.last)
    return level


def load(
    data, config, stage, path, kind, history=None, optimizer=True
) -> levels.Level:
    """Return a published level."""
    manifest = store.read_manifest(path, kind)
    rows = {name: entry["rows"] for name, entry in manifest.ids.items()}
    model = levels.build(
        data,
        config,
        stage,
        kind,
        {**data.table_rows(manifest.window.last), **rows},
        history,
        manifest.config["capacities"],
    )
    level = levels.Level(model, kind, rows)
    levels.restore(data, level, path, optimizer)
    return level


def _fit(data, run, config, stage, level, window, names) -> list[dict]:
    """Fit a level on a window of natural logs; return the curve."""
    training = stage.training
    model = level.model
    rows = data.rows(NATURAL, window)
    if not rows:
        raise ValueError(
            f"{data.path / NATURAL} has no rows in {window}: there is nothing "
            "to train on. Ask for a window with rows (--start, --end)."
        )

    def stream(skip):
        return streams.batches(
            data,
            NATURAL,
            window,
            training.batch_size,
            seed=levels.order_seed(config, window),
            passes=training.passes,
            skip=skip,
            names=[f.name for f in model.spec.features],
        )

    task = fit.Task(
        label=f"{names[-2]} {window}",
        stream=stream,
        rows=rows * training.passes,
        batch_size=training.batch_size,
        checkpoint_steps=training.checkpoint_steps,
        progress=run.progress(*names),
        tensorboard=run.tensorboard(*names),
        start={"parents": level.parents, "rows": level.rows},
    )
    return fit.fit(model, task)


def _seen(data, level, window) -> dict[str, snapshots.SnapshotTable]:
    """Return the embeddings of the ids in a window, with their counts."""
    of_table: dict[str, list[str]] = {}
    for feature in level.model.spec.of_kind("id"):
        of_table.setdefault(feature.table, []).append(feature.name)
    names = [feature.name for feature in level.model.spec.features]
    counts = {n: np.zeros(level.table_rows[n], np.int64) for n in of_table}
    for group in streams.rows(data, NATURAL, window, names=names):
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


def newest_history(
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


def train_cpm(
    data: DataDirectory,
    run: workdir.Workdir,
    config: configs.Config,
    name: str,
    window: windows.Window,
) -> pathlib.Path:
    """Train the CPM of a model on a window of natural logs and publish it.

    It goes on from its own last run; the first one starts from scratch, its
    tables from the newest TPM of before the window if the config says so.

    Args:
      data: the data directory.
      run: the work directory.
      config: the model's config.
      name: the model's name, a directory of `run`.
      window: days of natural logs.

    Returns:
      The CPM's place. A window published before is left as it is.

    Raises:
      FileNotFoundError, ValueError: what it reads is missing, damaged or of
        another spec or id space.
    """
    path = run.cpm(name) / window.last
    if path.exists():
        logging.info("cpm %s of %s is there", window, name)
        return path
    began = time.monotonic()
    stage = configs.cpm_config(config)
    history_path, history = None, None
    after = windows.day_name(windows.day_number(window.last) + 1)
    if config.model.history:
        history_path, history = newest_history(data, run, after)
    table_rows = data.table_rows(window.last)
    level = _continued(
        data, config, stage, "cpm", run.cpm(name), window, table_rows, history
    )
    if not level.parents and config.history.start_tables:
        _start_tables(data, run, level, window, path)
    if history_path is not None:
        level.parents["historical"] = store.parent(history_path, path)
    names = (name, "cpm", window.last)
    curve = _fit(data, run, config, stage, level, window, names)
    level.rows += data.rows(NATURAL, window) * stage.training.passes
    metrics = {"seconds": time.monotonic() - began, "loss": curve[-1]["loss"]}
    levels.publish(data, config, level, path, window, curve, metrics)
    return path


def _start_tables(data, run, level, window, path) -> None:
    """Start a fresh CPM's tables from the TPM's newest rows before a window."""
    snapshot = workdir.newest_before(run.tpm, window.first)
    if snapshot is None:
        logging.warning(
            "no TPM snapshot ended before %s: the CPM's tables start fresh",
            window.first,
        )
        return
    manifest = store.read_manifest(snapshot, snapshots.KIND)
    historical.check_before(manifest, window.first, snapshot)
    warm_start.check_ids(manifest, data.id_spaces, snapshot)
    for name, table in snapshots.read(snapshot).items():
        if name not in level.model.embedding.tables:
            continue
        variable = level.model.embedding.tables[name].embeddings
        if table.vectors.shape[1] != variable.shape[1]:
            raise ValueError(
                f"Table {name!r} of {snapshot} has width "
                f"{table.vectors.shape[1]}, the CPM's {variable.shape[1]}. Set "
                "tpm_model.embedding_dim as model.embedding_dim, or "
                "history.start_tables=false."
            )
        rows = table.rows(data.id_spaces[name])
        values = variable.numpy()
        values[rows] = table.vectors
        variable.assign(values)
    level.parents["tpm"] = store.parent(snapshot, path)
