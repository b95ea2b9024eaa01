"""The compiled lookup and updates of `row_updates.cc`, where they can be had.

The source is compiled once for a machine and a TensorFlow, when it is first
used, and kept in the user's cache directory. Without a C++ compiler layers and
optimizers do the same with TensorFlow's own ops, more slowly. The ops are part
of training only: an exported model never holds one.
"""

import functools
import hashlib
import logging
import os
import pathlib
import shutil
import subprocess
import tempfile

import tensorflow as tf

_SOURCE = pathlib.Path(__file__).with_suffix(".cc")
# Sums may be vectorised, as those of TensorFlow's own ops are.
_FLAGS = (
    "-fassociative-math",
    "-fno-signed-zeros",
    "-fno-trapping-math",
    "-fno-math-errno",
)
# Set to "off", layers and optimizers use TensorFlow's own ops.
SWITCH = "ECDCTR_TF_COMPILED"


def usable(variable: tf.Variable) -> bool:
    """Return whether the compiled ops can be used on a variable.

    They are for float32 tables in the memory of this process, outside of
    `tf.distribute` strategies.
    """
    return (
        variable.dtype == tf.float32
        and variable.shape.rank == 2
        and "GPU" not in variable.device
        and not tf.distribute.has_strategy()
        and load() is not None
    )


def lookup(
    table: tf.Variable, numbers: tf.Tensor, known: tf.Tensor
) -> tf.Tensor:
    """Return rows of a table for which `usable` is true, with gradient.

    Args:
      table: float32 `[V, D]`.
      numbers: int32 `[N]` rows.
      known: int32; numbers outside of `[0, known)` read row 0.

    Returns:
      float32 `[N, D]`.
    """
    # A read that tapes notice, of no rows: they do not know of our op.
    table.sparse_read(numbers[:0])
    vectors, _ = load().ecdctr_lookup(table.handle, numbers, known)
    return tf.ensure_shape(vectors, [numbers.shape[0], table.shape[1]])


@tf.RegisterGradient("EcdctrLookup")
def _lookup_gradient(operation, vectors, rows):
    """Return the gradient of the table, a row each; none of the numbers."""
    del rows
    table, _, _ = operation.inputs
    shape = tf.raw_ops.VariableShape(input=table)
    return tf.IndexedSlices(vectors, operation.outputs[1], shape), None, None


@functools.cache
def load():
    """Return the module of the compiled ops; None where there is none."""
    if os.environ.get(SWITCH) == "off":
        return None
    try:
        return tf.load_op_library(str(_compiled()))
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        logging.warning(
            "The compiled optimizers cannot be used here, training will be "
            "slower: %s",
            error,
        )
        return None


def _compiled() -> pathlib.Path:
    """Return the compiled library, made if need be.

    Raises:
      OSError, RuntimeError: it cannot be made; the message has the reason.
    """
    flags = tf.sysconfig.get_compile_flags() + tf.sysconfig.get_link_flags()
    made_of = [_SOURCE.read_text(encoding="utf-8"), tf.__version__, *_FLAGS]
    made_of += flags
    key = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    library = pathlib.Path(cache) / "ecdctr_tf" / f"row_updates-{key}.so"
    if library.exists():
        return library
    compilers = filter(None, map(shutil.which, ("c++", "g++", "clang++")))
    compiler = next(compilers, None)
    if compiler is None:
        raise FileNotFoundError("there is no C++ compiler (c++, g++, clang++)")
    library.parent.mkdir(parents=True, exist_ok=True)
    logging.info("Compiling %s, once for this TensorFlow", _SOURCE.name)
    with tempfile.TemporaryDirectory(dir=library.parent) as directory:
        staging = pathlib.Path(directory) / library.name
        command = [compiler, "-shared", "-fPIC", "-O3", "-w", *_FLAGS]
        command += [str(_SOURCE), "-o", str(staging), *flags]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{compiler} failed:\n{done.stderr[-2000:]}")
        staging.replace(library)
    return library
