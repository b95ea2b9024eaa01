"""Models rebuilt from published artefacts."""

import pathlib
import typing

from ecdctr_tf import config as configs
from ecdctr_tf import features, model_table, store
from ecdctr_tf.artefacts import building, histories, parents
from ecdctr_tf.artefacts.files import (
    CPM,
    CTR,
    check_model,
    read_config,
    read_mixture,
    table_rows,
    verified,
)
from ecdctr_tf.input import former_specs
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.mixture import MixedModel
from ecdctr_tf.transfer import mixture
from ecdctr_tf.transfer.calibration import Calibration


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
    manifest = store.read_manifest(path, CTR)
    check_model(path, manifest)
    row = model_table.model(manifest.config["model"])
    if row.experts:
        return _read_mixture(path, row, data)
    manifest = verified(path, CTR, data)
    config = read_config(path, CTR)
    spec = data.specs[manifest.spec]
    sources = []
    if row.origin == model_table.BESIDE_CPM:
        sources = frozen(path, manifest, data, row, config, spec)
    history = {}
    if config.model.history:
        history = histories.history_for(
            building.model_spec(spec, config, CTR),
            histories.history_of(path, manifest, data, config),
        )
    model = building.build(
        spec,
        config,
        row,
        CTR,
        table_rows(manifest),
        manifest.config["capacities"],
        history,
        sources,
    )
    building.read_weights(model, path)
    state = manifest.config.get("calibration")
    if state:
        model.line.assign(Calibration.of(state).weights())
    return model


def _read_mixture(
    path: pathlib.Path, row: model_table.ModelRow, data: DataDirectory
) -> MixedModel:
    """Return a mixture with the experts that it was made from."""
    manifest = store.verify(path, CTR)
    found = read_mixture(path)
    experts = []
    for name in row.experts:
        place = parents.parent_path(path, manifest, parents.expert_role(name))
        expert = typing.cast(CTRModel, read_model(place, data))
        building.set_buckets(expert, data)  # Another one may know more ids.
        experts.append(expert)
    return MixedModel(
        experts,
        found.weights(),
        found.click_logit or 0.0,
        found.calibration.line(),
        mixture.LIMIT,
    )


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
    roles = [parents.cpm_role(i) for i in range(row.cpms)]
    return [
        read_cpm(
            parents.parent_path(path, manifest, role), data, row, config, spec
        )
        for role in roles
        if role in manifest.parents
    ]


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
    model = building.build(
        spec,
        configs.override(config, without),
        row,
        CPM,
        table_rows(manifest),
        manifest.config["capacities"],
    )
    building.set_buckets(model, data)
    building.read_weights(model, path)
    return model
