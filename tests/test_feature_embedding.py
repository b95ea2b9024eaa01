import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf.kernels import row_updates
from ecdctr_tf.layers.feature_embedding import FeatureEmbedding, capacity

TABLES = {"user_id": "user", "item_id": "item", "clicked": "item"}


def small(capacities=None):
    return FeatureEmbedding(TABLES, {"user": 3, "item": 5}, 2, capacities)


class FeatureEmbeddingTest(tf.test.TestCase):
    def test_call_reads_each_feature_from_its_table(self):
        layer = small({"user": 4, "item": 5})
        layer.tables["user"].embeddings.assign([[0, 0], [1, 2], [3, 4], [9, 9]])
        layer.tables["item"].embeddings.assign(
            [[5, 5], [10, 11], [20, 21], [30, 31], [40, 41]]
        )
        got = layer(
            {
                "user_id": tf.constant([1, 3]),  # 3 is past the vocabulary
                "item_id": tf.constant([4, 2]),
                "clicked": tf.constant([[1, -1], [3, 1]]),
                "price": tf.constant([0.5, 0.5]),
            }
        )
        self.assertEqual(set(got), set(TABLES))
        self.assertAllEqual(got["user_id"], [[1, 2], [0, 0]])
        self.assertAllEqual(got["item_id"], [[40, 41], [20, 21]])
        self.assertAllEqual(
            got["clicked"], [[[10, 11], [0, 0]], [[30, 31], [10, 11]]]
        )

    def test_features_of_a_table_share_its_weights(self):
        layer = small()
        self.assertLen(layer.trainable_variables, 2)
        with tf.GradientTape() as tape:
            got = layer(
                {
                    "user_id": tf.constant([1]),
                    "item_id": tf.constant([2]),
                    "clicked": tf.constant([[2, 4]]),
                }
            )
            total = tf.add_n([tf.reduce_sum(v) for v in got.values()])
        item = tape.gradient(total, layer.tables["item"].embeddings)
        self.assertIsInstance(item, tf.IndexedSlices)
        sums = tf.reduce_sum(tf.convert_to_tensor(item), axis=1)
        self.assertAllEqual(sums[:5], [0, 0, 4, 0, 2])

    def test_grow_lets_all_tables_know_more_rows(self):
        layer = small({"user": 4, "item": 8})
        self.assertTrue(layer.grow({"user": 4, "item": 7}))
        self.assertEqual(layer.tables["user"].vocab_size.numpy(), 4)
        self.assertEqual(layer.tables["item"].vocab_size.numpy(), 7)

    def test_grow_changes_nothing_where_one_table_has_no_room(self):
        layer = small({"user": 4, "item": 8})
        self.assertFalse(layer.grow({"user": 4, "item": 9}))
        self.assertEqual(layer.tables["user"].vocab_size.numpy(), 3)
        self.assertEqual(layer.tables["item"].vocab_size.numpy(), 5)

    def test_capacities_rebuild_the_same_tables(self):
        first = FeatureEmbedding(TABLES, {"user": 100, "item": 3}, 2)
        second = FeatureEmbedding(
            TABLES, {"user": 101, "item": 3}, 2, first.capacities
        )
        self.assertEqual(second.capacities, first.capacities)

    def test_ids_that_are_known_stay_known(self):
        layer = small({"user": 4, "item": 8})
        self.assertTrue(layer.grow({"user": 2, "item": 6}))
        self.assertEqual(layer.tables["user"].vocab_size.numpy(), 3)
        self.assertEqual(layer.tables["item"].vocab_size.numpy(), 6)

    def test_rows_start_alike_in_layers_of_other_sizes(self):
        """Whichever tables there are, and whatever is drawn in between."""
        first = FeatureEmbedding(TABLES, {"user": 3, "item": 5}, 2, seed=7)
        tf.random.normal([5])
        second = FeatureEmbedding(
            {**TABLES, "category": "category"},
            {"user": 900, "item": 40, "category": 3},
            2,
            seed=7,
        )
        for name, table in first.tables.items():
            rows = second.tables[name].embeddings[: table.capacity]
            self.assertAllEqual(rows, table.embeddings)
        self.assertNotAllClose(
            second.tables["user"].embeddings[:8],
            second.tables["item"].embeddings[:8],
        )

    def test_capacity_below_the_rows_known_is_refused(self):
        with pytest.raises(ValueError, match="vocab_size=5, capacity=4"):
            small({"item": 4})


def test_capacity_is_room_for_one_row_more_at_least():
    # Steps of 8 at least, of a quarter of the power of two below from 32 on.
    assert [capacity(n) for n in (1, 7, 8, 100)] == [8, 8, 16, 112]
    assert capacity(1000) == 1024  # steps of 128
    assert capacity(1024) == 1280  # steps of 256
    for rows in range(1, 3000):
        assert rows < capacity(rows) <= rows + max(rows / 4, 8)


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("count", [5, 9000])
def test_the_compiled_lookup_is_the_plain_one(count, in_graph):
    """Vectors and gradients, with unknown rows, padding and duplicates."""
    layer = small()
    tables = [table.embeddings for table in layer.tables.values()]
    if not all(map(row_updates.usable, tables)):
        pytest.skip("there are no compiled ops here")
    random = np.random.default_rng(0)

    def rows(*shape):
        return tf.constant(random.integers(-1, 9, shape), tf.int32)

    inputs = {
        "user_id": rows(count),
        "item_id": rows(count),
        "clicked": rows(count, 3),
    }

    def look_up(training):
        with tf.GradientTape() as tape:
            vectors = layer(inputs, training=training)
            loss = tf.add_n([tf.reduce_sum(v * v) for v in vectors.values()])
        gradients = tape.gradient(loss, tables)
        return vectors, [tf.convert_to_tensor(g) for g in gradients]

    if in_graph:
        look_up = tf.function(look_up)
    plain, compiled = look_up(False), look_up(True)
    for name in inputs:
        np.testing.assert_array_equal(compiled[0][name], plain[0][name])
    for of_compiled, of_plain in zip(compiled[1], plain[1], strict=True):
        np.testing.assert_allclose(of_compiled, of_plain, rtol=1e-5)


def test_only_training_uses_the_compiled_lookup():
    """An exported model can be served where there is none."""
    layer = small()
    signature = {
        "user_id": tf.TensorSpec([None], tf.int32),
        "item_id": tf.TensorSpec([None], tf.int32),
        "clicked": tf.TensorSpec([None, 3], tf.int32),
    }
    names = {}
    for training in (True, False):
        graph = (
            tf.function(layer)
            .get_concrete_function(signature, training=training)
            .graph
        )
        names[training] = [op.type for op in graph.get_operations()]
    assert "EcdctrLookup" not in names[False]
    usable = row_updates.usable(layer.tables["item"].embeddings)
    assert names[True].count("EcdctrLookup") == usable
