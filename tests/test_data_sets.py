"""One table of comparisons on several data sets, from made-up files."""

import json
import pathlib

import pytest

from ecdctr_tf import metrics
from ecdctr_tf.results import data_sets

LABELS = {
    "e_cdctr": "E-CDCTR",
    "ads_only": "ads only",
    "star": "STAR",
    "keep": "KEEP-like",
    "oracle": "oracle (true CTR)",
    "e_cdctr_history_down": "E-CDCTR, history down",
}


def estimate(mean):
    return {metric: {"mean": mean} for metric in metrics.METRICS}


def apart(mean, noise=0.01):
    """Return the differences of two models in all metrics."""
    found = {"mean": mean, "low": mean - noise, "high": mean + noise}
    return dict.fromkeys(
        metrics.METRICS, found | {"significant": abs(mean) > noise}
    )


def results(aucs, seeds=3):
    """Return what a comparison writes; metrics are all as the AUC."""
    return {
        "models": {model: estimate(auc) for model, auc in aucs.items()},
        "differences": {
            f"e_cdctr - {model}": apart(aucs["e_cdctr"] - auc)
            for model, auc in aucs.items()
            if model not in ("e_cdctr", "oracle")
        },
        "labels": LABELS,
        "days": ["2024-06-14", "2024-06-15"],
        "seeds": [f"seed {i}" for i in range(seeds)],
    }


@pytest.fixture(name="files")
def fixture_files(tmp_path):
    """Two sets; KEEP-like is in the first only."""
    first = {"e_cdctr": 0.70, "ads_only": 0.65, "star": 0.72, "keep": 0.6}
    second = {"e_cdctr": 0.80, "ads_only": 0.795, "star": 0.78}
    first |= {"oracle": 0.9, "e_cdctr_history_down": 0.705}
    second |= {"e_cdctr_history_down": 0.805}
    paths = []
    for name, aucs in (("news", first), ("films", second)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(results(aucs)))
    return [str(path) for path in paths]


def written(files, tmp_path, reference="e_cdctr", notes=()):
    sets = data_sets.read(files)
    return data_sets.write(sets, reference, tmp_path / "out", notes)


def test_ranks_are_means_over_sets_of_the_models_that_all_have(files, tmp_path):
    """Neither the oracle nor a failed history is a model to choose."""
    found = written(files, tmp_path)
    assert found["ranked"] == ["e_cdctr", "ads_only", "star"]
    auc = found["metrics"]["auc"]
    assert {m: of["rank"] for m, of in auc.items()} == {
        "e_cdctr": (2 + 1) / 2,
        "star": (1 + 3) / 2,
        "ads_only": (3 + 2) / 2,
        "keep": None,
        "e_cdctr_history_down": None,
    }
    assert list(auc)[:3] == ["e_cdctr", "star", "ads_only"]
    assert found["notes"] == [
        "Without a rank, since not all data sets have them: KEEP-like."
    ]


def test_lower_is_better_where_it_is(files, tmp_path):
    loss = written(files, tmp_path)["metrics"]["log_loss"]
    assert loss["star"]["rank"] == (3 + 1) / 2
    assert [loss["star"][k] for k in ("better", "level", "worse")] == [1, 0, 1]
    assert [loss["keep"][k] for k in ("better", "level", "worse")] == [1, 0, 0]


def test_better_and_worse_count_what_is_beyond_the_noise(files, tmp_path):
    """Ads only is worse on the first set, and level on the second."""
    auc = written(files, tmp_path)["metrics"]["auc"]
    counts = {
        model: tuple(of[key] for key in ("better", "level", "worse"))
        for model, of in auc.items()
    }
    assert counts == {
        "e_cdctr": (0, 0, 0),
        "star": (1, 0, 1),
        "ads_only": (0, 1, 1),
        "keep": (0, 0, 1),
        "e_cdctr_history_down": (0, 2, 0),
    }
    of = auc["ads_only"]["differences"]["news"]
    assert of["mean"] == pytest.approx(-0.05)
    assert (of["low"], of["high"]) == pytest.approx((-0.06, -0.04))


def test_equal_models_share_their_ranks(tmp_path):
    aucs = {"e_cdctr": 0.7, "ads_only": 0.7, "star": 0.6}
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(results(aucs)))
    files = [str(tmp_path / f"{name}.json") for name in ("a", "b")]
    auc = written(files, tmp_path)["metrics"]["auc"]
    assert [of["rank"] for of in auc.values()] == [1.5, 1.5, 3]


