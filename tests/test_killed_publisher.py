"""A publisher that is killed again and again, under those who read.

A process publishes version after version of the tiny world: locks, staging,
warm-up, lineage, config files and retention are those of every export. It is
killed at random moments and started again, as a scheduler would. Meanwhile one
reader looks each millisecond for the newest version, as a server does, and
compares its files with their hashes; another one loads it with TensorFlow and
asks it.

`PUBLISHER_KILLS=200` kills it more often; a tenth of the kills is of exports
that are judged and write and verify their graphs; in the others these are
copied.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import signal
import tempfile
import threading
import time
import types

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import export, store
from ecdctr_tf.export import saved_model, server_configs, verify, versions
from ecdctr_tf.input.data_directory import DataDirectory

KILLS = int(os.environ.get("PUBLISHER_KILLS", "10"))
KEPT = 12
# Wide enough for a start, or a load, on a loaded machine.
SECONDS = 300
FIRST = 1001
CONFIGS = {
    server_configs.MODELS,
    server_configs.BATCHING,
    server_configs.MONITORING,
}
# Its server has TensorFlow loaded, so that a publisher starts at once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.test_killed_publisher"])


@dataclasses.dataclass
class Place:
    """Where a publisher works."""

    data: pathlib.Path
    artefact: pathlib.Path
    export_dir: pathlib.Path
    # A directory for what is temporary.
    scratch: pathlib.Path
    # A SavedModel to copy; None: it is judged, written and verified.
    graph: pathlib.Path | None


def publish(place: Place, most: int, ready) -> None:
    """Publish versions one after another; the target of a process."""
    tempfile.tempdir = os.environ["TMPDIR"] = str(place.scratch)
    if place.graph is not None:
        copy_graphs(place)
    ready.set()
    for _ in range(most):
        number = max(versions.numbers(place.export_dir), default=FIRST - 1) + 1
        export.publish(
            place.artefact,
            place.data,
            place.export_dir,
            number,
            KEPT,
            configs.ServingConfig(candidates=(1,)),
            bounds=None if place.graph else configs.GateConfig(),
        )


def copy_graphs(place: Place) -> None:
    """Spend the time of this process on files: they are what it leaves."""
    form = types.SimpleNamespace(
        spec=DataDirectory(place.data).spec, historical=()
    )
    saved_model._folded = lambda *of: ({}, form)
    saved_model.write = lambda form, spaces, directory, size: shutil.copytree(
        place.graph, directory, dirs_exist_ok=True
    )
    verify.check = lambda *of: 0.0


def load(export_dir: pathlib.Path, stop, told) -> None:
    """Load the newest version and ask it, until told to stop.

    Sends how often, and what went wrong.
    """
    loads, errors = 0, []
    while not stop.is_set():
        newest = export_dir / str(versions.numbers(export_dir)[-1])
        try:
            signature = tf.saved_model.load(str(newest)).signatures["rank"]
            of = signature.structured_input_signature[1]
            inputs = {
                name: tf.fill([1] * spec.shape.rank, tf.cast(1, spec.dtype))
                for name, spec in of.items()
            }
            assert np.isfinite(signature(**inputs)["ctr"].numpy()).all()
            loads += 1
        except Exception as error:
            # Slower than all that are kept, it may lose what it reads.
            if newest.is_dir():
                errors.append(f"{newest.name}: {error}")
    told.send((loads, errors))


class Poller:
    """Looks for the newest version each millisecond, in a thread."""

    def __init__(self, export_dir: pathlib.Path):
        self._export_dir = export_dir
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.polls = 0
        self.errors: list[str] = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        newest = 0
        while not self._stop.wait(0.001):
            try:
                newest = self._look(newest)
            except Exception as error:
                self.errors.append(f"after {newest}: {error!r}")
            self.polls += 1

    def _look(self, before: int) -> int:
        """Return the newest version, which has to be whole."""
        newest = max(versions.numbers(self._export_dir))
        assert newest >= before, "a gap"
        store.verify(self._export_dir / str(newest), saved_model.KIND)
        missing = self._told_but_missing()
        # Between the two looks, a newer file may have been written.
        assert not missing or not self._told_but_missing() & missing
        return newest

    def _told_but_missing(self) -> set[str]:
        text = (self._export_dir / server_configs.MODELS).read_text()
        told = set(re.findall(r"versions: (\d+)", text))
        return {n for n in told if not (self._export_dir / n).is_dir()}


@contextlib.contextmanager
def loading(export_dir: pathlib.Path):
    """Load versions inside a `with` block; yields loads and errors at last."""
    stop, (ours, theirs) = PROCESSES.Event(), PROCESSES.Pipe()
    process = PROCESSES.Process(target=load, args=(export_dir, stop, theirs))
    process.start()
    found: list = []
    try:
        yield found
        stop.set()
        assert ours.poll(SECONDS)
        found += ours.recv()
    finally:
        process.kill()
        process.join()


def run(place: Place, most: int, seconds: float | None = None) -> float | None:
    """Publish in a process, which may be killed after some seconds.

    Returns:
      The seconds that it needed; None if it was killed.
    """
    ready = PROCESSES.Event()
    process = PROCESSES.Process(target=publish, args=(place, most, ready))
    process.start()
    assert ready.wait(SECONDS)
    began = time.monotonic()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return None if process.exitcode else time.monotonic() - began


@pytest.fixture
def place(finished_world, tmp_path) -> Place:
    """Versions are copied; the first one is there."""
    graph = tmp_path / "graph"
    (version,) = finished_world.glob("run/export/2*")
    shutil.copytree(version, graph)
    for name in (store.MANIFEST, "assets.extra"):
        (shutil.rmtree if (graph / name).is_dir() else os.remove)(graph / name)
    (tmp_path / "scratch").mkdir()
    return Place(
        finished_world / "data",
        max(finished_world.glob("run/e_cdctr/ctr/2*")),
        tmp_path / "export",
        tmp_path / "scratch",
        graph,
    )


def kill_and_publish(place: Place, kills: int) -> None:
    """Kill a publisher under readers; check what they saw and what is left."""
    assert run(place, 1)
    chance = random.Random(kills)
    with loading(place.export_dir) as found, Poller(place.export_dir) as poller:
        # As long as it takes beside the readers.
        cycle = run(place, 1)
        for _ in range(kills):
            assert run(place, 1000, chance.uniform(0, 2 * cycle)) is None
        assert run(place, 1)
    loads, errors = found
    assert poller.errors == [] and poller.polls > kills
    assert errors == [] and loads > 0
    newest = versions.numbers(place.export_dir)[-1]
    check_left(place, newest)
    print(
        f"\n{kills} kills, {1 + newest - FIRST} versions, {poller.polls:,} "
        f"looks, {loads} loads: nothing broken, nothing left behind"
    )


def check_left(place: Place, newest: int) -> None:
    """Check that only whole versions are there, and what goes with them."""
    there = range(max(FIRST, newest - KEPT + 1), newest + 1)
    assert {path.name for path in place.export_dir.iterdir()} == {
        *(str(number) for number in there),
        *CONFIGS,
    }
    for number in there:
        version = place.export_dir / str(number)
        manifest = store.verify(version, saved_model.KIND)
        files = {
            path.relative_to(version).as_posix()
            for path in version.rglob("*")
            if path.is_file()
        }
        assert files == {store.MANIFEST, *manifest.files}
    # TensorFlow keeps source text of a kilobyte there until its process ends.
    assert not [
        path.name
        for path in place.scratch.iterdir()
        if not path.name.startswith("__autograph_generated_file")
    ]


def test_readers_see_whole_versions_only(place):
    kill_and_publish(place, KILLS)


@pytest.mark.long
def test_killed_while_a_graph_is_written_and_verified(place):
    kill_and_publish(dataclasses.replace(place, graph=None), -(-KILLS // 10))
