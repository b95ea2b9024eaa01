"""Event times and days, however they are written."""

import datetime
import decimal

import pyarrow as pa
import pytest

from ecdctr_tf import windows
from ecdctr_tf.input.conversion import log_columns, times, zones
from tests import log_world as world

UTC, BERLIN = zones.Zone(), zones.Zone("Europe/Berlin")
TEXT = "%Y-%m-%d %H:%M:%S"
NOON = world.second("2024-05-01 12:00:00")


def _seconds(values, dtype=None, **reading):
    column = log_columns.LogColumn(pa.array(values, dtype), "at", "log.csv")
    found, uncertain = times.seconds(column, times.Reading(**reading))
    return found.to_pylist(), uncertain


@pytest.mark.parametrize(
    "value, dtype, reading",
    [
        (NOON, None, {}),
        (NOON + 0.75, None, {}),
        (NOON * 1000 + 999, None, {"unit": "ms"}),
        (NOON * 10**9 + 1, None, {"unit": "ns"}),
        (str(NOON), None, {}),
        (f"{NOON}.25", None, {}),
        (decimal.Decimal(NOON), None, {}),
        (NOON - world.second("2024-01-01 00:00:00"), None, {"origin": "2024"}),
        ("2024-05-01 12:00:00", None, {"format": TEXT}),
        ("2024-05-01 12:00:00.999", None, {"format": TEXT + ".%f"}),
        ("2024-05-01 12:00:00,5", None, {"format": TEXT + ",%f"}),
        ("2024-05-01 12:00:00", None, {"format": TEXT + ".%f"}),
        ("2024-05-01 20:00:00+0800", None, {"format": TEXT + "%z"}),
        ("2024-05-01 20:00:00.5+08:00", None, {"format": TEXT + ".%f%z"}),
        ("01.05.2024 12:00:00.5", None, {"format": "%d.%m.%Y %H:%M:%S.%f"}),
        ("01.05.2024 12:00:00", None, {"format": "%d.%m.%Y %H:%M:%S.%f"}),
        ("2024-05-01T12:00:00.123456789Z", None, {"format": "iso"}),
        ("2024-05-01T12:00:00Z", None, {"format": "iso", "zone": BERLIN}),
        ("2024-05-01T08:30:00.5-03:30", None, {"format": "iso"}),
        ("2024-05-01 14:00:00", None, {"format": "iso", "zone": BERLIN}),
        ("2024-05-01 14:00:00", None, {"format": TEXT, "zone": BERLIN}),
        ("01/05/2024 12:00:00 PM", None, {"format": "%d/%m/%Y %I:%M:%S %p"}),
        (24050112, None, {"format": "%y%m%d%H"}),
        (NOON * 10**6, pa.timestamp("us", "America/New_York"), {"naive": None}),
        (NOON, pa.timestamp("s"), {}),
        (NOON + 7200, pa.timestamp("s"), {"naive": BERLIN}),
    ],
)
def test_times_in_all_forms(value, dtype, reading):
    if reading.get("origin"):
        reading = {"origin": world.second("2024-01-01 00:00:00")}
    assert _seconds([value, None], dtype, **reading) == ([NOON, None], 0)


def test_each_text_has_the_zone_that_it_says():
    values = ["2024-05-01T12:00:00Z", "2024-05-01 14:00:00", "2024-05-01"]
    midnight = world.second("2024-04-30 22:00:00")
    found = _seconds(values, format="iso", zone=BERLIN)
    assert found == ([NOON, NOON, midnight], 0)


@pytest.mark.parametrize("end", ["Z", " UTC", " GMT"])
def test_a_format_that_says_utc_is_of_no_other_zone(tmp_path, end):
    text = f"2024-05-01 12:00:00{end}"
    world.write(tmp_path / "natural.csv", time=[text] * 3)
    log = {"path": "natural.csv", "time_format": TEXT + end}
    world.convert_logs(tmp_path, world.spec(log, time_zone="Asia/Tokyo"))
    assert world.rows(tmp_path)["timestamp"] == [NOON] * 3
    with pytest.raises(ValueError, match="says that times are UTC.*Tokyo"):
        world.spec({**log, "time_zone": "Asia/Tokyo"})


