"""`ecdctr-convert --check`: what it counts, and what it warns of."""

import dataclasses
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from absl import flags
from absl.testing import flagsaver

from ecdctr_tf.input import convert
from ecdctr_tf.input.checking import (
    checking,
    measures,
    report,
    sketch,
    warnings,
)
from ecdctr_tf.input.conversion import past_spec, toml_spec

DAY = 86_400
START = 19_723 * DAY  # 2024-01-01


def _spec() -> toml_spec.ConversionSpec:
    return toml_spec.from_dict(
        {
            "logs": [
                {
                    "domain": domain,
                    "path": f"{domain}.csv",
                    "user": "user_id",
                    "item": "item_id",
                    "time": "time",
                    "click": "click",
                }
                for domain in ("natural", "ads")
            ],
            "tables": [
                {"name": "user"},
                {"name": "item", "dtype": "string"},
                {"name": "device", "dtype": "string"},
            ],
            "features": [
                {"name": "user_id", "table": "user", "basic": True},
                {"name": "item_id", "table": "item", "basic": True},
                {"name": "device", "table": "device"},
                {"name": "price", "kind": "dense"},
            ],
        }
    )


def _log(seed: int, rows: int = 1000, days: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "user_id": rng.integers(0, 50, rows),
        "item_id": np.char.add("i", rng.integers(0, 20, rows).astype(str)),
        "device": rng.choice(["tv", "pc"], rows),
        "price": rng.integers(1, 100, rows) / 4,
        "time": START + np.sort(rng.integers(0, days * DAY, rows)),
        "click": rng.integers(0, 2, rows),
    }


def _write(tmp_path, natural: dict, ads: dict) -> None:
    for name, columns in (("natural", natural), ("ads", ads)):
        pyarrow.csv.write_csv(pa.table(columns), tmp_path / f"{name}.csv")


def _found(tmp_path, natural=None, ads=None) -> dict:
    _write(tmp_path, natural or _log(0), ads or _log(1))
    return checking.check(_spec(), tmp_path)


def test_counts_are_those_of_the_logs(tmp_path):
    natural = _log(0)
    found = _found(tmp_path, natural)
    of = found["domains"]["natural"]
    assert of["rows"] == 1000
    assert of["clicks"] == natural["click"].sum()
    assert (of["first"], of["last"]) == (*natural["time"][[0, -1]],)
    assert list(of["days"]) == [f"2024-01-0{i}" for i in (1, 2, 3, 4)]
    first = natural["time"] < START + DAY
    expected = [first.sum(), natural["click"][first].sum()]
    assert of["days"]["2024-01-01"] == expected
    price = found["features"]["price"]
    assert price["kind"] == "number"
    assert price["natural"]["low"] == natural["price"].min()
    assert price["natural"]["mean"] == pytest.approx(natural["price"].mean())
    assert price["natural"]["values"] == len(np.unique(natural["price"]))
    item = found["features"]["item_id"]
    assert item["ads"]["values"] == 20
    assert item["shared_ids"] == item["shared_rows"] == 1
    assert warnings.warnings(found) == []


def test_rows_that_are_dropped_are_said(tmp_path):
    natural = _log(0)
    natural["user_id"] = natural["user_id"].astype(object)
    natural["user_id"][:3] = None
    _write(tmp_path, natural, _log(1))
    spec = dataclasses.replace(_spec(), null_user="drop")
    found = checking.check(spec, tmp_path)
    assert found["domains"]["natural"]["rows"] == 997
    assert warnings.warnings(found) == [
        (
            "3 rows of natural: dropped without user.",
            "Are there as many as you expect?",
        )
    ]


def test_logs_of_clicks_only_are_said_unless_negatives_are_sampled(
    tmp_path, capsys
):
    _write(tmp_path, {**_log(0), "click": np.ones(1000, int)}, _log(1))
    found = checking.check(_spec(), tmp_path)
    report.show(found, [])
    assert "or give [negatives.natural] if the log" in capsys.readouterr().out
    negatives = {"natural": past_spec.Negatives()}
    spec = dataclasses.replace(_spec(), negatives=negatives)
    assert warnings.warnings(checking.check(spec, tmp_path)) == []


