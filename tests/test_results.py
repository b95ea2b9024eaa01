"""Results of fabricated work directories, with numbers by hand."""

import json
import re
import types
import xml.etree.ElementTree

import numpy as np
import pytest

from ecdctr_tf import config as config_lib
from ecdctr_tf import features, store, windows
from ecdctr_tf.input import data_directory, id_space
from ecdctr_tf.results import (
    coverage,
    details,
    measures,
    report,
    sections,
    text,
)
from ecdctr_tf.results import models as models_lib
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import historical, snapshots

DAYS = ("2024-03-05", "2024-03-06")
# Two users, two impressions each; the first of each is clicked.
CLICK = np.array([1, 0, 1, 0], np.float32)
USER = np.array([1, 1, 2, 2], np.int32)
ITEM = np.array([1, 2, 3, 9], np.int32)
# AUC, by pairs of a clicked and an unclicked row: 4, 3 and 2 of 4. GAUC: in
# the last the second user's is 0, so the mean is 1/2; else all are 1.
PERFECT = [0.9, 0.1, 0.8, 0.2]
GOOD = [0.9, 0.3, 0.2, 0.1]
POOR = [0.9, 0.8, 0.1, 0.2]

SPEC = features.DataSpec(
    tables=(features.TableSpec("user"), features.TableSpec("item")),
    features=(
        features.FeatureSpec("user_id", table="user", side="user"),
        features.FeatureSpec("item_id", table="item", side="item"),
    ),
)


@pytest.fixture(name="data_dir")
def fixture_data_dir(tmp_path):
    return make_data(tmp_path / "data", SPEC)


def make_data(path, spec):
    path.mkdir()
    spec.save(path / "spec.json")
    for table, size in (("user", 2), ("item", 9)):
        ids = np.arange(1, size + 1)
        space = id_space.Vocabulary(features.TableSpec(table), ids)
        space.save(path / "ids")
    data = data_directory.DataDirectory(path)
    rows = {
        "click": CLICK,
        "user_id": USER,
        "item_id": ITEM,
        **{name: np.array(PERFECT) for name in spec.evaluation},
    }
    for day in DAYS:
        rows["timestamp"] = windows.day_number(day) * 86_400 + np.arange(4)
        data.write_day("ads", day, [rows], {"user": 3, "item": 10})
    return path


def publish_level(path, kind, window, rows=0, files=None, seconds=None):
    metrics = {} if seconds is None else {"seconds": seconds}
    manifest = store.Manifest(
        kind=kind, window=window, rows=rows, metrics=metrics
    )
    with store.publish(path, manifest) as staging:
        for name, value in (files or {}).items():
            (staging / name).write_text(json.dumps(value), encoding="utf-8")


def publish_scores(run, model, day, ctr, files=None, click=CLICK):
    window = windows.Window(day, day)
    manifest = store.Manifest("ctr", window, rows=4, metrics={"seconds": 2.0})
    with store.publish(run / model / "ctr" / day, manifest) as staging:
        np.savez(
            staging / "scores.npz",
            ctr=np.array(ctr, np.float32),
            click=click,
            user=USER,
            item=ITEM,
        )
        for name, value in (files or {}).items():
            (staging / name).write_text(json.dumps(value), encoding="utf-8")


def make_run(path, seed, models):
    store.write_text(path / "config.json", json.dumps({"seed": seed}))
    for model, scores in models.items():
        for day, ctr in zip(DAYS, scores, strict=True):
            publish_scores(path, model, day, ctr)
    return path


def write_report(run_dirs, data_dir, out_dir, config=None, notes=()):
    """Return the results and the summary that was written of runs."""
    models, left_out = models_lib.of_workdirs(
        [Workdir(path) for path in run_dirs], config or config_lib.Config()
    )
    found = report.write(
        data_directory.DataDirectory(data_dir),
        models,
        out_dir,
        [*notes, *left_out],
        rescored=False,
    )
    return found, json.loads((out_dir / "summary.json").read_text())


def set_report_first(day):
    return config_lib.override(
        config_lib.Config(), [f"schedule.report_first={day}"]
    )


