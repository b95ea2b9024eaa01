"""What is said of natural sources before training, and of scored days."""

import json

import numpy as np
import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import features, metrics, windows
from ecdctr_tf.diagnostics import by_source, counting, diagnose, verdicts
from ecdctr_tf.input import streams
from ecdctr_tf.results import scored, slices
from tests import test_sources as world
from tests import training_world

SIZES = {"user": 10, "item": 8}
UNKNOWN = {"user": 1, "item": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return world.make(tmp_path_factory.mktemp("judged") / "data", old=1)


def rows(day, domain, user, item, click, source=None):
    return counting.Rows(
        f"2024-03-0{day}",
        domain,
        np.array(user, np.int32),
        np.array(item, np.int32),
        np.array(click, np.float32),
        np.ones(len(user)),
        None if source is None else np.array(source),
    )


def counted(*parts):
    found = by_source.BySource(("feed", "search"), SIZES, UNKNOWN, "")
    for part in parts:
        found.add(part)
    return found.result()


def small_world():
    """Feed knows user 1 and item 3, search user 2 and items 4 and 5."""
    return [
        rows(1, "natural", [1, 1, 2, 2], [3, 3, 4, 5], [1, 0, 1, 0]).where(
            np.ones(4, bool)
        ),
        rows(2, "ads", [1, 2, 2, 3], [4, 4, 5, 5], [1, 1, 0, 0]),
    ]


def test_each_source_by_hand():
    natural, ads = small_world()
    of = np.array([1, 1, 2, 2])
    natural = rows(1, "natural", natural.user, natural.item, natural.click, of)
    found = counted(natural, ads)
    assert list(found) == ["feed", "search"]
    feed, search = found["feed"], found["search"]
    assert (feed["rows"], feed["clicks"], feed["share"]) == (2, 1, 0.5)
    assert (search["last"], search["ctr"]) == ("2024-03-01", 0.5)
    assert feed["overlap"]["user"]["rows_share"] == 1 / 4
    assert feed["overlap"]["item"]["rows_share"] == 0
    assert search["overlap"]["user"]["rows_share"] == 2 / 4
    assert search["overlap"]["both_share"] == 2 / 4
    # Search liked item 4 more than item 5, as ads do; feed knows neither.
    assert (feed["auc"], search["auc"]) == (0.5, 1)


def test_later_natural_rows_change_nothing():
    natural, ads = small_world()
    of = np.array([1, 1, 2, 2])
    first = rows(1, "natural", natural.user, natural.item, natural.click, of)
    later = rows(2, "natural", [1, 2, 3] * 9, [4, 5, 5] * 9, [0, 1, 1] * 9)
    later = rows(2, "natural", later.user, later.item, later.click, [1] * 27)
    plain, planted = counted(first, ads), counted(first, ads, later)
    for part in ("overlap", "auc"):
        assert plain["feed"][part] == planted["feed"][part]
        assert plain["search"][part] == planted["search"][part]
    assert planted["feed"]["rows"] == 2 + 27


def test_diagnose_has_a_row_for_each_source(data, tmp_path):
    found = diagnose.write(data, [], tmp_path, configs.Config())
    # Day 1 was written without; natural rows from the last ads day on do not
    # count, and there are none.
    assert {n: of["rows"] for n, of in found["sources"].items()} == {
        "unknown": 24,
        "feed": 5 * 24 - 5,
        "search": 3 + 2,
    }
    kept = json.loads((tmp_path / "diagnostics.json").read_text())
    assert kept["sources"]["search"]["overlap"]["user"]["ids"] > 0
    page = (tmp_path / "diagnostics.md").read_text()
    assert "Natural sources" in page and "search" in page
    named = [verdict["name"] for verdict in found["verdicts"]]
    assert "natural sources" in named


def test_diagnose_without_sources_says_nothing_of_them(tmp_path):
    data = training_world.small_data(tmp_path / "data")
    found = diagnose.write(data, [], tmp_path / "out", configs.Config())
    assert "sources" not in found
    assert "ource" not in (tmp_path / "out/diagnostics.md").read_text()


def of(share, either):
    return {"share": share, "overlap": {"either_share": either}}


@pytest.mark.parametrize(
    ("sources", "level", "advice"),
    [
        ({"feed": of(0.6, 0.8), "search": of(0.4, 0.7)}, "good", ""),
        (
            {"feed": of(0.95, 0.8), "search": of(0.05, 0.7)},
            "watch",
            "sources.shares=search:0.2",
        ),
        (
            {"feed": of(0.6, 0.8), "video": of(0.4, 0.01)},
            "watch",
            "--models=e_cdctr,without_video",
        ),
        ({}, "not measured", "no natural rows"),
        ({"feed": of(1.0, None)}, "good", ""),
    ],
)
def test_verdicts_on_sources(sources, level, advice):
    found = verdicts._sources(sources)
    assert found.level == level
    assert advice in found.meaning or advice in found.finding


def scored_day(day, data):
    columns = streams.read_columns(data, "ads", windows.Window(day, day))
    return slices.ScoredDay(
        day,
        columns["click"],
        {"user": columns["user_id"], "item": columns["item_id"]},
        {"a": [columns["price"]]},
    )


def test_slices_by_what_a_source_knows(data):
    days = [scored_day(f"2024-01-0{day}", data) for day in (6, 4)]
    found = scored.by_slice(data, days)
    natural = streams.read_columns(
        data, "natural", world.WEEK, with_source=True
    )
    inside, scores = [], []
    for day in days:
        before = natural["day"] < windows.day_number(day.day)
        users = natural["user_id"][before & (natural[features.SOURCE] == 1)]
        inside.append(np.isin(day.rows["user"], users))
        scores.append(day.ctr["a"][0])
    mask = np.concatenate(inside)
    assert 0 < mask.sum() < len(mask)
    of = found["user_in_feed"]
    assert of["rows"] == mask.sum()
    assert found["user_not_in_feed"]["rows"] == (~mask).sum()
    click = np.concatenate([day.click for day in days])
    assert of["models"]["a"]["auc"]["mean"] == pytest.approx(
        metrics.auc(click[mask], np.concatenate(scores)[mask])
    )
    assert {"item_in_search", "item_not_in_video"} <= set(found)
    assert found["user_in_video"]["rows"] == 0
    assert not [name for name in found if name.endswith("_in_unknown")]


def test_slices_without_sources_are_as_before(tmp_path):
    data = training_world.small_data(tmp_path / "data")
    found = scored.by_slice(data, [scored_day("2024-01-05", data)])
    assert not [name for name in found if "_in_" in name]
