"""Ids are the same whatever type their file holds them in."""

import decimal

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf.input.conversion import ids, log_columns, tally
from tests import log_world as world

LONG = 12_345_678_901


def _column(values, dtype=None, name="c"):
    return log_columns.LogColumn(pa.array(values, dtype), name, "log.csv", "x")


@pytest.mark.parametrize(
    "values, dtype, expected",
    [
        ([1.0, LONG, None, float("nan")], pa.float64(), [1, LONG, None, None]),
        ([1, 2**40], pa.int64(), [1, 2**40]),
        ([3, 16_777_215], pa.float32(), [3, 16_777_215]),
        ([3, 255], pa.uint8(), [3, 255]),
        ([decimal.Decimal("12.00")], None, [12]),
        (["5", "60"], pa.large_string(), [5, 60]),
        (["5", "5", "7"], pa.dictionary(pa.int32(), pa.string()), [5, 5, 7]),
    ],
)
def test_ids_of_all_types(values, dtype, expected):
    column = _column(values, dtype)
    assert ids.read(column, pa.int64()).to_pylist() == expected
    text = [None if value is None else str(value) for value in expected]
    assert ids.read(column, pa.string()).to_pylist() == text


@pytest.mark.parametrize(
    "values, dtype, message",
    [
        ([2.0, 1.5], None, r"row 1: the column 'c' \(x\) should hold ids.*1.5"),
        ([2.0**53], None, r"below 2\^53"),
        ([2.0**24], pa.float32(), r"below 2\^24"),
        ([float("inf")], None, "Received: inf"),
        (["3", "1.0"], pa.string(), "row 1: .*int64.*Received: '1.0'"),
        (["1e3"], pa.string(), "Received: '1e3'"),
        (["7", "007"], pa.string(), "with and without leading zeros.*'007'"),
        (["0x10"], pa.string(), "row 0: .*int64.*Received: '0x10'"),
        ([0], pa.timestamp("us"), "It is timestamp.*write it as text"),
        ([0], pa.time64("us"), "It is time64.*write it as text"),
        ([b"ab"], pa.binary(2), "It is fixed_size_binary.*write it as text"),
        ([b"5", b"\xff"], None, "row 1: .*text in UTF-8.*Received: b'.xff'"),
        (["0", "00"], pa.string(), "with and without leading zeros.*'00'"),
        ([2**63], pa.uint64(), "Received: 9223372036854775808"),
        ([[1]], None, "should hold ids: text or whole.*It is list"),
    ],
)
def test_what_is_no_whole_number_is_refused(values, dtype, message):
    with pytest.raises(ValueError, match=message):
        ids.read(_column(values, dtype), pa.int64())


def test_text_ids_may_be_numbers_of_any_length():
    column = _column([decimal.Decimal(10**30), decimal.Decimal(7)])
    found = ids.read(column, pa.string()).to_pylist()
    assert found == [str(10**30), "7"]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("text", ["NULL", "nan", "None", "N/A"])
@pytest.mark.parametrize("dtype", ["int64", "string"])
def test_texts_for_a_missing_user_are_no_users(tmp_path, kind, text, dtype):
    world.write(tmp_path / f"natural.{kind}", user_id=["1", text, "2"])
    log = {"path": f"natural.{kind}"}
    with pytest.raises(
        ValueError, match=f"row 1: .*'user_id'.*null_texts.*{text}"
    ):
        world.convert_logs(tmp_path, world.spec(log, dtype=dtype))
    log["null_texts"] = [text]
    given = world.spec(log, dtype=dtype, null_user="drop")
    world.convert_logs(tmp_path, given)
    assert list(map(str, world.rows(tmp_path)["user_id"])) == ["1", "2"]


@pytest.mark.parametrize(
    "value, dtype",
    [
        (" ", "string"),
        ("-", "string"),
        ("(null)", "string"),
        ("#N/A", "string"),
        ("Unknown", "string"),
        ("00000000-0000-0000-0000-000000000000", "string"),
        ("-1", "string"),
        (-1, "int64"),
        (-1, "string"),
    ],
)
@pytest.mark.parametrize("side", ["user", "item"])
def test_values_that_programs_write_for_no_id_are_none(
    tmp_path, value, dtype, side
):
    ids = [5, value, 6] if value == -1 else ["5", value, "6"]
    world.write(tmp_path / "natural.parquet", **{f"{side}_id": ids})
    log = {"path": "natural.parquet"}
    message = f"row 1: .*'{side}_id'.*`null_texts` of the log"
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, world.spec(log, dtype=dtype))
    log["null_texts"] = [str(value)]
    given = world.spec(log, dtype=dtype, **{f"null_{side}": "unknown"})
    world.convert_logs(tmp_path, given)
    found = world.rows(tmp_path)[f"{side}_id"]
    assert found[1] is None and list(map(str, found[::2])) == ["5", "6"]
    assert log_columns.without_texts(_column([1, 200], pa.uint8()), ["-1"])


