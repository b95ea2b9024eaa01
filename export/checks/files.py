"""Checks of an export's files, before anything is loaded."""

import subprocess
import sys

import tensorflow as tf
from google.protobuf import text_format

from ecdctr_tf import features, store
from ecdctr_tf.export import (
    contract,
    saved_model,
    server_configs,
    verify,
    versions,
    warm_up,
)
from ecdctr_tf.export.checks.subject import LeftOut, Subject


def whole(subject: Subject) -> str:
    """Compare the files with their hashes."""
    manifest = store.verify(subject.path, saved_model.KIND)
    difference = manifest.metrics.get("max_difference")
    tables = manifest.config.get("tables", "float32")
    if difference is None or difference > verify.TOLERANCES[tables].ctr:
        raise ValueError(
            "The manifest should say that the answers are those of the model. "
            f"Received: max_difference {difference}, tables in {tables}"
        )
    return (
        f"{len(manifest.files)} files, tables in {tables}, {difference:.1e} "
        "from the model"
    )


def structure(subject: Subject) -> str:
    """Look for operations that a server does not have."""
    used = contract.operations(subject.graph)
    own = sorted(op for op in used if not hasattr(tf.raw_ops, op))
    if own:
        raise ValueError(f"These operations are not TensorFlow's: {own}")
    return f"tag serve, {len(used)} kinds of operations"


def contract_of(subject: Subject) -> str:
    """Compare the signatures with those of the features that are served."""
    lineage = saved_model.read_lineage(subject.path)
    if not lineage or "served" not in lineage:
        raise LeftOut(f"an older export: {saved_model.LINEAGE} lacks `served`")
    spec = features.DataSpec.from_dict(lineage["served"])
    contract.check(subject.path, spec, lineage["historical"])
    return ", ".join(sorted(served(subject)))


def served(subject: Subject) -> set[str]:
    """Return the signatures that answer a method."""
    found = subject.graph.signature_def
    return {name for name in found if found[name].method_name}


def scan(subject: Subject) -> str:
    """Let TensorFlow's own command show and scan the export."""
    for command, flags in (("show", ("--all",)), ("scan", ())):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tensorflow.python.tools.saved_model_cli",
                command,
                f"--dir={subject.path}",
                *flags,
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ValueError(f"{command} failed: {done.stderr[-300:]}")
        if command == "scan" and "does not contain" not in done.stdout:
            raise ValueError(done.stdout.strip())
    return "shown; no operation of its denylist"


def configs(subject: Subject) -> str:
    """Read the config files of the server that lie beside the versions."""
    base_path = subject.path.resolve().parent
    file = base_path / server_configs.MODELS
    if not any((base_path / name).exists() for name in server_configs.FILES):
        raise LeftOut(f"no {file.name} beside the version")
    server_configs.check(base_path)
    try:
        from tensorflow_serving.config import model_server_config_pb2
    except ImportError as error:
        raise LeftOut(f"the extra `server` is not installed: {error}") from (
            error
        )
    found = text_format.Parse(
        file.read_text(), model_server_config_pb2.ModelServerConfig()
    )
    [model] = found.model_config_list.config
    listed = list(model.model_version_policy.specific.versions)
    labels = dict(model.version_labels)
    there = versions.numbers(base_path)
    if not set(labels.values()) <= set(listed) <= set(there):
        raise ValueError(
            f"{file.name} should name versions that are there, {there}, "
            f"and label those. Received: {listed}, {labels}"
        )
    return f"versions {listed}, labels {labels}"


def warm_up_requests(subject: Subject) -> str:
    """Read the requests that a server asks itself first."""
    found = warm_up.read(subject.path)
    if not found:
        raise ValueError(f"The export should hold {warm_up.FILE}.")
    missing = served(subject) - {request.signature for request in found}
    if missing or len(found) > warm_up.MOST:
        raise ValueError(
            f"There should be up to {warm_up.MOST} requests, of all "
            f"signatures. Received: {len(found)}, none of "
            f"{', '.join(sorted(missing)) or 'too many'}"
        )
    return f"{len(found)} requests of all signatures"
