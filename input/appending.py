"""Days that come to a data directory that readers are at.

An append is made in a staging directory inside the data directory and moved in
at its end: first the vocabularies, which the new days need and the old ones can
do with, then the days in order, then the summary, and the state as the last.
Until the state is there, what came before it is leftovers to the next append.

A reader that has the vocabularies in memory already knows no ids of days that
came later; `Vocabulary.fingerprint` raises where that would matter.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator

from ecdctr_tf import features, store
from ecdctr_tf.input import conversion_state, data_directory

IDS = "ids"


@contextlib.contextmanager
def locked(directory: pathlib.Path) -> Iterator[None]:
    """Keep a data directory to one append at a time.

    Raises:
      BlockingIOError: another append is under way.
      FileNotFoundError: there is no data directory.
    """
    path = data_directory.DataDirectory(directory).path / data_directory.SPEC
    # The system gives the lock of a killed process back.
    with open(path, "rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"Days are being appended to {directory} by another process. "
                "Wait for its end, then give the command again."
            ) from error
        yield


@contextlib.contextmanager
def staged(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give an empty directory on the same disk; remove it on leaving."""
    staging = directory / f".staging-append-{uuid.uuid4().hex[:8]}"
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def clean(past: conversion_state.Past) -> None:
    """Make a data directory what it was when its state was published."""
    directory, spaces = past.data.path, past.id_spaces
    for domain in features.DOMAINS:
        last = past.last_days.get(domain, "")
        for day in reversed(past.data.days(domain)):
            if day > last:
                store.remove(directory / domain / day)
    for name, space in past.data.id_spaces.items():
        if space.rows > spaces[name].rows:
            spaces[name].save(directory / IDS)
    summary = (past.path / conversion_state.SUMMARY).read_text("utf-8")
    file = directory / conversion_state.SUMMARY
    if not file.exists() or file.read_text("utf-8") != summary:
        store.write_text(file, summary)
    _remove_states_before(directory, past.window.last)
    for place in ("", IDS, conversion_state.STATE, *features.DOMAINS):
        store.sweep(directory / place)


def move_in(staging: pathlib.Path, directory: pathlib.Path) -> None:
    """Move what an append made from its staging to the data directory."""
    store.sync(staging)
    for file in sorted(staging.glob(f"{IDS}/*")):
        os.replace(file, directory / IDS / file.name)
    days = [
        (day, domain)
        for domain in features.DOMAINS
        for day in store.dated(staging / domain)
    ]
    # By day: to readers the days of a domain have no holes at any time.
    for day, domain in sorted(days, key=lambda pair: pair[0]):
        (directory / domain).mkdir(exist_ok=True)
        os.rename(staging / domain / day, directory / domain / day)
    summary = conversion_state.SUMMARY
    os.replace(staging / summary, directory / summary)
    (day,) = store.dated(staging / conversion_state.STATE)
    state = pathlib.Path(conversion_state.STATE, day)
    os.rename(staging / state, directory / state)
    _remove_states_before(directory, day)


def _remove_states_before(directory: pathlib.Path, day: str) -> None:
    for older in store.dated(directory / conversion_state.STATE):
        if older < day:
            store.remove(directory / conversion_state.STATE / older)
