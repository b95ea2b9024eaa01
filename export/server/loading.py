"""A version of a model, loaded into a session as a C++ server does."""

import pathlib
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from ecdctr_tf.export.server.refusal import Refused

v1 = tf.compat.v1


class Version:
    """A version that answers until it is retired and nobody asks it any more.

    Args:
      path: the version's directory, whose name is its number.

    Raises:
      OSError, ValueError, tf.errors.OpError: it cannot be loaded.
    """

    def __init__(self, path: pathlib.Path):
        self.number = int(path.name)
        graph = tf.Graph()
        self._session = v1.Session(graph=graph)
        try:
            with graph.as_default():
                loaded = v1.saved_model.load(
                    self._session, ["serve"], str(path)
                )
        except BaseException:
            self._session.close()
            raise
        # Initialisers are signatures, too, that answer no method.
        self.signatures: dict[str, meta_graph_pb2.SignatureDef] = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if signature.method_name
        }
        self._lock = threading.Lock()
        self._users, self._retired = 0, False

    def enter(self) -> None:
        """Begin to use the version; `leave` has to follow."""
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        """End what `enter` began."""
        with self._lock:
            self._users -= 1
            over = self._retired and not self._users
        if over:
            self._session.close()

    def retire(self) -> None:
        """Let go of the version as soon as nobody uses it."""
        self.enter()
        self._retired = True
        self.leave()

    def run(
        self,
        signature: meta_graph_pb2.SignatureDef,
        inputs: dict[str, np.ndarray],
        outputs: list[str],
    ) -> dict[str, np.ndarray]:
        """Return outputs of a signature by name.

        Args:
          signature: one of `signatures`.
          inputs: all of its inputs, of their types; strings are objects.
          outputs: names of some of its outputs.

        Raises:
          Refused: the graph does not take the inputs.
        """
        feed = {signature.inputs[n].name: inputs[n] for n in inputs}
        fetch = {n: signature.outputs[n].name for n in outputs}
        try:
            return self._session.run(fetch, feed)
        except tf.errors.OpError as error:
            code = _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
            # What follows says where in the graph.
            message = error.message.split("\n\nDetected at")[0]
            raise Refused(code, message) from error
        except (TypeError, ValueError) as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from (
                error
            )


# Numbers of TensorFlow's errors -> those of gRPC, which are the same.
_CODES = {code.value[0]: code for code in grpc.StatusCode}
