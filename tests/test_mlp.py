import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf.layers.mlp import MLP

EPSILON = 1e-3  # Of Keras's batch norm.


def drawn(rows=16, width=3):
    return np.random.default_rng(0).normal(2, 3, [rows, width]).astype("f")


class MLPTest(tf.test.TestCase):
    def test_training_uses_the_statistics_of_the_batch(self):
        x = drawn()
        layer = MLP((4, 2), 0.9)
        got = layer(x, training=True)
        expected = x
        for dense in layer.dense:
            h = expected @ dense.kernel.numpy()
            h = (h - h.mean(0)) / np.sqrt(h.var(0) + EPSILON)
            expected = np.maximum(h, 0)
        self.assertAllClose(got, expected, 1e-4, 1e-4)

    def test_layers_one_by_one_and_what_is_added(self):
        """A sum joins before batch norm; the last state is the output."""
        x, layer = drawn(), MLP((4, 2), 0.9)
        expected = layer(x)
        states = layer.states(x)
        self.assertAllClose(states[0], x)
        self.assertEqual([s.shape[1] for s in states], [3, 4, 2])
        self.assertAllClose(states[-1], expected)
        added = np.array([[1, -1, 0, 9]], np.float32)
        h = (x @ layer.dense[0].kernel.numpy() + added) / np.sqrt(1 + EPSILON)
        got = layer.layer(0, x, added=added)
        self.assertAllClose(got, np.maximum(h, 0), 1e-4, 1e-4)

    def test_inference_uses_the_moving_statistics(self):
        x = drawn()
        layer = MLP((4,), 0.9)
        layer(x)
        gamma, beta, mean, variance = (
            np.array(v, np.float32)
            for v in ([1, 2, 3, 4], [0, 1, 0, 1], [1, 0, -1, 0], [4, 1, 1, 9])
        )
        layer.norms[0].set_weights([gamma, beta, mean, variance])
        h = x @ layer.dense[0].kernel.numpy()
        h = gamma * (h - mean) / np.sqrt(variance + EPSILON) + beta
        expected = np.maximum(h, 0)
        self.assertAllClose(layer(x, training=False), expected, 1e-4, 1e-4)
        # A row's output does not depend on the others': a batch of one.
        one = layer(x[:1], training=False)
        self.assertAllClose(one, expected[:1], 1e-4, 1e-4)

    def test_momentum_is_the_share_of_the_old_value(self):
        x = drawn()
        layer = MLP((4,), 0.75)
        layer(x, training=True)
        h = x @ layer.dense[0].kernel.numpy()
        norm = layer.norms[0]
        self.assertAllClose(norm.moving_mean, 0.25 * h.mean(0), 1e-4, 1e-5)
        self.assertAllClose(
            norm.moving_variance, 0.75 + 0.25 * h.var(0, ddof=1), 1e-4, 1e-4
        )
        before = norm.moving_mean.numpy()
        layer(x, training=False)
        self.assertAllEqual(norm.moving_mean, before)

    def test_gradients_reach_kernels_gamma_and_beta(self):
        layer = MLP((8, 8), 0.9)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(drawn(), training=True)))
        variables = layer.trainable_variables
        self.assertLen(variables, 6)
        for gradient in tape.gradient(loss, variables):
            self.assertIsNotNone(gradient)
        self.assertLen(layer.non_trainable_variables, 4)

    def test_l2_is_of_the_squared_kernels(self):
        layer = MLP((4, 2), 0.9, l2=0.1)
        layer(drawn())
        squares = [np.square(d.kernel).sum() for d in layer.dense]
        self.assertAllClose(sum(layer.losses), 0.1 * sum(squares))
        plain = MLP((4,), 0.9)
        plain(drawn())
        self.assertEqual(plain.losses, [])

    def test_no_layers_pass_the_input_on(self):
        x = drawn()
        self.assertAllEqual(MLP((), 0.9)(x), x)


def test_bad_units_are_refused():
    with pytest.raises(ValueError, match="units"):
        MLP((-1,), 0.9)
