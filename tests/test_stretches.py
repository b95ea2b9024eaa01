"""Days that are too large for the memory are gone through in stretches."""

import json

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf.input import data_directory
from ecdctr_tf.input.conversion import spill
from tests import conversion_world as world
from tests import test_convert_append as appended

ROWS_PER_FILE = 11
# Of about 23 events a day and domain.
STRETCH_ROWS = 7


def convert(tmp_path, name, tables, called):
    return world.convert(
        tmp_path,
        tables,
        called,
        spec=appended.spec(name),
        rows_per_file=ROWS_PER_FILE,
    )


def events_of(directory):
    """Return each file of events of a data directory, as batches."""
    found = {}
    for path in sorted(directory.glob(f"*/*/{data_directory.EVENTS}")):
        with pa.ipc.open_file(str(path)) as file:
            batches = [
                file.get_batch(i) for i in range(file.num_record_batches)
            ]
        found[path.relative_to(directory)] = batches
    return found


def without_events(directory):
    """Return the hash of each file, and manifests, but those of events.

    A manifest's own hash covers that of its events, and goes with it.
    """
    found = {}
    for name, digest in world.everything(directory).items():
        if name.endswith(data_directory.EVENTS):
            continue
        if name.endswith("manifest.json"):
            digest = json.loads((directory / name).read_text())
            if digest["files"].pop(data_directory.EVENTS, None):
                del digest["sha256"]
        found[name] = digest
    return found


@pytest.mark.parametrize("name", appended.WORLDS)
def test_rows_do_not_depend_on_stretches(tmp_path, monkeypatch, name):
    tables = appended.events(name)
    whole = convert(tmp_path, name, tables, "whole")
    monkeypatch.setattr(spill, "STRETCH_ROWS", STRETCH_ROWS)
    parts = convert(tmp_path, name, tables, "parts")
    assert without_events(parts) == without_events(whole)
    of_parts, of_whole = events_of(parts), events_of(whole)
    assert list(of_parts) == list(of_whole)
    for path, batches in of_parts.items():
        assert len(batches) > 1
        assert len(of_whole[path]) == 1
        table = pa.Table.from_batches(batches)
        assert table.equals(pa.Table.from_batches(of_whole[path])), path
        assert max(map(len, batches)) <= STRETCH_ROWS


def test_days_in_stretches_are_appended(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "STRETCH_ROWS", STRETCH_ROWS)
    tables = appended.events(appended.RICH)
    once = convert(tmp_path, appended.RICH, tables, "once")
    out = convert(
        tmp_path, appended.RICH, world.of_days(tables, 0, 4), "appended"
    )
    world.append(
        out,
        world.of_days(tables, 4, 7),
        appended.spec(appended.RICH),
        rows_per_file=ROWS_PER_FILE,
    )
    assert world.everything(out) == world.everything(once)


def test_late_days_are_made_from_held_stretches(tmp_path, monkeypatch):
    name = "clicks of both"
    tables = appended.events(name)
    made = {}
    for called, rows in (("whole", 10**6), ("parts", STRETCH_ROWS)):
        monkeypatch.setattr(spill, "STRETCH_ROWS", rows)
        out = convert(tmp_path, name, tables[:1], called)
        world.append(
            out, tables[1:], appended.spec(name), rows_per_file=ROWS_PER_FILE
        )
        made[called] = without_events(out)
    assert made["parts"] == made["whole"]


def test_weights_that_some_files_lack(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "STRETCH_ROWS", 2)
    spilled = spill.Spill(tmp_path, buffer_rows=3)
    day = np.full(3, world.FIRST_DAY, np.int32)
    times = world.FIRST_DAY * 86_400 + np.array([5, 1, 3])
    spilled.add("ads", pa.table({"day": day, "timestamp": times}))
    weights = np.array([2, 3, 4], np.float32)
    events = {"day": day, "timestamp": times + 1, "weight": weights}
    spilled.add("ads", pa.table(events))
    found = [part.to_pydict() for part in spilled.read("ads", world.FIRST_DAY)]
    seconds = [[t % 86_400 for t in part["timestamp"]] for part in found]
    assert [sorted(part) for part in seconds] == [[1, 2], [3, 4], [5, 6]]
    assert [sorted(part["weight"]) for part in found] == [
        [1, 3],
        [1, 4],
        [1, 2],
    ]
    assert not spilled.days("ads")
    assert not list(tmp_path.rglob("*.arrow"))


def test_all_events_of_a_second_are_in_one_stretch(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "STRETCH_ROWS", 2)
    spilled = spill.Spill(tmp_path)
    times = world.FIRST_DAY * 86_400 + np.array([7, 8, 8, 8, 86_399])
    day = np.full(len(times), world.FIRST_DAY, np.int32)
    spilled.add("natural", pa.table({"day": day, "timestamp": times}))
    found = list(spilled.read("natural", world.FIRST_DAY))
    assert [len(part) for part in found] == [1, 3, 1]
