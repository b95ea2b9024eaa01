"""The state of a conversion without some users.

Later days are converted as if these users had never been seen. What was counted
of items, and when each was first seen, says nothing of whom; it stays.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from ecdctr_tf import features, store
from ecdctr_tf.input import id_space
from ecdctr_tf.input.conversion import encoding, key_arrays, tally

_USER_BITS = 32
_USER = f"tail/{encoding.USER}"
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Gone:
    """What is to be forgotten."""

    # Raw ids, of the type of their table.
    ids: pa.Array
    # The feature that says who saw what, and its table.
    role: str
    table: features.TableSpec
    # Name of a count -> the features that it counts.
    counts: Mapping[str, Sequence[str]]


def keys(directory: pathlib.Path, gone: Gone) -> np.ndarray:
    """Return the keys of users in the parts of a state; see `encoding`."""
    return _keys(read(directory / f"keys-{gone.role}.npz"), gone)[1]


def forget(
    source: pathlib.Path,
    target: pathlib.Path,
    gone: Gone,
    rows: Mapping[str, int],
    clicks: Mapping[str, int],
) -> tally.Tally:
    """Write the parts of a state without some users.

    Args:
      source: where the parts lie.
      target: where to; exists. Parts that know no users are linked.
      gone: who.
      rows: domain -> rows that go of the days that the state has seen.
      clicks: domain -> clicks that go.

    Returns:
      The tally of what is left.
    """
    left = tally.Tally()
    users = keys(source, gone)
    for file in sorted(source.glob("*.npz")):
        found, name = read(file), file.stem
        if name == "summary":
            left.restore(found)
            left.forget(users, rows, clicks)
            found = left.arrays()
        elif name == f"keys-{gone.role}":
            found, _ = _keys(found, gone)
        elif name == f"waiting-{gone.table.name}":
            found = _waiting(found, gone)
        elif name == "seen_pairs":
            pairs = found["pairs"]
            there = ~np.isin(pairs >> _USER_BITS, users)
            found = {"pairs": pairs[there]}
        elif name.startswith("history-"):
            found = _history(found, users)
        elif name.startswith("negatives-") and found:
            there = ~np.isin(found[_USER], users)
            found = {name: column[there] for name, column in found.items()}
        elif name.startswith("count-"):
            of = gone.counts[count_of(file)]
            if gone.role in of:
                found = _count(found, of, gone.role, users)
        else:
            store.link(file, target / file.name)
            continue
        arrays: dict = found
        np.savez(target / file.name, **arrays)
    return left


def _keys(arrays: Arrays, gone: Gone) -> tuple[Arrays, np.ndarray]:
    """Return the ids without those of users, and the keys of these."""
    vocabulary = id_space.Vocabulary(
        features.TableSpec(gone.role, dtype=gone.table.dtype)
    )
    vocabulary.restore(arrays)
    rows = vocabulary.unassign(gone.ids)
    return vocabulary.arrays(), rows - 1


def _waiting(arrays: Arrays, gone: Gone) -> Arrays:
    """Return ids that wait for `min_count` events, without those of users."""
    found, users = _keys(arrays, gone)
    counts = arrays["counts"].copy()
    counts[users + 1] = 0
    return {**found, "counts": counts}


def _history(arrays: Arrays, users: np.ndarray) -> Arrays:
    held = arrays["held"].copy()
    owners = np.repeat(np.arange(len(held)), held)
    items = arrays["items"][~np.isin(owners, users)]
    held[users[users < len(held)]] = 0
    return {"held": key_arrays.trimmed(held, 0), "items": items}


def _count(
    arrays: Arrays, of: Sequence[str], role: str, users: np.ndarray
) -> Arrays:
    """Return the counts of values of features of which one says the user."""

    def stays(of_values: np.ndarray) -> np.ndarray:
        if len(of) > 1 and of[0] == role:
            return ~np.isin(of_values >> _USER_BITS, users)
        return ~np.isin(of_values & (2**_USER_BITS - 1), users)

    return kept_counts(arrays, stays)


def kept_counts(
    arrays: Arrays, stays: Callable[[np.ndarray], np.ndarray]
) -> Arrays:
    """Return the state of a count with some of its keys only.

    Args:
      arrays: of `history_features.DayCounts`.
      stays: keys, int64 `[K]` -> whether each stays.
    """
    now, of_days = stays(arrays["keys"]), stays(arrays["day_keys"])
    days = np.repeat(np.arange(len(arrays["sizes"])), arrays["sizes"])
    sizes = np.bincount(days[of_days], minlength=len(arrays["sizes"]))
    return {
        "keys": arrays["keys"][now],
        "counts": arrays["counts"][now],
        "days": arrays["days"],
        "sizes": sizes.astype(np.int64),
        "day_keys": arrays["day_keys"][of_days],
        "day_counts": arrays["day_counts"][of_days],
    }


def count_of(file: pathlib.Path) -> str:
    """Return the name of the count that a file of a state holds."""
    return file.stem.split("-", 1)[1].rpartition("-")[0]


def read(file: pathlib.Path) -> Arrays:
    """Return the arrays of a part of a state."""
    with np.load(file) as found:
        return {name: found[name] for name in found.files}
