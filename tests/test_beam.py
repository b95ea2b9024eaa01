"""A Beam pipeline writes the bytes that `convert` writes.

Beam has an environment of its own; `make beam` makes it and runs this file.
"""

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from ecdctr_tf.input import convert
from ecdctr_tf.input.conversion import spill
from tests import conversion_world

pytest.importorskip(
    "apache_beam", reason="The extra `beam` is not installed; see `make beam`."
)

import apache_beam as beam  # noqa: E402
from apache_beam.options import pipeline_options  # noqa: E402

from ecdctr_tf.input.beam import (  # noqa: E402
    __main__,
    exchange,
    pieces,
    pipeline,
)

# Small parts: each conversion has several of every kind.
SIZES = {"range_keys": 7, "partition_rows": 150}
LOG = {"user": "user_id", "item": "item_id", "time": "timestamp"}


def spec(clicks_only=(), **changes):
    logs = []
    for domain in ("natural", "ads"):
        label = {} if domain in clicks_only else {"click": "click"}
        path = f"{domain}/*.parquet"
        logs.append({"domain": domain, "path": path, **LOG, **label})
    return conversion_world.spec(logs=logs, **changes)


def write_logs(directory, natural, ads, files=3):
    for domain, table in (("natural", natural), ("ads", ads)):
        (directory / domain).mkdir(parents=True)
        for number, places in enumerate(
            np.array_split(np.arange(len(table)), files)
        ):
            pa.parquet.write_table(
                table.take(pa.array(places)),
                directory / domain / f"{number}.parquet",
            )


def by_beam(spec, source, out, **options):
    flags = pipeline_options.PipelineOptions(["--runner=DirectRunner"])
    options = {**SIZES, "rows_per_file": 50, **options}
    return pipeline.convert(spec, str(source), out, flags, **options)


def files(directory: pathlib.Path):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def assert_same(tmp_path, spec):
    """Convert in both ways, and compare all files."""
    summary = convert.convert_logs(
        spec, tmp_path, tmp_path / "local", rows_per_file=50, progress=False
    )
    assert by_beam(spec, tmp_path, tmp_path / "beam") == summary
    local, made = files(tmp_path / "local"), files(tmp_path / "beam")
    assert sorted(made) == sorted(local)
    assert [name for name in local if made[name] != local[name]] == []


def logs(tmp_path, **options):
    write_logs(
        tmp_path,
        conversion_world.table(0, rows=400, days=4, users=40, **options),
        # Ads end earlier, so that a state of then is kept, too.
        conversion_world.table(1, rows=250, days=3, users=40),
    )


def test_same_bytes(tmp_path):
    logs(tmp_path)
    assert_same(tmp_path, spec())


def test_same_bytes_of_days_of_several_stretches(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "STRETCH_ROWS", 37)
    logs(tmp_path)
    assert_same(tmp_path, spec())


def test_same_negatives(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "STRETCH_ROWS", 37)
    logs(tmp_path, clicks=False)
    rule = {"per_click": 3, "window_seconds": 40_000, "seed": 3}
    rule["drop_reclicks"] = True
    made = spec(("natural",), negatives={"natural": rule})
    assert_same(tmp_path, made)


def test_same_unknown_ids_weights_and_sources(tmp_path):
    rng = np.random.default_rng(2)

    def table(rows, days):
        times = conversion_world.FIRST_DAY * 86_400
        times += rng.integers(0, days * 86_400, rows)
        user = rng.integers(-1, 30, rows)
        device = rng.choice(["tv", "pc", "", None], rows)
        return pa.table(
            {
                # -1 is an id here, and a missing one is looked up as it.
                "user_id": pa.array(user, mask=rng.random(rows) < 0.1),
                "item_id": pa.array(rng.choice(["a", "b", "7"], rows)),
                "device": pa.array(device, pa.string()),
                "price": rng.random(rows),
                "timestamp": times,
                "click": rng.integers(0, 2, rows),
                "weight": rng.choice([1.0, 2.5], rows),
                "tags": [["x", "y"][: i % 3] for i in range(rows)],
            }
        )

    write_logs(tmp_path, table(150, 2), table(90, 4))
    log = {**LOG, "click": "click", "null_texts": ["none"]}
    made = conversion_world.spec(
        logs=[
            {
                **log,
                "domain": "natural",
                "path": "natural/*.parquet",
                "source": "feed",
                "weight": "weight",
            },
            {**log, "domain": "ads", "path": "ads/*.parquet"},
        ],
        null_user="unknown",
        sources=[{"name": "feed"}],
        tables=[
            {"name": "user"},
            {"name": "item", "dtype": "string"},
            {"name": "device", "dtype": "string"},
            {"name": "tag", "dtype": "string"},
        ],
        features=[
            {"name": "user_id", "table": "user", "side": "user", "basic": True},
            {"name": "item_id", "table": "item", "side": "item", "basic": True},
            {"name": "device", "table": "device"},
            {"name": "price", "kind": "dense", "side": "item"},
            {"name": "tags", "kind": "ids", "table": "tag", "max_length": 2},
        ],
    )
    assert_same(tmp_path, made)


