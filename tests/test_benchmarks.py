"""The arithmetic, the data and the refusals of the benchmarks; no timing."""

import dataclasses
import json
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

import benchmarks
from benchmarks import (
    comparison,
    gpu,
    harness,
    keras_adam,
    logs,
    memory,
    ours,
    serving,
    stages,
    worker,
    world,
)
from benchmarks.peers import environments
from ecdctr_tf import config as configs
from ecdctr_tf.input import streams
from ecdctr_tf.input.conversion import toml_spec
from ecdctr_tf.input.datasets import synthetic_world


def test_flags_of_programs_do_not_collide_in_a_process_of_tests():
    modules = pkgutil.iter_modules(benchmarks.__path__, "benchmarks.")
    names = {module.name for module in modules}
    assert {"benchmarks.conversion", "benchmarks.quality"} < names
    # Its flags are those of `train_main`; no test imports it.
    names.remove("benchmarks.quality")
    names |= {"train_main", "ecdctr_tf.input.convert"}
    command = "; ".join(f"import {name}" for name in sorted(names))
    subprocess.run([sys.executable, "-c", command], check=True)


def test_ways_take_turns_after_one_to_warm_up():
    calls = []
    ways = {n: lambda n=n: calls.append(n) or 1.0 for n in ("a", "b")}
    harness.alternate(ways, runs=2)
    assert calls == ["a", "b"] * 3


def test_rates_are_medians_without_the_warm_up():
    rates = iter([99.0, 5.0, 1.0, 3.0])
    found = harness.alternate({"a": lambda: next(rates)}, runs=3)
    assert found["a"] == 3.0
    assert found["a"].values == [5.0, 1.0, 3.0]


def test_report_prints_and_writes_the_results(tmp_path, capsys):
    rates = {"ours": harness.Median([4.0, 6.0, 5.0]), "peer": 2.0}
    path = tmp_path / "results.json"
    harness.report(
        "Rates",
        rates,
        {"over_peer": rates["ours"] / rates["peer"]},
        "python -m benchmarks.training",
        path,
        {"peer": "1.2"},
        ["a note"],
    )
    results = json.loads(path.read_text())
    assert results["over_peer"] == 2.5
    assert results["rates"]["ours"] == {
        "median": 5.0,
        "lowest": 4.0,
        "highest": 6.0,
        "runs": 3,
    }
    assert results["versions"]["peer"] == "1.2"
    assert set(results["versions"]) > set(harness.PACKAGES)
    assert results["machine"]["cores"] >= 1
    printed = capsys.readouterr().out
    for text in ("over_peer", "2.5", "4 to 6", "a note", "benchmarks.training"):
        assert text in printed


def test_world_has_the_rows_and_ids_asked_for(tmp_path):
    data = world.write(
        tmp_path / "data", rows=2_000, days=2, day_rows=3_001, day_files=2
    )
    window = data.window(world.DOMAIN)
    assert data.rows(world.DOMAIN, window) == 2 * 3_001
    assert len(data.manifest(world.DOMAIN, window.first).files) == 2
    assert set(data.table_rows(window.last).values()) == {100}
    columns = streams.read_columns(data, world.DOMAIN, window)
    for name in world.FEATURES:
        assert columns[name].min() == 0
        assert columns[name].max() == 99
    assert 0.1 < columns["click"].mean() < 0.5


def test_clicks_of_the_world_depend_on_the_ids(tmp_path):
    data = world.write(tmp_path / "data", rows=20 * 2, days=1, day_rows=20_000)
    columns = streams.read_columns(
        data, world.DOMAIN, data.window(world.DOMAIN)
    )
    rates = [
        abs(
            columns["click"][columns[name] == 0].mean()
            - columns["click"][columns[name] == 1].mean()
        )
        for name in world.FEATURES
    ]
    # By chance alone the difference has a standard deviation of 0.006.
    assert max(rates) > 0.05


def test_arrays_are_the_rows_of_the_world(tmp_path):
    data = world.write(tmp_path / "data", rows=200, days=2, day_rows=50)
    world.write_arrays(data, tmp_path)
    ids = np.load(tmp_path / world.IDS)
    assert ids.shape == (100, 20)
    assert ids.dtype == np.int32
    columns = streams.read_columns(
        data, world.DOMAIN, data.window(world.DOMAIN)
    )
    np.testing.assert_array_equal(ids[:, 3], columns["feature_03"])
    clicks = np.load(tmp_path / world.CLICKS)
    np.testing.assert_array_equal(clicks, columns["click"])


def test_worker_gives_the_rates_of_its_process():
    settings = {"rates": [3.5, 4.5]}
    with worker.Worker("tests.measured_process", settings) as started:
        assert started.measure() == 3.5
        assert started.measure() == 4.5
        assert started.peak_bytes > 1e6
        assert started.versions == harness.versions(["numpy"])


def test_worker_that_ends_tells_why():
    with pytest.raises(RuntimeError, match="KeyError: 'rates'"):
        worker.Worker("tests.measured_process", {})


@dataclasses.dataclass
class FakeWorker:
    """Measures 60 rows/s of ours and 30 or 20, by the batch, of a peer."""

    module: str
    settings: dict
    python: str | None = None
    environment: dict | None = None
    versions = {"peer": "1.2"}

    def __enter__(self):
        if self.module == "broken":
            raise RuntimeError("the first line\nthe reason")
        return self

    def __exit__(self, *error):
        pass

    def measure(self):
        if self.module == "benchmarks.ours":
            return 60.0
        return {1024: 30.0, 4096: 20.0}[self.settings["batch_size"]]


@pytest.fixture
def compared(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "ROWS", 200)
    monkeypatch.setattr(comparison.worker, "Worker", FakeWorker)
    return comparison.Comparison(tmp_path, comparison.CPU, runs=1)


