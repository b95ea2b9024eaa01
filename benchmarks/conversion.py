r"""Speed and memory of `convert`, each time a process of its own.

```
python -m benchmarks.conversion --globo=FOLDER --gigabytes=10 --runs=3 \
    --json=conversion.json
```

Speed: the Globo clicks and impressions with the spec `globo.toml`, from the
start of the process to its end. No negatives are drawn: what is drawn would be
counted as rows. All clicks are natural rows as they are. Without `--globo`,
logs of the same columns are made up. Beside it, pyarrow merely reads the files.

Memory: made-up text logs of both domains, of `--gigabytes` and of a tenth of
it. One of their four days holds half of the rows, at times in no order.

Keys: `convert_over_read` (rows/s of both), `convert_over_wanted` (500 k rows/s
on two cores), `peak_memory_over_wanted` (1.5 GB) and `peak_memory_over_tenth`.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import pyarrow.parquet as pq
from absl import flags

from benchmarks import clicks, harness, worker
from ecdctr_tf.input import convert

WANTED_RATE, WANTED_BYTES = 500_000, 1.5e9
# Rows of the Globo clicks and impressions.
GLOBO_ROWS = 2_886_149
SPEC = "logs.toml"
_LOGS = """
[[logs]]
domain = "natural"
path = "globo_dev_clicks.*"
user = "user_id"
item = "click_article_id"
# Of referrers 1 and 2, all of which are clicks.
click = "click_referrer_type"
click_at_least = 1
time = "click_timestamp"
time_unit = "ms"
day = "local_day"
keep = { click_referrer_type = [1, 2] }

[[logs]]
domain = "ads"
path = "globo_dev_target.*"
user = "user_id"
item = "article_id"
click = "label"
time = "timestamp"
time_unit = "ms"
day = "local_day"

"""

_GLOBO = flags.DEFINE_string(
    "globo", None, "Folder with the Globo files; without it they are made up."
)
_GIGABYTES = flags.DEFINE_float(
    "gigabytes", 1.0, "Size of the logs whose memory is measured.", 0
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A conversion that has ended."""

    rows: int
    seconds: float
    # Of all cores together.
    cpu_seconds: float
    # Largest resident memory.
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Rows/s."""
        return self.rows / self.seconds


def main() -> None:
    """Measure speed and memory; report."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        (directory / SPEC).write_text(spec(), encoding="utf-8")
        source = pathlib.Path(_GLOBO.value or directory / "globo")
        if not _GLOBO.value:
            clicks.write_parquet(source, harness.ROWS.value or GLOBO_ROWS)
        runs: list[Run] = []
        ways = {
            "convert": lambda: measured(directory, source, runs),
            "read by pyarrow": functools.partial(read, source),
        }
        rates = harness.alternate(ways, harness.RUNS.value)
        peaks = {
            share: peak(directory, share * _GIGABYTES.value)
            for share in (0.1, 1)
        }
    timed = runs[-harness.RUNS.value :]
    harness.report(
        "Conversion, rows/s where nothing else is said",
        {
            **rates,
            "convert, the fastest": max(run.rate for run in timed),
            "convert, rows per CPU second": harness.Median(
                run.rows / run.cpu_seconds for run in timed
            ),
            "large logs": peaks[1].rate,
            "large logs, rows": peaks[1].rows,
            "large logs, peak in MB": peaks[1].peak_bytes / 1e6,
            "a tenth of them, peak in MB": peaks[0.1].peak_bytes / 1e6,
        },
        {
            "convert_over_read": rates["convert"] / rates["read by pyarrow"],
            "convert_over_wanted": rates["convert"] / WANTED_RATE,
            "peak_memory_over_wanted": peaks[1].peak_bytes / WANTED_BYTES,
            "peak_memory_over_tenth": peaks[1].peak_bytes
            / peaks[0.1].peak_bytes,
        },
        f"{harness.command('conversion')} --gigabytes={_GIGABYTES.value:g}",
        harness.JSON.value,
    )


def spec() -> str:
    """Return the spec: that of Globo, with all rows as they are."""
    globo = convert.find_spec("globo.toml").read_text("utf-8")
    head, *sections = re.split(r"(?m)^(?=\[)", globo)
    others = [s for s in sections if not s.startswith(("[[logs", "[negatives"))]
    return head + _LOGS + "".join(others)


def measured(
    directory: pathlib.Path, source: pathlib.Path, runs: list[Run]
) -> float:
    """Convert, add the run to `runs`, and return rows/s."""
    runs.append(converted(directory, source))
    return runs[-1].rate


def peak(directory: pathlib.Path, gigabytes: float) -> Run:
    """Write logs of a size, convert them, and delete them."""
    source = directory / "large"
    clicks.write_text(source, gigabytes)
    run = converted(directory, source)
    shutil.rmtree(source)
    return run


def converted(directory: pathlib.Path, source: pathlib.Path) -> Run:
    """Convert logs to `directory / "data"` and delete what it wrote.

    Raises:
      RuntimeError: it failed; the message has the end of its output.
    """
    out = directory / "data"
    with tempfile.TemporaryFile("w+") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "ecdctr_tf.input.convert",
                f"--spec={directory / SPEC}",
                f"--source={source}",
                f"--out={out}",
            ],
            cwd=worker.ROOT,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"`convert` failed:\n{log.read()[-2000:]}")
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    shutil.rmtree(out)
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(
        sum(summary[domain]["rows"] for domain in ("natural", "ads")),
        seconds,
        usage.ru_utime + usage.ru_stime,
        # What this process has counts too: a quarter of a gigabyte.
        usage.ru_maxrss * unit,
    )


def read(source: pathlib.Path) -> float:
    """Read the Parquet files of a folder; return rows/s."""
    began = time.perf_counter()
    rows = sum(
        len(pq.read_table(source / f"{name}.parquet")) for name in clicks.FILES
    )
    return rows / (time.perf_counter() - began)


if __name__ == "__main__":
    harness.run(main)
