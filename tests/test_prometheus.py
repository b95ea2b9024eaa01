"""`metrics.prom`, and what is deployed to read it."""

import json
import pathlib
import re

import pytest
import yaml
from absl import flags
from absl.testing import flagsaver
from prometheus_client import parser

import train_main
from ecdctr_tf import store, windows
from ecdctr_tf.export import versions
from ecdctr_tf.monitoring import prometheus
from ecdctr_tf.operation import record
from ecdctr_tf.training.workdir import Workdir

ROOT = pathlib.Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DAY = 86_400
INPUTS = {
    "price": {"psi": 0.5, "psi_before": None, "new": None, "historical": None},
    "user_id": {
        "table": "user",
        "psi": 0.25,
        "psi_before": 0.125,
        "new": 0.0,
        "historical": 0.75,
    },
}


def publish(path, kind, first, last, metrics, seconds=None):
    window = windows.Window(first, last)
    manifest = store.Manifest(kind, window, metrics=metrics)
    if seconds is not None:
        manifest.metrics["seconds"] = seconds
    with store.publish(path, manifest):
        pass


@pytest.fixture
def run(tmp_path):
    """A work directory of manifests alone, with an export."""
    path = tmp_path / "run"
    publish(path / "tpm/2024-01-30", "snapshot", "2024-01-01", "2024-01-30", {})
    publish(
        path / "historical/2024-01-30",
        "historical",
        "2024-01-01",
        "2024-01-30",
        {},
        0.5,
    )
    for day, auc in (("2024-02-01", 0.6), ("2024-02-02", 0.7)):
        inputs = {"days": [], "warnings": ["one"], "features": INPUTS}
        found = {"auc": auc, "gauc": None, "rows": 50, "clicks": 4}
        found["inputs"] = inputs
        publish(path / "e_cdctr/ctr" / day, "ctr", day, day, found, 12.5)
    publish(
        path / "export/20240201", "export", "2024-02-01", "2024-02-01", {}, 9
    )
    return Workdir(path)


