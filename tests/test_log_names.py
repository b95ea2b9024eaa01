"""Columns of any name, and references that resolve to what they say."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests import log_world as world


@pytest.mark.parametrize(
    "name", ["day", "time", "timestamp", "user", "item", "second", "\0x", "a b"]
)
def test_columns_that_are_called_as_others_are_features(tmp_path, name):
    """`day` is no day, `time` no time, unless the log says so."""
    columns = {"time": None, "at": [world.FIRST + i for i in range(3)]}
    columns[name] = ["x", "y", "x"]
    world.write(tmp_path / "natural.parquet", **columns)
    given = world.spec(
        {"path": "natural.parquet", "time": "at"},
        features=[{"name": "read", "column": name}],
    )
    world.convert_logs(tmp_path, given)
    assert world.rows(tmp_path)["read"] == ["x", "y", "x"]


def test_a_missing_column_names_those_of_the_file(tmp_path):
    world.write(tmp_path / "natural.parquet")
    given = world.spec({"path": "natural.parquet", "weight": "w"})
    message = "lacks the column 'w', which the weight reads. It has: "
    message += r"user_id, item_id, time, click\. "
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, given)


@pytest.mark.parametrize(
    "header, message",
    [
        ("user_id, item_id,time,click", r"It has: user_id, ' item_id', time"),
        ("user_id;item_id;time;click", "Is `delimiter` right?"),
    ],
)
def test_a_header_that_is_read_wrong_is_shown(tmp_path, header, message):
    (tmp_path / "natural.csv").write_text(f"{header}\n1,2,3,4\n")
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, world.spec({"path": "natural.csv"}))


@pytest.mark.parametrize(
    "log", [{"weight": "click"}, {"item": "user_id"}, {"time": "click"}]
)
def test_what_a_log_says_of_its_rows_is_in_different_columns(log):
    with pytest.raises(
        ValueError, match="different columns. Received '.*twice"
    ):
        world.spec({"path": "natural.parquet", **log})


def test_a_column_called_click_is_not_the_label(tmp_path):
    world.write(
        tmp_path / "natural.parquet",
        clicked=[1, 0, 1],
        click=[5.0, 6.5, 7.0],
        day=[28, 5, 1],
    )
    given = world.spec(
        {"path": "natural.parquet", "click": "clicked"},
        features=[
            {"name": "so_far", "kind": "dense", "column": "click"},
            {"name": "day_of_month", "column": "day", "dtype": "int64"},
        ],
    )
    world.convert_logs(tmp_path, given)
    rows = world.rows(tmp_path)
    assert rows["click"] == [1, 0, 1]
    assert rows["so_far"] == [5, 6.5, 7]
    assert rows["day_of_month"] == [28, 5, 1]


def test_clicks_only_beside_a_column_called_click(tmp_path):
    world.write(tmp_path / "natural.parquet", click=[2.0, 3.0, 4.0])
    given = world.spec(
        {"path": "natural.parquet", "click": ""},
        features=[{"name": "cost", "kind": "dense", "column": "click"}],
        negatives={"natural": {}},
    )
    assert world.convert_logs(tmp_path, given)["natural"]["clicks"] == 3


def test_features_called_user_item_time_and_second(tmp_path):
    names = ["user", "item", "time", "second"]
    world.write(
        tmp_path / "natural.csv",
        user_id=[1, 2, 1, 1],
        item_id=[7, 9, 8, 9],
        time=[world.FIRST + 60 * i for i in (60, 62, 120, 180)],
        click=[1, 1, 1, 0],
        rows=4,
        code=["a", "b", "c", "d"],
    )
    given = world.spec(
        {"path": "natural.csv"},
        features=[
            {"name": "user", "column": "code"},
            {"name": "item", "column": "code"},
            {"name": "second", "column": "code"},
            {"name": "time", "time": "hour", "dtype": "int64"},
        ],
        sequences=[{"name": "clicked", "table": "item", "max_length": 5}],
        counts=[{"name": "clicks_before", "of": ["user_id"]}],
    )
    world.convert_logs(tmp_path, given)
    rows = world.rows(tmp_path)
    for name in set(names) - {"time"}:
        assert rows[name] == ["a", "b", "c", "d"]
    assert rows["time"] == [1, 1, 2, 3]
    assert rows["clicked"] == [[], [], [7], [7, 8]]


@pytest.mark.parametrize(
    "log, columns",
    [
        ({"click": "bought"}, {"bought": [1, 0, 1], "click": None}),
        ({"click": "x", "click_at_least": 4}, {"x": [5, 1, 4], "click": None}),
    ],
)
def test_a_feature_that_reads_the_label_is_refused(tmp_path, log, columns):
    world.write(tmp_path / "natural.parquet", **columns)
    given = world.spec(
        {"path": "natural.parquet", **log},
        features=[{"name": "f", "kind": "dense", "column": log["click"]}],
    )
    with pytest.raises(ValueError, match="'f' would read .*which is its label"):
        world.convert_logs(tmp_path, given)


def test_columns_of_other_names_in_one_log(tmp_path):
    world.write(
        tmp_path / "natural.parquet", category=["a", "b", "c"], price=[1, 2, 3]
    )
    world.write(
        tmp_path / "ads.csv",
        item_id=None,
        ad=[11, 5, 6],
        topic=["b", "b", "d"],
        bid=[0.5, 1, 2],
    )
    given = world.spec(
        {"path": "natural.parquet"},
        {
            "domain": "ads",
            "path": "ads.csv",
            "item": "ad",
            "feature_columns": {"category": "topic"},
        },
        features=[
            {"name": "category"},
            {"name": "bid", "kind": "dense", "domain": "ads", "missing": 7.0},
            {"name": "price", "kind": "dense", "domain": "natural"},
            {"name": "topic", "domain": "ads"},
        ],
    )
    world.convert_logs(tmp_path, given)
    natural, ads = world.rows(tmp_path), world.rows(tmp_path, "ads")
    assert natural["category"] == ["a", "b", "c"]
    assert natural["topic"] == [None] * 3
    assert np.isnan(natural["bid"]).all() and natural["price"] == [1, 2, 3]
    assert ads["category"] == ads["topic"] == ["b", "b", "d"]
    assert ads["bid"] == [0.5, 1, 2] and np.isnan(ads["price"]).all()
    assert ads["item_id"] == [11, 5, 6]


def test_a_log_that_has_the_items_name_for_another_column(tmp_path):
    """Its own column is read, not the item's under that name."""
    world.write(tmp_path / "natural.parquet", item=[4, 5, 6], item_id=[1, 2, 3])
    given = world.spec(
        {"path": "natural.parquet", "item": "item"},
        features=[{"name": "content", "column": "item_id", "dtype": "int64"}],
    )
    world.convert_logs(tmp_path, given)
    rows = world.rows(tmp_path)
    assert rows["item_id"] == [4, 5, 6] and rows["content"] == [1, 2, 3]


