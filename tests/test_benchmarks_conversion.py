import json

import pyarrow as pa
import pyarrow.compute as pc
from absl import flags
from absl.testing import flagsaver

from benchmarks import clicks, conversion
from ecdctr_tf.input.conversion import logs, toml_spec


def tables(tmp_path, source):
    (tmp_path / conversion.SPEC).write_text(conversion.spec(), "utf-8")
    spec = toml_spec.ConversionSpec.load(tmp_path / conversion.SPEC)
    found = {"natural": [], "ads": []}
    for domain, table in logs.tables(spec, source):
        found[domain].append(table)
    return {domain: pa.concat_tables(parts) for domain, parts in found.items()}


def test_text_logs_have_the_size_asked_for_and_half_their_rows_on_a_day(
    tmp_path,
):
    source = tmp_path / "large"
    clicks.write_text(source, 0.001)
    size = sum(file.stat().st_size for file in source.iterdir())
    assert 0.95e6 < size < 1.05e6
    for domain, table in tables(tmp_path, source).items():
        days = pc.value_counts(table["day"]).to_pylist()
        counts = {int(day["values"]): day["counts"] for day in days}
        assert sorted(counts) == [0, 1, 2, 3], domain
        assert abs(counts[1] / len(table) - 0.5) < 0.01, domain
        assert pc.sum(pc.cast(table["click"], pa.int64())).as_py() > 0


def test_benchmark_writes_its_ratios(tmp_path):
    path = tmp_path / "conversion.json"
    with flagsaver.flagsaver():
        flags.FLAGS(
            ["conversion", "--rows=40000", "--gigabytes=0.001", "--runs=1"]
            + [f"--json={path}"]
        )
        conversion.main()
    results = json.loads(path.read_text())
    # A tenth of a megabyte takes what Python and its packages take.
    assert 0.9 < results["peak_memory_over_tenth"] < 1.5
    assert results["peak_memory_over_wanted"] > 0.05
    rates = {name: rate["median"] for name, rate in results["rates"].items()}
    assert results["convert_over_read"] == (
        rates["convert"] / rates["read by pyarrow"]
    )
    assert results["convert_over_wanted"] == rates["convert"] / 500_000
    # How long anything takes says nothing on a machine with other work.
    assert {"convert, the fastest", "convert, rows per CPU second"} < set(rates)
    assert rates["large logs, rows"] > 5000
