import pyarrow as pa
import pytest
from absl import flags
from absl.testing import flagsaver

from ecdctr_tf.input import convert
from ecdctr_tf.input.conversion import toml_spec, two_passes
from tests import conversion_world as world


def _with(table, name, values, dtype=None):
    place = table.column_names.index(name)
    return table.set_column(place, name, pa.array(values, dtype))


def _convert(tmp_path, table, domain="natural", **options):
    return world.convert(tmp_path, [(domain, table)], **options)


@pytest.mark.parametrize(
    "name, value, message",
    [
        (
            "click",
            2,
            r"row 1: the column 'click' .the label. should hold 0 or 1.*2",
        ),
        (
            "click",
            None,
            r"row 1: .*'click' .*should hold 0 or 1.*Received: None",
        ),
        (
            "user_id",
            None,
            r"row 1: .*'user_id' .*an id in every row.*null_user",
        ),
        (
            "item_id",
            None,
            r"row 1: .*'item_id' .*an id in every row.*null_item",
        ),
        ("timestamp", None, r"row 1: .*'timestamp' .*a time in every row"),
        ("price", float("inf"), r"row 1: .*'price' .*hold finite numbers.*inf"),
    ],
)
def test_bad_values_are_refused(tmp_path, name, value, message):
    table = world.table(0, 3)
    values = table[name].to_pylist()
    values[1] = value
    with pytest.raises(ValueError, match=r"Table 0 of natural, " + message):
        _convert(tmp_path, _with(table, name, values))
    assert list(tmp_path.iterdir()) == []


def test_wrong_type_is_refused(tmp_path):
    table = _with(world.table(0, 2), "user_id", ["1", "abc"])
    message = r"row 1: the column 'user_id' .* of the type int64.*'abc'"
    with pytest.raises(ValueError, match=message):
        _convert(tmp_path, table)


def test_missing_column_is_refused(tmp_path):
    table = world.table(0, 2).drop_columns(["device"])
    message = r"lacks the column 'device', which the feature 'device' reads"
    with pytest.raises(ValueError, match=message):
        _convert(tmp_path, table)
    table = world.table(0, 2).drop_columns(["timestamp"])
    with pytest.raises(ValueError, match="lacks the column 'timestamp'"):
        _convert(tmp_path, table)


def test_time_outside_the_day_is_refused(tmp_path):
    spec = world.spec(first_day="2024-01-01")
    table = world.table(0, 2, days=1)
    good = table.append_column("day", pa.array([0, 0]))
    _convert(tmp_path, good, name="good", spec=spec)
    bad = table.append_column("day", pa.array([0, 1]))
    message = r"row 1: the column 'day' .*the event's time in the zone.*"
    with pytest.raises(ValueError, match=message + "`utc_offset_hours`"):
        _convert(tmp_path, bad, spec=spec)
    dates = table.append_column("day", pa.array(["2024-01-01", "2023-12-31"]))
    with pytest.raises(ValueError, match=r"'2023-12-31' at 2024-01-01"):
        _convert(tmp_path, dates, spec=spec)


def test_clicks_without_a_rule_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"add a table \[negatives.ads\]"):
        _convert(tmp_path, world.table(0, 2, clicks=False), "ads")


def test_tables_with_and_without_clicks_are_refused(tmp_path):
    tables = [("ads", world.table(0)), ("ads", world.table(0, clicks=False))]
    with pytest.raises(ValueError, match="Table 1 of ads: all tables of ads"):
        world.convert(tmp_path, tables)


def test_unknown_domain_no_rows_and_bad_options_are_refused(tmp_path):
    table = world.table(0, 2)
    with pytest.raises(ValueError, match="one of natural, ads. Received: 'x'"):
        _convert(tmp_path, table, "x")
    with pytest.raises(ValueError, match="There are no rows to convert"):
        _convert(tmp_path, table.slice(0, 0))
    with pytest.raises(ValueError, match="format should be one of blocks"):
        _convert(tmp_path, table, file_format="csv")
    with pytest.raises(ValueError, match="`rows_per_file` should be at least"):
        _convert(tmp_path, table, rows_per_file=0)
    assert list(tmp_path.iterdir()) == []


def test_existing_directory_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(FileExistsError, match="data already exists"):
        _convert(tmp_path, world.table(0, 2))
    assert list((tmp_path / "data").iterdir()) == []


