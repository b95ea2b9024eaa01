"""How it shows that a process of the cluster is gone."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from ecdctr_tf import command_line

# Characters of what TensorFlow says that are shown.
_SAID = 200
_SHOWN_AS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


class LostError(ConnectionError):
    """A process of the cluster is gone, and training cannot go on without."""


@contextlib.contextmanager
def noticed() -> Iterator[None]:
    """Raise a `LostError` where TensorFlow cannot reach a process."""
    try:
        yield
    except _SHOWN_AS as error:
        said = command_line.one_line(error)[:_SAID]
        raise LostError(
            "A process of the cluster is gone. Nothing of the window under way "
            "was published. Start the processes that have ended again: "
            "training goes on from the last state kept. "
            f"({type(error).__name__}: {said})"
        ) from error
