r"""Peak memory and time of an export, by the rows of the users' table.

```
python -m benchmarks.export --user_ids=5000000 --tables=int8 --json=export.json
```

`train_main.py --stage=export` and then `--stage=verify` on an artefact with
random weights of width 32 and as wide history, which is written for it. Memory
is the resident memory of the command and the processes that it starts, at its
highest, less that of a process which has imported all that the command imports.
The vocabulary has `--user_ids` ids.

Key: `peak_over_tables`, the memory over the bytes of the tables as they are
served in float32, trained and historical vectors side by side: at most 4.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import flags

from benchmarks import harness, worker
from ecdctr_tf import artefacts, features, model_table, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.input import data_directory, id_space
from ecdctr_tf.transfer import checkpoint, historical

USERS = flags.DEFINE_integer(
    "user_ids", 1_000_000, "Ids of users.", lower_bound=1
)
TABLES = flags.DEFINE_enum(
    "tables", "float32", configs.TABLES, "As `serving.tables`."
)
MODEL, DAY, EVE, WIDTH, ITEMS = (
    "e_cdctr",
    "2024-02-03",
    "2024-02-02",
    32,
    10_000,
)
_SAMPLE_SECONDS = 0.01
# What the command imports, and the start of TensorFlow's runtime.
_START = """
import ecdctr_tf.stages
import tensorflow as tf
import tf_keras.models
tf.function(lambda: tf.ones([8, 8]) @ tf.ones([8, 8]))()
"""


def main() -> None:
    """Export and verify in processes of their own; report."""
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        sizes = {"user": USERS.value, "item": ITEMS}
        write(place, sizes)
        _, started = measure("-c", _START)
        export = ["train_main.py", f"--export_dir={place / 'export'}"]
        seconds, peak = measure(
            *export,
            "--stage=export",
            f"--data_dir={place / 'data'}",
            f"--workdir={place / 'run'}",
            "--set",
            f"serving.tables={TABLES.value}",
        )
        checking, peak_of_checks = measure(*export, "--stage=verify")
        (version,) = (place / "export").glob("[0-9]*")
        files = list(version.rglob("variables.data-*"))
        written = sum(file.stat().st_size for file in files)
    tables = sum((rows + 2) * (2 * WIDTH + 1) * 4 for rows in sizes.values())
    harness.report(
        f"Export of {USERS.value:,} users, {TABLES.value}",
        {
            "export, s": seconds,
            "verify, s": checking,
            "export, peak, MB": (peak - started) / 1e6,
            "verify, peak, MB": (peak_of_checks - started) / 1e6,
            "start, MB": started / 1e6,
            "tables in float32, MB": tables / 1e6,
            "tables as written, MB": written / 1e6,
        },
        {"peak_over_tables": (peak - started) / tables},
        f"python -m benchmarks.export --user_ids={USERS.value} "
        f"--tables={TABLES.value}",
        harness.JSON.value,
    )


def write(place: pathlib.Path, sizes: dict[str, int]) -> None:
    """Write `data` and `run`, a day of an A-CTR with random weights.

    Args:
      place: an empty directory.
      sizes: table name -> ids.
    """
    ids = [
        features.FeatureSpec(f"{name}_id", "id", name, name, basic=True)
        for name in sizes
    ]
    clicked = features.FeatureSpec(
        "clicked", "sequence", "item", "user", max_length=20
    )
    spec = features.DataSpec(
        tuple(features.TableSpec(name) for name in sizes), (*ids, clicked)
    )
    (place / "data").mkdir()
    spec.save(place / "data" / data_directory.SPEC)
    for table in spec.tables:
        space = id_space.Vocabulary(table, np.arange(sizes[table.name]) * 7)
        space.save(place / "data" / "ids")
    data = data_directory.DataDirectory(place / "data")
    known = {n: space.fingerprint() for n, space in data.id_spaces.items()}
    config = configs.Config(model=configs.ModelConfig(embedding_dim=WIDTH))
    version = place / "run" / "historical" / EVE
    _write_history(version, data, known, config)
    _write_day(
        place / "run" / MODEL / "ctr" / DAY, data, known, config, version
    )


def _write_history(
    path: pathlib.Path,
    data: data_directory.DataDirectory,
    known: dict,
    config: configs.Config,
) -> None:
    """Publish vectors of all ids."""
    random = np.random.default_rng(0)
    arrays = {}
    for name, space in data.id_spaces.items():
        arrays[f"{name}/ids"] = space.ids
        arrays[f"{name}/vectors"] = random.normal(
            0.0, 0.1, [len(space.ids), WIDTH]
        ).astype(np.float32)
    manifest = store.Manifest(
        historical.KIND,
        windows.Window(EVE, EVE),
        ids=known,
        config=historical.settings(config.history),
    )
    with store.publish(path, manifest) as staging:
        checkpoint.write(staging / historical.NAME, arrays)


def _write_day(
    path: pathlib.Path,
    data: data_directory.DataDirectory,
    known: dict,
    config: configs.Config,
    version: pathlib.Path,
) -> None:
    """Publish a day with weights as they are initialised."""
    rows = {name: entry["rows"] for name, entry in known.items()}
    model = artefacts.build(
        data.spec,
        config,
        model_table.model(MODEL),
        artefacts.CTR,
        rows,
        history=historical.load([version], data.id_spaces, config.history),
    )
    manifest = store.Manifest(
        artefacts.CTR,
        windows.Window(DAY, DAY),
        rows=1,
        spec=data.spec.fingerprint(),
        ids=known,
        parents={f"historical {EVE}": store.parent(version, path)},
        config={"capacities": model.embedding.capacities, "model": MODEL},
    )
    with store.publish(path, manifest) as staging:
        checkpoint.write(staging / artefacts.WEIGHTS, artefacts.weights(model))
        store.write_text(staging / artefacts.CONFIG, config.to_json())
        data.spec.save(staging / artefacts.SPEC)


def measure(*arguments: object) -> tuple[float, int]:
    """Return the seconds and the highest resident bytes of a Python command.

    Raises:
      RuntimeError: it failed; the message has the end of its output.
    """
    began, peak = time.monotonic(), 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=worker.ROOT,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(_SAMPLE_SECONDS)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{arguments} failed:\n{said.read()[-2000:]}")
    return time.monotonic() - began, peak


def _resident(process: int) -> int:
    """Return the resident bytes of a process and of those it has started."""
    place = pathlib.Path("/proc") / str(process)
    try:
        status = (place / "status").read_text()
        children = (place / "task" / str(process) / "children").read_text()
    except OSError:
        return 0  # It has ended.
    own = [line for line in status.splitlines() if line.startswith("VmRSS")]
    found = int(own[0].split()[1]) * 1024 if own else 0
    return found + sum(_resident(int(child)) for child in children.split())


if __name__ == "__main__":
    harness.run(main)
