import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf.layers import table_embedding
from ecdctr_tf.layers.table_embedding import TableEmbedding
from ecdctr_tf.transfer import checkpoint


def numbered(capacity=6, dim=2, vocab_size=4):
    """Return a table whose row n is [n + 1, 10 * (n + 1)], and so on."""
    table = TableEmbedding(capacity, dim, vocab_size, name="item")
    rows = np.arange(1, capacity + 1, dtype=np.float32)[:, np.newaxis]
    table.embeddings.assign(rows * 10.0 ** np.arange(dim))
    return table


class TableEmbeddingTest(tf.test.TestCase):
    def test_call_reads_rows_of_ids_and_sequences(self):
        got = numbered()(
            {
                "item": tf.constant([3, 1]),
                "clicked": tf.constant([[2, 3, -1], [-1, -1, -1]]),
            }
        )
        self.assertAllEqual(got["item"], [[4, 40], [2, 20]])
        self.assertAllEqual(
            got["clicked"],
            [[[3, 30], [4, 40], [0, 0]], [[0, 0], [0, 0], [0, 0]]],
        )

    def test_call_reads_row_0_for_rows_past_the_vocabulary(self):
        got = numbered()({"item": tf.constant([3, 4, 5, 6, 10**6])})
        unknown = [1, 10]
        self.assertAllEqual(got["item"], [[4, 40]] + [unknown] * 4)

    def test_set_vocab_size_makes_rows_known_without_a_new_trace(self):
        table = numbered()
        traces = []

        @tf.function
        def look_up(rows):
            traces.append(1)
            return table({"item": rows})["item"]

        rows = tf.constant([4, 5])
        self.assertAllEqual(look_up(rows), [[1, 10], [1, 10]])
        table.set_vocab_size(5)
        self.assertAllEqual(look_up(rows), [[5, 50], [1, 10]])
        self.assertLen(traces, 1)

    def test_gradient_is_sparse_and_nothing_for_padding(self):
        table = numbered()
        with tf.GradientTape() as tape:
            got = table(
                {
                    "item": tf.constant([2, 9]),  # 9 is unknown: row 0
                    "clicked": tf.constant([[2, -1, 1], [-1, -1, -1]]),
                }
            )
            total = tf.reduce_sum(got["item"]) + 2 * tf.reduce_sum(
                got["clicked"]
            )
        gradient = tape.gradient(total, table.embeddings)
        self.assertIsInstance(gradient, tf.IndexedSlices)
        # Row 0 once by the unknown id; four paddings give it nothing.
        self.assertAllEqual(
            tf.convert_to_tensor(gradient),
            [[1, 1], [2, 2], [3, 3], [0, 0], [0, 0], [0, 0]],
        )

    def test_several_features_are_one_gather(self):
        table = numbered()
        look_up = tf.function(lambda rows: table(rows))
        graph = look_up.get_concrete_function(
            {n: tf.TensorSpec([None], tf.int32) for n in ("a", "b", "c")}
        ).graph
        gathers = [o for o in graph.get_operations() if "Gather" in o.type]
        self.assertLen(gathers, 1)

    def test_shapes_are_known_when_traced(self):
        table = numbered(dim=3)

        @tf.function
        def look_up(item, clicked):
            got = table({"item": item, "clicked": clicked})
            self.assertEqual(got["item"].shape.as_list(), [None, 3])
            self.assertEqual(got["clicked"].shape.as_list(), [None, 2, 3])
            return got

        signature = (
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 2], tf.int32),
        )
        look_up.get_concrete_function(*signature)

    def test_batch_of_one_and_of_none(self):
        table = numbered()
        one = table({"a": tf.constant([1]), "b": tf.constant([[2]])})
        self.assertAllEqual(one["a"], [[2, 20]])
        self.assertAllEqual(one["b"], [[[3, 30]]])
        none = table({"a": tf.zeros([0], tf.int32)})["a"]
        self.assertEqual(none.shape, [0, 2])

    def test_only_the_rows_are_trained(self):
        table = numbered()
        self.assertLen(table.trainable_variables, 1)
        self.assertIs(table.trainable_variables[0], table.embeddings)

    def test_bad_sizes_are_rejected(self):
        for vocab_size in (0, 7):
            with pytest.raises(ValueError, match="between 1 and `capacity`"):
                TableEmbedding(6, 2, vocab_size)
        # No room for 7 rows; of the 4 that are known none is forgotten.
        for rows in (7, 3):
            with pytest.raises(ValueError, match=f"4 rows .* Received: {rows}"):
                numbered().set_vocab_size(rows)


