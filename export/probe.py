"""Made-up requests, and what the model answers to them without the export.

The answers go through `IdSpace.lookup` and NumPy, not through the exported
graph, so that both id mapping and network are compared.

Shapes: N requests, L places of a sequence, T entries a model reads.
"""

import numpy as np
import tensorflow as tf

from ecdctr_tf import features
from ecdctr_tf.export import load, signatures
from ecdctr_tf.export.id_mapping import padding
from ecdctr_tf.input import id_space
from ecdctr_tf.models.ctr_model import CTRModel

ROWS = 8


def requests(
    spec: features.DataSpec, spaces: dict[str, id_space.IdSpace]
) -> dict[str, np.ndarray]:
    """Return raw requests: known and unknown ids, short and long sequences.

    Args:
      spec: the features of the model.
      spaces: table name -> the ids it knows.

    Returns:
      Feature name -> int64 or str `[N]` or `[N, L]` (L above the longest
      sequence that is kept), or float32 `[N]`.
    """
    random = np.random.default_rng(0)
    raw = {}
    for feature in spec.features:
        if feature.kind == "dense":
            raw[feature.name] = random.normal(size=ROWS).astype(np.float32)
            continue
        space = spaces[feature.table]
        ids = _some_ids(space)
        if feature.kind == "id":
            raw[feature.name] = np.resize(ids, ROWS)
            continue
        length = feature.max_length + 2
        column = random.choice(ids, [ROWS, length])
        lengths = np.resize([0, 1, feature.max_length, length], ROWS)
        unused = np.arange(length) >= lengths[:, np.newaxis]
        column[unused] = padding(space.table)
        raw[feature.name] = column
    return raw


def _some_ids(space: id_space.IdSpace) -> np.ndarray:
    """Return an unknown id and, of a vocabulary, the first and last ones."""
    text = space.table.dtype == "string"
    known: list[int | str] = [f"id-{i}" if text else i for i in range(6)]
    if isinstance(space, id_space.Vocabulary):
        known = [*space.ids[:3], *space.ids[-3:]]
    unknown: int | str = "no-such-id" if text else -2
    while isinstance(space, id_space.Vocabulary) and load.knows(space, unknown):
        unknown = unknown - 1 if isinstance(unknown, int) else f"{unknown}-"
    return np.array([*known, unknown], object if text else np.int64)


def expected(
    model: CTRModel,
    raw: dict[str, np.ndarray],
    spaces: dict[str, id_space.IdSpace],
) -> dict[str, np.ndarray]:
    """Return the model's own answers: `ctr` and `logit`, float32 `[N]`."""
    inputs = {}
    for feature in model.spec.features:
        column = raw[feature.name]
        if feature.kind == "id":
            column = spaces[feature.table].lookup(column)
        elif feature.kind == "sequence":
            column = _sequence(column, spaces[feature.table], feature)
        inputs[feature.name] = tf.constant(column)
    count = len(raw[model.spec.user])
    inputs["day"] = tf.fill([count], signatures.NEWEST_DAY)
    logit = model(inputs, training=False)
    return {"ctr": tf.sigmoid(logit).numpy(), "logit": logit.numpy()}


def _sequence(
    raw: np.ndarray, space: id_space.IdSpace, feature: features.FeatureSpec
) -> np.ndarray:
    """Return the rows `[N, T]` of raw sequences `[N, L]`."""
    rows = np.full([len(raw), feature.max_length], features.PADDING, np.int32)
    for i, ids in enumerate(raw):
        used = ids[ids != padding(space.table)][-feature.max_length :]
        rows[i, : len(used)] = space.lookup(used)
    return rows


def examples(
    raw: dict[str, np.ndarray], spec: features.DataSpec
) -> list[bytes]:
    """Return requests as serialized `tf.train.Example` rows."""
    rows = []
    for i in range(len(raw[spec.user])):
        values = {}
        for feature in spec.features:
            value = np.atleast_1d(raw[feature.name][i])
            if feature.kind == "sequence":
                value = value[value != padding(spec.table(feature.table))]
            dtype = signatures.raw_dtype(feature, spec)
            values[feature.name] = _feature(value, dtype)
        row = tf.train.Example(features=tf.train.Features(feature=values))
        rows.append(row.SerializeToString())
    return rows


def _feature(values: np.ndarray, dtype: tf.DType) -> tf.train.Feature:
    if dtype == tf.float32:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if dtype == tf.int64:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    text = [value.encode() for value in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=text))
