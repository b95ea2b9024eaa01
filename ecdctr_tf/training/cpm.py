"""CPM: the complete pre-training model on a short window of natural logs."""

import logging
import pathlib
import time

from ecdctr_tf import config as configs
from ecdctr_tf import store, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import history, levels, natural, workdir


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
    history_path, tables = None, None
    after = windows.day_name(windows.day_number(window.last) + 1)
    if config.model.history:
        history_path, tables = history.newest_before(data, run, after)
    table_rows = data.table_rows(window.last)
    level = natural.continued(
        data, config, stage, "cpm", run.cpm(name), window, table_rows, tables
    )
    if not level.parents and config.history.start_tables:
        history.start_tables(data, run, config, level, window.first, path)
    if history_path is not None:
        level.parents["historical"] = store.parent(history_path, path)
    curve, metrics = natural.train(
        data, run, config, stage, level, window, (name, "cpm", window.last)
    )
    metrics["seconds"] = time.monotonic() - began
    levels.publish(data, config, level, path, window, curve, metrics)
    return path
