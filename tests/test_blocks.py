import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import features
from ecdctr_tf.input import blocks, examples
from tests import conftest


def records_of(module, path, places=None):
    """Return what a format's reader makes of a file, or of places in it."""
    places = module.places(path) if places is None else places
    files = [str(path)] * len(places)
    day = (files, np.array(places, np.int64), np.int32(3), np.zeros(2, int))
    days = tf.data.Dataset.from_tensors(day)
    return module.read(days, shuffled=False)


def read_back(module, path, spec, inputs_only=False):
    """Return the columns that a format's reader makes of a file."""
    groups = records_of(module, path).map(
        lambda day, record: module.parse(record, spec, inputs_only)
    )
    groups = list(groups.as_numpy_iterator())
    return {k: np.concatenate([g[k] for g in groups]) for k in groups[0]}


@pytest.mark.parametrize("module", [blocks, examples])
def test_rows_survive_a_file(tiny_spec, tmp_path, module):
    rows = conftest.tiny_rows("2024-01-01", 0, 10)
    module.write(tmp_path / "f", rows, tiny_spec)
    columns = read_back(module, tmp_path / "f", tiny_spec)
    assert set(columns) == set(rows)
    for name, column in rows.items():
        np.testing.assert_array_equal(columns[name], column, err_msg=name)


@pytest.mark.parametrize("module", [blocks, examples])
def test_columns_have_the_dtypes_that_models_read(tiny_spec, tmp_path, module):
    module.write(
        tmp_path / "f", conftest.tiny_rows("2024-01-01", 0, 2), tiny_spec
    )
    columns = read_back(module, tmp_path / "f", tiny_spec)
    assert {name: str(column.dtype) for name, column in columns.items()} == {
        "user_id": "int32",
        "item_id": "int32",
        "category": "int32",
        "clicked": "int32",
        "price": "float32",
        "true_ctr": "float32",
        "click": "float32",
        "weight": "float32",
        "timestamp": "int64",
    }


@pytest.mark.parametrize("module", [blocks, examples])
def test_long_sequences_keep_their_newest_entries(tiny_spec, tmp_path, module):
    rows = conftest.tiny_rows("2024-01-01", 0, 4)
    rows["clicked"] = np.array(
        [
            [1, 2, 3, 4, 5],
            [-1, -1, -1, -1, 6],
            [7, 8, -1, -1, -1],
            [-1, -1, -1, -1, -1],
        ],
        np.int32,
    )
    module.write(tmp_path / "f", rows, tiny_spec)
    columns = read_back(module, tmp_path / "f", tiny_spec)
    np.testing.assert_array_equal(
        columns["clicked"],
        [[3, 4, 5], [6, -1, -1], [7, 8, -1], [-1, -1, -1]],
    )


@pytest.mark.parametrize("module", [blocks, examples])
def test_several_groups_of_rows_keep_their_order(
    tiny_spec, tmp_path, module, monkeypatch
):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 4)
    monkeypatch.setattr(examples, "_PARSE_ROWS", 4)
    rows = conftest.tiny_rows("2024-01-01", 0, 10)
    module.write(tmp_path / "f", rows, tiny_spec)
    days = [int(day) for day, _ in records_of(module, tmp_path / "f")]
    assert days == [3, 3, 3]
    columns = read_back(module, tmp_path / "f", tiny_spec)
    np.testing.assert_array_equal(columns["price"], range(10))


@pytest.mark.parametrize("module", [blocks, examples])
def test_parse_reads_only_the_features_asked_for(tiny_spec, tmp_path, module):
    module.write(
        tmp_path / "f", conftest.tiny_rows("2024-01-01", 0, 2), tiny_spec
    )
    columns = read_back(module, tmp_path / "f", tiny_spec.basic())
    expected = {"user_id", "item_id", "click", "timestamp", "true_ctr"}
    assert set(columns) == {*expected, "weight"}


@pytest.mark.parametrize("module", [blocks, examples])
def test_inputs_only_leaves_out_what_no_model_reads(
    tiny_spec, tmp_path, module
):
    rows = conftest.tiny_rows("2024-01-01", 0, 2)
    module.write(tmp_path / "f", rows, tiny_spec)
    columns = read_back(module, tmp_path / "f", tiny_spec, inputs_only=True)
    assert set(columns) == set(rows) - {"timestamp", "true_ctr"}
    np.testing.assert_array_equal(columns["price"], [0, 1])


def test_places_are_where_records_begin(tiny_spec, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 4)
    path = tmp_path / "f"
    blocks.write(path, conftest.tiny_rows("2024-01-01", 0, 10), tiny_spec)
    places = blocks.places(path)
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    # A record has 12 bytes before it and 4 behind it.
    sizes = [len(record) + 16 for record in records]
    assert places == [0, sizes[0], sizes[0] + sizes[1]]
    assert path.stat().st_size == sum(sizes)


def test_empty_file_has_no_places(tmp_path):
    (tmp_path / "f").touch()
    assert blocks.places(tmp_path / "f") == []


def test_records_are_read_in_the_order_asked_for(
    tiny_spec, tmp_path, monkeypatch
):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 4)
    path = tmp_path / "f"
    blocks.write(path, conftest.tiny_rows("2024-01-01", 0, 10), tiny_spec)
    last, middle, first = reversed(blocks.places(path))
    records = records_of(blocks, path, [last, first, middle])
    prices = [blocks.parse(r, tiny_spec)["price"].numpy() for _, r in records]
    assert [list(p) for p in prices] == [[8, 9], [0, 1, 2, 3], [4, 5, 6, 7]]


