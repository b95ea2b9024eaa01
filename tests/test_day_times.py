"""Rows of a day are of that day, in the zone in which days are cut."""

import datetime
import json
import zoneinfo

import numpy as np
import pytest

from ecdctr_tf import command_line, store, windows
from ecdctr_tf.input import as_of, blocks, day_times, doctor, examples, streams
from ecdctr_tf.input.conversion import zones
from ecdctr_tf.input.data_directory import FORMATS, DataDirectory
from tests.conftest import tiny_rows

DAY = "2024-01-05"
MIDNIGHT = windows.day_number(DAY) * 86_400
HOUR = 3600


def write(data, times, file_format="blocks") -> DataDirectory:
    """Write a day of ads with rows of some times; return the directory."""
    rows = tiny_rows(DAY, 0, len(times))
    rows["timestamp"] = np.array(times)
    data.write_day("ads", DAY, [tiny_rows(DAY, 0, 3), rows], {}, file_format)
    return DataDirectory(data.path)


def of_zone(data, name: str) -> None:
    """Note a zone as `convert` does."""
    manifest = store.Manifest(
        "conversion_state", windows.Window(DAY, DAY), config={"zone": name}
    )
    with store.publish(data.path / "state" / DAY, manifest):
        pass


def read(data) -> int:
    columns = streams.read_columns(data, "ads", windows.Window(DAY, DAY))
    return len(columns["click"])


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("hours", [-15, 37, 24 * 365, -(10**6)])
def test_a_row_of_another_day_is_refused(tiny_data, hours, file_format):
    time = MIDNIGHT + hours * HOUR
    data = write(tiny_data, [time, MIDNIGHT], file_format)
    with pytest.raises(ValueError) as raised:
        read(data)
    line = command_line.one_line(raised.value)
    assert f"ads/{DAY}/part-00001.tfrecord, row 1: " in line
    assert f"Received: {np.datetime64(time, 's')} UTC" in line
    (finding,) = doctor.examine(data.path).findings
    assert finding.place == f"ads/{DAY}"


@pytest.mark.parametrize("file_format", FORMATS)
def test_days_of_an_unknown_zone_are_those_of_any(tiny_data, file_format):
    first, last = MIDNIGHT - 14 * HOUR, MIDNIGHT + 36 * HOUR - 1
    assert read(write(tiny_data, [first, last], file_format)) == 5


@pytest.mark.parametrize(("zone", "hours"), [("UTC", 0), ("UTC+08:00", 8)])
def test_days_are_those_of_the_zone_of_the_conversion(tiny_data, zone, hours):
    of_zone(tiny_data, zone)
    first = MIDNIGHT - hours * HOUR
    assert read(write(tiny_data, [first, first + 24 * HOUR - 1])) == 5


@pytest.mark.parametrize("second", [-1, 24 * HOUR])
def test_a_second_beside_the_day_is_refused(tiny_data, second):
    of_zone(tiny_data, "UTC")
    with pytest.raises(ValueError, match="part-00001.tfrecord, row 2:"):
        read(write(tiny_data, [MIDNIGHT, MIDNIGHT + second]))


def test_days_of_another_zone_are_refused(tiny_data):
    of_zone(tiny_data, "America/New_York")
    with pytest.raises(ValueError, match="part-00000.tfrecord, row 1:"):
        read(write(tiny_data, [MIDNIGHT]))


def test_each_row_of_a_block_is_looked_at(tiny_data):
    times = np.full(blocks.BLOCK_ROWS + 9, MIDNIGHT)
    times[-2] += 48 * HOUR
    row = len(times) - 1
    with pytest.raises(ValueError, match=f"part-00001.tfrecord, row {row}:"):
        read(write(tiny_data, times))


def test_a_sample_of_rows_is_looked_at(tiny_data, monkeypatch):
    monkeypatch.setattr(examples, "_SAMPLED", 4)
    times = np.full(10, MIDNIGHT)
    times[4] += 48 * HOUR
    with pytest.raises(ValueError, match="part-00001.tfrecord, row 5:"):
        read(write(tiny_data, times, "examples"))


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata"]
)
def test_seconds_are_those_that_convert_cuts_days_by(name):
    zone, ours = zones.Zone(name), zoneinfo.ZoneInfo(name)
    for number in range(17_000, 17_400):  # Of 2016 and 2017.
        day = windows.day_name(number)
        expected = zone.start_of_day(number), zone.start_of_day(number + 1)
        assert day_times.seconds(day, ours) == expected


@pytest.mark.parametrize(
    ("zone", "hours"), [("UTC", 0), ("UTC+05:30", 5.5), ("UTC-03:00", -3)]
)
def test_zones_of_a_fixed_offset(tiny_data, zone, hours):
    assert day_times.zone(tiny_data.path) is None
    of_zone(tiny_data, zone)
    found = day_times.zone(tiny_data.path)
    moment = datetime.datetime(2024, 1, 1, tzinfo=found)
    assert moment.utcoffset() == datetime.timedelta(hours=hours)
    assert as_of.today(tiny_data) == str(datetime.datetime.now(found).date())


def test_a_damaged_state_is_named(tiny_data):
    of_zone(tiny_data, "UTC")
    file = tiny_data.path / "state" / DAY / store.MANIFEST
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "config": {"zone": "Mars"}}))
    with pytest.raises(ValueError, match=f"state/{DAY}/manifest.json is not"):
        read(write(tiny_data, [MIDNIGHT]))


def test_a_state_that_an_append_replaces_meanwhile(tiny_data, monkeypatch):
    of_zone(tiny_data, "UTC")
    dated, listed = store.dated, []

    def late(directory, kind):
        if not listed and directory.name == "state":
            return listed.append(directory) or ["2024-01-04"]
        return dated(directory, kind)

    monkeypatch.setattr(store, "dated", late)
    assert str(day_times.zone(tiny_data.path)) == "UTC"
