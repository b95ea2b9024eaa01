"""What clients may rely on: signatures of an export, and how it is built."""

import pathlib

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from ecdctr_tf import features
from ecdctr_tf.export import signatures

_CODE_OUTSIDE_THE_GRAPH = ("PyFunc", "EagerPyFunc", "PyFuncStateless")


def check(directory: str | pathlib.Path, spec: features.DataSpec) -> None:
    """Make sure that a SavedModel has the signatures that were promised.

    Raises:
      ValueError: an input or output is missing, unexpected or of another type
        or rank, or the graph calls back into Python.
    """
    graph = meta_graph(directory)
    strings = tf.TensorSpec([None], tf.string)
    promised = {
        signatures.DEFAULT: signatures.request(spec),
        signatures.EXAMPLES: {"examples": strings},
    }
    number = tf.TensorSpec([None], tf.float32)
    outputs = dict.fromkeys(signatures.OUTPUTS, number)
    for name, inputs in promised.items():
        for tensors, wanted in (
            (graph.signature_def[name].inputs, inputs),
            (graph.signature_def[name].outputs, outputs),
        ):
            have = {k: _described(i) for k, i in tensors.items()}
            want = {k: (s.dtype, s.shape.rank) for k, s in wanted.items()}
            if have != want:
                raise ValueError(
                    f"The signature {name} should have {want}. Received: {have}"
                )
    unsaid = graph.signature_def[signatures.DEFAULT].defaults
    have = {n: tf.make_ndarray(value).shape for n, value in unsaid.items()}
    want = {n: tuple(t.shape) for n, t in signatures.defaults(spec).items()}
    if have != want:
        raise ValueError(
            f"Requests to {signatures.DEFAULT} should be able to leave out "
            f"{want}. Received: {have}"
        )
    called = sorted(operations(graph) & set(_CODE_OUTSIDE_THE_GRAPH))
    if called:
        raise ValueError(f"The graph calls back into Python: {called}")


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
