r"""Training speed against the size of the tables, on the CPU.

```
python -m benchmarks.embedding_scale --runs=5 --json=embedding_scale.json
```

The model of `benchmarks.training`, tables of 100 k, 1 M and 10 M rows in total,
batch 1024, from files on disk through `fit`; and `benchmarks.keras_adam`.

Keys: `flat_10m_over_100k`, the rate at 10 M rows over that at 100 k, with
row-wise Adagrad, `flat_10m_over_100k_lazy_adam`; `over_keras_adam_10m` and
`over_keras_adam_100k`, the rate with row-wise Adagrad over that of Keras.
"""

import contextlib
import pathlib
import tempfile

from benchmarks import comparison, harness, worker, world

SIZES = {"100k": 100_000, "1m": 1_000_000, "10m": 10_000_000}
OPTIMIZERS = ("row_wise_adagrad", "lazy_adam")
# Size -> steps of a measurement of Keras.
KERAS_STEPS = {"100k": 128, "10m": 16}
BATCH_SIZE = 1024


def main() -> None:
    """Measure all sizes; report."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        for size, rows in SIZES.items():
            world.write(directory / size, rows)
        rates = {}
        for optimizer in OPTIMIZERS:
            rates.update(_measure(_ours(directory, optimizer)))
        beside = _measure(_beside_keras(directory))
    harness.report(
        "Training by table rows, rows/s",
        {**rates, **beside},
        _ratios(rates, beside),
        harness.command("embedding_scale"),
        harness.JSON.value,
    )


def _ours(directory: pathlib.Path, optimizer: str) -> dict[str, tuple]:
    """Return name -> module and settings of all sizes with an optimizer."""
    return {
        f"{optimizer} {size}": (
            "benchmarks.ours",
            {
                "data": str(directory / size),
                "batch_size": BATCH_SIZE,
                "table_optimizer": optimizer,
            },
        )
        for size in SIZES
    }


def _beside_keras(directory: pathlib.Path) -> dict[str, tuple]:
    """Return name -> module and settings of Keras and what it is beside."""
    ways = {}
    ours = _ours(directory, "row_wise_adagrad")
    for size, steps in KERAS_STEPS.items():
        ways[f"beside Keras {size}"] = ours[f"row_wise_adagrad {size}"]
        ways[f"Keras Adam {size}"] = (
            "benchmarks.keras_adam",
            {
                "data": str(directory / size),
                "batch_size": BATCH_SIZE,
                "steps": steps,
            },
        )
    return ways


def _measure(ways: dict[str, tuple]) -> dict[str, float]:
    """Return the rate of each way, in rows/s."""
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                worker.Worker(*way, environment=comparison.CPU)
            )
            for name, way in ways.items()
        }
        return harness.alternate(
            {name: started.measure for name, started in workers.items()},
            harness.RUNS.value,
        )


def _ratios(rates: dict, beside: dict) -> dict[str, float]:
    ratios = {
        "flat_10m_over_100k": rates["row_wise_adagrad 10m"]
        / rates["row_wise_adagrad 100k"],
        "flat_10m_over_100k_lazy_adam": rates["lazy_adam 10m"]
        / rates["lazy_adam 100k"],
    }
    for size in KERAS_STEPS:
        ratios[f"over_keras_adam_{size}"] = (
            beside[f"beside Keras {size}"] / beside[f"Keras Adam {size}"]
        )
    return ratios


if __name__ == "__main__":
    harness.run(main)
