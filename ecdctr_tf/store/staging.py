"""Files and directories that readers see whole or not at all.

Everything is written under a temporary name beside its place and renamed. While
its writer lives, what has such a name is held by an `flock`, which the system
releases when the process ends, however it ends. So `sweep` can tell what a
killed writer left behind from what another one is writing. On file systems
without such locks nothing is held, and `sweep` leaves everything where it is.
"""

import contextlib
import ctypes
import fcntl
import glob
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterator

_PREFIX = ".staging-"
# Of `renameat2`: paths are as of the working directory; names are exchanged.
_HERE, _EXCHANGE = -100, 2


@contextlib.contextmanager
def staged(place: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Give a new directory beside a place, for the caller to rename.

    Args:
      place: its parent has to exist.

    Yields:
      The empty directory. It is removed at the end unless it was renamed.
    """
    staging, descriptor = _new(pathlib.Path(place), pathlib.Path.mkdir)
    try:
        yield staging
    finally:
        try:
            if staging.exists():
                shutil.rmtree(staging, ignore_errors=True)
        finally:
            _release(descriptor)


@contextlib.contextmanager
def replacing(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Give a new file to write, which takes the place of another at the end.

    Args:
      path: the place; its parents are made.

    Yields:
      The empty file. It is removed if there is an error.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    staging, descriptor = _new(path, pathlib.Path.touch)
    try:
        yield staging
        _sync(staging)
        os.replace(staging, path)
        sync_names(path.parent)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    finally:
        _release(descriptor)


def write_text(path: str | pathlib.Path, text: str) -> None:
    """Write a file that readers see whole or not at all."""
    with replacing(path) as staging:
        staging.write_text(text, encoding="utf-8")


def link(source: pathlib.Path, target: pathlib.Path) -> None:
    """Give a file that never changes a second place; a copy if need be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sync(directory: pathlib.Path) -> None:
    """Make a directory with all in it survive a power cut after a rename."""
    for path in directory.rglob("*"):
        _sync(path)
    _sync(directory)


def sync_names(*directories: pathlib.Path) -> None:
    """Make renames into directories survive a power cut."""
    for directory in directories:
        _sync(directory)


def remove(path: pathlib.Path) -> None:
    """Remove an artefact, which readers see whole until it is gone."""
    descriptor = _hold(path)
    try:
        doomed = path.with_name(_temporary(path.name))
        os.rename(path, doomed)
        shutil.rmtree(doomed)
    finally:
        _release(descriptor)


def swap(staging: pathlib.Path, path: pathlib.Path) -> None:
    """Let two directories change places, at one moment where the system can.

    Where it cannot, nothing is at `path` for a moment.
    """
    if _exchange(os.fsencode(staging), os.fsencode(path)):
        doomed = path.with_name(_temporary(path.name))
        os.rename(path, doomed)
        os.rename(staging, path)
        os.rename(doomed, staging)
    sync_names(path.parent)


def _exchange(one: bytes, other: bytes) -> int:
    """Exchange two names as `renameat2` does; return 0 if that was done."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return -1
    return renameat2(_HERE, one, _HERE, other, _EXCHANGE)


def sweep(directory: str | pathlib.Path, name: str = "") -> None:
    """Remove what killed writers left behind in a directory.

    Args:
      directory: looked into; not its subdirectories.
      name: of the place that was written; empty for all.
    """
    for leftover in leftovers(directory, name):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def leftovers(
    directory: str | pathlib.Path, name: str = ""
) -> Iterator[pathlib.Path]:
    """Yield what killed writers left behind; arguments as of `sweep`.

    What is yielded is held until the next one is asked for.
    """
    pattern = f"{_PREFIX}{glob.escape(f'{name}-') if name else ''}*"
    for leftover in pathlib.Path(directory).glob(pattern):
        try:
            descriptor = _hold(leftover)
        except OSError:
            continue  # Its writer lives, or another sweep was faster.
        if descriptor is None:
            continue
        try:
            yield leftover
        finally:
            _release(descriptor)


def _new(
    place: pathlib.Path, make: Callable[[pathlib.Path], None]
) -> tuple[pathlib.Path, int | None]:
    """Return a temporary path beside a place, made and held."""
    while True:
        staging = place.with_name(_temporary(place.name))
        make(staging)
        try:
            return staging, _hold(staging)
        except (BlockingIOError, FileNotFoundError):
            continue  # A sweep found it before it was held.


def _temporary(name: str) -> str:
    return f"{_PREFIX}{name}-{uuid.uuid4().hex[:8]}"


def _hold(path: pathlib.Path) -> int | None:
    """Lock a file or directory until `_release`.

    Returns:
      A descriptor; None where the file system has no such locks.

    Raises:
      BlockingIOError: another writer holds it.
      FileNotFoundError: it is no longer there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), os.stat(path)):
            raise FileNotFoundError(f"{path} was replaced.")
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _release(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
