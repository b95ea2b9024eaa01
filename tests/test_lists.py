"""Lists in logs: what becomes of odd values, and which are rejected."""

import math

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf import features, kinds
from ecdctr_tf.input.conversion import events, toml_spec

TABLES = (
    features.TableSpec("user"),
    features.TableSpec("item"),
    features.TableSpec("tag", dtype="string"),
    features.TableSpec("number"),
)
IDS = {"kind": "ids", "table": "tag", "max_length": 2}
NUMBERS = {"kind": "ids", "table": "number", "max_length": 3}
WEIGHTED = {"kind": "weighted_ids", "table": "tag", "max_length": 2}
SEQUENCE = {"kind": "sequence", "table": "number", "max_length": 2}
TIMED = {**SEQUENCE, "time_column": "times"}
WITH_TAGS = {
    **SEQUENCE,
    "attribute_column": "tags",
    "attribute_table": "tag",
}
VECTOR = {"kind": "vector", "length": 2}
# Time of every row, in seconds; and times so many seconds before it.
NOW = 1_704_067_200
PAIR = pa.struct([("tag", pa.string()), ("share", pa.float64())])


def read(values, **fields) -> list:
    """Return the values of the feature `f` as Python objects.

    Args:
      values: of the column `f`, or of several columns by name.
      **fields: of the feature.
    """
    column = toml_spec.Column("f", **fields)
    spec = toml_spec.ConversionSpec(
        TABLES,
        (
            toml_spec.Column("user_id", table="user", side="user", basic=True),
            toml_spec.Column("item_id", table="item", side="item", basic=True),
            column,
        ),
    )
    (kind,) = (f for f in kinds.of(spec.data_spec()) if f.name == "f")
    given = values if isinstance(values, dict) else {"f": values}
    table = pa.table(given)
    count = len(table)
    others = {
        "user_id": np.zeros(count, np.int64),
        "item_id": np.zeros(count, np.int64),
        "timestamp": np.full(count, NOW),
        "click": np.zeros(count, np.int8),
    }
    for name, value in others.items():
        table = table.append_column(name, pa.array(value))
    made = events.normalised(table, spec, "ads", "log.csv").table["f"]
    found = made.combine_chunks()
    found.validate(full=True)
    assert found.type == kind.log_type()
    encoded = kind.encode(found, lambda _, raw: np.ones(len(raw), np.int32))
    for name, column in kind.columns().items():
        assert encoded[name].shape == (count, *column.shape)
        assert encoded[name].dtype == column.dtype
    return found.to_pylist()


