"""What numbers do to an A-CTR: those of ads alone, outliers, heavy tails.

```
python -m benchmarks.odd_numbers --seed_count=12 --json=odd_numbers.json
```

In a small synthetic world each row gets a number. A CPM is trained on natural
logs and an A-CTR day by day on ads, once for each kind of number and seed. AUC
on the first scored day and its mean over all days are held against those with a
number that says the same, or nothing, and does no harm.
"""

import dataclasses
import json
import pathlib
import statistics
import tempfile
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import rich

from benchmarks import harness
from ecdctr_tf import config as configs
from ecdctr_tf import features, model_table, store, windows
from ecdctr_tf.input import convert
from ecdctr_tf.input.conversion import converter, toml_spec
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.input.datasets import synthetic_world
from ecdctr_tf.training import daily, natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir

WORLD = synthetic_world.WorldConfig(
    users=600,
    items=200,
    days=16,
    ads_days=6,
    natural_per_day=3_000,
    ads_per_day=3_000,
)
CONFIG = configs.override(
    configs.Config(),
    [
        "model.history=false",
        "history.start_tables=false",
        "cpm.batch_size=256",
        "ctr.batch_size=128",
    ],
)
_ROW = model_table.model("e_cdctr")
_OUTLIER = 1e9


def _told(world: synthetic_world.World, rows: pa.Table) -> np.ndarray:
    """Return numbers that tell how much an item is clicked, `[N]`."""
    return world.item_bias[rows["item_id"].to_numpy()] / 0.6


def _random(rows: pa.Table) -> np.ndarray:
    """Return numbers of heavy tails that tell nothing, `[N]`."""
    rng = np.random.default_rng(rows["timestamp"][0].as_py())
    return 100 * rng.lognormal(size=len(rows))


def _ads_only(domain: str, values: np.ndarray) -> np.ndarray:
    return values if domain == features.ADS else np.zeros(len(values))


def _with_outlier(values: np.ndarray) -> np.ndarray:
    return np.r_[values[:-1], _OUTLIER]


# Kind -> transform, and numbers by world, domain and rows.
_Numbers = Callable[[synthetic_world.World, str, pa.Table], np.ndarray]
KINDS: dict[str, tuple[str, _Numbers]] = {
    "constant": ("", lambda world, domain, rows: np.ones(len(rows))),
    "random, ads only": (
        "",
        lambda world, domain, rows: _ads_only(domain, _random(rows)),
    ),
    "telling": ("", lambda world, domain, rows: _told(world, rows)),
    "telling, outliers": (
        "",
        lambda world, domain, rows: _with_outlier(_told(world, rows)),
    ),
    "telling, ads only": (
        "",
        lambda world, domain, rows: _ads_only(domain, _told(world, rows)),
    ),
    "telling, heavy tails": (
        "log1p",
        lambda world, domain, rows: np.exp(3 * _told(world, rows)),
    ),
}
# Kind -> the one it is held against.
AGAINST = {
    "random, ads only": "constant",
    "telling, outliers": "telling",
    "telling, heavy tails": "telling",
    "telling, ads only": "constant",
}


_PARTS: dict[str, Callable[[list[float]], float]] = {
    "first day": lambda days: days[0],
    "all days": statistics.mean,
}


def main() -> None:
    """Train each kind with each seed; print AUC and differences."""
    aucs = {name: _aucs(name) for name in KINDS}
    found = {}
    for name, of_seeds in aucs.items():
        found[name] = {
            part: statistics.mean(map(take, of_seeds))
            for part, take in _PARTS.items()
        }
        for part, take in _PARTS.items() if name in AGAINST else ():
            apart = [
                take(one) - take(other)
                for one, other in zip(
                    of_seeds, aucs[AGAINST[name]], strict=True
                )
            ]
            error = statistics.stdev(apart) / len(apart) ** 0.5
            difference = [statistics.mean(apart), error]
            found[name][f"{part}, difference and its error"] = difference
    text = json.dumps(found, indent=1) + "\n"
    rich.print_json(text)
    if harness.JSON.value:
        store.write_text(harness.JSON.value, text)


def _aucs(name: str) -> list[list[float]]:
    """Return the AUC of each day of ads for each seed."""
    with tempfile.TemporaryDirectory() as scratch:
        data = _convert(name, pathlib.Path(scratch) / "data")
        return [
            _train(data, Workdir(pathlib.Path(scratch) / str(seed)), seed)
            for seed in range(harness.SEED_COUNT.value)
        ]


def _convert(name: str, path: pathlib.Path) -> DataDirectory:
    """Write a data directory of the world with one kind of number."""
    transform, made = KINDS[name]
    spec = toml_spec.ConversionSpec.load(convert.find_spec("synthetic.toml"))
    number = toml_spec.Column("number", "dense", transform=transform)
    world = synthetic_world.World(WORLD)
    spec = dataclasses.replace(spec, features=(*spec.features, number))
    tables = (
        (domain, rows.append_column("number", pa.array(values)))
        for domain, rows in synthetic_world.generate(WORLD)
        for values in [made(world, domain, rows)]
    )
    converter.convert_tables(spec, tables, path, progress=False)
    return DataDirectory(path)


def _train(data: DataDirectory, run: Workdir, seed: int) -> list[float]:
    """Return the AUC of each day of ads."""
    config = configs.override(CONFIG, [f"seed={seed}"])
    ads = data.window(features.ADS)
    before = windows.Window.ending(ads.first, WORLD.days - WORLD.ads_days + 1)
    level = Level(data, run, config, _ROW, "cpm")
    natural.train(level, windows.Window(before.first, before.days[-2]))
    level = Level(data, run, config, _ROW, "ctr")
    daily.DailyTrainer(level).run(ads.split(1))
    return [
        store.read_manifest(run.ctr(_ROW.base) / day, "ctr").metrics["auc"]
        for day in ads.days
    ]


if __name__ == "__main__":
    harness.run(main)
