import json

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import features, store
from ecdctr_tf.input import id_space
from ecdctr_tf.transfer import warm_start

TABLE = "embedding/tables/item/embeddings"
NORM = "mlp/norms/0/gamma"
KERNEL = "head/kernel"


def variables():
    return {
        TABLE: tf.Variable([[3.0, 4.0], [0.0, 0.0]]),
        NORM: tf.Variable([1.0, 1.0]),
        KERNEL: tf.Variable([[2.0]]),
    }


def values():
    return {
        TABLE: np.array([[5.0, 12.0], [0.0, 0.0]], np.float32),
        NORM: np.array([3.0, 4.0], np.float32),
        KERNEL: np.array([[-6.0]], np.float32),
    }


def by_name(report):
    return {variable.name: variable for variable in report.variables}


def test_restore_assigns_all_and_reports_norms():
    model = variables()
    report = warm_start.restore(model, values(), "cpm/1")
    for name, value in values().items():
        np.testing.assert_array_equal(model[name].numpy(), value)
    found = by_name(report)
    table, norm, kernel = found[TABLE], found[NORM], found[KERNEL]
    assert (table.norm_before, table.norm_after) == (5, 13)
    assert norm.norm_before == pytest.approx(2**0.5)
    assert (norm.norm_after, kernel.norm_before, kernel.norm_after) == (5, 2, 6)
    assert {v.status for v in report.variables} == {"restored"}
    assert table.shape == (2, 2) and table.rows_restored == 2
    assert report.restored_share == 1
    assert report.source == "cpm/1" and report.unused == ()


def test_restore_lists_all_that_does_not_fit_and_changes_nothing():
    model, given = variables(), values()
    before = {name: v.numpy() for name, v in model.items()}
    del given[NORM]
    given["mlp/old/kernel"] = np.zeros(2, np.float32)
    given["another"] = np.zeros(2, np.float32)
    given[TABLE] = np.zeros([2, 3], np.float32)
    with pytest.raises(ValueError, match="cpm/1 does not fit") as error:
        warm_start.restore(model, given, "cpm/1")
    assert str(error.value).splitlines()[1:] == [
        f" ! {TABLE}: (2, 3) does not fit (2, 2)",
        " + another",
        " + mlp/old/kernel",
        f" - {NORM}",
    ]
    for name, value in before.items():
        np.testing.assert_array_equal(model[name].numpy(), value)


@pytest.mark.parametrize("name", [NORM, KERNEL, "dense_optimizer/3"])
def test_restore_refuses_another_number_of_rows_but_of_tables(name):
    # A network of other inputs: its rows are not those of ids.
    model = {name: tf.Variable([[1.0], [2.0]])}
    given = {name: np.ones([3, 1], np.float32)}
    with pytest.raises(ValueError, match=r"\(3, 1\) does not fit \(2, 1\)"):
        warm_start.restore(model, given, "cpm/1")
    np.testing.assert_array_equal(model[name].numpy(), [[1], [2]])


@pytest.mark.parametrize("name", [TABLE, "table_optimizer/2"])
def test_restore_keeps_new_rows_of_a_grown_table(name):
    model = {name: tf.Variable([[0.0, 0.0], [0.0, 0.0], [8.0, 9.0]])}
    given = {name: np.array([[3, 4], [5, 6]], np.float32)}
    report = warm_start.restore(model, given, "cpm/1")
    np.testing.assert_array_equal(model[name].numpy(), [[3, 4], [5, 6], [8, 9]])
    (found,) = report.variables
    assert (found.status, found.rows_restored) == ("remapped", 2)
    assert report.restored_share == pytest.approx(4 / 6)


def test_restore_leaves_out_rows_that_a_smaller_table_has_no_room_for():
    model = {TABLE: tf.Variable([[0.0, 0.0]])}
    given = {TABLE: np.array([[3, 4], [5, 6]], np.float32)}
    warm_start.restore(model, given, "cpm/1")
    np.testing.assert_array_equal(model[TABLE].numpy(), [[3, 4]])


@pytest.mark.parametrize("mode", ["keep", "statistics"])
def test_restore_keeps_batch_norm(mode):
    model = variables()
    warm_start.restore(model, values(), "cpm/1", mode)
    np.testing.assert_array_equal(model[NORM].numpy(), [3, 4])


def test_restore_leaves_batch_norm_as_initialised_in_full():
    model = variables()
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    given = values()
    for name in names:
        model[f"input_norm/{name}"] = tf.Variable([7.0])
        given[f"input_norm/{name}"] = np.zeros(1, np.float32)
    report = warm_start.restore(model, given, "cpm/1", "full")
    np.testing.assert_array_equal(model[NORM].numpy(), [1, 1])
    for name in names:
        assert model[f"input_norm/{name}"].numpy() == [7]
        status = by_name(report)[f"input_norm/{name}"].status
        assert status == "re-initialised"
    np.testing.assert_array_equal(model[KERNEL].numpy(), [[-6]])
    # 4 + 1 weights of 11 came from the checkpoint.
    assert report.restored_share == pytest.approx(5 / 11)


def test_restore_allows_new_variables_by_the_beginning_of_their_names():
    model, given = variables(), values()
    del given[KERNEL]
    report = warm_start.restore(model, given, "x", allow_new=("head/",))
    assert by_name(report)[KERNEL].status == "new"
    np.testing.assert_array_equal(model[KERNEL].numpy(), [[2]])
    assert report.restored_share == pytest.approx(6 / 7)
    with pytest.raises(ValueError, match=f" - {KERNEL}"):
        warm_start.restore(model, given, "x", allow_new=("tail/",))


def test_report_is_json_ready():
    report = warm_start.restore(variables(), values(), "cpm/1")
    read = json.loads(json.dumps(report.to_dict()))
    assert read["restored_share"] == 1
    assert [v["name"] for v in read["variables"]] == [TABLE, NORM, KERNEL]
    assert read["variables"][0]["shape"] == [2, 2]


def vocabulary(ids):
    return id_space.Vocabulary(features.TableSpec("item"), ids)


def test_check_ids_accepts_a_grown_vocabulary():
    manifest = store.Manifest(
        "cpm", ids={"item": vocabulary([5, 6]).fingerprint()}
    )
    for ids in ([5, 6], [5, 6, 7]):
        warm_start.check_ids(manifest, {"item": vocabulary(ids)}, "cpm/1")


def test_check_ids_refuses_another_id_space():
    manifest = store.Manifest(
        "cpm", ids={"item": vocabulary([5, 6]).fingerprint()}
    )
    with pytest.raises(ValueError, match="cpm/1 was trained with another id"):
        warm_start.check_ids(manifest, {"item": vocabulary([6, 5])}, "cpm/1")
    with pytest.raises(ValueError, match="another id space"):
        warm_start.check_ids(manifest, {"item": vocabulary([5])}, "cpm/1")
    with pytest.raises(ValueError, match=r"table 'item'.* has \['user'\]"):
        warm_start.check_ids(manifest, {"user": vocabulary([5, 6])}, "cpm/1")


def test_check_spec_refuses_another_fingerprint():
    manifest = store.Manifest("cpm", spec="abc")
    warm_start.check_spec(manifest, ["abc"], "cpm/1")
    with pytest.raises(ValueError, match="data spec abc; .* has abd"):
        warm_start.check_spec(manifest, ["abd"], "cpm/1")
