"""Served tables in float16 and int8: what is stored, and what models answer."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf.export import client, folded, probe, saved_model, tables, verify
from ecdctr_tf.models.joint import JointModel
from ecdctr_tf.models.mixture import MixedModel
from ecdctr_tf.transfer import checkpoint
from tests import test_folded
from tests.test_folded import DIM, EVERY_KIND, PLAIN, ROWS, made

NARROW = ("float16", "int8")


def rows_of(model, name, dtype):
    """Return all rows of a table, with that of padding, and in float32."""
    numbers = tf.range(ROWS[name] + 1)
    return (
        tables.made(model, name, ROWS[name], of)(numbers).numpy()
        for of in (dtype, "float32")
    )


@pytest.mark.parametrize("mode", ["single", "concat"])
def test_float16_rows_are_the_nearest_ones(mode):
    found, exact = rows_of(made(mode=mode), "item", "float16")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, exact.astype(np.float16))


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("mode", ["single", "concat", "self_attention"])
def test_int8_rows_are_within_half_a_step_of_each_vector(mode, history):
    model = made(mode=mode, history=history)
    # A vector whose numbers are thousands of times those of the others.
    model.embedding.tables["item"].embeddings[2].assign([900.0] * DIM)
    found, exact = rows_of(model, "item", "int8")
    for part in (slice(0, DIM), slice(DIM, -1)):
        largest = np.abs(exact[:, part]).max(axis=1, keepdims=True, initial=0)
        apart = np.abs(found[:, part] - exact[:, part])
        assert (apart <= largest / 254 * 1.0001).all()
        # The largest of a vector has no error but rounding.
        np.testing.assert_allclose(
            np.abs(found[:, part]).max(axis=1, initial=0), largest[:, 0], 1e-6
        )
    assert np.abs(found - exact).max() > 1e-4


@pytest.mark.parametrize("dtype", NARROW)
def test_flags_are_exact_and_zeros_stay_zeros(dtype):
    model = made()
    model.embedding.tables["item"].embeddings[3].assign([0.0] * DIM)
    # Too small for a scale, or for a float16.
    model.embedding.tables["item"].embeddings[4].assign([1e-45] * DIM)
    found, exact = rows_of(model, "item", dtype)
    np.testing.assert_array_equal(found[:, -1], exact[:, -1])
    assert 0 < found[:, -1].mean() < 1
    for rows in (found[-1], found[3:5, :DIM], found[found[:, -1] == 0, DIM:]):
        np.testing.assert_array_equal(rows, 0.0)


@pytest.mark.parametrize(
    ("dtype", "number"), [("float16", 7e4), ("int8", np.nan), ("int8", np.inf)]
)
def test_what_a_table_cannot_hold_is_refused(dtype, number):
    model = made()
    model.embedding.tables["item"].embeddings[1, 2].assign(number)
    with pytest.raises(checkpoint.NotFiniteError, match="Tables of the served"):
        folded.of(model, ROWS, dtype)


@pytest.mark.parametrize("by_user", [0, 2])
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(
    "model", ["every kind", "attention of history", "mixture"]
)
def test_answers_are_near_those_of_the_model(model, dtype, by_user):
    spec = EVERY_KIND if model == "every kind" else PLAIN
    if model == "mixture":
        experts = [made(history=False), made(), made(heads=1)]
        shares = np.random.default_rng(5).random([4, 4])
        of = MixedModel(experts, shares, -2.0, (1.3, -0.4), 3.0)
    else:
        mode = "attention" if model == "attention of history" else "single"
        of = made(spec, mode)
    found, wanted = test_folded.answers(of, spec, by_user, dtype)
    allowed = verify.TOLERANCES[dtype].logit
    np.testing.assert_allclose(found, wanted, allowed, allowed)
    assert 1e-5 < np.abs(found - wanted).max()


def test_models_that_are_not_folded_keep_float32():
    joint = made(network=JointModel)
    for model in (joint, MixedModel([joint], np.ones([4, 2]), 0.0, (1, 0), 3)):
        with pytest.raises(ValueError, match="should be float32.* JointModel"):
            folded.of(model, ROWS, "int8")


@pytest.mark.parametrize("mixed", [False, True])
def test_a_form_keeps_no_table_of_the_model(mixed):
    experts = [made(), made()]
    kept = [
        weakref.ref(variable.handle)
        for expert in experts
        for table in expert.embedding.tables.values()
        for variable in (
            table.embeddings,
            *(of.vectors for of in expert.history_tables.values()),
        )
    ]
    model = MixedModel(experts, np.ones([4, 3]), 0.0, (1.0, 0.0), 3.0)
    form = folded.of(model if mixed else experts[0], ROWS)
    del model, experts
    gc.collect()
    assert form.variables
    assert not [handle for handle in kept if handle() is not None]


@pytest.mark.parametrize("dtype", NARROW)
def test_a_saved_model_in_several_files_answers_alike(
    dtype, tmp_path, monkeypatch, cpp_client
):
    monkeypatch.setitem(ROWS, "user", 150_000)
    model, spaces = made(), test_folded.spaces_of(PLAIN)
    cases = probe.cases(model, spaces)
    saved_model.write(folded.of(model, ROWS, dtype), spaces, tmp_path, 1)
    files = sorted((tmp_path / "variables").glob("*.data-*"))
    assert len(files) > 1
    assert max(file.stat().st_size for file in files) < 1.1e6
    historical = list(model.historical)
    worst = verify.check(tmp_path, PLAIN, historical, cases, dtype)
    assert 1e-6 < worst < verify.TOLERANCES[dtype].ctr
    with pytest.raises(ValueError, match="differs from the model's"):
        verify.check(tmp_path, PLAIN, historical, cases)
    ways = [
        client.Way(name, tmp_path, case.signature, case.inputs)
        for name, case in cases.items()
    ]
    answers, _ = client.run(cpp_client, ways)
    for name, case in cases.items():
        for output, wanted in case.outputs.items():
            answer = answers[name][output]
            apart = verify.difference(output, answer, wanted, dtype)
            assert apart is not None, (name, case.signature, output)


def test_a_wrong_scale_is_noticed(tmp_path, monkeypatch):
    model, spaces = made(), test_folded.spaces_of(PLAIN)
    cases = probe.cases(model, spaces)
    form = folded.of(model, ROWS, "int8")
    _, scales = form._tables["item"].variables
    scales.assign(scales * 1.1)
    saved_model.write(form, spaces, tmp_path)
    with pytest.raises(ValueError, match="differs from the model's"):
        verify.check(tmp_path, PLAIN, list(model.historical), cases, "int8")
