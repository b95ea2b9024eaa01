"""What an A-CTR takes from CPMs: its first weights, later their changes.

A plugged model reads a CPM that stays as it is (`frozen`).
"""

import dataclasses
import pathlib

from ecdctr_tf import config as configs
from ecdctr_tf import store, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.training import levels, workdir
from ecdctr_tf.transfer import (
    checkpoint,
    historical,
    refresh,
    restore_table,
    warm_start,
)

KIND = "cpm"


def newest(directory: pathlib.Path, day: str, lag: int = 0) -> pathlib.Path:
    """Return the newest CPM that a model scored on a day may come from.

    Args:
      directory: where the CPMs of the model are published.
      day: the scored day.
      lag: days by which CPMs are late.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it has seen the day.
    """
    until = windows.Window.ending(day, lag + 1).first
    cpm = workdir.newest_before(directory, until)
    if cpm is None:
        raise FileNotFoundError(
            f"{directory} holds no CPM from before {until}. Train one with "
            "`python train_main.py --stage=cpm`."
        )
    historical.check_before(store.read_manifest(cpm, KIND), day, cpm)
    return cpm


def known_to(day: pathlib.Path, directory: pathlib.Path) -> pathlib.Path | None:
    """Return the CPM that a published A-CTR day has its knowledge from.

    Args:
      day: the A-CTR day.
      directory: where the CPMs of the model are published.

    Returns:
      None if it came from no CPM.

    Raises:
      FileNotFoundError: the CPM was removed.
    """
    parent = store.read_manifest(day, "ctr").parents.get("cpm")
    if parent is None:
        return None
    cpm = directory / pathlib.Path(parent["path"]).name
    if not cpm.exists():
        raise FileNotFoundError(
            f"{cpm}, the CPM that {day} came from, is gone. Put it back, or "
            "start in another --workdir."
        )
    return cpm


def start(
    data: DataDirectory,
    level: levels.Level,
    cpm: pathlib.Path,
    settings: configs.WarmStartConfig,
    path: pathlib.Path,
    title: str,
    allow_new: tuple[str, ...] = (),
) -> None:
    """Start a fresh level from a CPM; keep and print the report.

    Args:
      data: the data directory of both.
      level: the level; gets weights, report and parent.
      cpm: the CPM.
      settings: what to do with batch norm, and the least share to restore.
      path: place of the artefact that the level will be.
      title: of the printed report.
      allow_new: beginnings of names of weights that no CPM has; they count
        neither as restored nor as missing.

    Raises:
      FileNotFoundError, ValueError: the CPM is missing, damaged, of another
        id space, feature spec or network, or too little of it fits.
    """
    report = warm_start.restore(
        checkpoint.named_variables(level.model.parts()),
        _weights(data, cpm),
        f"{cpm.parent.parent.name}/{cpm.parent.name}/{cpm.name}",
        settings.batch_norm,
        allow_new,
    )
    restore_table.show(report, title)
    of_cpm = (v for v in report.variables if v.status != warm_start.NEW)
    share = dataclasses.replace(report, variables=tuple(of_cpm)).restored_share
    if share < settings.min_restored:
        raise ValueError(
            f"Only {share:.0%} of the A-CTR's weights came "
            f"from {cpm}; warm_start.min_restored asks for "
            f"{settings.min_restored:.0%}."
        )
    level.report = report
    level.parents["cpm"] = store.parent(cpm, path)


def take_change(
    data: DataDirectory,
    level: levels.Level,
    old: pathlib.Path,
    new: pathlib.Path,
    path: pathlib.Path,
) -> None:
    """Add to a level what the CPM learned from `old` to `new`.

    Args:
      data: the data directory of all.
      level: the level; knows all ids of `new`. Gets report and parent.
      old: the CPM that the level has its knowledge from.
      new: the CPM after it.
      path: place of the artefact that the level will be.

    Raises:
      FileNotFoundError, ValueError: as `start`.
    """
    level.report = refresh.add_change(
        checkpoint.named_variables(level.model.parts()),
        _weights(data, new),
        _weights(data, old),
        f"{new.parent.parent.name}/{new.parent.name}/{old.name}..{new.name}",
    )
    level.parents["cpm"] = store.parent(new, path)


def frozen(
    data: DataDirectory, config: configs.Config, cpm: pathlib.Path
) -> CTRModel:
    """Return the model of a CPM to read from, without what trains it.

    Args:
      data: the data directory of both.
      config: the model's config, without history.
      cpm: the CPM.

    Raises:
      FileNotFoundError, ValueError: as `start`.
    """
    stage = configs.cpm_config(config)
    training = dataclasses.replace(stage.training, l2=0.0, table_l2=0.0)
    manifest = store.read_manifest(cpm, KIND)
    weights = _weights(data, cpm)
    model = levels.build(
        data,
        config,
        dataclasses.replace(stage, training=training),
        KIND,
        {name: entry["rows"] for name, entry in manifest.ids.items()},
        capacities=manifest.config["capacities"],
    )
    variables = checkpoint.named_variables(model.parts())
    warm_start.restore(variables, weights, str(cpm))
    return model


def _weights(data: DataDirectory, cpm: pathlib.Path) -> dict:
    warm_start.verified(cpm, KIND, data.spec.fingerprint(), data.id_spaces)
    return checkpoint.read(cpm / levels.WEIGHTS)
