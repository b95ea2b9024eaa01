"""Days that come to a data directory that readers are at.

An append is made in a staging directory inside the data directory and moved in
at its end: first the vocabularies, which the new days need and the old ones can
do with, the specs if features have changed, then the days in order, then the
summary, and the state as the last. Until the state is there, what came before
it is leftovers to the next append.

Where days are exchanged, or a state of the same day is, what is new is complete
in `.pending` first, and then takes its places: `exchange`. Interrupted, it is
gone on with by the next command.

A reader that has the vocabularies in memory already knows no ids of days that
came later; `Vocabulary.fingerprint` raises where that would matter.
"""

import json
import os
import pathlib
import shutil

from ecdctr_tf import features, store
from ecdctr_tf.input import erased, expired, former_specs
from ecdctr_tf.input.conversion import state
from ecdctr_tf.input.data_directory import PENDING, SPEC

IDS = "ids"
# Former specs first: readers know the spec of each day at any time.
_SPECS = (former_specs.FILE, SPEC, erased.FILE, expired.FILE)


def begin(lock: store.Lock, past: state.Past, tables: str) -> None:
    """Note which append is about to be moved in, for who goes on if killed.

    Args:
      lock: of the data directory; keeps the note until the `with` block ends.
      past: what the append goes on from.
      tables: fingerprint of what is appended.
    """
    note = {"after": past.last_days, "tables": tables}
    lock.keep(json.dumps(note))


def finished(lock: store.Lock, past: state.Past) -> str:
    """Return the fingerprint of an append killed when all was in place.

    Args:
      lock: of the data directory.
      past: by its newest state.

    Returns:
      What the killed process gave to `begin`, or "" if there was none or it had
      not published its state yet.
    """
    try:
        note = json.loads(lock.note or "{}")
    except ValueError:
        note = {}
    if note.get("after", past.last_days) == past.last_days:
        lock.note = ""
        return ""
    return note["tables"]


def settle_specs(directory: pathlib.Path) -> None:
    """Take back the spec of an append that was killed before its state."""
    states = store.dated(directory / state.STATE, state.KIND)
    former = former_specs.load(directory)
    if not states or not former:
        return
    path = directory / state.STATE / states[-1]
    manifest = store.read_manifest(path, state.KIND)
    count = manifest.config.get(state.FORMER, 0)
    if len(former) > count:
        with store.replacing(directory / SPEC) as file:
            former[count].spec.save(file)
        former_specs.save(directory, former[:count])


def clean(past: state.Past) -> None:
    """Make a data directory what it was when its state was published."""
    directory, spaces = past.data.path, past.id_spaces
    for domain in features.DOMAINS:
        last = past.last_days.get(domain, "")
        for day in reversed(past.data.days(domain)):
            if day > last:
                store.remove(directory / domain / day)
    for name, space in past.on_disk.items():
        if space.rows > spaces[name].rows:
            spaces[name].save(directory / IDS)
    summary = (past.path / state.SUMMARY).read_bytes()
    file = directory / state.SUMMARY
    if not file.exists() or file.read_bytes() != summary:
        store.write_text(file, summary.decode())
    _remove_states_before(directory, past.window.last)
    for place in ("", IDS, state.STATE, *features.DOMAINS):
        store.sweep(directory / place)


def move_in(staging: pathlib.Path, directory: pathlib.Path) -> None:
    """Move what an append made from its staging to the data directory."""
    store.sync(staging)
    for file in sorted(staging.glob(f"{IDS}/*")):
        os.replace(file, directory / IDS / file.name)
    _place_specs(staging, directory)
    # Before the days that need them.
    store.sync_names(directory / IDS, directory)
    days = [
        (day, domain)
        for domain in features.DOMAINS
        for day in store.dated(staging / domain)
    ]
    # By day: to readers the days of a domain have no holes at any time.
    for day, domain in sorted(days, key=lambda pair: pair[0]):
        (directory / domain).mkdir(exist_ok=True)
        os.rename(staging / domain / day, directory / domain / day)
    summary = state.SUMMARY
    os.replace(staging / summary, directory / summary)
    # Before the state, which says that all is there.
    _sync_names(directory)
    (day,) = store.dated(staging / state.STATE)
    newest = pathlib.Path(state.STATE, day)
    os.rename(staging / newest, directory / newest)
    store.sync_names(directory / state.STATE)
    _remove_states_before(directory, day)


def exchange(staging: pathlib.Path, directory: pathlib.Path) -> None:
    """Let what is in a staging directory take the places of what is held."""
    store.sync(staging)
    os.rename(staging, directory / PENDING)
    store.sync_names(directory)
    go_on(directory)


def go_on(directory: pathlib.Path) -> None:
    """Finish an exchange that was interrupted, if there is one."""
    pending = directory / PENDING
    if not pending.is_dir():
        return
    for file in sorted(pending.glob(f"{IDS}/*")):
        os.replace(file, directory / IDS / file.name)
    _place_specs(pending, directory)
    for domain in features.DOMAINS:
        for day in store.dated(pending / domain):
            place = directory / domain / day
            place.parent.mkdir(exist_ok=True)
            if place.exists():
                store.remove(place)
            os.rename(pending / domain / day, place)
    if (pending / state.SUMMARY).exists():
        os.replace(pending / state.SUMMARY, directory / state.SUMMARY)
    for day in store.dated(pending / state.STATE):
        for older in store.dated(directory / state.STATE, state.KIND):
            store.remove(directory / state.STATE / older)
        newest = pathlib.Path(state.STATE, day)
        os.rename(pending / newest, directory / newest)
    # Before what they came from is gone.
    _sync_names(directory)
    shutil.rmtree(pending)


def _sync_names(directory: pathlib.Path) -> None:
    names = (IDS, state.STATE, *features.DOMAINS)
    there = filter(pathlib.Path.is_dir, (directory / name for name in names))
    store.sync_names(*there, directory)


def _place_specs(source: pathlib.Path, directory: pathlib.Path) -> None:
    for name in _SPECS:
        if (source / name).exists():
            os.replace(source / name, directory / name)


def _remove_states_before(directory: pathlib.Path, day: str) -> None:
    for older in store.dated(directory / state.STATE, state.KIND):
        if older < day:
            store.remove(directory / state.STATE / older)
