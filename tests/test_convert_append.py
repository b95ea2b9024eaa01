"""Days appended in any number of steps give what one conversion gives."""

import json

import numpy as np
import pyarrow as pa
import pytest
from absl import flags
from absl.testing import flagsaver

from ecdctr_tf import store
from ecdctr_tf.input import convert, data_directory
from ecdctr_tf.input.conversion import converter, state
from tests import conversion_world as world

LAST = "2024-01-07"
DRAWN = {"per_click": 2, "window_seconds": 43_200, "seed": 3}
# Several buckets, hashed rows, rows for ids of several events only.
TABLES = [
    {"name": "user", "buckets": 3},
    {"name": "item", "dtype": "string", "buckets": 2},
    {"name": "group", "ids": "hashing", "buckets": 5},
    {"name": "device", "dtype": "string"},
    {"name": "hour"},
    {"name": "weekday"},
]
ADMISSION = {"tables": TABLES, "min_count": {"user": 6, "item": 12}}
# Changes of the spec; for each domain whether it has clicks only, and the
# days with events, of 0 to 6.
WORLDS = {
    "clicks of both": ({}, {"natural": (False, 7), "ads": (False, 7)}),
    "admission and a domain that begins late": (
        ADMISSION,
        {"natural": (False, 7), "ads": (False, (2, 3, 5, 6))},
    ),
    "drawn beside ads": (
        {**ADMISSION, "negatives": {"natural": DRAWN}},
        {"natural": (True, 7), "ads": (False, 7)},
    ),
    "drawn, and a domain that ends early": (
        {**ADMISSION, "negatives": {"natural": DRAWN}},
        {"natural": (True, 7), "ads": (False, (0, 1))},
    ),
    "drawn ads that begin late, days without events": (
        {"negatives": {"ads": DRAWN}},
        {"natural": (False, (0, 1, 5)), "ads": (True, (1, 2, 6))},
    ),
    "drawn in both, days of neither": (
        {"negatives": {"natural": DRAWN, "ads": DRAWN}},
        {"natural": (True, (0, 1, 4, 5, 6)), "ads": (True, (0, 4, 6))},
    ),
    "days in the window of neither": (
        {},
        {"natural": (False, (0, 1, 6)), "ads": (False, (3, 5))},
    ),
    "a rule for a domain that has clicks, and one domain only": (
        {"negatives": {"natural": DRAWN, "ads": DRAWN}},
        {"natural": (False, (0, 1, 3, 6)), "ads": (False, ())},
    ),
    "a domain with a rule that comes with clicks": (
        {"negatives": {"natural": DRAWN}},
        {"natural": (False, (3, 5)), "ads": (False, (0, 2, 6))},
    ),
}
RICH = "drawn beside ads"


def spec(name):
    return world.spec(**WORLDS[name][0])


def events(name, seed=0, rows=160):
    """Return `(domain, table)` of a world, for all seven days."""
    tables = []
    for domain, (clicks_only, days) in WORLDS[name][1].items():
        table = world.table(seed, rows, 7, not clicks_only, users=20)
        seed += 1
        days = range(days) if isinstance(days, int) else days
        tables.append(
            (domain, table.filter(pa.array(np.isin(world.day_of(table), days))))
        )
    return tables


@pytest.mark.parametrize("name", WORLDS)
def test_appended_at_any_day_equals_converted_at_once(tmp_path, name):
    tables = events(name)
    whole = world.convert(tmp_path, tables, spec=spec(name))
    expected = world.everything(whole)
    for k in range(1, 7):
        early, late = world.of_days(tables, 0, k), world.of_days(tables, k, 7)
        if any(len(table) for _, table in late):
            out = world.convert(tmp_path, early, f"{k}", spec=spec(name))
            world.append(out, late, spec(name))
            assert world.everything(out) == expected, k


@pytest.mark.parametrize("name", WORLDS)
def test_appended_day_by_day_equals_converted_at_once(tmp_path, name):
    tables = events(name)
    whole = world.convert(tmp_path, tables, spec=spec(name))
    first = world.of_days(tables, 0, 1)
    out = world.convert(tmp_path, first, "daily", spec=spec(name))
    for k in range(1, 7):
        today = world.of_days(tables, k, k + 1)
        if any(len(table) for _, table in today):
            summary = world.append(out, today, spec(name))
    assert world.everything(out) == world.everything(whole)
    assert summary == json.loads((out / converter.SUMMARY).read_text())
    assert store.dated(out / "state") == [LAST]


