"""Optimizers against NumPy loops, with the compiled updates and without."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.kernels import row_updates
from ecdctr_tf.optimizers.lazy_adam import LazyAdam
from ecdctr_tf.optimizers.row_wise_adagrad import RowWiseAdagrad

ROWS, WIDTH = 6, 3
OPTIMIZERS = [LazyAdam, RowWiseAdagrad]
# Not their defaults, so that none passes unused.
ARGUMENTS = {
    LazyAdam: {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
    RowWiseAdagrad: {"initial_accumulator": 0.2, "epsilon": 1e-3},
}
COMPILED, FALLBACK = "compiled", "fallback"

both = pytest.mark.parametrize("make", OPTIMIZERS)


@pytest.fixture(params=[COMPILED, FALLBACK])
def path(request, monkeypatch):
    """Run a test with the compiled updates and with TensorFlow's own ops."""
    take(request.param, monkeypatch)
    return request.param


@pytest.fixture
def compiled(monkeypatch):
    take(COMPILED, monkeypatch)


def take(path, monkeypatch):
    if path == FALLBACK:
        monkeypatch.setattr(row_updates, "load", lambda: None)
    elif row_updates.load() is None:
        pytest.skip("no compiled updates: switched off, or a warning says why")


def steps(rows=ROWS, width=WIDTH, lookups=7, count=5, index="int64", seed=0):
    """Return ids (with duplicates, never the last row) and gradients."""
    random = np.random.default_rng(seed)
    return [
        (
            random.choice(rows - 1, lookups).astype(index),
            random.normal(size=[lookups, width]).astype("f"),
        )
        for _ in range(count)
    ]


def start(rows=ROWS, width=WIDTH):
    return np.random.default_rng(9).normal(size=[rows, width]).astype("f")


def sparse(ids, values, variable):
    return tf.IndexedSlices(
        tf.constant(values),
        tf.constant(ids),
        tf.constant(variable.shape.as_list()),
    )


def apply_sparse(optimizer, variable, ids, values):
    optimizer.apply_gradients([(sparse(ids, values, variable), variable)])


def trained(make, batches, w, rate=0.1, **arguments):
    """Return weights and state after the batches, as arrays."""
    variable = tf.Variable(w)
    optimizer = make(rate, **{**ARGUMENTS[make], **arguments})
    for ids, values in batches:
        apply_sparse(optimizer, variable, ids, values)
    return [v.numpy() for v in (variable, *optimizer._states[0])]


def summed(ids, values):
    """Return row -> sum of its gradients, as a dict."""
    sums = {}
    for row, value in zip(ids, values, strict=True):
        sums[row] = sums.get(row, 0) + value.astype("d")
    return sums


def unclipped(sums):
    return sums


def loop(make, batches, w, rate=0.1, decay=0.0, clip=unclipped):
    """Return what `trained` should return.

    Args:
      make: the optimizer.
      batches: `(ids, gradients)` of steps.
      w: first weights.
      rate: number of the step, from 0 -> learning rate; or a number.
      decay: weight decay.
      clip: row -> sum of gradients, to the same.
    """
    rate = rate if callable(rate) else lambda t, value=rate: value
    rule = {LazyAdam: lazy_adam_loop, RowWiseAdagrad: row_wise_loop}[make]
    clipped = [clip(summed(ids, values)) for ids, values in batches]
    return rule(w.astype("d"), clipped, rate, decay, **ARGUMENTS[make])


def lazy_adam_loop(w, batches, rate, decay, beta_1, beta_2, epsilon):
    w, m, v = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, sums in enumerate(batches, start=1):
        step = rate(t - 1) * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        for row, g in sums.items():
            m[row] = beta_1 * m[row] + (1 - beta_1) * g
            v[row] = beta_2 * v[row] + (1 - beta_2) * g * g
            w[row] -= rate(t - 1) * decay * w[row]
            w[row] -= step * m[row] / (np.sqrt(v[row]) + epsilon)
    return w, m, v


def row_wise_loop(w, batches, rate, decay, initial_accumulator, epsilon):
    w, a = w.copy(), np.full(len(w), initial_accumulator)
    for t, sums in enumerate(batches):
        for row, g in sums.items():
            a[row] += np.mean(g * g)
            w[row] -= rate(t) * decay * w[row]
            w[row] -= rate(t) * g / (np.sqrt(a[row]) + epsilon)
    return w, a


def assert_close(actual, expected, relative=1e-4, absolute=1e-5):
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, relative, absolute)


