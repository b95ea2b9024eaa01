"""A newer CPM reaches an A-CTR: what becomes of each row, and of the rest."""

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf.layers.table_embedding import TableEmbedding
from ecdctr_tf.transfer import refresh

USERS = "embedding/tables/user/embeddings"
INITIAL = 0.25  # What rows start with here.


def changed(own, new, old, rows):
    """Return a table of the A-CTR after a refresh.

    Args:
      own: its rows.
      new: those of the newer CPM.
      old: those of the CPM before.
      rows: how many of them the CPM before, the newer CPM and the A-CTR know.
    """
    variable = tf.Variable(np.array(own, np.float32)[:, np.newaxis])
    before, after = (
        {USERS: np.array(values, np.float32)[:, np.newaxis]}
        for values in (old, new)
    )
    known = refresh.TableRows(
        *rows, lambda first, last: np.full([last - first, 1], INITIAL, "f")
    )
    report = refresh.add_change(
        {USERS: variable}, after, before, {USERS: known}, "cpm"
    )
    assert [v.status for v in report.variables] == [refresh.SHIFTED]
    return variable.numpy().ravel().tolist()


@pytest.mark.parametrize(
    ("known", "own", "expected"),
    [
        ("both CPMs and the A-CTR", 3, 10 + (5 - 2)),
        ("both CPMs", 1, 10 + (5 - 2)),
        ("the newer CPM and the A-CTR", 3, 10 + (5 - INITIAL)),
        ("the newer CPM", 1, 5),
        ("the A-CTR", 3, 10),
        ("the CPM before and the A-CTR", 3, 10),
        ("nobody", 1, 10),
    ],
)
def test_which_models_know_an_id_decides_about_its_row(known, own, expected):
    """The last of three rows: 10 in the A-CTR, 5 and 2 in the CPMs."""
    old = 3 if "both CPMs" in known or "CPM before" in known else 1
    new = 3 if "both CPMs" in known or "newer CPM" in known else 1
    got = changed([0, 0, 10], [0, 0, 5], [0, 0, 2], (old, new, own))
    # The first row is known to all, the second as the last one is.
    assert got[0] == 0
    assert got[2] == expected


def test_rows_that_only_the_a_ctr_has_learned_are_kept():
    """Rows of the newer CPM beyond what it knows are not of any id."""
    own = np.arange(100, 112)
    new = np.zeros(12)
    new[8], new[9:] = 5, 0.01
    got = changed(own, new, np.zeros(8), (8, 9, 12))
    expected = own.astype(float)
    expected[8] += 5 - INITIAL
    assert got == pytest.approx(expected)


def test_an_untrained_row_has_the_value_of_the_newer_cpm_either_way():
    """Known to the A-CTR but not trained, or not known: the same vector."""
    table = TableEmbedding(6, 3, 4, seed=7, name="user")
    old = table.embeddings.numpy()
    new = old + np.random.default_rng(0).normal(size=old.shape).astype("f")
    for own in (2, 4):
        variable = tf.Variable(old)
        known = refresh.TableRows(2, 4, own, table.initial_rows)
        refresh.add_change(
            {USERS: variable},
            {USERS: new},
            {USERS: old},
            {USERS: known},
            "cpm",
        )
        np.testing.assert_allclose(variable[:4], new[:4], atol=1e-6)
        np.testing.assert_array_equal(variable[4:], old[4:])


def test_dense_weights_change_and_moving_statistics_stay():
    names = ("mlp/dense/0/kernel", "input_norm/gamma")
    statistics = ("input_norm/moving_mean", "input_norm/moving_variance")
    variables = {n: tf.Variable([10.0, 20]) for n in (*names, *statistics)}
    new = {n: np.array([5, 7], "f") for n in variables}
    old = {n: np.array([1, 9], "f") for n in variables}
    report = refresh.add_change(variables, new, old, {}, "cpm")
    status = {v.name: v.status for v in report.variables}
    for name in names:
        assert variables[name].numpy().tolist() == [14, 18]
        assert status[name] == refresh.SHIFTED
    for name in statistics:
        assert variables[name].numpy().tolist() == [10, 20]
        assert status[name] == "restored"


def test_weights_that_do_not_fit_change_nothing():
    variables = {n: tf.Variable([1.0, 2]) for n in ("a", "b")}
    values = {"a": np.array([3, 4], "f"), "c": np.array([3, 4], "f")}
    with pytest.raises(ValueError, match=r"(?s)newer.*does not fit.*- b"):
        refresh.add_change(variables, values, values, {}, "the newer CPM")
    assert variables["a"].numpy().tolist() == [1, 2]
