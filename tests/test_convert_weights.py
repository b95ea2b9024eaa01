"""Weights of rows from logs to files."""

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf import windows
from ecdctr_tf.input import streams
from ecdctr_tf.input.conversion import converter, log_spec, logs, toml_spec
from ecdctr_tf.input.data_directory import DataDirectory
from tests import conversion_world as world

DAYS = windows.Window("2024-01-01", "2024-01-03")

SPEC = f"""
{world.USER_AND_ITEM}

[[logs]]
domain = "natural"
path = "feed.csv"
user = "user_id"
item = "item_id"
time = "time"
click = "click"

[[logs]]
domain = "ads"
path = "ads.csv"
user = "user_id"
item = "item_id"
time = "time"
click = "click"
"""
# Days 2024-01-01 and 02; `w` is the weight.
ROWS = """user_id,item_id,time,click,w
1,10,1704067200,1,2.5
2,11,1704067260,0,{w}
1,11,1704153600,0,1
"""


def weights(path, domain="natural", window=DAYS):
    """Return the weights of the rows, by click and price."""
    columns = streams.read_columns(DataDirectory(path), domain, window)
    return columns["weight"]


def convert_logs(place, w="0", of_ads="", of_feed=""):
    """Convert two small files; `of_*` are further lines of their logs."""
    for name in ("feed.csv", "ads.csv"):
        (place / name).write_text(ROWS.format(w=w))
    feed, ads = SPEC.rsplit("[[logs]]", 1)
    text = f"{feed}{of_feed}\n[[logs]]{ads}{of_ads}\n"
    (place / "logs.toml").write_text(text)
    spec = toml_spec.ConversionSpec.load(place / "logs.toml")
    out = place / "data"
    converter.convert_tables(
        spec, logs.tables(spec, place), out, progress=False
    )
    return out


def read(path, domain):
    """Return the weights in order of time."""
    window = windows.Window("2024-01-01", "2024-01-02")
    return weights(path, domain, window).tolist()


def test_a_column_of_weights_of_one_domain(tmp_path):
    path = convert_logs(tmp_path, w="0.25", of_ads='weight = "w"')
    assert read(path, "ads") == [2.5, 0.25, 1]
    assert read(path, "natural") == [1, 1, 1]


def test_a_downsampled_log(tmp_path):
    path = convert_logs(tmp_path, of_ads="downsampled = 0.125")
    assert read(path, "ads") == [1, 8, 8]
    assert read(path, "natural") == [1, 1, 1]


def test_each_domain_has_its_own_share(tmp_path):
    path = convert_logs(
        tmp_path, of_ads="downsampled = 0.5", of_feed="downsampled = 0.01"
    )
    assert read(path, "ads") == [1, 2, 2]
    assert read(path, "natural") == [1, 100, 100]


def test_logs_of_one_domain_with_and_without_weights(tmp_path):
    plain, weighed = world.table(0), world.table(1)
    clicks = weighed["click"].to_numpy()
    weighed = weighed.append_column("weight", pa.array(2.0 - clicks))
    for name, tables in (("a", [plain, weighed]), ("b", [weighed, plain])):
        path = world.convert(tmp_path, [("ads", t) for t in tables], name)
        found = weights(path, "ads")
        assert (found == 2).sum() == (clicks == 0).sum()
        assert (found == 1).sum() == len(found) - (clicks == 0).sum()
    assert world.everything(tmp_path / "a") == world.everything(tmp_path / "b")


def test_weights_of_1_make_the_same_files_as_none(tmp_path):
    table = world.table(0)
    ones = table.append_column("weight", pa.array(np.ones(len(table))))
    for name, rows in (("none", table), ("ones", ones)):
        world.convert(tmp_path, [("ads", rows)], name)
    found = [world.everything(tmp_path / name) for name in ("none", "ones")]
    assert found[0] == found[1]


def test_appended_weights_make_the_same_files(tmp_path):
    table = world.table(0)
    weighed = table.append_column(
        "weight", pa.array(np.arange(len(table)) % 4 / 2)
    )
    tables = [("ads", weighed)]
    whole = world.convert(tmp_path, tables, "whole")
    grown = world.convert(tmp_path, world.of_days(tables, 0, 1), "grown")
    world.append(grown, world.of_days(tables, 1, 3))
    assert world.everything(whole) == world.everything(grown)


@pytest.mark.parametrize(
    "weight",
    ["-1", "-0.0001", "nan", "", "inf", "1e7", "1000001", "much", "0x10"],
)
def test_weights_that_mean_nothing_are_rejected(tmp_path, weight):
    with pytest.raises(ValueError) as error:
        convert_logs(tmp_path, w=weight, of_ads='weight = "w"')
    message = str(error.value)
    assert "ads.csv" in message
    assert (
        "'w' (the weight) should hold a weight from 0 to 1,000,000" in message
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("weight", ["0", "1000000", "1e-30", "3", "0.1"])
def test_weights_from_0_to_a_million_are_taken(tmp_path, weight):
    path = convert_logs(tmp_path, w=weight, of_ads='weight = "w"')
    assert read(path, "ads") == [2.5, np.float32(float(weight)), 1]


@pytest.mark.parametrize("share", [0, -0.1, 1.5, 10, float("nan"), 1e-9])
def test_shares_that_mean_nothing_are_rejected(share):
    with pytest.raises(ValueError, match="`downsampled` of the log 'a' should"):
        log_spec.Log("ads", "a", "u", "i", "t", click="c", downsampled=share)


def test_a_log_says_one_thing_of_its_weights():
    with pytest.raises(ValueError, match="`weight` or `downsampled`, not both"):
        log_spec.Log(
            "ads", "a", "u", "i", "t", click="c", weight="w", downsampled=0.1
        )


def test_a_missing_column_of_weights_is_named(tmp_path):
    with pytest.raises(ValueError, match="lacks the column 'ww', which the we"):
        convert_logs(tmp_path, of_ads='weight = "ww"')


def test_clicks_alone_have_no_weights(tmp_path):
    spec = world.spec(negatives={"natural": {"per_click": 1}})
    table = world.table(0, clicks=False)
    table = table.append_column("weight", pa.array(np.ones(len(table))))
    with pytest.raises(ValueError, match="has weights, but no label"):
        world.convert(tmp_path, [("natural", table)], spec=spec)