@pytest.mark.parametrize(
    "given, message",
    [
        ("%Y-%m-%d %I:%M:%S", "both %I.*and %p"),
        ("%Y-%m-%d %H:%M:%S %p", "both %I.*and %p"),
        ("%Y-%m-%d %H:%M:%S %Z", "cannot have %Z"),
    ],
)
def test_formats_that_leave_the_time_open_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        world.spec({"path": "natural.csv", "time_format": given})


def test_numbers_that_are_dates_and_hours_are_not_seconds():
    with pytest.raises(ValueError, match='"%Y%m%d%H"` .*Received: 2024050112'):
        _seconds([None, 2024050112, 2024050113])
    assert _seconds([2024050112, 2024059912])[0] == [2024050112, 2024059912]
    assert _seconds([2024050112], format="%Y%m%d%H")[0] == [NOON]


@pytest.mark.parametrize(
    "dtype", [pa.time64("us"), pa.duration("s"), pa.bool_()]
)
def test_types_that_hold_no_times_are_refused(dtype):
    with pytest.raises(ValueError, match="should hold times.*It is"):
        _seconds([None], dtype)


def test_dates_are_midnights_of_their_zone():
    zone = zones.Zone(offset=-3 * 3600)
    date = datetime.date(2024, 5, 1)
    expected = world.second("2024-05-01 03:00:00")
    assert _seconds([date], zone=zone) == ([expected], 0)
    assert _seconds([20240501], format="%Y%m%d", zone=zone) == ([expected], 0)


def test_nights_in_which_clocks_are_changed():
    # Back: 02:30 is twice. Forward: it is not there.
    local = [
        "2024-10-27 02:30:00",
        "2024-03-31 02:30:00",
        "2024-10-27 03:30:00",
    ]
    first = world.second("2024-10-27 00:30:00")
    found = _seconds(local, format=TEXT, zone=BERLIN)
    assert found == ([first, None, first + 2 * 3600], 1)


@pytest.mark.parametrize(
    "values, reading, message",
    [
        (
            ["2024-05-01"],
            {},
            "row 0: the column 'at' should hold times.*2024-05",
        ),
        (["1", "x"], {}, "row 1: .*Received: 'x'"),
        (["2024-05-01", "x"], {"format": "%Y-%m-%d"}, "row 1: .*%Y-%m-%d.*'x'"),
        (["2024-02-30"], {"format": "%Y-%m-%d"}, "Received: '2024-02-30'"),
        (
            ["2024-05-01 12:00:00.5"],
            {"format": TEXT},
            "'2024-05-01 12:00:00.5'",
        ),
        (["1 May"], {"format": "iso"}, "`time_format` 'iso'.*'1 May'"),
        ([float("inf")], {}, "Received: inf"),
        (
            [datetime.datetime(2024, 5, 1)],
            {"naive": None},
            "`time_zone` of the",
        ),
        ([[1]], {}, "should hold times.*It is list"),
    ],
)
def test_what_is_no_time_is_refused(values, reading, message):
    with pytest.raises(ValueError, match=message):
        _seconds(values, **reading)


@pytest.mark.parametrize(
    "second, unit, advice",
    [
        (NOON * 1000, "s", '`time_unit = "ms"`'),
        (NOON * 10**6, "ms", '`time_unit = "us"`'),
        (NOON, "ms", '`time_unit = "s"`'),
        (NOON * 1000, "us", '`time_unit = "ms"`'),
        (NOON * 10**9, "s", '`time_unit = "ns"`'),
        (20240501, "s", '`time_format = "%Y%m%d"`'),
        (0, "s", 'wrong_time = "drop"'),
        (-1, "s", "1980 to 2099; it is read as s"),
        (2**62, "s", "1980 to 2099"),
        (None, "s", "hold a time in every row"),
    ],
)
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_times_of_another_unit(tmp_path, second, unit, advice, kind):
    world.write(
        tmp_path / f"natural.{kind}",
        time=pa.array(
            [NOON * times.UNITS[unit], second], pa.int64()
        ).to_pylist(),
        rows=2,
    )
    given = world.spec({"path": f"natural.{kind}", "time_unit": unit})
    with pytest.raises(ValueError) as caught:
        world.convert_logs(tmp_path, given)
    text = str(caught.value)
    assert f"natural.{kind}, row 1: the column 'time' (the event time)" in text
    assert advice in text
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "text, given, message",
    [
        ("24-05-01 12:00", "%Y-%m-%d %H:%M", "%y of `time_format` reads years"),
        ("20240501T120000Z", "iso", "such as 2024-05-01T12:00:00Z; a strptime"),
    ],
)
def test_a_format_that_nearly_fits(tmp_path, text, given, message):
    world.write(tmp_path / "natural.csv", time=[text] * 3)
    log = {"path": "natural.csv", "time_format": given}
    with pytest.raises(ValueError, match=f"row 0: .*{message}"):
        world.convert_logs(tmp_path, world.spec(log))


