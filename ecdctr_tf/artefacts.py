"""What the artefact of a level holds, and the model rebuilt from it.

Training and export both build models here and nowhere else. An artefact of
kind "snapshot" (TPM), "cpm" or "ctr" (A-CTR) holds

```
config.json   the config of the model
spec.json     the features of the data
weights.*     its weights, a checkpoint
optimizer.*   the state of its optimizers, to train it further
curve.json    the learning curve of its window
merged.*      of a CPM with self-attention: the historical vectors it merged
scores.npz    of an A-CTR: the day, scored before it was trained on
held_out.npz  of an A-CTR: the last rows of the day, scored when it had been
              trained on those before them
restore.json  of an A-CTR: what it took from a CPM, variable by variable
```

The days of a mixture are of kind "ctr" too. Instead of weights they hold
`mixture.json`, the weights of its experts, whose days are among their parents.
"""

import dataclasses
import gc
import importlib
import json
import pathlib
import typing
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features, kinds, model_table, store, typed_values
from ecdctr_tf.input import former_specs
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.mixture import MixedModel
from ecdctr_tf.transfer import (
    checkpoint,
    evidence,
    historical,
    mixture,
    warm_start,
)
from ecdctr_tf.transfer.calibration import Calibration

TPM, CPM, CTR = "snapshot", "cpm", "ctr"
CONFIG = "config.json"
SPEC = "spec.json"
WEIGHTS = "weights"
OPTIMIZER = "optimizer"
CURVE = "curve.json"
MERGED = "merged"
SCORES = "scores.npz"
HELD_OUT = "held_out.npz"
INPUTS = "inputs.json"
RESTORE = "restore.json"
MIXTURE = "mixture.json"


def model_spec(
    spec: features.DataSpec, config: configs.Config, kind: str
) -> features.DataSpec:
    """Return the features that a level reads.

    Names that the config excludes and the spec lacks are passed over: the
    features may have been removed.
    """
    if kind == TPM:
        return spec.basic()
    names = {feature.name for feature in spec.features}
    return spec.without(names.intersection(config.model.exclude))


def stage(
    config: configs.Config, kind: str
) -> tuple[configs.ModelConfig, configs.TrainingConfig]:
    """Return the network and the training of a level."""
    if kind == TPM:
        return config.tpm_model, config.tpm
    return config.model, config.cpm if kind == CPM else config.ctr


def network(row: model_table.ModelRow, kind: str) -> type[CTRModel]:
    """Return the class of a level's model."""
    if kind != CTR:
        return CTRModel
    module, name = row.network.split(".")
    return getattr(importlib.import_module(f"ecdctr_tf.models.{module}"), name)


def build(
    spec: features.DataSpec,
    config: configs.Config,
    row: model_table.ModelRow,
    kind: str,
    table_rows: dict[str, int],
    capacities: dict[str, int] | None = None,
    history: Mapping[str, HistoricalTable] | None = None,
    sources: Sequence[CTRModel] = (),
) -> CTRModel:
    """Return the model of a level with fresh weights.

    The weights and their names depend on the seed and the sizes only, not on
    what the process did before: so do the bytes of their checkpoints.

    Args:
      spec: the features of the data.
      config: the config of the model, from `configs.of_model`.
      row: the model.
      kind: "snapshot", "cpm" or "ctr".
      table_rows: table name -> rows that the model knows.
      capacities: table name -> rows there is room for.
      history: table name -> historical vectors.
      sources: the frozen CPMs that a model beside a CPM reads.

    Raises:
      ValueError: a feature that the config excludes cannot be left out.
    """
    # A traced loop holds the variables of its model in cycles of references,
    # which Python leaves for a long time: free the models from before.
    gc.collect()
    keras.utils.set_random_seed(config.seed)
    keras.backend.reset_uids()
    model_config, training = stage(config, kind)
    mode, slots = look_up(config, kind)
    return network(row, kind)(
        model_spec(spec, config, kind),
        model_config,
        table_rows,
        capacities,
        history=history if model_config.history else None,
        history_mode=mode,
        history_slots=slots,
        history_dropout=config.history.dropout,
        l2=training.l2,
        table_l2=training.table_l2,
        precision=training.precision,
        seed=config.seed,
        sources=sources,
    ).build_from_spec()


