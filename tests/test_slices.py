"""Slices of scored rows, by hand, and that no later day changes them."""

import dataclasses

import numpy as np
import pytest

from ecdctr_tf import artefacts, features, metrics, model_table, store, windows
from ecdctr_tf import config as config_lib
from ecdctr_tf.results import coverage, models, scored, slices
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import historical
from tests import conftest

DAYS = ("2024-03-03", "2024-03-05")
# Users 1 and 2 stand before the first scored day, 3 from that day on.
ADS = {
    "2024-03-01": {"user": [1, 1, 2], "item": [4, 5, 5]},
    "2024-03-02": {"user": [1, 0, 0], "item": [5, 4, 4]},
    "2024-03-03": {"user": [3, 3, 1], "item": [6, 6, 4]},
    "2024-03-04": {"user": [3, 2, 2], "item": [6, 6, 6]},
}
UNKNOWN = {"user": 1, "item": 1}


def make_day(day=DAYS[0], held=None):
    return slices.ScoredDay(
        day,
        np.array([1, 0, 0, 1], np.float32),
        {"user": np.array([1, 2, 3, 0]), "item": np.array([4, 5, 6, 9])},
        {
            "a": [np.array([0.9, 0.2, 0.3, 0.6], np.float32)],
            "b": [np.array([0.1, 0.4, 0.3, 0.2], np.float32)],
        },
        held or {},
    )


def random_world(seed, days=6, rows=200, scored=(3, 5)):
    """Return scored days and all ads days; the scored are among the latter."""
    rng = np.random.default_rng(seed)
    names = [f"2024-03-{day:02d}" for day in range(1, days + 1)]
    ads = {
        day: {
            "user": (rng.random(rows) ** 3 * 90).astype(np.int32),
            "item": (rng.random(rows) ** 3 * 200).astype(np.int32),
        }
        for day in names
    }
    result = []
    for i in scored:
        held = {
            "user": np.arange(0, 90, 2),
            "item": np.arange(1, 200, 3),
        }
        ctr = {m: [np.round(rng.random(rows), 2)] for m in ("a", "b")}
        click = (rng.random(rows) < 0.3).astype(np.float32)
        result.append(
            slices.ScoredDay(names[i], click, ads[names[i]], ctr, held)
        )
    return result, ads


def test_rows_before_by_hand():
    ads = {day: columns["user"] for day, columns in ADS.items()}
    rows = np.array([1, 2, 3, 0, 77])
    scored = [(day, rows) for day in ("2024-03-05", "2024-03-03", "2024-03-01")]
    found = slices.rows_before(ads, scored)
    assert found[0].tolist() == [4, 3, 3, 2, 0]
    assert found[1].tolist() == [3, 1, 0, 2, 0]
    assert found[2].tolist() == [0, 0, 0, 0, 0]
    known = slices.rows_before(ads, scored, unknown=2)
    assert known[0].tolist() == [0, 3, 3, 0, 0]


def test_rows_before_of_nothing():
    assert slices.rows_before({}, []) == []
    assert slices.rows_before({}, [("2024-03-01", [5])])[0].tolist() == [0]


def test_masks_by_hand(monkeypatch):
    monkeypatch.setattr(slices, "TAIL", 1)
    day = make_day(held={"item": np.array([9, 5])})
    before = {"user": np.array([3, 1, 0, 0]), "item": np.array([0, 1, 2, 9])}
    found = slices.masks(day, before)
    expected = {
        "user_new": [0, 0, 1, 1],
        "user_tail": [0, 1, 1, 1],
        "item_new": [1, 0, 0, 0],
        "item_tail": [1, 1, 0, 0],
        "item_covered": [0, 1, 0, 1],
    }
    opposites = {"new": "known", "tail": "head", "covered": "uncovered"}
    assert len(found) == 2 * len(expected)
    for name, mask in expected.items():
        role, _, side = name.partition("_")
        assert found[name].tolist() == [bool(m) for m in mask]
        opposite = found[f"{role}_{opposites[side]}"]
        assert opposite.tolist() == [not m for m in mask]


def test_by_slice_by_hand(monkeypatch):
    monkeypatch.setattr(slices, "TAIL", 1)
    found = slices.by_slice([make_day()], ADS, unknown=UNKNOWN)
    assert found["all"]["rows"] == 4 and found["all"]["clicks"] == 2
    # a: clicked 0.9 and 0.6 above both; b: 0.1 and 0.2 below both.
    assert found["all"]["models"]["a"]["auc"]["mean"] == 1.0
    assert found["all"]["models"]["b"]["auc"]["mean"] == 0.0
    # Known are users 1 and 2: one clicked and one unclicked row.
    known = found["user_known"]
    assert (known["rows"], known["clicks"]) == (2, 1)
    assert known["models"]["b"]["auc"]["mean"] == 0.0
    assert known["models"]["b"]["gauc"]["mean"] is None
    loss = -(np.log(0.9) + np.log(0.8)) / 2
    assert known["models"]["a"]["log_loss"]["mean"] == pytest.approx(loss)
    # Only user 1, with three earlier rows, is of the head.
    assert found["user_head"]["rows"] == 1
    assert found["user_head"]["models"]["a"]["auc"]["mean"] is None
    assert not any("covered" in name for name in found)


