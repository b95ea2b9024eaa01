"""TPM and CPM: train a level on a window of natural logs and publish it."""

import functools
import logging
import pathlib
import time

import numpy as np

from ecdctr_tf import artefacts, kinds, metrics, store, windows
from ecdctr_tf.input import streams
from ecdctr_tf.training import schedule
from ecdctr_tf.training.level import NATURAL, Level
from ecdctr_tf.transfer import historical, snapshots

# As messages and progress bars call the levels.
NAMES = {artefacts.TPM: "tpm", artefacts.CPM: "cpm"}


def train(level: Level, window: windows.Window) -> pathlib.Path:
    """Train a TPM or a CPM on a window of natural logs and publish it.

    It goes on from its own last artefact. The first CPM starts from scratch,
    its tables from the newest TPM from before the window if the config says so.

    Returns:
      The artefact's place. A window published before is left as it is.

    Raises:
      FileNotFoundError, ValueError: what it reads is missing, damaged or of
        another spec, id space or training; or the window begins before the end
        of what the level has learned: a level never goes back in time.
    """
    data, name = level.data, NAMES[level.kind]
    doing = f"training the {name.upper()} on {window}"
    with store.lock(level.directory, doing):
        store.sweep(level.directory)
        level.say_deleted()
        path = level.directory / window.last
        last = _last(level, window)
        if last == path:
            logging.info("%s %s already exists", name, window)
            return path
        if not level.natural_rows(window):
            raise ValueError(
                f"{data.path / NATURAL} has no rows{_less(level)} in {window}: "
                "there is nothing to train on. Choose a window with rows "
                "(--start, --end)."
            )
        return _train(level, window, last)


def train_planned(level: Level) -> None:
    """Train a level on what it has not learned of the windows of its schedule.

    Raises:
      FileNotFoundError, ValueError: as `train`.
    """
    data = level.data
    plan = schedule.plan(data, level.config.schedule)
    planned = plan.tpm if level.kind == artefacts.TPM else plan.cpm
    for window in schedule.left(planned, level.directory, level.kind):
        if data.rows(NATURAL, window) and not level.natural_rows(window):
            logging.warning(
                "%s has no rows%s in %s: the window is skipped.",
                data.path / NATURAL,
                _less(level),
                window,
            )
            continue
        train(level, window)


def _less(level: Level) -> str:
    """Return which natural rows are left out, for messages."""
    names = ", ".join(level.config.sources.exclude)
    return f" beside those of {names}" if names else ""


def _last(level: Level, window: windows.Window) -> pathlib.Path | None:
    """Return the artefact that a window goes on from, or that is of it.

    Raises:
      ValueError: the level has learned days of the window, or later ones.
    """
    days = store.dated(level.directory)
    if not days:
        return None
    if window.last in days:
        path = level.directory / window.last
        manifest = store.read_manifest(path, level.kind)
        if manifest.window == window:
            return path
    newest = level.directory / days[-1]
    learned = store.read_manifest(newest, level.kind).window
    if learned.last >= window.first:
        raise ValueError(
            f"{newest} has learned the days {learned}; a level never goes back "
            f"in time, so it cannot be trained on {window} now. Choose a "
            f"window that begins after {learned.last}, or delete the artefacts "
            f"from {window.first} on to train them again."
        )
    return newest


def _train(
    level: Level, window: windows.Window, last: pathlib.Path | None
) -> pathlib.Path:
    """Train a level on a window, from its last artefact or from scratch."""
    began = time.monotonic()
    # A level that has just published that artefact still has its weights.
    goes_on = last is not None and level.last == last
    if not goes_on:
        level.reset()
    if last is not None:
        manifest = store.read_manifest(last, level.kind)
        historical.check_versions(manifest, last)
    tomorrow = windows.plus(window.last, 1)
    level.look_up(windows.Window(window.first, tomorrow))
    if last is None:
        level.fresh(window.last)
        if level.kind == artefacts.CPM and level.config.history.starts_tables:
            level.start_tables(window.first)
    else:
        if not goes_on:
            level.open(last)
        level.grow(level.data.table_rows(window.last))
        level.add_parent("last", last)
    natural = _validate(level, window)
    use = level.use(window)
    curve = level.fit(
        {NATURAL: window},
        NAMES[level.kind],
        tensorboard=level.run.tensorboard(
            level.kind, level.row.base, window.last
        ),
    )
    write_more = None
    if level.kind == artefacts.TPM:
        write_more = functools.partial(
            snapshots.write, tables=_snapshot(level, window)
        )
    found = {
        "loss": curve[-1]["loss"],
        "natural": natural,
        "seconds": time.monotonic() - began,
    }
    if use is not None:
        found["sources"] = use.of_sources
    return level.publish(window, curve, found, write_more)


def _validate(level: Level, window: windows.Window) -> dict:
    """Score the first day of a window before it is trained on.

    Returns:
      What `metrics.evaluate` returns, of the natural domain; empty for a level
      that has not been trained yet, and for a day without rows.
    """
    day = windows.Window(window.first, window.first)
    if not level.rows or not level.data.rows(NATURAL, day):
        return {}
    scores = level.score(day, NATURAL)
    return metrics.evaluate(
        scores["click"], scores["ctr"], scores["user"], scores["weight"]
    )


def _snapshot(
    level: Level, window: windows.Window
) -> dict[str, snapshots.SnapshotTable]:
    """Return the embeddings of the ids in a window, with their counts."""
    of_table: dict[str, list[str]] = {}
    for feature in kinds.ids(level.model.spec):
        of_table.setdefault(feature.table, []).append(feature.name)
    counts = {n: np.zeros(level.table_rows[n], np.int64) for n in of_table}
    spec = level.model.spec
    use = level.use(window)
    for group in streams.rows(level.data, NATURAL, window, spec=spec, use=use):
        for table, columns in of_table.items():
            for column in columns:
                size = len(counts[table])
                rows = np.bincount(group[column].numpy(), minlength=size)
                # Ids of a day that came late may not be known yet.
                counts[table] += rows[:size]
    return {
        table: snapshots.SnapshotTable.seen(
            level.data.id_spaces[table],
            level.model.embedding.tables[table].embeddings.numpy(),
            counts[table],
        )
        for table in of_table
    }