def look_up(config: configs.Config, kind: str) -> tuple[str, int]:
    """Return how a level combines dated vectors, and how many of an id."""
    mode = config.history.aggregation
    merged = config.history.merges and kind == CTR
    if mode not in historical.LEARNED or merged:
        return "single", 1
    return mode, config.history.snapshots


def weights(model: CTRModel) -> dict[str, tf.Variable]:
    """Return all weights of a model by their path in the checkpoint.

    Raises:
      ValueError: a weight has no path: it would be trained and never saved.
    """
    named = checkpoint.named_variables(model.parts())
    known = {variable.ref() for variable in named.values()}
    known.add(model.line.ref())
    for table in model.embedding.tables.values():
        known.add(table.vocab_size.ref())
        if table.unknown_rows is not None:
            known.add(table.unknown_rows.ref())
    kept_elsewhere = [*model.metrics, *model.sources]
    kept_elsewhere += model.history_tables.values()
    known |= {v.ref() for owner in kept_elsewhere for v in owner.variables}
    left = [v.name for v in model.variables if v.ref() not in known]
    if left:
        raise ValueError(
            f"{type(model).__name__} has weights that no checkpoint would "
            f"hold: {', '.join(left)}. Assign each layer to a public "
            "attribute of the model, or to a list or dict that is one."
        )
    return named


def read_weights(model: CTRModel, path: pathlib.Path) -> None:
    """Give a model the weights of an artefact.

    Raises:
      FileNotFoundError, ValueError: they are missing or do not fit.
    """
    values = checkpoint.read(path / WEIGHTS)
    warm_start.restore(weights(model), values, str(path / WEIGHTS))


def read_json(path: pathlib.Path, kind: str, name: str) -> typing.Any:
    """Return what a JSON file of an artefact holds; None if it never had one.

    Raises:
      FileNotFoundError, ValueError: the file is missing or damaged.
    """
    manifest = store.verify(path, kind, [name])
    if name not in manifest.files:
        return None
    return json.loads((path / name).read_text("utf-8"))


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


def parent_path(
    path: pathlib.Path, manifest: store.Manifest, role: str
) -> pathlib.Path:
    """Return the place of what an artefact was made from.

    Args:
      path: the artefact's place.
      manifest: its manifest.
      role: a key of `Manifest.parents`.

    Raises:
      FileNotFoundError: it is gone.
      ValueError: another artefact lies in its place.
    """
    parent = manifest.parents[role]
    place = (path / parent["path"]).resolve()
    if not place.exists():
        raise FileNotFoundError(
            f"{place}, from which {path} was made, is gone. Put it back, or "
            "train in another --workdir."
        )
    if store.file_hash(place / store.MANIFEST) != parent["manifest"]:
        raise ValueError(
            f"{place} is not the artefact from which {path} was made: it was "
            "replaced. Put the original back, or train in another --workdir."
        )
    return place


def needs_cpm(path: pathlib.Path, manifest: store.Manifest) -> None:
    """Raise a ValueError if an A-CTR day does not name its CPM."""
    if CPM not in manifest.parents:
        raise ValueError(
            f"{path / store.MANIFEST} is damaged: `parents` lacks the CPM. "
            f"Delete {path} to rebuild it, or restore the file."
        )


def cpm_of(path: pathlib.Path, manifest: store.Manifest) -> pathlib.Path | None:
    """Return the CPM that an A-CTR day was made from; None if it reads none.

    Raises:
      FileNotFoundError, ValueError: as `parent_path`.
    """
    if CPM not in manifest.parents:
        return None
    return parent_path(path, manifest, CPM)


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
      ValueError: it is not the artefact of a ctr day, the scores are damaged,
        or a column is missing.
    """
    store.verify(path, CTR, [name])
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


def expert_role(name: str) -> str:
    """Return the role among parents of a day of a mixture's expert."""
    return f"expert {name}"


