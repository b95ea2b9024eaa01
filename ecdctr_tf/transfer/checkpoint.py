"""TensorFlow checkpoints under stable names.

A variable is named by its path in the object graph, such as
`embedding/tables/user/embeddings`: variable names of Keras change from one
instance to the next, attribute names do not.
"""

import pathlib
import typing

import numpy as np
import tensorflow as tf

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
# A model sets them from the id spaces of its own data; they never travel.
_NOT_KEPT = ("vocab_size", "unknown_rows")


def named_variables(parts: dict) -> dict[str, tf.Variable]:
    """Return the variables of layers by their path in the object graph.

    Args:
      parts: name -> layer or other trackable object.
    """
    found: dict[str, tf.Variable] = {}
    seen: dict[int, object] = {}  # By identity; kept, so that none is reused.

    def visit(trackable: typing.Any, path: str) -> None:
        if id(trackable) in seen:
            return
        seen[id(trackable)] = trackable
        # A table may lie on several parameter servers.
        sharded = getattr(trackable, "is_sharded_variable", False)
        if sharded or isinstance(trackable, tf.Variable):
            if path.split("/")[-1] not in _NOT_KEPT:
                found[path] = trackable
            return
        # Private attributes too: the cross layer keeps its weights in one.
        children = tf.train.TrackableView.children(trackable)
        for name in sorted(children):
            visit(children[name], f"{path}/{name}")

    for name in sorted(parts):
        visit(parts[name], name)
    return found


def optimizer_variables(
    **optimizers: tf.keras.optimizers.Optimizer,
) -> dict[str, tf.Variable]:
    """Return the state of optimizers, named by optimizer and order."""
    return {
        f"{name}/{i}": variable
        for name, optimizer in optimizers.items()
        for i, variable in enumerate(optimizer.variables)
    }


class NotFiniteError(ValueError):
    """A weight is infinite or not a number."""


def check_finite(variables: dict) -> None:
    """Make sure that all numbers are finite.

    Args:
      variables: name -> variable or array.

    Raises:
      NotFiniteError: some are not; the message names the first variables.
    """
    bad = [name for name, value in variables.items() if not _finite(value)]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise NotFiniteError(
            f"{', '.join(bad[:3])}{more} hold values that are infinite or not "
            "numbers."
        )


def _finite(value: tf.Variable | np.ndarray) -> bool:
    kind = value.dtype
    if not tf.as_dtype(kind).is_floating:
        return True
    return bool(tf.reduce_all(tf.math.is_finite(value)))


def write(prefix: str | pathlib.Path, variables: dict) -> None:
    """Write variables as a TensorFlow checkpoint `<prefix>.index`, `.data-*`.

    Args:
      prefix: path of the checkpoint, without the ending.
      variables: name, with `/` between its parts -> variable or array.

    Raises:
      NotFiniteError: a number is not finite; nothing is written.
    """
    check_finite(variables)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        # As `tf.train.Checkpoint` names them, which takes four times as long.
        tensor_names=[n.replace(".", "..") + _SUFFIX for n in variables],
        shape_and_slices=[""] * len(variables),
        tensors=[tf.convert_to_tensor(v) for v in variables.values()],
    )


def read(prefix: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Return the arrays of a checkpoint by name.

    Raises:
      FileNotFoundError: there is no checkpoint at `prefix`.
      ValueError: it cannot be read.
    """
    if not pathlib.Path(f"{prefix}.index").exists():
        raise FileNotFoundError(f"There is no checkpoint {prefix}.index.")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        return {
            # Names are written with two dots for one.
            key.removesuffix(_SUFFIX).replace("..", "."): reader.get_tensor(key)
            for key in reader.get_variable_to_shape_map()
            if key.endswith(_SUFFIX)
        }
    except (tf.errors.OpError, RuntimeError, IndexError) as error:
        raise ValueError(
            f"The checkpoint {prefix} cannot be read. Delete its directory to "
            f"rebuild it. ({str(error).splitlines()[0]})"
        ) from error
