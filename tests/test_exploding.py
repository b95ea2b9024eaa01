"""Logs whose rows hold a list of items, and rows chosen by missing values."""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecdctr_tf.input.conversion import exploding, log_spec, logs, toml_spec


def _spec(*given: dict) -> toml_spec.ConversionSpec:
    """Return a spec of string users and items, of logs with `time` in s."""
    return toml_spec.from_dict(
        {
            "tables": [
                {"name": "user", "dtype": "string"},
                {"name": "item", "dtype": "string"},
            ],
            "features": [
                {"name": "user_id", "table": "user", "basic": True},
                {"name": "item_id", "table": "item", "basic": True},
            ],
            "logs": [
                {"domain": "ads", "user": "u", "time": "t", **log}
                for log in given
            ],
        }
    )


def _read(source: pathlib.Path, *given: dict) -> list[tuple]:
    """Return user, item and click of each row."""
    found = []
    for _, table in logs.tables(_spec(*given), source):
        clicks = ["-"] * len(table)
        if "click" in table.column_names:
            clicks = table["click"].to_pylist()
        users, items = table["user_id"], table["item_id"]
        found += zip(users.to_pylist(), items.to_pylist(), clicks, strict=True)
    return found


def test_text_with_labels(tmp_path):
    (tmp_path / "b.tsv").write_text(
        "a\t5\tN1-0 N2-1\nb\t6\t\nc\t7\tN-3-1\n", encoding="utf-8"
    )
    log = {
        "path": "b.tsv",
        "columns": ["u", "t", "shown"],
        "delimiter": "\t",
        "item": "shown",
        "explode": {
            "column": "shown",
            "separator": " ",
            "label_separator": "-",
        },
    }
    expected = [("a", "N1", 0), ("a", "N2", 1), ("c", "N-3", 1)]
    assert _read(tmp_path, log) == expected


@pytest.mark.parametrize("of", [pa.list_, pa.large_list])
def test_lists_with_a_list_of_clicks(tmp_path, of):
    table = pa.table(
        {
            "u": ["a", "b", "c"],
            "t": [1, 2, 3],
            "shown": pa.array([[1, 2, 2], None, [3, None]], of(pa.int32())),
            # 9 was clicked without being in the list.
            "clicked": pa.array([[2, 9, 9], [4], []], of(pa.int64())),
        }
    )
    pq.write_table(table, tmp_path / "b.parquet")
    log = {
        "path": "b.parquet",
        "item": "shown",
        "explode": {"column": "shown", "clicked": "clicked"},
    }
    assert _read(tmp_path, log) == [
        ("a", 1, 0),
        ("a", 2, 1),
        ("a", 2, 1),
        ("a", 9, 1),
        ("b", 4, 1),
        ("c", 3, 0),
    ]


def test_without_labels_each_entry_is_an_event(tmp_path):
    (tmp_path / "b.csv").write_text("u,t,bought\na,5,x|y\nb,6,z|\n")
    log = {
        "path": "b.csv",
        "item": "bought",
        "explode": {"column": "bought", "separator": "|"},
    }
    assert _read(tmp_path, log) == [
        ("a", "x", "-"),
        ("a", "y", "-"),
        ("b", "z", "-"),
    ]


def test_many_rows_stay_in_order(monkeypatch):
    monkeypatch.setattr(exploding, "_ROWS", 2)
    table = pa.table({"list": [[i, i + 1] for i in range(7)], "n": range(7)})
    rule = log_spec.Explode("list")
    parts = list(exploding.exploded(table, rule, "here"))
    whole = pa.concat_tables(parts)
    assert len(parts) == 4
    assert whole["n"].to_pylist() == sorted([*range(7)] * 2)
    assert whole["list"].to_pylist()[:4] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    "explode, message",
    [
        ({"column": "t"}, "'t', which `explode`.*should hold lists.*string"),
        ({"column": "l"}, "'l', which `explode`.*`separator`"),
        (
            {"column": "l", "separator": " ", "label_separator": "-"},
            "'l' .`explode`. should hold entries that end in -0 or -1.*'y-2'",
        ),
        (
            {"column": "l", "separator": " ", "label_separator": ":"},
            "entries that end in :0 or :1. Received: 'x-1'",
        ),
        ({"column": "none"}, "lacks the column 'none'"),
        (
            {"column": "l", "label_separator": "-", "clicked": "t"},
            "`clicked` or `label_separator`, not both",
        ),
        ({"separator": " "}, r"\[logs.explode\] lacks column"),
    ],
)
def test_bad_lists_are_rejected(tmp_path, explode, message):
    (tmp_path / "b.csv").write_text("u,t,l\na,5,x-1 y-2\n")
    log = {"path": "b.csv", "item": "l", "explode": explode}
    with pytest.raises(ValueError, match=message):
        _read(tmp_path, log)


def test_two_sources_of_labels_are_rejected():
    rule = {"column": "l", "label_separator": "-"}
    log = {"path": "b", "item": "l", "explode": rule, "click": "c"}
    with pytest.raises(ValueError, match="should have no `click`"):
        _spec(log)


@pytest.mark.parametrize(
    "rules, users",
    [
        ({"keep": {"page": [""]}}, "bd"),
        ({"drop": {"page": [""]}}, "ac"),
        ({"keep": {"page": ["", "7"]}}, "abd"),
        ({"drop": {"page": ["7"]}}, "bcd"),
        ({"keep": {"group": ["x"]}}, "ab"),
        ({"drop": {"group": ["x"]}}, "cd"),
        ({"keep": {"group": [""]}}, "d"),
        ({"keep": {"group": ["x", "y"]}, "drop": {"page": [7]}}, "bc"),
        ({"keep": {"page": []}}, ""),
    ],
)
def test_rows_are_kept_and_dropped(tmp_path, rules, users):
    (tmp_path / "b.csv").write_text(
        "u,t,i,page\na,5,i1,7\nb,5,i1,\nc,5,i2,8\nd,5,i9,\n"
    )
    (tmp_path / "i.csv").write_text("i,group\ni1,x\ni2,y\n")
    join = {"path": "i.csv", "on": "i", "key": "i", "take": ["group"]}
    log = {"path": "b.csv", "item": "i", "joins": [join], **rules}
    assert "".join(row[0] for row in _read(tmp_path, log)) == users