def test_every_part_of_the_state_is_needed(tmp_path, monkeypatch):
    """Less any part the rows, ids or summary come out otherwise."""
    tables = events(RICH)
    whole = world.convert(tmp_path, tables, spec=spec(RICH))
    expected = world.everything(whole)
    parts = [p.stem for p in sorted((whole / "state" / LAST).glob("*.npz"))]
    assert len(parts) == 16
    restore = state.Past.restore
    for left_out in parts:
        early = world.of_days(tables, 0, 2)
        out = world.convert(tmp_path, early, left_out, spec=spec(RICH))

        def some(past, parts, left_out=left_out):
            restore(past, {n: p for n, p in parts.items() if n != left_out})

        monkeypatch.setattr(state.Past, "restore", some)
        world.append(out, world.of_days(tables, 2, 7), spec(RICH))
        monkeypatch.undo()
        got = world.everything(out)
        assert any(
            got[name] != expected[name]
            for name in expected
            if not name.startswith("state/")
        ), left_out


@pytest.mark.parametrize("file_format", ["blocks", "examples"])
def test_formats_and_sizes_of_files(tmp_path, file_format):
    tables = events(RICH)
    options = {"file_format": file_format, "rows_per_file": 7}
    whole = world.convert(tmp_path, tables, spec=spec(RICH), **options)
    early = world.of_days(tables, 0, 3)
    out = world.convert(tmp_path, early, "out", spec=spec(RICH), **options)
    world.append(out, world.of_days(tables, 3, 7), spec(RICH), **options)
    assert world.everything(out) == world.everything(whole)
    assert len(list((out / "natural" / LAST).glob("*.tfrecord"))) > 1


def test_a_domain_that_goes_on_gets_the_days_it_was_not_there(tmp_path):
    tables = events("days in the window of neither")
    out = world.convert(tmp_path, world.of_days(tables, 0, 5))
    data = data_directory.DataDirectory(out)
    assert data.days("natural") == ["2024-01-01", "2024-01-02"]
    known = data.table_rows("2024-01-04")
    world.append(out, world.of_days(tables, 5, 7))
    data = data_directory.DataDirectory(out)
    assert data.days("natural") == [f"2024-01-0{day}" for day in range(1, 8)]
    manifest = data.manifest("natural", "2024-01-04")
    assert manifest.rows == 0
    assert {n: e["rows"] for n, e in manifest.ids.items()} == known
    assert data.days("ads") == ["2024-01-04", "2024-01-05", "2024-01-06"]


def test_command_line(tmp_path, capsys):
    table = world.table(0)
    for k in range(3):
        (_, today), *_ = world.of_days([("ads", table)], k, k + 1)
        pa.csv.write_csv(today, tmp_path / f"{k}.csv")
    (tmp_path / "spec.toml").write_text(
        """
tables = [{ name = "user" }, { name = "item", dtype = "string" }]
[[features]]
name = "user_id"
table = "user"
basic = true
[[features]]
name = "item_id"
table = "item"
basic = true
[[logs]]
name = "shown"
domain = "ads"
path = "0.csv"
user = "user_id"
item = "item_id"
time = "timestamp"
click = "click"
"""
    )
    flags.FLAGS.mark_as_parsed()
    common = {"spec": str(tmp_path / "spec.toml"), "source": str(tmp_path)}
    daily, whole = str(tmp_path / "daily"), str(tmp_path / "whole")
    for options in (
        {"out": whole, "log": ["shown=?.csv"]},
        {"out": daily},
        {"out": daily, "log": ["shown=1.csv"], "append": "true"},
        {"out": daily, "log": ["shown=2.csv"], "append": "true"},
    ):
        with flagsaver.as_parsed(**common, **options):
            convert.main(["convert"])
    assert "120" in capsys.readouterr().out.splitlines()[-8]
    assert world.everything(tmp_path / "daily") == world.everything(
        tmp_path / "whole"
    )
    with flagsaver.as_parsed(**common, out=daily, append="true"):
        with pytest.raises(SystemExit):
            convert.main(["convert"])
    error = capsys.readouterr().err
    assert "0.csv has events of 2024-01-01" in error
    assert "holds all days up to 2024-01-03. Append logs of later" in error
