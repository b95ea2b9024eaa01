"""Readers of files, manifests, specs and configs are given what is not right.

Each input is refused with a ValueError, or what it says is allowed: no other
error, no hang, nothing accepted that should not be. `ECDCTR_TF_FUZZ` is how
many inputs a reader gets, of slow ones a part; `ECDCTR_TF_FUZZ_SEED` is another
start. With 130000 there are a million of them.
"""

import contextlib
import dataclasses
import json
import os
import random

import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import features, store, typed_values, windows
from ecdctr_tf.input import convert, id_space, tfrecords
from ecdctr_tf.input.conversion import toml_spec
from tests import fuzzing, training_world

COUNT = int(os.environ.get("ECDCTR_TF_FUZZ", "1000"))
# Name -> the last input and its number, said where a test fails.
LAST = {}
SEED = os.environ.get("ECDCTR_TF_FUZZ_SEED", "0")


@pytest.fixture(autouse=True)
def _say_the_last_input():
    LAST.clear()
    yield
    for name, (number, given) in LAST.items():
        print(f"The last input of {name} was number {number}: {given!r}")


def inputs(name, mutate, whole, count=COUNT):
    """Yield mutations, each of which has to be dealt with in time."""
    random_ = random.Random(f"{name} {SEED}")
    with fuzzing.alarm() as restart:
        for number in range(count):
            restart()
            given = mutate(random_, whole)
            LAST[name] = number, given
            yield given


def manifest() -> store.Manifest:
    day = windows.Window("2024-01-02", "2024-01-02")
    return store.Manifest(
        "day",
        day,
        rows=40,
        spec="0123",
        ids={"user": {"rows": 7, "sha256": "ab"}, "item": {"rows": 3}},
        parents={"last": {"path": "../x", "manifest": "cd"}},
        config={"format": "blocks", "domain": "ads", "shards": 1},
        metrics={"clicks": 7, "auc": 0.625, "none": None},
        files={"part-00000.tfrecord": {"bytes": 400, "sha256": "ef"}},
    )


def test_manifests():
    """What is accepted is what was published."""
    whole = manifest()
    text = whole.to_json()
    accepted = 0
    for given in inputs("manifests", fuzzing.of_text, text):
        try:
            found = store.Manifest.from_json(given.decode())
        except ValueError:
            continue
        accepted += 1
        # A manifest that lacks its hash is as one of an older version.
        if "sha256" in json.loads(given):
            assert found == whole, given
    assert accepted < COUNT / 4


def test_manifests_of_older_versions():
    """They have no hash: values are of their types all the same."""
    text = manifest().to_json()
    values = json.loads(text)
    del values["sha256"]
    text = json.dumps(values)
    for given in inputs("older manifests", fuzzing.of_text, text):
        try:
            found = store.Manifest.from_json(given.decode())
        except ValueError:
            continue
        assert found.rows >= 0
        assert all(type(of["rows"]) is int for of in found.ids.values())
        assert all(type(of["bytes"]) is int for of in found.files.values())
        assert store.Manifest.from_json(found.to_json()) == found


