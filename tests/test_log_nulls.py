"""Missing values: labels, numbers, ids, users and items."""

import math

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf.input.conversion import tally
from tests import log_world as world

NAN = float("nan")


@pytest.mark.parametrize(
    "labels, log",
    [
        ([5.0, NAN, 1.0], {"click_at_least": 4}),
        ([5, None, 1], {"click_at_least": 4}),
        ([1.0, NAN, 0.0], {}),
        ([1, None, 0], {}),
        ([1.0, 0.5, 0.0], {}),
        (["1", r"\N", "0"], {}),
        (["1", "", "0"], {"click_at_least": 1}),
        (["1", "NULL", "0"], {"null_texts": ["NULL"]}),
    ],
)
def test_labels_that_are_missing_are_refused(tmp_path, labels, log):
    world.write(tmp_path / "natural.parquet", click=pa.array(labels))
    given = world.spec({"path": "natural.parquet", **log})
    message = r"natural.parquet, row 1: the column 'click' \(the label\) should"
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, given)


@pytest.mark.parametrize(
    "labels, log",
    [
        ([True, False, True], {}),
        (["True", "False", "TRUE"], {}),
        (["true", "false", "1"], {"click_at_least": 1}),
        ([5, 3, 2**60 + 1], {"click_at_least": 4}),
    ],
)
def test_labels_of_all_types(tmp_path, labels, log):
    world.write(tmp_path / "natural.parquet", click=pa.array(labels))
    world.convert_logs(tmp_path, world.spec({"path": "natural.parquet", **log}))
    assert world.rows(tmp_path)["click"] == [1, 0, 1]


def test_a_rating_that_is_infinite_is_no_click(tmp_path):
    world.write(tmp_path / "natural.parquet", click=[1.0, math.inf, 5.0])
    given = world.spec({"path": "natural.parquet", "click_at_least": 4})
    with pytest.raises(ValueError, match="row 1: .*finite number.*inf"):
        world.convert_logs(tmp_path, given)


def test_missing_numbers_are_replaced_by_finite_ones():
    feature = {"name": "price", "kind": "dense", "missing": 1e60}
    with pytest.raises(ValueError, match="`missing`.*32 bits.*1e.60"):
        world.spec(features=[feature])


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("missing", [None, 7.5])
def test_numbers_that_are_missing(tmp_path, kind, missing):
    world.write(tmp_path / f"natural.{kind}", price=[1.5, None, NAN])
    change = {} if missing is None else {"missing": missing}
    given = world.spec(
        {"path": f"natural.{kind}"},
        features=[{"name": "price", "kind": "dense", **change}],
    )
    world.convert_logs(tmp_path, given)
    prices = world.rows(tmp_path)["price"]
    np.testing.assert_array_equal(prices, [1.5] + 2 * [missing or NAN])


@pytest.mark.parametrize(
    "values, row",
    [
        ([1.0, math.inf, 2.0], 1),
        ([1.0, 2.0, 1e300], 2),
        (["1", "-inf", "2"], 1),
        (["1", "NULL", "2"], 1),
        (["1", "2", "x"], 2),
    ],
)
def test_numbers_that_are_none_are_refused(tmp_path, values, row):
    world.write(tmp_path / "natural.parquet", cost=pa.array(values))
    given = world.spec(
        features=[{"name": "price", "kind": "dense", "column": "cost"}]
    )
    message = rf"row {row}: the column 'cost' \(the feature 'price'\) should"
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, given)


def test_whole_numbers_beyond_32_bits_are_rounded(tmp_path):
    followers = [16_777_217, 2**40, 2**62 + 1]
    features = [{"name": "followers", "kind": "dense"}]
    for kind in ("parquet", "csv"):
        world.write(tmp_path / f"natural.{kind}", followers=followers)
        given = world.spec({"path": f"natural.{kind}"}, features=features)
        world.convert_logs(tmp_path, given, out=kind)
        expected = np.float32(followers).tolist()
        assert world.rows(tmp_path, out=kind)["followers"] == expected


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize(
    "null, log",
    [
        (None, {}),
        ("", {}),
        (r"\N", {}),
        ("NULL", {"null_texts": ["NULL", "-"]}),
        ("-", {"null_texts": ["NULL", "-"]}),
    ],
)
def test_texts_that_stand_for_no_id(tmp_path, kind, null, log):
    world.write(tmp_path / f"natural.{kind}", brand=["a", null, "b"])
    given = world.spec(
        {"path": f"natural.{kind}", **log}, features=[{"name": "brand"}]
    )
    world.convert_logs(tmp_path, given)
    assert world.rows(tmp_path)["brand"] == ["a", None, "b"]


def test_null_texts_of_joined_files(tmp_path):
    world.write(tmp_path / "natural.parquet")
    (tmp_path / "items.csv").write_text("id,brand\n11,x\n12,\\N\n\\N,y\n")
    join = {
        "path": "items.csv",
        "on": "item_id",
        "key": "id",
        "take": ["brand"],
    }
    given = world.spec(
        {"path": "natural.parquet", "joins": [join]},
        features=[{"name": "brand"}],
    )
    world.convert_logs(tmp_path, given)
    assert world.rows(tmp_path)["brand"] == ["x", None, None]


