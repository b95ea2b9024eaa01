import hashlib

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import features
from ecdctr_tf.input import id_space


def vocabulary(dtype="int64", buckets=1, ids=()):
    space = id_space.new(features.TableSpec("t", "vocabulary", dtype, buckets))
    space.append(ids)
    return space


def test_rows_are_in_order_of_appearance_and_never_move():
    space = vocabulary()
    assert space.rows == 1
    space.append([30, 10, 30, 20])
    np.testing.assert_array_equal(space.lookup([10, 20, 30]), [2, 3, 1])
    space.append([5, 10, 40])
    assert space.rows == 6
    np.testing.assert_array_equal(
        space.lookup([30, 10, 20, 5, 40]), [1, 2, 3, 4, 5]
    )
    np.testing.assert_array_equal(space.ids, [30, 10, 20, 5, 40])


def test_lookup_gives_int32_and_row_0_to_unknown_ids():
    rows = vocabulary(ids=[7]).lookup(np.array([7, 8, -1]))
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(rows, [1, 0, 0])


def test_large_int64_ids_are_exact():
    large = 2**62
    space = vocabulary(ids=[large, large + 1])
    np.testing.assert_array_equal(space.lookup([large + 1, large]), [2, 1])


def test_nulls_have_no_row_of_their_own():
    space = vocabulary(ids=[1, None, 2])
    assert space.rows == 3
    np.testing.assert_array_equal(space.lookup([None, 2, 1]), [0, 2, 1])


def test_string_ids():
    space = vocabulary("string", ids=["ü b", "", "a", None])
    np.testing.assert_array_equal(
        space.lookup(np.array(["a", "", "ü b", "A", None], object)),
        [3, 2, 1, 0, 2],
    )
    without = vocabulary("string", ids=["a"])
    np.testing.assert_array_equal(without.lookup([None, "a"]), [0, 1])


def test_lookup_of_nothing_and_in_an_empty_vocabulary():
    assert vocabulary(ids=[1]).lookup([]).shape == (0,)
    np.testing.assert_array_equal(vocabulary().lookup([1]), [0])


def test_ids_of_another_dtype_raise():
    with pytest.raises((TypeError, ValueError), match="convert|Expected|int"):
        vocabulary(ids=["a"])


@pytest.mark.parametrize("dtype", ["int64", "string"])
def test_unknown_ids_go_to_the_bucket_of_tf_hashing(dtype):
    known, unknown = [1, 2], list(range(10, 60))
    if dtype == "string":
        known, unknown = [str(i) for i in known], [str(i) for i in unknown]
    space = vocabulary(dtype, buckets=5, ids=known)
    assert space.rows == 7
    np.testing.assert_array_equal(space.lookup(known), [5, 6])
    rows = space.lookup(known[:1] + unknown)
    expected = tf.strings.to_hash_bucket_fast([str(i) for i in unknown], 5)
    np.testing.assert_array_equal(rows[1:], expected)
    assert set(rows[1:]) == set(range(5))


def test_null_with_several_buckets_goes_to_the_bucket_of_the_padding():
    """That is what requests without the id are served as."""
    rows = vocabulary(buckets=5, ids=[1]).lookup([None, 1])
    missing = tf.strings.to_hash_bucket_fast(["-1", ""], 5).numpy()
    np.testing.assert_array_equal(rows, [missing[0], 5])
    rows = vocabulary("string", 5, ["a"]).lookup([None, "a"])
    np.testing.assert_array_equal(rows, [missing[1], 5])


def test_bucket_of_a_row_is_the_hash_of_its_id():
    space = vocabulary("string", 4, ["b", "a"])
    expected = tf.strings.to_hash_bucket_fast(["a", "b"], 4)
    found = space.bucket_of(np.array([5, 4, 3, 0]))
    np.testing.assert_array_equal(found, [*expected, 3, 0])
    one = vocabulary(ids=[7, 8])
    np.testing.assert_array_equal(one.bucket_of([2, 0, 1]), [0, 0, 0])
    np.testing.assert_array_equal(one.bucket_of([]), np.zeros(0, np.int32))
    hashing = id_space.new(features.TableSpec("t", "hashing", buckets=3))
    np.testing.assert_array_equal(hashing.bucket_of([2, 0]), [2, 0])


@pytest.mark.parametrize("row", [-1, 3])
def test_bucket_of_a_row_there_is_not_raises(row):
    with pytest.raises(ValueError, match=f"'t' should be from 0 to 2.*{row}"):
        vocabulary(ids=[7, 8]).bucket_of([1, row])


def test_fingerprint_of_a_prefix_stays_when_the_vocabulary_grows():
    space = vocabulary(ids=[10, 20])
    before = space.fingerprint()
    digest = hashlib.sha256(b"10\n20\n").hexdigest()
    assert before == {"rows": 3, "sha256": digest}
    space.append([30])
    assert space.fingerprint(3) == before
    assert space.fingerprint() != before


def test_fingerprint_tells_other_ids_apart():
    prints = {
        vocabulary("string", ids=ids).fingerprint()["sha256"]
        for ids in (["1", "2"], ["2", "1"], ["12"], [])
    }
    assert len(prints) == 4


def test_fingerprint_of_rows_there_are_not_raises():
    with pytest.raises(ValueError, match="has 2 rows; 3 were asked for"):
        vocabulary(ids=[10]).fingerprint(3)