def test_error_of_the_input_is_the_users(tmp_path):
    logs(tmp_path)
    table = conversion_world.table(3).set_column(
        5, "click", pa.array(np.full(120, 7))
    )
    pa.parquet.write_table(table, tmp_path / "ads" / "9.parquet")
    with pytest.raises(ValueError, match=r"9.parquet.* should hold 0 or 1"):
        by_beam(spec(), tmp_path, tmp_path / "beam")
    assert not (tmp_path / "beam").exists()
    assert not list(tmp_path.glob(".*beam*/"))


class Lossy(beam.PTransform):
    """A group that loses what a worker says about one stretch."""

    def expand(self, pairs):
        def held(pair):
            value = pair[1]
            if not isinstance(value, exchange.Parcel):
                return True
            return value.number != 2 or "Past" not in value.path.parts

        return pairs | beam.Filter(held) | GROUP()


GROUP = beam.GroupByKey


def test_a_runner_that_loses_values_is_found_out(tmp_path, monkeypatch):
    logs(tmp_path)
    monkeypatch.setattr(exchange.beam, "GroupByKey", Lossy)
    with pytest.raises(ValueError, match=r"lost values: \d+ on .* 'Past'"):
        by_beam(spec(), tmp_path, tmp_path / "beam")
    assert not (tmp_path / "beam").exists()


def test_a_runner_that_loses_events_or_rows_is_found_out(tmp_path, monkeypatch):
    logs(tmp_path)
    put = exchange.Exchange.put

    def losing(lost):
        def of(self, name, pairs):
            kept = put(self, name, pairs)
            keep = lambda pair: pair[1].path.name[0] > "7"  # noqa: E731
            return (
                kept | f"Lose{name}" >> beam.Filter(keep)
                if (name == lost)
                else kept
            )

        return of

    for name, what in (("Events", "events"), ("Rows", "rows")):
        monkeypatch.setattr(exchange.Exchange, "put", losing(name))
        with pytest.raises(ValueError, match=rf"gave \d+ of \d+ {what} of 2"):
            by_beam(spec(), tmp_path, tmp_path / "beam")
        assert not (tmp_path / "beam").exists()


def test_refuses_what_it_cannot_do_alike(tmp_path):
    with pytest.raises(ValueError, match="has `min_count` above 1, which"):
        by_beam(spec(min_count={"item": 2}), tmp_path, tmp_path / "beam")


def test_a_flag_that_is_nearly_one_of_ours_is_not_passed_over():
    with pytest.raises(ValueError, match="Is it --rows_per_file?"):
        __main__._check(["--runner=DirectRunner", "--rows_per_fil=3"])


def test_archive_is_that_of_numpy(tmp_path):
    values = np.arange(10, dtype=np.int32)
    np.savez(tmp_path / "numpy.npz", values=values)
    with pieces.Archive(tmp_path / "ours.npz") as file:
        file.add("values", np.int32, lambda: iter([values[:3], values[3:]]))
    assert files(tmp_path)["ours.npz"] == files(tmp_path)["numpy.npz"]


def test_merges_sorted_runs_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK", 6)
    keys = np.random.default_rng(0).permutation(50)
    for number, run in enumerate(np.array_split(keys, 3)):
        place = tmp_path / str(number)
        place.mkdir()
        np.save(place / "keys.npy", np.sort(run))
        np.save(place / "values.npy", -np.sort(run))
    chunks = list(pieces.Pieces(tmp_path).merged("keys", "values"))
    assert max(len(chunk) for chunk, _ in chunks) <= 6
    merged = np.concatenate([chunk for chunk, _ in chunks])
    np.testing.assert_array_equal(merged, np.arange(50))
    values = np.concatenate([values for _, values in chunks])
    np.testing.assert_array_equal(values, -np.arange(50))
