"""A client in C++ that loads SavedModels as TensorFlow Serving does.

`client.cc` is compiled against the libraries of the installed TensorFlow.
"""

import pathlib
import shutil
import subprocess
import tempfile
import typing
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import named_tensor_pb2

_SOURCE = pathlib.Path(__file__).with_suffix(".cc")
_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")


class Way(typing.NamedTuple):
    """A request to a signature of a SavedModel."""

    name: str
    directory: str | pathlib.Path
    signature: str
    # Name of a tensor -> its values; strings are objects.
    inputs: dict[str, np.ndarray]


def compiled(directory: str | pathlib.Path) -> pathlib.Path:
    """Return the client, compiled into a directory; it takes half a minute.

    Raises:
      FileNotFoundError: there is no C++ compiler.
      RuntimeError: it cannot be compiled.
    """
    compiler = next(filter(None, map(shutil.which, ("c++", "g++"))), None)
    if compiler is None:
        raise FileNotFoundError("there is no C++ compiler (c++, g++)")
    client = pathlib.Path(directory) / "client"
    place = tf.sysconfig.get_lib()
    command = [compiler, "-O2", "-w", str(_SOURCE), "-o", str(client)]
    command += tf.sysconfig.get_compile_flags()
    # Kernels register themselves: nothing asks for them by name.
    command += [f"-L{place}", "-Wl,--no-as-needed", f"-Wl,-rpath,{place}"]
    command += [f"-l:{library}" for library in _LIBRARIES]
    _run(command)
    return client


def run(
    client: str | pathlib.Path, ways: Sequence[Way], runs: int = 0
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Ask each way once, then let them take turns and measure the time.

    Args:
      client: of `compiled`.
      ways: the requests; their names differ.
      runs: calls of each way that are measured.

    Returns:
      By name, the answers of the first call, `{output: array}`, and the seconds
      of the calls that were measured, float64 `[runs]`.

    Raises:
      RuntimeError: a model cannot be loaded or does not answer.
    """
    with tempfile.TemporaryDirectory() as scratch:
        place = pathlib.Path(scratch)
        lines = []
        for i, way in enumerate(ways):
            request = place / str(i)
            _write(request, way.inputs)
            fields = (way.name, way.directory, way.signature, request)
            lines.append("\t".join(map(str, fields)) + "\n")
        (place / "plan").write_text("".join(lines))
        printed = _run([str(client), str(place / "plan"), str(runs)])
        answers = {
            way.name: _read(place / f"{i}.answers")
            for i, way in enumerate(ways)
        }
    seconds = {
        way.name: np.array(line.split("\t")[1:], np.float64)
        for way, line in zip(ways, printed.splitlines(), strict=True)
    }
    return answers, seconds


def _run(command: list[str]) -> str:
    """Return what a command prints."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _write(path: pathlib.Path, tensors: dict[str, np.ndarray]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, values in tensors.items():
            proto = named_tensor_pb2.NamedTensorProto(
                name=name, tensor=tf.make_tensor_proto(values)
            )
            writer.write(proto.SerializeToString())


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    protos = [
        named_tensor_pb2.NamedTensorProto.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path))
    ]
    return {proto.name: tf.make_ndarray(proto.tensor) for proto in protos}
