r"""Whole stages from files on disk, each a process, from start to end.

```
python -m benchmarks.stages --runs=3 --json=stages.json
```

Raw CSV logs of `logs.WORLD` -> `convert` -> the stages of `train_main.py` with
the preset `synthetic`. The bare rate is that of `fit` alone on a CPM that is
built and warm.

Keys: `convert_over_cpm` and `cpm_over_bare`, the rates of `convert` and of the
stage `cpm` over the bare rate; `input_wait_tpm` and `input_wait_cpm`, the share
of time that training waits for input.
"""

import functools
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

from benchmarks import harness, logs, ours, worker
from ecdctr_tf import presets, store, windows
from ecdctr_tf.input import data_directory
from ecdctr_tf.training import schedule

MODEL = "e_cdctr"
# Stage -> what it publishes, and where in the work directory.
STAGES = {
    "tpm": ("snapshot", "tpm"),
    "aggregate": None,
    "cpm": ("cpm", f"{MODEL}/cpm"),
    "ctr": ("ctr", f"{MODEL}/ctr"),
    "export": None,
}
_INPUT_WAIT = "input_wait"


def main() -> None:
    """Measure `convert`, every stage and the bare rate; report."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        logs.write(directory)
        ways = {"convert": functools.partial(convert, directory)}
        for stage, published in STAGES.items():
            label = stage if published else f"{stage}, seconds"
            ways[label] = functools.partial(run_stage, directory, stage)
        ways["bare CPM"] = functools.partial(bare, directory)
        rates = harness.alternate(ways, harness.RUNS.value)
        waits = input_waits(directory / "run")
    ratios = {
        "convert_over_cpm": rates["convert"] / rates["bare CPM"],
        "cpm_over_bare": rates["cpm"] / rates["bare CPM"],
        **waits,
    }
    harness.report(
        "Stages, rows/s where nothing else is said",
        rates,
        ratios,
        harness.command("stages"),
        harness.JSON.value,
    )


def convert(directory: pathlib.Path) -> float:
    """Convert the logs in a directory to `data` anew; return rows/s."""
    for made in ("data", "run"):
        shutil.rmtree(directory / made, ignore_errors=True)
    seconds = _seconds(
        "-m",
        "ecdctr_tf.input.convert",
        f"--spec={directory / logs.SPEC}",
        f"--source={directory}",
        f"--out={directory / 'data'}",
    )
    data = data_directory.DataDirectory(directory / "data")
    domains = ("natural", "ads")
    return sum(data.rows(d, data.window(d)) for d in domains) / seconds


def run_stage(directory: pathlib.Path, stage: str) -> float:
    """Run a stage after `convert`; return rows/s, or seconds without rows."""
    run = directory / "run"
    seconds = _seconds(
        "train_main.py",
        f"--stage={stage}",
        "--preset=synthetic",
        f"--models={MODEL}",
        f"--data_dir={directory / 'data'}",
        f"--workdir={run}",
    )
    if STAGES[stage] is None:
        return seconds
    kind, place = STAGES[stage]
    newest = store.dated(run / place)[-1]
    return store.read_manifest(run / place / newest, kind).rows / seconds


def bare(directory: pathlib.Path) -> float:
    """Fit a CPM like that of the stage, after its first day; return rows/s."""
    data = data_directory.DataDirectory(directory / "data")
    config = presets.synthetic()
    first, *others = schedule.plan(data, config.schedule).cpm[0].days
    level = ours.level(data, config, directory / "run")
    level.look_up(windows.Window(first, others[-1]))
    level.fresh(others[-1])
    ours.rate(level, windows.Window(first, first))
    return ours.rate(level, windows.Window(others[0], others[-1]))


def input_waits(run: pathlib.Path) -> dict[str, float]:
    """Return the mean `input_wait` of TPM and CPM, of those that wrote it."""
    waits = {}
    for stage in ("tpm", "cpm"):
        values = []
        for path in (run / "tensorboard").glob(f"**/{stage}/**/*tfevents*"):
            events = event_accumulator.EventAccumulator(str(path))
            events.Reload()
            if _INPUT_WAIT in events.Tags()["tensors"]:
                values += [
                    float(tf.make_ndarray(event.tensor_proto))
                    for event in events.Tensors(_INPUT_WAIT)
                ]
        if values:
            waits[f"{_INPUT_WAIT}_{stage}"] = float(np.mean(values))
    return waits


def _seconds(*arguments: str) -> float:
    """Run Python with arguments; return how long it took.

    Raises:
      RuntimeError: it failed; the message has the end of its output.
    """
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=worker.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - began


if __name__ == "__main__":
    harness.run(main)
