import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import windows
from ecdctr_tf.input import data_directory, examples, row_groups, streams
from tests import conftest


def test_example_is_what_tf_io_parses(tiny_spec, tmp_path):
    rows = conftest.tiny_rows("2024-01-01", 2, 1)
    examples.write(tmp_path / "f", rows, tiny_spec)
    record = next(iter(tf.data.TFRecordDataset(str(tmp_path / "f"))))
    parsed = tf.io.parse_single_example(
        record,
        {
            "user_id": tf.io.FixedLenFeature([], tf.int64),
            "category": tf.io.FixedLenFeature([], tf.int64),
            "clicked": tf.io.VarLenFeature(tf.int64),
            "price": tf.io.FixedLenFeature([], tf.float32),
            "click": tf.io.FixedLenFeature([], tf.int64),
            "timestamp": tf.io.FixedLenFeature([], tf.int64),
        },
    )
    # Row 2: user 1 + 2, category 1 + 0, two behaviors, no click.
    assert parsed["user_id"] == 3
    assert parsed["category"] == 1
    assert parsed["clicked"].values.numpy().tolist() == [1, 2]
    assert parsed["price"] == 2.0
    assert parsed["click"] == 0
    # 2024-01-01 is 54 years (14 of them leap years to 2024) after 1970.
    assert parsed["timestamp"] == (54 * 365 + 13) * 86_400 + 2


def test_rows_of_other_systems_may_lack_a_sequence(tiny_spec, tmp_path):
    def ints(*values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def floats(*values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    columns = {
        "user_id": ints(1),
        "item_id": ints(2),
        "category": ints(0),
        "price": floats(0.5),
        "true_ctr": floats(0.25),
        "click": ints(1),
        "timestamp": ints(99),
        "unknown_to_the_spec": ints(5),
    }
    records = [
        tf.train.Example(
            features=tf.train.Features(feature={**columns, **more})
        ).SerializeToString()
        for more in ({}, {"clicked": ints()}, {"clicked": ints(1, 2, 3, 4)})
    ]
    parsed = examples.parse(tf.constant(records), tiny_spec)
    np.testing.assert_array_equal(
        parsed["clicked"], [[-1, -1, -1], [-1, -1, -1], [2, 3, 4]]
    )
    np.testing.assert_array_equal(parsed["click"], [1, 1, 1])
    assert "unknown_to_the_spec" not in parsed


@pytest.fixture(autouse=True)
def fresh_reader():
    """Trace the reader anew: tests set sizes that it is traced with."""
    row_groups._reader.cache_clear()
    yield
    row_groups._reader.cache_clear()


@pytest.fixture
def row_wise(tiny_spec, tmp_path):
    """The natural days of `tiny_data` as row-wise Examples."""
    path = tmp_path / "row-wise"
    path.mkdir()
    tiny_spec.save(path / data_directory.SPEC)
    data = data_directory.DataDirectory(path)
    conftest.write_days(
        data,
        "natural",
        conftest.NATURAL_DAYS,
        conftest.NATURAL_FILES,
        first=0,
        file_format="examples",
    )
    return data


def test_both_formats_give_the_same_batches(tiny_data, row_wise):
    window = windows.Window("2024-01-01", "2024-01-03")
    batches = [
        list(streams.batches(data, "natural", window, 7).as_numpy_iterator())
        for data in (tiny_data, row_wise)
    ]
    assert len(batches[0]) == len(batches[1]) == 9
    for (inputs, clicks), (same_inputs, same_clicks) in zip(
        *batches, strict=True
    ):
        np.testing.assert_array_equal(clicks, same_clicks)
        assert set(inputs) == set(same_inputs)
        for name, column in inputs.items():
            assert column.dtype == same_inputs[name].dtype, name
            np.testing.assert_array_equal(column, same_inputs[name], name)


# Two days of 20 rows, parsed 6 at a time: the last group of each is smaller.
def test_examples_are_shuffled_and_complete(row_wise, monkeypatch):
    monkeypatch.setattr(examples, "_PARSE_ROWS", 6)
    window = windows.Window("2024-01-02", "2024-01-03")
    stream = streams.batches(row_wise, "natural", window, 7, seed=0)
    order = [n for x, _ in stream.as_numpy_iterator() for n in x["price"]]
    assert sorted(order) == list(range(20, 60))
    assert order != sorted(order)
