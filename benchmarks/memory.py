r"""Peak memory of training with row-wise Adagrad, on the CPU.

```
python -m benchmarks.memory --json=memory.json
```

The model of `benchmarks.training` with tables of 10 M rows, from building it to
the end of a window. The bound is what tables and their accumulators take,
table bytes x (1 + 1 / width), and 1 GB for all else: TensorFlow, the dense
network, batches under way.

Key: `peak_memory_over_bound`, at most 1.
"""

import pathlib
import tempfile

from benchmarks import comparison, harness, ours, worker, world

_FLOAT_BYTES = 4


def bound_bytes(rows: int, width: int) -> float:
    """Return the bytes that training tables of that size may take."""
    return rows * width * _FLOAT_BYTES * (1 + 1 / width) + 1e9


def main() -> None:
    """Train on a window in a process of its own; report its peak."""
    with tempfile.TemporaryDirectory() as name:
        data = pathlib.Path(name) / "data"
        world.write(data, comparison.ROWS)
        settings = {
            "data": str(data),
            "batch_size": 1024,
            "table_optimizer": "row_wise_adagrad",
        }
        with worker.Worker(
            "benchmarks.ours", settings, environment=comparison.CPU
        ) as trained:
            trained.measure()
            peak = trained.peak_bytes
    bound = bound_bytes(comparison.ROWS, ours.NETWORK.embedding_dim)
    harness.report(
        "Memory of training, MB",
        {"peak": peak / 1e6, "bound": bound / 1e6},
        {"peak_memory_over_bound": peak / bound},
        "python -m benchmarks.memory",
        harness.JSON.value,
    )


if __name__ == "__main__":
    harness.run(main)
