"""SIGTERM: work ends at the next moment from which it can be gone on with.

Where nothing else is said, `Terminated` is raised at once. Code that can keep
its state first asks for it inside of `deferred`.
"""

import contextlib
import types
from collections.abc import Callable, Iterator


class Terminated(BaseException):
    """The process was asked to end. Like Ctrl-C, this is not an error."""


# Of the main thread, in which signals are handled.
_deferring = False
_asked = False


def handle(number: int, frame: types.FrameType | None) -> None:
    """Handle SIGTERM.

    Raises:
      Terminated: unless it is deferred.
    """
    global _asked
    del number, frame
    _asked = True
    if not _deferring:
        raise Terminated


def asked() -> bool:
    """Return whether the process was asked to end and has not done so yet."""
    return _asked


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Let the `with` block end by itself where the process is asked to end.

    Yields:
      A function that returns whether it is.

    Raises:
      Terminated: at the end of the block, if it is.
    """
    global _asked, _deferring
    before, _deferring, _asked = _deferring, True, False
    try:
        yield lambda: _asked
    finally:
        _deferring = before
    if _asked:
        _asked = False
        raise Terminated
