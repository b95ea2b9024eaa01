import numpy as np
import tensorflow as tf

from ecdctr_tf.layers.target_attention import TargetAttention


def by_loop(layer, query, keys, mask):
    """Return the pooled interest by a loop over rows and behaviors."""
    w1, b1 = (v.numpy() for v in layer.hidden.weights)
    w2, b2 = (v.numpy() for v in layer.score.weights)
    pooled = np.zeros_like(query)
    for b, q in enumerate(query):
        weights = np.zeros(len(keys[b]))
        for t, k in enumerate(keys[b]):
            pair = np.concatenate([q, k, q - k, q * k])
            (score,) = np.maximum(pair @ w1 + b1, 0) @ w2 + b2
            weights[t] = mask[b, t] * (
                np.exp(score) if layer.normalised else score
            )
        if layer.normalised and weights.any():
            weights /= weights.sum()
        pooled[b] = weights @ keys[b]
    return pooled


def drawn(batch=4, length=5, dim=3, seed=0):
    random = np.random.default_rng(seed)
    query = random.normal(size=[batch, dim]).astype(np.float32)
    keys = random.normal(size=[batch, length, dim]).astype(np.float32)
    mask = random.random([batch, length]) < 0.6
    return query, keys, mask


class TargetAttentionTest(tf.test.TestCase):
    def test_call_matches_a_loop(self):
        query, keys, mask = drawn()
        layer = TargetAttention(7)
        layer(query, keys, mask)
        layer.hidden.bias.assign(np.linspace(-1, 1, 7))
        layer.score.bias.assign([0.3])
        got = layer(query, keys, mask)
        self.assertAllClose(got, by_loop(layer, query, keys, mask), 1e-5)

    def test_normalised_weights_match_a_loop(self):
        query, keys, mask = drawn()
        counts = np.where(mask, [0.5, 1, 2, 3, 0.1], 0).astype(np.float32)
        layer = TargetAttention(7, normalised=True)
        layer(query, keys, counts)
        layer.hidden.bias.assign(np.linspace(-1, 1, 7))
        layer.score.kernel.assign(9 * layer.score.kernel)
        got = layer(query, keys, counts)
        self.assertAllClose(got, by_loop(layer, query, keys, counts), 1e-5)
        # What all count alike does not matter, nor what all score alike.
        layer.score.bias.assign([50.0])
        self.assertAllClose(layer(query, keys, 4 * counts), got, 1e-4, 1e-5)

    def test_empty_sequence_gives_zeros(self):
        query, keys, mask = drawn()
        mask[1] = False
        for normalised in (False, True):
            layer = TargetAttention(normalised=normalised)
            layer(query, keys, mask)
            layer.score.bias.assign([2.0])
            got = layer(query, keys, mask).numpy()
            self.assertAllEqual(got[1], np.zeros(3))
            self.assertNotAllClose(got[0], np.zeros(3))

    def test_masked_entries_have_no_influence(self):
        query, keys, mask = drawn()
        for normalised in (False, True):
            layer = TargetAttention(normalised=normalised)
            expected = layer(query, keys, mask)
            other = np.where(mask[:, :, np.newaxis], keys, 1e4)
            self.assertAllEqual(layer(query, other, mask), expected)

    def test_shapes_of_a_batch_of_one_and_one_behavior(self):
        for length in (1, 4):
            query, keys, mask = drawn(1, length)
            got = TargetAttention()(query, keys, mask)
            self.assertEqual(got.shape, [1, 3])

    def test_gradients_reach_all_weights_and_no_masked_key(self):
        query, keys, mask = drawn()
        mask[1] = False
        keys = tf.constant(keys)
        for normalised in (False, True):
            layer = TargetAttention(normalised=normalised)
            with tf.GradientTape() as tape:
                tape.watch(keys)
                loss = tf.reduce_sum(tf.square(layer(query, keys, mask)))
            of_weights, of_keys = tape.gradient(
                loss, (layer.trainable_variables, keys)
            )
            self.assertLen(of_weights, 4)
            # What is added to all scores does not change normalised weights.
            for gradient in of_weights[: 3 if normalised else 4]:
                self.assertGreater(np.abs(gradient).max(), 0)
            touched = np.abs(of_keys).max(axis=2) > 0
            self.assertAllEqual(touched, mask)

    def test_widths_that_differ_are_refused(self):
        query, keys, mask = drawn()
        with self.assertRaises(tf.errors.InvalidArgumentError):
            TargetAttention()(query[:, :2], keys, mask)
