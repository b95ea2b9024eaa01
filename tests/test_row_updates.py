"""Where the compiled updates come from, and what happens without them.

Compilers here are small scripts: a process that has loaded the library once
must not load another one with the same ops.
"""

import logging
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf.kernels import row_updates
from ecdctr_tf.optimizers.lazy_adam import LazyAdam
from ecdctr_tf.optimizers.row_wise_adagrad import RowWiseAdagrad

# Writes to the path after "-o" in two goes, and a line for each call.
COMPILER = """#!/bin/sh
echo called >> "{calls}"
while [ "$1" != "-o" ]; do shift; done
printf 'first half, ' > "$2"
{between}
printf 'second half' >> "$2"
"""
WHOLE = "first half, second half"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> pathlib.Path:
    """An empty cache directory, and nothing loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(row_updates.SWITCH, raising=False)
    load = row_updates.load  # Tests replace it.
    load.cache_clear()
    yield tmp_path / "cache" / "ecdctr_tf"
    load.cache_clear()


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Return a function that makes the only compiler that can be found."""

    def make(between="") -> pathlib.Path:
        calls = tmp_path / "calls"
        script = tmp_path / "c++"
        script.write_text(COMPILER.format(calls=calls, between=between))
        script.chmod(0o755)
        monkeypatch.setattr(row_updates.shutil, "which", {"c++": script}.get)
        return calls

    return make


def warnings(caplog) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]


def train_a_step():
    """Take a step of each optimizer; fail where rows have not changed."""
    for make in (LazyAdam, RowWiseAdagrad):
        variable = tf.Variable(tf.zeros([3, 2]))
        slices = tf.IndexedSlices(tf.ones([2, 2]), tf.constant([1, 1]))
        make(0.5).apply_gradients([(slices, variable)])
        expected = [[0, 0], [-0.5, -0.5], [0, 0]]
        np.testing.assert_allclose(variable, expected, atol=1e-4)


def test_without_a_compiler_one_warning_says_so(caplog, monkeypatch):
    monkeypatch.setattr(row_updates.shutil, "which", lambda name: None)
    train_a_step()
    assert row_updates.load() is None
    (warning,) = warnings(caplog)
    assert "slower: there is no C++ compiler (c++, g++, clang++)" in warning


def test_a_compiler_that_fails_is_quoted(caplog, compiler, cache):
    calls = compiler("echo 'row_updates.cc:1: no such header' >&2; exit 1")
    train_a_step()
    (warning,) = warnings(caplog)
    assert "c++ failed:\nrow_updates.cc:1: no such header" in warning
    assert calls.read_text() == "called\n"
    assert list(cache.iterdir()) == []


def test_a_library_that_does_not_load_is_a_warning(caplog, compiler):
    compiler()
    train_a_step()
    (warning,) = warnings(caplog)
    assert "row_updates" in warning


def test_a_cache_that_cannot_be_written_is_a_warning(caplog, compiler, cache):
    compiler()
    cache.parent.write_text("not a directory")
    train_a_step()
    (warning,) = warnings(caplog)
    assert str(cache.parent) in warning


def test_no_home_directory_is_a_warning(caplog, compiler, monkeypatch):
    def nowhere():
        raise RuntimeError("no home directory")

    compiler()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(pathlib.Path, "home", nowhere)
    train_a_step()
    (warning,) = warnings(caplog)
    assert "no home directory" in warning


def test_switched_off_they_are_neither_made_nor_missed(
    caplog, compiler, cache, monkeypatch
):
    calls = compiler()
    monkeypatch.setenv(row_updates.SWITCH, "off")
    train_a_step()
    assert row_updates.load() is None
    assert warnings(caplog) == []
    assert not calls.exists()
    assert not cache.exists()


def test_compiled_once_and_kept(compiler, cache):
    calls = compiler()
    library = row_updates._compiled()
    assert library.read_text() == WHOLE
    assert row_updates._compiled() == library
    assert calls.read_text() == "called\n"
    assert list(cache.iterdir()) == [library]


def test_another_source_or_tensorflow_is_compiled_anew(
    compiler, tmp_path, monkeypatch
):
    calls = compiler()
    libraries = [row_updates._compiled()]
    monkeypatch.setattr(tf, "__version__", "another")
    libraries.append(row_updates._compiled())
    source = tmp_path / "row_updates.cc"
    source.write_text("another")
    monkeypatch.setattr(row_updates, "_SOURCE", source)
    libraries.append(row_updates._compiled())
    assert len(set(libraries)) == 3
    assert calls.read_text() == "called\n" * 3


