"""Write and publish a SavedModel of an A-CTR day.

An export is a version directory of TensorFlow Serving, besides which lie:

```
manifest.json                the files' hashes and the artefact exported
assets.extra/tf_serving_warmup_requests
                             requests that servers replay first
assets.extra/lineage.json    its features, those of them that are served, its
                             config, how it is stored, what the gate found of
                             it, and the manifests of all that it was made
                             from, by their hash
assets.extra/model_card.*    what is in it, for people (`model_card`)
```
"""

import dataclasses
import gc
import json
import logging
import os
import pathlib
import tempfile
import time
import typing

import tensorflow as tf

from ecdctr_tf import artefacts, kinds, store
from ecdctr_tf import config as configs
from ecdctr_tf.export import (
    folded,
    gate,
    given_history,
    load,
    model_card,
    probe,
    signatures,
    verify,
    warm_up,
)
from ecdctr_tf.export.id_mapping import IdMapping
from ecdctr_tf.input import id_space
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.mixture import MixedModel
from ecdctr_tf.transfer import checkpoint

KIND = "export"
LINEAGE = "lineage.json"


def export_model(
    artefact_dir: str | pathlib.Path,
    data_dir: str | pathlib.Path,
    export_dir: str | pathlib.Path,
    version: int | None = None,
    serving: configs.ServingConfig | None = None,
    *,
    report: gate.Report | None = None,
    replace: bool = False,
) -> pathlib.Path:
    """Publish an A-CTR day as a version for TensorFlow Serving.

    Args:
      artefact_dir: the day, `<workdir>/<model>/ctr/<day>`.
      data_dir: the data directory that it was trained on.
      export_dir: the base path of the served model; its children are versions.
      version: name of the version, above 0; None takes the day as YYYYMMDD.
      serving: what clients send, and how the model is stored; None: as the
        config has it by default.
      report: what the gate found, kept in the lineage.
      replace: whether it takes the place of a version that is there, at one
        moment; only what takes ids out may.

    Returns:
      The version's directory. It was loaded in a process without project code
      and answered as the model does before it got its name.

    Raises:
      FileExistsError: there is such a version; a server may have it loaded.
      FileNotFoundError, ValueError: the artefact is missing, damaged or does
        not fit the data directory, or the export answers otherwise than the
        model. Nothing is left behind.
    """
    began = time.monotonic()
    serving = serving or configs.ServingConfig()
    artefact_dir = pathlib.Path(artefact_dir)
    artefact = store.read_manifest(artefact_dir, artefacts.CTR)
    if version is None:
        version = int(artefact.window.last.replace("-", ""))
    if isinstance(version, bool) or int(version) != version or version < 1:
        raise ValueError(
            "`version` should be a whole number above 0, as TensorFlow "
            f"Serving requires. Received: {version!r}"
        )
    target = pathlib.Path(export_dir) / str(int(version))
    data = DataDirectory(data_dir)
    manifest = dataclasses.replace(
        artefact,
        kind=KIND,
        parents={},
        config={"tables": serving.tables},
        files={},
        code="",
    )
    with store.publish(target, manifest, replace) as staging:
        spaces = load.known_spaces(artefact, data)
        cases, form = _folded(artefact_dir, data, spaces, serving, staging)
        spec, historical = form.spec, given_history.inside(form)
        write(form, spaces, staging, serving.max_shard_mb)
        warm_up.write(staging, spec, spaces, historical, serving.candidates)
        lineage = _lineage(artefact_dir, target, form, serving, report)
        text = json.dumps(lineage, indent=1) + "\n"
        store.write_text(staging / "assets.extra" / LINEAGE, text)
        model_card.write(
            staging, int(version), artefact_dir, data, form, lineage
        )
        # Its memory is free before another process loads what was written.
        del form
        gc.collect()
        worst = verify.check(staging, spec, historical, cases, serving.tables)
        manifest.parents = {"artefact": store.parent(artefact_dir, target)}
        manifest.metrics = {
            "seconds": time.monotonic() - began,
            "max_difference": worst,
        }
    return target


def _folded(
    artefact_dir: pathlib.Path,
    data: DataDirectory,
    spaces: dict[str, id_space.IdSpace],
    serving: configs.ServingConfig,
    staging: pathlib.Path,
) -> tuple[dict[str, probe.Case], typing.Any]:
    """Return requests with the model's answers, and the form that is served.

    Args:
      artefact_dir: the day.
      data: the data directory.
      spaces: table name -> the ids that the model knows; those of what
        requests say besides are added.
      serving: how the model is stored.
      staging: where historical vectors are written that requests bring.
    """
    model = artefacts.read_model(artefact_dir, data)
    _warn_of_padding(model, spaces)
    given = None
    if serving.history == "as_input":
        given = given_history.of(model, spaces)
        given_history.write(staging, given, model, spaces, data.zone)
        for table in given.spec.tables:
            spaces.setdefault(table.name, id_space.new(table))
    # Asked before versions of history are dropped.
    cases = probe.cases(model, spaces, given)
    for expert in model.members:
        load.keep_newest(expert)
    rows = {name: space.rows for name, space in spaces.items()}
    return cases, folded.of(model, rows, serving.tables, given)


