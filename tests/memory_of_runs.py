"""Many runs of a comparison on a large table, in a process of its own.

`python -m tests.memory_of_runs DIRECTORY` prints, as one line of JSON, the
resident memory of the process in bytes after each run.
"""

import dataclasses
import json
import pathlib
import resource
import sys

from ecdctr_tf import config as configs
from ecdctr_tf import features
from ecdctr_tf.comparison import matrix, variants
from tests import training_world

ANSWER = "answer: "
MODELS = ("e_cdctr", "cpm_finetune", "ads_only", "keep")
SEEDS = range(2)
# With the moments of its weights 38 MB, which one run must not leave behind.
_USERS = features.TableSpec("user", ids="hashing", buckets=200_000)
_WIDTH = 16


def main(directory: pathlib.Path) -> None:
    """Train every model with every seed; print what memory came to."""
    spec = training_world.SMALL_SPEC
    tables = tuple(_USERS if t.name == "user" else t for t in spec.tables)
    spec = dataclasses.replace(spec, tables=tables)
    data = training_world.small_data(directory / "data", spec=spec)
    config = training_world.SMALL_CONFIG
    config = dataclasses.replace(
        config,
        seed=0,
        model=dataclasses.replace(config.model, embedding_dim=_WIDTH),
        tpm_model=dataclasses.replace(config.tpm_model, embedding_dim=_WIDTH),
        schedule=configs.ScheduleConfig(
            tpm_days=2,
            cpm_days=1,
            ctr_first="2024-01-05",
            ctr_last="2024-01-05",
            catch_up_days=1,
        ),
    )
    runs = matrix.Matrix(data, directory / "runs", config, trials=1)
    found = []
    for seed in SEEDS:
        for variant in variants.chosen(MODELS):
            runs.run([variant], [seed])
            found.append(resident())
    print(ANSWER + json.dumps(found))


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