def test_comparison_has_the_smaller_ratio_of_the_batch_sizes(compared):
    compared.add("some", comparison.Peer("peer", rows=8_192))
    assert compared.ratios == {
        "over_some": 2.0,
        "over_some_1024": 2.0,
        "over_some_4096": 3.0,
    }
    assert compared.versions == {"peer": "1.2"}
    assert compared.notes == []


def test_comparison_names_the_precision_where_there_are_several(compared):
    peer = comparison.Peer("peer", rows=8_192, precisions=("fp32", "bf16"))
    compared.add("some", peer)
    assert set(compared.ratios) == {
        f"over_some_{precision}{size}"
        for precision in ("fp32", "bf16")
        for size in ("", "_1024", "_4096")
    }


def test_peer_that_does_not_run_leaves_the_reason(compared):
    compared.add("some", comparison.Peer("broken", rows=8_192))
    assert compared.ratios == {}
    assert compared.notes == ["some did not run: the reason"]


def test_environment_that_is_there_is_not_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "PLACE", tmp_path)
    pins = (environments.PINS / "torch.txt").read_text()
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "installed.txt").write_text(pins)
    assert environments.python("torch") == tmp_path / "torch/bin/python"


@pytest.mark.parametrize("name", [*environments.NAMES, "torch_cuda"])
def test_packages_of_peers_are_pinned(name):
    for line in (environments.PINS / f"{name}.txt").read_text().splitlines():
        assert line.count("==") == 1


def test_bound_of_memory():
    # 640 MB of tables, 40 MB of accumulators, 1 GB for all else.
    assert memory.bound_bytes(10_000_000, 16) == 1_680_000_000


def test_settings_of_ours_are_fields_of_the_config():
    settings = {"data": "unused", "batch_size": 7}
    assert ours.training(settings).batch_size == 7
    with pytest.raises(TypeError, match="unknown"):
        ours.training({"unknown": 1})


def test_ours_trains_on_the_rows_of_a_window(tmp_path):
    data = world.write(tmp_path / "data", rows=400, days=2, day_rows=60)
    config = configs.Config(
        model=ours.NETWORK, cpm=ours.training({"batch_size": 32})
    )
    level = ours.level(data, config, tmp_path / "run")
    window = data.window(world.DOMAIN)
    level.fresh(window.last)
    assert ours.rate(level, window) > 0
    assert level.rows == 2 * 60
    # There is nothing to time but training.
    assert not (tmp_path / "run").exists()


def test_keras_model_is_that_of_this_project():
    rows = {name: 5 for name in world.FEATURES}
    network = keras_adam.model(rows)
    tables = 20 * 5 * 16
    # Two trained vectors of each batch norm, three kernels, the head.
    norms = 2 * (320 + 256 + 128 + 64)
    kernels = 320 * 256 + 256 * 128 + 128 * 64
    count = sum(np.prod(v.shape) for v in network.trainable_variables)
    assert count == tables + norms + kernels + 64 + 1


def test_raw_logs_are_what_their_spec_says(tmp_path):
    logs.write(tmp_path, synthetic_world.TINY)
    spec = toml_spec.ConversionSpec.load(tmp_path / logs.SPEC)
    assert {log.domain for log in spec.logs} == {"natural", "ads"}
    for log, rows in zip(spec.logs, (12 * 400, 5 * 80), strict=True):
        lines = (tmp_path / log.path).read_text().splitlines()
        assert len(lines) == rows + 1


def test_input_waits_are_means_of_scalars(tmp_path):
    directory = tmp_path / "tensorboard" / "tpm" / "2024-01-30"
    with tf.summary.create_file_writer(str(directory)).as_default():
        tf.summary.scalar("input_wait", 0.02, 1)
        tf.summary.scalar("input_wait", 0.04, 2)
    waits = stages.input_waits(tmp_path)
    assert waits == {"input_wait_tpm": pytest.approx(0.03)}


def test_gpu_is_skipped_with_a_reason(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    path = tmp_path / "gpu.json"
    with flagsaver.flagsaver():
        flags.FLAGS(["gpu", f"--json={path}"])
        gpu.main()
    assert "no GPU" in json.loads(path.read_text())["skipped"]
    assert "skipped: " in capsys.readouterr().out


def test_serving_compares_the_shortest_times():
    least = {"rank": 2.0, "serving_default": 4.0, "keras": 6.0, "products": 1.0}
    assert serving.ratios_of(least, "n50_t10") == {
        "rank_over_keras_n50_t10": 3.0,
        "default_over_keras_n50_t10": 1.5,
        "rank_over_matmuls_n50_t10": 2.0,
    }


def test_serving_compares_what_gives_the_same_answers():
    """The plain network has the weights of ours, and so its answers."""
    ours = serving.model(2)
    ways = serving.requests(
        dict.fromkeys(("ours", "keras", "bare")), ours, 3, 4
    )
    rows = {way.name: way.inputs for way in ways}["keras"]
    inputs = {name: tf.constant(column) for name, column in rows.items()}
    found = serving.plain_keras(ours)(inputs)["ctr"][:, 0]
    inputs = {name: tf.cast(c, tf.int32) for name, c in inputs.items()}
    wanted = ours.score({**inputs, "day": tf.fill([3], 20_000)})
    np.testing.assert_allclose(found, wanted, 0, 1e-5)
    assert np.std(wanted) > 1e-3
    others = {way: {"ctr": wanted.numpy()} for way in ("rank", "keras")}
    serving.check(others | {"serving_default": {"ctr": found.numpy()}})
    with pytest.raises(RuntimeError, match="The answers differ by 0.1"):
        serving.check(
            others | {"serving_default": {"ctr": wanted.numpy() + 0.1}}
        )
