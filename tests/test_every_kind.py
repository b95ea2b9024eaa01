"""Weighted logs with a feature of each kind, from text to answers.

It is converted at once and in two parts, all levels are trained on it, and the
exported model answers as the trained one does, also requests that leave out
whatever they may.
"""

import json
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import tensorflow as tf

from ecdctr_tf import artefacts, features, store
from ecdctr_tf.export import contract, load, probe, verify
from ecdctr_tf.input import convert, data_directory, streams
from ecdctr_tf.input.checking import checking
from ecdctr_tf.input.conversion import toml_spec
from tests import conversion_world, training_world

SPEC = """
[[logs]]
name = "feed"
domain = "natural"
path = "natural*.parquet"
user = "user_id"
item = "item_id"
time = "time"
click = "click"
downsampled = 0.5

[[logs]]
name = "ads"
domain = "ads"
path = "ads*.csv"
user = "user_id"
item = "item_id"
time = "time"
click = "click"
weight = "importance"

[[tables]]
name = "user"
[[tables]]
name = "item"
[[tables]]
name = "city"
dtype = "string"
buckets = 3
[[tables]]
name = "genre"
dtype = "string"
[[tables]]
name = "position"
[[tables]]
name = "user_city"
ids = "hashing"
buckets = 50

[[features]]
name = "user_id"
table = "user"
side = "user"
basic = true

[[features]]
name = "item_id"
table = "item"
side = "item"
basic = true

[[features]]
name = "city"
table = "city"
side = "user"

[[features]]
name = "price"
kind = "dense"
transform = "quantiles"

[[features]]
name = "genres"
kind = "ids"
table = "genre"
separator = "|"
max_length = 3
side = "item"
basic = true

[[features]]
name = "tags"
kind = "ids"
column = "genres"
table = "genre"
separator = "|"
max_length = 2
pooling = "attention"
side = "item"

[[features]]
name = "interests"
kind = "weighted_ids"
table = "genre"
separator = "|"
max_length = 3
pooling = "sum"
side = "user"

[[features]]
name = "seen"
kind = "sequence"
table = "item"
separator = ","
max_length = 4
newest_first = true
attribute_column = "seen_genres"
attribute_table = "genre"
time_column = "seen_times"
time_column_unit = "ms"
side = "user"

[[features]]
name = "picture"
kind = "vector"
separator = " "
length = 3
side = "item"

[[features]]
name = "user_city"
kind = "cross"
of = ["user_id", "city", "item_id"]
table = "user_city"

[[features]]
name = "position"
kind = "position"
table = "position"
default = 1

[[sequences]]
name = "clicked"
table = "item"
max_length = 5

[[counts]]
name = "clicks"
of = ["item_id"]
side = "item"
"""
GENRES = np.array(["drama", "war", "comedy", "news", "crime"])
# Names of the inputs that a request has to have.
NEEDED = {"user_id", "item_id"}


def rows(domain: str, first: int, stop: int) -> dict[str, list]:
    """Return a log of some days, numbered from 2024-01-01, as text columns."""
    rng = np.random.default_rng([features.DOMAINS.index(domain), first, stop])
    count = (80 if domain == "natural" else 40) * (stop - first)
    start = (conversion_world.FIRST_DAY + first) * 86_400
    time = np.sort(rng.integers(0, (stop - first) * 86_400, count)) + start
    columns: dict[str, list] = {
        "user_id": rng.integers(1, 12, count).tolist(),
        "item_id": rng.integers(1, 9, count).tolist(),
        "time": time.tolist(),
        "click": rng.integers(0, 2, count).tolist(),
        "importance": rng.choice([0.5, 1.0, 3.0], count).tolist(),
    }
    others: list[dict] = []
    for second in time.tolist():
        genres = rng.choice(GENRES, rng.integers(0, 5))
        seen = rng.integers(1, 9, rng.integers(0, 6))
        ages = np.sort(rng.integers(1, 90_000, len(seen)))
        liked = rng.choice(GENRES, 2)
        weights = rng.random(2).round(2)
        others.append(
            {
                "city": rng.choice(["", "rome", "oslo"]),
                "price": rng.choice(["", "1.5", "20"]),
                "genres": "|".join(genres),
                "interests": rng.choice(["", _weighted(liked, weights)]),
                "seen": ",".join(map(str, seen)),
                "seen_genres": ",".join(rng.choice(GENRES, len(seen))),
                "seen_times": ",".join(str((second - a) * 1000) for a in ages),
                "picture": rng.choice(["", "0.5 -1 2", "[3 0 1]"]),
                "position": rng.choice(["", "1", "2", "3"]),
            }
        )
    for name in others[0]:
        columns[name] = [str(row[name]) or None for row in others]
    return columns


