"""Each row of docs/faults.md names a test; those of no other file are here."""

import ast
import errno
import pathlib
import re

import pytest

from ecdctr_tf import command_line, model_table, store, windows
from ecdctr_tf.input import data_directory, doctor
from ecdctr_tf.input.conversion import appending, converter
from ecdctr_tf.store import locks
from ecdctr_tf.store import staging as stagings
from ecdctr_tf.training import natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from tests import conversion_world as world
from tests import training_world
from tests.processes import locked_by_another_process

ROOT = pathlib.Path(__file__).parent.parent
ROW = re.compile(r"^\|.*\|.*\|.*\| `(\w+\.py)::(\w+)` \|$")
DAYS = training_world.SMALL_NATURAL.days


def rows() -> list[str]:
    """Return the rows of the tables, less their heads."""
    text = (ROOT / "docs/faults.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.startswith("| fault |")]


def test_each_row_names_a_test():
    assert len(rows()) > 40
    tests: dict[str, set[str]] = {}
    for row in rows():
        found = ROW.match(row)
        assert found, row
        file, name = found.groups()
        if file not in tests:
            tree = ast.parse((ROOT / "tests" / file).read_text())
            tests[file] = {
                node.name
                for node in tree.body
                if isinstance(node, ast.FunctionDef)
            }
        assert name in tests[file], row


@pytest.fixture
def converted(tmp_path):
    tables = [("natural", world.table(0)), ("ads", world.table(1))]
    return world.convert(tmp_path, tables)


@pytest.fixture
def level(tmp_path):
    """The TPM of the small world, which has learned nothing."""
    data = training_world.small_data(tmp_path / "small")
    return of_model("e_cdctr", data, tmp_path, "snapshot")


def of_model(name, data, tmp_path, kind) -> Level:
    row = model_table.model(name)
    run = Workdir(tmp_path / "run")
    return Level(data, run, training_world.SMALL_CONFIG, row, kind)


def full(*args):
    raise OSError(errno.ENOSPC, "No space left on device", "x")


def test_a_full_disk_leaves_no_half_conversion(
    converted, tmp_path, monkeypatch
):
    before = world.hashes(converted)
    monkeypatch.setattr(stagings, "_sync", full)
    later = [("natural", world.table(2, days=5))]
    with pytest.raises(OSError) as raised:
        world.convert(tmp_path, later, "other")
    assert "Free space on the disk" in command_line.one_line(raised.value)
    assert not (tmp_path / "other").exists()
    assert not list(tmp_path.glob(".staging-*"))
    assert world.hashes(converted) == before


def test_a_full_disk_publishes_nothing(eagerly, level, monkeypatch):
    window = windows.Window(DAYS[0], DAYS[1])
    with monkeypatch.context() as patch:
        patch.setattr(stagings, "_sync", full)
        with pytest.raises(OSError, match="No space left"):
            natural.train(level, window)
    assert store.dated(level.directory) == []
    assert not list(level.directory.glob(".staging-*"))


def test_a_read_only_directory_is_named(level, monkeypatch):
    def read_only(path, *args):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(locks.os, "open", read_only)
    with pytest.raises(OSError) as raised:
        natural.train(level, windows.Window(DAYS[0], DAYS[1]))
    line = command_line.one_line(raised.value)
    assert str(level.directory) in line
    assert "Choose another directory" in line


def test_a_second_scheduler_trains_nothing(level, monkeypatch):
    monkeypatch.setattr(natural, "_train", None)  # It is never called.
    with locked_by_another_process(level.directory) as process:
        message = f"in use by another process .pid {process.pid}."
        with pytest.raises(ValueError, match=message):
            natural.train(level, windows.Window(DAYS[0], DAYS[1]))
    assert store.dated(level.directory) == []


def test_a_clock_that_is_set_back_changes_nothing(
    converted, tmp_path, monkeypatch
):
    monkeypatch.setattr("time.time", lambda: 0.0)
    tables = [("natural", world.table(0)), ("ads", world.table(1))]
    again = world.convert(tmp_path, tables, "again")
    assert world.hashes(again) == world.hashes(converted)


def test_a_day_that_is_appended_twice_is_refused(converted):
    before = world.hashes(converted)
    with pytest.raises(ValueError, match="2024-01-0"):
        converter.append_tables(
            world.spec(), [("ads", world.table(1))], converted, progress=False
        )
    assert world.hashes(converted) == before


def test_what_was_left_out_is_in_the_manifest_of_what_read_it(
    eagerly, level, tmp_path
):
    shard = f"natural/{DAYS[1]}/part-00000.tfrecord"
    path = level.data.path
    (path / shard).write_bytes((path / shard).read_bytes()[:-5])
    data = data_directory.DataDirectory(path, "skip_record")
    window = windows.Window(DAYS[0], DAYS[1])
    tpm = of_model("e_cdctr", data, tmp_path, "snapshot")
    manifest = store.read_manifest(natural.train(tpm, window), "snapshot")
    rows = training_world.SMALL_NATURAL_ROWS
    assert manifest.rows == rows
    skipped = manifest.metrics["skipped"]
    assert skipped["policy"] == "skip_record"
    assert list(skipped["days"]) == [f"natural/{DAYS[1]}"]
    (lost,) = skipped["days"].values()
    assert lost["rows"] == rows
    assert lost["files"] == ["part-00000.tfrecord"]


def test_a_repair_that_is_killed_is_finished(converted, monkeypatch):
    whole = world.hashes(converted)
    file = converted / "natural/2024-01-02/part-00000.tfrecord"
    file.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(appending, "go_on", lambda directory: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            doctor.repair(converted)
    # It had not begun.
    assert file.parent.exists()

    removed = store.remove

    def killed(path):
        removed(path)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(store, "remove", killed)
        with pytest.raises(ZeroDivisionError):
            doctor.repair(converted)
    with pytest.raises(ValueError, match="being exchanged"):
        data_directory.DataDirectory(converted)
    assert doctor.repair(converted) == {}
    assert not doctor.examine(converted).findings
    data = data_directory.DataDirectory(converted)
    assert data.manifest("natural", "2024-01-02").rows == 0
    left = world.hashes(converted)
    day = "natural/2024-01-02"
    assert {n: h for n, h in left.items() if not n.startswith(day)} == {
        n: h for n, h in whole.items() if not n.startswith(day)
    }
