"""JSON of the REST protocol to and from tensors and Examples.

In the row format, `instances` is a list with an object of all inputs for each
row, or, of a signature with one input, its values; the answer is `predictions`.
In the columnar format, `inputs` and `outputs` are whole tensors by name, or a
tensor alone where there is one. Bytes are `{"b64": "..."}`.
"""

import base64
import binascii
import json
import math
import typing

import numpy as np
import tensorflow as tf
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import input_pb2, predict_pb2

from ecdctr_tf.export.server.answers import MAX_VALUES
from ecdctr_tf.export.server.refusal import invalid

Inputs = typing.Mapping[str, typing.Any]  # Name -> TensorInfo.
# Text outputs of such names are sent as base64.
_BYTES = "_bytes"
_DEEPEST = 32
_INT64 = range(-(2**63), 2**63)
_LARGEST = float(np.finfo(np.float32).max)


def body(text: bytes) -> dict[str, typing.Any]:
    """Return the object that a request holds.

    Raises:
      Refused: it holds none.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"The body should be JSON: {error}") from error
    if not isinstance(found, dict):
        raise invalid("The body should be a JSON object.")
    name = found.get("signature_name", "")
    if not isinstance(name, str) or not _encodable(name):
        raise invalid("`signature_name` should be text.")
    return found


def tensors(
    sent: dict[str, typing.Any], inputs: Inputs
) -> dict[str, tensor_pb2.TensorProto]:
    """Return the tensors of a Predict request by name.

    All inputs have to be there: the REST protocol knows no defaults.

    Raises:
      Refused: they do not fit.
    """
    if ("instances" in sent) == ("inputs" in sent):
        raise invalid("A request should hold either `instances` or `inputs`.")
    columns = sent.get("inputs")
    if "instances" in sent:
        columns = _columns(sent["instances"])
    if not _is_object(columns):
        if len(inputs) > 1:
            raise invalid(_names(inputs))
        columns = {name: columns for name in inputs}
    if set(columns) != set(inputs):
        raise invalid(_names(inputs))
    return {
        name: _tensor(name, columns[name], inputs[name].dtype)
        for name in inputs
    }


def _columns(rows: typing.Any) -> typing.Any:
    """Return `instances` as `inputs`."""
    if not isinstance(rows, list) or not rows:
        raise invalid("`instances` should be a list with a row at least.")
    if not _is_object(rows[0]):
        return rows
    for row in rows:
        if not _is_object(row) or set(row) != set(rows[0]):
            raise invalid("Each row should be an object with the same names.")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _names(inputs: Inputs) -> str:
    return (
        "A request should hold an object with all inputs of the signature: "
        f"{', '.join(sorted(inputs))}."
    )


def _is_object(value: typing.Any) -> bool:
    return isinstance(value, dict) and not _is_bytes(value)


def _is_bytes(value: typing.Any) -> bool:
    return (
        isinstance(value, dict)
        and list(value) == ["b64"]
        and isinstance(value["b64"], str)
    )


def _tensor(name: str, value: typing.Any, dtype: int) -> tensor_pb2.TensorProto:
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
        if len(shape) > _DEEPEST:
            raise invalid(f"The lists of {name!r} are nested too deeply.")
    wanted = tf.as_dtype(dtype)
    flat: list[typing.Any] = []
    _flatten(name, value, shape, wanted, flat)
    array = np.array(flat, wanted.as_numpy_dtype).reshape(shape)
    return tf.make_tensor_proto(array, wanted)


def _flatten(
    name: str,
    value: typing.Any,
    shape: list[int],
    dtype: tf.DType,
    flat: list[typing.Any],
) -> None:
    """Append the values of nested lists of one shape."""
    if not shape:
        if len(flat) >= MAX_VALUES:
            raise invalid(f"A request may hold {MAX_VALUES:,} values at most.")
        flat.append(_value(name, value, dtype))
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise invalid(
            f"All lists of {name!r} should be as long as the first at their "
            "place; fill them with padding."
        )
    for part in value:
        _flatten(name, part, shape[1:], dtype, flat)


def _value(name: str, value: typing.Any, dtype: tf.DType) -> typing.Any:
    """Return one value of a tensor."""
    if dtype == tf.string:
        if isinstance(value, str) and _encodable(value):
            return value.encode()
        if _is_bytes(value):
            return _decoded(value["b64"])
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if dtype == tf.int64 and isinstance(value, int) and value in _INT64:
            return value
        if dtype == tf.float32 and _is_float32(value):
            return value
    raise invalid(
        f"The values of {name!r} should be {dtype.name}. Received: "
        f"{str(value)[:80]!a}"
    )


def _is_float32(value: int | float) -> bool:
    """Return whether a number is near to one that a float32 can hold."""
    if isinstance(value, int):
        return abs(value) < 2**24
    return not math.isfinite(value) or abs(value) <= _LARGEST


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"`b64` should be base64: {error}") from error


def _encodable(text: str) -> bool:
    """Return whether text has no half of a pair of surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def examples(sent: dict[str, typing.Any]) -> input_pb2.Input:
    """Return the Examples of a Regress or Classify request.

    Raises:
      Refused: they are none.
    """
    rows = sent.get("examples")
    if not isinstance(rows, list) or not rows:
        raise invalid("`examples` should be a list with an object at least.")
    made = [_example(row) for row in rows]
    found = input_pb2.Input()
    if "context" not in sent:
        found.example_list.examples.extend(made)
        return found
    context = _example(sent["context"])
    found.example_list_with_context.context.CopyFrom(context)
    found.example_list_with_context.examples.extend(made)
    return found