@pytest.mark.parametrize(
    ("dtype", "ids"),
    [("int64", [5, -3, 2**62]), ("string", ["b", "", "a\rb", "\u2028", "c "])],
)
def test_vocabulary_survives_its_file(tmp_path, dtype, ids):
    space = vocabulary(dtype, ids=ids)
    space.save(tmp_path)
    loaded = id_space.Vocabulary.load(space.table, tmp_path)
    assert list(loaded.ids) == ids
    assert loaded.fingerprint() == space.fingerprint()
    loaded.append(ids)
    assert loaded.rows == space.rows


@pytest.mark.parametrize(
    ("dtype", "ids"),
    [("int64", [5, -3, 2**62]), ("string", ["b", "", "a\rb"]), ("int64", [])],
)
def test_vocabulary_survives_its_arrays(dtype, ids):
    space = vocabulary(dtype, ids=ids)
    arrays = space.arrays()
    assert arrays["text"].dtype == np.uint8
    other = vocabulary(dtype)
    other.restore(arrays)
    assert list(other.ids) == ids
    assert other.fingerprint() == space.fingerprint()


def test_first_rows_are_the_vocabulary_of_then():
    space = vocabulary("string", buckets=3, ids=["a", "b"])
    before = space.fingerprint()
    space.append(["c"])
    early = space.first(5)
    assert early.fingerprint() == before
    early.append(["d"])
    assert early.lookup(["b", "d"]).tolist() == [4, 5]
    assert space.lookup(["c"]).tolist() == [5]


# One id a line: the two ids of such a line would move all rows after them.
def test_id_with_a_line_break_raises():
    with pytest.raises(ValueError, match="table 't'.*line break.*'a.nb'"):
        vocabulary("string", ids=["x", "a\nb"])


def test_load_without_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="vocabulary of table 't'"):
        id_space.Vocabulary.load(features.TableSpec("t"), tmp_path)


def test_hashing_needs_no_files_and_never_grows(tmp_path):
    table = features.TableSpec("t", "hashing", "int64", 100)
    space = id_space.new(table)
    before = space.fingerprint()
    space.append([1, 2, 3])
    space.save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert space.rows == 100
    assert space.fingerprint() == before
    expected = tf.strings.to_hash_bucket_fast(["7", "-7", "-1"], 100)
    rows = space.lookup([7, -7, None])
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(rows, expected)


# A null makes pandas hand over whole numbers as floats: 2.0**53 is still the
# id "9007199254740992", not the text "9.007199254740992e+15".
def test_hashing_takes_the_type_of_its_table():
    space = id_space.new(features.TableSpec("t", "hashing", "int64", 1000))
    np.testing.assert_array_equal(
        space.lookup(np.array([7.0, 2.0**53])), space.lookup([7, 2**53])
    )


def test_load_gives_every_table_its_id_space(tiny_data):
    spaces = id_space.load(tiny_data.spec.tables, tiny_data.path)
    assert list(spaces) == ["user", "item", "category"]
    np.testing.assert_array_equal(spaces["item"].lookup([205, 1]), [6, 0])
    np.testing.assert_array_equal(spaces["category"].lookup(["films"]), [2])


@pytest.mark.parametrize(
    "dtype, content, message",
    [
        ("int64", b"9" * 30 + b"\n", "one whole number of 64 bits a line"),
        ("int64", b"1\n\n2\n", "one whole number of 64 bits a line"),
        ("int64", b"1\nx\n", "one whole number of 64 bits a line"),
        ("int64", b"1\n2", "last line is cut off"),
        ("string", b"a\nb", "last line is cut off"),
        ("int64", b"1\n2\n1\n", "twice"),
        ("string", b"a\nb\na\n", "twice"),
        ("string", b"a\n\xff\n", "codec can't decode"),
        ("int64", b"\x00\x00\x00\x00", "last line is cut off"),
    ],
)
def test_damaged_vocabulary_is_named(tmp_path, dtype, content, message):
    table = features.TableSpec("user", dtype=dtype)
    (tmp_path / "user.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        id_space.Vocabulary.load(table, tmp_path)
    said = str(raised.value)
    assert str(tmp_path / "user.txt") in said and "\n" not in said
    assert said.endswith("Put the file back, or convert the logs again.")


@pytest.mark.parametrize("buckets", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "ids"),
    [("int64", [5, 7, 9, 11]), ("string", ["a", "b ", "", "d"])],
)
def test_rows_of_erased_ids_are_nobodys(tmp_path, dtype, ids, buckets):
    space = vocabulary(dtype, buckets, ids)
    before = space.lookup(ids)
    np.testing.assert_array_equal(
        space.unassign([ids[1], ids[3]]), before[1::2]
    )
    assert space.rows == buckets + 4
    assert (space.lookup(ids[1::2]) < buckets).all()
    np.testing.assert_array_equal(space.lookup(ids[::2]), before[::2])
    np.testing.assert_array_equal(space.unassigned, before[1::2])
    assert space.ids.tolist() == [ids[0], None, ids[2], None]
    np.testing.assert_array_equal(space.raw(before[::2]), ids[::2])
    assert (space.bucket_of(np.arange(space.rows)) < buckets).all()
    space.save(tmp_path)
    loaded = id_space.Vocabulary.load(space.table, tmp_path)
    assert loaded.fingerprint() == space.fingerprint()
    np.testing.assert_array_equal(loaded.unassigned, space.unassigned)
    again = vocabulary(dtype, buckets)
    again.restore(space.arrays())
    assert again.fingerprint() == space.fingerprint()
    loaded.append(ids)
    np.testing.assert_array_equal(
        loaded.lookup(ids[1::2]), [buckets + 4, buckets + 5]
    )
    assert loaded.fingerprint(space.rows) == space.fingerprint()