def values(text):
    """Return what a file of gauges says: (name, labels) -> value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def written(run, newest=None):
    file = run.path / prometheus.FILE
    prometheus.write(file, run.levels(), run.path / "export", newest)
    return file.read_text("utf-8")


def of_level(level, model=""):
    return (("level", level), ("model", model))


E_CDCTR = (("model", "e_cdctr"),)


def test_gauges_are_those_of_the_newest_artefacts(run):
    found = values(written(run))
    assert found["ecdctr_auc", E_CDCTR] == 0.7
    assert found["ecdctr_scored_rows", E_CDCTR] == 50
    assert found["ecdctr_scored_clicks", E_CDCTR] == 4
    assert found["ecdctr_seconds", of_level("ctr", "e_cdctr")] == 12.5
    assert found["ecdctr_artefacts", of_level("ctr", "e_cdctr")] == 2
    ends = {
        "tpm": "2024-01-31",
        "historical": "2024-01-31",
        "export": "2024-02-02",
    }
    for level, day in ends.items():
        seen = found["ecdctr_newest_day_timestamp_seconds", of_level(level)]
        assert seen == windows.day_number(day) * DAY, level


def test_gauges_of_features_are_those_of_the_newest_day(run):
    found = values(written(run))
    of_features = {
        (name, *dict(labels).values()): value
        for (name, labels), value in found.items()
        if "feature" in dict(labels)
    }
    assert of_features == {
        ("ecdctr_feature_psi", "price", "e_cdctr"): 0.5,
        ("ecdctr_feature_psi", "user_id", "e_cdctr"): 0.25,
        ("ecdctr_feature_psi_before", "user_id", "e_cdctr"): 0.125,
        ("ecdctr_new_id_ratio", "user_id", "e_cdctr", "user"): 0,
        ("ecdctr_historical_ratio", "user_id", "e_cdctr", "user"): 0.75,
    }
    assert found["ecdctr_input_warnings", E_CDCTR] == 1


def test_what_is_not_known_is_left_out(run):
    found = values(written(run))
    assert ("ecdctr_gauc", E_CDCTR) not in found
    assert ("ecdctr_seconds", of_level("tpm")) not in found
    assert not any("cpm" in dict(labels).values() for _, labels in found)


def test_the_time_of_publication_is_that_of_the_manifest(run):
    path = run.path / "e_cdctr/ctr/2024-02-02" / store.MANIFEST
    found = values(written(run))
    name = "ecdctr_published_timestamp_seconds"
    published = found[name, of_level("ctr", "e_cdctr")]
    assert published == pytest.approx(path.stat().st_mtime)


def test_refusals_count_until_a_newer_version_is_there(run):
    export_dir = run.path / "export"
    for number in (20240131, 20240202, 20240203):
        (export_dir / f"refused-{number}.json").write_text("{}")
    assert versions.refused(export_dir) == [20240131, 20240202, 20240203]
    assert values(written(run))["ecdctr_refused_versions", ()] == 2


def test_alarms_are_those_of_the_newest_date(run):
    alarms = [record.Alarm(what, "x") for what in ("old", "old", "failed")]
    newest = record.Record(
        *("2024-02-03", record.FAILED, (), {}, {}, tuple(alarms), (), 1.0)
    )
    record.write(run.path, newest)
    found = values(written(run, record.newest(run.path)))
    of_kinds = {
        dict(labels)["what"]: value
        for (name, labels), value in found.items()
        if name == "ecdctr_alarms"
    }
    none = {"refused": 0, "waiting": 0, "skipped": 0}
    assert of_kinds == {"old": 2, "failed": 1, **none}
    midnight = windows.day_number("2024-02-03") * DAY
    seen = found["ecdctr_newest_day_timestamp_seconds", of_level("clock")]
    assert seen == midnight


def test_every_gauge_says_what_it_is(run):
    lines = written(run).splitlines()
    for name in prometheus.GAUGES:
        assert f"# TYPE {name} gauge" in lines
        assert any(line.startswith(f"# HELP {name} ") for line in lines)


def test_a_directory_without_artefacts_gives_no_values(tmp_path):
    found = values(written(Workdir(tmp_path)))
    assert found == {("ecdctr_refused_versions", ()): 0}


@pytest.mark.parametrize(
    ("place", "labels"),
    [
        ("e_cdctr/ctr/2024-02-02", of_level("ctr", "e_cdctr")),
        ("export/20240201", of_level("export")),
    ],
)
def test_a_damaged_manifest_costs_the_gauges_of_its_level(run, place, labels):
    before = values(written(run))
    (run.path / place / store.MANIFEST).write_text("{")
    file = run.path / prometheus.FILE
    (said,) = prometheus.write(file, run.levels(), run.path / "export")
    assert f"{place}/{store.MANIFEST} is not a manifest" in said
    after = values(file.read_text("utf-8"))
    assert (
        before["ecdctr_damaged", labels],
        after["ecdctr_damaged", labels],
    ) == (0, 1)
    tpm = "ecdctr_newest_day_timestamp_seconds", of_level("tpm")
    assert after[tpm] == before[tpm]
    assert ("ecdctr_artefacts", labels) not in after


def test_the_stage_writes_where_it_is_asked_to(run, tmp_path):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    file = tmp_path / "collector/ctr.prom"
    with flagsaver.flagsaver(
        stage="monitor", workdir=str(run.path), metrics_file=str(file)
    ):
        train_main.main(["train_main.py"])
    assert values(file.read_text())["ecdctr_auc", E_CDCTR] == 0.7
    assert not (run.path / prometheus.FILE).exists()


def names(expression):
    return set(re.findall(r"\becdctr_\w+", expression))


def rules():
    groups = yaml.safe_load((DEPLOY / "alerts.yaml").read_text("utf-8"))
    return [rule for group in groups["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alerts_read_gauges_that_are_written(rule):
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert names(rule["expr"])
    assert names(rule["expr"]) <= set(prometheus.GAUGES)
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "action"}
    assert rule["expr"].count("(") == rule["expr"].count(")")
    for name, inside in re.findall(r"(ecdctr_\w+)\{(.*?)\}", rule["expr"]):
        used = set(re.findall(r"(\w+)=", inside))
        assert used <= set(prometheus.GAUGES[name][1])


def test_alerts_have_names_of_their_own():
    found = [rule["alert"] for rule in rules()]
    assert len(found) == len(set(found)) > 0


def test_the_page_draws_gauges_that_are_written():
    page = json.loads((DEPLOY / "grafana.json").read_text("utf-8"))
    drawn = set()
    for panel in page["panels"]:
        for target in panel["targets"]:
            assert names(target["expr"]), panel["title"]
            drawn |= names(target["expr"])
    assert drawn == set(prometheus.GAUGES)
    places = [tuple(p["gridPos"][k] for k in "xy") for p in page["panels"]]
    assert len(places) == len(set(places))
    for variable in page["templating"]["list"]:
        assert names(variable["query"]) <= set(prometheus.GAUGES)