@both
@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("width", [1, 3, 17])
def test_updates_match_a_loop(make, index, width, path):
    batches = steps(width=width, index=index)
    w = start(width=width)
    assert_close(trained(make, batches, w), loop(make, batches, w))


@both
def test_many_duplicates_match_a_loop(make, path):
    batches = steps(lookups=500)
    assert_close(trained(make, batches, start()), loop(make, batches, start()))


@both
def test_a_batch_without_lookups_changes_no_row(make, path):
    batches = steps()
    batches.insert(2, (np.zeros([0], "int64"), np.zeros([0, WIDTH], "f")))
    # It is a step nevertheless, and the bias correction of Adam counts steps.
    assert_close(trained(make, batches, start()), loop(make, batches, start()))


@both
def test_a_batch_shared_among_threads_matches_a_loop(make, path):
    rows = 20_000
    batches = steps(rows, lookups=30_000, count=2)
    assert min(len(set(ids)) for ids, _ in batches) > 8192
    w = start(rows)
    assert_close(trained(make, batches, w), loop(make, batches, w))


@both
def test_both_paths_agree(make, compiled, monkeypatch):
    batches = steps(rows=40, width=17, lookups=60, count=50)
    arguments = {"weight_decay": 0.1}
    ours = trained(make, batches, start(40, 17), **arguments)
    take(FALLBACK, monkeypatch)
    theirs = trained(make, batches, start(40, 17), **arguments)
    assert_close(ours, theirs, 2e-5, 2e-6)


@both
def test_the_same_bits_come_out_again(make, compiled):
    # Threads share the first of the two.
    for rows, lookups in ((20_000, 60_000), (40, 60)):
        batches = steps(rows, lookups=lookups, count=3)
        first, second = (
            trained(make, batches, start(rows), clipnorm=5.0) for _ in range(2)
        )
        for ours, again in zip(first, second, strict=True):
            np.testing.assert_array_equal(ours, again)


def test_state_has_the_shapes_promised():
    _, m, v = trained(LazyAdam, steps(), start())
    assert m.shape == v.shape == (ROWS, WIDTH)
    _, a = trained(RowWiseAdagrad, steps(), start())
    assert a.shape == (ROWS,)


@both
def test_rows_out_of_the_batch_stay_as_they_are(make, path):
    variable = tf.Variable(start())
    optimizer = make(0.1, weight_decay=0.1)
    apply_sparse(optimizer, variable, [1, 2], np.ones([2, WIDTH], "f"))
    state = [v for v in optimizer.variables if v.shape[:1] == [ROWS]]
    assert state
    before = [v.numpy() for v in (variable, *state)]
    apply_sparse(optimizer, variable, [2, 2], np.ones([2, WIDTH], "f"))
    for old, new in zip(before, (variable, *state), strict=True):
        changed = np.reshape(old != new.numpy(), [ROWS, -1]).any(1)
        np.testing.assert_array_equal(changed, np.arange(ROWS) == 2)


@both
def test_weight_decay_reaches_the_rows_of_the_batch(make, path):
    batches = steps()
    ours = trained(make, batches, start(), weight_decay=0.3)
    assert_close(ours, loop(make, batches, start(), decay=0.3))
    np.testing.assert_array_equal(ours[0][-1], start()[-1])


@both
def test_excluded_tables_have_no_weight_decay(make, path):
    variable = tf.Variable(start(), name="table")
    optimizer = make(0.1, weight_decay=0.3, **ARGUMENTS[make])
    optimizer.exclude_from_weight_decay(var_names=["table"])
    for ids, values in steps():
        apply_sparse(optimizer, variable, ids, values)
    assert_close([variable], loop(make, steps(), start())[:1])


def norm(sums):
    return np.sqrt(sum(np.sum(g * g) for g in sums.values()))


def by_norm(sums):
    return {row: g * min(1, 1.5 / norm(sums)) for row, g in sums.items()}


def by_value(sums):
    return {row: np.clip(g, -0.4, 0.4) for row, g in sums.items()}


@both
@pytest.mark.parametrize(
    "argument, clip",
    [
        ({"clipnorm": 1.5}, by_norm),
        ({"global_clipnorm": 1.5}, by_norm),
        ({"clipvalue": 0.4}, by_value),
    ],
)
def test_clipping_sees_the_sums_by_row(make, argument, clip, path):
    batches = steps(lookups=20)
    ours = trained(make, batches, start(), **argument)
    assert_close(ours, loop(make, batches, start(), clip=clip))


