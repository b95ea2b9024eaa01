"""The services of TensorFlow Serving over gRPC."""

import concurrent.futures
import functools
import logging
import typing
from collections.abc import Callable

import grpc
from google.protobuf import message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from ecdctr_tf.export.server import answers
from ecdctr_tf.export.server.model import Model
from ecdctr_tf.export.server.refusal import Refused


def _of_version(answer: Callable) -> Callable:
    """Return what a model answers, given what its versions do."""

    def answered(model: Model, request: typing.Any) -> typing.Any:
        with model.version(request.model_spec) as version:
            return answer(version, request)

    return answered


# Bytes of a request.
MAX_BYTES = 64 << 20
# Service -> method -> type of its requests, and what answers them.
_SERVICES: dict[str, dict[str, tuple[type, Callable]]] = {
    "tensorflow.serving.PredictionService": {
        "Predict": (predict_pb2.PredictRequest, _of_version(answers.predict)),
        "Regress": (
            regression_pb2.RegressionRequest,
            _of_version(answers.regress),
        ),
        "Classify": (
            classification_pb2.ClassificationRequest,
            _of_version(answers.classify),
        ),
        "GetModelMetadata": (
            get_model_metadata_pb2.GetModelMetadataRequest,
            _of_version(answers.metadata),
        ),
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": (
            get_model_status_pb2.GetModelStatusRequest,
            lambda model, request: model.status(request.model_spec),
        ),
    },
}


def start(
    model: Model, address: str, threads: int = 8
) -> tuple[grpc.Server, int]:
    """Return a server that answers, and its port.

    Args:
      model: what is served.
      address: `host:port`; with port 0 a free one is taken.
      threads: requests that are answered at the same time.

    Raises:
      OSError: the port is taken.
    """
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(threads),
        options=[
            ("grpc.max_receive_message_length", MAX_BYTES),
            ("grpc.max_send_message_length", -1),
            # Another server on the port is an error.
            ("grpc.so_reuseport", 0),
        ],
    )
    for service, methods in _SERVICES.items():
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                functools.partial(_answered, model, *of)
            )
            for name, of in methods.items()
        }
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, handlers)]
        )
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"{address} cannot be listened to: {error}") from error
    server.start()
    return server, port


def _answered(
    model: Model,
    of_type: typing.Any,
    answer: Callable,
    sent: bytes,
    context: grpc.ServicerContext,
) -> bytes:
    """Return an answer, or end the call with a status."""
    try:
        response = answer(model, of_type.FromString(sent))
        return response.SerializeToString()
    except Refused as error:
        context.abort(error.code, error.message)
    except message.DecodeError:
        context.abort(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"The bytes should be a {of_type.__name__}.",
        )
    except Exception:
        logging.exception("A request failed.")
        context.abort(grpc.StatusCode.INTERNAL, "See the log of the server.")
    raise AssertionError("`abort` does not return.")