def lists_of(dtype, *values) -> pa.Array:
    return pa.array(values, pa.list_(dtype))


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        # Text: empty, missing and odd pieces are no entries.
        (
            ["a|b", "a", "", None],
            {"separator": "|"},
            [["a", "b"], ["a"], [], []],
        ),
        ([" a | | b|"], {"separator": "|"}, [["a", "b"]]),
        (["|||"], {"separator": "|"}, [[]]),
        (["a, b"], {"separator": ", "}, [["a", "b"]]),
        (["a::b"], {"separator": "::"}, [["a", "b"]]),
        (
            ["['a', \"b\"]", "[]", "[c]"],
            {"separator": ","},
            [["a", "b"], [], ["c"]],
        ),
        # More than `max_length`, and the same one twice.
        (["a|b|c"], {"separator": "|"}, [["a", "b"]]),
        (["a|a|b"], {"separator": "|"}, [["a", "a"]]),
        # Arrow lists: null, empty, with a null inside.
        (
            lists_of(pa.string(), ["a", None, "b"], None, []),
            {},
            [["a", "b"], [], []],
        ),
        (lists_of(pa.string(), ["", "a"]), {}, [["a"]]),
        (lists_of(pa.int32(), [1, 2]), {}, [["1", "2"]]),
        (lists_of(pa.float64(), [1.0, math.nan]), {}, [["1"]]),
        (
            pa.array([["a"], None], pa.large_list(pa.large_string())),
            {},
            [["a"], []],
        ),
        (
            pa.array([["a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
            {},
            [["a"]],
        ),
        (
            pa.array(["a|b"]).dictionary_encode(),
            {"separator": "|"},
            [["a", "b"]],
        ),
        (pa.array([7, 8]), {"separator": "|"}, [["7"], ["8"]]),
        (pa.nulls(2), {}, [[], []]),
        (lists_of(pa.null(), [None], []), {}, [[], []]),
    ],
)
def test_multi_valued_ids(values, fields, expected):
    assert read(values, **IDS, **fields) == expected


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        (["3|1|3|2"], {"separator": "|"}, [[3, 1, 3]]),
        (lists_of(pa.int64(), [1, -1, 2], [-1]), {}, [[1, 2], []]),
        (pa.array([[1, 2], None], pa.list_(pa.int16(), 2)), {}, [[1, 2], []]),
        (lists_of(pa.float32(), [4.0]), {}, [[4]]),
        (lists_of(pa.string(), ["5"]), {}, [[5]]),
        (lists_of(pa.int64(), [2**62]), {}, [[2**62]]),
    ],
)
def test_multi_valued_whole_numbers(values, fields, expected):
    assert read(values, **NUMBERS, **fields) == expected


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        (
            ["a:0.5|b:2", "", None],
            {"separator": "|"},
            [[("a", 0.5), ("b", 2)], [], []],
        ),
        # Ids that hold the mark, weights of 0, another mark.
        (["a:b:0"], {"separator": "|"}, [[("a:b", 0)]]),
        (
            ["a=1e-3"],
            {"separator": "|", "weight_separator": "="},
            [[("a", 1e-3)]],
        ),
        ([" a : 1 | b:1"], {"separator": "|"}, [[("a", 1), ("b", 1)]]),
        (["a:1|a:2|c:3"], {"separator": "|"}, [[("a", 1), ("a", 2)]]),
        (
            pa.array([[{"tag": "a", "share": 0.5}], None, []], pa.list_(PAIR)),
            {},
            [[("a", 0.5)], [], []],
        ),
        (
            pa.array([[("a", 1.0)]], pa.map_(pa.string(), pa.float32())),
            {},
            [[("a", 1)]],
        ),
        # A second column; what is no id needs no weight.
        (
            {"f": ["a|b"], "w": ["1|2"]},
            {"weights": "w", "separator": "|"},
            [[("a", 1), ("b", 2)]],
        ),
        (
            {
                "f": lists_of(pa.string(), ["a", None], None),
                "w": lists_of(pa.float64(), [1, None], []),
            },
            {"weights": "w"},
            [[("a", 1)], []],
        ),
    ],
)
def test_weighted_ids(values, fields, expected):
    found = read(values, **WEIGHTED, **fields)
    pairs = [[(e["id"], e["weight"]) for e in row] for row in found]
    assert [[p[0] for p in row] for row in pairs] == [
        [p[0] for p in row] for row in expected
    ]
    for row, wanted in zip(pairs, expected, strict=True):
        np.testing.assert_allclose(
            [p[1] for p in row], [p[1] for p in wanted], rtol=1e-6
        )


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        (["1,2,3"], {"separator": ","}, [[2, 3]]),
        (
            ["3,2,1", None, "4"],
            {"separator": ",", "newest_first": True},
            [[2, 3], [], [4]],
        ),
        (lists_of(pa.int64(), [1, None, 2, 3]), {}, [[2, 3]]),
        (lists_of(pa.int64(), [5, 5]), {}, [[5, 5]]),
        (["[1 2]"], {"separator": " "}, [[1, 2]]),
    ],
)
def test_sequences_of_the_log_keep_the_newest(values, fields, expected):
    assert read(values, **SEQUENCE, **fields) == expected