def read_model(
    path: str | pathlib.Path, data: DataDirectory
) -> CTRModel | MixedModel:
    """Return the model of a published A-CTR day, to score with.

    It reads the features that it was trained with, whatever has changed since.
    A mixture's reads those of its experts.

    Args:
      path: the artefact, `<workdir>/<model>/ctr/<day>`, with the artefacts that
        it was made from beside it.
      data: the data directory that it was trained on, or one grown from it.

    Raises:
      FileNotFoundError, ValueError: the artefact or one that it was made from
        is missing, replaced, damaged, of another data spec, id space or
        network.
    """
    path = pathlib.Path(path)
    row = model_table.model(store.read_manifest(path, CTR).config["model"])
    if row.experts:
        return _read_mixture(path, row, data)
    manifest = verified(path, CTR, data)
    config = configs.Config.from_json(path / CONFIG)
    spec = data.specs[manifest.spec]
    sources = []
    if row.origin == model_table.BESIDE_CPM:
        sources = frozen(path, manifest, data, row, config, spec)
    history = {}
    if config.model.history:
        history = history_for(
            model_spec(spec, config, CTR),
            history_of(path, manifest, data, config),
        )
    model = build(
        spec,
        config,
        row,
        CTR,
        table_rows(manifest),
        manifest.config["capacities"],
        history,
        sources,
    )
    read_weights(model, path)
    state = manifest.config.get("calibration")
    if state:
        model.line.assign(Calibration.of(state).weights())
    return model


def _read_mixture(
    path: pathlib.Path, row: model_table.ModelRow, data: DataDirectory
) -> MixedModel:
    """Return a mixture with the experts that it was made from."""
    manifest = store.verify(path, CTR)
    found = mixture.Mixture.from_json(path / MIXTURE)
    experts = []
    for name in row.experts:
        place = parent_path(path, manifest, expert_role(name))
        expert = typing.cast(CTRModel, read_model(place, data))
        set_buckets(expert, data)  # Another one may know more ids.
        experts.append(expert)
    return MixedModel(
        experts,
        found.weights(),
        found.click_logit or 0.0,
        found.calibration.line(),
        mixture.LIMIT,
    )


def history_of(
    path: pathlib.Path,
    manifest: store.Manifest,
    data: DataDirectory,
    config: configs.Config,
) -> dict[str, HistoricalTable]:
    """Return the historical tables that an A-CTR day read.

    Raises:
      FileNotFoundError, ValueError: they are missing or replaced.
    """
    if config.history.merges:
        return read_merged(parent_path(path, manifest, CPM), data)
    roles = sorted(r for r in manifest.parents if r.startswith("historical "))
    if not roles:
        raise ValueError(
            f"{path} reads historical embeddings (model.history=true), but its "
            "manifest.json names no historical version. Train it again."
        )
    versions = [parent_path(path, manifest, role) for role in roles]
    return historical.load(versions, data.id_spaces, config.history)


def history_for(
    spec: features.DataSpec, tables: Mapping[str, HistoricalTable]
) -> dict[str, HistoricalTable]:
    """Return the historical tables of the basic ids that a model reads.

    Those that no snapshot has yet, since their feature was added, are empty.

    Args:
      spec: the features that the model reads.
      tables: table name -> historical vectors.
    """
    widths = {table.dim for table in tables.values()}
    names = {f.table for f in kinds.ids(spec) if f.basic}
    return {
        name: tables[name] if name in tables else _no_history(width, name)
        for width in widths
        for name in sorted(names)
    }


def _no_history(width: int, name: str) -> HistoricalTable:
    """Return a historical table that knows no id."""
    return HistoricalTable(np.zeros([1, 1, width]), [[False]], [0], name)


