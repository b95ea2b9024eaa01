"""Check a SavedModel before it is published.

Its signatures are compared with what was promised, its answers, given in a
process that has TensorFlow and nothing of this project, with the model's. The
requests of its warm-up file are replayed there.

Shapes: N requests.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import typing
from collections.abc import Sequence

import numpy as np

from ecdctr_tf import features
from ecdctr_tf.export import contract, fresh_process, probe, warm_up


class Tolerance(typing.NamedTuple):
    """Greatest differences of answers."""

    # Of a click probability.
    ctr: float
    # Of a logit or a vector's largest number below 1, of larger ones relative
    # to them.
    logit: float


# By what tables hold. Of float32, eight steps of a logit, which move a
# probability by a quarter of that at most. What int8 does to metrics is the
# gate's to judge; this is what a mistake would exceed.
TOLERANCES = {
    "float32": Tolerance(1e-6, 4e-6),
    "float16": Tolerance(1e-3, 4e-3),
    "int8": Tolerance(0.02, 0.08),
}
_SCRIPT = pathlib.Path(fresh_process.__file__)


def check(
    directory: str | pathlib.Path,
    spec: features.DataSpec,
    historical: Sequence[str],
    cases: dict[str, probe.Case],
    tables: str = "float32",
) -> float:
    """Make sure that a SavedModel answers as its model does.

    Args:
      directory: the SavedModel, not published yet: what is asked and answered
        lies within it meanwhile, to be swept with it after a kill.
      spec: the features of the model.
      historical: those with history.
      cases: requests and the model's answers, of `probe.cases`.
      tables: what the tables hold, a key of `TOLERANCES`.

    Returns:
      The greatest difference of a click probability.

    Raises:
      ValueError: the SavedModel cannot be loaded without project code, its
        signatures are not those promised, or an answer differs.
    """
    contract.check(directory, spec, historical)
    sent = {
        f"{name}/{case.signature}/{column}": values
        for name, case in cases.items()
        for column, values in case.inputs.items()
    }
    asked = sent | warm_up.replay(pathlib.Path(directory), spec)
    answers = in_fresh_process(directory, asked, scratch=directory)
    worst = 0.0
    for name, case in cases.items():
        for output, wanted in case.outputs.items():
            key = f"{name}/{case.signature}/{output}"
            apart = difference(output, answers[key], wanted, tables)
            if apart is None:
                raise ValueError(
                    f"The SavedModel's {case.signature} ({output}) differs "
                    f"from the model's in the case {name!r}: {answers[key]} "
                    f"instead of {wanted}. Nothing was published."
                )
            if output == "ctr":
                worst = max(worst, apart)
    for name, answer in answers.items():
        if answer.dtype != object and not np.isfinite(answer).all():
            raise ValueError(
                f"The SavedModel's answer {name} should be finite. Received: "
                f"{answer}. Nothing was published."
            )
    return worst


def difference(
    output: str,
    answer: np.ndarray,
    wanted: np.ndarray,
    tables: str = "float32",
) -> float | None:
    """Return the greatest difference of two answers; None if it is too great.

    Args:
      output: name of the output.
      answer: what an export answers.
      wanted: what it should.
      tables: what its tables hold, a key of `TOLERANCES`.
    """
    if answer.shape != wanted.shape or answer.dtype != wanted.dtype:
        return None
    if wanted.dtype == object:
        return 0.0 if np.array_equal(answer, wanted) else None
    allowed: float | np.ndarray = TOLERANCES[tables].ctr
    if output.endswith(("logit", "_vector")):
        size = np.abs(wanted)
        if output.endswith("_vector"):
            size = size.max(axis=1, keepdims=True)
        allowed = TOLERANCES[tables].logit * np.maximum(size, 1.0)
    differences = np.abs(answer - wanted)
    if not np.all(differences <= allowed):
        return None
    return float(differences.max(initial=0.0))


def in_fresh_process(
    directory: str | pathlib.Path,
    sent: dict[str, np.ndarray],
    python: str | None = None,
    scratch: str | pathlib.Path | None = None,
) -> dict[str, np.ndarray]:
    """Return a SavedModel's answers, given without project code.

    Args:
      directory: the SavedModel.
      sent: `<case>/<signature>/<input>` -> array; strings as objects.
      python: the interpreter; None takes that of this process.
      scratch: a directory for requests and answers; None: that of the system.

    Returns:
      `<case>/<signature>/<output>` -> array.

    Raises:
      FileNotFoundError: there is no such interpreter.
      ValueError: it cannot be loaded or gives no answer; the message holds
        the end of what the process said.
    """
    hidden = ("TF_USE_LEGACY_KERAS", "PYTHONPATH")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment["CUDA_VISIBLE_DEVICES"] = "-1"
    # Memory that is freed goes back to the system.
    environment["TF_ONEDNN_USE_SYSTEM_ALLOCATOR"] = "1"
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        requests = pathlib.Path(place) / "requests.npz"
        answers = pathlib.Path(place) / "answers.npz"
        fresh_process.write(requests, sent)
        command = [
            python or sys.executable,
            "-I",
            _SCRIPT,
            directory,
            requests,
            answers,
        ]
        done = subprocess.run(
            [str(part) for part in command],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            raise ValueError(
                f"{directory} does not answer in a process without project "
                f"code. It ended with:\n{done.stderr[-2000:]}"
            )
        return fresh_process.read(answers)
