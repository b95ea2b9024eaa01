"""The layer that scales numbers by statistics of rows."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import features
from ecdctr_tf.layers import scaled_numbers
from ecdctr_tf.layers.scaled_numbers import LIMIT, ScaledNumbers

NAN, INF = np.nan, np.inf


def adapted(values, transform="standardise"):
    """Return a layer with the statistics of one column."""
    layer = ScaledNumbers(transform)
    layer.adapt(np.asarray(values, np.float32)[:, np.newaxis])
    return layer


def scaled(layer, *values):
    """Return scaled values and indicators of some numbers, `[2, N]`."""
    return layer(np.array(values, np.float32)[:, np.newaxis]).numpy().T


def normal(count=1000, seed=0):
    return np.random.default_rng(seed).normal(10, 2, count).astype(np.float32)


def test_the_transforms_are_those_of_specs():
    assert tuple(scaled_numbers._TRANSFORMS) == features.TRANSFORMS


def test_call_standardises_and_indicates_what_is_missing():
    layer = adapted([1, 3, NAN, 3, 1])  # Mean 2, deviation 1.
    np.testing.assert_allclose(
        scaled(layer, 1, 2.5, NAN, 3), [[-1, 0.5, 0, 1], [0, 0, 1, 0]]
    )


def test_columns_have_statistics_of_their_own():
    layer = ScaledNumbers()
    layer.adapt(np.array([[0, 10], [2, NAN], [0, 30], [2, 10]]))
    found = layer(np.array([[2.0, NAN], [0.0, 30.0]])).numpy()
    high = (30 - 50 / 3) / np.std([10, 30, 10])
    np.testing.assert_allclose(found, [[1, 0, 0, 1], [-1, high, 0, 0]], 1e-5)


def test_log1p_keeps_the_sign():
    layer = adapted(np.expm1([0, 1, 2, 0, 1, 2]), "log1p")
    deviation = np.std([0, 1, 2])
    expected = [(-1 - 1) / deviation, 0, (3 - 1) / deviation]
    found = scaled(layer, -np.expm1(1), np.expm1(1), np.expm1(3))[0]
    np.testing.assert_allclose(found, expected, 1e-4, 1e-6)


def test_quantiles_are_ranks_whatever_the_distribution():
    values = np.arange(1000, dtype=np.float32)
    plain, bent = (adapted(v, "quantiles") for v in (values, values**4))
    places = np.array([0.0, 250.0, 499.5, 750.0, 999.0])
    np.testing.assert_allclose(
        scaled(plain, *places)[0], scaled(bent, *places**4)[0], 1e-5
    )
    # A uniform number of variance 1.
    expected = (places / 999 - 0.5) * np.sqrt(12)
    np.testing.assert_allclose(scaled(plain, *places)[0], expected, atol=0.02)


def test_clip_holds_values_within_extreme_quantiles():
    layer = adapted(np.arange(1001), "clip")
    found = scaled(layer, -1e6, 5, 995, 1e6)[0]
    np.testing.assert_allclose(found[:2], found[0])
    np.testing.assert_allclose(found[2:], found[3])
    assert found[3] - found[0] > 3


@pytest.mark.parametrize("transform", features.TRANSFORMS)
@pytest.mark.parametrize("outlier", [1e9, -1e9, 3e38, INF, -INF, NAN])
@pytest.mark.parametrize("share", [0.001, 0.05])
def test_outliers_leave_the_others_nearly_as_they_are(
    transform, outlier, share
):
    values = normal()
    probes = np.quantile(values, [0.1, 0.3, 0.5, 0.7, 0.9])
    before = scaled(adapted(values, transform), *probes)[0]
    values[: int(share * 1000)] = outlier
    layer = adapted(values, transform)
    after = scaled(layer, *probes)[0]
    assert np.corrcoef(before, after)[0, 1] > 0.999
    assert after.std() > 0.4 * before.std()
    assert np.abs(scaled(layer, outlier, *values)).max() <= LIMIT


# Values without spread, or hardly any, and what they must come to.
STEADY = {
    "no rows": [],
    "all missing": [NAN] * 50,
    "constant": [7.0] * 50,
    "constant and far": [1e30] * 50,
    "infinite": [INF] * 50,
    "infinite in both directions": [INF, -INF] * 25,
    "zeros of both signs": [0.0, -0.0] * 25,
    "subnormal": [1e-40, 0.0] * 25,
}


@pytest.mark.parametrize("transform", features.TRANSFORMS)
@pytest.mark.parametrize("values", STEADY.values(), ids=STEADY)
def test_what_never_varied_has_no_effect_at_all(transform, values):
    layer = adapted(values, transform)
    probes = [0, 1, -1, 1e9, INF, -INF, NAN, 7]
    np.testing.assert_array_equal(scaled(layer, *probes), np.zeros([2, 8]))


def test_rounding_is_not_taken_for_spread():
    layer = adapted([1.0, 1.0000001] * 25)
    np.testing.assert_array_equal(scaled(layer, 1, 1.0000001, 2)[0], [0, 0, 0])


ODD = {
    "two values": [0.0, 1.0] * 50,
    "two rows": [3.0, 4.0],
    "one of a hundred": [0.0] * 99 + [1.0],
    "whole numbers above 2^24": np.arange(100) * 1e6 + 12_345_678_901,
    "ids taken for numbers": np.arange(100) * 2.0**40,
    "all but the largest floats": np.array([3e38, -3e38] * 50),
    "small": np.arange(100) * 1e-20,
    "half missing": [1.0, NAN, 2.0, NAN] * 25,
    "below zero": -np.arange(100.0),
    "sorted, most of them zero": [0.0] * 90 + list(range(10)),
}


@pytest.mark.parametrize("transform", features.TRANSFORMS)
@pytest.mark.parametrize("values", ODD.values(), ids=ODD)
def test_odd_numbers_are_told_apart_within_limits(transform, values):
    layer = adapted(values, transform)
    layer.gain.assign(tf.fill([2, 1], 0.1))
    finite = np.unique(np.asarray(values, np.float32))
    finite = finite[np.isfinite(finite)]
    found = scaled(layer, *finite, NAN, INF, -INF)[0]
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= LIMIT
    assert (np.diff(found[: len(finite)]) >= -1e-6).all()
    if transform == "clip" and len(finite) < 0.01 * len(values) + 2:
        return  # The rare one lies outside of the quantiles.
    assert found[len(finite) - 1] - found[0] > 0.1


def test_known_statistics_stay():
    layer = adapted([1, 3])
    before = [weight.numpy() for weight in layer.weights[:3]]
    layer.adapt(np.array([[100.0], [NAN], [900.0]]))
    for weight, value in zip(layer.weights, before, strict=False):
        np.testing.assert_array_equal(weight, value)
    # That some are missing is new; the gain of new things starts at 0.
    assert layer.complete
    np.testing.assert_array_equal(scaled(layer, NAN), [[0], [0]])
    np.testing.assert_array_equal(scaled(layer, 3), [[1], [0]])


def test_what_varies_later_starts_with_a_gain_of_zero_and_learns_it():
    layer = adapted([5] * 10)
    layer.adapt(np.array([[1.0], [3.0], [NAN], [3.0], [1.0]]))
    numbers = tf.constant([[1.0], [3.0], [NAN]])
    np.testing.assert_array_equal(layer(numbers), np.zeros([3, 2]))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(numbers) * [[1.0, 2.0]] * [[1], [3], [5]])
    found = tape.gradient(loss, layer.gain)
    np.testing.assert_allclose(found, [[20.0], [100.0]])


def test_what_varies_in_few_rows_starts_with_a_gain_of_zero():
    few, enough = ([0.0] * 200 + [1.0] * n for n in (1, 10))
    assert scaled(adapted(few), 1)[0] == 0
    assert scaled(adapted(enough), 1)[0] > 1
    missing = [0.0, 1.0] * 100
    assert scaled(adapted([*missing, NAN]), NAN)[1] == 0
    assert scaled(adapted([*missing, *[NAN] * 10]), NAN)[1] == 1


def test_statistics_are_the_same_whatever_the_order():
    values = np.append(normal(), [NAN] * 30)
    shuffled = np.random.default_rng(1).permutation(values)
    for one, other in zip(
        adapted(values).weights, adapted(shuffled).weights, strict=True
    ):
        np.testing.assert_allclose(one, other, 1e-6)


def test_only_gains_are_trained():
    layer = adapted([1, 3])
    assert [w.name.split("/")[-1] for w in layer.trainable_weights] == [
        "gain:0"
    ]
    names = [w.name.split("/")[-1] for w in layer.non_trainable_weights]
    assert names == ["mean:0", "deviation:0", "quantiles:0", "partial:0"] + [
        "rows:0"
    ]


def test_a_batch_of_one_and_of_none():
    layer = adapted([1, 3])
    assert layer(tf.zeros([1, 1])).shape == [1, 2]
    assert layer(tf.zeros([0, 1])).shape == [0, 2]


def test_the_layer_is_made_again_from_its_config():
    layer = adapted([1, 3, 9], "log1p")
    inputs = keras.Input([1])
    model = keras.Model(inputs, layer(inputs))
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    numbers = np.array([[0.5], [NAN], [4.0]], np.float32)
    np.testing.assert_array_equal(copy(numbers), model(numbers))


def test_an_unknown_transform_is_rejected():
    with pytest.raises(ValueError, match="one of standardise, .*'log'"):
        ScaledNumbers("log")