def _example(row: typing.Any) -> example_pb2.Example:
    if not isinstance(row, dict):
        raise invalid("An Example should be an object of features.")
    example = example_pb2.Example()
    for name, value in row.items():
        values = value if isinstance(value, list) else [value]
        if not _encodable(name):
            raise invalid("The name of a feature should be text.")
        feature = example.features.feature[name]
        if not values:
            continue
        if all(isinstance(v, str) or _is_bytes(v) for v in values):
            texts = [_value(name, v, tf.string) for v in values]
            feature.bytes_list.value.extend(texts)
        elif all(isinstance(v, int) for v in values):
            # True and false are 1 and 0.
            whole = [_value(name, int(v), tf.int64) for v in values]
            feature.int64_list.value.extend(whole)
        elif all(isinstance(v, float) for v in values):
            numbers = [_value(name, v, tf.float32) for v in values]
            feature.float_list.value.extend(numbers)
        else:
            raise invalid(f"The feature {name!r} should be of one type.")
    return example


def of_outputs(
    response: predict_pb2.PredictResponse, rows: bool
) -> dict[str, typing.Any]:
    """Return the JSON of a Predict response.

    Args:
      response: the response.
      rows: whether the request had the row format.

    Raises:
      Refused: the outputs are no rows.
    """
    found = {
        name: _listed(name, tf.make_ndarray(proto))
        for name, proto in response.outputs.items()
    }
    if not rows:
        one = len(found) == 1
        return {"outputs": next(iter(found.values())) if one else found}
    counts = {
        len(column) if isinstance(column, list) else 0
        for column in found.values()
    }
    if len(counts) > 1 or not min(counts):
        raise invalid("The outputs are no rows; use `inputs`.")
    if len(found) == 1:
        return {"predictions": next(iter(found.values()))}
    each = zip(*found.values(), strict=True)
    return {"predictions": [dict(zip(found, row, strict=True)) for row in each]}


def _listed(name: str, array: np.ndarray) -> typing.Any:
    """Return an array as nested lists of JSON."""

    def coded(value: typing.Any) -> typing.Any:
        if array.dtype == np.float32:
            return number(value)
        if array.dtype != object:
            return value
        if name.endswith(_BYTES):
            return {"b64": base64.b64encode(value).decode()}
        return value.decode("utf-8", "replace")

    values = np.frompyfunc(coded, 1, 1)(array)
    return np.asarray(values, object).tolist()


def number(value: float) -> float:
    """Return a float32 as the shortest number that stands for it."""
    return float(str(np.float32(value)))
