import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.optimizers.lazy_adam import LazyAdam
from ecdctr_tf.optimizers.row_wise_adagrad import RowWiseAdagrad

ROWS, DIM = 6, 3
OPTIMIZERS = [LazyAdam, RowWiseAdagrad]


def steps(seed=0, count=5):
    """Return ids (with duplicates, never row 5) and gradients of steps."""
    random = np.random.default_rng(seed)
    return [
        (
            random.choice(ROWS - 1, 7),
            random.normal(size=[7, DIM]).astype(np.float32),
        )
        for _ in range(count)
    ]


def start():
    return np.random.default_rng(9).normal(size=[ROWS, DIM]).astype(np.float32)


def apply_sparse(optimizer, variable, ids, values):
    slices = tf.IndexedSlices(
        tf.constant(values),
        tf.constant(ids),
        tf.constant(variable.shape.as_list()),
    )
    optimizer.apply_gradients([(slices, variable)])


def summed(ids, values):
    """Return row -> sum of its gradients, as a dict."""
    sums = {}
    for row, value in zip(ids, values, strict=True):
        sums[row] = sums.get(row, 0) + value
    return sums


def lazy_adam_loop(w, batches, rate, b1, b2, epsilon):
    w, m, v = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, (ids, values) in enumerate(batches, start=1):
        for row, g in summed(ids, values).items():
            m[row] = b1 * m[row] + (1 - b1) * g
            v[row] = b2 * v[row] + (1 - b2) * g * g
            step = rate * np.sqrt(1 - b2**t) / (1 - b1**t)
            w[row] -= step * m[row] / (np.sqrt(v[row]) + epsilon)
    return w, m, v


def row_wise_loop(w, batches, rate, initial, epsilon):
    w, a = w.copy(), np.full(len(w), initial)
    for ids, values in batches:
        for row, g in summed(ids, values).items():
            a[row] += np.mean(g * g)
            w[row] -= rate * g / (np.sqrt(a[row]) + epsilon)
    return w, a