def test_ids_that_are_unknown_are_new():
    # User 0 has two earlier rows, of whoever was unknown then.
    found = slices.by_slice([make_day()], ADS, unknown=UNKNOWN)
    assert found["user_new"]["rows"] == 2
    assert slices.by_slice([make_day()], ADS)["user_new"]["rows"] == 1


def test_a_slice_of_no_rows_has_no_metrics():
    found = slices.by_slice([make_day("2024-03-01")], ADS)["user_known"]
    assert (found["rows"], found["clicks"]) == (0, 0)
    assert list(found["models"]) == ["a", "b"]
    for of_metric in found["models"].values():
        assert list(of_metric) == list(metrics.METRICS)
        assert all(of["mean"] is None for of in of_metric.values())


@pytest.mark.parametrize("tail", [0, 5])
def test_by_slice_equals_a_loop_over_rows(tail, monkeypatch):
    monkeypatch.setattr(slices, "TAIL", tail)
    days, ads = random_world(0)
    found = slices.by_slice(days, ads, {"user": 1})
    expected = {name: [] for name in found}
    for day in days:
        for n in range(len(day.click)):
            row = (
                day.click[n],
                day.rows["user"][n],
                *(day.ctr[model][0][n] for model in ("a", "b")),
            )
            expected["all"].append(row)
            for role in slices.ROLES:
                mine = day.rows[role][n]
                times = sum(
                    int(other == mine)
                    for name, columns in ads.items()
                    if name < day.day
                    for other in columns[role]
                )
                if role == "user" and mine == 0:
                    times = 0
                covered = mine in day.held[role].tolist()
                for name in (
                    "known" if times else "new",
                    "tail" if times <= tail else "head",
                    "covered" if covered else "uncovered",
                ):
                    expected[f"{role}_{name}"].append(row)
    assert len(found) == 13
    for name, rows in expected.items():
        assert found[name]["rows"] == len(rows) > 0
        click, user, *ctr = zip(*rows, strict=True)
        for model, scores in zip(("a", "b"), ctr, strict=True):
            values = metrics.evaluate(click, scores, user)
            for metric, of in found[name]["models"][model].items():
                expected = values[metric]
                assert of["mean"] == pytest.approx(expected, rel=1e-12)


def test_a_planted_later_day_changes_nothing():
    days, ads = random_world(1)
    expected = slices.by_slice(days, ads)
    # Everyone seen a hundred times, on the last scored day and after it.
    crowd = {role: np.repeat(np.arange(200), 100) for role in slices.ROLES}
    last = days[-1].day
    for planted in (last, "2024-03-30"):
        assert slices.by_slice(days, {**ads, planted: crowd}) == expected
    before = {**ads, "2024-02-01": crowd}
    assert slices.by_slice(days, before) != expected


def test_a_day_between_scored_days_counts_for_the_later_one_only():
    days, ads = random_world(2)
    crowd = {role: np.repeat(np.arange(200), 100) for role in slices.ROLES}
    between = {**ads, "2024-03-05": crowd}
    assert days[0].day < "2024-03-05" < days[1].day
    first, second = ([day] for day in days)
    assert slices.by_slice(first, between) == slices.by_slice(first, ads)
    assert slices.by_slice(second, between) != slices.by_slice(second, ads)


def test_days_without_history_are_not_in_covered_slices():
    days, ads = random_world(3)
    bare = dataclasses.replace(days[0], held={})
    found = slices.by_slice([bare, days[1]], ads)
    covered = found["user_covered"]["rows"] + found["user_uncovered"]["rows"]
    assert covered == len(days[1].click)
    assert found["all"]["rows"] == 2 * covered


def test_unknown_rows_are_the_buckets_of_vocabularies():
    spec = features.DataSpec(
        tables=(
            features.TableSpec("user", buckets=3),
            features.TableSpec("item", ids="hashing", buckets=100),
        ),
        features=(
            features.FeatureSpec("user_id", table="user", side="user"),
            features.FeatureSpec("item_id", table="item", side="item"),
        ),
    )
    assert scored.unknown_rows(spec) == {"user": 3, "item": 0}


def test_read_ads_gives_the_days_before(tiny_data):
    last = conftest.ADS_DAYS[2]
    found = scored.read_ads(tiny_data, last)
    assert list(found) == conftest.ADS_DAYS[:2]
    number = np.arange(60, 70)
    first = found[conftest.ADS_DAYS[0]]
    assert first["user"].tolist() == (1 + number % 4).tolist()
    assert first["item"].tolist() == (1 + number % 6).tolist()