@pytest.mark.parametrize(
    ("times", "unit", "ages"),
    [
        (lists_of(pa.int64(), [NOW - 100, NOW - 50]), "", [100, 50]),
        (
            lists_of(pa.int64(), [NOW * 1000 - 99_001, NOW * 1000 - 50_000]),
            "ms",
            [100, 50],
        ),
        # Not known; and not before the row, as in sequences made here.
        (lists_of(pa.int64(), [None, NOW - 50]), "s", [math.nan, 50]),
        (lists_of(pa.int64(), [NOW - 100, NOW]), "s", [100]),
        (
            lists_of(pa.timestamp("ms"), [NOW * 1000 - 1, None]),
            "",
            [1, math.nan],
        ),
        ([f"{NOW - 100}|{NOW - 50}"], "s", [100, 50]),
    ],
)
def test_ages_of_entries(times, unit, ages):
    given = {"f": lists_of(pa.int64(), [1, 2]), "times": times}
    fields = {**TIMED, "time_column_unit": unit}
    if isinstance(times, list):
        fields["separator"] = "|"
    (row,) = read(given, **fields)
    np.testing.assert_array_equal([entry["age"] for entry in row], ages)
    assert [entry["id"] for entry in row] == [1, 2][: len(ages)]


@pytest.mark.parametrize(
    ("time", "unit"),
    [
        (NOW + 1, "s"),
        # Seconds taken for milliseconds, and the reverse; and a placeholder.
        (NOW - 60, "ms"),
        (NOW * 1000 - 60, "s"),
        (0, "s"),
        (-1, "s"),
    ],
)
def test_an_entry_that_is_not_of_the_past_is_rejected(time, unit):
    given = {
        "f": lists_of(pa.int64(), [1]),
        "times": lists_of(pa.int64(), [time]),
    }
    message = rf"row 0: the column 'times' \(age of .*'f'\).*before.*: {time}$"
    with pytest.raises(ValueError, match=message):
        read(given, **TIMED, time_column_unit=unit)


def test_an_attribute_stays_with_its_entry():
    """Also if entries before it are dropped; a missing one stays null."""
    columns = {
        "f": lists_of(pa.int64(), [1, None, 2, 3], [4]),
        "tags": lists_of(pa.string(), ["a", "b", None, "c"], ["d"]),
    }
    found = read(columns, **WITH_TAGS)
    assert [[(e["id"], e["attribute"]) for e in row] for row in found] == [
        [(2, None), (3, "c")],
        [(4, "d")],
    ]


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        (lists_of(pa.float64(), [1, 2], None, []), {}, [[1, 2], None, None]),
        (lists_of(pa.int8(), [1, 2]), {}, [[1, 2]]),
        (lists_of(pa.float32(), [math.nan, math.nan]), {}, [None]),
        (lists_of(pa.float32(), [None, None]), {}, [None]),
        (
            ["0.5 -1", "", "[1 2]"],
            {"separator": " "},
            [[0.5, -1], None, [1, 2]],
        ),
        (
            pa.array([[1, 2], None], pa.list_(pa.float32(), 2)),
            {},
            [[1, 2], None],
        ),
    ],
)
def test_vectors(values, fields, expected):
    assert read(values, **VECTOR, **fields) == expected


A = lists_of(pa.string(), ["a"], ["b"])


