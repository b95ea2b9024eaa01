r"""Peak memory and CPU time of conversion by Apache Beam, by the number of ids.

```
make beam  # makes the environment
build/beam/bin/python -m benchmarks.beam
```

Logs of `--rows` rows in four days of both domains are converted by `convert`
and by a pipeline, with a twentieth of so many users and items, and with so
many. The runner is Beam's direct one with two worker processes; parts are
small, so that the fewer ids are several of them. Each run is a process.

Key: `worker_over_fewer_ids`, the peak memory of a worker with the more ids over
that with the fewer; `convert_over_fewer_ids`, that of `convert`.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from absl import flags

from benchmarks import harness
from ecdctr_tf import features
from ecdctr_tf.input import convert
from ecdctr_tf.input.conversion import toml_spec

_WAYS = ("convert", "beam")
_RUN = flags.DEFINE_list(
    "beam_run", None, "Of a run in a process: way and folder."
)
_ROWS, _DAYS, _FIRST_DAY = 400_000, 4, 19_723
_SHARES = {features.NATURAL: 0.75, features.ADS: 0.25}
_PARTS = {"range_keys": 1 << 14, "partition_rows": 1 << 16}


def main() -> None:
    """Convert in all ways, or in one, as the process of a run."""
    if _RUN.value:
        way, folder = _RUN.value
        print(json.dumps(_run(way, pathlib.Path(folder))))
        return
    rows = harness.ROWS.value or _ROWS
    found = {
        (way, ids): _measured(way, ids)
        for ids in (rows // 20, rows)
        for way in _WAYS
    }
    rates: dict[str, float] = {}
    for (way, ids), (peak, seconds) in found.items():
        rates[f"{way}, {ids:,} ids, peak MB"] = peak / 1024
        rates[f"{way}, {ids:,} ids, CPU seconds"] = seconds

    def grown(way: str) -> float:
        return found[way, rows][0] / found[way, rows // 20][0]

    harness.report(
        f"Conversion of {rows:,} rows",
        rates,
        {
            "worker_over_fewer_ids": grown("beam"),
            "convert_over_fewer_ids": grown("convert"),
        },
        "build/beam/bin/python -m benchmarks.beam",
        None,
    )


def _measured(way: str, ids: int) -> tuple[float, float]:
    """Return the peak in KB and the CPU seconds of a run in a process."""
    with tempfile.TemporaryDirectory() as folder:
        _write(pathlib.Path(folder), ids)
        command = [sys.executable, "-m", "benchmarks.beam"]
        command += [f"--beam_run={way},{folder}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    peak, seconds = json.loads(done.stdout.splitlines()[-1])
    return peak, seconds


def _write(folder: pathlib.Path, ids: int) -> None:
    """Write the logs."""
    rng = np.random.default_rng(0)
    for domain, share in _SHARES.items():
        (folder / domain).mkdir()
        count = int((harness.ROWS.value or _ROWS) * share / _DAYS)
        for day in range(_FIRST_DAY, _FIRST_DAY + _DAYS):
            table = {
                "user_id": rng.integers(0, ids, count),
                "item_id": rng.integers(0, ids, count),
                "timestamp": day * 86_400 + rng.integers(0, 86_400, count),
                "click": rng.integers(0, 2, count),
            }
            path = folder / domain / f"{day}.parquet"
            pa.parquet.write_table(pa.table(table), path)


def _spec() -> toml_spec.ConversionSpec:
    """Return a spec with a sequence, counts of items and of pairs, an age."""
    ids = {"user_id": "user", "item_id": "item"}
    return toml_spec.from_dict(
        {
            "tables": [{"name": table} for table in ids.values()],
            "features": [
                {"name": name, "table": table, "side": table, "basic": True}
                for name, table in ids.items()
            ],
            "sequences": [{"name": "last", "table": "item", "max_length": 20}],
            "counts": [
                {"name": "of_item", "of": ["item_id"], "side": "item"},
                {"name": "of_pair", "of": ["user_id", "item_id"]},
            ],
            "ages": [{"name": "age"}],
            "logs": [
                {
                    "domain": domain,
                    "path": f"{domain}/*.parquet",
                    "user": "user_id",
                    "item": "item_id",
                    "click": "click",
                    "time": "timestamp",
                }
                for domain in _SHARES
            ],
        }
    )


def _run(way: str, folder: pathlib.Path) -> tuple[float, float]:
    """Convert; return the peak in KB and the CPU seconds, with workers'."""
    out = folder / "data"
    if way == "convert":
        convert.convert_logs(_spec(), folder, out, progress=False)
    else:
        from apache_beam.options import pipeline_options

        from ecdctr_tf.input.beam import pipeline

        runner = ["--direct_running_mode=multi_processing"]
        options = pipeline_options.PipelineOptions(
            [*runner, "--direct_num_workers=2"]
        )
        pipeline.convert(_spec(), str(folder), out, options, **_PARTS)
    own = resource.getrusage(resource.RUSAGE_SELF)
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = [own, workers]
    peak = own.ru_maxrss if way == "convert" else workers.ru_maxrss
    return peak, sum(use.ru_utime + use.ru_stime for use in used)


if __name__ == "__main__":
    harness.run(main)
