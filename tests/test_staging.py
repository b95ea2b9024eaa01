import os
import pathlib
import shutil
import stat

import pytest

from ecdctr_tf import store
from ecdctr_tf.store import staging as stagings
from tests.processes import waiting


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_sweep_leaves_what_this_process_is_writing(tmp_path):
    with store.publish(tmp_path / "a", store.Manifest("cpm")) as first:
        (first / "x").write_text("first")
        store.sweep(tmp_path)
        with store.publish(tmp_path / "b", store.Manifest("cpm")) as second:
            (second / "x").write_text("second")
        store.sweep(tmp_path)
    assert names(tmp_path) == ["a", "b"]
    for name, text in (("a", "first"), ("b", "second")):
        store.verify(tmp_path / name, "cpm")
        assert (tmp_path / name / "x").read_text() == text


@pytest.mark.parametrize("make", ["publish", "write_text"])
def test_files_are_on_the_disk_before_they_come_to_their_place(
    tmp_path, monkeypatch, make
):
    place, before, after = tmp_path / "a", set(), set()

    def sync(descriptor):
        synced = after if place.exists() else before
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", sync)
    if make == "publish":
        with store.publish(place, store.Manifest("cpm")) as staging:
            (staging / "x").mkdir()
            (staging / "x" / "y").write_text("text")
    else:
        store.write_text(place, "text")
    written = {path.stat().st_ino for path in tmp_path.rglob("*")}
    # The names of files are in their directories.
    assert len(written) == (4 if make == "publish" else 1)
    assert before == written
    assert after == {tmp_path.stat().st_ino}


def publishing(directory, name="a"):
    return waiting(f"""
        import pathlib
        from ecdctr_tf import store

        place = pathlib.Path({str(directory)!r}) / {name!r}
        with store.publish(place, store.Manifest("cpm")) as staging:
            (staging / "x").write_text("half")
            ready()
    """)


def test_sweep_leaves_what_another_process_is_writing(tmp_path):
    with publishing(tmp_path) as process:
        written = names(tmp_path)
        assert len(written) == 1
        store.sweep(tmp_path)
        with store.publish(tmp_path / "b", store.Manifest("cpm")):
            pass
        assert names(tmp_path) == [*written, "b"]
        process.kill()
        process.wait()
        assert names(tmp_path) == [*written, "b"]
        # The next publication there removes what is left.
        with store.publish(tmp_path / "c", store.Manifest("cpm")):
            pass
    assert names(tmp_path) == ["b", "c"]


@pytest.mark.parametrize("make", ["publish", "write_text", "replacing"])
def test_whatever_is_written_next_removes_leftovers(tmp_path, make):
    (tmp_path / ".staging-2024-01-01-01234567/variables").mkdir(parents=True)
    (tmp_path / f".staging-{'0' * 32}").write_text("half")
    (tmp_path / ".hidden").mkdir()
    if make == "publish":
        with store.publish(tmp_path / "a", store.Manifest("cpm")):
            pass
    elif make == "write_text":
        store.write_text(tmp_path / "a", "")
    else:
        with store.replacing(tmp_path / "a") as path:
            path.write_bytes(b"")
    assert names(tmp_path) == [".hidden", "a"]


def test_publishing_what_is_there_removes_leftovers_too(tmp_path):
    """As a command that is given again after a kill."""
    with store.publish(tmp_path / "a", store.Manifest("cpm")):
        pass
    (tmp_path / ".staging-b-01234567").mkdir()
    with pytest.raises(FileExistsError, match="Delete it to rebuild it"):
        with store.publish(tmp_path / "a", store.Manifest("cpm")):
            pass
    assert names(tmp_path) == ["a"]


def test_sweep_of_one_name_leaves_the_others(tmp_path):
    for name in ("data-01234567", "data-2-01234567", "date-01234567", "x"):
        (tmp_path / f".staging-{name}").mkdir()
    store.sweep(tmp_path, "data-2")
    store.sweep(tmp_path, "dat*")
    assert names(tmp_path) == [
        ".staging-data-01234567",
        ".staging-date-01234567",
        ".staging-x",
    ]


def test_sweep_leaves_links_and_what_they_point_to(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / ".staging-link").symlink_to(tmp_path / "precious")
    store.sweep(tmp_path)
    assert (tmp_path / "precious").is_dir()


def test_sweep_while_a_directory_is_being_made(tmp_path, monkeypatch):
    """Between the `mkdir` and the lock of a writer."""
    mkdir, swept = pathlib.Path.mkdir, []

    def mkdir_and_sweep(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        if len(swept) < 3 and path.name.startswith(".staging-"):
            store.sweep(tmp_path)
            swept.append(path)

    monkeypatch.setattr(pathlib.Path, "mkdir", mkdir_and_sweep)
    with store.publish(tmp_path / "a", store.Manifest("cpm")) as staging:
        (staging / "x").write_text("whole")
    assert len(swept) == 3
    store.verify(tmp_path / "a", "cpm")
    assert names(tmp_path) == ["a"]


def test_without_locks_writers_write_and_sweeps_leave(tmp_path, monkeypatch):
    """As on some network file systems."""

    def fail(*_):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(stagings.fcntl, "flock", fail)
    (tmp_path / ".staging-b-01234567").mkdir()
    with store.publish(tmp_path / "a", store.Manifest("cpm")):
        pass
    store.write_text(tmp_path / "c", "text")
    assert names(tmp_path) == [".staging-b-01234567", "a", "c"]


def test_replacing_that_fails_keeps_the_file(tmp_path):
    store.write_text(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt):
        with store.replacing(tmp_path / "a") as path:
            path.write_text("new")
            raise KeyboardInterrupt
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_descriptors_are_given_back(tmp_path):
    before = os.listdir("/proc/self/fd")
    for i in range(3):
        with store.publish(tmp_path / f"{i}", store.Manifest("cpm")):
            store.write_text(tmp_path / "a", "text")
        with pytest.raises(KeyError):
            with store.publish(tmp_path / "b", store.Manifest("cpm")):
                raise KeyError
        store.remove(tmp_path / f"{i}")
        with store.lock(tmp_path, "counting"):
            pass
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_written_files_have_the_usual_mode(tmp_path):
    store.write_text(tmp_path / "a", "text")
    (tmp_path / "b").write_text("text")
    modes = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in "ab"]
    assert modes[0] == modes[1]


def test_remove_leaves_no_half_artefact(artefact, monkeypatch):
    def fail(path):
        (path / "table.bin").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patches:
        patches.setattr(shutil, "rmtree", fail)
        with pytest.raises(KeyboardInterrupt):
            store.remove(artefact)
    assert store.dated(artefact.parent) == []
    store.sweep(artefact.parent)
    assert names(artefact.parent) == []