def test_a_missing_column_names_file_feature_and_what_to_do(tmp_path):
    world.write(tmp_path / "natural.parquet")
    given = world.spec(features=[{"name": "brand", "column": "brand_code"}])
    with pytest.raises(
        ValueError,
        match="natural.parquet lacks the column 'brand_code', which the feature"
        " 'brand' reads.*feature_columns.*`domain`",
    ):
        world.convert_logs(tmp_path, given)


def _join(**changes):
    return {
        "path": "items.csv",
        "on": "item_id",
        "key": "id",
        "take": ["brand"],
        **changes,
    }


@pytest.mark.parametrize(
    "rules, kept",
    [
        ({"keep": {"brand": ["x"]}}, [11]),
        ({"drop": {"brand": ["x", ""]}}, [12]),
        ({"keep": {"brand": [""]}}, [13]),
        ({"keep": {"brand": ["x", "y"], "item_id": [12, 13]}}, [12]),
        (
            {"where": [{"weights": {"size": 1}, "modulo": 2}]},
            [12],
        ),
    ],
)
def test_rules_read_joined_columns(tmp_path, rules, kept):
    world.write(tmp_path / "natural.parquet")
    (tmp_path / "items.csv").write_text(
        "id,brand,size\n11,x,1\n12,y,2\n13,,3\n"
    )
    log = {"path": "natural.parquet", "joins": [_join(take=["brand", "size"])]}
    given = world.spec({**log, **rules}, features=[{"name": "brand"}])
    world.convert_logs(tmp_path, given)
    assert world.rows(tmp_path)["item_id"] == kept


