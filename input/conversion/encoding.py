"""Events to numbers: keys of users and items, rows of tables, dense columns.

Keys number users and items by appearance, exactly, whatever their tables are:
history is kept by key. Rows come from the id spaces, which grow in order of
days, the natural events of a day before its ads.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from ecdctr_tf import features, kinds
from ecdctr_tf.input import id_space
from ecdctr_tf.input.conversion import key_arrays, toml_spec, zones

# Columns of encoded events beside the features: no feature is called so.
TIME, SECOND, CLICK, USER, ITEM = "@time", "@second", "@click", "@user", "@item"
WEIGHT, SOURCE = "@weight", features.SOURCE


class Encoder:
    """The id spaces of a conversion and the keys of users and items.

    Attributes:
      goes_again: whether id spaces may hold ids of days still to come.
    """

    def __init__(self, spec: toml_spec.ConversionSpec):
        self.spec = spec
        self.goes_again = False
        self.data_spec = spec.data_spec()
        self.features = {f.name: f for f in kinds.of(self.data_spec)}
        self.id_spaces = {
            table.name: id_space.new(table) for table in self.data_spec.tables
        }
        self._keys = {
            role: id_space.Vocabulary(self._key_table(role))
            for role in (spec.user, spec.item)
        }
        self._crossed = {
            part: feature
            for feature in self.features.values()
            if isinstance(feature, kinds.Cross)
            for part in feature.feature.of
        }
        self._waiting = {
            table: _Admission(self.data_spec.table(table), count)
            for table, count in spec.min_count.items()
            if count > 1 and self.data_spec.table(table).ids == "vocabulary"
        }

    def _key_table(self, role: str) -> features.TableSpec:
        table = self.data_spec.table(self.spec.column(role).table)
        return features.TableSpec(role, dtype=table.dtype)

    def vocabularies(self) -> dict[tuple[str, str], id_space.Vocabulary]:
        """Return what numbers ids, by "ids" and table or "keys" and role."""
        return {
            **{
                ("ids", name): space
                for name, space in self.id_spaces.items()
                if isinstance(space, id_space.Vocabulary)
            },
            **{("keys", role): keys for role, keys in self._keys.items()},
        }

    def renumber(
        self, vocabularies: Mapping[tuple[str, str], id_space.Vocabulary]
    ) -> None:
        """Number ids by other vocabularies; see `vocabularies`."""
        for (what, name), vocabulary in vocabularies.items():
            of = self.id_spaces if what == "ids" else self._keys
            of[name] = vocabulary

    def parts(self) -> dict:
        """Return what is carried from day to day beside the id spaces."""
        return {
            **{f"keys-{role}": keys for role, keys in self._keys.items()},
            **{f"waiting-{table}": w for table, w in self._waiting.items()},
        }

    def encode(
        self, table: pa.Table, again: bool = False
    ) -> dict[str, np.ndarray]:
        """Return the columns of events of a day, in their order.

        Args:
          table: the events.
          again: whether their ids were numbered, and counted, before.

        Returns:
          `TIME` int64, seconds UTC; `SECOND` int64, seconds since the local day
          began; `USER` and `ITEM` int32 keys, -1 for unknown ones; `CLICK`
          uint8; `WEIGHT` float32 if some rows have one; `SOURCE` uint8 if
          there are sources, 0 where it is not known; the columns of each
          feature, as batches hold them, of crosses the hashes of their parts
          instead (`hashed`); the evaluation columns.
        """
        roles = {r: _distinct(table[r].combine_chunks()) for r in self._keys}
        columns = {
            TIME: table["timestamp"].to_numpy(),
            CLICK: table["click"].to_numpy(),
            USER: self._key(self.spec.user, roles[self.spec.user]),
            ITEM: self._key(self.spec.item, roles[self.spec.item]),
        }
        number = self._numbered if again else self._rows
        zone, day = self.spec.zone, table["day"][0].as_py()
        columns[SECOND] = columns[TIME] - zone.start_of_day(day)
        hour = zone.local(columns[TIME]) % zones.DAY_SECONDS // 3600
        for feature in self.spec.features:
            if feature.time == "hour":
                raw = pa.array(hour)
            elif feature.time == "weekday":
                # Day 0 was a Thursday.
                raw = pa.array(np.full(len(table), (day + 3) % 7))
            elif feature.source:
                raw = table[feature.name].combine_chunks()
            else:
                continue
            columns |= self.features[feature.name].encode(
                roles.get(feature.name, raw), number
            )
            if feature.name in self._crossed:
                cross = self._crossed[feature.name]
                hashes = cross.hashed(feature.name, raw)
                columns[hashed(feature.name)] = hashes
        for name in self.spec.evaluation:
            columns[name] = table[name].to_numpy()
        if "weight" in table.column_names:
            columns[WEIGHT] = table["weight"].to_numpy()
        if self.spec.sources:
            columns[SOURCE] = np.zeros(len(table), np.uint8)
            if SOURCE in table.column_names:
                columns[SOURCE] = table[SOURCE].to_numpy()
        return columns

    def _key(self, role: str, raw: pa.DictionaryArray) -> np.ndarray:
        ids = raw.dictionary
        keys = self._keys[role].number(ids) - 1
        keys[ids.is_null().to_numpy(zero_copy_only=False)] = -1
        return keys[raw.indices.to_numpy()]

    def _rows(self, table: str, raw: pa.Array) -> np.ndarray:
        """Return the rows of raw ids; new ids get rows."""
        ids, indices = self._by_place(table, raw)
        if table not in self._waiting:
            return self.id_spaces[table].number(ids)[indices]
        self._waiting[table].count(ids, indices)
        return self._admitted(table, ids)[indices]

    def _numbered(self, table: str, raw: pa.Array) -> np.ndarray:
        """Return the rows of raw ids; new ids were given rows before."""
        ids, indices = self._by_place(table, raw)
        return self._admitted(table, ids)[indices]

    def _by_place(
        self, table: str, raw: pa.Array
    ) -> tuple[pa.Array, np.ndarray]:
        """Return distinct ids, and the place of each id among them."""
        text = self.id_spaces[table].table.dtype == "string"
        coded = _distinct(raw)
        ids = coded.dictionary.cast(pa.string() if text else pa.int64())
        return ids, coded.indices.to_numpy()

    def _admitted(self, table: str, raw: pa.Array | np.ndarray) -> np.ndarray:
        """Return the rows of raw ids, of those admitted before the day.

        Where days are gone through again, ids that are admitted later have rows
        already.
        """
        space = self.id_spaces[table]
        rows = space.lookup(raw)
        if self.goes_again and table in self._waiting:
            later = ~self._waiting[table].was_admitted(raw)
            rows[later] = space.bucket_of(rows[later])
        return rows

    def item_rows(self, table: str) -> np.ndarray:
        """Return the rows of a table that the item keys have, then -1."""
        rows = self._admitted(table, self._keys[self.spec.item].ids)
        # The last entry stands for key -1, an unused place of a sequence.
        return np.append(rows, np.int32(features.PADDING))

    def end_day(self) -> dict[str, int]:
        """Admit ids that became frequent; return the rows of each table."""
        for name, waiting in self._waiting.items():
            self.id_spaces[name].append(waiting.admitted())
        return {name: space.rows for name, space in self.id_spaces.items()}


def _distinct(raw: pa.Array) -> pa.DictionaryArray:
    """Return values as places among the distinct ones, null one of them.

    Looking each distinct id up is several times as fast as looking up all.
    """
    if pa.types.is_dictionary(raw.type):
        return raw
    return raw.dictionary_encode("encode")


def hashed(part: str) -> str:
    """Return the name of the hashes of an id feature that crosses read."""
    return f"{part}/hash"


class _Admission:
    """Counts of the ids of a table that wait for `min_count` events."""

    def __init__(self, table: features.TableSpec, min_count: int):
        self._known = id_space.Vocabulary(
            features.TableSpec(table.name, dtype=table.dtype)
        )
        self._min_count = min_count
        self._counts = np.zeros(0, np.int64)
        # Whether each id had enough events at the end of the last day.
        self._frequent = np.zeros(0, bool)

    def count(self, ids: pa.Array, indices: np.ndarray) -> None:
        """Count events, each of them given by the place of its id."""
        rows = self._known.number(ids)
        size = self._known.rows
        self._counts = key_arrays.grown(self._counts, size, 0)
        times = np.bincount(indices, minlength=len(ids))
        there = ids.is_valid().to_numpy(zero_copy_only=False)
        self._counts[rows[there]] += times[there]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the ids seen, as `Vocabulary.arrays`, and `counts` int64."""
        counts = self._counts[: self._known.rows]
        return {**self._known.arrays(), "counts": counts}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` returned."""
        self._known.restore(arrays)
        self._counts = arrays["counts"]
        self._frequent = self._counts >= self._min_count

    def was_admitted(self, raw: pa.Array | np.ndarray) -> np.ndarray:
        """Return which ids were admitted by the end of the last day."""
        rows = np.minimum(self._known.lookup(raw), len(self._frequent))
        return np.append(self._frequent, False)[rows]

    def admitted(self) -> np.ndarray:
        """Return the ids with enough events, in order of appearance."""
        self._frequent = self._counts >= self._min_count
        counts = self._counts[1 : self._known.rows]
        return self._known.ids[: len(counts)][counts >= self._min_count]