def test_a_fault_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(two_passes.Passes, "_impressions", fail)
    with pytest.raises(KeyboardInterrupt):
        _convert(tmp_path, world.table(0))
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_runs_are_removed(tmp_path):
    (tmp_path / ".staging-data-01234567" / "natural").mkdir(parents=True)
    _convert(tmp_path, world.table(0, 2))
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"colour": 1}, "conversion spec has unknown keys: colour. The known"),
        (
            {"counts": [{"name": "n", "of": ["user_id"], "colour": 1}]},
            r"\[\[counts\]\] has unknown keys: colour. The known keys are",
        ),
        ({"ages": [{}]}, r"\[\[ages\]\] lacks name"),
        ({"ages": ["n"]}, r"\[\[ages\]\] should be a table. Received: 'n'"),
        (
            {"counts": [{"name": "n", "of": ["price"]}]},
            r"`of` of the count 'n' should name id features",
        ),
        (
            {"counts": [{"name": "n", "of": ["user_id"], "event": "buy"}]},
            "`event` of the count 'n' should be one of click, impression",
        ),
        (
            {"counts": [{"name": "n", "of": []}]},
            "`of` of the count 'n' should name one or two",
        ),
        (
            {"features": [{"name": "f", "kind": "image"}]},
            "`kind` of the feature 'f' should be one of id, sequence, dense",
        ),
        (
            {"features": [{"name": "f", "time": "minute"}]},
            "`time` of the feature 'f' should be one of , hour, weekday",
        ),
        (
            {"features": [{"name": "f", "divide": 0}]},
            "`divide` of the feature 'f' should be at least 1",
        ),
        (
            {"sequences": [{"name": "s", "table": "shop", "max_length": 1}]},
            "names the unknown table 'shop'",
        ),
        ({"min_count": {"shop": 2}}, "There is no table 'shop'"),
        ({"negatives": {"ads": {"per_click": 0}}}, "`per_click` of the neg"),
        ({"negatives": {"web": {}}}, "`domain` of `negatives`.*'web'"),
        ({"first_day": "1 May"}, "written YYYY-MM-DD. Received: '1 May'"),
        ({"user": "price"}, "'price' should be"),
        ({"negatives": 1}, r"\[negatives\] should be a table. Received: 1"),
        ({"tables": {"name": "user"}}, r"\[\[tables\]\] should be a list"),
        (
            {"features": [{"name": 5}]},
            r"`name` of \[\[features\]\] should be text. Received: 5",
        ),
        (
            {"features": [{"name": "f", "basic": 1}]},
            r"`basic` of \[\[features\]\] should be true or false",
        ),
        ({"evaluation": "ctr"}, "`evaluation` of the.*a list whose entries"),
        ({"min_count": {"user": "2"}}, "`min_count`.*are a whole number"),
        ({"utc_offset_hours": "1"}, "`utc_offset_hours`.*a finite number"),
        ({"utc_offset_hours": float("nan")}, "`utc_offset_hours`.*finite"),
        ({"first_day": 1}, "`first_day`.*should be text"),
        ({"logs": [{"joins": 1}]}, r"\[\[logs.joins\]\] should be a list"),
        ({"logs": ["x"]}, r"\[\[logs\]\] should be a table"),
        (
            {"sequences": [{"name": "self", "table": "item", "max_length": 1}]},
            "Received: 'self'",
        ),
        ({"ages": [{"name": "a/b"}]}, "Received: 'a/b'"),
        ({"counts": [{"name": "größe", "of": ["user_id"]}]}, "'größe'"),
        ({"evaluation": ["../x"]}, "evaluation column.*'../x'"),
        ({"ages": [{"name": "PRICE"}]}, "'price' and 'PRICE'"),
    ],
)
def test_bad_specs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        world.spec(**changes)


def _run(tmp_path, log, text="user_id,item_id,device,price,time,click\n"):
    (tmp_path / "log.csv").write_text(text)
    whole = {
        "domain": "ads",
        "name": "shown",
        "path": "log.csv",
        "user": "user_id",
        "item": "item_id",
        "time": "time",
        "click": "click",
        **log,
    }
    convert.convert_logs(
        world.spec(logs=[whole]), tmp_path, tmp_path / "out", progress=False
    )


_HEADER = "user_id,item_id,device,price,time,click\n"
_ROW = "1,a,tv,2.5,1704070000,1\n"