class OptimizersTest(tf.test.TestCase):
    def test_lazy_adam_matches_a_loop(self):
        variable = tf.Variable(start())
        optimizer = LazyAdam(0.1, beta_1=0.8, beta_2=0.95, epsilon=1e-3)
        for ids, values in steps():
            apply_sparse(optimizer, variable, ids, values)
        w, m, v = lazy_adam_loop(start(), steps(), 0.1, 0.8, 0.95, 1e-3)
        self.assertAllClose(variable, w, 1e-4, 1e-5)
        self.assertAllClose(optimizer._moments[0][0], m, 1e-4, 1e-6)
        self.assertAllClose(optimizer._moments[0][1], v, 1e-4, 1e-6)

    def test_row_wise_adagrad_matches_a_loop(self):
        variable = tf.Variable(start())
        optimizer = RowWiseAdagrad(0.1, initial_accumulator=0.2, epsilon=1e-3)
        for ids, values in steps():
            apply_sparse(optimizer, variable, ids, values)
        w, a = row_wise_loop(start(), steps(), 0.1, 0.2, 1e-3)
        self.assertAllClose(variable, w, 1e-4, 1e-5)
        self.assertAllClose(optimizer._accumulators[0], a, 1e-4)
        self.assertEqual(optimizer._accumulators[0].shape, [ROWS])

    def test_rows_out_of_the_batch_stay_as_they_are(self):
        for make in OPTIMIZERS:
            variable = tf.Variable(start())
            optimizer = make(0.1)
            apply_sparse(optimizer, variable, [1, 2], np.ones([2, DIM], "f"))
            state = [v for v in optimizer.variables if v.shape[:1] == [ROWS]]
            self.assertNotEmpty(state)
            before = [v.numpy() for v in (variable, *state)]
            apply_sparse(optimizer, variable, [2, 2], np.ones([2, DIM], "f"))
            for old, new in zip(before, (variable, *state), strict=True):
                changed = np.reshape(old != new.numpy(), [ROWS, -1]).any(1)
                self.assertAllEqual(changed, np.arange(ROWS) == 2)

    def test_lazy_adam_is_adam_for_dense_gradients(self):
        for shape in ([], [4], [2, 3]):
            values = [tf.random.normal(shape) for _ in range(4)]
            ours, theirs = tf.Variable(values[0]), tf.Variable(values[0])
            lazy = LazyAdam(0.05, epsilon=1e-4)
            adam = keras.optimizers.Adam(0.05, epsilon=1e-4, jit_compile=False)
            for gradient in values:
                lazy.apply_gradients([(gradient, ours)])
                adam.apply_gradients([(gradient, theirs)])
            self.assertAllClose(ours, theirs, 1e-5)

    def test_row_wise_adagrad_of_dense_gradients_matches_a_loop(self):
        for shape in ([], [4], [2, 3], [2, 2, 2]):
            random = np.random.default_rng(1)
            w, *gradients = random.normal(size=[4, *shape]).astype(np.float32)
            variable = tf.Variable(w)
            optimizer = RowWiseAdagrad(0.1)
            a = np.zeros(shape[:1])
            for g in gradients:
                optimizer.apply_gradients([(tf.constant(g), variable)])
                axes = tuple(range(1, len(shape)))
                a = a + np.mean(g * g, axis=axes, keepdims=False)
                spread = np.reshape(a, [*shape[:1], *[1] * (len(shape) - 1)])
                w = w - 0.1 * g / np.sqrt(spread)
            self.assertAllClose(variable, w, 1e-4, 1e-5)

    def test_rank_1_variables_have_sparse_updates(self):
        batches = [(ids, values[:, 0]) for ids, values in steps()]
        expected = {
            LazyAdam: lazy_adam_loop(
                start()[:, 0], batches, 0.1, 0.9, 0.999, 1e-7
            )[0],
            RowWiseAdagrad: row_wise_loop(
                start()[:, 0], batches, 0.1, 0.0, 1e-8
            )[0],
        }
        for make, values in expected.items():
            variable = tf.Variable(start()[:, 0])
            optimizer = make(0.1)
            for ids, gradients in batches:
                apply_sparse(optimizer, variable, ids, gradients)
            self.assertAllClose(variable, values, 1e-4, 1e-5)

    def test_a_step_makes_no_tensor_as_long_as_the_table(self):
        rows = 1237  # No other size of the graph.
        for make in OPTIMIZERS:
            variable = tf.Variable(tf.zeros([rows, DIM]))
            optimizer = make(0.1)
            optimizer.build([variable])

            @tf.function
            def step(ids, values, optimizer=optimizer, variable=variable):
                shape = tf.constant(variable.shape.as_list())
                slices = tf.IndexedSlices(values, ids, shape)
                optimizer.apply_gradients([(slices, variable)])

            graph = step.get_concrete_function(
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None, DIM], tf.float32),
            ).graph
            self.assertGreater(len(graph.get_operations()), 10)
            for operation in graph.get_operations():
                for output in operation.outputs:
                    shape = output.shape
                    long = shape.rank and shape[0] == rows
                    self.assertFalse(long, operation.name)

    def test_config_round_trip(self):
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
        made = [
            LazyAdam(0.2, beta_1=0.7, beta_2=0.8, epsilon=1e-2, clipnorm=3.0),
            RowWiseAdagrad(0.2, initial_accumulator=0.3, epsilon=1e-2),
            LazyAdam(schedule),
        ]
        for optimizer in made:
            again = type(optimizer).from_config(optimizer.get_config())
            self.assertEqual(again.get_config(), optimizer.get_config())
        self.assertEqual(made[0].get_config()["beta_1"], 0.7)
        self.assertEqual(made[1].get_config()["initial_accumulator"], 0.3)

    def test_they_learn_inside_fit(self):
        for make in OPTIMIZERS:
            model = keras.Sequential(
                [
                    keras.layers.Embedding(10, 4, input_length=1),
                    keras.layers.Flatten(),
                    keras.layers.Dense(1),
                ]
            )
            model.compile(make(0.1), "mse")
            x = np.arange(10)[:, np.newaxis]
            y = (x % 2).astype(np.float32)
            fitted = model.fit(x, y, epochs=30, batch_size=5, verbose=0)
            losses = fitted.history["loss"]
            self.assertLess(losses[-1], losses[0] / 10)


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_misspelt_argument_is_refused(make):
    with pytest.raises(TypeError, match="beta1"):
        make(0.1, beta1=0.5)