def test_json_is_said_to_be_json(tmp_path):
    _write(tmp_path, _log(0), _log(1))
    (tmp_path / "natural.csv").write_text('{"user_id": 1, "item_id": "a"}\n')
    with pytest.raises(ValueError, match="natural.csv is JSON, which is not"):
        checking.check(_spec(), tmp_path)


def test_ads_of_another_id_space_share_nothing_without_a_warning(tmp_path):
    _write(tmp_path, _log(0), _log(1))
    natural, ads = _spec().logs
    ads = dataclasses.replace(ads, id_spaces={"item": "ad"})
    spec = dataclasses.replace(_spec(), logs=(natural, ads))
    found = checking.check(spec, tmp_path)
    assert "shared_rows" not in found["features"]["item_id"]
    assert found["features"]["user_id"]["shared_rows"] == 1
    assert warnings.warnings(found) == []


@pytest.mark.parametrize(
    "value, expected",
    [(0.00021341, "0.0002134"), (88.4957, "88.5"), (123456.7, "123,457")],
)
def test_numbers_are_short(value, expected):
    assert report._number(value) == expected


def test_shared_rows_count_the_ads(tmp_path):
    ads = _log(1, rows=100)
    ads["item_id"] = np.array(["i1"] * 30 + ["new"] * 70)
    item = _found(tmp_path, ads=ads)["features"]["item_id"]
    assert item["shared_ids"] == 0.5
    assert item["shared_rows"] == pytest.approx(0.3)


def _later(log: dict) -> dict:
    return {**log, "time": log["time"] + DAY * (log["time"] >= START + 2 * DAY)}


def _no_clicks_on_last_day(log: dict) -> dict:
    log["click"] = np.where(log["time"] >= START + 3 * DAY, 0, log["click"])
    return log


def _twice(log: dict) -> dict:
    return {name: np.concatenate([v, v[:100]]) for name, v in log.items()}


def _moved(log: dict) -> dict:
    log["price"] = np.where(log["time"] > START + 2 * DAY, 100, log["price"])
    return log


def _short_day(log: dict) -> dict:
    kept = (log["time"] < START + 3 * DAY) | (np.arange(1000) > 995)
    return {name: values[kept] for name, values in log.items()}