@both
def test_global_clipnorm_is_of_all_variables(make, path):
    (ids, values), table = steps(count=1)[0], tf.Variable(start())
    dense, g = tf.Variable([1.0, 2.0]), np.array([3.0, -4.0], "f")
    sums = summed(ids, values)
    share = 1.5 / np.sqrt(norm(sums) ** 2 + 25)
    optimizer = make(0.1, global_clipnorm=1.5, **ARGUMENTS[make])
    optimizer.apply_gradients(
        [(sparse(ids, values, table), table), (tf.constant(g), dense)]
    )
    expected = loop(make, [(ids, values * np.float32(share))], start())
    assert_close([table], expected[:1])
    # As a table of two rows, each of width 1.
    as_rows = (np.arange(2), g[:, np.newaxis] * np.float32(share))
    expected = loop(make, [as_rows], np.array([[1.0], [2.0]]))
    assert_close([dense], [expected[0][:, 0]])


@both
def test_schedules_are_followed(make, path):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [0, 2], [0.3, 0.1, 0.02]
    )
    rates = [0.3, 0.1, 0.1, 0.02, 0.02]
    ours = trained(make, steps(), start(), rate=schedule, weight_decay=0.2)
    expected = loop(make, steps(), start(), rates.__getitem__, decay=0.2)
    assert_close(ours, expected)


