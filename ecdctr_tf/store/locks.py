"""One writer at a time for a directory."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import typing
from collections.abc import Iterator

NAME = ".lock"


class TakenError(ValueError):
    """Another process holds a lock, and will be finished some time."""


@dataclasses.dataclass
class Lock:
    """A lock that this process holds."""

    descriptor: int
    # What its owner is doing, as in "training the TPM".
    what: str
    # Text that outlives a killed owner: the next one reads it here.
    note: str = ""

    def keep(self, note: str) -> None:
        """Set the note; a `with` block that ends without error clears it."""
        self.note = note
        owner = {"pid": os.getpid(), "what": self.what, "note": note}
        text = json.dumps(owner).encode()
        os.pwrite(self.descriptor, text, 0)
        os.ftruncate(self.descriptor, len(text))


@contextlib.contextmanager
def lock(
    directory: str | pathlib.Path, what: str, name: str = NAME
) -> Iterator[Lock]:
    """Keep other writers out of a directory.

    The lock is an `flock` on a file, which the system releases when its owner
    ends, however it ends. The file is removed at the end of the `with` block.

    Args:
      directory: made if need be.
      what: what this process is about to do, as in "training the TPM"; shown to
        the process that finds the lock taken.
      name: of the file.

    Raises:
      TakenError: another process, or this one, holds the lock.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / name
    descriptor = _take(file)
    held = Lock(descriptor, what, _owner(descriptor).get("note", ""))
    try:
        held.keep(held.note)
        yield held
        held.note = ""
    finally:
        try:
            if not held.note:
                file.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _take(file: pathlib.Path) -> int:
    """Return the descriptor of a file that is locked now."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The owner before may have removed the file meanwhile.
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError as error:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise TakenError(_taken(file.parent, owner)) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _owner(descriptor: int) -> dict[str, typing.Any]:
    """Return what the owner of a lock says about itself."""
    try:
        found = json.loads(os.pread(descriptor, 1 << 16, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _taken(directory: pathlib.Path, owner: dict[str, typing.Any]) -> str:
    pid, what = owner.get("pid", "unknown"), owner.get("what", "writing")
    if pid == os.getpid():
        return (
            f"This process (pid {pid}) is already {what} in {directory}. "
            "Wait for it to finish before writing there again."
        )
    return (
        f"{directory} is in use by another process (pid {pid}), which is "
        f"{what}. Wait until it has finished, or stop it, then run this "
        "command again."
    )