def test_times_that_are_all_dropped_are_said(tmp_path):
    world.write(tmp_path / "natural.parquet", time=[5, 6, 7])
    message = "There are no rows .* 3 of natural: dropped without a possible"
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, world.spec(wrong_time="drop"))


@pytest.mark.parametrize(
    "days, rows, said",
    [
        ((0, 1, 2, 25), 1, True),
        ((0, 1, 2, 4), 1, True),
        ((0, 1, 2, 3), 1, False),
        ((0, 1, 2, 25), 20, False),
    ],
)
def test_a_last_day_of_few_rows_behind_a_gap_is_said(
    tmp_path, caplog, days, rows, said
):
    """It may be a wrong time, and no day before it can be appended."""
    *usual, last = days
    times = [NOON + day * world.DAY + i for day in usual for i in range(20)]
    times += [NOON + last * world.DAY + i for i in range(rows)]
    world.write(tmp_path / "natural.parquet", len(times), time=times)
    world.convert_logs(tmp_path, world.spec())
    name = windows.plus("2024-05-01", last)
    text = f"natural.parquet, row 60: the last day of natural, {name}, has 1"
    assert (text in caplog.text) == said
    assert (f"--drop_from={name}" in caplog.text) == said


def test_a_time_that_there_was_not_says_so(tmp_path):
    text = "2024-03-31 02:30:00"
    world.write(tmp_path / "natural.csv", time=[text] * 3)
    log = {"path": "natural.csv", "time_format": TEXT}
    message = "row 0: .* there was: in Europe/Berlin, clocks went forward over"
    with pytest.raises(ValueError, match=f"{message}.*`time_zone` of the log"):
        world.convert_logs(tmp_path, world.spec(log, time_zone="Europe/Berlin"))


def test_the_range_of_times_is_said(tmp_path):
    world.write(tmp_path / "natural.parquet", time=[5, NOON, 90])
    message = "go from 1970-01-01 00:00:05 UTC to 2024-05-01 12:00:00 UTC"
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, world.spec())


FAR = {
    "in 1970": 0,
    "null": None,
    "in ms": NOON * 1000,
    "a year early": NOON - 366 * world.DAY,
    "40 days late": NOON + 40 * world.DAY,
    "in 2034": NOON + 4000 * world.DAY,
}


@pytest.mark.parametrize("second", FAR.values(), ids=FAR)
@pytest.mark.parametrize("domain", ["natural", "ads"])
def test_one_row_with_a_wrong_time(tmp_path, second, domain):
    for name in ("natural", "ads"):
        wrong = second if name == domain else NOON + 2
        world.write(
            tmp_path / f"{name}.parquet",
            time=pa.array(
                [NOON, NOON + 1, wrong, NOON + world.DAY], pa.int64()
            ),
            rows=4,
        )
    logs = [
        {"path": "natural.parquet"},
        {"path": "ads.parquet", "domain": "ads"},
    ]
    with pytest.raises(ValueError, match=f"{domain}.parquet, row 2: .*time"):
        world.convert_logs(tmp_path, world.spec(*logs))
    given = world.spec(*logs, wrong_time="drop")
    summary = world.convert_logs(tmp_path, given)
    assert sum(summary["counts"][domain].values()) == 1
    assert summary[domain]["rows"] == 3
    assert world.days(tmp_path, domain) == ["2024-05-01", "2024-05-02"]


@pytest.mark.parametrize("rows, right", [(3, True), (1, False)])
def test_days_behind_a_pause_are_right_if_they_are_as_full(
    tmp_path, rows, right
):
    """Two full days are no fault of a clock; a row or two may be one."""
    days = [*[0] * 12, *[1] * 12, *[50] * rows, *[51] * rows]
    times = [NOON + day * world.DAY for day in days]
    world.write(tmp_path / "natural.parquet", len(days), time=times)
    if right:
        world.convert_logs(tmp_path, world.spec())
        assert len(world.days(tmp_path)) == 52
        return
    with pytest.raises(ValueError, match="row 24: .* so are 1 further rows"):
        world.convert_logs(tmp_path, world.spec())


