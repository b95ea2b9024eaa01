"""Directories that are held while ids are taken out of them."""

import contextlib
import pathlib
from collections.abc import Iterator

from ecdctr_tf import store
from ecdctr_tf.erasure import runs
from ecdctr_tf.input.conversion import erasing


@contextlib.contextmanager
def held(
    data_dir: pathlib.Path,
    workdir: pathlib.Path,
    export_dir: pathlib.Path,
    doing: str,
) -> Iterator[None]:
    """Hold the locks of all writers; finish exchanges that were interrupted.

    Args:
      data_dir: the data directory.
      workdir: the work directory.
      export_dir: the base path of the served model; need not exist.
      doing: says in messages what is done there.

    Raises:
      FileNotFoundError: there is no data directory.
      ValueError: another process is at work.
    """
    with contextlib.ExitStack() as locks:
        locks.enter_context(erasing.opened(data_dir, doing))
        for directory in _written(workdir, export_dir, data_dir):
            locks.enter_context(store.lock(directory, doing))
        runs.go_on(workdir)
        # Killed exchanges leave parts of what they removed.
        for directory in _written(workdir, export_dir, data_dir):
            store.sweep(directory)
        store.sweep(workdir)
        yield


def _written(
    workdir: pathlib.Path, export_dir: pathlib.Path, data_dir: pathlib.Path
) -> list[pathlib.Path]:
    """Return the directories that are locked while others write there."""
    found = {place.parent for place in runs.places(workdir)}
    # Of levels that have published nothing yet.
    found |= {file.parent.resolve() for file in workdir.rglob(".lock")}
    if export_dir.is_dir():
        found.add(export_dir.resolve())
    # That one is held already, wherever it lies.
    return sorted(found - {data_dir.resolve()})
