"""`metrics.prom`: what a work directory came to, as gauges of Prometheus.

The textfile collector of the node exporter reads the file. All of it is from
manifests and from records of the clock, so any process may write it anew at any
time. Ages are left to Prometheus, which knows the time:
`time() - ecdctr_newest_day_timestamp_seconds` keeps growing when nothing is
written any more.
"""

import pathlib
import typing
from collections.abc import Iterator, Mapping

import prometheus_client

from ecdctr_tf import artefacts, metrics, store, windows
from ecdctr_tf.export import saved_model, versions
from ecdctr_tf.operation import record
from ecdctr_tf.transfer import historical

FILE = "metrics.prom"
EXPORT = "export"
# In place of a level: the dates of --stage=auto.
CLOCK = "clock"
# Level -> the kind of its artefacts.
KINDS = {
    "tpm": artefacts.TPM,
    "historical": historical.KIND,
    "cpm": artefacts.CPM,
    "ctr": artefacts.CTR,
    EXPORT: saved_model.KIND,
}
_DAY = 86_400
_OF_LEVEL = ("level", "model")
_OF_MODEL = ("model",)
_OF_FEATURE = ("model", "feature")
# Name -> what it says, and its labels. `level` is tpm, historical, cpm, ctr,
# export or clock; `model` is empty for what models share.
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "ecdctr_newest_day_timestamp_seconds": (
        "End of the newest day that a level has seen, at midnight UTC.",
        _OF_LEVEL,
    ),
    "ecdctr_published_timestamp_seconds": (
        "When the newest artefact of a level was published.",
        _OF_LEVEL,
    ),
    "ecdctr_damaged": (
        "1 if what gauges read of a level is damaged: it has no others then.",
        _OF_LEVEL,
    ),
    "ecdctr_artefacts": ("Artefacts of a level that are there.", _OF_LEVEL),
    "ecdctr_seconds": (
        "Wall-clock time that the newest artefact of a level took.",
        _OF_LEVEL,
    ),
    "ecdctr_refused_versions": (
        "Versions that the gate refused since the newest export.",
        (),
    ),
    "ecdctr_alarms": ("Alarms of the newest date of --stage=auto.", ("what",)),
    "ecdctr_scored_rows": ("Rows of the newest scored day.", _OF_MODEL),
    "ecdctr_scored_clicks": ("Clicks of the newest scored day.", _OF_MODEL),
    "ecdctr_feature_psi": (
        "Stability index of a feature on the newest scored day.",
        _OF_FEATURE,
    ),
    "ecdctr_feature_psi_before": (
        "Greatest stability index of the days that it was compared with.",
        _OF_FEATURE,
    ),
    "ecdctr_new_id_ratio": (
        "Share of a feature's ids that the model did not know.",
        (*_OF_FEATURE, "table"),
    ),
    "ecdctr_historical_ratio": (
        "Share of the rows whose id has a historical vector.",
        (*_OF_FEATURE, "table"),
    ),
    "ecdctr_input_warnings": (
        "Inputs of the newest scored day that are not as on the days before.",
        _OF_MODEL,
    ),
    **{
        f"ecdctr_{name}": (
            f"{metric.label} of the newest scored day, before it was learned.",
            _OF_MODEL,
        )
        for name, metric in metrics.METRICS.items()
    },
}
# A gauge, the values of its labels, and its value; None: there is none.
Sample: typing.TypeAlias = tuple[str, tuple[str, ...], float | None]


def write(
    file: pathlib.Path,
    levels: Mapping[tuple[str, str], pathlib.Path],
    export_dir: pathlib.Path,
    newest: record.Record | None = None,
) -> list[str]:
    """Write the gauges of a work directory; an older file is replaced at once.

    A level whose newest manifest is damaged has no gauge but one that says so.

    Args:
      file: its place. The collector reads names that end with `.prom`.
      levels: level and model -> the directory of its artefacts.
      export_dir: the base path of the served model, or where none is yet.
      newest: what happened on the newest date of the clock; None without one.

    Returns:
      What is damaged, a line each.
    """
    registry = prometheus_client.CollectorRegistry()
    gauges = {
        name: prometheus_client.Gauge(name, said, labels, registry=registry)
        for name, (said, labels) in GAUGES.items()
    }
    damaged = []
    samples = [*_of_clock(newest)]
    for place, directory in {**levels, (EXPORT, ""): export_dir}.items():
        try:
            samples += _of_place(place, directory)
        except (FileNotFoundError, ValueError) as error:
            damaged.append(str(error))
            samples.append(("ecdctr_damaged", place, 1))
    for name, labels, value in samples:
        if value is not None:
            gauge = gauges[name]
            (gauge.labels(*labels) if labels else gauge).set(value)
    text = prometheus_client.generate_latest(registry).decode()
    store.write_text(file, text)
    return damaged


def _of_place(labels: tuple[str, str], directory: pathlib.Path) -> list[Sample]:
    """Return the values of the gauges of a level, or of exported versions."""
    level, model = labels
    found: list[Sample] = []
    if level == EXPORT:
        names = [str(number) for number in versions.numbers(directory)]
        newest = int(names[-1]) if names else 0
        refused = [n for n in versions.refused(directory) if n > newest]
        found.append(("ecdctr_refused_versions", (), len(refused)))
    else:
        names = store.dated(directory)
    if names:
        path = directory / names[-1]
        manifest = store.read_manifest(path, KINDS[level])
        found += _of_level(labels, path, manifest, len(names))
        if level == "ctr":
            found += _of_day(model, manifest)
        found.append(("ecdctr_damaged", labels, 0))
    return found


def _of_clock(newest: record.Record | None) -> Iterator[Sample]:
    """Yield what became of the newest date."""
    if newest is None:
        return
    midnight = windows.day_number(newest.date) * _DAY
    yield "ecdctr_newest_day_timestamp_seconds", (CLOCK, ""), midnight
    raised = [alarm.what for alarm in newest.alarms]
    for what in record.ALARMS:
        yield "ecdctr_alarms", (what,), raised.count(what)


def _of_level(
    labels: tuple[str, str],
    path: pathlib.Path,
    manifest: store.Manifest,
    count: int,
) -> Iterator[Sample]:
    """Yield what is known of the newest artefact of a level."""
    end = (windows.day_number(manifest.window.last) + 1) * _DAY
    yield "ecdctr_newest_day_timestamp_seconds", labels, end
    written = (path / store.MANIFEST).stat().st_mtime
    yield "ecdctr_published_timestamp_seconds", labels, written
    yield "ecdctr_artefacts", labels, count
    yield "ecdctr_seconds", labels, manifest.metrics.get("seconds")


def _of_day(model: str, manifest: store.Manifest) -> Iterator[Sample]:
    """Yield what a scored day came to."""
    found = manifest.metrics
    yield "ecdctr_scored_rows", (model,), found.get("rows")
    yield "ecdctr_scored_clicks", (model,), found.get("clicks")
    for name in metrics.METRICS:
        yield f"ecdctr_{name}", (model,), found.get(name)
    inputs = found.get("inputs")
    if inputs:
        warned = len(inputs["warnings"])
        yield "ecdctr_input_warnings", (model,), warned
        for name, of in inputs["features"].items():
            feature = model, name
            yield "ecdctr_feature_psi", feature, of["psi"]
            yield "ecdctr_feature_psi_before", feature, of["psi_before"]
            ids = *feature, of.get("table", "")
            yield "ecdctr_new_id_ratio", ids, of["new"]
            yield "ecdctr_historical_ratio", ids, of["historical"]