def test_summary_of_one_seed_by_hand(tmp_path, data_dir):
    run = make_run(
        tmp_path / "run", 0, {"ads_only": [GOOD, POOR], "e_cdctr": [GOOD] * 2}
    )
    out = tmp_path / "report"
    result, summary = write_report([run], data_dir, out)
    models = summary["models"]
    assert list(models) == ["e_cdctr", "ads_only"]
    assert models["ads_only"]["auc"] == pytest.approx((0.75 + 0.5) / 2)
    assert models["e_cdctr"]["auc"] == pytest.approx(0.75)
    assert models["ads_only"]["gauc"] == pytest.approx((1 + 0.5) / 2)
    assert models["e_cdctr"]["gauc"] == 1.0
    assert models["ads_only"]["pcoc"] == pytest.approx((1.5 + 2) / 2 / 2)
    loss = -(np.log(0.9) + np.log(0.7) + np.log(0.2) + np.log(0.9)) / 4
    assert models["e_cdctr"]["log_loss"] == pytest.approx(loss, rel=1e-6)
    assert models["e_cdctr"]["normalized_entropy"] == pytest.approx(
        loss / np.log(2), rel=1e-6
    )
    assert models["e_cdctr"]["auc_std"] is None
    assert summary["averaged_days"] == list(DAYS)
    assert summary["gap_closed"] == {} and summary["seeds"] == ["seed 0"]
    apart = summary["differences"]["e_cdctr - ads_only"]["auc"]
    assert apart["mean"] == pytest.approx(0.125)
    assert apart["days_higher"] == 1 and apart["std"] is None
    assert summary["rows"] == 8 and summary["clicks"] == 4
    assert summary["gauc_users"] == 4 and summary["gauc_dropped_users"] == 0
    written = json.loads((out / "results.json").read_text())
    assert written == {k: v for k, v in result.items() if k != "paths"}
    assert all((out.parent / p).exists() for p in result["paths"])
    names = {"index.html", "results.json", "results.csv", "results.md"}
    names |= {"summary.json", "summary.md", "plots"}
    assert {path.name for path in out.iterdir()} == names


def test_summary_of_seeds_by_hand(tmp_path):
    spec = features.DataSpec(
        SPEC.tables, SPEC.features, evaluation=("true_ctr",)
    )
    data_dir = make_data(tmp_path / "data", spec)
    runs = [
        make_run(
            tmp_path / "seed-0",
            0,
            {"ads_only": [POOR] * 2, "e_cdctr": [GOOD] * 2},
        ),
        make_run(
            tmp_path / "seed-1",
            1,
            {"ads_only": [POOR] * 2, "e_cdctr": [PERFECT] * 2},
        ),
    ]
    _, result = write_report(runs, data_dir, tmp_path / "report")
    models = result["models"]
    assert list(models) == ["oracle", "e_cdctr", "ads_only"]
    assert models["oracle"]["auc"] == 1.0
    # 0.75 and 1: mean 0.875, deviation sqrt(2 * 0.125 ** 2)
    assert models["e_cdctr"]["auc"] == pytest.approx(0.875)
    assert models["e_cdctr"]["auc_std"] == pytest.approx(0.125 * 2**0.5)
    assert models["ads_only"]["auc_std"] == 0.0
    # (0.875 - 0.5) / (1 - 0.5)
    assert result["gap_closed"]["auc"] == pytest.approx(0.75)
    assert result["gap_closed"]["gauc"] == pytest.approx(1.0)
    apart = result["differences"]["e_cdctr - ads_only"]["auc"]
    assert apart["mean"] == pytest.approx(0.375)
    assert apart["std"] == pytest.approx(0.125 * 2**0.5)
    # Where the first user alone is drawn, all models are right.
    assert (apart["low"], apart["high"]) == pytest.approx((0.0, 1.0))
    assert result["seeds"] == ["seed 0", "seed 1"]


def test_report_first_leaves_days_out_of_means(tmp_path, data_dir):
    run = make_run(tmp_path / "run", 0, {"ads_only": [GOOD, POOR]})
    found, result = write_report(
        [run], data_dir, tmp_path / "report", set_report_first(DAYS[1])
    )
    assert result["models"]["ads_only"]["auc"] == pytest.approx(0.5)
    assert result["models"]["ads_only"]["gauc"] == pytest.approx(0.5)
    assert result["averaged_days"] == [DAYS[1]]
    assert list(found["by_day"]) == list(DAYS)


def test_report_first_after_all_days_raises(tmp_path, data_dir):
    run = make_run(tmp_path / "run", 0, {"ads_only": [GOOD, GOOD]})
    with pytest.raises(ValueError, match="scored days are 2024-03-05"):
        write_report(
            [run], data_dir, tmp_path / "out", set_report_first("2025-01-01")
        )


