import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import features
from ecdctr_tf.export.id_mapping import IdMapping
from ecdctr_tf.input import id_space


def space_of(ids="vocabulary", dtype="int64", buckets=1, known=()):
    space = id_space.new(features.TableSpec("t", ids, dtype, buckets))
    space.append(known)
    return space


def rows_in_graph(space, raw, tmp_path):
    mapping = IdMapping(space, tmp_path)
    dtype = tf.as_dtype(space.table.dtype)

    @tf.function(input_signature=[tf.TensorSpec([None], dtype)])
    def rows(raw):
        return mapping.rows(raw)

    return rows(tf.constant(raw, dtype))


def test_known_ids_have_their_row_and_unknown_ones_row_0(tmp_path):
    space = space_of(known=[30, -1, 2**62 + 1])
    rows = rows_in_graph(space, [2**62 + 1, -1, 30, 2**62, 7], tmp_path)
    assert rows.dtype == tf.int32
    np.testing.assert_array_equal(rows, [3, 2, 1, 0, 0])


def test_text_is_taken_as_it_is(tmp_path):
    known = ["ü b", "", " x ", "a\rb", "\r", "a\tb", "c"]
    space = space_of(dtype="string", known=known)
    raw = ["c", "\r", "", " x ", "x", "ü b", "a\rb", "ab", "a\tb", "C"]
    rows = rows_in_graph(space, raw, tmp_path)
    np.testing.assert_array_equal(rows, [7, 5, 2, 3, 0, 1, 4, 0, 6, 0])


@pytest.mark.parametrize("dtype", ["int64", "string"])
@pytest.mark.parametrize("buckets", [1, 5])
@pytest.mark.parametrize("ids", ["vocabulary", "hashing"])
def test_rows_are_those_of_the_id_space(tmp_path, ids, dtype, buckets):
    known = np.random.randint(-(2**62), 2**62, 200)
    raw = np.concatenate([known, np.arange(-50, 50)])
    if dtype == "string":
        known, raw = known.astype(str), np.append(raw.astype(str), "")
    space = space_of(ids, dtype, buckets, known)
    rows = rows_in_graph(space, raw, tmp_path)
    np.testing.assert_array_equal(rows, space.lookup(raw.astype(object)))


@pytest.mark.parametrize("dtype", ["int64", "string"])
@pytest.mark.parametrize("buckets", [1, 2, 8, 1000])
def test_bucket_of_a_row_is_where_its_id_is_served_if_unknown(
    tmp_path, dtype, buckets
):
    """A graph that knows none of the ids is asked for all of them."""
    raw = np.unique(np.random.randint(-(2**62), 2**62, 300))
    raw = raw if dtype == "int64" else np.array([*raw.astype(str), "", "ü b"])
    space = space_of("vocabulary", dtype, buckets, raw)
    rows = np.arange(space.rows)
    found = space.bucket_of(rows)
    assert found.dtype == np.int32
    assert 0 <= found.min() <= found.max() < buckets
    np.testing.assert_array_equal(found[:buckets], rows[:buckets])
    served = rows_in_graph(
        space_of("vocabulary", dtype, buckets), raw, tmp_path
    )
    np.testing.assert_array_equal(found[buckets:], served)
    converted = space.first(buckets).lookup(raw)
    np.testing.assert_array_equal(found[buckets:], converted)
    np.testing.assert_array_equal(space.bucket_of([buckets + 7]), served[7:8])


@pytest.mark.parametrize("ids", ["vocabulary", "hashing"])
@pytest.mark.parametrize("dtype", ["int64", "string"])
@pytest.mark.parametrize("padding_is_known", [False, True])
def test_padding_has_the_row_of_a_null(tmp_path, ids, dtype, padding_is_known):
    padding = features.TableSpec("t", dtype=dtype).padding
    known = ["7", *([str(padding)] if padding_is_known else [])]
    known = known if dtype == "string" else [int(i) for i in known]
    space = space_of(ids, dtype, 7, known)
    rows = rows_in_graph(space, [padding], tmp_path)
    np.testing.assert_array_equal(rows, space.lookup([None]))


@pytest.mark.parametrize("dtype", ["int64", "string"])
def test_an_empty_vocabulary_knows_nothing(tmp_path, dtype):
    raw = np.array([5, 6]).astype(dtype if dtype == "int64" else str)
    rows = rows_in_graph(space_of(dtype=dtype), raw, tmp_path)
    np.testing.assert_array_equal(rows, [0, 0])


def test_no_ids_give_no_rows(tmp_path):
    rows = rows_in_graph(space_of(known=[1]), [], tmp_path)
    assert rows.shape == (0,)


def test_padding_is_of_the_type_of_the_ids():
    assert features.TableSpec("t").padding == -1
    assert features.TableSpec("t", dtype="string").padding == ""


def test_a_saved_mapping_needs_no_file_and_tells_no_path(tmp_path):
    files, saved = tmp_path / "files", tmp_path / "saved"
    mapping = IdMapping(space_of(dtype="string", known=["a", "b"]), files)
    module = tf.Module()
    module.mapping = mapping
    spec = tf.TensorSpec([None], tf.string)
    module.rows = tf.function(mapping.rows, input_signature=[spec])
    tf.saved_model.save(module, str(saved))
    (files / "t.txt").unlink()
    assert (saved / "assets" / "t.txt").read_text() == "a\nb\n"
    assert str(tmp_path).encode() not in (saved / "saved_model.pb").read_bytes()
    loaded = tf.saved_model.load(str(saved))
    np.testing.assert_array_equal(loaded.rows(["b", "c", "a"]), [2, 0, 1])


@pytest.mark.parametrize("buckets", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "known"), [("int64", [5, 7, 9]), ("string", ["a", "b ", ""])]
)
def test_erased_ids_are_unknown(tmp_path, dtype, known, buckets):
    space = space_of(dtype=dtype, buckets=buckets, known=known)
    space.unassign(known[1:2])
    rows = rows_in_graph(space, known, tmp_path)
    np.testing.assert_array_equal(rows, space.lookup(known))
    assert rows[1] < buckets <= rows[0]
    space.unassign(known)
    assert max(rows_in_graph(space, known, tmp_path).numpy()) < buckets