class InitialRowsTest(tf.test.TestCase):
    def test_a_row_starts_alike_at_any_capacity(self):
        small, large = (
            TableEmbedding(capacity, 3, 1, seed=5, name="item")
            for capacity in (7, 50_000)
        )
        self.assertAllEqual(large.embeddings[:7], small.embeddings)
        self.assertAllEqual(small.initial_rows(2, 60), large.embeddings[2:60])
        self.assertEqual(small.initial_rows(4, 4).shape, (0, 3))

    def test_values_are_uniform_and_of_their_own_row(self):
        values = TableEmbedding(5000, 3, 1, seed=5, name="item").embeddings
        self.assertAllInRange(values, -0.05, 0.05)
        self.assertAllClose(np.mean(values), 0, atol=2e-3)
        self.assertAllClose(np.std(values), 0.1 / np.sqrt(12), rtol=0.02)
        self.assertLen(np.unique(values, axis=0), 5000)

    def test_seed_and_name_decide_the_values(self):
        def rows(seed, name):
            return TableEmbedding(4, 2, 1, seed=seed, name=name).embeddings

        self.assertAllEqual(rows(5, "item"), rows(5, "item"))
        self.assertNotAllClose(rows(5, "item"), rows(6, "item"))
        self.assertNotAllClose(rows(5, "item"), rows(5, "user"))

    def test_a_shard_has_the_rows_of_the_whole_table(self):
        """As a partitioner asks for its parts."""
        initial = table_embedding._ByRow(5, "item")
        whole = initial([20, 3])
        for first, count in ((0, 8), (8, 7), (15, 5)):
            part = initial(
                [20, 3],
                partition_offset=[first, 0],
                partition_shape=[count, 3],
            )
            self.assertAllEqual(part, whole[first : first + count])


class BucketsTest(tf.test.TestCase):
    def test_unknown_ids_read_their_bucket_until_they_are_known(self):
        table = TableEmbedding(8, 2, 5, name="item")
        # Rows 0 to 2 are buckets; the ids of rows 5 and 6 have buckets 2, 1.
        table.set_buckets(np.array([0, 1, 2, 1, 0, 2, 1]))
        rows = {"item": tf.constant([1, 4, 5, 6])}
        expected = tf.gather(table.embeddings, [1, 4, 2, 1])
        self.assertAllEqual(table(rows)["item"], expected)
        table.set_vocab_size(6)
        expected = tf.gather(table.embeddings, [1, 4, 5, 1])
        self.assertAllEqual(table(rows)["item"], expected)

    def test_padding_stays_padding(self):
        table = TableEmbedding(8, 2, 5, name="item")
        table.set_buckets(np.array([0, 1, 0, 1, 0, 1]))
        vectors = table({"clicked": tf.constant([[5, -1]])})["clicked"]
        self.assertAllEqual(vectors[0], [table.embeddings[1], [0.0, 0.0]])

    def test_checkpoints_do_not_hold_them(self):
        table = TableEmbedding(8, 2, 5, name="item")
        table.set_buckets(np.array([0, 1]))
        named = checkpoint.named_variables({"table": table})
        self.assertEqual(list(named), ["table/embeddings"])
