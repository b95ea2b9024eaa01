"""What the benchmarks share: alternating runs, medians, a table and a JSON.

Rates are compared between runs that alternate, because other work on the
machine slows all of them alike.
"""

import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
from collections.abc import Callable, Iterable

import rich
import rich.table
from absl import app, flags

from ecdctr_tf import store

JSON = flags.DEFINE_string("json", None, "File to write the results to.")
RUNS = flags.DEFINE_integer(
    "runs", 5, "Measurements of each way, after one to warm up.", lower_bound=1
)
ROWS = flags.DEFINE_integer(
    "rows", None, "Rows; each benchmark has its own default.", lower_bound=1
)
SEED_COUNT = flags.DEFINE_integer(
    "seed_count", 5, "Seeds of each way.", lower_bound=2
)
PACKAGES = ("tensorflow", "tf_keras", "numpy")


class Median(float):
    """The median of measurements, which keeps the measurements."""

    def __new__(cls, values: Iterable[float]):
        """Compute the median of at least one number."""
        values = list(values)
        median = super().__new__(cls, statistics.median(values))
        median.values = values
        return median


def alternate(
    ways: dict[str, Callable[[], float]], runs: int
) -> dict[str, Median]:
    """Measure each way in turn, `runs` times after one turn to warm up.

    Args:
      ways: name -> function that measures once, in rows/s.
      runs: measurements of each way.

    Returns:
      Name -> the median of its measurements.
    """
    for measure in ways.values():
        measure()
    measured = {name: [] for name in ways}
    for _ in range(runs):
        for name, measure in ways.items():
            measured[name].append(measure())
    return {name: Median(values) for name, values in measured.items()}


def report(
    title: str,
    rates: dict[str, float],
    ratios: dict[str, float],
    command: str,
    json_path: str | pathlib.Path | None,
    peers: dict[str, str] | None = None,
    notes: Iterable[str] = (),
) -> None:
    """Print the results; write them as JSON, whole or not at all.

    Args:
      title: of the table.
      rates: name -> rate; a `Median` is shown with its spread.
      ratios: name -> ratio, a key of the JSON each.
      command: what was run, without paths of this machine.
      json_path: the JSON file; None writes none.
      peers: package -> version of what was compared with.
      notes: sentences that qualify the numbers.
    """
    notes = list(notes)
    rich.print(_table(title, rates, ratios))
    for line in (*notes, command):
        rich.print(line)
    if json_path is not None:
        results = {
            **ratios,
            "rates": {name: _summary(rate) for name, rate in rates.items()},
            "machine": machine(),
            "versions": {**versions(PACKAGES), **(peers or {})},
            "command": command,
            "notes": notes,
        }
        store.write_text(json_path, json.dumps(results, indent=1) + "\n")


def machine() -> dict:
    """Return what the machine is: processor, cores usable, memory in GB."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(pages / 1e9),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return package -> installed version."""
    return {name: importlib.metadata.version(name) for name in packages}


def command(module: str) -> str:
    """Return the command that repeats a benchmark.

    Args:
      module: name of its module, "training".
    """
    return f"python -m benchmarks.{module} --runs={RUNS.value}"


def run(main: Callable[[], None]) -> None:
    """Parse the flags, then call `main`."""
    app.run(lambda argv: main())


def _table(title, rates, ratios) -> rich.table.Table:
    table = rich.table.Table("", "median", "lowest to highest", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, rate in rates.items():
        values = getattr(rate, "values", [rate])
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        table.add_row(name, f"{rate:,.0f}", spread)
    table.add_section()
    for name, ratio in ratios.items():
        table.add_row(name, f"{ratio:.3g}", "")
    return table


def _summary(rate: float) -> dict:
    values = getattr(rate, "values", [rate])
    return {
        "median": float(rate),
        "lowest": min(values),
        "highest": max(values),
        "runs": len(values),
    }


def _processor() -> str:
    """Return the model of the processor, or its architecture."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
