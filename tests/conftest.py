"""What every test starts from: quiet, seeded, and a data set of 90 rows."""

import fcntl
import gc
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python import pywrap_tfe

from ecdctr_tf import features, store, windows
from ecdctr_tf.export import client
from ecdctr_tf.input import data_directory, id_space
from ecdctr_tf.results import report
from tests import training_world

NATURAL_DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
ADS_DAYS = ["2024-01-02", "2024-01-03", "2024-01-04"]
# Rows of each file of a day of either domain.
NATURAL_FILES, ADS_FILES = (12, 8), (10,)

# Intervals of a few draws are enough.
report.REPLICATES = 20


def pytest_configure(config):
    # A shell that starts the tests in the background has Ctrl-C ignored.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What the imports above wrote would come after pytest's closing line.
    config.pluginmanager.getplugin("capturemanager").read_global_capture()


def pytest_collection_finish():
    # What was imported stays. Every model that is built collects garbage, which
    # would look through all of it each time.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_disks():
    """No power is lost in tests; the processes they start do wait."""
    with mock.patch.object(os, "fsync", lambda file: None):
        yield


@pytest.fixture(autouse=True, scope="session")
def _kernels_are_kept():
    """Keep the kernels of operations when a seed is set.

    Every model sets one. TensorFlow then makes all kernels anew, so that random
    operations with a state begin again; making them takes longer than the few
    steps of a test.
    """
    with mock.patch.object(
        pywrap_tfe, "TFE_ContextClearCaches", lambda context: None
    ):
        yield


@pytest.fixture(autouse=True)
def _seeded():
    np.random.seed(0)
    tf.keras.utils.set_random_seed(0)


@pytest.fixture(scope="module")
def eagerly():
    """Run functions of TensorFlow without tracing them.

    For tests that train many tiny models in a few steps each, of which tracing
    would take most of the time.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(before)


@pytest.fixture(scope="session")
def finished_world(tmp_path_factory) -> pathlib.Path:
    """Raw logs of the tiny world, `data/` and a finished `run/`, as users do.

    Made once for all tests, whichever process comes to it first; those that
    change something work on a copy.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # That of the test run; the other is of the process alone.
        place = place.parent
    directory = place / "finished"
    with (place / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            making = pathlib.Path(tempfile.mkdtemp(dir=place))
            make_finished_world(making)
            making.rename(directory)
    return directory


@pytest.fixture(scope="session")
def cpp_client(tmp_path_factory) -> pathlib.Path:
    """The client in C++, compiled once for all tests."""
    if not (shutil.which("c++") or shutil.which("g++")):
        pytest.skip("no C++ compiler")
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    with (place / "client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "cpp").exists():
            making = pathlib.Path(tempfile.mkdtemp(dir=place))
            client.compiled(making)
            making.rename(place / "cpp")
    return place / "cpp" / "client"


def make_finished_world(directory: pathlib.Path) -> None:
    training_world.write_raw_logs(directory)
    (directory / "logs.toml").write_text(training_world.LOGS_SPEC)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ecdctr_tf.input.convert",
            f"--spec={directory / 'logs.toml'}",
            f"--source={directory}",
            f"--out={directory / 'data'}",
        ],
        check=True,
        capture_output=True,
    )
    training_world.train(directory / "data", directory / "run", "all")


@pytest.fixture
def tiny_spec() -> features.DataSpec:
    """Three tables, three ids, a sequence, a dense number, a hidden column."""
    return features.DataSpec(
        tables=(
            features.TableSpec("user"),
            features.TableSpec("item"),
            features.TableSpec("category", dtype="string"),
        ),
        features=(
            features.FeatureSpec("user_id", "id", "user", "user", basic=True),
            features.FeatureSpec("item_id", "id", "item", "item", basic=True),
            features.FeatureSpec("category", "id", "category", "item"),
            features.FeatureSpec(
                "clicked", "sequence", "item", "user", max_length=3
            ),
            features.FeatureSpec("price", "dense"),
        ),
        evaluation=("true_ctr",),
    )


def tiny_rows(day: str, first: int, count: int) -> dict:
    """Return columns whose `price` numbers the rows from `first` on.

    Row n: user 1 + n % 4, item 1 + n % 6, category 1 + n % 2, a click where n
    is a multiple of 3, and n % 4 behaviors: items 1, 2, 3 up to their number.
    """
    number = np.arange(first, first + count)
    behaviors = np.tile([1, 2, 3], (count, 1))
    behaviors[np.arange(3) >= (number % 4)[:, None]] = features.PADDING
    return {
        "user_id": (1 + number % 4).astype(np.int32),
        "item_id": (1 + number % 6).astype(np.int32),
        "category": (1 + number % 2).astype(np.int32),
        "clicked": behaviors.astype(np.int32),
        "price": number.astype(np.float32),
        "true_ctr": (number / 100).astype(np.float32),
        "click": (number % 3 == 0).astype(np.float32),
        "weight": np.ones(count, np.float32),
        "timestamp": windows.day_number(day) * 86_400 + number,
    }


def write_days(data, domain, days, files, first, file_format="blocks"):
    """Write days of `files` rows each, numbered on from `first`."""
    for i, day in enumerate(days):
        parts = []
        for count in files:
            parts.append(tiny_rows(day, first, count))
            first += count
        # The user table grows by one row a day, the others do not.
        table_rows = {"user": 5 + i, "item": 7, "category": 3}
        data.write_day(domain, day, parts, table_rows, file_format)


@pytest.fixture
def tiny_data(tmp_path, tiny_spec) -> data_directory.DataDirectory:
    """Natural days of 12 + 8 rows (0 to 59), ad days of 10 (60 to 89)."""
    path = tmp_path / "data"
    path.mkdir()
    tiny_spec.save(path / data_directory.SPEC)
    raw = {
        "user": np.arange(100, 106),
        "item": np.arange(200, 206),
        "category": ["books", "films"],
    }
    for table in tiny_spec.tables:
        space = id_space.new(table)
        space.append(raw[table.name])
        space.save(path / "ids")
    data = data_directory.DataDirectory(path)
    write_days(data, "natural", NATURAL_DAYS, NATURAL_FILES, first=0)
    write_days(data, "ads", ADS_DAYS, ADS_FILES, first=60)
    return data


@pytest.fixture
def artefact(tmp_path):
    """A published artefact of kind "snapshot" with one file of ten bytes."""
    path = tmp_path / "tpm" / "2024-01-31"
    manifest = store.Manifest(
        "snapshot", windows.Window("2024-01-01", "2024-01-31"), rows=7
    )
    with store.publish(path, manifest) as staging:
        (staging / "table.bin").write_bytes(b"0123456789")
    return path
