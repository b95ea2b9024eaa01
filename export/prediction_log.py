"""Records of TensorFlow Serving's warm-up file, without its stubs.

The messages are those of `prediction_log.proto` and of what it imports, as far
as requests need them. An Example and a tensor are bytes here: on the wire they
are the same as the message inside.
"""

import functools
import typing

import numpy as np
import tensorflow as tf
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from tensorflow.core.framework import tensor_pb2

from ecdctr_tf.export import signatures

# Message -> its fields with their numbers and types; "*" is a repeated one.
_MESSAGES = {
    "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
    "Entry": {"key": (1, "string"), "value": (2, "bytes")},
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, "Entry*"),
        "output_filter": (3, "string*"),
    },
    "ExampleList": {"examples": (1, "bytes*")},
    "Input": {"example_list": (1, "ExampleList")},
    # Both that of Regress and that of Classify.
    "ExamplesRequest": {"model_spec": (1, "ModelSpec"), "input": (2, "Input")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "ExamplesLog": {"request": (1, "ExamplesRequest")},
    "PredictionLog": {
        "classify_log": (2, "ExamplesLog"),
        "regress_log": (3, "ExamplesLog"),
        "predict_log": (6, "PredictLog"),
    },
}
_LOGS = {
    signatures.CLASSIFICATION: "classify_log",
    signatures.REGRESSION: "regress_log",
}
_EXAMPLES = "inputs"


class Request(typing.NamedTuple):
    """A request to a signature."""

    signature: str
    # Name of a tensor -> its values; text is objects.
    inputs: dict[str, np.ndarray]
    # Names of the outputs that are asked for; all if there is none.
    outputs: tuple[str, ...] = ()


def encode(request: Request) -> bytes:
    """Return a request as a `PredictionLog`."""
    log = _prediction_log()()
    name = _LOGS.get(request.signature, "predict_log")
    made = getattr(log, name).request
    made.model_spec.signature_name = request.signature
    if name in _LOGS.values():
        made.input.example_list.examples.extend(request.inputs[_EXAMPLES])
        return log.SerializeToString()
    made.output_filter.extend(request.outputs)
    for key, values in request.inputs.items():
        value = tf.make_tensor_proto(values).SerializeToString()
        made.inputs.add(key=key, value=value)
    return log.SerializeToString()


def decode(record: bytes) -> Request:
    """Return the request of a `PredictionLog`.

    Raises:
      ValueError: it holds none of the kinds that exports have.
    """
    log = _prediction_log().FromString(record)
    for name in (*_LOGS.values(), "predict_log"):
        if log.HasField(name):
            break
    else:
        raise ValueError(
            "A record of warm-up should hold a request to Predict, Regress or "
            "Classify."
        )
    made = getattr(log, name).request
    signature = made.model_spec.signature_name
    if name in _LOGS.values():
        rows = np.array(list(made.input.example_list.examples), object)
        return Request(signature, {_EXAMPLES: rows})
    inputs = {
        entry.key: tf.make_ndarray(
            tensor_pb2.TensorProto.FromString(entry.value)
        )
        for entry in made.inputs
    }
    return Request(signature, inputs, tuple(made.output_filter))


@functools.cache
def _prediction_log() -> typing.Any:
    """Return the class of `PredictionLog`."""
    package = "ecdctr_tf"
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}/prediction_log.proto", package=package, syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for key, (number, of_type) in fields.items():
            field = message.field.add(name=key, number=number)
            field.label = kinds.LABEL_OPTIONAL
            if of_type.endswith("*"):
                field.label = kinds.LABEL_REPEATED
            of_type = of_type.rstrip("*")
            if of_type in _MESSAGES:
                field.type = kinds.TYPE_MESSAGE
                field.type_name = f".{package}.{of_type}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{of_type.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{package}.PredictionLog")
    return message_factory.GetMessageClass(found)