def frozen(
    path: pathlib.Path,
    manifest: store.Manifest,
    data: DataDirectory,
    row: model_table.ModelRow,
    config: configs.Config,
    spec: features.DataSpec,
) -> list[CTRModel]:
    """Return the CPMs that an A-CTR day reads, the newest first.

    Args:
      path: the day.
      manifest: its manifest.
      data: the data directory.
      row: the model.
      config: its config.
      spec: the data spec that the model reads.

    Raises:
      FileNotFoundError, ValueError: one is missing or replaced.
    """
    roles = [cpm_role(i) for i in range(row.cpms)]
    return [
        read_cpm(parent_path(path, manifest, role), data, row, config, spec)
        for role in roles
        if role in manifest.parents
    ]


def cpm_role(age: int) -> str:
    """Return the role among parents of the newest CPM (0) or an older one."""
    return CPM if not age else f"{CPM} {age} before"


def read_cpm(
    path: pathlib.Path,
    data: DataDirectory,
    row: model_table.ModelRow,
    config: configs.Config,
    spec: features.DataSpec,
) -> CTRModel:
    """Return the model of a CPM without history, to read from.

    Args:
      path: the CPM.
      data: the data directory.
      row: the model that reads it.
      config: its config.
      spec: its data spec, which has to be that of the CPM.

    Raises:
      FileNotFoundError, ValueError: the CPM is missing, damaged, of another id
        space, data spec or network.
    """
    manifest = verified(path, CPM, data)
    if data.specs[manifest.spec] != spec:
        raise ValueError(
            f"{path} was trained before the features changed "
            f"({former_specs.changes(data.specs[manifest.spec], spec).text()})."
            f" {row.name} reads a frozen CPM row by row and cannot go on over "
            "the change. Train it in another --workdir."
        )
    without = ["cpm.l2=0", "cpm.table_l2=0"]
    model = build(
        spec,
        configs.override(config, without),
        row,
        CPM,
        table_rows(manifest),
        manifest.config["capacities"],
    )
    set_buckets(model, data)
    read_weights(model, path)
    return model


def set_buckets(model: CTRModel, data: DataDirectory) -> None:
    """Let ids that a model does not know read the bucket they are served by."""
    for name, table in model.embedding.tables.items():
        space = data.id_spaces[name]
        if space.table.ids == "vocabulary" and space.table.buckets > 1:
            table.set_buckets(space.bucket_of(np.arange(space.rows)))


def merged_arrays(
    model: CTRModel, tables: Mapping[str, HistoricalTable]
) -> dict[str, np.ndarray]:
    """Return what self-attention makes of historical tables, by name.

    Each version becomes the vectors that a row which sees it would read, so
    that one look-up takes the place of K look-ups and the attention.

    Args:
      model: a CPM with self-attention.
      tables: table name -> its dated vectors.
    """
    layers = {
        model.spec.feature(name).table: layer
        for name, layer in model.historical.items()
    }
    arrays = {}
    for name, table in tables.items():
        rows = tf.range(table.rows)
        since = table.visible_from.numpy()
        versions = [
            layers[name](rows, tf.fill(tf.shape(rows), day), table)
            for day in since
        ]
        arrays[f"{name}/vectors"] = np.stack([v.numpy() for v, _ in versions])
        arrays[f"{name}/present"] = np.stack(
            [flag.numpy()[:, 0] > 0 for _, flag in versions]
        )
        arrays[f"{name}/visible_from"] = since
    return arrays


def read_merged(
    cpm: pathlib.Path, data: DataDirectory
) -> dict[str, HistoricalTable]:
    """Return the historical tables that a CPM merged.

    Raises:
      FileNotFoundError, ValueError: they are missing or damaged.
    """
    verified(cpm, CPM, data)
    arrays = checkpoint.read(cpm / MERGED)
    return {
        name: HistoricalTable(
            arrays[f"{name}/vectors"],
            arrays[f"{name}/present"],
            arrays[f"{name}/visible_from"],
            name,
        )
        for name in sorted({key.split("/")[0] for key in arrays})
    }