def test_only_days_that_all_models_scored_count(tmp_path, data_dir):
    run = make_run(tmp_path / "run", 0, {"ads_only": [GOOD, POOR]})
    publish_scores(run, "e_cdctr", DAYS[0], PERFECT)
    _, result = write_report([run], data_dir, tmp_path / "report")
    assert result["averaged_days"] == [DAYS[0]]
    assert result["models"]["ads_only"]["auc"] == 0.75


def test_no_scored_day_raises(tmp_path, data_dir):
    with pytest.raises(ValueError, match="--stage=ctr"):
        write_report([tmp_path / "run"], data_dir, tmp_path / "out")


def test_no_common_day_raises(tmp_path, data_dir):
    publish_scores(tmp_path / "run", "ads_only", DAYS[0], GOOD)
    publish_scores(tmp_path / "run", "e_cdctr", DAYS[1], GOOD)
    with pytest.raises(ValueError, match="No day was scored by all"):
        write_report([tmp_path / "run"], data_dir, tmp_path / "out")


def test_scores_of_other_rows_raise(tmp_path, data_dir):
    run = make_run(tmp_path / "run", 0, {"ads_only": [GOOD, POOR]})
    publish_scores(run, "e_cdctr", DAYS[0], GOOD, click=1 - CLICK)
    with pytest.raises(ValueError, match="scored different rows of 2024-03-05"):
        write_report([run], data_dir, tmp_path / "out")


def test_model_that_one_seed_lacks_is_left_out_and_noted(tmp_path, data_dir):
    runs = [
        make_run(tmp_path / "a", 0, {"ads_only": [GOOD] * 2}),
        make_run(
            tmp_path / "b", 1, {"ads_only": [GOOD] * 2, "e_cdctr": [POOR] * 2}
        ),
    ]
    result, _ = write_report(runs, data_dir, tmp_path / "report")
    assert list(result["models"]) == ["ads_only"]
    expected = "e_cdctr is left out: seed 0 has no scored day of it."
    assert result["notes"][0] == expected


def make_full_run(tmp_path):
    run = make_run(
        tmp_path / "run",
        0,
        {"ads_only": [POOR] * 2, "cpm_finetune": [GOOD] * 2},
    )
    window = windows.Window("2024-02-01", "2024-03-04")
    curve = [{"step": 1, "rows": 50, "loss": 0.7}]
    curve.append({"step": 2, "rows": 90, "loss": 0.6})
    publish_level(
        run / "tpm/2024-03-04", "snapshot", window, 90, {"curve.json": curve}, 6
    )
    for last in ("2024-03-04", "2024-03-05"):
        of_version = windows.Window("2024-02-01", last)
        publish_level(run / "historical" / last, "historical", of_version)
    publish_level(
        run / "e_cdctr/cpm/2024-03-04",
        "cpm",
        window,
        80,
        {"curve.json": curve},
        120,
    )
    restored = {
        "name": "cross/kernel",
        "status": "restored",
        "shape": [4, 2],
        "rows_restored": 4,
        "norm_before": 1.5,
        "norm_after": 2.5,
    }
    files = {"restore.json": {"variables": [restored]}, "curve.json": curve}
    publish_scores(run, "e_cdctr", DAYS[0], PERFECT, files)
    publish_scores(run, "e_cdctr", DAYS[1], PERFECT, {"curve.json": curve})
    return run


def know_some(path, id_spaces):
    # Users 1, 2 in both versions; items 1, 2, and 3 in the one of the 5th.
    items = [1, 2] if path.name == "2024-03-04" else [1, 2, 3]
    return {"user": (np.array([1, 2]), None), "item": (np.array(items), None)}


