import numpy as np
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.layers.batch_norm import BatchNorm, of_last_batch

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

    def test_a_smaller_batch_counts_for_less(self):
        """Two halves of a batch leave as much of the old as one batch does."""
        x = drawn()[:32]
        layer = BatchNorm(momentum=0.8)
        layer.full_batch = 32
        layer(x)
        layer.moving_mean.assign(tf.fill([COLUMNS], 10.0))
        layer(x[:16], training=True)
        kept = 0.8**0.5
        first = kept * 10 + (1 - kept) * x[:16].mean(0)
        self.assertAllClose(layer.moving_mean, first, 1e-4)
        self.assertAllClose(
            layer.moving_variance,
            kept + (1 - kept) * x[:16].var(0, ddof=1),
            1e-4,
        )
        layer(x[16:], training=True)
        second = kept * first + (1 - kept) * x[16:].mean(0)
        self.assertAllClose(layer.moving_mean, second, 1e-4)

    def test_a_full_batch_counts_as_in_keras(self):
        x = drawn()
        plain, ours = BatchNorm(momentum=0.8), BatchNorm(momentum=0.8)
        ours.full_batch = ROWS
        for layer in (plain, ours):
            layer(x, training=True)
        self.assertAllClose(ours.moving_mean, plain.moving_mean, 1e-5)
        self.assertAllClose(ours.moving_variance, plain.moving_variance, 1e-5)

    def test_a_batch_of_one_row_leaves_hardly_a_trace(self):
        """Its variance is 0, and a tenth of that would be lost."""
        layer = BatchNorm(momentum=0.9)
        layer.full_batch = 512
        layer(tf.zeros([1, COLUMNS]))
        layer.moving_variance.assign(tf.fill([COLUMNS], 9.0))
        layer(tf.fill([1, COLUMNS], 30.0), training=True)
        kept = 0.9 ** (1 / 512)
        self.assertAllClose(
            layer.moving_mean, [30 * (1 - kept)] * COLUMNS, 1e-3
        )
        self.assertAllClose(layer.moving_variance, [9 * kept] * COLUMNS, 1e-5)

    def test_statistics_may_be_those_of_the_last_batch(self):
        """Whatever they were before; momentum is as it was afterwards."""
        layer = BatchNorm(momentum=0.8)
        layer.full_batch = 100
        layer(drawn())
        layer.moving_mean.assign(tf.fill([COLUMNS], 1e3))
        with of_last_batch([layer]):
            for seed in range(3):
                layer(drawn(seed), training=True)
        self.assertAllClose(layer.moving_mean, drawn(2).mean(0), 1e-4)
        variance = drawn(2).var(0, ddof=1)
        self.assertAllClose(layer.moving_variance, variance, 1e-4)
        self.assertEqual((layer.momentum, layer.full_batch), (0.8, 100))

    def test_what_fails_leaves_the_momentum(self):
        layer = BatchNorm(momentum=0.8)
        layer(drawn())
        with (
            self.assertRaisesRegex(ValueError, "stopped"),
            of_last_batch([layer]),
        ):
            raise ValueError("stopped")
        self.assertEqual((layer.momentum, layer.full_batch), (0.8, 0))

    def test_a_batch_of_one_is_finite(self):
        layer = BatchNorm()
        y = layer(drawn()[:1], training=True)
        self.assertAllClose(y, tf.zeros([1, COLUMNS]))
        for weight in layer.weights:
            self.assertAllEqual(tf.math.is_finite(weight), [True] * COLUMNS)