def test_a_user_may_be_called_null_if_the_spec_says_what_is_missing(tmp_path):
    world.write(tmp_path / "natural.csv", user_id=["a", "null", "b"])
    log = {"path": "natural.csv", "null_texts": ["-"]}
    world.convert_logs(tmp_path, world.spec(log, dtype="string"))
    assert world.rows(tmp_path)["user_id"] == ["a", "null", "b"]


@pytest.mark.parametrize(
    "column, kept",
    [
        ([True, False, True], ["true"]),
        ([True, False, True], [True]),
        (["True", "False", "True"], [True]),
        ([1, 0, 1], [True]),
    ],
)
def test_true_and_false_are_compared_by_what_they_say(tmp_path, column, kept):
    world.write(tmp_path / "natural.parquet", shown=column)
    log = {"path": "natural.parquet", "keep": {"shown": kept}}
    world.convert_logs(tmp_path, world.spec(log))
    assert world.rows(tmp_path)["user_id"] == [1, 3]


def test_a_line_break_in_an_id_names_its_row():
    with pytest.raises(ValueError, match=r"row 1: .*ids of one line.*'a\\nb'"):
        ids.read(_column(["a", "a\nb"]), pa.string())


@pytest.mark.parametrize(
    "left, right, same",
    [
        ([1.0, 2.0], [2, 3], [False, True]),
        ([float(LONG)], [str(LONG)], [True]),
        ([7, 8], ["7", "x"], [True, False]),
        (["007"], ["7"], [False]),
        ([0.5, 1.0], [1, 2], [False, True]),
        ([decimal.Decimal("5")], [5.0], [True]),
        ([True], [1], [True]),
        ([None, 3], [3], [False, True]),
    ],
)
def test_columns_are_compared_by_what_they_hold(left, right, same):
    found, wanted = ids.comparable(_column(left), _column(right))
    kept = [
        v is not None and v in wanted.to_pylist() for v in found.to_pylist()
    ]
    assert kept == same


@pytest.mark.parametrize(
    "text", ["007", "1.0", "1e3", "+5", "1.2345678901e+10"]
)
def test_text_that_may_be_a_number_is_not_compared_with_numbers(text):
    for columns in ([text], [1, 7]), ([1, 7], [text]):
        with pytest.raises(ValueError, match="which holds numbers, or as they"):
            ids.comparable(*map(_column, columns))


@pytest.mark.parametrize(
    "key, keys",
    [
        ([11.0, 12.0, 13.0], [11, 13]),
        ([11, 12, 13], ["11", "13"]),
        (["11", "12", "13"], [11.0, 13.0]),
        (["a", "b", "c"], ["a", "c"]),
        ([LONG, None, LONG + 2], [float(LONG), float(LONG + 2)]),
    ],
)
def test_joins_meet_whatever_the_types(tmp_path, key, keys):
    world.write(tmp_path / "natural.parquet", key=pa.array(key))
    items = pa.table({"id": pa.array(keys), "brand": ["x", "y"]})
    pa.parquet.write_table(items, tmp_path / "items.parquet")
    join = {
        "path": "items.parquet",
        "on": "key",
        "key": "id",
        "take": ["brand"],
    }
    given = world.spec(
        {"path": "natural.parquet", "joins": [join]},
        features=[{"name": "brand"}],
    )
    world.convert_logs(tmp_path, given)
    assert world.rows(tmp_path)["brand"] == ["x", None, "y"]


@pytest.mark.parametrize(
    "kind, values",
    [([1.0, 2.0, 1.0], [1]), (["1", "2", "1"], [1]), ([1, 2, 1], ["1"])],
)
def test_keep_meets_whatever_the_types(tmp_path, kind, values):
    world.write(tmp_path / "natural.parquet", kind=kind)
    log = {"path": "natural.parquet", "keep": {"kind": values}}
    world.convert_logs(tmp_path, world.spec(log))
    assert world.rows(tmp_path)["item_id"] == [11, 13]


@pytest.mark.parametrize("dtype", ["int64", "string"])
def test_one_id_in_files_of_different_types(tmp_path, dtype):
    users = [LONG, 5, 6]
    world.write(tmp_path / "a.parquet", user_id=users)
    world.write(
        tmp_path / "b.parquet",
        user_id=np.array(users, float),
        time=[world.FIRST + 100 + i for i in range(3)],
    )
    given = world.spec({"path": "*.parquet"}, dtype=dtype)
    world.convert_logs(tmp_path, given)
    expected = [LONG, 5, 6] if dtype == "int64" else [str(LONG), "5", "6"]
    assert world.rows(tmp_path)["user_id"] == 2 * expected