def test_page_holds_everything_and_nothing_external(
    tmp_path, data_dir, monkeypatch
):
    monkeypatch.setattr(historical, "read", know_some)
    run = make_full_run(tmp_path)
    note = "Negatives are sampled: <log loss> levels are artificial."
    result, _ = write_report([run], data_dir, tmp_path / "report", notes=[note])
    page = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    for part in (
        "&lt;log loss&gt;",
        "cross/kernel",
        "4 × 2",
        "2 min 00 s",
        "2024-02-01..2024-03-04",
        "TPM training",
        "CPM training",
        "Rows with historical embeddings",
        "E-CDCTR − ads only",
        "user_covered",
        "Negative transfer",
    ):
        assert part in page, part
    assert not re.search(r"<(script|link|img|iframe)|@import|url\(h", page)
    assert not re.search(r'(src|href)="(?!#)', page)
    assert str(tmp_path) not in page
    svgs = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    assert len(svgs) == 10
    ids = [set(re.findall(r'<clipPath id="(.*?)"', svg)) for svg in svgs]
    assert sum(map(len, ids)) == len(set().union(*ids))
    for svg in svgs:
        xml.etree.ElementTree.fromstring(svg)
    # The user is always known; items 1 and 2 on the 5th, 1 to 3 on the 6th.
    assert result["coverage"][DAYS[0]] == {
        "rows": 4,
        "user": 1.0,
        "item": 0.5,
        "both": 0.5,
    }
    assert result["coverage"][DAYS[1]]["item"] == 0.75
    levels = result["costs"]["e_cdctr"]
    assert levels["tpm"]["rows"] == levels["cpm"]["rows"] == 90
    assert levels["ctr"]["seconds"] == 2.0 and levels["ctr"]["rows"] == 90
    assert levels["ctr"]["refreshes"] == 2
    assert levels["cpm"]["windows"] == ["2024-02-01..2024-03-04"]
    assert result["costs"]["ads_only"]["ctr"]["rows"] == 4
    assert result["alarm"]["level"] == "good"
    markdown = (tmp_path / "report/summary.md").read_text(encoding="utf-8")
    assert "| E-CDCTR | 1.0000 [" in markdown and f"> {note}" in markdown
    assert "cross/kernel" not in markdown
    for name in ("auc", "gauc", "auc_by_day", "auc_lift"):
        png = (tmp_path / f"report/plots/{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG")


def test_report_can_be_written_again(tmp_path, data_dir):
    run = make_run(tmp_path / "run", 0, {"ads_only": [GOOD] * 2})
    pages = []
    for _ in range(2):
        write_report([run], data_dir, tmp_path / "report")
        pages.append((tmp_path / "report/index.html").read_bytes())
    assert pages[0] == pages[1]
    assert not list((tmp_path / "report").rglob(".staging*"))


@pytest.mark.parametrize(
    "name",
    [
        f"e_cdctr/ctr/{DAYS[0]}/scores.npz",
        f"e_cdctr/ctr/{DAYS[0]}/restore.json",
        f"e_cdctr/ctr/{DAYS[1]}/curve.json",
        "e_cdctr/cpm/2024-03-04/curve.json",
        "tpm/2024-03-04/curve.json",
    ],
)
@pytest.mark.parametrize("text", ["[]", None])
def test_files_that_changed_since_they_were_published_raise(
    tmp_path, data_dir, monkeypatch, name, text
):
    """No number of the page comes from them, and none is silently missing."""
    monkeypatch.setattr(historical, "read", know_some)
    file = make_full_run(tmp_path) / name
    error = FileNotFoundError if text is None else ValueError
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(error, match=f"{file}.*Delete"):
        write_report([tmp_path / "run"], data_dir, tmp_path / "report")
    assert not (tmp_path / "report/index.html").exists()


def test_damaged_config_is_named(tmp_path, data_dir):
    run = make_run(tmp_path / "run", 0, {"e_cdctr": [GOOD] * 2})
    (run / "config.json").write_text("{")
    with pytest.raises(
        ValueError, match=f"{run}/config.json is not JSON.*Delete it"
    ):
        write_report([run], data_dir, tmp_path / "report")


def test_curves_join_the_days_of_a_ctr_model(tmp_path):
    run = Workdir(make_full_run(tmp_path))
    models, _ = models_lib.of_workdirs([run], config_lib.Config())
    lines = {of["label"]: of for of in details.curves(models)["ctr"]}
    line = lines["E-CDCTR"]
    assert line["rows"] == [50, 90, 140, 180]
    assert line["loss"] == [0.7, 0.6, 0.7, 0.6]


def publish_versions(tmp_path):
    """Publish what snapshots of three days know; return the work directory."""
    spaces = {"user": id_space.Vocabulary(SPEC.tables[0], [70, 80, 90])}
    ids = {name: space.fingerprint() for name, space in spaces.items()}
    for last, users in (
        ("2024-03-02", [70]),
        ("2024-03-04", [90, 70]),
        ("2024-03-06", [80]),
    ):
        window = windows.Window(last, last)
        manifest = store.Manifest(snapshots.KIND, window, ids=ids)
        table = snapshots.SnapshotTable(
            np.array(users),
            np.ones((len(users), 2), np.float32),
            np.ones(len(users), np.int64),
        )
        snapshot = tmp_path / "tpm" / last
        with store.publish(snapshot, manifest) as staging:
            snapshots.write(staging, {"user": table})
        historical.aggregate(
            [snapshot],
            tmp_path / "historical" / last,
            config_lib.HistoryConfig(aggregation="concat"),
        )
    return spaces