@pytest.mark.parametrize(
    ("values", "fields", "message"),
    [
        (
            ["a|b"],
            IDS,
            "lists or separated text, or set its `separator`. It is string",
        ),
        (
            [1.5],
            {**IDS, "separator": "|"},
            "should hold lists or separated text. It is double",
        ),
        ([True], IDS, "It is bool"),
        (["1", "1|x"], {**NUMBERS, "separator": "|"}, "row 1.*int64.*: 'x'"),
        (
            lists_of(pa.float32(), [1], [2.5]),
            NUMBERS,
            "row 1.*whole numbers.*: 2.5",
        ),
        (
            lists_of(pa.list_(pa.int64()), [[1]]),
            NUMBERS,
            "text or whole numbers. It is list",
        ),
        (
            ["a:1", "a:1|b"],
            {**WEIGHTED, "separator": "|"},
            "row 1.*a weight each.*: 'b'",
        ),
        (
            ["a:-1"],
            {**WEIGHTED, "separator": "|"},
            "row 0.*at least 0.*: '-1'",
        ),
        (["a:nan"], {**WEIGHTED, "separator": "|"}, "row 0.*finite.*: 'nan'"),
        (["a:inf"], {**WEIGHTED, "separator": "|"}, "row 0.*finite"),
        (["a:x"], {**WEIGHTED, "separator": "|"}, "row 0.*finite.*: 'x'"),
        (["a:"], {**WEIGHTED, "separator": "|"}, "row 0.*finite.*: ''"),
        (A, WEIGHTED, "row 0.*a weight each"),
        (
            lists_of(pa.int64(), [1]),
            WEIGHTED,
            "holds lists of int64.*pairs of id",
        ),
        (
            {"f": A},
            {**WEIGHTED, "weights": "w"},
            "lacks the column 'w'.*weight of the feature 'f' reads",
        ),
        (
            {"f": A, "w": lists_of(pa.float32(), [1], [])},
            {**WEIGHTED, "weights": "w"},
            "row 1: the column 'w'.*as many entries as the column 'f', 1",
        ),
        (
            {"f": A, "w": lists_of(pa.float32(), [1], [None])},
            {**WEIGHTED, "weights": "w"},
            "row 1: the column 'w'.*finite weights",
        ),
        (
            {
                "f": lists_of(pa.int64(), [1, 2]),
                "times": lists_of(pa.int64(), [1]),
            },
            TIMED,
            "'times'.*as many entries as the column 'f', 2",
        ),
        (
            lists_of(pa.float32(), [1, 2], [1]),
            VECTOR,
            r"row 1.*2 finite numbers, or none.*\[1.0\]",
        ),
        (lists_of(pa.float32(), [1, 2, 3]), VECTOR, "row 0.*2 finite"),
        (lists_of(pa.float32(), [1, None]), VECTOR, "row 0.*2 finite"),
        (lists_of(pa.float32(), [1, math.nan]), VECTOR, "row 0.*2 finite"),
        (lists_of(pa.float32(), [1, math.inf]), VECTOR, "row 0.*2 finite"),
        (["1 x"], {**VECTOR, "separator": " "}, "row 0.*numbers.*'x'"),
    ],
)
def test_what_cannot_be_read_is_said_where(values, fields, message):
    with pytest.raises(ValueError, match=message) as error:
        read(values, **fields)
    assert str(error.value).startswith("log.csv")
    assert "'f'" in str(error.value)


def test_an_error_shows_the_beginning_of_a_long_list():
    with pytest.raises(ValueError, match=r"Received: \[1.0, .{70,80}\.\.\.$"):
        read(lists_of(pa.float32(), [1] * 1_000), **VECTOR)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "ids", "table": "tag"}, "`max_length`.*from 1 to 65535"),
        ({**IDS, "max_length": 70_000}, "`max_length`.*from 1 to 65535"),
        ({**IDS, "pooling": "max"}, "`pooling`.*one of mean, sum, attention"),
        ({**IDS, "weights": "w"}, "`weights`.*is for the kinds weighted_ids"),
        ({**IDS, "length": 2}, "`length`.*set for vector only"),
        ({**IDS, "table": "nobody"}, "unknown table 'nobody'"),
        ({"kind": "vector"}, "`length`.*at least 1"),
        ({**SEQUENCE, "attribute_column": "x"}, "should both be set"),
        ({**WITH_TAGS, "attribute_table": "x"}, "unknown table 'x'"),
        ({"kind": "vector", "length": 2, "table": "tag"}, "`table`.*only"),
        ({**TIMED, "time_column_unit": "h"}, "`time_column_unit`.*s, ms, us"),
    ],
)
def test_fields_that_do_not_fit_are_rejected(fields, message):
    with pytest.raises(ValueError, match=message):
        read(["a"], **fields)
