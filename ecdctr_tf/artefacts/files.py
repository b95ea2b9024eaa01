"""The files of an artefact of a level, and its manifest."""

import dataclasses
import json
import pathlib
import typing
from collections.abc import Mapping

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf import model_table, store, typed_values
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.transfer import evidence, mixture, warm_start
from ecdctr_tf.transfer.calibration import Calibration

TPM, CPM, CTR = "snapshot", "cpm", "ctr"
CONFIG = "config.json"
SPEC = "spec.json"
WEIGHTS = "weights"
OPTIMIZER = "optimizer"
CURVE = "curve.json"
MERGED = "merged"
FIRST_ROWS = "first_rows.npz"
SCORES = "scores.npz"
HELD_OUT = "held_out.npz"
INPUTS = "inputs.json"
RESTORE = "restore.json"
MIXTURE = "mixture.json"


def read_json(path: pathlib.Path, kind: str, name: str) -> typing.Any:
    """Return what a JSON file of an artefact holds; None if it never had one.

    Raises:
      FileNotFoundError, ValueError: the file is missing or damaged.
    """
    manifest = store.verify(path, kind, [name])
    if name not in manifest.files:
        return None
    return json.loads((path / name).read_text("utf-8"))


def read_config(path: pathlib.Path, kind: str = "") -> configs.Config:
    """Return the config that an artefact was made with.

    Args:
      path: the artefact.
      kind: what it should be; empty: anything.

    Raises:
      FileNotFoundError, ValueError: the artefact or its config is missing or
        damaged.
    """
    return configs.Config.from_json(store.file(path, kind, CONFIG))


def read_mixture(path: pathlib.Path) -> mixture.Mixture:
    """Return the weights of experts after a day of a mixture.

    Raises:
      FileNotFoundError, ValueError: the day or its weights are missing or
        damaged.
    """
    return mixture.Mixture.from_json(store.file(path, CTR, MIXTURE))


@dataclasses.dataclass(frozen=True)
class Noted:
    """What a level notes of its training in `config` of its manifests."""

    # Table name -> rows that there is room for.
    capacities: dict[str, int]
    # Name of the model.
    model: str
    # Rows of a step; 0 where it was not noted.
    batch_size: int = 0
    # What is known of changes, see `transfer.evidence`.
    evidence: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    # How scores are corrected, see `transfer.calibration`.
    calibration: dict[str, typing.Any] = dataclasses.field(default_factory=dict)


def verified(
    path: pathlib.Path, kind: str, data: DataDirectory
) -> store.Manifest:
    """Return the manifest of a whole artefact that fits a data directory.

    Its data spec may be one that earlier days were written with.

    Raises:
      FileNotFoundError, ValueError: it is missing, damaged, of another kind,
        of no spec of the directory, or of another id space.
    """
    manifest = store.verify(path, kind)
    warm_start.check_spec(manifest, data.specs, path)
    warm_start.check_ids(manifest, data.id_spaces, path)
    try:
        for name in (f"{WEIGHTS}.index", CONFIG, SPEC):
            if name not in manifest.files:
                raise ValueError(f"`files` lacks {name}.")
        noted = typed_values.make(Noted, "`config`", manifest.config)
        _check_noted(noted, table_rows(manifest))
    except ValueError as error:
        raise ValueError(
            f"{path / store.MANIFEST} is damaged: {error} Delete {path} to "
            "rebuild it, or restore the file."
        ) from error
    return manifest


def _check_noted(noted: Noted, rows: Mapping[str, int]) -> None:
    """Raise if what a level noted cannot be."""
    model_table.model(noted.model)
    evidence.Evidence.from_dict(noted.evidence)
    Calibration.of(noted.calibration)
    if noted.batch_size < 0:
        raise ValueError(
            "`batch_size` of `config` should be at least 0. Received: "
            f"{noted.batch_size}."
        )
    for name, capacity in noted.capacities.items():
        if name not in rows:
            raise ValueError(f"`ids` lacks the table {name!r}.")
        if capacity < rows[name]:
            raise ValueError(
                f"Table {name!r} should have room for its {rows[name]} rows. "
                f"Received: a capacity of {capacity}."
            )


def table_rows(manifest: store.Manifest) -> dict[str, int]:
    """Return the rows of each table that an artefact knows."""
    return {name: int(entry["rows"]) for name, entry in manifest.ids.items()}


def check_model(path: pathlib.Path, manifest: store.Manifest) -> None:
    """Make sure that a day is of the model in whose place it lies.

    Args:
      path: the day, `<model>/ctr/<day>`.
      manifest: of the day.

    Raises:
      ValueError: it is a day of another model.
    """
    expected, of = path.parts[-3:][0], manifest.config.get("model")
    if expected in model_table.MODELS and of not in (expected, None):
        raise ValueError(
            f"{path} should be a day of {expected}. Received one of {of}. Put "
            "the original back."
        )


def first_rows(path: pathlib.Path, kind: str = CPM) -> dict[str, np.ndarray]:
    """Return the numbers that rows had when they got their first values.

    Args:
      path: an artefact of a level.
      kind: what it should be.

    Returns:
      Table -> int64 `[V]`, of the first V rows. Rows behind these, and tables
      that are not there, were numbered as they are now.

    Raises:
      FileNotFoundError, ValueError: the artefact or the file is damaged.
    """
    manifest = store.verify(path, kind, [FIRST_ROWS])
    if FIRST_ROWS not in manifest.files:
        return {}
    with np.load(path / FIRST_ROWS) as file:
        return {name: file[name] for name in file.files}


def write_first_rows(
    place: pathlib.Path, numbers: Mapping[str, np.ndarray]
) -> None:
    """Write what `first_rows` returns to an artefact being published."""
    if numbers:
        arrays: dict[str, typing.Any] = dict(numbers)
        np.savez(place / FIRST_ROWS, **arrays)


def read_scores(
    path: pathlib.Path, name: str = SCORES
) -> dict[str, np.ndarray]:
    """Return `ctr`, `click`, `weight`, `user` and `item`, `[N]`, of a day.

    Days that were scored before rows had weights weigh all rows alike.

    Args:
      path: a `ctr/<day>` artefact.
      name: `SCORES`, or `HELD_OUT` for those of the last rows.

    Raises:
      FileNotFoundError: the day was not scored, or its scores are gone.
      ValueError: it is not the artefact of a ctr day, or of another model; the
        scores are damaged, or a column is missing.
    """
    check_model(path, store.verify(path, CTR, [name]))
    with np.load(path / name) as file:
        missing = {"ctr", "click", "user", "item"} - set(file.files)
        if missing:
            raise ValueError(
                f"{path / name} lacks "
                f"{', '.join(sorted(missing))}. Delete {path} and the days "
                "after it, and run `--stage=ctr` again."
            )
        scores = {name: file[name] for name in file.files}
    scores.setdefault("weight", np.ones_like(scores["click"]))
    return scores


def check_rows(
    path: pathlib.Path,
    scores: Mapping[str, np.ndarray],
    others: Mapping[str, np.ndarray],
) -> None:
    """Raise if the scores of a day are of other rows than what is beside them.

    Args:
      path: the day's artefact.
      scores: what `read_scores` returned.
      others: scores of the day by another model, or its columns in the data,
        `[N]`; columns that are missing are not compared.

    Raises:
      ValueError: a column differs.
    """
    for name in ("click", "weight", "user", "item"):
        if name in others and not np.array_equal(scores[name], others[name]):
            raise ValueError(
                f"{path} scored different rows of {path.name} than the data "
                f"directory or the other models have: {name!r} differs. Score "
                "the day again with the same data directory."
            )
