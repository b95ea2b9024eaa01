"""The state of a conversion without the ids that have expired.

Users and items have keys of their own there, which are numbered anew, too.
What was known of an id that is gone goes: if it comes up again, it is new. So
an item that is gone stands among nobody's clicks any more.

Shapes: K keys, of which L are left.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from ecdctr_tf import features, store
from ecdctr_tf.input import expired, id_space
from ecdctr_tf.input.conversion import (
    alive,
    encoding,
    forgetting,
    key_arrays,
    negatives,
    renumbered_days,
    tally,
)

_BITS = 32
_TAIL = "tail/"
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Left:
    """What is left of the ids of a data directory."""

    spec: features.DataSpec
    # Table -> the ids that stay; also of those that have no row.
    ids: Mapping[str, pa.Array]
    # Table -> new numbers of its rows.
    tables: dict[str, expired.Renumbering]
    # Name of a count -> the features that it counts.
    counts: Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class _Keys:
    """New numbers of keys."""

    # int64 `[L]`, the keys that stay, in order.
    kept: np.ndarray
    # int64 `[K]`, the new number of each key; -1 of those that go.
    new: np.ndarray

    def renumbered(self, keys: np.ndarray) -> np.ndarray:
        """Return the new numbers of keys; -1 of unknown ones."""
        known = np.append(self.new, -1)  # That of the key -1.
        return known[keys].astype(keys.dtype)

    def stay(self, keys: np.ndarray) -> np.ndarray:
        """Return which keys stay, bool; unknown ones do."""
        return (keys < 0) | (self.renumbered(keys) >= 0)


def gone(source: pathlib.Path, left: Left) -> dict[str, int]:
    """Return how many keys of users and items go, by the name of the role."""
    found = {}
    for role in (left.spec.user, left.spec.item):
        keys = _keys(source, role, left)[1]
        found[role] = len(keys.new) - len(keys.kept)
    return found


def write(
    source: pathlib.Path, target: pathlib.Path, left: Left
) -> tally.Tally:
    """Write the parts of a state with what is left.

    Args:
      source: where the parts lie.
      target: where to; exists. Parts that know no ids are linked.
      left: what is left.

    Returns:
      The tally; rows of ids that are gone count as those of unknown ones.
    """
    counted = tally.Tally()
    roles = {
        r: _keys(source, r, left) for r in (left.spec.user, left.spec.item)
    }
    user, item = (of[1] for of in roles.values())
    parts = _Parts(left, user, item)
    for file in sorted(source.glob("*.npz")):
        found, name = forgetting.read(file), file.stem
        kind, _, of = name.partition("-")
        if name == "summary":
            counted.restore(found)
            counted.keep("user", user.kept)
            counted.keep("item", item.kept)
            found = counted.arrays()
        elif kind == "keys":
            found = roles[of][0]
        elif kind == "waiting":
            found = parts.waiting(found, of)
        elif name == "seen_pairs":
            found = parts.pairs(found)
        elif kind == "history":
            found = parts.history(found)
        elif kind == "negatives":
            found = parts.clicks(found)
        elif kind == "count":
            found = parts.counts(found, left.counts[forgetting.count_of(file)])
        elif name == "ages":
            first = found["first"]
            found = {"first": first[item.kept[item.kept < len(first)]]}
        else:
            store.link(file, target / file.name)
            continue
        arrays: dict = found
        np.savez(target / file.name, **arrays)
    return counted


def _keys(source: pathlib.Path, role: str, left: Left) -> tuple[Arrays, _Keys]:
    """Return the ids of a role that stay, and the numbers of their keys."""
    table = left.spec.table(left.spec.feature(role).table)
    arrays = forgetting.read(source / f"keys-{role}.npz")
    return _kept(arrays, table, left.ids[table.name])


def _kept(
    arrays: Arrays, table: features.TableSpec, ids: pa.Array
) -> tuple[Arrays, _Keys]:
    """Return what of the ids of a part stays, and the numbers of keys."""
    vocabulary = id_space.Vocabulary(
        features.TableSpec(table.name, dtype=table.dtype)
    )
    vocabulary.restore(arrays)
    stays = alive.is_in(vocabulary.entries, ids)
    kept = np.flatnonzero(stays)
    new = np.where(stays, np.cumsum(stays) - 1, -1)
    left = vocabulary.without(np.flatnonzero(~stays) + 1)
    return left.arrays(), _Keys(kept, new)


class _Parts:
    """Makes parts of a state anew."""

    def __init__(self, left: Left, user: _Keys, item: _Keys):
        self._left = left
        self._user = user
        self._item = item

    def waiting(self, arrays: Arrays, table: str) -> Arrays:
        """Return ids that wait for `min_count` events, and their counts."""
        left = self._left
        found, keys = _kept(arrays, left.spec.table(table), left.ids[table])
        # The first count is that of unknown ids.
        places = np.append(0, keys.kept + 1)
        return {**found, "counts": arrays["counts"][places]}

    def pairs(self, arrays: Arrays) -> Arrays:
        """Return the pairs of user and item that were clicked."""
        pairs = arrays["pairs"]
        user, item = pairs >> _BITS, pairs.astype(np.int32)  # The low bits.
        stays = self._user.stay(user) & self._item.stay(item)
        new = negatives.pair(
            self._user.renumbered(user[stays]),
            self._item.renumbered(item[stays]),
        )
        return {"pairs": new}

    def history(self, arrays: Arrays) -> Arrays:
        """Return the newest clicks of users."""
        held, items = arrays["held"], arrays["items"]
        users = np.repeat(np.arange(len(held)), held)
        stays = self._user.stay(users) & self._item.stay(items)
        users = self._user.renumbered(users[stays])
        now = np.bincount(users, minlength=len(self._user.kept))
        return {
            "held": key_arrays.trimmed(now.astype(held.dtype), 0),
            "items": self._item.renumbered(items[stays]),
        }

    def clicks(self, arrays: Arrays) -> Arrays:
        """Return the clicks that negatives may still be drawn from."""
        tail = {n.removeprefix(_TAIL): of for n, of in arrays.items()}
        if not tail:
            return arrays
        stays = self._user.stay(tail[encoding.USER])
        stays &= self._item.stay(tail[encoding.ITEM])
        tail = {name: column[stays] for name, column in tail.items()}
        tail[encoding.USER] = self._user.renumbered(tail[encoding.USER])
        tail[encoding.ITEM] = self._item.renumbered(tail[encoding.ITEM])
        tail |= renumbered_days.renumbered(
            self._left.spec, tail, self._left.tables
        )
        return {f"{_TAIL}{name}": column for name, column in tail.items()}

    def counts(self, arrays: Arrays, of: Sequence[str]) -> Arrays:
        """Return the counts of values of features."""
        shifts = (_BITS, 0)[-len(of) :]

        def parts(keys: np.ndarray) -> list[np.ndarray]:
            return [(keys >> shift) & (2**_BITS - 1) for shift in shifts]

        def stays(keys: np.ndarray) -> np.ndarray:
            each = zip(of, parts(keys), strict=True)
            return np.logical_and.reduce(
                [self._stay(name, values) for name, values in each]
            )

        def renumbered(keys: np.ndarray) -> np.ndarray:
            new = np.zeros(len(keys), np.int64)
            for name, values, shift in zip(
                of, parts(keys), shifts, strict=True
            ):
                new |= self._renumbered(name, values) << shift
            return new

        kept = forgetting.kept_counts(arrays, stays)
        # The order of keys is that of their new numbers.
        kept["keys"] = renumbered(kept["keys"])
        kept["day_keys"] = renumbered(kept["day_keys"])
        return kept

    def _stay(self, feature: str, values: np.ndarray) -> np.ndarray:
        keys = self._of_role(feature)
        if keys is not None:
            return keys.stay(values)
        table = self._left.tables.get(self._left.spec.feature(feature).table)
        if table is None:
            return np.ones(len(values), bool)
        return ~table.is_gone(values)

    def _renumbered(self, feature: str, values: np.ndarray) -> np.ndarray:
        keys = self._of_role(feature)
        if keys is not None:
            return keys.renumbered(values)
        table = self._left.tables.get(self._left.spec.feature(feature).table)
        return values if table is None else table.renumbered(values)

    def _of_role(self, feature: str) -> _Keys | None:
        spec = self._left.spec
        return {spec.user: self._user, spec.item: self._item}.get(feature)
