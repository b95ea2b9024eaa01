"""A tiny world of logs, and `train_main.py` run on it in a process of its own.

Twelve natural days, 2024-01-01 to 01-12, the last five with ads. Processes of
their own, because `--deterministic` cannot be taken back.
"""

import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ecdctr_tf import config as configs
from ecdctr_tf import features, store, windows
from ecdctr_tf.input import convert, data_directory, id_space
from ecdctr_tf.input.conversion import converter, toml_spec
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

# What a user writes about the raw logs.
LOGS_SPEC = """
user = "user_id"
item = "item_id"
evaluation = ["true_ctr"]

[[logs]]
name = "feed"
domain = "natural"
path = "natural.tsv"
delimiter = "\\t"
user = "user_id"
item = "item_id"
click = "click"
time = "timestamp"
time_unit = "s"

[[logs]]
name = "ads"
domain = "ads"
path = "ads.csv"
user = "user_id"
item = "item_id"
click = "click"
time = "timestamp"
time_unit = "s"

[[tables]]
name = "user"
[[tables]]
name = "item"
[[tables]]
name = "category"

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
name = "category"
table = "category"
side = "item"
basic = true

[[sequences]]
name = "clicked_items"
table = "item"
max_length = 20
domain = "both"

[[counts]]
name = "item_natural_clicks"
of = ["item_id"]
domain = "natural"
side = "item"
"""


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
    spec = toml_spec.ConversionSpec.load(convert.find_spec("synthetic.toml"))
    converter.convert_tables(spec, tables(edit), path, progress=False)
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


def train_stages(data, workdir, stages, settings=()) -> subprocess.Popen:
    """Start stages, one after the other in one process; for `wait`.

    Args:
      data: the data directory.
      workdir: the work directory.
      stages: `(stage, flags...)` of each.
      settings: as for `command`.
    """
    commands = [
        command(data, workdir, stage, *flags, settings=settings)[1:]
        for stage, *flags in stages
    ]
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import train_main\n"
        "from absl import flags\n"
        "from absl.testing import flagsaver\n"
        f"for command in {commands!r}:\n"
        "    with flagsaver.flagsaver():\n"
        "        train_main.main(flags.FLAGS(command))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait(process: subprocess.Popen) -> None:
    """Wait for the end of a process; fail with its output if it failed."""
    output, _ = process.communicate()
    assert process.returncode == 0, output


# A smaller world still, for runs in the process of the test itself.
SMALL_SPEC = features.DataSpec(
    tables=(features.TableSpec("user"), features.TableSpec("item")),
    features=(
        features.FeatureSpec("user_id", "id", "user", "user", basic=True),
        features.FeatureSpec("item_id", "id", "item", "item", basic=True),
        features.FeatureSpec("price", "dense"),
    ),
)
SMALL_NATURAL = windows.Window("2024-01-01", "2024-01-06")
SMALL_ADS = windows.Window("2024-01-03", "2024-01-08")
SMALL_NATURAL_ROWS, SMALL_ADS_ROWS = 24, 16
_NETWORK = configs.ModelConfig(embedding_dim=3, hidden_units=(4,), heads=1)
_STEPS = configs.TrainingConfig(batch_size=8)
SMALL_CONFIG = configs.Config(
    model=_NETWORK,
    tpm_model=dataclasses.replace(_NETWORK, cross_layers=0, history=False),
    tpm=_STEPS,
    cpm=_STEPS,
    ctr=_STEPS,
    of_models=("ads_only.batch_size=8",),
)


def small_data(
    path: pathlib.Path,
    jump: str = "",
    empty: str = "",
    first_id: int = 0,
    spec: features.DataSpec = SMALL_SPEC,
    price: Callable[[str, str, np.ndarray], np.ndarray] = lambda *of: of[-1],
    more: Callable[[str, int], dict] = lambda *of: {},
) -> data_directory.DataDirectory:
    """Write days of 24 natural rows (01-01 to 06) and 16 of ads (01-03 to 08).

    Args:
      path: the data directory.
      jump: from this day on there are 60 users more.
      empty: a day of ads without rows.
      first_id: of the users; another one gives another id space.
      spec: features as those of `SMALL_SPEC`; its tables may be others.
      price: makes prices from a domain, a day and random numbers in [0, 1).
      more: makes further int32 columns from a domain and a number of rows.
    """
    path.mkdir(parents=True)
    spec.save(path / data_directory.SPEC)
    for table, count in zip(spec.tables, (100, 8, 9), strict=False):
        space = id_space.new(table)
        space.append(np.arange(first_id, first_id + count))
        space.save(path / "ids")
    data = data_directory.DataDirectory(path)
    for domain, days, count in (
        ("natural", SMALL_NATURAL.days, SMALL_NATURAL_ROWS),
        ("ads", SMALL_ADS.days, SMALL_ADS_ROWS),
    ):
        for day in days:
            number = windows.day_number(day)
            # A user more each day; the last one of them has a row that day.
            users = 12 + int(day[-2:]) + 60 * bool(jump and day >= jump)
            rng = np.random.default_rng([number, len(domain)])
            rows = {
                "user_id": rng.integers(1, users, count).astype(np.int32),
                "item_id": rng.integers(1, 9, count).astype(np.int32),
                "price": price(domain, day, rng.random(count)).astype(
                    np.float32
                ),
                "click": (rng.random(count) < 0.4).astype(np.float32),
                "timestamp": number * 86_400 + np.arange(count),
            }
            for name, column in more(domain, count).items():
                rows[name] = column.astype(np.int32)
            rows["user_id"][0] = users - 1
            rows["click"][:2] = 0, 1
            names = [table.name for table in spec.tables]
            used = dict(zip(names, (users, 9, 9), strict=False))
            parts = [] if day == empty and domain == "ads" else [rows]
            data.write_day(domain, day, parts, used)
    return data


def tree(directory: pathlib.Path) -> dict[str, str]:
    """Return the hash of every file published under a directory."""
    return {
        path.relative_to(directory).as_posix(): store.file_hash(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.relative_to(directory).parts[0][0] != "."
    }
