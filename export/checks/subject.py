"""The export that is checked, what it is asked, and what it answers."""

import functools
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from ecdctr_tf.export import contract, verify, warm_up
from ecdctr_tf.export.checks import questions
from ecdctr_tf.export.prediction_log import Request

# Name of an output -> its values.
Answers = dict[str, np.ndarray]


class LeftOut(Exception):
    """A check needs what is not there."""


class Subject:
    """An export.

    Args:
      path: the version's directory.
      pythons: interpreters with other versions of TensorFlow.
    """

    def __init__(self, path: pathlib.Path, pythons: tuple[str, ...]):
        self.path, self.pythons = path, pythons

    @functools.cached_property
    def graph(self) -> meta_graph_pb2.MetaGraphDef:
        """The graph that servers load."""
        return contract.meta_graph(self.path)

    @functools.cached_property
    def requests(self) -> dict[str, Request]:
        """What all ways of serving are asked, by a name for each.

        Raises:
          LeftOut: the export holds no requests to begin with.
          ValueError: they are damaged.
        """
        found = warm_up.read(self.path)
        if not found:
            raise LeftOut(f"the export lacks {warm_up.FILE}")
        requests = {f"warm-up {i}": of for i, of in enumerate(found)}
        requests |= questions.odd(found)
        requests |= questions.to_merge(found, self.graph.signature_def)
        return {name: self._whole(of) for name, of in requests.items()}

    def _whole(self, request: Request) -> Request:
        """Return a request with the defaults of its signature."""
        signature = self.graph.signature_def[request.signature]
        unsaid = {
            name: tf.make_ndarray(proto)
            for name, proto in signature.defaults.items()
        }
        return request._replace(inputs=unsaid | request.inputs)

    @functools.cached_property
    def answers(self) -> dict[str, Answers]:
        """What a process without project code answers to all requests."""
        return self.answers_of(None)

    def answers_of(self, python: str | None) -> dict[str, Answers]:
        """Return the answers of a process, by request.

        Args:
          python: its interpreter; None takes the one of this process.
        """
        sent = {
            f"{name}/{request.signature}/{column}": values
            for name, request in self.requests.items()
            for column, values in request.inputs.items()
        }
        found: dict[str, Answers] = {name: {} for name in self.requests}
        answers = verify.in_fresh_process(self.path, sent, python)
        for key, values in answers.items():
            name, _, output = key.split("/")
            found[name][output] = values
        return found


def compare(found: Mapping[str, Answers], wanted: Mapping[str, Answers]) -> str:
    """Return how far answers are apart, in words.

    Raises:
      ValueError: further than rounding explains.
    """
    worst = 0.0
    for name, answers in found.items():
        for output, values in answers.items():
            reference = wanted[name][output]
            # What came as text is wider.
            values = values.astype(reference.dtype)
            apart = verify.difference(output, values, reference)
            if apart is None:
                raise ValueError(
                    f"{output} of {name} should be {reference}. "
                    f"Received: {values}"
                )
            if not output.endswith(("logit", "_vector")):
                worst = max(worst, apart)
    return f"{len(found)} requests, at most {worst:.1e} apart"