@pytest.mark.parametrize(
    "first, later",
    [
        ("1", "1.0"),
        ("007", "07"),
        (str(LONG), "1.2345678901e+10"),
        ("5", "+5"),
        ("true", "True"),
        ("1", "true"),
        ("a", "a "),
        ("\u00e9a", "e\u0301a"),
    ],
)
def test_users_in_two_ways_of_writing_are_refused(tmp_path, first, later):
    world.write(tmp_path / "natural.csv", user_id=[first, "x", "y"])
    world.write(tmp_path / "ads.csv", user_id=[later, "x", "y"])
    given = world.spec(
        {"path": "natural.csv"},
        {"path": "ads.csv", "domain": "ads"},
        dtype="string",
    )
    with pytest.raises(
        ValueError, match="'user_id' seem to be one, written in"
    ):
        world.convert_logs(tmp_path, given)
    assert not (tmp_path / "data").exists()


def test_other_ids_in_two_ways_of_writing_are_reported(tmp_path):
    world.write(tmp_path / "natural.csv", os=["10", "10.0", "9"])
    given = world.spec({"path": "natural.csv"}, features=[{"name": "os"}])
    summary = world.convert_logs(tmp_path, given)
    assert summary["alike"] == {"oss": [["10.0", "10"]]}


def _two_domains(tmp_path, dtype, natural=None, ads=None):
    world.write(tmp_path / "natural.parquet", item_id=[7, 8, 9])
    world.write(tmp_path / "ads.parquet", item_id=[7, 20, 9])
    logs = [
        {"path": "natural.parquet", "id_spaces": natural or {}},
        {"path": "ads.parquet", "domain": "ads", "id_spaces": ads or {}},
    ]
    given = world.spec(*logs, dtype=dtype)
    return world.convert_logs(tmp_path, given)


@pytest.mark.parametrize(
    "natural, ads, name",
    [
        ({}, {"item": "ad"}, "item"),
        ({"item": "content"}, {}, "content"),
        ({"item": "content"}, {"item": "ad"}, "content"),
    ],
)
def test_ids_of_different_spaces_never_meet(tmp_path, natural, ads, name):
    summary = _two_domains(tmp_path, "string", natural, ads)
    assert summary["overlap"]["item"]["ids"] == 0
    assert summary["overlap"]["user"]["ids"] == 1
    assert summary["crossings"] == {"item": 2}
    assert world.rows(tmp_path, "ads")["item_id"] == ["7", "20", "9"]
    expected = [f"{name}:{number}" for number in (7, 8, 9)]
    assert world.rows(tmp_path)["item_id"] == expected


def test_ids_of_one_space_meet(tmp_path):
    summary = _two_domains(tmp_path, "int64", {"item": "c"}, {"item": "c"})
    assert summary["overlap"]["item"]["ids"] == pytest.approx(2 / 3)
    assert summary["crossings"] == {}


def test_id_spaces_of_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match='several id spaces.*dtype = "string"'):
        _two_domains(tmp_path, "int64", {}, {"item": "ad"})


def test_an_id_that_looks_as_of_another_space_is_refused(tmp_path):
    world.write(tmp_path / "natural.parquet", item_id=["1", "2", "3"])
    world.write(tmp_path / "ads.parquet", item_id=["1", "feed:2", "3"])
    given = world.spec(
        {"path": "natural.parquet", "id_spaces": {"item": "feed"}},
        {"path": "ads.parquet", "domain": "ads"},
        dtype="string",
    )
    with pytest.raises(ValueError, match="ads.parquet, row 1: .*'feed'"):
        world.convert_logs(tmp_path, given)


def test_an_append_in_other_id_spaces_is_refused(tmp_path):
    _two_domains(tmp_path, "string", {}, {"item": "ad"})
    world.write(
        tmp_path / "natural.parquet",
        time=[world.FIRST + world.DAY] * 3,
    )
    with pytest.raises(ValueError, match="these parts differ: id_spaces"):
        world.convert_logs(tmp_path, world.spec(dtype="string"), append=True)


def test_ids_may_end_in_a_zero_byte(tmp_path):
    users = ["u1\0", "u1", "u\0"]
    world.write(tmp_path / "natural.parquet", user_id=users)
    world.convert_logs(tmp_path, world.spec(dtype="string"))
    assert world.rows(tmp_path)["user_id"] == users


def test_ids_in_several_spaces_are_said_where_there_are_some():
    summary = {"counts": {}, "alike": {}, "crossings": {"user": 0, "item": 2}}
    assert tally.notes(summary) == [
        "2 ids of the table 'item' are in several id spaces; they are "
        "different ids."
    ]
