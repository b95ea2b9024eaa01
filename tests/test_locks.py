import json
import os
import signal

import pytest

from ecdctr_tf import store
from tests.processes import locked_by_another_process, waiting


def test_lock_is_taken_and_given_back(tmp_path):
    for _ in range(2):
        with store.lock(tmp_path / "tpm", "training"):
            assert (tmp_path / "tpm/.lock").exists()
        assert list((tmp_path / "tpm").iterdir()) == []


def test_lock_of_another_process_says_who_and_what_to_do(tmp_path):
    with locked_by_another_process(tmp_path) as process:
        message = (
            f"{tmp_path} is in use by another process .pid {process.pid}., "
            "which is resting. Wait until it has finished, or stop it"
        )
        for _ in range(2):
            with pytest.raises(ValueError, match=message):
                with store.lock(tmp_path, "training"):
                    pass
        # Another directory is free, and so is another file.
        with store.lock(tmp_path / "cpm", "training"):
            pass
        with store.lock(tmp_path, "converting", ".data.lock"):
            pass


def test_lock_of_this_process_is_an_error_and_no_deadlock(tmp_path):
    with store.lock(tmp_path, "training the TPM"):
        message = f"This process .pid {os.getpid()}. is already training the"
        with pytest.raises(ValueError, match=message):
            with store.lock(tmp_path, "training the CPM"):
                pass
        assert (tmp_path / ".lock").exists()
    with store.lock(tmp_path, "training the CPM"):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_lock_dies_with_its_owner(tmp_path, number):
    with locked_by_another_process(tmp_path) as process:
        process.send_signal(number)
        process.wait()
        assert (tmp_path / ".lock").exists()
        with store.lock(tmp_path, "training") as lock:
            assert lock.note == ""
    assert list(tmp_path.iterdir()) == []


def test_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(KeyError):
        with store.lock(tmp_path, "training"):
            raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_note_outlives_a_killed_owner(tmp_path):
    program = f"""
        from ecdctr_tf import store

        with store.lock({str(tmp_path)!r}, "appending") as lock:
            lock.keep("a" * 2000)
            lock.keep("half way")
            ready()
    """
    with waiting(program) as process:
        process.kill()
        process.wait()
    for _ in range(2):
        with pytest.raises(OSError):
            with store.lock(tmp_path, "appending") as lock:
                assert lock.note == "half way"
                raise OSError
    with store.lock(tmp_path, "appending") as lock:
        assert lock.note == "half way"
    with store.lock(tmp_path, "appending") as lock:
        assert lock.note == ""


@pytest.mark.parametrize("text", ["", "{", "[]", "\0\0", '{"pid": 1'])
def test_damaged_lock_file_is_taken_over(tmp_path, text):
    (tmp_path / ".lock").write_text(text)
    with store.lock(tmp_path, "training") as lock:
        assert lock.note == ""
        said = json.loads((tmp_path / ".lock").read_text())
        assert said["pid"] == os.getpid()
