"""Historical vectors that requests bring, in place of tables in the graph.

With `serving.history=as_input` a feature store holds the vectors. They are
written beside the export, one Parquet file a table:

```
assets.extra/historical/<table>.parquet
    <feature>         raw id, int64 or string
    <feature>_vector  list of float32, D numbers
    history_version   string, the same in all rows
    event_timestamp   timestamp in UTC: when the first day begins whose rows
                      may see the vector, in the zone of the days
```

A request then has `<feature>_vector`, NaN for an id that the store lacks, and
the `history_version` that its vectors are of. A network was trained on the
vectors of one version: those of another are ignored, as if there were none, and
`vectors_ignored` counts them.

Shapes: B rows, U users, C candidates of all users together, N requests, V rows
of a table, D width of a historical vector.
"""

import dataclasses
import datetime
import hashlib
import logging
import pathlib
import typing
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from ecdctr_tf import features, windows
from ecdctr_tf.export.weights import NEWEST_DAY
from ecdctr_tf.input import day_times, id_space
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.mixture import MixedModel

VERSION, IGNORED = "history_version", "vectors_ignored"
DIRECTORY = pathlib.PurePosixPath("assets.extra/historical")
# The graph compares hashes of the version's name.
_HASHES = 1_000_000_000
_TABLE = features.TableSpec(VERSION, "hashing", "string", _HASHES)
_CHUNK = 1 << 16
# What sees no version of history.
_NO_DAY = 0
Spaces = dict[str, id_space.IdSpace]
Columns = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Given:
    """What requests to a model say of history."""

    # The features of the model, and what says history besides.
    spec: features.DataSpec
    # Features with history.
    names: tuple[str, ...]
    # Of the vectors that the network was trained on.
    version: str

    def widened(
        self, name: str, row: tf.Tensor, inputs: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Return `[trained | historical | known]` of ids.

        Args:
          name: a feature with history.
          row: `[B, ...]`, the trained vectors.
          inputs: as the served form reads them.
        """
        vector = inputs[vector_of(name)]
        use = tf.logical_and(_there(vector), self._is_fresh(vector, inputs))
        vector = tf.where(use, vector, 0.0)
        return tf.concat([row, vector, tf.cast(use, row.dtype)], axis=-1)

    def ignored(
        self, inputs: Mapping[str, tf.Tensor], rows: tf.Tensor
    ) -> tf.Tensor:
        """Return how many vectors of each row are of another version.

        Args:
          inputs: as the served form reads them.
          rows: how many rows, or candidates of all users, are scored.

        Returns:
          int32 `[B]` or `[C]`; a user's vector counts for each candidate.
        """
        columns = [
            tf.cast(_there(v) & ~self._is_fresh(v, inputs), tf.int32)
            for v in (inputs[vector_of(name)] for name in self.names)
        ]
        return tf.add_n([_repeated(c[:, 0], rows) for c in columns])

    def _is_fresh(
        self, vector: tf.Tensor, inputs: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Return whether vectors `[B, D]` are of the version, bool `[B, 1]`."""
        wanted = tf.strings.to_hash_bucket_fast(self.version, _HASHES)
        fresh = tf.equal(inputs[VERSION], tf.cast(wanted, tf.int32))
        return _repeated(fresh, tf.shape(vector)[0])[:, tf.newaxis]


def _there(vector: tf.Tensor) -> tf.Tensor:
    """Return which rows have a vector, one without NaN, bool `[B, 1]`."""
    return tf.logical_not(
        tf.reduce_any(tf.math.is_nan(vector), axis=1, keepdims=True)
    )


def _repeated(column: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Return the values of users once for each of their candidates."""
    users = tf.maximum(tf.shape(column)[0], 1)
    return tf.repeat(column, rows // users, axis=0)


def inside(form: typing.Any) -> list[str]:
    """Return the features of a served form whose vectors are in its tables."""
    return [] if brought(form.spec) else list(form.historical)


def version(form: typing.Any) -> str | None:
    """Return the version of the vectors that requests to a form bring."""
    return form.given.version if brought(form.spec) else None


def brought(spec: features.DataSpec) -> bool:
    """Return whether requests of a spec, that of a `Given`, bring history."""
    return any(table == _TABLE for table in spec.tables)


def vector_of(name: str) -> str:
    """Return the column of a request that brings the vectors of a feature."""
    return f"{name}_vector"


def of(model: CTRModel | MixedModel, spaces: Spaces) -> Given:
    """Return what requests to a model have to say of history.

    Args:
      model: the model, left with the newest vectors.
      spaces: table name -> the ids that it knows.

    Raises:
      ValueError: the model has no history, its experts read several, or a table
        has ids that cannot be listed.
    """
    knowing = [expert for expert in model.members if expert.historical]
    if not knowing:
        raise ValueError(
            "`serving.history` should be in_graph: the model has no historical "
            "embeddings. Received: as_input"
        )
    for expert in knowing:
        for name in expert.historical:
            table = spaces[expert.spec.feature(name).table].table
            if table.ids != "vocabulary":
                raise ValueError(
                    f"`serving.history` should be in_graph: the ids of table "
                    f"{table.name!r} are hashed, so none can be looked up in a "
                    "feature store. Received: as_input"
                )
    versions = {_version(expert, spaces) for expert in knowing}
    if len(versions) > 1:
        raise ValueError(
            "`serving.history` should be in_graph: the experts of the mixture "
            "combine snapshots in ways of their own, and a request can bring "
            "one vector an id. Received: as_input"
        )
    if not all(expert.history_dropout for expert in knowing):
        logging.warning(
            "The model was trained with history.dropout=0: what it predicts "
            "of a request that brings no vectors may be far off. Train it with "
            "history.dropout=0.1, or export it with serving.history=in_graph."
        )
    spec, names = model.spec, tuple(knowing[0].historical)
    version = features.FeatureSpec(VERSION, "id", VERSION, "user")
    vectors = [
        features.FeatureSpec(
            vector_of(name),
            "vector",
            side="item" if name == spec.item else spec.feature(name).side,
            length=_width(knowing[0], name),
        )
        for name in names
    ]
    spec = dataclasses.replace(
        spec,
        tables=(
            *spec.tables,
            _TABLE,
        ),
        features=(*spec.features, version, *vectors),
    )
    return Given(spec, names, versions.pop())


def _width(model: CTRModel, name: str) -> int:
    """Return D."""
    vectors, _ = model.recall(name, tf.constant([0]), tf.constant([NEWEST_DAY]))
    return int(vectors.shape[1])


def _version(model: CTRModel, spaces: Spaces) -> str:
    """Return a name that only these vectors of these ids have."""
    found = hashlib.sha256()
    for name in _by_table(model).values():
        for ids, vectors in _chunks(model, name, spaces):
            found.update("\n".join(map(str, ids.tolist())).encode())
            found.update(vectors.tobytes())
    return f"{_since(model)}-{found.hexdigest()[:12]}"


def _by_table(model: CTRModel) -> dict[str, str]:
    """Return tables with history, and the first feature on each."""
    found: dict[str, str] = {}
    for name in model.historical:
        found.setdefault(model.spec.feature(name).table, name)
    return found


def _since(model: CTRModel) -> str:
    """Return the day from which on rows see the newest vectors."""
    return windows.day_name(
        max(
            int(table.visible_from.numpy().max())
            for table in model.history_tables.values()
        )
    )


def _chunks(
    model: CTRModel, name: str, spaces: Spaces
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give raw ids that have a vector, and the vectors, some at a time."""
    space = typing.cast(
        id_space.Vocabulary, spaces[model.spec.feature(name).table]
    )
    first = space.table.buckets
    for start in range(0, len(space.ids), _CHUNK):
        ids = np.asarray(space.ids[start : start + _CHUNK])
        rows = tf.range(first + start, first + start + len(ids))
        days = tf.fill([len(ids)], NEWEST_DAY)
        vectors, known = model.recall(name, rows, days)
        held = known.numpy() > 0
        yield ids[held], vectors.numpy()[held]


def write(
    directory: pathlib.Path,
    given: Given,
    model: CTRModel | MixedModel,
    spaces: Spaces,
    zone: datetime.tzinfo | None = None,
) -> None:
    """Write the vectors of a model for a feature store.

    Args:
      directory: the SavedModel.
      given: of the model.
      model: the model.
      spaces: table name -> the ids that it knows.
      zone: in which days are cut; None: UTC.
    """
    expert = next(expert for expert in model.members if expert.historical)
    since, _ = day_times.seconds(_since(expert), zone or datetime.UTC)
    for table, name in _by_table(expert).items():
        text = spaces[table].table.dtype == "string"
        schema = pa.schema(
            {
                name: pa.string() if text else pa.int64(),
                vector_of(name): pa.list_(pa.float32()),
                VERSION: pa.string(),
                "event_timestamp": pa.timestamp("us", "UTC"),
            }
        )
        file = directory / DIRECTORY / f"{table}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(file, schema) as writer:
            for ids, vectors in _chunks(expert, name, spaces):
                columns = [
                    pa.array(ids.tolist(), schema.field(0).type),
                    _lists(vectors),
                    pa.repeat(given.version, len(ids)),
                    pa.repeat(
                        pa.scalar(since * 1_000_000, schema.field(3).type),
                        len(ids),
                    ),
                ]
                writer.write_table(pa.table(columns, schema))


def _lists(vectors: np.ndarray) -> pa.Array:
    """Return vectors `[N, D]` as lists."""
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel()))


