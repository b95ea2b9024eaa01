"""Everything that can be known of an export without the server itself.

Each check is a function of a `Subject`. It returns what it found, in a few
words, or raises: `ValueError` if the export should not be served, `LeftOut` if
this machine lacks what the check needs. What no check here can show is said in
the table, too: how a real server batches, and what it takes in time and memory.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from ecdctr_tf.export import versions
from ecdctr_tf.export.checks import answers, files, protocols
from ecdctr_tf.export.checks.subject import LeftOut, Subject

PASSED, FAILED, LEFT_OUT = "passed", "failed", "left out"
_CHECKS: dict[str, Callable[[Subject], str]] = {
    "files": files.whole,
    "structure": files.structure,
    "signatures": files.contract_of,
    "saved_model_cli": files.scan,
    "warm-up": files.warm_up_requests,
    "config files": files.configs,
    "fresh process": answers.fresh_process,
    "other TensorFlow": answers.other_versions,
    "C++": answers.in_cpp,
    "odd input": answers.odd_input,
    "merged requests": answers.merged_requests,
    "gRPC": protocols.over_grpc,
    "REST": protocols.over_rest,
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a check."""

    check: str
    # `PASSED`, `FAILED` or `LEFT_OUT`.
    result: str
    # What was found, or why not.
    detail: str


def run(
    place: str | pathlib.Path, pythons: Sequence[str] = ()
) -> tuple[pathlib.Path, list[Outcome]]:
    """Check a version.

    Args:
      place: the version, or the base path, of which the newest is taken.
      pythons: interpreters with other versions of TensorFlow.

    Returns:
      The version, and what became of all checks.

    Raises:
      FileNotFoundError: there is no version.
    """
    path = _version(pathlib.Path(place))
    subject = Subject(path, tuple(pythons))
    outcomes = []
    for name, check in _CHECKS.items():
        try:
            outcomes.append(Outcome(name, PASSED, check(subject)))
        except LeftOut as error:
            outcomes.append(Outcome(name, LEFT_OUT, str(error)))
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            outcomes.append(Outcome(name, FAILED, said[:500]))
    return path, outcomes


def _version(place: pathlib.Path) -> pathlib.Path:
    if (place / "saved_model.pb").exists():
        return place
    there = versions.numbers(place)
    if not there:
        raise FileNotFoundError(
            f"{place} should be an export, or a directory with versions of one."
        )
    return place / str(there[-1])