def test_the_page_has_a_row_a_model_and_a_column_a_set(files, tmp_path):
    found = written(files, tmp_path, notes=["A remark."])
    text = (tmp_path / "out" / "data_sets.md").read_text()
    lines = text.splitlines()
    header = "| model | news | films | mean rank | better | level | worse |"
    assert lines.count(header) == len(data_sets._JUDGED)
    rows = lines[lines.index(header) + 2 :]
    assert rows[0] == "| E-CDCTR | 0.7000 | 0.8000 | 1.5 | – | – | – |"
    star = "| STAR | 0.7200 (+0.0200) | 0.7800 (-0.0200) | 2.0 | 1 | 0 | 1 |"
    assert rows[1] == star
    assert rows[2].startswith("| ads only | 0.6500 (-0.0500) | 0.7950 (-0.0050")
    assert "within the noise" in rows[2]
    keep = next(row for row in rows if "KEEP-like" in row)
    assert keep == "| KEEP-like | 0.6000 (-0.1000) | – | – | 0 | 0 | 1 |"
    assert "> A remark." in text
    assert "oracle" not in text
    kept = json.loads((tmp_path / "out" / "data_sets.json").read_text())
    assert kept == {k: v for k, v in found.items() if k != "paths"}
    assert (tmp_path / "out" / "index.html").exists()


def test_the_table_is_printed(files, tmp_path, capsys):
    data_sets.print_table(written(files, tmp_path))
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "STAR" in line)
    assert [c.strip() for c in row.split("│")[1:-1]] == [
        "STAR",
        "0.7200 +",
        "0.7800 −",
        "2.0",
    ]
    assert "data_sets.md" in printed
    assert "Without a rank" in printed


def test_sets_have_names_of_choice_each_one(files):
    sets = data_sets.read([f"mine={files[0]}", files[1]])
    assert [of.name for of in sets] == ["mine", "films"]
    with pytest.raises(ValueError, match=r"two data sets .* 'news'.*mine="):
        data_sets.read([files[0], files[0]])
    with pytest.raises(ValueError, match="twice, as 'mine' and 'news'"):
        data_sets.read([f"mine={files[0]}", files[0]])


def test_few_seeds_are_told(files, tmp_path):
    few = tmp_path / "few.json"
    few.write_text(json.dumps(results({"e_cdctr": 0.7}, seeds=1)))
    notes = written([files[0], str(few)], tmp_path)["notes"]
    told = "few has 1 seed; a choice should be made with at least 3."
    assert notes[0] == told


def test_a_model_without_a_difference_from_the_reference_raises(
    files, tmp_path
):
    with pytest.raises(ValueError, match="no difference of .*star.*reference="):
        written(files, tmp_path, "star")


def test_a_set_without_the_reference_raises(files, tmp_path):
    with pytest.raises(ValueError, match="films.json lacks --reference=keep"):
        written(files, tmp_path, "keep")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "other.json is not JSON"),
        ("[1]", "should be a results.json .* lacks models, differences"),
        ('{"models": {}}', "lacks differences, labels, days, seeds"),
    ],
)
def test_files_that_are_no_results_raise(files, tmp_path, content, message):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        data_sets.read([files[0], str(path)])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("models", {"e_cdctr": {"auc": 0.7}}, "`models` of .* a table whose"),
        ("differences", [], "`differences` of .* should be a table"),
        ("labels", {}, "`labels` of .* lacks e_cdctr, ads_only"),
        ("days", 15, "`days` of .* should be a list"),
        ("seeds", None, "`seeds` of .* should be a list"),
        (
            "differences",
            {"e_cdctr - star": {"auc": {"mean": 0.1}}},
            "auc of e_cdctr - star in .* lacks low, high, significant",
        ),
    ],
)
def test_results_that_were_edited_raise(files, tmp_path, key, value, message):
    edited = json.loads(pathlib.Path(files[0]).read_text())
    path = tmp_path / "edited.json"
    path.write_text(json.dumps({**edited, key: value}))
    with pytest.raises(ValueError, match=message):
        data_sets.read([str(path), files[1]])


def test_missing_files_and_single_sets_raise(files, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json, given as"):
        data_sets.read([files[0], str(tmp_path / "nowhere.json")])
    with pytest.raises(ValueError, match="two data sets or more.*Received: "):
        data_sets.read(files[:1])


def test_an_undefined_metric_ranks_no_model_of_its_set(files, tmp_path):
    """GAUC without users who clicked is neither best nor worst."""
    broken = json.loads(pathlib.Path(files[0]).read_text())
    broken["models"]["star"]["auc"]["mean"] = None
    broken["differences"]["e_cdctr - star"]["auc"] |= {
        "mean": None,
        "low": None,
        "high": None,
        "significant": False,
    }
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(broken))
    auc = written([str(path), files[1]], tmp_path)["metrics"]["auc"]
    assert [auc[m]["rank"] for m in ("e_cdctr", "ads_only", "star")] == [
        1,
        2,
        3,
    ]
    assert auc["star"]["differences"]["broken"]["mean"] is None
    # Level is what was measured to be so.
    assert [auc["star"][k] for k in ("better", "level", "worse")] == [0, 0, 1]
