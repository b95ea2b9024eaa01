"""Clusters on this machine: a process for each role, as a supervisor has them.

All of them are given the same command, and `TF_CONFIG`.
"""

import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from tests import distributed_training, training_world

LIMIT_SECONDS = 600


class Cluster:
    """Processes that run a command together; used as a context manager.

    Args:
      jobs: job -> number of its processes.
      command: the command.
      logs: directory for what the processes say.
    """

    def __init__(
        self, jobs: dict[str, int], command: Sequence[str], logs: pathlib.Path
    ):
        self.command = list(command)
        self.logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        addresses = iter(
            distributed_training.free_addresses(sum(jobs.values()))
        )
        self.addresses = {
            job: [next(addresses) for _ in range(count)]
            for job, count in jobs.items()
        }
        self.processes: dict[tuple[str, int], subprocess.Popen] = {}

    def __enter__(self):
        for job, addresses in self.addresses.items():
            for index in range(len(addresses)):
                self.start(job, index)
        return self

    def __exit__(self, *error):
        for process in self.processes.values():
            process.kill()
            process.wait()

    def start(self, job: str, index: int = 0) -> None:
        """Start a process, or start it again."""
        task = {"type": job, "index": index}
        config = {"cluster": self.addresses, "task": task}
        with open(self.log(job, index), "a") as log:
            self.processes[job, index] = subprocess.Popen(
                self.command,
                cwd=training_world.ROOT,
                env={**os.environ, "TF_CONFIG": json.dumps(config)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, job: str, index: int = 0) -> None:
        """End a process as a machine that fails would."""
        process = self.processes[job, index]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def log(self, job: str, index: int = 0) -> pathlib.Path:
        """Return where a process writes what it says."""
        return self.logs / f"{job}-{index}.log"

    def said(self) -> str:
        """Return what all processes said, for failures."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-3000:]}"
            for path in sorted(self.logs.iterdir())
        )

    def until(self, there: Callable[[], object]) -> None:
        """Wait until something is there; fail where a process ends first."""
        end = time.monotonic() + LIMIT_SECONDS
        while not there():
            for (job, index), process in self.processes.items():
                there_or_killed = process.poll() in (None, -signal.SIGKILL)
                assert there_or_killed, (job, index, self.said())
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)

    def wait(self, job: str, index: int = 0) -> int:
        """Return the exit status of a process, once it has ended."""
        try:
            return self.processes[job, index].wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(self.said()) from error

    def supervise(self) -> None:
        """Start again what fails, until all processes have ended well."""
        end = time.monotonic() + LIMIT_SECONDS
        while any(p.poll() != 0 for p in self.processes.values()):
            for (job, index), process in list(self.processes.items()):
                if process.poll() not in (None, 0):
                    self.start(job, index)
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)