@pytest.mark.parametrize(
    ("aggregation", "slots", "expected"),
    [
        # Before all versions, the first one, and the next but from the 5th on.
        (
            "mean",
            1,
            {"2024-03-03": [1], "2024-03-04": [1], "2024-03-05": [1, 3]},
        ),
        ("concat", 2, {"2024-03-06": [1, 3], "2024-03-07": [1, 2, 3]}),
    ],
)
def test_held_is_what_versions_from_before_the_day_know(
    tmp_path, aggregation, slots, expected
):
    spaces = publish_versions(tmp_path)
    found = coverage.held(
        tmp_path / "historical",
        ["2024-03-02", *expected],
        types.SimpleNamespace(spec=SPEC, id_spaces=spaces),
        config_lib.HistoryConfig(aggregation, slots),
    )
    # Row 0 is of unknown ids; 70 has row 1, 80 row 2, 90 row 3.
    rows = {day: of["user"].tolist() for day, of in found.items()}
    assert rows == expected


def test_undefined_numbers_are_null_and_dashes(tmp_path, data_dir):
    """No click at all: no AUC, no PCOC, and no NaN in any file."""
    run = tmp_path / "run"
    for model in ("ads_only", "e_cdctr"):
        for day in DAYS:
            publish_scores(run, model, day, GOOD, click=np.zeros(4, np.float32))
    out = tmp_path / "report"
    _, summary = write_report([run], data_dir, out)
    assert summary["models"]["e_cdctr"]["auc"] is None
    assert summary["models"]["e_cdctr"]["log_loss"] > 0
    for path in out.glob("*.json"):
        assert not re.search(r"\b(NaN|Infinity)\b", path.read_text()), path
    assert "| E-CDCTR | \N{EN DASH} | " in (out / "results.md").read_text()


def test_json_holds_null_for_what_is_not_finite():
    values = {"a": [np.nan, 1.5, {"b": (np.inf, "c")}], "d": True}
    expected = {"a": [None, 1.5, {"b": [None, "c"]}], "d": True}
    assert json.loads(text.to_json(values)) == expected


def test_gap_closed_by_hand():
    models = {
        "oracle": {"auc": 0.8, "gauc": 0.6, "log_loss": 0.3},
        "ads_only": {"auc": 0.6, "gauc": 0.7, "log_loss": 0.5},
        "e_cdctr": {"auc": 0.7, "gauc": 0.5, "log_loss": 0.35},
    }
    for values in models.values():
        values["normalized_entropy"] = 0.9
    shares = measures.gap_closed(models, "e_cdctr")
    assert shares["auc"] == pytest.approx(0.5)
    assert shares["log_loss"] == pytest.approx(0.75)
    # An oracle below or level with ads-only leaves no gap to close.
    assert shares["gauc"] is None and shares["normalized_entropy"] is None
    assert measures.gap_closed({"ads_only": {}}, "e_cdctr") == {}


def test_pairs_are_those_of_e_cdctr_the_mixture_and_ads_only():
    names = ["oracle", "e_cdctr", "ads_only", "no_regret", "ctnet"]
    assert measures.pairs(names) == [
        ("e_cdctr", "ads_only"),
        ("e_cdctr", "no_regret"),
        ("e_cdctr", "ctnet"),
        ("no_regret", "ads_only"),
        ("no_regret", "ctnet"),
        ("ctnet", "ads_only"),
    ]
    assert measures.pairs(["ctnet", "ads_only"]) == [("ctnet", "ads_only")]


def test_print_table_by_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "140")
    spec = features.DataSpec(
        SPEC.tables, SPEC.features, evaluation=("true_ctr",)
    )
    data_dir = make_data(tmp_path / "data", spec)
    run = make_run(
        tmp_path / "run", 0, {"ads_only": [POOR] * 2, "e_cdctr": [GOOD] * 2}
    )
    result, _ = write_report([run], data_dir, tmp_path / "report")
    capsys.readouterr()
    sections.print_table(result)
    lines = capsys.readouterr().out.splitlines()
    row = next(
        line
        for line in lines
        if "\N{BOX DRAWINGS LIGHT VERTICAL}E-CDCTR" in line
    )
    numbers = re.findall(r"[-+]?[\d.]+(?: %)?", row)
    assert numbers[:3] == ["0.7500", "1.0000", "+0.2500"]
    assert numbers[-1] == "50 %"
    assert any("index.html" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "–"), (42, "42.0 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")],
)
def test_duration(seconds, expected):
    assert text.duration(seconds) == expected
