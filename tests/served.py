"""A model of random weights with all signatures, and servers of it."""

import contextlib
import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import grpc
import tensorflow as tf

from ecdctr_tf.export import folded, probe, saved_model
from tests import test_folded

# Wide enough for a request on a loaded machine.
SECONDS = 60


def write(directory: pathlib.Path) -> dict[str, probe.Case]:
    """Write a SavedModel; return requests to all of its signatures."""
    directory.mkdir(parents=True)
    spec = test_folded.EVERY_KIND
    model, spaces = test_folded.made(spec), test_folded.spaces_of(spec)
    form = folded.of(model, test_folded.ROWS)
    saved_model.write(form, spaces, directory)
    return probe.cases(model, spaces)


@dataclasses.dataclass
class Server:
    """A development server in a process of its own."""

    process: subprocess.Popen
    grpc_port: int
    rest_port: int
    channel: grpc.Channel

    def rest(self, path: str, body: object = None) -> tuple[int, dict]:
        """Return status and JSON of a request; a POST if it has a body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://localhost:{self.rest_port}{path}"
        asked = urllib.request.Request(url, None if body is None else data)
        try:
            with urllib.request.urlopen(asked, timeout=SECONDS) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@contextlib.contextmanager
def server(base_path: pathlib.Path, *flags: str) -> Iterator[Server]:
    """Serve a directory of versions inside a `with` block."""
    command = [
        sys.executable,
        "-m",
        "ecdctr_tf.export.server",
        f"--model_base_path={base_path}",
        "--port=0",
        "--rest_api_port=0",
        "--file_system_poll_wait_seconds=0.02",
        *flags,
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            for line in process.stdout:
                ports = re.search(r"gRPC port (\d+), REST port (\d+)", line)
                if ports:
                    break
            else:
                raise AssertionError("The server ended.")
            with grpc.insecure_channel(f"localhost:{ports[1]}") as channel:
                yield Server(process, int(ports[1]), int(ports[2]), channel)
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)


def in_process(directory: pathlib.Path, cases: dict[str, probe.Case]) -> dict:
    """Return what a SavedModel answers in this process, by case."""
    signatures = tf.saved_model.load(str(directory)).signatures
    return {
        name: {
            output: values.numpy()
            for output, values in signatures[case.signature](
                **{n: tf.constant(v) for n, v in case.inputs.items()}
            ).items()
        }
        for name, case in cases.items()
    }
