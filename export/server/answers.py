"""What requests of both protocols come to: the rules of TensorFlow Serving.

Shapes: B examples, K classes.
"""

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from ecdctr_tf.export.server.loading import Version
from ecdctr_tf.export.server.refusal import Refused, invalid

# Values of all tensors of a request: a few bytes can ask for any number.
MAX_VALUES = 1 << 20
DEFAULT = "serving_default"
_METHODS = "tensorflow/serving/"
_METADATA = "signature_def"


def predict(
    version: Version, request: predict_pb2.PredictRequest
) -> predict_pb2.PredictResponse:
    """Answer Predict, with the signature's defaults for what is left out.

    Raises:
      Refused: the request does not fit the version.
    """
    name = request.model_spec.signature_name or DEFAULT
    if name not in version.signatures:
        raise Refused(
            grpc.StatusCode.FAILED_PRECONDITION, unknown(name, version)
        )
    signature = version.signatures[name]
    outputs = list(request.output_filter) or sorted(signature.outputs)
    if set(outputs) - set(signature.outputs) or (
        len(set(outputs)) < len(outputs)
    ):
        raise invalid(
            "output_filter should name some of "
            f"{', '.join(sorted(signature.outputs))}, each once. "
            f"Received: {', '.join(outputs)}"
        )
    found = version.run(signature, _inputs(signature, request), outputs)
    response = predict_pb2.PredictResponse(
        model_spec=_spec(request.model_spec, version, name)
    )
    for output in outputs:
        response.outputs[output].CopyFrom(tf.make_tensor_proto(found[output]))
    return response


def _inputs(
    signature: meta_graph_pb2.SignatureDef, request: predict_pb2.PredictRequest
) -> dict[str, np.ndarray]:
    """Return all inputs of a signature, of their types."""
    surplus = set(request.inputs) - set(signature.inputs)
    missing = set(signature.inputs) - set(request.inputs)
    missing -= set(signature.defaults)
    if surplus or missing:
        raise invalid(
            "The inputs should be those of the signature. Not in it: "
            f"{', '.join(sorted(surplus)) or 'none'}. Missing: "
            f"{', '.join(sorted(missing)) or 'none'}."
        )
    protos = {
        name: request.inputs[name]
        if name in request.inputs
        else signature.defaults[name]
        for name in signature.inputs
    }
    # A sum of Python integers, which do not overflow.
    if sum(map(_values, protos.values())) > MAX_VALUES:
        raise invalid(f"A request may hold {MAX_VALUES:,} values at most.")
    return {
        name: _array(name, proto, signature.inputs[name].dtype)
        for name, proto in protos.items()
    }


def _values(proto: tensor_pb2.TensorProto) -> int:
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
        raise invalid("The shape of a tensor should be known.")
    count = 1
    for size in sizes:
        count *= size
    return count


def _array(name: str, proto: tensor_pb2.TensorProto, dtype: int) -> np.ndarray:
    if proto.dtype != dtype:
        wanted = tf.as_dtype(dtype).name
        raise invalid(
            f"The input {name!r} should be {wanted}. Received the type "
            f"{proto.dtype} of tensorflow.DataType."
        )
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise invalid(f"The input {name!r} is no tensor: {error}") from error


def regress(
    version: Version, request: regression_pb2.RegressionRequest
) -> regression_pb2.RegressionResponse:
    """Answer Regress.

    Raises:
      Refused: the request does not fit the version.
    """
    name, signature = _of_method(version, request.model_spec, "regress")
    rows = _examples(request.input)
    found = version.run(signature, {"inputs": rows}, ["outputs"])
    values = found["outputs"].reshape(-1)
    if len(values) != len(rows):
        raise _wrong_number(name)
    response = regression_pb2.RegressionResponse(
        model_spec=_spec(request.model_spec, version, name)
    )
    for value in values:
        response.result.regressions.add(value=value)
    return response


def classify(
    version: Version, request: classification_pb2.ClassificationRequest
) -> classification_pb2.ClassificationResponse:
    """Answer Classify.

    Raises:
      Refused: the request does not fit the version.
    """
    name, signature = _of_method(version, request.model_spec, "classify")
    rows = _examples(request.input)
    outputs = sorted({"classes", "scores"} & set(signature.outputs))
    found = version.run(signature, {"inputs": rows}, outputs)
    if any(len(values) != len(rows) for values in found.values()):
        raise _wrong_number(name)
    response = classification_pb2.ClassificationResponse(
        model_spec=_spec(request.model_spec, version, name)
    )
    for row in range(len(rows)):
        classes = response.result.classifications.add().classes
        for place in range(found[outputs[0]].shape[1]):
            entry = classes.add()
            if "classes" in found:  # [B, K]
                entry.label = found["classes"][row, place]
            if "scores" in found:
                entry.score = found["scores"][row, place]
    return response


def _of_method(
    version: Version, spec: model_pb2.ModelSpec, method: str
) -> tuple[str, meta_graph_pb2.SignatureDef]:
    """Return name and definition of the signature that a request names."""
    name = spec.signature_name or DEFAULT
    if name not in version.signatures:
        raise invalid(unknown(name, version))
    signature = version.signatures[name]
    if signature.method_name != _METHODS + method:
        raise invalid(
            f"The signature {name!r} should answer {_METHODS + method}; it "
            f"answers {signature.method_name}. Set signature_name."
        )
    return name, signature


def _examples(sent: input_pb2.Input) -> np.ndarray:
    """Return the serialized Examples of a request, objects `[B]`."""
    common = b""
    examples = sent.example_list.examples
    if sent.WhichOneof("kind") == "example_list_with_context":
        examples = sent.example_list_with_context.examples
        common = sent.example_list_with_context.context.SerializeToString()
    if not examples:
        raise invalid("The request should hold an Example at least.")
    # Parsed together, two serialized messages are one.
    rows = [example.SerializeToString() + common for example in examples]
    return np.array(rows, object)


def metadata(
    version: Version, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Return the signatures of a version.

    Raises:
      Refused: the request asks for something else.
    """
    if set(request.metadata_field) != {_METADATA}:
        raise invalid(
            f"metadata_field should be [{_METADATA!r}]. Received: "
            f"{list(request.metadata_field)}"
        )
    signatures = get_model_metadata_pb2.SignatureDefMap(
        signature_def=version.signatures
    )
    response = get_model_metadata_pb2.GetModelMetadataResponse(
        model_spec=_spec(request.model_spec, version, "")
    )
    response.metadata[_METADATA].Pack(signatures)
    return response


def _spec(
    asked: model_pb2.ModelSpec, version: Version, name: str
) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=asked.name, signature_name=name)
    spec.version.value = version.number
    return spec


def unknown(name: str, version: Version) -> str:
    """Return the message on a signature that a version lacks."""
    return (
        f"There is no signature {name!r}; these are served: "
        f"{', '.join(sorted(version.signatures))}."
    )


def _wrong_number(name: str) -> Refused:
    return invalid(f"{name!r} gave another number of answers than Examples.")
