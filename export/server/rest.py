"""The REST protocol of TensorFlow Serving."""

import json
import logging
import re
import threading
import typing
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from werkzeug import exceptions, serving
from werkzeug.wrappers import Request, Response

from ecdctr_tf.export.server import answers, json_tensors
from ecdctr_tf.export.server.grpc_service import MAX_BYTES
from ecdctr_tf.export.server.model import Model
from ecdctr_tf.export.server.refusal import Refused, invalid

_ASKED = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+)"
    r"|/labels/(?P<label>[^/:]+))?:(?P<method>predict|regress|classify)",
    re.IGNORECASE | re.ASCII,
)
_TOLD = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+)"
    r"|/labels/(?P<label>[^/:]+))?(?P<metadata>/metadata)?",
    re.IGNORECASE | re.ASCII,
)
_HTTP = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


def start(
    model: Model, host: str, port: int
) -> tuple[serving.BaseWSGIServer, int]:
    """Return a server that answers, and its port.

    Args:
      model: what is served.
      host: the address to listen at.
      port: 0 takes a free one.

    Raises:
      OSError: the port is taken.
    """
    try:
        server = serving.make_server(
            host, port, App(model), threaded=True, request_handler=_Quiet
        )
    except SystemExit as error:  # Of a port that is taken.
        raise OSError(f"{host}:{port} cannot be listened to.") from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.port


class _Quiet(serving.WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *args: typing.Any) -> None:
        """Write no line for each request."""


class App:
    """The WSGI application of a model."""

    def __init__(self, model: Model):
        self._model = model

    def __call__(
        self, environ: typing.Any, start_response: typing.Any
    ) -> typing.Any:
        """Answer one request."""
        request = Request(environ)
        request.max_content_length = MAX_BYTES
        try:
            found, code = self._answer(request), 200
        except Refused as error:
            found, code = {"error": error.message}, _HTTP.get(error.code, 500)
        except exceptions.HTTPException as error:
            found, code = {"error": error.description}, error.code or 500
        except Exception:
            logging.exception("A request failed.")
            found, code = {"error": "The server failed; see its log."}, 500
        text = json.dumps(found, indent=1)
        response = Response(text, code, content_type="application/json")
        return response(environ, start_response)

    def _answer(self, request: Request) -> dict[str, typing.Any]:
        if not request.path.lower().startswith("/v1/"):
            raise exceptions.NotFound("Paths begin with /v1/models/.")
        asked = _ASKED.fullmatch(request.path)
        if request.method == "POST" and asked:
            spec = _spec(asked)
            sent = json_tensors.body(request.get_data(cache=False))
            spec.signature_name = sent.get("signature_name", "")
            method = {
                "predict": self._predict,
                "regress": self._regress,
                "classify": self._classify,
            }[asked["method"].lower()]
            return method(spec, sent)
        told = _TOLD.fullmatch(request.path)
        if request.method == "GET" and told:
            return (self._metadata if told["metadata"] else self._status)(
                _spec(told)
            )
        raise invalid(
            f"There is no {request.method} of {request.path[:200]!r}: POST "
            "/v1/models/NAME:predict, :regress or :classify, or GET "
            "/v1/models/NAME or /v1/models/NAME/metadata."
        )

    def _predict(
        self, spec: model_pb2.ModelSpec, sent: dict
    ) -> dict[str, typing.Any]:
        with self._model.version(spec) as version:
            name = spec.signature_name or answers.DEFAULT
            if name not in version.signatures:
                raise invalid(answers.unknown(name, version))
            request = predict_pb2.PredictRequest(model_spec=spec)
            inputs = version.signatures[name].inputs
            for key, tensor in json_tensors.tensors(sent, inputs).items():
                request.inputs[key].CopyFrom(tensor)
            response = answers.predict(version, request)
        return json_tensors.of_outputs(response, "instances" in sent)

    def _regress(
        self, spec: model_pb2.ModelSpec, sent: dict
    ) -> dict[str, typing.Any]:
        request = regression_pb2.RegressionRequest(
            model_spec=spec, input=json_tensors.examples(sent)
        )
        with self._model.version(spec) as version:
            found = answers.regress(version, request).result.regressions
        return {"results": [json_tensors.number(row.value) for row in found]}

    def _classify(
        self, spec: model_pb2.ModelSpec, sent: dict
    ) -> dict[str, typing.Any]:
        request = classification_pb2.ClassificationRequest(
            model_spec=spec, input=json_tensors.examples(sent)
        )
        with self._model.version(spec) as version:
            found = answers.classify(version, request).result.classifications
        return {
            "results": [
                [
                    [of.label, json_tensors.number(of.score)]
                    for of in row.classes
                ]
                for row in found
            ]
        }

    def _status(self, spec: model_pb2.ModelSpec) -> dict[str, typing.Any]:
        return _message(self._model.status(spec))

    def _metadata(self, spec: model_pb2.ModelSpec) -> dict[str, typing.Any]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=["signature_def"]
        )
        with self._model.version(spec) as version:
            found = _message(answers.metadata(version, request))
        del found["metadata"]["signature_def"]["@type"]
        return found


def _spec(asked: re.Match) -> model_pb2.ModelSpec:
    """Return which model a path asks for."""
    spec = model_pb2.ModelSpec(name=unquote(asked["name"]))
    if asked["version"]:
        number = int(asked["version"])
        if number >= 2**63:
            raise invalid(f"A version should be below 2^63. Received: {number}")
        spec.version.value = number
    if asked["label"]:
        spec.version_label = unquote(asked["label"])
    return spec


def _message(message: typing.Any) -> dict[str, typing.Any]:
    """Return a message of Protocol Buffers as JSON with all of its fields."""
    return json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