@pytest.mark.parametrize(
    "log, text, message",
    [
        ({"path": "no*.csv"}, _ROW, "No file matches .*no.*--source"),
        ({"user": "who"}, _HEADER + _ROW, "log.csv lacks the column 'who'"),
        ({}, _HEADER, "There are no rows to convert"),
        ({}, "", "There are no rows to convert"),
        (
            {},
            _HEADER + "1,a\n",
            "log.csv, row 0: there should be 6 ",
        ),
        (
            {},
            _HEADER + _ROW + "1,a,tv,1,x,1\n",
            "row 1: .*'time' .*should hold times.*'x'",
        ),
        (
            {},
            _HEADER + _ROW + "1,a,tv,inf,1704070000,1\n",
            "log.csv, row 1: .*'price' .*finite numbers",
        ),
        (
            {"keep": {"user_id": [2]}},
            _HEADER + _ROW + "2,a,tv,1,1704070000,7\n",
            "log.csv, row 1: .*'click' .*0 or 1",
        ),
        (
            {"click_at_least": 3},
            _HEADER + _ROW + "2,a,tv,1,1704070000,yes\n",
            "log.csv, row 1: the column 'click' .* hold numbers.*'yes'",
        ),
        (
            {"time_format": "%d.%m.%Y"},
            _HEADER + _ROW,
            "row 0: .*'time' .*times as `time_format` '%d.%m.%Y' says",
        ),
        (
            {"where": [{"weights": {"device": 1}, "modulo": 2}]},
            _HEADER + _ROW,
            "row 0: the column 'device' .a `where` of the log. .*'tv'",
        ),
        ({"domain": "web"}, _ROW, "`domain` of the log 'shown'.*'web'"),
        ({"time_unit": "h"}, _ROW, "`time_unit` of the log 'shown'.*'h'"),
        ({"encoding": "utf8x"}, _ROW, "`encoding` of the log 'shown'.*'utf8x'"),
        ({"delimiter": ""}, _ROW, "`delimiter` of the log 'shown' should not"),
        ({"encoding": "ascii"}, _HEADER + "1,ä,tv,1,1704070000,1\n", "log.csv"),
        (
            {},
            _HEADER + "1,a,tv,2.5,1704070000000,1\n",
            "row 0: .*'time' .*in the years 1980 to 2099.*\"ms\"",
        ),
        (
            {"where": [{"weight": {}}]},
            _ROW,
            r"\[\[logs.where\]\] has unknown keys: weight",
        ),
    ],
)
def test_bad_logs_are_refused(tmp_path, log, text, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        _run(tmp_path, log, text)
    assert [p.name for p in tmp_path.iterdir()] in (["log.csv"], [])


def test_join_with_a_key_twice_is_refused(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,price\na,1\na,2\n")
    join = {
        "path": "items.csv",
        "on": "item_id",
        "key": "item_id",
        "take": ["price"],
    }
    with pytest.raises(
        ValueError, match="'item_id' should hold each key.*2 times: 'a'"
    ):
        _run(tmp_path, {"joins": [join]}, _HEADER + _ROW)


def test_damaged_parquet_is_refused(tmp_path):
    (tmp_path / "log.parquet").write_bytes(b"no parquet here")
    with pytest.raises(ValueError, match="log.parquet cannot be read"):
        _run(tmp_path, {"path": "log.parquet"})


def test_unreadable_spec_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no conversion spec at"):
        toml_spec.ConversionSpec.load(tmp_path / "none.toml")
    path = tmp_path / "spec.toml"
    deep = "x = " + "[" * 5000 + "]" * 5000
    for content in (b"tables = [", b"x = '\xff'", deep.encode()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="spec.toml: "):
            toml_spec.ConversionSpec.load(path)


def _main(capsys, argv=("convert",), **values):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.as_parsed(**values), pytest.raises(SystemExit) as caught:
        convert.main(list(argv))
    assert caught.value.code == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


def test_main_says_one_line(tmp_path, capsys):
    assert "--spec is required" in _main(capsys)
    assert "--out is required" in _main(capsys, spec="globo.toml")
    assert "--flag=value" in _main(capsys, argv=("convert", "x"))
    out = str(tmp_path / "out")
    text = _main(capsys, spec="none.toml", out=out)
    assert text == "error: There is no conversion spec at none.toml.\n"
    text = _main(capsys, spec="globo.toml", out=out, source=str(tmp_path))
    assert "No file matches" in text
    text = _main(capsys, spec="globo.toml", out=out, log=["clicks"])
    assert "--log should be name=path. Received: 'clicks'" in text
    text = _main(capsys, spec="globo.toml", out=out, log=["x=y"])
    assert "There is no log called x. The names are clicks, target" in text
