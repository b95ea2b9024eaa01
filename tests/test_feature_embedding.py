import pytest
import tensorflow as tf

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