@pytest.mark.parametrize(
    "values, kind",
    [
        ([["a", r"\N"], ["NULL", "b"], None], "parquet"),
        (["a|\\N", "NULL|b", ""], "parquet"),
        (["a|\\N", "NULL|b", ""], "csv"),
        (["|a", " NULL |b|b", "\\N|NULL"], "csv"),
    ],
)
def test_texts_that_stand_for_no_entry_of_a_list(tmp_path, values, kind):
    world.write(tmp_path / f"natural.{kind}", tags=values)
    feature = {"name": "tags", "kind": "ids", "table": "brand"}
    given = world.spec(
        {"path": f"natural.{kind}", "null_texts": ["", r"\N", "NULL"]},
        features=[{**feature, "separator": "|", "max_length": 3}],
        tables=[
            {"name": name, "dtype": "string"}
            for name in ("user", "item", "brand")
        ],
    )
    world.convert_logs(tmp_path, given)
    found = [set(row) for row in world.rows(tmp_path)["tags"]]
    assert found == [{"a"}, {"b"}, set()]


NULLS = {
    "null": [1, None, 1, 2],
    "NaN": [1.0, NAN, 1.0, 2.0],
    "text": ["1", r"\N", "1", "2"],
    "empty": ["1", "", "1", "2"],
    "dictionary": pa.array(["1", None, "1", "2"]).dictionary_encode(),
}


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("values", NULLS.values(), ids=NULLS)
def test_rows_without_a_user_or_an_item(tmp_path, side, values):
    columns = {f"{side}_id": pa.array(values) if side else values}
    world.write(tmp_path / "natural.parquet", rows=4, **columns)
    message = rf"row 1: the column '{side}_id' .*`null_{side} = \"drop\"`"
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, world.spec())
    given = world.spec(**{f"null_{side}": "drop"})
    summary = world.convert_logs(tmp_path, given, out="drop")
    assert summary["natural"]["rows"] == 3
    assert summary["counts"]["natural"] == {f"dropped without {side}": 1}
    assert any("1 row of natural" in note for note in tally.notes(summary))
    given = world.spec(**{f"null_{side}": "unknown"})
    summary = world.convert_logs(tmp_path, given, out="unknown")
    assert summary["natural"]["rows"] == 4
    assert summary["natural"][f"{side}s"] == 2
    assert summary["counts"]["natural"] == {f"unknown {side}": 1}
    rows = world.rows(tmp_path, out="unknown")
    assert rows[f"{side}_id"] == [1, None, 1, 2]


def _history(**changes):
    return world.spec(
        sequences=[{"name": "clicked", "table": "item", "max_length": 5}],
        counts=[
            {"name": "of_user", "of": ["user_id"]},
            {"name": "of_item", "of": ["item_id"]},
            {"name": "of_both", "of": ["user_id", "item_id"]},
        ],
        ages=[{"name": "age"}],
        null_user="unknown",
        null_item="unknown",
        **changes,
    )


def test_unknown_users_and_items_have_no_history(tmp_path):
    day = world.DAY
    world.write(
        tmp_path / "natural.parquet",
        rows=6,
        user_id=[None, None, 1, None, 1, 1],
        item_id=[11, 12, None, 11, None, 12],
        time=[world.FIRST + t for t in (0, 5, 9, day, day + 5, day + 9)],
        click=[1] * 6,
    )
    world.convert_logs(tmp_path, _history())
    rows = world.rows(tmp_path)
    assert rows["clicked"] == [[]] * 6
    once = math.log1p(1)
    for name, expected in {
        "of_user": [0, 0, 0, 0, once, once],
        "of_item": [0, 0, 0, once, 0, once],
        "of_both": [0] * 6,
        "age": [0, 0, 0, math.log1p(24), 0, math.log1p(24 + 4 / 3600)],
    }.items():
        np.testing.assert_allclose(rows[name], expected, rtol=1e-6)


def test_only_unknown_users_and_items(tmp_path):
    none = pa.nulls(3, pa.int64())
    world.write(tmp_path / "natural.parquet", user_id=none, item_id=none)
    summary = world.convert_logs(tmp_path, _history())
    assert summary["natural"]["rows"] == 3
    assert summary["natural"]["users"] == summary["natural"]["items"] == 0


def test_counts_of_appended_days_are_added(tmp_path):
    days = [world.FIRST, world.FIRST + world.DAY]
    parts = [
        {"user_id": [1, None, 2], "time": [day, day + 1, day + 2]}
        for day in days
    ]
    whole = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    given = world.spec(null_user="drop")
    world.write(tmp_path / "natural.parquet", rows=6, **whole)
    expected = world.convert_logs(tmp_path, given, out="whole")
    for i, part in enumerate(parts):
        item = list(range(11 + 3 * i, 14 + 3 * i))
        click = [1, 0, 1] if not i else [0, 1, 0]
        world.write(
            tmp_path / "natural.parquet", **part, item_id=item, click=click
        )
        summary = world.convert_logs(tmp_path, given, append=bool(i))
    assert summary == expected
    assert summary["counts"]["natural"] == {"dropped without user": 2}


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"null_user": "keep"},
            "`null_user` of .* one of error, drop, unknown",
        ),
        (
            {"null_item": "unknown", "negatives": {"natural": {}}},
            'should not be "unknown" where negatives',
        ),
    ],
)
def test_specs_without_a_meaning_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        world.spec(**changes)