def write(
    form: typing.Any,
    spaces: dict[str, id_space.IdSpace],
    directory: str | pathlib.Path,
    max_shard_mb: int = 0,
) -> None:
    """Write a SavedModel.

    Args:
      form: the model as it is served, of `folded.of`.
      spaces: table name -> the ids that the model knows.
      directory: where to; exists and is empty.
      max_shard_mb: as of `ServingConfig`.

    Raises:
      NotFiniteError: a weight is not finite.
    """
    options = tf.saved_model.SaveOptions()
    if max_shard_mb:
        options.experimental_sharding_callback = (
            tf.train.experimental.MaxShardSizePolicy(max_shard_mb * 10**6)
        )
    # What is temporary lies within, to be swept with it after a kill.
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        # A bare module: the Keras model itself would bring its training calls.
        served = tf.Module(name="ctr")
        served.mappings = {
            name: IdMapping(space, scratch) for name, space in spaces.items()
        }
        served.kept = _variables(form)
        for variable in served.kept:
            checkpoint.check_finite({"Tables of the served model": variable})
        tf.saved_model.save(
            served,
            str(directory),
            signatures=signatures.make(form, served.mappings),
            options=options,
        )
    # Functions are saved as if all of them answered Predict.
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(
        str(directory)
    )
    for signature, method in signatures.METHODS.items():
        updater.replace_method_name(signature, method, tags="serve")
    updater.save()


def _variables(model: typing.Any) -> list[tf.Variable]:
    """Return what a served model's answers are made of; metrics are not."""
    if isinstance(model, folded.Folded | folded.FoldedMixture):
        return model.variables
    parts, lines = [], []
    for expert in model.members:
        for read in (expert, *expert.sources):
            for part in read.parts().values():
                parts += tf.nest.flatten(part)
        lines.append(expert.line)
        parts += expert.history_tables.values()
    found = [variable for part in parts for variable in part.variables]
    found += lines
    if isinstance(model, MixedModel):
        found += [model.weights, model.click_logit, model.line]
    return found


def _warn_of_padding(model: CTRModel | MixedModel, spaces: dict) -> None:
    """Say so if an id cannot be sent as an entry of a sequence."""
    for feature in kinds.of(model.spec):
        if not feature.padded:
            continue
        space, unused = spaces[feature.table.name], feature.table.padding
        if space.table.ids == "vocabulary" and load.knows(space, unused):
            logging.warning(
                "%r is an id of table %r and also the padding of %r: in "
                "requests it is read as padding, not as that id.",
                unused,
                feature.table.name,
                feature.name,
            )


def _lineage(
    artefact_dir: pathlib.Path,
    target: pathlib.Path,
    form: typing.Any,
    serving: configs.ServingConfig,
    report: gate.Report | None,
) -> dict[str, typing.Any]:
    """Return what `assets.extra/lineage.json` says of a version."""
    ancestors: dict[str, dict] = {}
    wanted = store.file_hash(artefact_dir / store.MANIFEST)
    _collect(artefact_dir, wanted, target, ancestors)
    read = artefacts.read_json
    return {
        "artefact": wanted,
        "features": read(artefact_dir, artefacts.CTR, artefacts.SPEC),
        "config": read(artefact_dir, artefacts.CTR, artefacts.CONFIG),
        "served": dataclasses.asdict(form.spec),
        "historical": given_history.inside(form),
        "history_version": given_history.version(form),
        "serving": dataclasses.asdict(serving),
        "gate": report and report.to_dict(),
        "ancestors": ancestors,
    }


def read_lineage(version: pathlib.Path) -> dict[str, typing.Any] | None:
    """Return what a version remembers of its making; None: it is too old to.

    Raises:
      FileNotFoundError, ValueError: it is missing or damaged.
    """
    return artefacts.read_json(version, KIND, f"assets.extra/{LINEAGE}")


def _collect(
    path: pathlib.Path,
    wanted: str,
    target: pathlib.Path,
    found: dict[str, dict],
) -> None:
    """Add an artefact and what it was made from, by hash of the manifest.

    Those that are gone, or were replaced since, are left out.
    """
    file = path / store.MANIFEST
    if wanted in found or not file.is_file():
        return
    if store.file_hash(file) != wanted:
        return
    manifest = json.loads(file.read_text(encoding="utf-8"))
    del manifest["files"]
    manifest.pop(store.HASH, None)  # It is of the files, too.
    found[wanted] = {"path": os.path.relpath(path, target), **manifest}
    for parent in manifest["parents"].values():
        place = (path / parent["path"]).resolve()
        _collect(place, parent["manifest"], target, found)