def test_a_join_does_not_replace_a_column_of_the_log(tmp_path):
    world.write(tmp_path / "natural.parquet", brand=["a", "b", "c"])
    (tmp_path / "items.csv").write_text("id,brand\n11,x\n")
    given = world.spec({"path": "natural.parquet", "joins": [_join()]})
    with pytest.raises(ValueError, match="has a column 'brand', and so has"):
        world.convert_logs(tmp_path, given)


def _feature(**changes):
    return {"features": [{"name": "f", **changes}]}


@pytest.mark.parametrize(
    "log, changes, message",
    [
        ({}, {"user": "item_id"}, "should be two features"),
        (
            {},
            {"user": "nobody"},
            "There is no feature 'nobody'",
        ),
        (
            {},
            {"min_count": {"item": 0}},
            "`min_count` of the table 'item' should be at least 1",
        ),
        (
            {},
            {
                "tables": [
                    {"name": "user"},
                    {"name": "item", "ids": "hashing", "buckets": 9},
                ],
                "min_count": {"item": 2},
            },
            "`min_count` of the table 'item'.*'hashing'",
        ),
        (
            {},
            {
                "tables": [
                    {"name": "user", "ids": "hashing"},
                    {"name": "item"},
                ]
            },
            "'user' has `ids = \"hashing\"` and one bucket.*`buckets`",
        ),
        (
            {},
            {"sequences": [{"name": "s", "table": "user", "max_length": 3}]},
            "sequence 's' holds the items.*Received: table 'user'",
        ),
        ({"click": "", "click_at_least": 3}, {}, "`click_at_least`, but no"),
        ({"negate": True}, {}, "`negate`, but no `where`"),
        ({"drop": {"x": [2, "a"]}}, {}, "'x' in `keep` or `drop`.*all numbers"),
        ({"keep": {"x": [1, "a"]}}, {}, "'x' in `keep` or `drop`.*all numbers"),
        (
            {"where": [{"weights": {"x": 1}, "modulo": 0}]},
            {},
            "`equals` from 0 to `modulo` - 1",
        ),
        (
            {"where": [{"weights": {"x": 1}, "modulo": 2, "equals": 2}]},
            {},
            "`equals` from 0 to `modulo` - 1",
        ),
        ({"joins": [_join(take=["item_id"])]}, {}, "two columns 'item_id'"),
        ({"joins": [_join(), _join()]}, {}, "would have two columns 'brand'"),
        ({"user": ""}, {}, "`user` of the log 'natural.parquet' should name"),
        ({"feature_columns": {"g": "x"}}, {}, "should name features.*'g'"),
        ({"feature_columns": {"user_id": "x"}}, {}, "is said by `user` and"),
        ({"id_spaces": {"shop": "x"}}, {}, "There is no table 'shop'"),
        ({"id_spaces": {"item": "a:b"}}, {}, "name of a id space.*'a:b'"),
    ],
)
def test_specs_that_do_not_mean_what_they_say(log, changes, message):
    with pytest.raises(ValueError, match=message):
        world.spec({"path": "natural.parquet", **log}, **changes)


@pytest.mark.parametrize(
    "feature",
    [
        {"kind": "dense", "divide": 2},
        {"kind": "dense", "separator": "|"},
        {"missing": 1.0},
        {"time": "hour", "column": "c"},
        {"time": "hour", "divide": 2},
        {"time": "hour", "kind": "dense"},
        {"time": "hour", "domain": "ads"},
        {"divide": 2, "separator": "|"},
    ],
)
def test_keys_of_features_that_would_do_nothing_are_refused(feature):
    key = "|".join(feature)
    with pytest.raises(ValueError, match=f"`({key})` of the feature 'f' does"):
        world.spec(features=[{"name": "f", **feature}])


@pytest.mark.parametrize("basic", [(), ("user_id",), ("item_id",)])
def test_user_and_item_should_be_basic(basic):
    features = [
        {
            "name": f"{side}_id",
            "table": side,
            "side": side,
            "basic": f"{side}_id" in basic,
        }
        for side in ("user", "item")
    ]
    given = {
        "tables": [{"name": "user"}, {"name": "item"}],
        "features": features,
    }
    from ecdctr_tf.input.conversion import toml_spec

    with pytest.raises(ValueError, match="should have `basic = true`"):
        toml_spec.from_dict(given)