@pytest.mark.parametrize(
    "change, message",
    [
        (_later, "1 day of natural without rows: 2024-01-03."),
        (_no_clicks_on_last_day, "On 2024-01-04 of natural all rows have one"),
        (_twice, "9.1 % of the rows of natural repeat user"),
        (_moved, "'price' drifts in natural"),
        (_short_day, "1 day of natural with less than a tenth.*2024-01-04"),
        (
            lambda log: {**log, "click": np.zeros(1000, int)},
            "No row of natural is a click",
        ),
        (
            lambda log: {**log, "click": np.ones(1000, int)},
            "Each row of natural is a click",
        ),
        (
            lambda log: {**log, "device": np.array(["tv"] * 1000)},
            "'device' is constant in natural",
        ),
        (
            lambda log: {**log, "device": np.array(["tv"] * 400 + [""] * 600)},
            "60 % of 'device' are missing in natural",
        ),
        (
            lambda log: {**log, "device": np.array([""] * 1000)},
            "'device' has no value in natural",
        ),
        (
            lambda log: {**log, "user_id": log["user_id"] + 1000},
            "0.0 % of the ad rows have a value of 'user_id'",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path, change, message):
    said = warnings.warnings(_found(tmp_path, change(_log(0))))
    assert any(re.search(message, line) for line, _ in said), said


def test_page_and_console(tmp_path, capsys):
    found = _found(tmp_path, _twice(_log(0)))
    paths = report.write(found, tmp_path / "page")
    report.show(found, paths)
    said = capsys.readouterr().out
    assert "1,100" in said and "repeat user, item and second" in said
    assert json.loads((tmp_path / "page/check.json").read_text()) == found
    page = (tmp_path / "page/index.html").read_text()
    assert "Share of rows that are clicks" in page and "repeat user" in page


def test_command_writes_no_data(tmp_path, capsys):
    _write(tmp_path, _log(0), _log(1))
    spec = tmp_path / "logs.toml"
    spec.write_text(_TOML)
    before = sorted(tmp_path.iterdir())
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(
        check=True, spec=str(spec), source=str(tmp_path), out=None
    ):
        convert.main(["convert"])
    assert "natural" in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == before


_TOML = """
[[logs]]
domain = "natural"
path = "natural.csv"
user = "user_id"
item = "item_id"
time = "time"
click = "click"

[[tables]]
name = "user"
[[tables]]
name = "item"
dtype = "string"

[[features]]
name = "user_id"
table = "user"
basic = true
[[features]]
name = "item_id"
table = "item"
basic = true
"""


def test_days_at_which_a_conversion_stops_are_said(tmp_path):
    """Those of another zone, and those that are far."""
    natural, ads = _log(0, days=1), _log(1)
    natural["time"] += 12 * 3600
    _write(tmp_path, natural, ads)
    (tmp_path / "natural.csv").rename(tmp_path / "2024-01-02.csv")
    ads["time"][-1] += 90 * DAY
    pyarrow.csv.write_csv(pa.table(ads), tmp_path / "ads.csv")
    spec = _spec()
    logs = (dataclasses.replace(spec.logs[0], path="2*.csv"), spec.logs[1])
    spec = dataclasses.replace(spec, logs=logs)
    lines = warnings.warnings(checking.check(spec, tmp_path))
    stops = [said for said, do in lines if do == "A conversion stops here."]
    assert len(stops) == 2
    assert "2024-01-02.csv seems to be of 2024-01-02" in stops[0]
    assert "ads.csv, row 999: the time 2024-04-0" in stops[1]
    with pytest.raises(ValueError, match="2024-01-02.csv seems to be of"):
        convert.convert_logs(spec, tmp_path, tmp_path / "out", progress=False)


def test_lists_are_counted_by_their_entries(tmp_path):
    natural, ads = _log(0), _log(1)
    natural["tags"] = ["a|b", "b|c", "", "c"] * 250
    ads["tags"] = ["c|a", "d:1", "", "b|c"] * 250
    _write(tmp_path, natural, ads)
    spec = _spec()
    tags = toml_spec.Column(
        "tags", "ids", table="device", separator="|", max_length=3
    )
    spec = dataclasses.replace(spec, features=(*spec.features, tags))
    found = checking.check(spec, tmp_path)["features"]["tags"]
    assert found["natural"]["missing"] == found["ads"]["missing"] == 0.25
    assert (found["natural"]["values"], found["ads"]["values"]) == (3, 4)
    assert (found["shared_ids"], found["shared_rows"]) == (3 / 4, 4 / 5)


def test_no_rows_is_an_error(tmp_path):
    nothing = {name: values[:0] for name, values in _log(0).items()}
    with pytest.raises(ValueError, match="There are no rows to check"):
        _found(tmp_path, nothing, nothing)


def test_sketch_is_exact_below_its_size_and_close_above():
    exact, rough = sketch.Sketch(), sketch.Sketch(size=1000)
    for start in range(0, 50_000, 10_000):
        values = sketch.hashes(pa.array(np.arange(start, start + 12_000)))
        exact.add(values)
        rough.add(values)
    assert exact.exact and exact.distinct == 52_000
    # 2,000 values are there twice, four times over.
    assert exact.repeated == 8_000
    assert rough.distinct == pytest.approx(52_000, rel=0.1)
    assert rough.repeated == pytest.approx(8_000, rel=0.3)
    half = sketch.Sketch(size=1000)
    half.add(sketch.hashes(pa.array(np.arange(26_000, 52_000))))
    assert half.shared(rough) == (1.0, 1.0)
    share, _ = rough.shared(half)
    assert share == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    "values",
    [
        ["a", None, "b", "a"],
        [1, None, 2, 1],
        [True, False, None],
        ["", "ä", "\0"],
        [],
    ],
)
def test_hashes_of_like_values_are_alike(values):
    hashed = sketch.hashes(pa.array(values))
    assert len(set(hashed.tolist())) == len(set(values))


def test_instability_of_like_counts_is_nothing():
    counts = np.array([10, 20, 30, 0])
    assert measures.instability(counts, 2 * counts) == pytest.approx(
        0, abs=0.01
    )
    assert measures.instability(counts, np.array([0, 0, 0, 9])) > 1
    assert measures.instability(counts, 0 * counts) is None
