"""Answer requests with a SavedModel and TensorFlow alone; run by `verify`.

    python -I fresh_process.py SAVED_MODEL REQUESTS ANSWERS

REQUESTS and ANSWERS are `.npz` files with serialized TensorProtos, as bytes,
named `<case>/<signature>/<input or output>`. Whoever wants a project module
here is refused.
"""

import importlib.abc
import pathlib
import sys
import typing

# What an export may not need: the project, and what its models are built with.
_REFUSED = ("ecdctr_tf", "train_main", "tensorflow_recommenders", "tf_keras")


class _Refuse(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> None:
        """Raise ImportError for packages that an export has to do without."""
        del path, target
        if name.split(".")[0] in _REFUSED:
            raise ImportError(f"{name} is not available to exports")


def answer(model: typing.Any, requests: dict) -> dict:
    """Return the answers of a loaded model.

    Args:
      model: what `tf.saved_model.load` returned.
      requests: `<case>/<signature>/<input>` -> array.

    Returns:
      `<case>/<signature>/<output>` -> array.
    """
    import tensorflow as tf

    cases: dict = {}
    for name, array in requests.items():
        case, signature, key = name.split("/")
        cases.setdefault((case, signature), {})[key] = tf.constant(array)
    answers = {}
    for (case, signature), inputs in cases.items():
        for key, value in model.signatures[signature](**inputs).items():
            answers[f"{case}/{signature}/{key}"] = value.numpy()
    return answers


def write(path: str | pathlib.Path, arrays: dict) -> None:
    """Write arrays, of strings too, by name."""
    import numpy as np
    import tensorflow as tf

    protos = {n: tf.make_tensor_proto(array) for n, array in arrays.items()}
    blobs: dict[str, typing.Any] = {
        name: np.frombuffer(proto.SerializeToString(), np.uint8)
        for name, proto in protos.items()
    }
    np.savez(path, **blobs)


def read(path: str | pathlib.Path) -> dict:
    """Return the arrays that `write` wrote; strings are bytes."""
    import numpy as np
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    with np.load(path) as protos:
        return {
            name: tf.make_ndarray(
                tensor_pb2.TensorProto.FromString(proto.tobytes())
            )
            for name, proto in protos.items()
        }


def main(saved_model: str, requests: str, answers: str) -> None:
    """Load the model, answer all requests, write the answers."""
    sys.meta_path.insert(0, _Refuse())
    import tensorflow as tf

    model = tf.saved_model.load(saved_model)
    write(answers, answer(model, read(requests)))
    used = sorted(m for m in sys.modules if m.split(".")[0] in _REFUSED)
    if used:
        raise ImportError(f"{', '.join(used)} should not be used by an export")


if __name__ == "__main__":
    main(*sys.argv[1:])
