"""Which ids came up on the newest days of a data directory.

An id is alive if an event of these days has it, or a row: as the value of a
feature, or as an entry of a list or of a sequence of clicks. So an item lives
as long as it stands among the clicks of somebody who comes back. The position
that requests are scored at is always alive.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import features, kinds, windows
from ecdctr_tf.input import data_directory, id_space
from ecdctr_tf.input.conversion import day_rows, held, state, stretches


@dataclasses.dataclass(frozen=True)
class Alive:
    """What is alive of a table."""

    # Raw ids, each once; also those without a row.
    ids: pa.Array
    # bool `[V]`, of the rows of a vocabulary; empty for hashed tables.
    rows: np.ndarray


def newest(
    data: data_directory.DataDirectory, days: int
) -> Iterator[tuple[str, str]]:
    """Yield domain and day of the newest days of each domain."""
    for domain in features.DOMAINS:
        there = data.days(domain)
        if there:
            first = windows.plus(there[-1], 1 - days)
            yield from ((domain, day) for day in there if day >= first)


def find(
    data: data_directory.DataDirectory, past: state.Past | None, days: int
) -> dict[str, Alive]:
    """Return what is alive of each table.

    Args:
      data: the data directory.
      past: what its newest state knows; None: there are no events.
      days: how many of the newest days of each domain count.

    Raises:
      FileNotFoundError, ValueError: a day is damaged, or has no events.
    """
    found = _Found(data)
    base = None if past is None else held.Held.all_of(past)
    for domain, day in newest(data, days):
        manifest = data.manifest(domain, day)
        spec = data.specs[manifest.spec]
        for file in data.files(domain, day):
            found.add_rows(spec, day_rows.columns(file, manifest, _ids(spec)))
        if base is not None:
            path = base.events(domain, day)
            for part in stretches.read(path) if path else ():
                found.add_events(spec, part)
    return {name: found.alive(table) for name, table in data.tables.items()}


def _ids(spec: features.DataSpec) -> features.DataSpec:
    """Return the features that have table rows."""
    return spec.select(f.name for f in kinds.of(spec) if f.id_columns())


class _Found:
    """The ids and table rows that were found so far."""

    def __init__(self, data: data_directory.DataDirectory):
        self._spaces = data.id_spaces
        self._ids: dict[str, pa.Array] = {}
        self._rows = {
            name: np.zeros(space.rows, bool)
            for name, space in data.id_spaces.items()
            if isinstance(space, id_space.Vocabulary)
        }
        for feature in data.spec.features:
            if feature.default is not None:
                self._add(feature.table, pa.array([feature.default]))

    def add_rows(
        self, spec: features.DataSpec, columns: dict[str, np.ndarray]
    ) -> None:
        """Note the table rows of a file."""
        for feature in kinds.of(spec):
            for column, table in feature.id_columns().items():
                if table in self._rows:
                    rows = columns[column]
                    self._rows[table][rows[rows != features.PADDING]] = True

    def add_events(self, spec: features.DataSpec, events: pa.Table) -> None:
        """Note the raw ids of events."""
        for feature in kinds.of(spec):
            if feature.name in events.column_names:
                raw = events[feature.name].combine_chunks()
                feature.encode(raw, self._add)

    def _add(self, table: str, raw: pa.Array) -> np.ndarray:
        """Note raw ids; as what numbers them in a conversion."""
        if pa.types.is_dictionary(raw.type):
            raw = raw.dictionary_decode()
        known = self._ids.get(table, self._none(table))
        new = pc.unique(raw).cast(known.type).drop_null()
        self._ids[table] = pc.unique(pa.concat_arrays([known, new]))
        return np.zeros(len(raw), np.int32)

    def _none(self, table: str) -> pa.Array:
        text = self._spaces[table].table.dtype == "string"
        return pa.array([], pa.string() if text else pa.int64())

    def alive(self, table: features.TableSpec) -> Alive:
        """Return what is alive of a table."""
        ids = self._ids.get(table.name, self._none(table.name))
        space = self._spaces[table.name]
        if not isinstance(space, id_space.Vocabulary):
            return Alive(ids, np.zeros(0, bool))
        rows = self._rows[table.name]
        rows[space.lookup(ids)] = True
        rows[: table.buckets] = True
        rows[space.unassigned] = False
        there = space.entries.filter(pa.array(rows[table.buckets :]))
        return Alive(pc.unique(pa.concat_arrays([there, ids])), rows)


def is_in(raw: pa.Array, ids: pa.Array) -> np.ndarray:
    """Return which raw ids are among others, bool; null is not."""
    there = pc.and_(pc.is_valid(raw), pc.is_in(raw, ids))
    return there.to_numpy(zero_copy_only=False)