def test_a_pause_may_be_long_if_the_spec_says_so(tmp_path):
    world.write(
        tmp_path / "natural.parquet",
        time=[NOON, NOON + 40 * world.DAY, NOON + 41 * world.DAY],
    )
    given = world.spec(longest_gap_days=60)
    summary = world.convert_logs(tmp_path, given)
    assert len(world.days(tmp_path)) == 42
    assert summary["counts"]["natural"] == {}


def test_one_row_of_the_future_does_not_close_a_data_directory(tmp_path):
    world.write(tmp_path / "natural.parquet", time=[NOON] * 3)
    world.convert_logs(tmp_path, world.spec())
    late = NOON + world.DAY
    world.write(
        tmp_path / "natural.parquet",
        time=[late, late + 4000 * world.DAY, late],
    )
    with pytest.raises(ValueError, match="natural.parquet, row 1: .*2035"):
        world.convert_logs(tmp_path, world.spec(), append=True)
    assert world.days(tmp_path) == ["2024-05-01"]
    given = world.spec(wrong_time="drop")
    summary = world.convert_logs(tmp_path, given, append=True)
    assert summary["natural"]["rows"] == 5
    assert world.days(tmp_path) == ["2024-05-01", "2024-05-02"]


@pytest.mark.parametrize(
    "days, changes",
    [
        ([20240501, 20240502], {}),
        (["20240501", "20240502"], {}),
        (["2024-05-01", "2024-05-02"], {}),
        (["2024-05-01 00:00:00", "2024-05-02"], {}),
        ([0, 1], {"first_day": "2024-05-01"}),
        ([datetime.date(2024, 5, 1), datetime.date(2024, 5, 2)], {}),
        ([datetime.datetime(2024, 5, 1), datetime.datetime(2024, 5, 2)], {}),
    ],
)
def test_day_columns_in_all_forms(tmp_path, days, changes):
    world.write(
        tmp_path / "natural.parquet",
        rows=2,
        time=[NOON, NOON + world.DAY],
        dt=pa.array(days),
    )
    log = {"path": "natural.parquet", "day": "dt"}
    world.convert_logs(tmp_path, world.spec(log, **changes))
    assert world.days(tmp_path) == ["2024-05-01", "2024-05-02"]
    world.write(
        tmp_path / "natural.parquet",
        rows=2,
        time=[NOON, NOON + world.DAY],
        dt=pa.array(days[::-1]),
    )
    with pytest.raises(
        ValueError, match="row 0: the column 'dt' .the day. sho"
    ):
        world.convert_logs(tmp_path, world.spec(log, **changes), out="b")


LOCAL = world.second("2024-05-01 00:00:00") - 8 * 3600  # Midnight in China.


def test_day_columns_say_which_zone_they_are_of(tmp_path):
    world.write(
        tmp_path / "natural.parquet",
        time=[LOCAL, LOCAL + 60, LOCAL + world.DAY - 60],
        dt=["2024-05-01"] * 3,
    )
    log = {"path": "natural.parquet", "day": "dt"}
    with pytest.raises(ValueError, match="`utc_offset_hours` = 8 all rows"):
        world.convert_logs(tmp_path, world.spec(log))
    world.convert_logs(tmp_path, world.spec(log, time_zone="Asia/Shanghai"))
    assert world.days(tmp_path) == ["2024-05-01"]


@pytest.mark.parametrize(
    "name",
    [
        "natural/2024-05-0{}.parquet",
        "natural/dt=2024-05-0{}/part.parquet",
        "natural/2024050{}/part-0.parquet",
        "natural/log_2024_05_0{}.parquet",
        "natural/day-2024-05-0{}.v2.parquet",
    ],
)
def test_names_of_files_say_which_zone_their_days_are_of(tmp_path, name):
    def write(day):
        start = LOCAL + day * world.DAY
        world.write(
            tmp_path / name.format(day + 1),
            time=[start, start + 7200, start + world.DAY - 1],
        )

    write(0)
    path = "natural/**/*.parquet"
    message = "seems to be of 2024-05-01.*`utc_offset_hours = 8` fits all"
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, world.spec({"path": path}))
    given = world.spec({"path": path}, utc_offset_hours=8)
    world.convert_logs(tmp_path, given)
    (tmp_path / name.format(1)).unlink()
    write(1)
    world.convert_logs(tmp_path, given, append=True)
    assert world.days(tmp_path) == ["2024-05-01", "2024-05-02"]
    message = "those of the zone UTC\\+08:00; the spec says UTC"
    with pytest.raises(ValueError, match=message):
        world.convert_logs(tmp_path, world.spec({"path": path}), append=True)