def test_configs(tmp_path):
    text = training_world.SMALL_CONFIG.to_json()
    file = tmp_path / "config.json"
    for given in inputs("configs", fuzzing.of_text, text, COUNT // 10):
        file.write_bytes(given)
        try:
            found = configs.Config.from_json(file)
        except ValueError:
            continue
        file.write_text(found.to_json())
        assert configs.Config.from_json(file) == found


SETTINGS = (
    "model.embedding_dim=16",
    "ctr.table_learning_rate=0.001",
    "sources.shares=search:0.3,video:0.2",
    "ads_only.batch_size=64",
    "schedule.ctr_first=2024-01-10",
    "input.damaged=skip_shard",
    "history.aggregation=mean",
)


def test_settings():
    whole = "\n".join(SETTINGS).encode()
    config = configs.Config()
    for given in inputs("settings", fuzzing.of_bytes, whole, COUNT // 4):
        try:
            lines = given.decode().split("\n")
            found = configs.override(config, lines)
        except ValueError:
            continue
        assert type(found.model.embedding_dim) is int
        assert found.model.embedding_dim > 0
        assert found.input.damaged in configs.DAMAGED


def test_data_specs():
    text = json.dumps(dataclasses.asdict(training_world.SMALL_SPEC))
    for given in inputs("specs", fuzzing.of_text, text, COUNT // 2):
        try:
            found = features.DataSpec.from_dict(typed_values.from_json(given))
        except ValueError:
            continue
        values = json.loads(json.dumps(dataclasses.asdict(found)))
        assert features.DataSpec.from_dict(values) == found


@pytest.mark.parametrize("name", ["synthetic", "globo", "movielens"])
def test_conversion_specs(tmp_path, name):
    whole = convert.find_spec(f"{name}.toml").read_bytes()
    file = tmp_path / "spec.toml"
    for given in inputs(name, fuzzing.of_bytes, whole, COUNT // 20):
        file.write_bytes(given)
        try:
            found = toml_spec.ConversionSpec.load(file)
            found.data_spec()
        except ValueError:
            continue
        assert found.zone is not None


def test_values_of_conversion_specs():
    path = convert.find_spec("synthetic.toml")
    whole = toml_spec.tomllib.loads(path.read_text())
    for given in inputs("values", fuzzing.of_json, whole, COUNT // 10):
        try:
            toml_spec.from_dict(given).data_spec()
        except ValueError:
            continue


@pytest.mark.parametrize("dtype", ["int64", "string"])
def test_vocabularies(dtype):
    """The hash of ids tells where what is accepted is another vocabulary."""
    table = features.TableSpec("user", dtype=dtype)
    space = id_space.new(table)
    space.append([f"{n}" if dtype == "string" else n for n in range(90, 120)])
    whole, before = space.arrays()["text"].tobytes(), space.fingerprint()
    for given in inputs(dtype, fuzzing.of_bytes, whole):
        try:
            found = id_space.Vocabulary(table, id_space._ids(table, given))
        except ValueError:
            continue
        assert len(set(found.ids.tolist())) == found.rows - 1
        if found.rows >= before["rows"]:
            same = found.fingerprint(before["rows"]) == before
            assert same == (found.ids[: space.rows - 1] == space.ids).all()


def test_records(tmp_path):
    """Only records that were written are ever whole."""
    file = tmp_path / "x.tfrecord"
    records = [bytes([n]) * (10 * n + 1) for n in range(9)]
    tfrecords.write(file, records)
    for given in inputs("records", fuzzing.of_bytes, file.read_bytes()):
        file.write_bytes(given)
        for record in tfrecords.checked(file):
            assert record is None or record in records
        for read in (tfrecords.places, tfrecords.read):
            with contextlib.suppress(ValueError):
                list(read(file))


def test_json():
    whole = json.dumps(list(fuzzing.ODD))
    for given in inputs("json", fuzzing.of_text, whole):
        try:
            found = typed_values.from_json(given)
        except ValueError:
            continue
        try:
            typed_values.to_json(found, "x")
        except ValueError as error:
            assert "finite" in str(error)


@dataclasses.dataclass(frozen=True)
class Kept:
    """Fields of each type that files hold."""

    whole: int
    number: float
    text: str
    truth: bool
    list: tuple[str, ...]
    table: dict[str, int]
    maybe: int | None = None


def test_typed_values():
    whole = {
        "whole": 1,
        "number": 1.5,
        "text": "a",
        "truth": True,
        "list": ["a"],
        "table": {"a": 1},
        "maybe": None,
    }
    for given in inputs("typed", fuzzing.of_json, whole):
        try:
            found = typed_values.make(Kept, "x", given)
        except ValueError:
            continue
        assert type(found.whole) is int
        assert type(found.truth) is bool
        assert all(type(entry) is str for entry in found.list)
        assert all(type(entry) is int for entry in found.table.values())
