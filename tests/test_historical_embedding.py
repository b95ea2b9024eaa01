import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf.layers.historical_embedding import (
    HistoricalEmbedding,
    HistoricalTable,
    SnapshotSelfAttention,
)

# Days from which three versions of four ids of width 2 may be seen.
VISIBLE_FROM = [100, 130, 160]
# Version s holds 10 ** s * [id + 1, -(id + 1)].
VECTORS = np.array(
    [
        [[10**s * (i + 1), -(10**s) * (i + 1)] for i in range(4)]
        for s in (0, 1, 2)
    ],
    np.float32,
)
# Id 0 is in no version, 1 in all, 2 in the first and last, 3 in the second.
PRESENT = np.array([[0, 1, 1, 0], [0, 1, 0, 1], [0, 1, 1, 0]], bool)


def table():
    return HistoricalTable(VECTORS, PRESENT, VISIBLE_FROM)


def look_up(layer, rows, days):
    vectors, flags = layer(tf.constant(rows), tf.constant(days), table())
    return vectors.numpy(), flags.numpy()


class HistoricalTableTest(tf.test.TestCase):
    def test_lookup_sees_versions_of_before_the_day_only(self):
        days = [99, 100, 129, 130, 159, 160, 5000]
        vectors, found = table().lookup(
            tf.fill([len(days)], 1), tf.constant(days), 1
        )
        expected = [0, 2, 2, 20, 20, 200, 200]
        self.assertAllEqual(vectors[:, 0, 0], expected)
        self.assertAllEqual(found[:, 0], [False] + [True] * 6)

    def test_lookup_gives_the_newest_first(self):
        vectors, found = table().lookup(
            tf.constant([1, 1, 1]), tf.constant([170, 131, 99]), 3
        )
        self.assertAllEqual(
            vectors[:, :, 0], [[200, 20, 2], [20, 2, 0], [0, 0, 0]]
        )
        self.assertAllEqual(
            found, [[True] * 3, [True, True, False], [False] * 3]
        )

    def test_lookup_matches_a_loop(self):
        random = np.random.default_rng(0)
        rows = random.integers(-1, 6, 60).astype(np.int32)
        days = random.integers(90, 170, 60).astype(np.int32)
        vectors, found = table().lookup(rows, days, 2)
        for b, (row, day) in enumerate(zip(rows, days, strict=True)):
            newest_first = [s for s in (2, 1, 0) if VISIBLE_FROM[s] <= day]
            for k in range(2):
                there = False
                if k < len(newest_first) and 0 <= row < 4:
                    there = PRESENT[newest_first[k], row]
                expected = VECTORS[newest_first[k], row] if there else [0, 0]
                self.assertAllEqual(vectors[b, k], expected)
                self.assertEqual(bool(found[b, k]), bool(there))

    def test_nothing_of_a_table_is_trained(self):
        self.assertEmpty(table().trainable_variables)
        self.assertLen(table().variables, 3)

    def test_bad_shapes_and_dates_are_refused(self):
        shapes = r"the shapes \[S, V, D\], \[S, V\] and \[S\]"
        with pytest.raises(ValueError, match=shapes):
            HistoricalTable(VECTORS[0], PRESENT[0], [1])
        with pytest.raises(ValueError, match=shapes):
            HistoricalTable(VECTORS, PRESENT[:1], VISIBLE_FROM)
        with pytest.raises(ValueError, match=shapes):
            HistoricalTable(VECTORS, PRESENT, [100, 130])
        with pytest.raises(ValueError, match="should increase from version"):
            HistoricalTable(VECTORS, PRESENT, [100, 160, 160])