def filled(
    given: Given, model: CTRModel | MixedModel, raw: Columns, spaces: Spaces
) -> Columns:
    """Return made-up requests with what a feature store has of their ids.

    The vectors of one row in four are said to be of another version.

    Args:
      given: of the model.
      model: the model.
      raw: requests of `given.spec`.
      spaces: table name -> the ids that the model knows.
    """
    found = dict(raw)
    for name in given.names:
        space = spaces[given.spec.feature(name).table]
        rows = tf.constant(space.lookup(raw[name]))
        days = tf.fill(rows.shape, NEWEST_DAY)
        vectors, known = model.recall(name, rows, days)
        there = known.numpy()[:, np.newaxis] > 0
        found[vector_of(name)] = np.where(there, vectors.numpy(), np.nan)
    versions = np.full(len(found[VERSION]), given.version, object)
    versions[3::4] = "another"
    return found | {VERSION: versions}


def days(given: Given, raw: Columns) -> tuple[tf.Tensor, np.ndarray]:
    """Return what rows see of history, and how many vectors they do not.

    Args:
      given: of the model.
      raw: requests, of `filled`.

    Returns:
      int32 `[N]`: the newest day where the vectors are used, else one without
      history; and `vectors_ignored`, int32 `[N]`.
    """
    fresh = raw[VERSION] == given.version
    brought = sum(
        ~np.isnan(raw[vector_of(name)]).any(axis=1) for name in given.names
    )
    seen = np.where(fresh, NEWEST_DAY, _NO_DAY).astype(np.int32)
    return tf.constant(seen), np.where(fresh, 0, brought).astype(np.int32)
