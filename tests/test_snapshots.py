import numpy as np
import pytest

from ecdctr_tf import features, store, windows
from ecdctr_tf.input import id_space
from ecdctr_tf.transfer import snapshots

EMBEDDINGS = np.arange(12, dtype=np.float32).reshape(6, 2)


def space(ids, **kwargs):
    table = features.TableSpec("item", **kwargs)
    return id_space.Vocabulary(table, ids)


def published(tmp_path, **tables):
    window = windows.Window("2024-01-01", "2024-01-31")
    path = tmp_path / "tpm" / window.last
    with store.publish(path, store.Manifest("snapshot", window)) as staging:
        snapshots.write(staging, tables)
    return path


def test_seen_leaves_out_unused_rows_and_unknown_ids():
    # Rows: unknown, 70, 80, 90; the table has room for two more.
    counts = np.array([9, 2, 0, 5], np.int32)
    table = snapshots.SnapshotTable.seen(
        space([70, 80, 90]), EMBEDDINGS, counts
    )
    assert table.ids.tolist() == [70, 90]
    assert table.vectors.tolist() == [[2, 3], [6, 7]]
    assert table.counts.tolist() == [2, 5]
    assert table.counts.dtype == np.int64


def test_seen_leaves_out_all_buckets_of_unknown_ids():
    counts = np.array([4, 4, 4, 0, 1])
    table = snapshots.SnapshotTable.seen(
        space(["a", "b"], buckets=3, dtype="string"), EMBEDDINGS, counts
    )
    assert table.ids.tolist() == [b"b"]
    assert table.vectors.tolist() == [[8, 9]]


def test_seen_takes_more_counts_than_rows():
    counts = np.array([1, 1, 1, 1])
    table = snapshots.SnapshotTable.seen(
        space([70, 80, 90]), EMBEDDINGS[:3], counts
    )
    assert table.ids.tolist() == [70, 80]


def test_seen_of_a_hashed_table_has_rows_as_ids():
    hashed = id_space.Hashing(
        features.TableSpec("item", ids="hashing", buckets=5)
    )
    counts = np.array([3, 0, 0, 1, 0])
    table = snapshots.SnapshotTable.seen(hashed, EMBEDDINGS, counts)
    assert table.ids.tolist() == [0, 3]
    assert table.ids.dtype == np.int64
    assert table.vectors.tolist() == [[0, 1], [6, 7]]
    assert snapshots.rows_of(table.ids, hashed).tolist() == [0, 3]
    assert snapshots.rows_of(table.ids, hashed).dtype == np.int32


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [([2**40, -7, 90], "int64"), (["b", "\u00e9", ""], "string")],
)
def test_round_trip_finds_ids_in_a_grown_vocabulary(tmp_path, ids, dtype):
    before = space(ids, dtype=dtype)
    counts = np.array([1, 2, 0, 4])
    seen = snapshots.SnapshotTable.seen(before, EMBEDDINGS, counts)
    read = snapshots.read(published(tmp_path, item=seen))
    assert set(read) == {"item"}
    table = read["item"]
    for name in ("ids", "vectors", "counts"):
        found, expected = getattr(table, name), getattr(seen, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    grown = space(ids, dtype=dtype)
    grown.append(np.array([5]) if dtype == "int64" else ["z"])
    assert snapshots.rows_of(table.ids, grown).tolist() == [1, 3]
    assert snapshots.rows_of(seen.ids, grown).tolist() == [1, 3]


def test_a_table_that_saw_nothing_round_trips(tmp_path):
    for dtype in ("int64", "string"):
        known = space([1] if dtype == "int64" else ["a"], dtype=dtype)
        none = snapshots.SnapshotTable.seen(known, EMBEDDINGS, np.zeros(2, int))
        read = snapshots.read(published(tmp_path / dtype, item=none))["item"]
        assert read.ids.dtype == none.ids.dtype
        assert read.vectors.shape == (0, 2)
        assert snapshots.rows_of(read.ids, known).tolist() == []


def test_read_refuses_what_is_no_snapshot(tmp_path):
    with pytest.raises(FileNotFoundError, match="no snapshot artefact"):
        snapshots.read(tmp_path / "nothing")
    seen = snapshots.SnapshotTable.seen(
        space([70]), EMBEDDINGS, np.ones(2, int)
    )
    path = published(tmp_path, item=seen)
    (data,) = path.glob("snapshot.data*")
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ValueError, match="truncated"):
        snapshots.read(path)