class HistoricalEmbeddingTest(tf.test.TestCase):
    def test_single_reads_the_newest_version(self):
        layer = HistoricalEmbedding("single", 3)
        vectors, flags = look_up(layer, [1, 3, 3, 2], [160, 160, 159, 129])
        # Id 3 is absent from the newest version of day 160: no history.
        self.assertAllEqual(vectors, [[200, -200], [0, 0], [40, -40], [3, -3]])
        self.assertAllEqual(flags, [[1], [0], [1], [1]])
        self.assertEmpty(layer.weights)

    def test_unknown_and_larger_rows_have_no_history(self):
        for mode in HistoricalEmbedding.MODES:
            layer = HistoricalEmbedding(mode, 2)
            vectors, flags = look_up(layer, [0, 4, 9999, -1], [200] * 4)
            self.assertAllEqual(vectors, np.zeros_like(vectors))
            self.assertAllEqual(flags, np.zeros([4, 1]))

    def test_concat_puts_the_newest_side_by_side(self):
        layer = HistoricalEmbedding("concat", 2)
        vectors, flags = look_up(
            layer, [1, 2, 3, 1, 1], [160, 160, 160, 129, 9]
        )
        self.assertAllEqual(
            vectors,
            [
                [200, -200, 20, -20],
                [300, -300, 0, 0],
                [0, 0, 40, -40],
                [2, -2, 0, 0],
                [0, 0, 0, 0],
            ],
        )
        self.assertAllEqual(flags, [[1], [1], [1], [1], [0]])

    def test_attention_averages_the_versions_there_are(self):
        layer = HistoricalEmbedding("attention", 3)
        look_up(layer, [1], [160])
        layer.scorer.set_weights([np.array([[0.01], [0.0]]), np.array([0.5])])
        layer.age_bias.assign([0.0, 1.0, 2.0])
        vectors, flags = look_up(layer, [1, 2, 3, 0], [160] * 4)
        # Scores: 0.01 * first number + 0.5 + bias of the age.
        a, b, c = np.exp([2.5, 0.2 + 1.5, 0.02 + 2.5])
        first = (200 * a + 20 * b + 2 * c) / (a + b + c)
        # Id 2 is absent from the version in the middle.
        a, c = np.exp([3.5, 0.03 + 2.5])
        second = (300 * a + 3 * c) / (a + c)
        self.assertAllClose(vectors[:, 0], [first, second, 40, 0], 1e-5)
        self.assertAllClose(vectors[:, 1], -vectors[:, 0])
        self.assertAllEqual(flags, [[1], [1], [1], [0]])

    def test_attention_without_history_has_finite_gradients(self):
        layer = HistoricalEmbedding("attention", 2)
        look_up(layer, [1], [160])
        with tf.GradientTape() as tape:
            vectors, _ = layer(
                tf.constant([0, 1]), tf.constant([160, 9]), table()
            )
            loss = tf.reduce_sum(vectors)
        for gradient in tape.gradient(loss, layer.trainable_variables):
            self.assertAllEqual(gradient, np.zeros(gradient.shape))

    def test_gradients_reach_the_scorer_and_no_vector(self):
        layer, frozen = HistoricalEmbedding("attention", 2), table()
        rows, days = tf.constant([1]), tf.constant([160])
        layer(rows, days, frozen)
        layer.scorer.kernel.assign([[0.01], [0.01]])
        with tf.GradientTape() as tape:
            vectors, _ = layer(rows, days, frozen)
            loss = tf.reduce_sum(vectors[:, 0])
        self.assertLen(layer.trainable_variables, 3)
        kernel, bias = layer.scorer.kernel, layer.age_bias
        of_kernel, of_bias, of_vectors = tape.gradient(
            loss, (kernel, bias, frozen.vectors)
        )
        self.assertGreater(np.abs(of_kernel).min(), 0)
        self.assertGreater(np.abs(of_bias).min(), 0)
        self.assertIsNone(of_vectors)

    def test_batch_of_one_keeps_its_shape(self):
        for mode in HistoricalEmbedding.MODES:
            width = 6 if mode == "concat" else 2
            layer = HistoricalEmbedding(mode, 3)
            vectors, flags = look_up(layer, [1], [160])
            self.assertEqual(vectors.shape, (1, width))
            self.assertEqual(flags.shape, (1, 1))

    def test_dropped_rows_have_no_history(self):
        rows, days = tf.constant([1, 1]), tf.constant([160, 160])
        for mode in HistoricalEmbedding.MODES:
            layer = HistoricalEmbedding(mode, 2)
            kept, _ = layer(rows, days, table())
            vectors, flags = layer(
                rows, days, table(), tf.constant([True, False])
            )
            self.assertAllEqual(vectors[0], np.zeros_like(vectors[0]))
            self.assertAllClose(vectors[1], kept[1])
            self.assertAllEqual(flags, [[0], [1]])

    def test_unknown_mode_is_rejected(self):
        with pytest.raises(ValueError, match="one of single, concat, .*'mean'"):
            HistoricalEmbedding("mean", 3)


class SnapshotSelfAttentionTest(tf.test.TestCase):
    def attention(self, query, key):
        """Return a layer with these projections, and its own for values."""
        layer = SnapshotSelfAttention()
        layer(tf.zeros([1, 1, 2]), tf.constant([[True]]))
        layer.query.assign(query)
        layer.key.assign(key)
        return layer

    def test_it_starts_from_the_mean_of_the_snapshots(self):
        """Values are the vectors themselves where all scores are equal."""
        vectors = tf.constant([[[1.0, 2], [3, 4], [8, 0]]])
        layer = self.attention(tf.zeros([2, 2]), tf.eye(2))
        self.assertAllClose(layer(vectors, tf.fill([1, 3], True)), [[4, 2]])
        # Small vectors have small scores with the first projections, too.
        fresh = SnapshotSelfAttention()(vectors / 100, tf.fill([1, 3], True))
        self.assertAllClose(fresh, [[0.04, 0.02]], 0, 1e-3)

    def test_snapshots_that_do_not_know_the_id_do_not_count(self):
        """Neither as what is read nor in the mean."""
        layer = self.attention(tf.zeros([2, 2]), tf.eye(2))
        vectors = tf.constant([[[1.0, 2], [0, 0], [8, 0]]] * 3)
        found = [[True, False, True], [False, True, True], [False] * 3]
        got = layer(vectors, tf.constant(found))
        self.assertAllClose(got, [[4.5, 1], [4, 0], [0, 0]])

    def test_scores_are_scaled_products_of_queries_and_keys(self):
        layer = self.attention(tf.eye(2), tf.eye(2))
        got = layer(tf.constant([[[1.0, 0], [0, 2]]]), tf.fill([1, 2], True))
        # Scores of the first are 1 and 0, of the second 0 and 4, over sqrt(2).
        first = 1 / (1 + np.exp(-1 / np.sqrt(2)))
        second = 1 / (1 + np.exp(-4 / np.sqrt(2)))
        expected = [(first + 1 - second) / 2, (1 - first) + second]
        self.assertAllClose(got, [expected], 1e-5)

    def test_gradients_are_finite_and_reach_all_weights(self):
        layer = SnapshotSelfAttention()
        vectors = tf.constant([[[1.0, 2], [3, -1]]] * 3)
        found = tf.constant([[True, True], [True, False], [False, False]])
        layer(vectors, found)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(vectors, found) ** 2)
        self.assertLen(layer.trainable_variables, 3)
        for gradient in tape.gradient(loss, layer.trainable_variables):
            self.assertTrue(np.isfinite(gradient).all())
            self.assertGreater(np.abs(gradient).max(), 0)