def test_half_a_library_is_never_seen(compiler, cache, tmp_path):
    # What is in the cache between the halves, by name, as another process
    # would look for it.
    seen = tmp_path / "seen"
    compiler(f'ls "{cache}" | grep "so$" > "{seen}"')
    library = row_updates._compiled()
    assert library.suffix == ".so"
    assert seen.read_text() == ""


def test_a_compiler_killed_half_way_leaves_nothing(compiler, cache):
    compiler("kill -9 $$")
    with pytest.raises(RuntimeError, match="failed"):
        row_updates._compiled()
    assert list(cache.iterdir()) == []
    compiler()
    assert row_updates._compiled().read_text() == WHOLE


def test_processes_that_compile_at_once_do_no_harm(compiler, cache):
    # The other one is done while this one compiles.
    compiler()
    other = row_updates._compiled()
    other.unlink()
    compiler(f'printf "{WHOLE}" > "{other}"')
    library = row_updates._compiled()
    assert library.read_text() == WHOLE
    assert list(cache.iterdir()) == [library]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:5] + bytes(3) + content[8:],
        lambda content: content + b"\0",
    ],
)
def test_a_damaged_library_is_compiled_again(compiler, cache, damage):
    calls = compiler()
    library = row_updates._compiled()
    library.write_bytes(damage(library.read_bytes()))
    assert row_updates._compiled() == library
    assert library.read_text() == WHOLE
    assert calls.read_text() == "called\n" * 2
    assert list(cache.iterdir()) == [library]


def test_a_library_of_an_unknown_hash_is_not_used(compiler, cache):
    """As one that an earlier version of this project compiled."""
    compiler()
    library = row_updates._compiled()
    other = library.with_name(f"{library.name.rpartition('-')[0]}.so")
    library.rename(other)
    assert row_updates._compiled() == library
    assert list(cache.iterdir()) == [library]


def test_a_cache_that_others_can_write_is_not_used(caplog, compiler, cache):
    calls = compiler()
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    train_a_step()
    (warning,) = warnings(caplog)
    assert f"{cache} belongs to another user or is writable by" in warning
    assert not calls.exists()


@pytest.mark.parametrize("mode", [0o722, 0o720, 0o702])
def test_a_library_that_others_can_write_is_not_used(compiler, cache, mode):
    """As one from when the directory was open to all."""
    calls = compiler()
    library = row_updates._compiled()
    library.chmod(mode)
    assert row_updates._compiled() == library
    assert library.stat().st_mode & 0o777 == 0o700
    assert calls.read_text() == "called\n" * 2


def test_a_cache_of_another_user_is_not_used(caplog, compiler, monkeypatch):
    compiler()
    monkeypatch.setattr(row_updates.os, "geteuid", lambda: 12345)
    train_a_step()
    (warning,) = warnings(caplog)
    assert "belongs to another user" in warning


def test_the_cache_is_private_to_the_user(compiler, cache):
    compiler()
    row_updates._compiled()
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "shape, dtype",
    [([3, 2], "float64"), ([3], "float32"), ([3, 2, 2], "float32")],
)
def test_usable_only_for_float32_tables(shape, dtype, monkeypatch):
    monkeypatch.setattr(row_updates, "load", object)
    assert row_updates.usable(tf.Variable(tf.zeros([3, 2])))
    assert not row_updates.usable(tf.Variable(tf.zeros(shape, dtype)))


def test_not_usable_under_a_strategy(monkeypatch):
    monkeypatch.setattr(row_updates, "load", object)
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        variable = tf.Variable(tf.zeros([3, 2]))
        assert not row_updates.usable(variable)


def test_not_usable_on_a_gpu(monkeypatch):
    class OnGPU:
        dtype, shape = tf.float32, tf.TensorShape([3, 2])
        device = "/job:localhost/replica:0/task:0/device:GPU:0"

    monkeypatch.setattr(row_updates, "load", object)
    assert not row_updates.usable(OnGPU())


def test_the_source_compiles_and_loads(cache):
    """In a process of its own, and without a cache: as on a new machine."""
    if not any(map(row_updates.shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler on this machine")
    program = (
        "from ecdctr_tf.kernels import row_updates\n"
        "print(hasattr(row_updates.load(), 'ecdctr_lazy_adam'))\n"
        "print(hasattr(row_updates.load(), 'ecdctr_row_wise_adagrad'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.stdout.split() == ["True", "True"], done.stderr
    assert [path.suffix for path in cache.iterdir()] == [".so"]
