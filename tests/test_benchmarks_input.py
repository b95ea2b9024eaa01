import json
import subprocess
import sys

import numpy as np

from benchmarks import input as benchmark


def test_both_ways_read_the_same_rows(tmp_path):
    read = {}
    for file_format in ("blocks", "examples"):
        data = benchmark.write(tmp_path / file_format, 300, file_format)
        dataset = (
            benchmark.stream(data, None)
            if file_format == "blocks"
            else benchmark.parsed(data, shuffle=False)
        )
        inputs, clicks = next(iter(dataset))
        read[file_format] = inputs["feature_19"][:300], clicks[:300]
    for ours, theirs in zip(read["blocks"], read["examples"], strict=True):
        assert ours.shape == [300]
        np.testing.assert_array_equal(ours, theirs)


def test_benchmark_writes_its_ratios(tmp_path):
    command = [sys.executable, "-m", "benchmarks.input", "--rows=300"]
    command += ["--runs=1", f"--json={tmp_path / 'input.json'}"]
    subprocess.run(command, check=True, capture_output=True)
    results = json.loads((tmp_path / "input.json").read_text())
    for key in (
        "input_over_parse_example",
        "input_over_parse_example_unshuffled",
        "two_features_over_all",
    ):
        assert results[key] > 0, key
