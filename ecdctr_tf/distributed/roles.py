"""Which process of a cluster this one is, as `TF_CONFIG` says.

Knows nothing of TensorFlow, so that a command with a wrong `TF_CONFIG` ends
before TensorFlow is loaded.
"""

import dataclasses
import json
import os
import typing
from collections.abc import Mapping

# Strategies of the command line. Mirrored: the GPUs of one machine.
NONE = "none"
MIRRORED = "mirrored"
MULTI_WORKER = "multi_worker"
PARAMETER_SERVER = "parameter_server"
# Those of several processes.
OF_CLUSTERS = (MULTI_WORKER, PARAMETER_SERVER)
STRATEGIES = (NONE, MIRRORED, *OF_CLUSTERS)

VARIABLE = "TF_CONFIG"
CHIEF, WORKER, SERVER = "chief", "worker", "ps"
# Strategy -> jobs that a cluster may have, and those that it has to have.
_JOBS = {
    MULTI_WORKER: ((CHIEF, WORKER), ()),
    PARAMETER_SERVER: ((CHIEF, WORKER, SERVER), (CHIEF, WORKER, SERVER)),
}
_EXAMPLE = (
    '{"cluster": {"chief": ["host0:2222"], "worker": ["host1:2222"], '
    '"ps": ["host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Role:
    """A process among those of a cluster."""

    strategy: str
    # Job -> addresses of its processes, host:port; empty for one process.
    jobs: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )
    job: str = CHIEF
    index: int = 0

    @property
    def leads(self) -> bool:
        """Whether it is the chief: it decides, scores and publishes.

        Of workers alone, it is the first.
        """
        if self.job == CHIEF:
            return True
        return CHIEF not in self.jobs and (self.job, self.index) == (WORKER, 0)


def of_environment(strategy: str) -> Role:
    """Return the role of this process.

    Args:
      strategy: one of `STRATEGIES`.

    Raises:
      ValueError: `TF_CONFIG` is missing, or does not fit the strategy.
    """
    text = os.environ.get(VARIABLE, "")
    jobs, job, index = _parsed(text) if text.strip() else ({}, CHIEF, 0)
    if strategy not in OF_CLUSTERS:
        if sum(map(len, jobs.values())) > 1:
            others = " or ".join(f"--strategy={name}" for name in OF_CLUSTERS)
            raise ValueError(
                f"{VARIABLE} names a cluster of several processes, but "
                f"--strategy={strategy} is for one. Choose {others}, or unset "
                f"{VARIABLE}."
            )
        return Role(strategy)
    if not jobs:
        raise ValueError(
            f"--strategy={strategy} needs {VARIABLE}, which names the "
            "processes of the cluster and which of them this one is, as in "
            f"{VARIABLE}='{_EXAMPLE}'."
        )
    allowed, needed = _JOBS[strategy]
    wrong = [name for name in jobs if name not in allowed]
    missing = [name for name in needed if name not in jobs]
    if wrong or missing:
        raise ValueError(
            f"The cluster of {VARIABLE} should have the jobs "
            f"{', '.join(needed or allowed)} for --strategy={strategy}. "
            f"Received: {', '.join(sorted(jobs))}."
        )
    if len(jobs.get(CHIEF, ())) > 1:
        raise ValueError(
            f"The cluster of {VARIABLE} should have one chief. Received: "
            f"{', '.join(jobs[CHIEF])}."
        )
    if job not in jobs or not 0 <= index < len(jobs[job]):
        raise ValueError(
            f"The task of {VARIABLE} should be one of its cluster. Received: "
            f"{job} {index} of "
            + ", ".join(f"{len(jobs[name])} {name}" for name in sorted(jobs))
            + "."
        )
    return Role(strategy, jobs, job, index)


def _parsed(text: str) -> tuple[dict[str, tuple[str, ...]], str, int]:
    """Return jobs, job and index of a `TF_CONFIG`.

    Raises:
      ValueError: it is not one.
    """
    try:
        given: typing.Any = json.loads(text)
        jobs = {
            str(job): tuple(map(_address, addresses))
            for job, addresses in given.get("cluster", {}).items()
            if addresses
        }
        task = given.get("task", {})
        return jobs, str(task.get("type", CHIEF)), int(task.get("index", 0))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{VARIABLE} should be JSON such as {_EXAMPLE}. Received: "
            f"{text[:200]!r} ({error})."
        ) from error


def _address(text: str) -> str:
    """Return an address, host:port.

    Raises:
      ValueError: it is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"an address should be host:port, not {text!r}")
    return text
