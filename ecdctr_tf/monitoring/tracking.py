"""Runs of MLflow: each artefact of a level becomes one, with its hashes.

Where they go is up to MLflow's own settings, such as MLFLOW_TRACKING_URI. An
artefact is logged once, whichever command finds that it was not; so a server
that was down for a while lacks nothing in the end.
"""

import logging
import pathlib
import types
import typing
from collections.abc import Iterator, Mapping

from ecdctr_tf import artefacts, store
from ecdctr_tf.monitoring import prometheus
from ecdctr_tf.operation import family

# Tag with the hash of a manifest, by which logged artefacts are known.
MANIFEST = "ecdctr.manifest"
_PAGE = 1000


def log(
    experiment: str, levels: Mapping[tuple[str, str], pathlib.Path]
) -> None:
    """Log the artefacts of levels that an experiment does not have yet.

    A server that does not answer is warned of, and nothing else.

    Args:
      experiment: its name; made if need be.
      levels: level and model -> the directory of its artefacts.

    Raises:
      FileNotFoundError, ValueError: MLflow is not installed, or a manifest is
        missing or damaged.
    """
    mlflow = _mlflow()
    try:
        client = mlflow.MlflowClient()
        place = _experiment(client, experiment)
        known = set(_known(client, place))
        for (level, model), directory in levels.items():
            for day in store.dated(directory):
                path = directory / day
                if store.file_hash(path / store.MANIFEST) not in known:
                    _log(mlflow, client, place, level, model, path)
    except mlflow.exceptions.MlflowException as error:
        logging.warning(
            "MLflow did not take artefacts; the next command tries again: %s",
            str(error).partition("\n")[0],
        )


def _mlflow() -> types.ModuleType:
    try:
        import mlflow
        import mlflow.exceptions
    except ModuleNotFoundError as error:
        raise ValueError(
            "monitoring.mlflow needs MLflow. Install it with `pip install "
            "'ecdctr-tf[mlflow]'`, or leave monitoring.mlflow empty."
        ) from error
    return mlflow


def _experiment(client: typing.Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)


def _known(client: typing.Any, experiment: str) -> Iterator[str]:
    """Yield the hashes of the manifests that were logged to the end."""
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            "attributes.status = 'FINISHED'",
            max_results=_PAGE,
            page_token=token,
        )
        yield from (run.data.tags.get(MANIFEST, "") for run in page)
        token = page.token
        if not token:
            return


def _log(
    mlflow: types.ModuleType,
    client: typing.Any,
    experiment: str,
    level: str,
    model: str,
    path: pathlib.Path,
) -> None:
    """Log an artefact: settings, metrics, and what it was made from."""
    manifest = store.read_manifest(path, prometheus.KINDS[level])
    tags = {
        MANIFEST: store.file_hash(path / store.MANIFEST),
        "ecdctr.level": level,
        "ecdctr.model": model,
        "ecdctr.window": str(manifest.window),
        "ecdctr.features": manifest.spec,
        "ecdctr.code": manifest.code,
    }
    for role, parent in manifest.parents.items():
        tags[f"ecdctr.parent.{role}"] = parent["manifest"]
    published = round((path / store.MANIFEST).stat().st_mtime * 1000)
    seconds = manifest.metrics.get("seconds", 0)
    run = client.create_run(
        experiment,
        start_time=published - round(seconds * 1000),
        tags={name: tag for name, tag in tags.items() if tag},
        run_name=" ".join(filter(None, [model, level, path.name])),
    )
    entities = mlflow.entities
    config = artefacts.read_json(path, manifest.kind, artefacts.CONFIG)
    settings = family.differences(config) if config else []
    client.log_batch(
        run.info.run_id,
        metrics=[
            entities.Metric(name, value, published, 0)
            for name, value in _numbers(manifest.metrics, "")
        ],
        params=[
            entities.Param(*setting.split("=", maxsplit=1))
            for setting in settings
        ],
    )
    client.set_terminated(run.info.run_id, end_time=published)


def _numbers(
    values: Mapping[str, typing.Any], prefix: str
) -> Iterator[tuple[str, float]]:
    """Yield the numbers among metrics, `held_out/auc` for nested ones."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", float(value)
