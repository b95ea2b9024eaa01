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
import typing
from collections.abc import Iterable

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
        not tf.distribute.has_strategy()
        and variable.dtype == tf.float32
        and variable.shape.rank == 2
        and "GPU" not in variable.device
        and load() is not None
    )


def lookup(
    tables: list[tf.Variable], numbers: list[tf.Tensor], known: list[tf.Tensor]
) -> list[tf.Tensor]:
    """Return rows of tables for which `usable` is true, with gradients.

    Args:
      tables: float32 `[V, D]` each.
      numbers: int32 `[N]` rows of each table.
      known: int32 of each table; numbers outside of `[0, known)` read row 0.

    Returns:
      float32 `[N, D]` of each table.
    """
    for table, rows in zip(tables, numbers, strict=True):
        # A read that tapes notice, of no rows: they do not know of our op.
        table.sparse_read(rows[:0])
    handles = [table.handle for table in tables]
    vectors, _ = load().ecdctr_lookup(handles, numbers, known)
    return [
        tf.ensure_shape(read, [rows.shape[0], table.shape[1]])
        for read, rows, table in zip(vectors, numbers, tables, strict=True)
    ]


@tf.RegisterGradient("EcdctrLookup")
def _lookup_gradient(
    operation: tf.Operation, *gradients: tf.Tensor
) -> list[tf.IndexedSlices | None]:
    """Return the gradients of the tables, a row each; none of the numbers."""
    count = operation.get_attr("N")
    slices = [
        tf.IndexedSlices(vectors, rows, tf.raw_ops.VariableShape(input=table))
        for table, vectors, rows in zip(
            operation.inputs[:count],
            gradients[:count],
            operation.outputs[count:],
            strict=True,
        )
    ]
    return slices + [None] * (2 * count)


@functools.cache
def load() -> typing.Any:
    """Return the module of the compiled ops; None where there is none."""
    if os.environ.get(SWITCH) == "off":
        return None
    try:
        return tf.load_op_library(str(_compiled()))
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        logging.warning(
            "The compiled optimizers cannot be used, so training will be "
            "slower: %s",
            error,
        )
        return None


def _compiled() -> pathlib.Path:
    """Return the compiled library, made if need be.

    The name of the library has a hash of its bytes, so that one that a power
    cut or a full disk damaged is not loaded, but compiled again. So is one that
    another user may have written.

    Raises:
      OSError, RuntimeError: it cannot be made; the message has the reason.
    """
    flags = tf.sysconfig.get_compile_flags() + tf.sysconfig.get_link_flags()
    made_of = [_SOURCE.read_text(encoding="utf-8"), tf.__version__, *_FLAGS]
    made_of += flags
    key = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    directory = pathlib.Path(cache) / "ecdctr_tf"
    _make_private(directory)
    name = f"{_SOURCE.stem}-{key}"
    for library in directory.glob(f"{name}*.so"):
        whole = library.name == f"{name}-{_hash(library)}.so"
        if whole and _ours(library.lstat()):
            return library
        library.unlink(missing_ok=True)
    return _compile(directory, name, flags)


def _make_private(directory: pathlib.Path) -> None:
    """Make the cache directory, or check that nobody else can write to it.

    Raises:
      OSError: it cannot be made.
      RuntimeError: another user could have put a library there.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _ours(directory.stat()):
        raise RuntimeError(
            f"{directory} belongs to another user or is writable by others. "
            "Delete it, or set XDG_CACHE_HOME to another directory."
        )


def _ours(found: os.stat_result) -> bool:
    """Return whether nobody else can write to a file or directory."""
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _compile(
    directory: pathlib.Path, name: str, flags: Iterable[str]
) -> pathlib.Path:
    """Return a new library in a directory; its name begins with `name`."""
    compilers = filter(None, map(shutil.which, ("c++", "g++", "clang++")))
    compiler = next(compilers, None)
    if compiler is None:
        raise FileNotFoundError("there is no C++ compiler (c++, g++, clang++)")
    logging.info(
        "Compiling %s, once for this version of TensorFlow", _SOURCE.name
    )
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        staging = pathlib.Path(temporary) / f"{name}.so"
        command = [compiler, "-shared", "-fPIC", "-O3", "-w", *_FLAGS]
        command += [str(_SOURCE), "-o", str(staging), *flags]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{compiler} failed:\n{done.stderr[-2000:]}")
        with open(staging, "rb") as file:
            os.fsync(file.fileno())
        staging.chmod(0o700)
        library = directory / f"{name}-{_hash(staging)}.so"
        return staging.replace(library)


def _hash(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