def publish_scores(path, model, window, item):
    manifest = store.Manifest("ctr", window)
    with store.publish(path / model / "ctr" / window.last, manifest) as staging:
        np.savez(
            staging / artefacts.SCORES,
            ctr=np.array([0.9, 0.2], np.float32),
            click=np.array([1, 0], np.float32),
            user=np.array([1, 2], np.int32),
            item=np.array(item, np.int32),
        )


def models_of(*paths, names=("a", "b")):
    """Return models whose runs, one a seed, are in directories."""
    runs = tuple(Workdir(path) for path in paths)
    config = config_lib.Config()
    return [
        models.Model(model_table.ModelRow(name, name, "none"), config, runs)
        for name in names
    ]


def test_slices_count_from_the_first_of_days_scored_together(
    tmp_path, tiny_data, monkeypatch
):
    window = windows.Window("2024-03-03", "2024-03-04")
    for model in ("a", "b"):
        publish_scores(tmp_path, model, window, [4, 5])
    data = without_truth(tiny_data)
    held = {"user": np.array([2])}
    day = scored.read(data, models_of(tmp_path), window.last, held)
    assert day.day == window.first
    assert day.rows["item"].tolist() == [4, 5]
    assert list(day.ctr) == ["a", "b"]
    asked = []

    def read_ads(data, last):
        asked.append(last)
        return ADS

    monkeypatch.setattr(scored, "read_ads", read_ads)
    found = scored.by_slice(data, [day])
    assert asked == [window.first]
    assert found["user_covered"]["rows"] == 1
    assert found["item_known"]["rows"] == 2


def without_truth(data):
    """Return the data as of a spec without evaluation columns."""
    spec = dataclasses.replace(data.spec, evaluation=())
    data.__dict__["spec"] = spec
    return data


def test_metrics_of_slices_are_means_over_seeds_with_differences():
    day = make_day()
    (first,), (second,) = day.ctr.values()
    ctr = {"m": [first, second], "n": [second, second]}
    day = dataclasses.replace(day, ctr=ctr)
    found = slices.by_slice([day], ADS, pairs=[("m", "n")])["all"]
    assert found["models"]["m"]["auc"]["mean"] == pytest.approx((1 + 0) / 2)
    apart = found["differences"]["m - n"]["auc"]
    assert apart["mean"] == pytest.approx(0.5)
    assert apart["low"] <= apart["mean"] <= apart["high"]


def test_scores_of_other_rows_raise(tmp_path, tiny_data):
    window = windows.Window("2024-03-03", "2024-03-03")
    publish_scores(tmp_path, "a", window, [4, 5])
    publish_scores(tmp_path, "b", window, [4, 6])
    with pytest.raises(
        ValueError, match="scored different rows.*'item' differs"
    ):
        scored.read(without_truth(tiny_data), models_of(tmp_path), window.last)


@pytest.mark.parametrize(
    ("aggregation", "user"), [("last", [3]), ("attention", [1, 3])]
)
def test_held_rows_are_what_coverage_counts(
    tmp_path, tiny_data, monkeypatch, aggregation, user
):
    day = "2024-03-05"
    known = {"2024-03-02": [1], "2024-03-03": [3], "2024-03-05": [0, 1, 2]}
    for last in known:
        manifest = store.Manifest("historical", windows.Window(last, last))
        with store.publish(tmp_path / "historical" / last, manifest):
            pass

    def read(path, id_spaces):
        # The newest version is seen from the 6th on, after the day.
        assert path.name < day
        return {"user": (np.array(known[path.name]), None)}

    monkeypatch.setattr(historical, "read", read)
    history = config_lib.HistoryConfig(aggregation=aggregation, snapshots=2)
    directory = tmp_path / "historical"
    held = coverage.held(directory, [day], tiny_data, history)
    assert list(held) == [day] and list(held[day]) == ["user"]
    assert held[day]["user"].tolist() == user
    rows = {"user": np.array([1, 2, 3]), "item": np.array([4, 5, 6])}
    shares = coverage.shares(rows, held[day])
    assert shares == {"rows": 3, "user": len(user) / 3}
    ctr = {"a": [np.ones(3)]}
    of_day = slices.ScoredDay(day, np.ones(3), rows, ctr, held[day])
    found = slices.by_slice([of_day], {})
    assert found["user_covered"]["rows"] == len(user)
    assert coverage.held(directory, ["2024-03-01"], tiny_data, history) == {}


def test_mean_coverage_is_of_the_rows_of_all_days():
    by_day = {
        "2024-03-01": {"rows": 1, "user": 1.0},
        "2024-03-02": {"rows": 3, "user": 0.0},
    }
    assert coverage.mean(by_day) == {"user": 0.25}
    assert coverage.mean({}) == {}
