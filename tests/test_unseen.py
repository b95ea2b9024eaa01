"""Inputs that a CPM never saw vary have no effect on the first scored day."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import artefacts, features
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.training import unseen
from tests.test_ctr_model import CONFIG, ROWS, SPEC, history, made, rows


def trained(day: int):
    """Return a model whose batch norm has seen rows of a day."""
    model = made(history=history())
    model(rows(64) | {"day": tf.fill([64], day)}, training=True)
    return model


def logits(model, day: int) -> np.ndarray:
    inputs = rows()
    return model(inputs | {"day": tf.fill([6], day)}).numpy()


@pytest.mark.parametrize("seen", [False, True])
def test_history_that_a_cpm_never_saw_has_no_effect(seen):
    """The first version is visible from day 10 on."""
    model = trained(99 if seen else 0)
    before = logits(model, 0)
    values = {n: v.numpy() for n, v in artefacts.weights(model).items()}
    found = unseen.without_unseen(model, values)
    assert found.keys() == values.keys()
    changed = [n for n in values if not np.array_equal(found[n], values[n])]
    assert changed == ([] if seen else ["input_norm/gamma"])
    for name, variable in artefacts.weights(model).items():
        variable.assign(found[name])
    np.testing.assert_array_equal(logits(model, 0), before)
    same = np.allclose(logits(model, 99), before, atol=1e-6)
    assert same == (not seen)


def test_what_no_weight_reads_yet_keeps_its_gain():
    """An input that was added since is learned by the weights that read it."""
    model = trained(0)
    values = {n: v.numpy() for n, v in artefacts.weights(model).items()}
    values["mlp/dense/0/kernel"] = np.zeros_like(values["mlp/dense/0/kernel"])
    found = unseen.without_unseen(model, values)
    np.testing.assert_array_equal(
        found["input_norm/gamma"], values["input_norm/gamma"]
    )


def test_lists_that_a_cpm_never_saw_have_no_effect_on_a_shared_table():
    model, inputs = made(), rows(64)
    none = inputs | {"clicked": tf.fill(inputs["clicked"].shape, -1)}
    model(none, training=True)
    table = model.embedding.tables["item"].embeddings
    table.assign_add(tf.random.normal(table.shape, seed=1))
    values = {n: v.numpy() for n, v in artefacts.weights(model).items()}
    gain = unseen.without_unseen(model, values)["input_norm/gamma"]
    model.input_norm.gamma.assign(gain)
    np.testing.assert_array_equal(model(inputs), model(none))
    assert (gain == 0).sum() == 4


def test_crosses_with_what_only_ads_have_start_alike():
    """What a CPM learned of pairs with nothing tells nothing of others."""
    spec = dataclasses.replace(
        SPEC,
        tables=(
            *SPEC.tables,
            features.TableSpec("pair", ids="hashing", buckets=20),
        ),
        features=(
            *SPEC.features,
            features.FeatureSpec(
                "pair", "cross", "pair", of=("user_id", "category")
            ),
        ),
    )
    model = CTRModel(spec, CONFIG, {**ROWS, "pair": 20}).build_from_spec()
    for name, table in model.embedding.tables.items():
        trained = slice(1, 2) if name == "category" else slice(1, 5)
        table.embeddings[trained].assign(table.embeddings[trained] + 1)
    inputs = rows() | {"pair": tf.range(6, dtype=tf.int32)}
    before = model.embedding.tables["pair"].embeddings.numpy()
    assert unseen.start(model) == ("category", "price", "pair")
    after = model.embedding.tables["pair"].embeddings.numpy()
    expected = [before[1:5].mean(axis=0)] * len(after)
    np.testing.assert_allclose(after, expected, rtol=1e-5)
    other = inputs | {"pair": tf.range(6, 12, dtype=tf.int32)}
    np.testing.assert_array_equal(model(inputs), model(other))


def test_a_gain_of_nothing_is_learned():
    model = trained(0)
    values = {n: v.numpy() for n, v in artefacts.weights(model).items()}
    gain = unseen.without_unseen(model, values)["input_norm/gamma"]
    model.input_norm.gamma.assign(gain)
    with tf.GradientTape() as tape:
        inputs = rows(64) | {"day": tf.fill([64], 99)}
        loss = tf.reduce_sum(tf.square(model(inputs, training=True)))
    slope = tape.gradient(loss, model.input_norm.gamma).numpy()
    assert (np.abs(slope[gain == 0]) > 1e-6).any()


def test_a_model_without_such_a_gain_is_left_as_it_is():
    values = {"head/kernel": np.ones(3)}
    assert unseen.without_unseen(made(), values) is values