def test_names_of_files_that_are_no_days_say_nothing(tmp_path):
    for name, first, last in (
        ("export-2024-05-09.parquet", NOON, NOON + 3 * world.DAY),
        ("20240510-0.parquet", NOON, NOON + 60),
        ("99999999.parquet", NOON, NOON + 60),
    ):
        world.write(tmp_path / name, rows=2, time=[first, last])
    world.convert_logs(tmp_path, world.spec({"path": "*.parquet"}))


def test_days_that_are_those_of_utc_need_no_zone(tmp_path):
    start = world.second("2024-05-01 00:00:00")
    world.write(
        tmp_path / "2024-05-01.parquet",
        time=[start, start + 1, start + world.DAY - 1],
    )
    world.convert_logs(tmp_path, world.spec({"path": "*.parquet"}))
    assert world.days(tmp_path) == ["2024-05-01"]


def test_naive_timestamps_need_a_zone_where_days_have_one(tmp_path):
    stamp = pa.array([NOON] * 3, pa.timestamp("s"))
    world.write(tmp_path / "natural.parquet", time=stamp)
    log = {"path": "natural.parquet"}
    with pytest.raises(
        ValueError, match="'time' .*without a zone. Set `time_z"
    ):
        world.convert_logs(tmp_path, world.spec(log, utc_offset_hours=2))
    for zone, hours in (("UTC", 0), ("Europe/Berlin", 2)):
        given = world.spec({**log, "time_zone": zone}, utc_offset_hours=2)
        world.convert_logs(tmp_path, given, out=zone[:3])
        seconds = world.rows(tmp_path, out=zone[:3])["timestamp"]
        assert seconds == [NOON - hours * 3600] * 3


def test_history_where_an_hour_is_twice(tmp_path):
    """The later 02:10 does not come before the earlier 02:40."""
    first = world.second("2024-10-27 00:40:00")  # 02:40 in summer time.
    later = first + 1800  # 02:10 in winter time.
    world.write(
        tmp_path / "natural.parquet",
        user_id=[1, 1, 1],
        item_id=[11, 12, 13],
        time=[first, later, later + 60],
        click=[0, 1, 0],
    )
    given = world.spec(
        sequences=[{"name": "clicked", "table": "item", "max_length": 3}],
        features=[{"name": "hour", "time": "hour", "dtype": "int64"}],
        time_zone="Europe/Berlin",
    )
    world.convert_logs(tmp_path, given)
    rows = world.rows(tmp_path)
    assert rows["clicked"] == [[], [], [12]]
    assert rows["hour"] == [2, 2, 2]


def test_days_of_a_zone_with_summer_time(tmp_path):
    # Local days of 23 and of 25 hours.
    ends = ["2024-03-31 21:59:59", "2024-10-26 22:00:00", "2024-10-27 22:59:59"]
    seconds = [world.second(text) for text in ends]
    world.write(tmp_path / "natural.parquet", time=seconds)
    given = world.spec(time_zone="Europe/Berlin", longest_gap_days=365)
    world.convert_logs(tmp_path, given)
    assert world.days(tmp_path)[0] == "2024-03-31"
    assert world.days(tmp_path)[-1] == "2024-10-27"
    assert BERLIN.start_of_day(20_023) == seconds[1]


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"time_zone": "Europe/Nowhere"},
            "`time_zone` should be a name.*Nowhere",
        ),
        ({"utc_offset_hours": 28800}, "`utc_offset_hours` should be from -12"),
        ({"utc_offset_hours": 1, "time_zone": "UTC"}, "not be set beside"),
        ({"longest_gap_days": 0}, "`longest_gap_days` should be at least 1"),
        ({"wrong_time": "unknown"}, "`wrong_time` of the conversion spec"),
    ],
)
def test_specs_without_a_meaning_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        world.spec(**changes)