def test_block_holds_little_endian_columns(tiny_spec, tmp_path):
    rows = conftest.tiny_rows("2024-01-01", 1, 3)
    blocks.write(tmp_path / "f", rows, tiny_spec)
    record = next(iter(tf.data.TFRecordDataset(str(tmp_path / "f"))))
    example = tf.train.Example.FromString(record.numpy())
    columns = {
        name: feature.bytes_list.value[0]
        for name, feature in example.features.feature.items()
    }
    # Rows 1, 2, 3 are of users 2, 3, 4, with 1, 2 and 3 behaviors.
    assert columns["user_id"] == bytes([2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0])
    assert columns["clicked/length"] == bytes([1, 0, 2, 0, 3, 0])
    assert np.frombuffer(columns["clicked"], "<i4").tolist() == [
        *[1],
        *[1, 2],
        *[1, 2, 3],
    ]
    assert columns["click"] == bytes([0, 0, 1])
    assert columns["price"] == np.array([1, 2, 3], "<f4").tobytes()


def test_blocks_are_those_that_tensorflow_makes(tiny_spec, tmp_path):
    rows = conftest.tiny_rows("2024-01-01", 0, blocks.BLOCK_ROWS + 10)
    rows["weight"][:] = 2
    rows[features.SOURCE] = np.ones(len(rows["click"]), np.uint8)
    blocks.write(tmp_path / "f", rows, tiny_spec)
    with tf.io.TFRecordWriter(str(tmp_path / "expected")) as writer:
        for record in tf.data.TFRecordDataset(str(tmp_path / "f")):
            example = tf.train.Example.FromString(record.numpy())
            assert len(example.features.feature) == 11
            writer.write(example.SerializeToString(deterministic=True))
    written = (tmp_path / "f").read_bytes()
    assert written == (tmp_path / "expected").read_bytes()


# The file would parse, but its rows would be put together from several.
@pytest.mark.parametrize("module", [blocks, examples])
def test_write_of_columns_of_other_lengths_raises(tiny_spec, tmp_path, module):
    rows = conftest.tiny_rows("2024-01-01", 0, 4)
    rows["user_id"] = rows["user_id"][:3]
    with pytest.raises(ValueError, match="'user_id' should have 4 rows"):
        module.write(tmp_path / "f", rows, tiny_spec)


@pytest.mark.parametrize("module", [blocks, examples])
def test_write_without_a_column_raises(tiny_spec, tmp_path, module):
    rows = conftest.tiny_rows("2024-01-01", 0, 4)
    del rows["category"]
    with pytest.raises(ValueError, match="'category' is missing"):
        module.write(tmp_path / "f", rows, tiny_spec)


@pytest.mark.parametrize(
    "values, lengths",
    [
        ([1, 2, 3], [4, 4, 4]),
        ([], [4, 4]),
        ([1, 2, 3], [1, 1]),
        ([1, 2, 3], [-1, 4]),
        ([1, 2, 3], []),
        ([1], [32_767, 32_767]),
    ],
)
@pytest.mark.parametrize("traced", [False, True])
def test_lengths_that_do_not_fit_their_entries_raise(values, lengths, traced):
    pad = tf.function(blocks.pad) if traced else blocks.pad
    with pytest.raises(tf.errors.InvalidArgumentError, match="is damaged"):
        pad(tf.constant(values, tf.int32), tf.constant(lengths, tf.int32), 4)


@pytest.mark.parametrize("name", ["price", "timestamp", "clicked/length"])
def test_a_block_with_a_column_of_another_length_raises(
    tiny_spec, tmp_path, name
):
    blocks.write(
        tmp_path / "f", conftest.tiny_rows("2024-01-01", 1, 3), tiny_spec
    )
    record = next(iter(tf.data.TFRecordDataset(str(tmp_path / "f"))))
    example = tf.train.Example.FromString(record.numpy())
    column = example.features.feature[name].bytes_list.value
    column[0] += bytes(8)
    damaged = tf.data.Dataset.from_tensors(example.SerializeToString())
    parsed = damaged.map(lambda record: blocks.parse(record, tiny_spec))
    with pytest.raises(tf.errors.InvalidArgumentError, match="is damaged"):
        list(parsed)


@pytest.mark.parametrize("module", [blocks, examples])
def test_weights_survive_a_file(tiny_spec, tmp_path, module, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 4)
    rows = conftest.tiny_rows("2024-01-01", 0, 10)
    rows["weight"][5:] = [0, 0.1, 3, 1e6, 1]
    module.write(tmp_path / "f", rows, tiny_spec)
    columns = read_back(module, tmp_path / "f", tiny_spec)
    np.testing.assert_array_equal(columns["weight"], rows["weight"])


@pytest.mark.parametrize("module", [blocks, examples])
def test_weights_of_1_leave_no_trace_in_files(tiny_spec, tmp_path, module):
    rows = conftest.tiny_rows("2024-01-01", 0, 10)
    module.write(tmp_path / "with", rows, tiny_spec)
    del rows["weight"]
    module.write(tmp_path / "without", rows, tiny_spec)
    files = [(tmp_path / name).read_bytes() for name in ("with", "without")]
    assert files[0] == files[1]
    columns = read_back(module, tmp_path / "without", tiny_spec)
    np.testing.assert_array_equal(columns["weight"], np.ones(10))


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_weights_that_mean_nothing_are_not_written(tiny_spec, tmp_path, weight):
    rows = conftest.tiny_rows("2024-01-01", 0, 3)
    rows["weight"][1] = weight
    with pytest.raises(ValueError, match=f"at least 0. Received: {weight}"):
        blocks.write(tmp_path / "f", rows, tiny_spec)
