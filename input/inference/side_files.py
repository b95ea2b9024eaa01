"""Files that describe users or items, and the columns of logs they go with."""

import dataclasses
import re
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.inference import roles, samples

# Share of the values of a log that have to be keys, and of the keys that have
# to be values, if names are unlike: small whole numbers are alike by chance.
_CONTAINED, _USED = 0.9, 0.3
# Texts that have to be both values and keys, if names are unlike.
_SHARED = 50


@dataclasses.dataclass(frozen=True)
class Side:
    """A file whose columns are joined to a log."""

    sample: samples.Sample
    # Column of the log, and column of this file.
    on: str
    key: str
    # Share of the values of the log that are keys, in the sample.
    contained: float


def keys(sample: samples.Sample) -> list[str]:
    """Return the columns that hold each value once, likeliest keys first."""
    found = []
    for name in sample.table.column_names[:6]:
        column = sample.table[name]
        if samples.is_list(column.type) or pa.types.is_floating(column.type):
            continue
        if not column.null_count and sample.distinct[name] == len(column):
            text = pa.types.is_string(column.type)
            if text and pc.any(pc.match_substring(column, " ")).as_py():
                continue
            found.append(name)
    return found


def matches(
    log: dict[str, pa.Array], side: samples.Sample, item: str
) -> list[tuple[float, Side]]:
    """Return the columns of a log that a file can be joined on, best first.

    Args:
      log: column of the log -> its values, each once.
      side: a file.
      item: the column of the log with the item, where that is known.
    """
    found = []
    for key in keys(side):
        held = side.table[key].combine_chunks()
        for name, values in log.items():
            same = normalised(name) == normalised(key)
            inside = _contained(values, held)
            near = inside * min(len(values) / max(len(held), 1), 1)
            texts = pa.types.is_string(values.type) and (
                inside * len(values) >= _SHARED
            )
            numbers = inside >= _CONTAINED and (near >= _USED or name == item)
            if texts or numbers or (same and inside > 0):
                score = near + same + 2 * (name == item)
                found.append((score, Side(side, name, key, inside)))
    return sorted(found, key=lambda pair: -pair[0])


def assigned(
    log: dict[str, pa.Array], sides: list[samples.Sample], item: str
) -> list[Side]:
    """Return the files that a log joins, each on one column.

    Two files of one key are both joined on the same column; a file goes to the
    column it fits best, and to one that no unlike file fits better.
    """
    ranked = [
        (score, i, side)
        for i, file in enumerate(sides)
        for score, side in matches(log, file, item)
    ]
    ranked.sort(key=lambda entry: -entry[0])
    chosen: dict[int, Side] = {}
    key_of: dict[str, str] = {}
    for _, i, side in ranked:
        made_up = not side.sample.parquet and not side.sample.layout.header
        taken = made_up and side.on in key_of
        if i not in chosen and not taken:
            chosen[i] = side
            key_of[side.on] = side.key
    return [chosen[i] for i in sorted(chosen)]


def take(side: Side, taken: Collection[str]) -> list[str]:
    """Return the columns of a file that can become features.

    Args:
      side: the file.
      taken: columns that the log has already.
    """
    return [
        name
        for name in side.sample.table.column_names
        if name != side.key
        and name not in taken
        and not samples.is_list(side.sample.table[name].type)
        and not pa.types.is_timestamp(side.sample.table[name].type)
    ]


def normalised(name: str) -> str:
    """Return a name without case, prefixes and endings that say nothing."""
    name = re.sub(r"\W|_", "", re.sub(r"^(u|i|e|click)_", "", name.lower()))
    return re.sub(r"(id|s)+$", "", name) or name


def values(table: pa.Table, names: list[str]) -> dict[str, pa.Array]:
    """Return the values of columns that may be ids, each once."""
    found = {}
    for name in names:
        dtype = table[name].type
        if pa.types.is_integer(dtype) or pa.types.is_string(dtype):
            found[name] = pc.unique(table[name].drop_null())
    return found


def _contained(values_: pa.Array, held: pa.Array) -> float:
    if not len(values_):
        return 0.0
    if pa.types.is_string(values_.type) != pa.types.is_string(held.type):
        values_, held = values_.cast(pa.string()), held.cast(pa.string())
    elif values_.type != held.type:
        values_, held = values_.cast(pa.int64()), held.cast(pa.int64())
    return float(np.mean(pc.is_in(values_, held).to_numpy(False)))


def named_user(side: Side) -> bool:
    """Return whether a file is about users, by its name."""
    return "user" in side.sample.path.lower() or bool(
        roles.user(side.sample, ()).column == side.key
    )
