import numpy as np
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.layers.batch_norm import BatchNorm

ROWS, COLUMNS = 33, 5


def drawn(seed=0):
    random = np.random.default_rng(seed)
    scale = np.arange(1, COLUMNS + 1)
    values = random.normal(3.0, 1.0, size=[ROWS, COLUMNS]) * scale
    return values.astype(np.float32)


class BatchNormTest(tf.test.TestCase):
    def test_is_the_batch_norm_of_keras(self):
        """Outputs, gradients and statistics, over steps and at inference."""
        ours, plain = (
            BatchNorm(momentum=0.8),
            keras.layers.BatchNormalization(momentum=0.8),
        )
        for seed in range(3):
            x, up = tf.constant(drawn(seed)), tf.constant(drawn(seed + 10))
            results = []
            for layer in (ours, plain):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    y = layer(x, training=True)
                sources = [x, layer.gamma, layer.beta]
                results.append([y, *tape.gradient(y, sources, up)])
            for found, expected in zip(*results, strict=True):
                self.assertAllClose(found, expected, 1e-4, 1e-4)
        self.assertAllClose(ours.moving_mean, plain.moving_mean, 1e-5)
        # Fused batch norm keeps the unbiased variance: n / (n - 1) of it.
        kept = 0.8**3  # What is left of the first value, 1.
        unbiased = (plain.moving_variance - kept) * ROWS / (ROWS - 1) + kept
        self.assertAllClose(ours.moving_variance, unbiased, 1e-4)
        ours.moving_variance.assign(plain.moving_variance)
        x = drawn(7)
        self.assertAllClose(ours(x), plain(x), 1e-4, 1e-4)

    def test_its_weights_have_the_names_and_shapes_of_keras(self):
        ours, plain = BatchNorm(), keras.layers.BatchNormalization()
        for layer in (ours, plain):
            layer(drawn())
        for found, expected in zip(ours.weights, plain.weights, strict=True):
            self.assertEqual(found.shape, expected.shape)
            self.assertEqual(
                found.name.split("/")[-1], expected.name.split("/")[-1]
            )

    def test_statistics_of_bfloat16_inputs_are_float32(self):
        layer = BatchNorm(dtype="mixed_bfloat16")
        y = layer(drawn(), training=True)
        self.assertEqual(y.dtype, tf.bfloat16)
        for weight in layer.weights:
            self.assertEqual(weight.dtype, tf.float32)
        plain = BatchNorm()(drawn(), training=True)
        self.assertAllClose(tf.cast(y, tf.float32), plain, 0.02, 0.02)

    def test_a_batch_of_one_is_finite(self):
        layer = BatchNorm()
        y = layer(drawn()[:1], training=True)
        self.assertAllClose(y, tf.zeros([1, COLUMNS]))
        for weight in layer.weights:
            self.assertAllEqual(tf.math.is_finite(weight), [True] * COLUMNS)
