"""Checks of what an export answers, in processes of its own."""

import subprocess
import tempfile

import numpy as np

from ecdctr_tf.export import client, signatures
from ecdctr_tf.export.checks import questions
from ecdctr_tf.export.checks.subject import LeftOut, Subject, compare


def fresh_process(subject: Subject) -> str:
    """Ask the export in a process without project code.

    There has to be an answer to each row.
    """
    for name, request in subject.requests.items():
        rows = max(len(values) for values in request.inputs.values())
        for output, values in subject.answers[name].items():
            if len(values) != rows:
                raise ValueError(
                    f"{output} of {name} should have {rows} rows. Received: "
                    f"{values.shape}"
                )
    return f"{len(subject.requests)} requests answered"


def other_versions(subject: Subject) -> str:
    """Ask the export in other versions of TensorFlow."""
    if not subject.pythons:
        raise LeftOut("no --pythons; `make verify` makes some")
    said = []
    for python in subject.pythons:
        found = compare(subject.answers_of(python), subject.answers)
        said.append(f"{_tensorflow(python)}: {found}")
    return "; ".join(said)


def _tensorflow(python: str) -> str:
    """Return the version of TensorFlow that an interpreter has."""
    program = "import tensorflow; print(tensorflow.__version__)"
    done = subprocess.run(
        [python, "-I", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def in_cpp(subject: Subject) -> str:
    """Ask the export through the loader that servers use, in C++."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            built = client.compiled(scratch)
        except FileNotFoundError as error:
            raise LeftOut(str(error)) from error
        ways = [
            client.Way(name, subject.path, request.signature, request.inputs)
            for name, request in subject.requests.items()
        ]
        found, _ = client.run(built, ways)
    return compare(found, subject.answers)


def odd_input(subject: Subject) -> str:
    """Look for answers that are no numbers."""
    count = 0
    for name, answers in subject.answers.items():
        for output, values in answers.items():
            if values.dtype == object:
                continue
            if not np.isfinite(values).all():
                raise ValueError(
                    f"{output} of {name} should be finite. Received: {values}"
                )
            if (
                output in ("ctr", "outputs", "scores")
                and not ((values >= 0) & (values <= 1)).all()
            ):
                raise ValueError(
                    f"{output} of {name} should be a probability. Received: "
                    f"{values}"
                )
        count += name.startswith(questions.ODD)
    return f"{count} requests with values such as NaN, all answers finite"


def merged_requests(subject: Subject) -> str:
    """Compare requests that a server has merged with each alone."""
    found, wanted = {}, {}
    for signature in (signatures.DEFAULT, signatures.RANK):
        whole = subject.answers[f"{questions.TOGETHER} {signature}"]
        first = 0
        for place in range(2):
            name = f"{questions.APART} {signature} {place}"
            wanted[name] = subject.answers[name]
            rows = len(wanted[name]["logit"])
            found[name] = {
                output: values[first : first + rows]
                for output, values in whole.items()
            }
            first += rows
            if signature == signatures.RANK:
                # A server has filled up the candidates.
                count = wanted[name]["logit"].shape[1]
                found[name] = {o: v[:, :count] for o, v in found[name].items()}
    return compare(found, wanted)
