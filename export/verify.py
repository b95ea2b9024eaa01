"""Check a SavedModel before it is published.

Its signatures are compared with what was promised, its answers, given in a
process that has TensorFlow and nothing of this project, with the model's.

Shapes: N requests.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from ecdctr_tf import features
from ecdctr_tf.export import contract, fresh_process, signatures
from ecdctr_tf.input import examples

# Greatest difference of a click probability.
TOLERANCE = 1e-6
# Greatest difference of a logit below 1, of a larger one relative to it: eight
# steps of a float32, which move a probability by a quarter of that at most.
LOGIT_TOLERANCE = 4e-6
_SCRIPT = pathlib.Path(fresh_process.__file__)


def check(
    directory: str | pathlib.Path,
    spec: features.DataSpec,
    raw: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
    least: dict[str, np.ndarray] | None = None,
) -> float:
    """Make sure that a SavedModel answers as its model does.

    Args:
      directory: the SavedModel.
      spec: the features of the model.
      raw: requests, as `probe.requests` makes them.
      expected: the model's answers, float32 `[N]` by output name.
      least: the same to requests that leave out all they may; None does not
        try these.

    Returns:
      The greatest difference of a click probability.

    Raises:
      ValueError: the SavedModel cannot be loaded without project code, its
        signatures are not those promised, or an answer differs.
    """
    contract.check(directory, spec)
    needed = set(raw) - set(signatures.left_out(spec))
    many = {name: expected[name] for name in signatures.OUTPUTS}
    # Name of a case -> its rows, the inputs that are sent, the answers.
    cases = {
        "many": (slice(None), set(raw), many),
        "one": (slice(0, 1), set(raw), many),
    }
    if least is not None:
        cases["least"] = (slice(None), needed, least)
    # A server fills in what the signature says of inputs left out.
    unsaid = {n: t.numpy() for n, t in signatures.defaults(spec).items()}
    sent = {}
    for case, (part, names, _) in cases.items():
        some = {name: column[part] for name, column in raw.items()}
        rows = np.array(examples.requests(some, spec, names), object)
        sent[f"{case}/{signatures.EXAMPLES}/examples"] = rows
        for name in raw:
            column = some[name] if name in names else unsaid[name]
            sent[f"{case}/{signatures.DEFAULT}/{name}"] = column
    answers = in_fresh_process(directory, sent)
    worst = 0.0
    for case, (part, _, wanted) in cases.items():
        for signature in (signatures.DEFAULT, signatures.EXAMPLES):
            for output in signatures.OUTPUTS:
                answer = answers[f"{case}/{signature}/{output}"]
                _compare(signature, output, answer, wanted[output][part])
                if output == "ctr":
                    difference = np.abs(answer - wanted[output][part])
                    worst = max(worst, float(difference.max()))
    return worst


def _compare(
    signature: str, output: str, answer: np.ndarray, wanted: np.ndarray
) -> None:
    allowed = TOLERANCE
    if output != "ctr":
        allowed = LOGIT_TOLERANCE * np.maximum(np.abs(wanted), 1.0)
    if answer.shape != wanted.shape or not np.all(
        np.abs(answer - wanted) <= allowed
    ):
        raise ValueError(
            f"The SavedModel's {signature} ({output}) differs from the "
            f"model's: {answer} instead of {wanted}. Nothing was published."
        )


def in_fresh_process(
    directory: str | pathlib.Path, sent: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return a SavedModel's answers, given without project code.

    Args:
      directory: the SavedModel.
      sent: `<case>/<signature>/<input>` -> array; strings as objects.

    Returns:
      `<case>/<signature>/<output>` -> array.

    Raises:
      ValueError: it cannot be loaded or gives no answer; the message holds
        the end of what the process said.
    """
    hidden = ("TF_USE_LEGACY_KERAS", "PYTHONPATH")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment["CUDA_VISIBLE_DEVICES"] = "-1"
    with tempfile.TemporaryDirectory() as scratch:
        requests = pathlib.Path(scratch) / "requests.npz"
        answers = pathlib.Path(scratch) / "answers.npz"
        fresh_process.write(requests, sent)
        command = [sys.executable, "-I", _SCRIPT, directory, requests, answers]
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
