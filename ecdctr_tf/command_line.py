"""How commands end: with one line for bad input or a fault of the machine."""

import contextlib
import errno
import os
import re
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import NoReturn

from ecdctr_tf import termination

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
_STDERR = 2
# What to do about errors of the machine.
_ADVICE = {
    errno.ENOSPC: "Free space on the disk",
    errno.EDQUOT: "Free space in your quota",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "Raise the machine's limit of open files",
    errno.EACCES: "Check the permissions there",
    errno.EPERM: "Check the permissions there",
    errno.EROFS: "Choose another directory",
}
# Lines of TensorFlow's messages that say where in a graph, not what.
_WHERE = re.compile(
    r"^(Graph execution error|Detected at|\s*File |<stack|\s*\[\[|"
    r"Original stack|Errors? may have originated|\d+ root error)"
)


@contextlib.contextmanager
def reported(verbose: bool = False) -> Iterator[None]:
    """End the process with one line where a command fails.

    Bad input and faults of the machine exit with 1, Ctrl-C with 130, SIGTERM
    with 143, and errors that have an `exit_status` with that.

    Args:
      verbose: whether to raise errors on, for a whole traceback.

    Raises:
      SystemExit: after the line was printed.
    """
    interrupted = []

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        interrupted.append(number)
        signal.default_int_handler(number, frame)

    def terminate(number: int, frame: types.FrameType | None) -> None:
        interrupted.append(number)
        termination.handle(number, frame)

    with (
        _handler(signal.SIGINT, interrupt),
        _handler(signal.SIGTERM, terminate),
    ):
        try:
            yield
        except (
            Exception,
            KeyboardInterrupt,
            termination.Terminated,
        ) as error:
            # What was running may have turned the signal into another error.
            if isinstance(error, KeyboardInterrupt):
                interrupted.insert(0, signal.SIGINT)
            if interrupted:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
                asked = interrupted[0] == signal.SIGTERM
                _exit(
                    f"{'Terminated' if asked else 'Interrupted'}. Run the same "
                    "command again to continue.",
                    TERMINATED if asked else INTERRUPTED,
                )
            status = getattr(error, "exit_status", 0)
            if not status and (verbose or not expected(error)):
                raise
            _exit(f"error: {one_line(error)}", status or 1)


@contextlib.contextmanager
def ending_at_once(wanted: bool) -> Iterator[None]:
    """End the process with the `with` block, as it ends or exits.

    TensorFlow would first take leave of the other processes of a cluster, and
    wait for ever for those that are gone.

    Args:
      wanted: False does nothing.
    """
    if not wanted:
        yield
        return
    status = 0
    try:
        yield
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextlib.contextmanager
def quiet_start(verbose: bool = False) -> Iterator[None]:
    """Keep TensorFlow's start-up lines off the terminal while it is imported.

    It writes them to the file of the standard error, before its log levels
    are set. Exceptions still pass.
    """
    if verbose:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line, with advice where there is."""
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        advice = _ADVICE.get(error.errno)
        advice = f". {advice}, then run the command again." if advice else ""
        return f"{error.strerror}{place}{advice}"
    if isinstance(error, MemoryError):
        return "There is not enough memory."
    lines = [line for line in str(error).splitlines() if line.strip()]
    if _of_tensorflow(error):
        lines = [line for line in lines if not _WHERE.match(line)][:1]
        lines = [re.sub(r"\{\{.*?\}\}\s*", "", line) for line in lines]
    return " ".join(" ".join(lines).split()) or type(error).__name__


def expected(error: BaseException) -> bool:
    """Return whether an error comes from input or machine, not from a bug."""
    kinds = (OSError, ValueError, MemoryError, ImportError)
    return isinstance(error, kinds) or _of_tensorflow(error)


def _of_tensorflow(error: BaseException) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(
        error, tensorflow.errors.OpError
    )


@contextlib.contextmanager
def _handler(
    number: signal.Signals,
    interrupt: Callable[[int, types.FrameType | None], None],
) -> Iterator[None]:
    """Handle a signal, unless it is ignored or this is not the main thread."""
    before = signal.getsignal(number)
    ours = (
        before is not signal.SIG_IGN
        and threading.current_thread() is threading.main_thread()
    )
    if ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        if ours and signal.getsignal(number) is interrupt:
            signal.signal(number, before)


def _exit(line: str, status: int) -> NoReturn:
    _close_bars()
    print(line, file=sys.stderr, flush=True)
    sys.exit(status)


def _close_bars() -> None:
    """Close progress bars, which would be drawn again at the very end."""
    if "tqdm" in sys.modules:
        for bar in list(sys.modules["tqdm"].tqdm._instances):
            bar.close()
