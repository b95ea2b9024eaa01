"""A tiny world of logs, and `train_main.py` run on it in a process of its own.

Twelve natural days, 2024-01-01 to 01-12, the last five with ads. Processes of
their own, because `--deterministic` cannot be taken back.
"""

import pathlib
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ecdctr_tf.input import conversion, conversion_spec, convert
from ecdctr_tf.input.datasets import synthetic_world

ROOT = pathlib.Path(__file__).parent.parent
# The first scored day; the A-CTR starts with the two days of ads before it.
FIRST_SCORED = "2024-01-10"
SETTINGS = (
    "schedule.tpm_days=3",
    "schedule.cpm_days=3",
    "schedule.catch_up_days=2",
    "tpm.batch_size=128",
    "cpm.batch_size=128",
    "ctr.batch_size=32",
    "ads_only.batch_size=32",
    # Many resumable states, for tests that kill.
    "tpm.checkpoint_steps=2",
    "cpm.checkpoint_steps=2",
    "ctr.checkpoint_steps=2",
)


def tables(edit=None):
    """Yield the world's `(domain, table)` in order of days.

    Args:
      edit: called with domain, day and columns (name -> array); returns the
        columns to use instead.
    """
    for domain, table in synthetic_world.generate(synthetic_world.TINY):
        if edit is not None:
            seconds = table["timestamp"][0].as_py()
            day = str(np.datetime64(seconds, "s").astype("datetime64[D]"))
            columns = {n: table[n].to_numpy() for n in table.column_names}
            table = pa.table(edit(domain, day, columns))
        yield domain, table


def make_data(path: pathlib.Path, edit=None) -> pathlib.Path:
    """Write a data directory of the world; arguments as `tables`."""
    spec = conversion_spec.ConversionSpec.load(
        convert.find_spec("synthetic.toml")
    )
    conversion.convert_tables(spec, tables(edit), path, progress=False)
    return path


def command(data, workdir, stage, *flags, settings=()) -> list[str]:
    """Return the command that runs a stage on the world."""
    return [
        sys.executable,
        str(ROOT / "train_main.py"),
        f"--stage={stage}",
        f"--data_dir={data}",
        f"--workdir={workdir}",
        "--models=ads_only,cpm_finetune,e_cdctr",
        "--deterministic",
        *(f"--set={s}" for s in (*SETTINGS, *settings)),
        *flags,
    ]


def train(data, workdir, stage, *flags, settings=()):
    """Run a stage on the world; fail with its output if it fails."""
    done = subprocess.run(
        command(data, workdir, stage, *flags, settings=settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def write_raw_logs(directory: pathlib.Path) -> None:
    """Write the world as `natural.tsv` and `ads.csv`, as a platform would."""
    for domain, name, delimiter in (
        ("natural", "natural.tsv", "\t"),
        ("ads", "ads.csv", ","),
    ):
        parts = [t for d, t in tables() if d == domain]
        pa.csv.write_csv(
            pa.concat_tables(parts),
            directory / name,
            pa.csv.WriteOptions(delimiter=delimiter),
        )
