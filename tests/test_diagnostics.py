"""All diagnostics of a data directory: files, verdicts, the stage."""

import json

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

import train_main
from ecdctr_tf import artefacts, diagnostics, features, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.diagnostics import verdicts
from ecdctr_tf.input import data_directory, id_space, streams
from tests import diagnostics_world as world
from tests import test_diagnostics_drift as drift_world


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("diagnostics") / "data"
    return world.make(path, world.ALL, world.ALL, (600, 400))


@pytest.fixture(scope="module")
def of_logs(data, tmp_path_factory):
    return write(data, [], tmp_path_factory.mktemp("of_logs"))


@pytest.fixture
def run_dir(tmp_path, data):
    """Two turned snapshots, and six scored days that E-CDCTR loses."""
    path = tmp_path / "run"
    old = drift_world.random(0, world.USERS)
    for day, vectors in (
        ("2024-01-01", old),
        ("2024-01-02", old @ drift_world.rotation()),
    ):
        tables = {"user": drift_world.table(vectors)}
        drift_world.publish(path / "tpm", day, tables)
    for day in world.ADS_DAYS[1:]:
        window = windows.Window(day, day)
        rows = streams.read_columns(data, "ads", window)
        noise = np.random.default_rng(0).random(len(rows["click"]))
        for model, share in (("ads_only", 0.5), ("e_cdctr", 0.0)):
            manifest = store.Manifest("ctr", window)
            place = path / model / "ctr" / day
            ctr = 0.1 + 0.8 * (share * rows["click"] + (1 - share) * noise)
            with store.publish(place, manifest) as staging:
                np.savez(
                    staging / artefacts.SCORES,
                    ctr=ctr.astype(np.float32),
                    click=rows["click"],
                    user=rows["user_id"],
                    item=rows["item_id"],
                )
    return path


def write(data, run_dirs, out_dir, **values):
    return diagnostics.write(
        data, run_dirs, out_dir, configs.Config(), **values
    )


def levels(found):
    return {v["name"]: v["level"] for v in found["verdicts"]}


def test_logs_alone(data, tmp_path):
    found = write(data, [], tmp_path / "out", notes=["A note."])
    read = json.loads((tmp_path / "out/diagnostics.json").read_text())
    assert read == found
    assert levels(found) == {
        "transfer": "good",
        "overlap": "good",
        "user activity": "good",
        "item activity": "good",
        "domain shift": "good",
        "features": "good",
        "features of one domain": "good",
        "item clicks": "good",
        "snapshot drift": "not measured",
        "negative transfer": "not measured",
    }
    markdown = (tmp_path / "out/diagnostics.md").read_text()
    page = (tmp_path / "out/index.html").read_text()
    for text in (markdown, page):
        assert "A note." in text
        for verdict in found["verdicts"]:
            assert verdict["meaning"] in text
    assert page.count("<svg") == 2
    assert "width=device-width" in page


def test_a_run_adds_drift_and_alarm(data, run_dir, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in run_dir.rglob("*")}
    found = write(data, [run_dir], tmp_path / "out")
    (move,) = found["snapshot_drift"]["user"]
    assert move["after"] < 1e-6
    assert found["alarm"]["level"] == "alarm"
    runs = {run["metric"]: run["days"] for run in found["alarm"]["runs"]}
    assert runs == {"auc": 6, "log_loss": 6}
    assert "all" in {s["slice"] for s in found["alarm"]["slices"]}
    assert levels(found)["snapshot drift"] == "watch"
    assert levels(found)["negative transfer"] == "bad"
    assert levels(found)["transfer"] == "bad"
    assert (tmp_path / "out/index.html").read_text().count("<svg") == 4
    assert {p: p.stat().st_mtime_ns for p in run_dir.rglob("*")} == before


def test_metrics_are_means_over_seeds(data, run_dir, tmp_path):
    other = tmp_path / "other"
    for model, source in (("ads_only", "e_cdctr"), ("e_cdctr", "ads_only")):
        target = other / model / "ctr"
        target.parent.mkdir(parents=True)
        target.symlink_to(run_dir / source / "ctr")
    found = write(data, [run_dir, other], tmp_path / "out")["alarm"]
    # What one seed loses the other one wins.
    assert found["level"] == "good"
    for of in found["metrics"].values():
        assert of["e_cdctr"] == of["ads_only"]


