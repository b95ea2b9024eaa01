"""What the network reads of lists and vectors, with numbers worked out here."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import features, kinds
from ecdctr_tf.input import id_space

CONFIG = configs.ModelConfig(embedding_dim=2)
USER = features.FeatureSpec("user_id", "id", "user", "user", basic=True)
ITEM = features.FeatureSpec("item_id", "id", "item", "item", basic=True)
TABLES = (
    features.TableSpec("user"),
    features.TableSpec("item", dtype="string"),
    features.TableSpec("tag"),
    features.TableSpec("pair", ids="hashing", buckets=1_000),
)
# Rows of three lists and the vectors of their entries, [3, 3] and [3, 3, 2].
ROWS = np.array([[1, 2, -1], [-1, -1, -1], [3, 3, 4]], np.int32)
VECTORS = np.array(
    [
        [[1, 0], [3, 2], [0, 0]],
        [[0, 0], [0, 0], [0, 0]],
        [[1, 1], [1, 1], [4, 4]],
    ],
    np.float32,
)


def kind_of(feature: features.FeatureSpec, *others) -> kinds.Feature:
    spec = features.DataSpec(TABLES, (USER, ITEM, *others, feature))
    return kinds.of(spec)[-1]


def read(kind: kinds.Feature, batch: dict, **embedded) -> np.ndarray:
    batch = {name: tf.constant(column) for name, column in batch.items()}
    layers = kind.layers(CONFIG)
    (found,) = kind.inputs(batch, embedded, layers)
    return found.numpy()


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [[2, 1], [0, 0], [2, 2]]), ("sum", [[4, 2], [0, 0], [6, 6]])],
)
def test_ids_are_pooled(pooling, expected):
    feature = features.FeatureSpec(
        "tags", "ids", "tag", max_length=3, pooling=pooling
    )
    found = read(kind_of(feature), {"tags": ROWS}, tags=VECTORS)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2.5, 1.5], [0, 0], [4, 4]]),
        ("sum", [[10, 6], [0, 0], [8, 8]]),
    ],
)
def test_ids_are_pooled_by_weight(pooling, expected):
    """What is not a finite weight above 0 counts as 0, and so does padding."""
    feature = features.FeatureSpec(
        "tags", "weighted_ids", "tag", max_length=3, pooling=pooling
    )
    weights = [[1, 3, 9], [1, 1, 1], [np.nan, -1, 2]]
    batch = {"tags": ROWS, "tags/weight": np.array(weights, np.float32)}
    found = read(kind_of(feature), batch, tags=VECTORS)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("side", "query"), [("item", "user_id"), ("user", "item_id")]
)
def test_attention_compares_ids_with_the_other_side(side, query):
    feature = features.FeatureSpec(
        "tags", "ids", "tag", side, max_length=3, pooling="attention"
    )
    kind = kind_of(feature)
    layers = kind.layers(CONFIG)
    queries = {
        "user_id": tf.constant([[1.0, 2.0]] * 3),
        "item_id": tf.constant([[-3.0, 0.5]] * 3),
    }
    embedded = {**queries, "tags": tf.constant(VECTORS)}
    (found,) = kind.inputs({"tags": tf.constant(ROWS)}, embedded, layers)
    (attention,) = layers.values()
    expected = attention(queries[query], VECTORS, ROWS >= 0)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found[1], [0, 0])


def test_attributes_and_ages_are_added_to_entries():
    feature = features.FeatureSpec(
        "seen",
        "sequence",
        "tag",
        "user",
        max_length=3,
        attribute_table="item",
        ages=True,
    )
    kind = kind_of(feature)
    layers = kind.layers(CONFIG)
    item = tf.constant([[1.0, 2.0]] * 3)
    attributes = tf.constant(VECTORS[:, ::-1])
    embedded = {
        "item_id": item,
        "seen": tf.constant(VECTORS),
        "seen/attribute": attributes,
    }
    ages = np.full([3, 3], np.nan, np.float32)
    ages[2, 2] = 3600
    batch = {
        "seen": tf.constant(ROWS),
        "seen/attribute": tf.constant(ROWS),
        "seen/age": tf.constant(ages),
    }
    kind.inputs(batch, embedded, layers)
    layers["age_seen"].kernel.assign([[1.0, 0.0], [0.0, 10.0]])
    (found,) = kind.inputs(batch, embedded, layers)
    keys = VECTORS + VECTORS[:, ::-1]
    keys[2, 2] += [1, 10 * np.log(2)]
    # No item-side id is on the table of tags: the entries are compared with the
    # item; so are the attributes, whose table is the item's.
    expected = layers["attention_seen"](2 * item, keys, ROWS >= 0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_two_features_with_one_column_in_requests_are_rejected():
    weighted = features.FeatureSpec("tags", "weighted_ids", "tag", max_length=2)
    number = features.FeatureSpec("tags_weight", "dense")
    with pytest.raises(ValueError, match="'tags_weight' and 'tags' would both"):
        kind_of(weighted, number)
    with pytest.raises(ValueError, match="both have the column 'tags_Weight'"):
        kind_of(dataclasses.replace(number, name="tags_Weight"), weighted)


def test_a_cross_is_the_same_for_text_numbers_and_missing_ids():
    cross = features.FeatureSpec(
        "pair", "cross", "pair", of=("user_id", "item_id")
    )
    kind = kind_of(cross)
    users, items = [1, -1, None, 1, 2], ["a", "", None, "b", "a"]
    hashes = {
        "user_id": kind.hashed("user_id", pa.array(users, pa.int64())),
        "item_id": kind.hashed("item_id", pa.array(items, pa.string())),
    }
    rows = kind.crossed(hashes)["pair"]
    assert rows[1] == rows[2]
    assert len(set(rows)) == 4
    raw = {
        "user_id": tf.constant([1, -1, -1, 1, 2], tf.int64),
        "item_id": tf.constant(["a", "", "", "b", "a"]),
    }
    np.testing.assert_array_equal(kind.from_request(raw, {})["pair"], rows)


def test_a_position_that_is_not_said_is_the_default():
    table = features.TableSpec("tag")
    position = features.FeatureSpec("position", "position", "tag", default=8)
    kind = kind_of(position)
    space = id_space.Vocabulary(table, [7, 8, 9])
    raw = {"position": np.array([9, -1, 5])}
    rows = kind.looked_up(raw, {"tag": space})["position"]
    np.testing.assert_array_equal(rows, [3, 2, 0])


def test_a_missing_vector_is_read_as_its_indicator_alone():
    feature = features.FeatureSpec("picture", "vector", length=2)
    kind = kind_of(feature)
    vectors = np.array(
        [[1, 10], [3, 20], [np.nan, np.nan], [1, 20], [3, 10]], np.float32
    )
    layers = kind.layers(CONFIG)
    # Nothing is known of the numbers: they have no effect.
    (before,) = kind.inputs({"picture": tf.constant(vectors)}, {}, layers)
    np.testing.assert_array_equal(before, np.zeros([5, 2]))
    assert kind.unseen(layers) and kind.lacks(layers)
    kind.adapt({"picture": vectors}, layers)
    assert not kind.unseen(layers)
    (after,) = kind.inputs({"picture": tf.constant(vectors)}, {}, layers)
    scaled = [[-1, -1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]
    kernel = layers["projection_picture"].kernel
    np.testing.assert_allclose(after[:3], scaled @ kernel, rtol=1e-5)