def _weighted(ids, weights) -> str:
    pairs = zip(ids, weights, strict=True)
    return "|".join(f"{name}:{weight}" for name, weight in pairs)


def write(folder, name: str, domain: str, first: int, stop: int) -> None:
    table = pa.table(rows(domain, first, stop))
    if domain == "natural":
        pa.parquet.write_table(table, folder / f"natural{name}.parquet")
    else:
        pa.csv.write_csv(table, folder / f"ads{name}.csv")


def run_convert(folder, out: str, paths=None, append=False, **options) -> None:
    spec = toml_spec.ConversionSpec.load(folder / "logs.toml")
    convert.convert_logs(
        spec, folder, folder / out, paths, append, progress=False, **options
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Logs of 6 natural days, of which the last 3 have ads, and their data."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "logs.toml").write_text(SPEC)
    write(folder, "1", "natural", 0, 5)
    write(folder, "1", "ads", 3, 5)
    run_convert(folder, "data")
    write(folder, "2", "natural", 5, 6)
    write(folder, "2", "ads", 5, 6)
    run_convert(folder, "whole")
    new = {"feed": "natural2.parquet", "ads": "ads2.csv"}
    run_convert(folder, "data", new, append=True)
    return folder


def test_an_append_gives_the_bytes_of_one_conversion(world):
    appended = conversion_world.everything(world / "data")
    assert appended == conversion_world.everything(world / "whole")


def test_examples_hold_what_blocks_do(world):
    run_convert(world, "examples", file_format="examples")
    window = data_directory.DataDirectory(world / "data").window("ads")
    columns = [
        streams.read_columns(
            data_directory.DataDirectory(world / name), "ads", window
        )
        for name in ("data", "examples")
    ]
    assert list(columns[0]) == list(columns[1])
    for name in columns[0]:
        np.testing.assert_array_equal(columns[0][name], columns[1][name])
        assert len(np.unique(columns[0][name], axis=0)) > 1, name


def test_files_are_those_that_tensorflow_writes(world, tmp_path):
    files = [*(world / "data").rglob("*.tfrecord")]
    for file in files:
        with tf.io.TFRecordWriter(str(tmp_path / "expected")) as writer:
            for record in tf.data.TFRecordDataset(str(file)):
                example = tf.train.Example.FromString(record.numpy())
                writer.write(example.SerializeToString(deterministic=True))
        assert file.read_bytes() == (tmp_path / "expected").read_bytes()
    assert len(files) == 6 + 3


@pytest.fixture
def unhashed(tmp_path):
    """A folder with the spec less what is hashed, which TensorFlow does."""
    sections = re.split(r"(?m)^(?=\[)", SPEC)
    kept = "".join(s for s in sections if "user_city" not in s)
    (tmp_path / "logs.toml").write_text(kept.replace("buckets = 3", ""))
    return tmp_path


def without_tensorflow(*flags) -> subprocess.CompletedProcess:
    """Run `convert` in a process that cannot import TensorFlow or Keras."""
    program = (
        "import runpy, sys\n"
        "sys.modules.update(tensorflow=None, tf_keras=None, keras=None)\n"
        "runpy.run_module('ecdctr_tf.input.convert', None, '__main__', True)"
    )
    command = [sys.executable, "-c", program, *map(str, flags)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=training_world.ROOT
    )


def test_logs_are_converted_without_tensorflow(world, unhashed):
    spec, out = f"--spec={unhashed / 'logs.toml'}", f"--out={unhashed / 'own'}"
    earlier = ["--log=feed=natural1.parquet", "--log=ads=ads1.csv"]
    later = ["--log=feed=natural2.parquet", "--log=ads=ads2.csv"]
    commands = (
        earlier,
        [*later, "--append"],
        [*later, "--replace=2024-01-06"],
    )
    for flags in commands:
        done = without_tensorflow(spec, f"--source={world}", out, *flags)
        assert done.returncode == 0, done.stderr
    converted = toml_spec.ConversionSpec.load(unhashed / "logs.toml")
    convert.convert_logs(converted, world, unhashed / "with", progress=False)
    expected = conversion_world.everything(unhashed / "with")
    assert conversion_world.everything(unhashed / "own") == expected


def test_logs_are_looked_at_without_tensorflow(world, unhashed):
    source = f"--source={world}"
    inferred = without_tensorflow("--infer", source)
    assert "[[features]]" in inferred.stdout, inferred.stderr
    spec, out = f"--spec={unhashed / 'logs.toml'}", f"--out={unhashed / 'page'}"
    checked = without_tensorflow("--check", spec, source, out)
    assert checked.returncode == 0, checked.stderr
    assert (unhashed / "page/index.html").exists()
    assert "--infer" in without_tensorflow("--help").stdout


def test_hashes_need_tensorflow(world, tmp_path):
    spec, out = f"--spec={world / 'logs.toml'}", f"--out={tmp_path / 'data'}"
    done = without_tensorflow(spec, f"--source={world}", out)
    assert done.returncode == 1
    assert "tensorflow" in done.stderr


def test_a_check_counts_lists_and_vectors(world):
    spec = toml_spec.ConversionSpec.load(world / "logs.toml")
    found = checking.check(spec, world)["features"]
    read = {feature.name for feature in spec.features if feature.source}
    assert set(found) == {*read, "weight"}
    assert found["genres"]["natural"]["missing"] > 0.1
    assert found["picture"]["ads"]["values"] == 2


def test_all_levels_are_trained_and_answer_as_exported(world, tmp_path):
    training_world.train(
        world / "data",
        world / "run",
        "all",
        "--models=e_cdctr",
        settings=(
            "model.embedding_dim=4",
            "model.hidden_units=4",
            "tpm_model.embedding_dim=4",
            "schedule.tpm_days=5",
            "schedule.cpm_days=5",
        ),
    )
    (version,) = (world / "run/export").glob("[0-9]*")
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["metrics"]["max_difference"] <= 1e-6
    # And once more from outside, as the export has done it itself.
    data = data_directory.DataDirectory(world / "data")
    day = world / "run/e_cdctr/ctr/2024-01-06"
    model = artefacts.read_model(day, data)
    spaces = load.known_spaces(store.read_manifest(day, artefacts.CTR), data)
    raw = probe.requests(model.spec, spaces)
    whole, least = (
        probe.expected(model, requests, spaces)["ctr"]
        for requests in (raw, probe.least(raw, model.spec))
    )
    assert np.abs(whole - least).max() > 1e-4
    unsaid = contract.meta_graph(version).signature_def["serving_default"]
    left_out = {n: tf.make_ndarray(t) for n, t in unsaid.defaults.items()}
    assert set(left_out) == set(raw) - NEEDED
    sent = {f"whole/serving_default/{name}": raw[name] for name in raw}
    for name, column in {**raw, **left_out}.items():
        sent[f"least/serving_default/{name}"] = column
    answers = verify.in_fresh_process(version, sent)
    for case, expected in (("whole", whole), ("least", least)):
        found = answers[f"{case}/serving_default/ctr"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
