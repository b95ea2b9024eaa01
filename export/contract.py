"""What clients may rely on: signatures of an export, and how it is built."""

import pathlib
import typing
from collections.abc import Collection

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from ecdctr_tf import features
from ecdctr_tf.export import given_history, signatures

_CODE_OUTSIDE_THE_GRAPH = ("PyFunc", "EagerPyFunc", "PyFuncStateless")


def check(
    directory: str | pathlib.Path,
    spec: features.DataSpec,
    historical: Collection[str],
) -> None:
    """Make sure that a SavedModel has the signatures that were promised.

    Args:
      directory: the SavedModel.
      spec: the features of the model.
      historical: the features with history.

    Raises:
      ValueError: an input or output is missing, unexpected or of another type
        or rank, a signature answers another method, or the graph calls back
        into Python.
    """
    graph = meta_graph(directory)
    for name, wanted in _promised(spec, historical).items():
        have = _signature(graph.signature_def[name])
        if have != wanted:
            raise ValueError(
                f"The signature {name} should have {wanted}. Received: {have}"
            )
    called = sorted(operations(graph) & set(_CODE_OUTSIDE_THE_GRAPH))
    if called:
        raise ValueError(f"The graph calls back into Python: {called}")


class _Signature(typing.NamedTuple):
    """What a client may rely on."""

    # Name -> type and rank.
    inputs: dict[str, tuple[tf.DType, int]]
    outputs: dict[str, tuple[tf.DType, int]]
    # Name of an input that may be left out -> the shape that a server fills in.
    defaults: dict[str, tuple[int, ...]]
    method: str


def _promised(
    spec: features.DataSpec, historical: Collection[str]
) -> dict[str, _Signature]:
    """Return the signatures by name."""
    number, text = (tf.float32, 1), (tf.string, 1)
    promised = {
        signatures.EXAMPLES: _Signature(
            {"examples": text},
            _outputs(spec, 1),
            {},
            "",
        ),
        signatures.REGRESSION: _Signature(
            {"inputs": text}, {"outputs": number}, {}, ""
        ),
        signatures.CLASSIFICATION: _Signature(
            {"inputs": text},
            {"classes": (tf.string, 2), "scores": (tf.float32, 2)},
            {},
            "",
        ),
    }
    for name, by_user in ((signatures.DEFAULT, False), (signatures.RANK, True)):
        unsaid = signatures.defaults(spec, by_user)
        promised[name] = _Signature(
            {
                column: (tensor.dtype, tensor.shape.rank)
                for column, tensor in signatures.request(spec, by_user).items()
            },
            _outputs(spec, 1 + by_user),
            {column: tuple(tensor.shape) for column, tensor in unsaid.items()},
            "",
        )
    if historical:
        ids = signatures.request(spec)
        promised[signatures.EMBEDDINGS] = _Signature(
            {name: (ids[name].dtype, 1) for name in historical},
            {f"{name}_vector": (tf.float32, 2) for name in historical}
            | {f"{name}_known": number for name in historical},
            {name: (0,) for name in historical},
            "",
        )
    methods = signatures.METHODS
    return {
        name: wanted._replace(method=methods.get(name, signatures.PREDICT))
        for name, wanted in promised.items()
    }


def _outputs(
    spec: features.DataSpec, rank: int
) -> dict[str, tuple[tf.DType, int]]:
    """Return what scores come with, each of as many dimensions."""
    found = dict.fromkeys(signatures.OUTPUTS, (tf.float32, rank))
    if given_history.brought(spec):
        found[given_history.IGNORED] = (tf.int32, rank)
    return found


def _signature(found: meta_graph_pb2.SignatureDef) -> _Signature:
    return _Signature(
        {name: _described(info) for name, info in found.inputs.items()},
        {name: _described(info) for name, info in found.outputs.items()},
        {
            n: tf.make_ndarray(value).shape
            for n, value in found.defaults.items()
        },
        found.method_name,
    )


def _described(info: meta_graph_pb2.TensorInfo) -> tuple[tf.DType, int]:
    return tf.as_dtype(info.dtype), len(info.tensor_shape.dim)


def operations(graph: meta_graph_pb2.MetaGraphDef) -> set[str]:
    """Return the operations of a MetaGraphDef and of the functions in it."""
    nodes = list(graph.graph_def.node)
    for function in graph.graph_def.library.function:
        nodes.extend(function.node_def)
    return {node.op for node in nodes}


def meta_graph(directory: str | pathlib.Path) -> meta_graph_pb2.MetaGraphDef:
    """Return the MetaGraphDef of a SavedModel that is served.

    Raises:
      ValueError: no graph has the tag that servers look for.
    """
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(
        (pathlib.Path(directory) / "saved_model.pb").read_bytes()
    )
    for graph in model.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return graph
    raise ValueError(f"{directory} has no graph tagged 'serve'.")
