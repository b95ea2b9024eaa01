"""Several heads over shared embeddings: what each reads, learns and adds."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import model_table
from ecdctr_tf.models.ctr_model import log_loss
from ecdctr_tf.training import carrying
from tests import test_ctr_model as small

pytestmark = pytest.mark.usefixtures("eagerly")

THREE = dataclasses.replace(small.CONFIG, heads=3)


@pytest.fixture(scope="module")
def model():
    return small.compiled(small.made(THREE, history=small.history()))


def test_the_logit_is_the_mean_of_the_heads(model):
    every = model(small.rows(), every_head=True)
    assert every.shape == [6, 3]
    mean = np.mean(every.numpy(), axis=1)
    np.testing.assert_allclose(model(small.rows()), mean, rtol=1e-6)
    assert not np.allclose(every[:, 0], every[:, 2])


def test_scored_days_decide_what_each_head_counts(model):
    before = model.line.numpy()
    every = model(small.rows(), every_head=True).numpy()
    model.line.assign([0.7, 0.2, 0.1, -0.5])
    found, ctr = model(small.rows()), model.score(small.rows())
    model.line.assign(before)
    wanted = every @ [0.7, 0.2, 0.1] - 0.5
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(ctr, 1 / (1 + np.exp(-wanted)), rtol=1e-5)


def test_every_second_head_reads_no_history(model):
    before = model(small.rows(), every_head=True).numpy()
    held = {n: t.present.numpy() for n, t in model.history_tables.items()}
    for table in model.history_tables.values():
        table.clear()
    after = model(small.rows(), every_head=True).numpy()
    for name, present in held.items():
        model.history_tables[name].present.assign(present)
    changed = ~np.isclose(before, after).all(axis=0)
    assert changed.tolist() == [True, False, True]


def test_without_history_all_heads_read_the_same():
    config = dataclasses.replace(THREE, history=False)
    plain = small.made(config)
    first, second = plain.more_heads
    second.set_weights(first.get_weights())
    every = plain(small.rows(), every_head=True)
    np.testing.assert_allclose(every[:, 1], every[:, 2])


def test_each_head_learns_by_its_own_loss(model):
    """A row that the mean predicts well teaches the heads that do not."""
    inputs, clicks = small.rows(64), tf.cast(tf.range(64) % 3 == 0, tf.float32)
    kernels = [model.head.kernel, *(h.head.kernel for h in model.more_heads)]
    with tf.GradientTape() as tape:
        every = model(inputs, training=True, every_head=True)
        losses = [log_loss(clicks, of) for of in tf.unstack(every, axis=1)]
        total = tf.add_n(losses) / 3
    expected = [g.numpy() for g in tape.gradient(total, kernels)]
    taken = []
    model.optimizer.apply_gradients = lambda pairs: taken.extend(pairs)
    try:
        model.train_step((inputs, clicks))
    finally:
        del model.optimizer.apply_gradients
    found = {variable.ref(): gradient for gradient, variable in taken}
    for kernel, gradient in zip(kernels, expected, strict=True):
        np.testing.assert_allclose(
            found[kernel.ref()], gradient, rtol=1e-3, atol=1e-5
        )


def test_a_shift_is_one_of_all_logits(model):
    before = model(small.rows(), every_head=True).numpy()
    model.shift(0.5)
    after = model(small.rows(), every_head=True).numpy()
    model.shift(-0.5)
    np.testing.assert_allclose(after - before, 0.5, rtol=1e-4)


def test_a_feature_is_idle_only_where_no_head_reads_it():
    config = dataclasses.replace(small.CONFIG, heads=2)
    plain = small.made(config, history=small.history())
    assert plain.idle() == set()
    place = 0
    for part in plain.columns():
        for column in part:
            if "price" in column.of:
                rows = slice(place, place + column.width)
                for mlp in (plain.mlp, plain.more_heads[0].mlp):
                    assert "price" not in plain.idle()
                    kernel = mlp.dense[0].kernel
                    value = kernel.numpy()
                    value[rows] = 0
                    kernel.assign(value)
            place += column.width
    assert plain.idle() == {"price"}


@pytest.mark.parametrize(
    "weight",
    ["cross/0/kernel", "mlp/dense/0/kernel", "mlp/dense/1/kernel"]
    + ["head/kernel", "head/bias"],
)
def test_inputs_of_all_heads_are_carried_over_a_change_of_features(
    model, weight
):
    of_first = carrying._axes(model, weight)
    assert carrying._axes(model, f"more_heads/1/{weight}") == of_first


def test_models_with_heads_of_their_own_have_one():
    for name in ("keep", "ctnet", "loopfm", "kgd", "exfm", "paper"):
        row = model_table.model(name)
        assert configs.of_model(configs.Config(), row).model.heads == 1
    assert configs.Config().model.heads == 2
    assert configs.Config().tpm_model.heads == 1
