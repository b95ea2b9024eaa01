"""The conversion specs of public data sets, on files of their formats."""

import pathlib

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf.input import convert, data_directory, streams
from ecdctr_tf.input.conversion import log_spec, logs, toml_spec
from tests import public_formats

LOGS = pathlib.Path(__file__).parents[2] / "shared" / "data"


def _spec(name: str) -> toml_spec.ConversionSpec:
    return toml_spec.ConversionSpec.load(convert.find_spec(f"{name}.toml"))


def _converted(name: str, source: pathlib.Path, out: pathlib.Path) -> dict:
    return convert.convert_logs(_spec(name), source, out, progress=False)


@pytest.mark.parametrize("name", public_formats.ALL)
def test_files_of_the_format_convert(tmp_path, name):
    public_formats.ALL[name](tmp_path / "logs")
    out = tmp_path / "data"
    summary = _converted(name, tmp_path / "logs", out)
    for domain in ("natural", "ads"):
        assert summary[domain]["rows"] > 0
        assert 0 < summary[domain]["ctr"] < 1
    assert summary["overlap"]["user"]["ids"] > 0.5
    data = data_directory.DataDirectory(out)
    for feature in data.spec.basic().features:
        rows = _rows(data, "natural", feature.name)
        assert rows.max() > 1, f"{feature.name} has one value"


@pytest.mark.parametrize(
    "name, feature",
    [("kuairand", "tags"), ("digix", "interests_now"), ("mind", "history")],
)
def test_lists_are_read_whole(tmp_path, name, feature):
    public_formats.ALL[name](tmp_path / "logs")
    _converted(name, tmp_path / "logs", tmp_path / "data")
    data = data_directory.DataDirectory(tmp_path / "data")
    rows = _rows(data, "natural", feature)
    assert len(np.unique(rows[:, 1])) > 1


def _rows(data, domain: str, name: str) -> np.ndarray:
    window = data.window(domain)
    return streams.read_columns(data, domain, window)[name]


@pytest.mark.parametrize(
    "name, folder", [("mind", "mind_sample"), ("ebnerd", "ebnerd_sample")]
)
def test_real_samples_convert(tmp_path, name, folder):
    if not (LOGS / folder).is_dir():
        pytest.skip(
            f"../shared/data/{folder} is absent; its licence keeps it out"
        )
    summary = _converted(name, LOGS / folder, tmp_path / "data")
    assert summary["natural"]["rows"] > 0
    assert 0 < summary["natural"]["ctr"] < 0.3


def test_an_ad_and_an_item_of_one_number_stay_two(tmp_path):
    public_formats.digix(tmp_path / "logs")
    summary = _converted("digix", tmp_path / "logs", tmp_path / "data")
    assert summary["overlap"]["item"] == {"ids": 0, "rows": 0}


def _in_order(**log) -> toml_spec.ConversionSpec:
    """Return a spec of a log without a time."""
    return toml_spec.from_dict(
        {
            "logs": [
                {
                    "domain": "natural",
                    "path": "*.csv",
                    "user": "user_id",
                    "item": "item_id",
                    "time_origin": "2021-01-01",
                    **log,
                }
            ],
            "tables": [{"name": "user"}, {"name": "item"}],
            "features": [
                {"name": "user_id", "table": "user", "basic": True},
                {"name": "item_id", "table": "item", "basic": True},
            ],
        }
    )


def test_rows_in_order_are_divided_into_days(tmp_path):
    for name in ("a", "b"):
        public_formats.write(
            tmp_path / f"{name}.csv",
            {"user_id": range(5), "item_id": range(5)},
        )
    spec = _in_order(rows_per_day=4)
    tables = [table for _, table in logs.tables(spec, tmp_path)]
    seconds = pa.concat_tables(tables)["timestamp"].to_pylist()
    # The second file goes on where the first one ends.
    assert seconds == [86_400 * i // 4 for i in range(10)]


@pytest.mark.parametrize(
    "log",
    [
        {},
        {"rows_per_day": 0},
        {"rows_per_day": -1},
        {"rows_per_day": 5, "time": "t"},
        {"rows_per_day": -5, "time": "t"},
    ],
)
def test_a_log_has_a_time_or_an_order(log):
    with pytest.raises(ValueError, match="`time` of the log.*`rows_per_day`"):
        _in_order(**log)


def test_rows_per_day_is_a_key_of_logs():
    log = log_spec.Log("ads", "x", "u", "i", rows_per_day=3)
    assert (log.time, log.rows_per_day) == ("", 3)