@both
@pytest.mark.parametrize("row", [ROWS, -1])
def test_a_row_out_of_the_table_changes_nothing(make, row, compiled):
    variable = tf.Variable(start())
    optimizer = make(0.1)
    apply_sparse(optimizer, variable, [1, 2], np.ones([2, WIDTH], "f"))
    everything = (variable, *optimizer.variables)
    before = [v.numpy() for v in everything]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=rf"row {row} is not in \[0, 6\)"
    ):
        apply_sparse(optimizer, variable, [1, row], np.ones([2, WIDTH], "f"))
    for old, new in zip(before, everything, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


@both
def test_values_read_before_an_update_stay(make, path):
    variable = tf.Variable(start())
    optimizer = make(0.1)
    ones = np.ones([2, WIDTH], "f")
    for _ in range(2):
        before = variable.numpy()
        read = variable.read_value()
        apply_sparse(optimizer, variable, [1, 2], ones)
        np.testing.assert_array_equal(read, before)
        assert (variable.numpy()[1] != before[1]).all()


@both
def test_values_read_before_an_update_stay_in_a_graph(make, path):
    variable = tf.Variable(start())
    optimizer = make(0.1)
    optimizer.build([variable])

    @tf.function
    def step():
        before = variable.read_value()
        apply_sparse(optimizer, variable, [1, 2], np.ones([2, WIDTH], "f"))
        return before, variable.read_value()

    expected = start()
    for _ in range(2):
        before, after = step()
        np.testing.assert_array_equal(before, expected)
        assert (after.numpy()[1] != expected[1]).all()
        np.testing.assert_array_equal(after, variable)
        expected = after.numpy()


@pytest.mark.parametrize("shape", [[], [4], [2, 3]])
@pytest.mark.parametrize("decay", [0, 0.2])
def test_lazy_adam_is_adam_for_dense_gradients(shape, decay):
    values = [tf.random.normal(shape) for _ in range(4)]
    ours, theirs = tf.Variable(values[0]), tf.Variable(values[0])
    arguments = {"epsilon": 1e-4, "weight_decay": decay, "jit_compile": False}
    lazy = LazyAdam(0.05, **arguments)
    adam = keras.optimizers.Adam(0.05, **arguments)
    for gradient in values:
        lazy.apply_gradients([(gradient, ours)])
        adam.apply_gradients([(gradient, theirs)])
    assert_close([ours], [theirs])


@pytest.mark.parametrize("shape", [[], [4], [2, 3], [2, 2, 2]])
@pytest.mark.parametrize("decay", [0, 0.2])
def test_row_wise_adagrad_of_dense_gradients_matches_a_loop(shape, decay):
    random = np.random.default_rng(1)
    w, *gradients = random.normal(size=[4, *shape]).astype("f")
    variable = tf.Variable(w)
    optimizer = RowWiseAdagrad(0.1, weight_decay=decay)
    a = np.zeros(shape[:1])
    for g in gradients:
        optimizer.apply_gradients([(tf.constant(g), variable)])
        axes = tuple(range(1, len(shape)))
        a = a + np.mean(g * g, axis=axes, keepdims=False)
        spread = np.reshape(a, [*shape[:1], *[1] * (len(shape) - 1)])
        w = w - 0.1 * decay * w
        w = w - 0.1 * g / np.sqrt(spread)
    assert_close([variable], [w])


@both
def test_rank_1_variables_have_sparse_updates(make, path):
    expected = loop(make, steps(width=1), start(width=1))[0][:, 0]
    batches = [(ids, values[:, 0]) for ids, values in steps(width=1)]
    assert_close(trained(make, batches, start(width=1)[:, 0])[:1], [expected])


@both
@pytest.mark.parametrize(
    "dtype, relative", [("float64", 1e-5), ("bfloat16", 0.05)]
)
def test_other_floats_match_a_loop(make, dtype, relative):
    table = tf.Variable(tf.cast(start(), dtype))
    whole = tf.Variable(tf.cast(start(), dtype))
    optimizer = make(0.1, **ARGUMENTS[make])
    ids, values = np.array([1, 3, 1]), np.full([3, WIDTH], 0.5, "f")
    typed = tf.cast(values, dtype)
    every = tf.fill(whole.shape, tf.cast(0.5, dtype))
    optimizer.apply_gradients(
        [(sparse(ids, typed, table), table), (every, whole)]
    )
    assert table.dtype == dtype
    expected = loop(make, [(ids, values)], start())[0]
    assert_close([tf.cast(table, "float32")], [expected], relative, relative)
    ids, values = np.arange(ROWS), np.full([ROWS, WIDTH], 0.5, "f")
    expected = loop(make, [(ids, values)], start())[0]
    assert_close([tf.cast(whole, "float32")], [expected], relative, relative)


@both
def test_a_step_makes_no_tensor_as_long_as_the_table(make, path):
    rows = 1237  # No other size of the graph.
    variable = tf.Variable(tf.zeros([rows, WIDTH]))
    optimizer = make(0.1, weight_decay=0.1, clipnorm=1.0)
    optimizer.build([variable])

    @tf.function
    def step(ids, values):
        shape = tf.constant(variable.shape.as_list())
        slices = tf.IndexedSlices(values, ids, shape)
        optimizer.apply_gradients([(slices, variable)])

    graph = step.get_concrete_function(
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([None, WIDTH], tf.float32),
    ).graph
    operations = graph.get_operations()
    for operation in operations:
        for output in operation.outputs:
            shape = output.shape
            long = shape.rank and shape[0] == rows
            assert not long, operation.name
    # The path under test is the one taken.
    ours = [o.type for o in operations if o.type.startswith("Ecdctr")]
    expected = {COMPILED: [f"Ecdctr{make.__name__}"], FALLBACK: []}
    assert ours == expected[path]


def test_config_round_trip():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    made = [
        LazyAdam(0.2, beta_1=0.7, beta_2=0.8, epsilon=1e-2, clipnorm=3.0),
        RowWiseAdagrad(0.2, initial_accumulator=0.3, epsilon=1e-2),
        LazyAdam(schedule, weight_decay=0.1),
    ]
    for optimizer in made:
        again = type(optimizer).from_config(optimizer.get_config())
        assert again.get_config() == optimizer.get_config()
    assert made[0].get_config()["beta_1"] == 0.7
    assert made[1].get_config()["initial_accumulator"] == 0.3
    assert made[2].get_config()["weight_decay"] == 0.1


@both
def test_checkpoints_hold_the_state(make, tmp_path, path):
    batches = steps()

    def fresh():
        variable, optimizer = tf.Variable(start()), make(0.1)
        optimizer.build([variable])
        checkpoint = tf.train.Checkpoint(table=variable, optimizer=optimizer)
        return variable, optimizer, checkpoint

    variable, optimizer, checkpoint = fresh()
    for ids, values in batches[:3]:
        apply_sparse(optimizer, variable, ids, values)
    file = checkpoint.write(str(tmp_path / "state"))
    again, its_optimizer, checkpoint = fresh()
    checkpoint.read(file).assert_consumed()
    for ids, values in batches[3:]:
        apply_sparse(optimizer, variable, ids, values)
        apply_sparse(its_optimizer, again, ids, values)
    np.testing.assert_array_equal(variable, again)


@both
def test_they_learn_inside_fit(make, path):
    model = keras.Sequential(
        [
            keras.layers.Embedding(10, 4, input_length=1),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(make(0.1), "mse")
    x = np.arange(10)[:, np.newaxis]
    y = (x % 2).astype("f")
    fitted = model.fit(x, y, epochs=30, batch_size=5, verbose=0)
    losses = fitted.history["loss"]
    assert losses[-1] < losses[0] / 10


@both
def test_a_misspelt_argument_is_refused(make):
    with pytest.raises(TypeError, match="beta1"):
        make(0.1, beta1=0.5)