def test_nothing_shared_is_bad(tmp_path):
    data = world.make(tmp_path / "data", world.FIRST, world.SECOND)
    found = levels(write(data, [], tmp_path / "out"))
    assert found["transfer"] == found["overlap"] == "bad"
    assert found["user activity"] == found["item activity"] == "bad"
    # Separable domains forbid nothing by themselves.
    assert found["domain shift"] == "watch"
    assert found["item clicks"] == "not measured"


@pytest.mark.parametrize(
    ("after", "before", "level"),
    [(0.1, 0.2, "good"), (0.2, 1.2, "watch"), (0.8, 0.9, "watch")]
    + [(1.2, 1.4, "bad")],
)
def test_levels_of_drift(of_logs, after, before, level):
    move = {"old": "2024-01-01", "new": "2024-01-31", "ids": 5}
    moves = [{**move, "before": before, "after": after}]
    found = {**of_logs, "snapshot_drift": {"user": moves}}
    result = {v.name: v.level for v in verdicts.verdicts(found)}
    assert result["snapshot drift"] == level


@pytest.mark.parametrize(
    ("spearman", "ceiling", "level"),
    [(0.5, 0.6, "good"), (0.2, 0.6, "watch"), (-0.4, 0.6, "bad")]
    + [(0.1, 0.15, "not measured")],
)
def test_levels_of_item_clicks(of_logs, spearman, ceiling, level):
    items = {
        "items": 30,
        "spearman": spearman,
        "ceiling": ceiling,
        "relative": spearman / ceiling,
    }
    found = {**of_logs, "item_ctr": items}
    result = {v.name: v.level for v in verdicts.verdicts(found)}
    assert result["item clicks"] == level
    expected = {"not measured": "watch"}.get(level, level)
    assert result["transfer"] == expected


def test_hashed_ids_are_noted(data, tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    tables = (
        features.TableSpec("user"),
        features.TableSpec("item", ids="hashing", buckets=41),
    )
    spec = features.DataSpec(tables, world.SPEC.features)
    spec.save(path / data_directory.SPEC)
    users = id_space.new(tables[0])
    users.append(np.arange(1, 61))
    users.save(path / "ids")
    hashed = data_directory.DataDirectory(path)
    rng = np.random.default_rng(0)
    for domain in features.DOMAINS:
        for day in ("2024-01-01", "2024-01-02"):
            rows = world.columns(day, rng=rng, count=50, **world.ALL)
            hashed.write_day(domain, day, [rows], {"user": 61, "item": 41})
    (note,) = write(hashed, [], tmp_path / "out")["notes"]
    assert "'item' are hashed" in note


def test_no_ads_raise(tmp_path):
    days = (world.NATURAL_DAYS, [])
    data = world.make(tmp_path / "data", world.ALL, world.ALL, days=days)
    with pytest.raises(FileNotFoundError, match="ads holds no days"):
        write(data, [], tmp_path / "out")


@pytest.fixture
def command(data):
    def run(**values):
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        values = {"stage": "diagnose", "data_dir": str(data.path), **values}
        with flagsaver.flagsaver(**values):
            train_main.main(["train_main.py"])

    return run


def test_the_stage_needs_a_place_to_write_to(command, capsys):
    with pytest.raises(SystemExit):
        command()
    assert "--workdir is required" in capsys.readouterr().err


def test_the_stage_without_a_run_writes_its_report_only(
    command, tmp_path, capsys
):
    command(report_dir=str(tmp_path / "out"))
    output = capsys.readouterr().out
    assert "negative transfer" in output and f"wrote {tmp_path}" in output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_the_stage_does_not_begin_a_run(command, tmp_path):
    """So that a run can be begun there with any config afterwards."""
    command(workdir=str(tmp_path / "run"))
    names = [p.name for p in (tmp_path / "run").iterdir()]
    assert names == ["diagnostics"]
    files = {p.name for p in (tmp_path / "run/diagnostics").iterdir()}
    assert files == {"diagnostics.json", "diagnostics.md", "index.html"}
