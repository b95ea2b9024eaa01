"""Checks through the development server, over gRPC and REST."""

import base64
import contextlib
import json
import pathlib
import tempfile
import typing
import urllib.request
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from ecdctr_tf.export import signatures
from ecdctr_tf.export.checks.subject import (
    Answers,
    LeftOut,
    Subject,
    compare,
)
from ecdctr_tf.export.prediction_log import Request

_NAME = "checked"
_SECONDS = 120


@contextlib.contextmanager
def _model(subject: Subject) -> Iterator[typing.Any]:
    """Give a served model with this version alone.

    Raises:
      LeftOut: the extra `server` is not installed.
      ValueError: the server does not load it.
    """
    try:
        from ecdctr_tf.export.server.model import Model
    except ImportError as error:
        raise LeftOut(f"the extra `server` is not installed: {error}") from (
            error
        )
    with tempfile.TemporaryDirectory() as scratch:
        base_path = pathlib.Path(scratch)
        (base_path / "1").symlink_to(subject.path.resolve())
        model = Model(_NAME, base_path)
        if model.poll() is None:
            raise ValueError("The development server does not load it.")
        yield model


def over_grpc(subject: Subject) -> str:
    """Ask the methods of all signatures over gRPC."""
    with _model(subject) as model:
        import grpc

        from ecdctr_tf.export.server import grpc_service

        server, port = grpc_service.start(model, "localhost:0")
        options = [("grpc.max_receive_message_length", -1)]
        try:
            with grpc.insecure_channel(f"localhost:{port}", options) as channel:
                found = {
                    name: _asked(channel, request)
                    for name, request in subject.requests.items()
                }
        finally:
            server.stop(None).wait()
    return compare(found, subject.answers)


def _asked(channel: typing.Any, request: Request) -> Answers:
    """Return the answer of the method that a signature is for."""
    from tensorflow_serving.apis import (
        classification_pb2,
        predict_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )

    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    made = {
        signatures.REGRESSION: regression_pb2.RegressionRequest,
        signatures.CLASSIFICATION: classification_pb2.ClassificationRequest,
    }.get(request.signature, predict_pb2.PredictRequest)()
    made.model_spec.name = _NAME
    made.model_spec.signature_name = request.signature
    if request.signature not in signatures.METHODS:
        for name, values in request.inputs.items():
            made.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        outputs = stub.Predict(made, timeout=_SECONDS).outputs
        return {name: tf.make_ndarray(value) for name, value in outputs.items()}
    for row in request.inputs["inputs"]:
        made.input.example_list.examples.add().ParseFromString(row)
    if request.signature == signatures.REGRESSION:
        rows = stub.Regress(made, timeout=_SECONDS).result.regressions
        return {"outputs": np.array([row.value for row in rows], np.float32)}
    result = stub.Classify(made, timeout=_SECONDS).result
    rows = [row.classes for row in result.classifications]
    labels = [[of.label.encode() for of in row] for row in rows]
    scores = [[of.score for of in row] for row in rows]
    return {
        "classes": np.array(labels, object),
        "scores": np.array(scores, np.float32),
    }


def over_rest(subject: Subject) -> str:
    """Ask Predict over REST; Regress and Classify take what gRPC takes.

    Requests that leave out inputs, or have lists without places, cannot be
    said in JSON.
    """
    with _model(subject) as model:
        from ecdctr_tf.export.server import rest

        server, port = rest.start(model, "localhost", 0)
        try:
            found = {
                name: _posted(port, request)
                for name, request in subject.requests.items()
                if request.signature not in signatures.METHODS
                and all(v.size for v in request.inputs.values())
            }
        finally:
            server.shutdown()
    return compare(found, subject.answers)


def _posted(port: int, request: Request) -> Answers:
    columns = {
        name: np.frompyfunc(_json, 1, 1)(values).tolist()
        for name, values in request.inputs.items()
    }
    body = {"signature_name": request.signature, "inputs": columns}
    asked = urllib.request.Request(
        f"http://localhost:{port}/v1/models/{_NAME}:predict",
        json.dumps(body).encode(),
    )
    with urllib.request.urlopen(asked, timeout=_SECONDS) as response:
        outputs = json.load(response)["outputs"]
    return {
        name: np.array(values, np.float32) for name, values in outputs.items()
    }


def _json(value: typing.Any) -> typing.Any:
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value.item() if isinstance(value, np.generic) else value
