"""Measurements in processes of their own, which wait while others measure.

`Worker` starts a module and asks it for one measurement at a time; `serve` is
what the module runs. They speak one JSON a line. Only the standard library is
imported here: the environments of peers have no more in common.
"""

import importlib.metadata
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable

ROOT = pathlib.Path(__file__).parent.parent
# What the lines of answers begin with.
_ANSWER = "answer: "
_QUIET = {"TQDM_DISABLE": "1"}


class Worker:
    """A process that measures whenever it is asked to.

    Args:
      module: the module to start, which calls `serve`.
      settings: what `settings` returns there; JSON-ready.
      python: the interpreter; None is this one.
      environment: variables set for the process.

    Raises:
      RuntimeError: the process ended; the message has the end of its output.
    """

    def __init__(
        self,
        module: str,
        settings: dict,
        python: str | pathlib.Path | None = None,
        environment: dict[str, str] | None = None,
    ):
        """Start the process and wait until it is ready to measure."""
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [str(python or sys.executable), "-m", module, json.dumps(settings)],
            cwd=ROOT,
            env={**os.environ, **_QUIET, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.name = module
        # Package -> version, of those that the module names.
        self.versions = self._answer()["versions"]
        # Largest resident memory up to the last measurement, in bytes.
        self.peak_bytes = 0

    def measure(self) -> float:
        """Return one measurement, in rows/s."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.peak_bytes = answer["peak_bytes"]
        return answer["rate"]

    def __enter__(self) -> "Worker":
        """Return the worker."""
        return self

    def __exit__(self, *error) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _answer(self) -> dict:
        # Other lines are what a library prints when it is imported.
        for line in self._process.stdout:
            if line.startswith(_ANSWER):
                return json.loads(line.removeprefix(_ANSWER))
        self._process.wait()
        self._log.seek(0)
        raise RuntimeError(
            f"{self.name} ended without an answer:\n{self._log.read()[-2000:]}"
        )


def settings() -> dict:
    """Return the settings that this process was started with."""
    return json.loads(sys.argv[1])


def serve(
    make: Callable[[], Callable[[], float]], packages: Iterable[str]
) -> None:
    """Answer the `Worker` that started this process, until it closes.

    Args:
      make: builds and warms up what is measured; returns a function that
        measures once, in rows/s.
      packages: names of the packages whose versions to tell.
    """
    measure = make()
    versions = {name: importlib.metadata.version(name) for name in packages}
    print(_ANSWER + json.dumps({"versions": versions}), flush=True)
    for _ in sys.stdin:
        answer = {"rate": measure(), "peak_bytes": peak_bytes()}
        print(_ANSWER + json.dumps(answer), flush=True)


def peak_bytes() -> int:
    """Return the largest resident memory that this process had."""
    status = pathlib.Path("/proc/self/status")
    # Linux counts what the parent had in `ru_maxrss`, but not in VmHWM.
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