def test_two_logs_do_not_give_the_same_rows(tmp_path):
    world.write(tmp_path / "n" / "a.parquet")
    with pytest.raises(
        ValueError, match="a.parquet is read twice, by the logs"
    ):
        paths = [{"path": "n"}, {"path": "n/*.parquet"}]
        world.convert_logs(tmp_path, world.spec(*paths))
    chosen = [{**p, "keep": {"user_id": [i]}} for i, p in enumerate(paths, 1)]
    world.convert_logs(tmp_path, world.spec(*chosen))
    assert world.rows(tmp_path)["user_id"] == [1, 2]


@pytest.mark.parametrize(
    "on, key",
    [(["007", "8", "9"], "7"), (["a ", "b", "c"], "a"), ([1, 2, 3], 4)],
)
def test_a_join_that_no_row_has_a_key_of_is_refused(tmp_path, on, key):
    world.write(tmp_path / "natural.parquet", on=on)
    pa.parquet.write_table(
        pa.table({"id": [key], "brand": ["x"]}), tmp_path / "side.parquet"
    )
    join = {"path": "side.parquet", "on": "on", "key": "id", "take": ["brand"]}
    given = world.spec(
        {"path": "natural.parquet", "joins": [join]},
        features=[{"name": "brand"}],
    )
    with pytest.raises(ValueError, match="has a key of the join"):
        world.convert_logs(tmp_path, given)


def test_an_id_before_a_separator_may_be_missing(tmp_path):
    values = ["a|b", "|b", None]
    world.write(tmp_path / "natural.parquet", genre=values)
    given = world.spec(features=[{"name": "genre", "separator": "|"}])
    world.convert_logs(tmp_path, given)
    assert world.rows(tmp_path)["genre"] == ["a", None, None]


def test_a_table_has_no_more_buckets_than_rows_can_number():
    tables = [{"name": "user"}, {"name": "item"}]
    tables[0] |= {"ids": "hashing", "buckets": 2**40}
    with pytest.raises(ValueError, match="`buckets`.*at most 1,000,000,000"):
        world.spec(tables=tables)


def test_a_count_is_of_two_different_features():
    with pytest.raises(ValueError, match="one or two different features"):
        world.spec(counts=[{"name": "c", "of": ["user_id", "user_id"]}])


@pytest.mark.parametrize(
    "rule",
    [
        {"keep": {"kind": ["FEED"]}},
        {"drop": {"kind": ["feed"]}},
        {"where": [{"weights": {"user_id": 10}, "modulo": 10, "equals": 3}]},
    ],
)
def test_rules_that_let_no_row_through_are_said(tmp_path, caplog, rule):
    world.write(tmp_path / "natural.parquet")
    world.write(tmp_path / "ads.parquet", kind=["feed"] * 3)
    ads = {"path": "ads.parquet", "domain": "ads", "name": "shown", **rule}
    given = world.spec({"path": "natural.parquet"}, ads)
    assert world.convert_logs(tmp_path, given)["ads"]["rows"] == 0
    assert "None of the 3 rows of the log 'shown' is let through" in caplog.text


def test_an_error_names_the_file_that_a_column_is_joined_from(tmp_path):
    world.write(tmp_path / "natural.parquet")
    (tmp_path / "items.csv").write_text("id,cost\n11,1.5\n12,free\n13,2\n")
    join = _join(take=["cost"])
    given = world.spec(
        {"path": "natural.parquet", "joins": [join]},
        features=[{"name": "price", "kind": "dense", "column": "cost"}],
    )
    message = r"row 1: .*'cost' \(.*'price', joined from items.csv\).*'free'"
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, given)


@pytest.mark.parametrize("default, said", [(2, False), (0, True), (99, True)])
def test_a_default_position_that_no_row_has_is_said(
    tmp_path, caplog, default, said
):
    world.write(tmp_path / "natural.parquet", place=[1, 2, 3])
    feature = {"name": "place", "kind": "position", "table": "item"}
    given = world.spec(features=[{**feature, "default": default}])
    world.convert_logs(tmp_path, given)
    assert (f"No row has the position {default}" in caplog.text) == said
