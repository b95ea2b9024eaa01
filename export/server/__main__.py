r"""Serve the newest version of a model on this machine, for development.

  python -m ecdctr_tf.export.server --model_base_path=RUN/export

The flags have the names of those of `tensorflow_model_server`. This server is
not for production: see the package's docstring.
"""

import logging
import pathlib
import signal
import threading
import typing

from absl import app, flags
from absl import logging as absl_logging

from ecdctr_tf import command_line

if typing.TYPE_CHECKING:
    from ecdctr_tf.export.server.model import Model

_NAME = flags.DEFINE_string("model_name", "ctr", "What clients call the model.")
_BASE_PATH = flags.DEFINE_string(
    "model_base_path", None, "Directory of the versions, as of --export_dir."
)
_HOST = flags.DEFINE_string("host", "localhost", "Address to listen at.")
_PORT = flags.DEFINE_integer(
    "port", 8500, "Port of gRPC; 0 takes a free one.", 0, 65535
)
_REST_PORT = flags.DEFINE_integer(
    "rest_api_port", 8501, "Port of REST; 0 takes a free one.", 0, 65535
)
_POLL_SECONDS = flags.DEFINE_float(
    "file_system_poll_wait_seconds",
    1.0,
    "Seconds between two looks for another version.",
    lower_bound=0.001,
)
_WARM_UP = flags.DEFINE_bool(
    "enable_model_warmup",
    True,
    "Answer the requests of a version's warm-up file before it goes live.",
)
_VERBOSE = flags.DEFINE_bool("verbose", False, "Show full tracebacks.")


def main(argv: list[str]) -> None:
    """Serve until interrupted."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    plain = logging.Formatter("%(levelname)s: %(message)s")
    absl_logging.get_absl_handler().setFormatter(plain)
    with command_line.reported(_VERBOSE.value):
        if len(argv) > 1:
            raise ValueError(f"Unknown arguments: {' '.join(argv[1:])}")
        if not _BASE_PATH.value:
            raise ValueError("--model_base_path is required; see --helpshort.")
        base_path = pathlib.Path(_BASE_PATH.value)
        if not base_path.is_dir():
            raise FileNotFoundError(f"There is no directory {base_path}.")
        _serve(base_path)


def _serve(base_path: pathlib.Path) -> None:
    """Serve until SIGINT or SIGTERM."""
    try:
        with command_line.quiet_start(_VERBOSE.value):
            from ecdctr_tf.export.server import grpc_service, rest
            from ecdctr_tf.export.server.model import Model
    except ImportError as error:
        raise ValueError(
            f"The server needs the extra `server` ({error}). Install it: "
            "pip install 'ecdctr-tf[server]'."
        ) from error
    # That sessions are of the first TensorFlow is known.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    model = Model(_NAME.value, base_path, _WARM_UP.value)
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    _look(model)
    of_grpc, port = grpc_service.start(model, f"{_HOST.value}:{_PORT.value}")
    of_rest, rest_port = rest.start(model, _HOST.value, _REST_PORT.value)
    print(
        f"{_NAME.value} is served on {_HOST.value}, gRPC port {port}, "
        f"REST port {rest_port}, for development only.",
        flush=True,
    )
    while not over.wait(_POLL_SECONDS.value):
        _look(model)
    of_rest.shutdown()
    of_grpc.stop(grace=1).wait()


def _look(model: "Model") -> None:
    """Load another version if there is one, and say so."""
    number = model.poll()
    if number is not None:
        print(f"Version {number} answers now.", flush=True)


if __name__ == "__main__":
    app.run(main)
