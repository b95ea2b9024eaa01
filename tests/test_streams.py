import collections

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import windows
from ecdctr_tf.input import blocks, data_directory, row_groups, streams
from tests import conftest

WINDOW = windows.Window("2024-01-01", "2024-01-03")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 4)


@pytest.fixture(autouse=True)
def fresh_reader():
    """Trace the reader anew: tests set sizes that it is traced with."""
    row_groups._reader.cache_clear()
    yield
    row_groups._reader.cache_clear()


def numbers(dataset):
    """Return the row numbers (`price`) of each batch."""
    return [
        inputs["price"].tolist() for inputs, _ in dataset.as_numpy_iterator()
    ]


def flat(dataset):
    return [number for batch in numbers(dataset) for number in batch]


def test_without_seed_rows_come_in_the_order_of_files(tiny_data):
    batches = numbers(streams.batches(tiny_data, "natural", WINDOW, 8))
    # 60 rows in eight even batches, 7.5 rows each.
    assert [len(batch) for batch in batches] == [7, 8] * 4
    assert sum(batches, []) == list(range(60))


def test_batches_hold_features_day_and_clicks(tiny_data):
    day, _ = one_day()
    # Ten rows in two batches of five.
    inputs, clicks = next(iter(streams.batches(tiny_data, "ads", day, 5)))
    assert set(inputs) == {
        "user_id",
        "item_id",
        "category",
        "clicked",
        "price",
        "day",
        "weight",
    }
    np.testing.assert_array_equal(inputs["price"], [60, 61, 62, 63, 64])
    np.testing.assert_array_equal(inputs["user_id"], [1, 2, 3, 4, 1])
    np.testing.assert_array_equal(inputs["item_id"], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(
        inputs["clicked"],
        [[-1, -1, -1], [1, -1, -1], [1, 2, -1], [1, 2, 3], [-1, -1, -1]],
    )
    assert clicks.dtype == tf.float32
    np.testing.assert_array_equal(clicks, [1, 0, 0, 1, 0])


def one_day():
    return windows.Window("2024-01-02", "2024-01-02"), 4


def test_day_is_that_of_the_row(tiny_data):
    first = windows.day_number("2024-01-01")
    for seed in (None, 3):
        stream = streams.batches(tiny_data, "natural", WINDOW, 7, seed)
        for inputs, _ in stream.as_numpy_iterator():
            assert inputs["day"].dtype == np.int32
            expected = first + inputs["price"].astype(int) // 20
            np.testing.assert_array_equal(inputs["day"], expected)


def test_rows_stay_whole_when_shuffled(tiny_data):
    stream = streams.batches(tiny_data, "natural", WINDOW, 7, seed=3)
    for inputs, clicks in stream.as_numpy_iterator():
        number = inputs["price"].astype(int)
        np.testing.assert_array_equal(inputs["user_id"], 1 + number % 4)
        np.testing.assert_array_equal(inputs["item_id"], 1 + number % 6)
        entries = (inputs["clicked"] != -1).sum(axis=1)
        np.testing.assert_array_equal(entries, number % 4)
        np.testing.assert_array_equal(clicks, number % 3 == 0)


def test_order_is_given_by_the_seed(tiny_data):
    orders = [
        flat(streams.batches(tiny_data, "natural", one_day()[0], 8, seed))
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != list(range(20, 40))
    for order in orders:
        assert sorted(order) == list(range(20, 40))


# Trained figures depend on the order: it should not change unnoticed. Blocks
# of 4 rows are put in order by draws of the seed and the day, then the rows.
def test_order_is_that_of_sorted_draws(tiny_data):
    rows = [conftest.tiny_rows("2024-01-04", 0, 18)]
    tiny_data.write_day("natural", "2024-01-04", rows, {})
    window = windows.Window("2024-01-04", "2024-01-04")
    order = flat(streams.batches(tiny_data, "natural", window, 8, seed=5))

    def sorted_draws(count, second):
        draws = tf.random.stateless_uniform(
            [count], [5, second], 0, tf.int64.max, dtype=tf.int64
        )
        return np.argsort(draws)

    day = windows.day_number("2024-01-04") * 1000
    read = [
        number
        for block in sorted_draws(5, day)
        for number in range(18)[4 * block : 4 * block + 4]
    ]
    expected = [read[i] for i in sorted_draws(18, day + 1_000_000_000)]
    assert order == expected


def test_days_follow_each_other_each_in_its_own_order(tiny_data):
    order = flat(streams.batches(tiny_data, "natural", WINDOW, 8, seed=0))
    days = [[int(number) for number in order[i : i + 20]] for i in (0, 20, 40)]
    for day, numbers_of_day in enumerate(days):
        assert {number // 20 for number in numbers_of_day} == {day}
    places = {tuple(number % 20 for number in day) for day in days}
    assert len(places) == 3
    # Nor does the order of a day depend on the days before it.
    last = windows.Window("2024-01-03", "2024-01-03")
    assert flat(streams.batches(tiny_data, "natural", last, 8, 0)) == days[2]


def test_order_does_not_depend_on_the_seed_of_tensorflow(tiny_data):
    window = one_day()[0]
    tf.random.set_seed(0)
    order = flat(streams.batches(tiny_data, "natural", window, 8, seed=0))
    tf.random.set_seed(7)
    assert flat(streams.batches(tiny_data, "natural", window, 8, 0)) == order


def test_passes_are_whole_and_in_other_orders(tiny_data):
    window = windows.Window("2024-01-02", "2024-01-03")
    order = flat(streams.batches(tiny_data, "ads", window, 8, 0, passes=2))
    assert sorted(order[:20]) == sorted(order[20:]) == list(range(60, 80))
    assert order[:10] != order[20:30]
    assert order[10:20] != order[30:]


def test_passes_without_seed_repeat_the_order(tiny_data):
    stream = streams.batches(tiny_data, "natural", WINDOW, 8, passes=2)
    assert flat(stream) == list(range(60)) * 2


def test_chunks_of_a_day_have_orders_of_their_own(tiny_data, monkeypatch):
    monkeypatch.setattr(row_groups, "SHUFFLE_ROWS", 4)
    rows = conftest.tiny_rows("2024-01-04", 0, 40)
    tiny_data.write_day("natural", "2024-01-04", [rows], {})
    window = windows.Window("2024-01-04", "2024-01-04")
    order = flat(streams.batches(tiny_data, "natural", window, 8, seed=0))
    assert sorted(order) == list(range(40))
    # Ten chunks of a block of four rows each, blocks and rows in other orders.
    chunks = [order[i : i + 4] for i in range(0, 40, 4)]
    assert [min(chunk) for chunk in chunks] != list(range(0, 40, 4))
    assert len({tuple(number % 4 for number in c) for c in chunks}) > 2


def test_skip_takes_a_stream_up_again(tiny_data):
    kwargs = {"batch_size": 8, "seed": 2, "passes": 2}
    whole = numbers(streams.batches(tiny_data, "natural", WINDOW, **kwargs))
    assert len(whole) == 15
    # Within the first pass, across both passes, in the last batch, behind it.
    for skip in (2, 7, 14, 15):
        rest = streams.batches(
            tiny_data, "natural", WINDOW, skip=skip, **kwargs
        )
        assert rest.cardinality() == 15 - skip
        assert numbers(rest) == whole[skip:]


# A batch of a single row would have no variance.
def test_a_batch_has_one_row_less_than_another_at_most(tiny_data):
    for batch_size, sizes in ((59, [30, 30]), (29, [20] * 3), (60, [60])):
        batches = numbers(
            streams.batches(tiny_data, "natural", WINDOW, batch_size, seed=1)
        )
        assert [len(batch) for batch in batches] == sizes


# 60 rows: ceil(60 * passes / batch_size) batches.
@pytest.mark.parametrize(
    ("batch_size", "seed", "passes", "expected"),
    [(8, None, 1, 8), (60, None, 1, 1), (61, None, 1, 1), (7, 0, 2, 18)],
)
def test_cardinality_is_known(tiny_data, batch_size, seed, passes, expected):
    stream = streams.batches(
        tiny_data, "natural", WINDOW, batch_size, seed, passes
    )
    assert stream.cardinality() == expected
    assert len(list(stream)) == expected


def test_names_select_features(tiny_data):
    stream = streams.batches(
        tiny_data, "natural", WINDOW, 8, names=["user_id", "item_id"]
    )
    inputs, _ = next(iter(stream))
    assert set(inputs) == {"user_id", "item_id", "day", "weight"}


# The second stream reads with what was traced for the first.
@pytest.mark.parametrize("seed", [None, 0])
def test_second_stream_of_a_kind_reads_its_own_days(tiny_data, seed):
    for day, first in (("2024-01-02", 20), ("2024-01-03", 40)):
        window = windows.Window(day, day)
        stream = streams.batches(tiny_data, "natural", window, 8, seed)
        assert sorted(flat(stream)) == list(range(first, first + 20))
    assert row_groups._reader.cache_info().misses == 1


def test_unknown_name_raises(tiny_data):
    with pytest.raises(ValueError, match="There is no feature 'colour'"):
        streams.batches(
            tiny_data,
            "natural",
            WINDOW,
            8,
            names=["user_id", "item_id", "colour"],
        )


@pytest.mark.parametrize("names", [None, ["user_id", "item_id"]])
def test_evaluation_columns_are_never_features(tiny_data, names):
    for seed in (None, 0):
        stream = streams.batches(
            tiny_data, "natural", WINDOW, 8, seed, names=names
        )
        inputs, _ = stream.element_spec
        assert not {"true_ctr", "timestamp", "click"} & set(inputs)


def test_read_columns_has_everything_in_order(tiny_data):
    columns = streams.read_columns(tiny_data, "natural", WINDOW)
    assert set(columns) == {
        "user_id",
        "item_id",
        "category",
        "clicked",
        "price",
        "true_ctr",
        "click",
        "timestamp",
        "day",
        "weight",
    }
    np.testing.assert_array_equal(columns["price"], range(60))
    np.testing.assert_allclose(columns["true_ctr"], np.arange(60) / 100)
    counts = collections.Counter(columns["day"].tolist())
    assert sorted(counts.values()) == [20, 20, 20]


@pytest.mark.parametrize("seed", [None, 0])
def test_day_without_rows_is_passed_over(tiny_data, seed):
    nothing = conftest.tiny_rows("2024-01-04", 0, 0)
    tiny_data.write_day("natural", "2024-01-04", [], {})
    tiny_data.write_day("natural", "2024-01-05", [nothing], {})
    window = windows.Window("2024-01-03", "2024-01-05")
    stream = streams.batches(tiny_data, "natural", window, 8, seed)
    assert sorted(flat(stream)) == list(range(40, 60))
    alone = windows.Window("2024-01-04", "2024-01-04")
    stream = streams.batches(tiny_data, "natural", alone, 8, seed)
    assert stream.cardinality() == 0
    assert list(stream) == []


def test_read_columns_of_a_day_without_rows(tiny_data):
    tiny_data.write_day("natural", "2024-01-04", [], {})
    window = windows.Window("2024-01-04", "2024-01-04")
    columns = streams.read_columns(tiny_data, "natural", window)
    assert {name: column.shape for name, column in columns.items()} == {
        "user_id": (0,),
        "item_id": (0,),
        "category": (0,),
        "clicked": (0, 3),
        "price": (0,),
        "true_ctr": (0,),
        "click": (0,),
        "timestamp": (0,),
        "day": (0,),
        "weight": (0,),
    }
    assert columns["user_id"].dtype == np.int32


def test_days_of_two_formats_raise(tiny_data):
    rows = [conftest.tiny_rows("2024-01-04", 60, 2)]
    tiny_data.write_day("natural", "2024-01-04", rows, {}, "examples")
    window = windows.Window("2024-01-03", "2024-01-04")
    with pytest.raises(ValueError, match="several formats.*blocks.*examples"):
        streams.batches(tiny_data, "natural", window, 8)


BOTH = {"natural": WINDOW, "ads": windows.Window("2024-01-02", "2024-01-04")}


def test_mixed_has_every_row_once_with_its_domain(tiny_data):
    stream = streams.mixed(tiny_data, BOTH, 8, seed=0)
    assert stream.cardinality() == 12
    found = []
    for inputs, clicks in stream.as_numpy_iterator():
        number = inputs["price"].astype(int)
        np.testing.assert_array_equal(inputs["domain"], number >= 60)
        assert inputs["domain"].dtype == np.int32
        np.testing.assert_array_equal(inputs["user_id"], 1 + number % 4)
        entries = (inputs["clicked"] != -1).sum(axis=1)
        np.testing.assert_array_equal(entries, number % 4)
        np.testing.assert_array_equal(clicks, number % 3 == 0)
        days = np.where(number < 60, number // 20, 1 + (number - 60) // 10)
        first = windows.day_number("2024-01-01")
        np.testing.assert_array_equal(inputs["day"], first + days)
        found += number.tolist()
    assert sorted(found) == list(range(90))
    # The domains are mixed: no third of the order is without one of them.
    for third in (found[:30], found[30:60], found[60:]):
        assert 3 < sum(number >= 60 for number in third) < 20


def test_mixed_order_is_given_by_the_seed(tiny_data):
    orders = [
        flat(streams.mixed(tiny_data, BOTH, 8, seed)) for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_mixed_spreads_the_smaller_domain_over_even_chunks(
    tiny_data, monkeypatch
):
    monkeypatch.setattr(row_groups, "SHUFFLE_ROWS", 18)
    order = flat(streams.mixed(tiny_data, BOTH, 8, seed=0))
    assert sorted(order) == list(range(90))
    chunks = [order[i : i + 18] for i in range(0, 90, 18)]
    assert [sum(n >= 60 for n in chunk) for chunk in chunks] == [6] * 5
    # Each domain's days follow each other, chunk by chunk.
    for chunk, last in zip(chunks, (0, 1, 1, 2, 2), strict=True):
        assert max(n // 20 for n in chunk if n < 60) == last


# One ad among 60 natural rows: four of five chunks have none.
def test_mixed_with_less_rows_than_chunks(tiny_data, monkeypatch):
    monkeypatch.setattr(row_groups, "SHUFFLE_ROWS", 13)
    rows = conftest.tiny_rows("2024-01-05", 90, 1)
    tiny_data.write_day("ads", "2024-01-05", [rows], {})
    alone = windows.Window("2024-01-05", "2024-01-05")
    parts = {"ads": alone, "natural": WINDOW}
    order = flat(streams.mixed(tiny_data, parts, 8, seed=0))
    assert sorted(order) == [*range(60), 90]


def test_mixed_passes_are_whole_and_in_other_orders(tiny_data, monkeypatch):
    monkeypatch.setattr(row_groups, "SHUFFLE_ROWS", 20)
    order = flat(streams.mixed(tiny_data, BOTH, 8, 0, passes=2))
    assert sorted(order[:90]) == sorted(order[90:]) == list(range(90))
    assert order[:90] != order[90:]


def test_mixed_skip_takes_a_stream_up_again(tiny_data, monkeypatch):
    monkeypatch.setattr(row_groups, "SHUFFLE_ROWS", 20)
    kwargs = {"batch_size": 8, "seed": 2, "passes": 2}
    whole = numbers(streams.mixed(tiny_data, BOTH, **kwargs))
    # 180 rows in 23 batches: 19 of eight and 4 of seven.
    sizes = collections.Counter(len(batch) for batch in whole)
    assert sizes == {8: 19, 7: 4}
    for skip in (2, 11, 22, 23):
        rest = streams.mixed(tiny_data, BOTH, skip=skip, **kwargs)
        assert rest.cardinality() == 23 - skip
        assert numbers(rest) == whole[skip:]


def test_mixed_does_without_a_domain_that_has_no_rows(tiny_data):
    tiny_data.write_day("ads", "2024-01-05", [], {})
    nothing = windows.Window("2024-01-05", "2024-01-05")
    for parts in ({"natural": WINDOW, "ads": nothing}, {"natural": WINDOW}):
        stream = streams.mixed(tiny_data, parts, 8, 0, names=NAMES)
        inputs, _ = zip(*stream.as_numpy_iterator(), strict=True)
        assert {name for i in inputs for name in i} == {
            *NAMES,
            "day",
            "weight",
            "domain",
        }
        np.testing.assert_array_equal(
            np.concatenate([i["domain"] for i in inputs]), np.zeros(60)
        )


NAMES = ["user_id", "item_id"]


def test_mixed_without_rows_raises(tiny_data):
    tiny_data.write_day("ads", "2024-01-05", [], {})
    nothing = {"ads": windows.Window("2024-01-05", "2024-01-05")}
    with pytest.raises(ValueError, match="no rows in ads 2024-01-05"):
        streams.mixed(tiny_data, nothing, 8, 0)


def test_streams_feed_fit(tiny_data):
    inputs = {
        "price": tf.keras.Input([], name="price"),
        "day": tf.keras.Input([], dtype=tf.int32, name="day"),
    }
    logits = tf.keras.layers.Dense(1)(inputs["price"][:, None])
    model = tf.keras.Model(inputs, logits[:, 0])
    model.compile(loss="mse")
    stream = streams.batches(
        data_directory.DataDirectory(tiny_data.path), "ads", *one_day(), seed=0
    )
    history = model.fit(
        stream.map(lambda x, y: ({k: x[k] for k in inputs}, y)), verbose=0
    )
    assert np.isfinite(history.history["loss"][0])


@pytest.mark.parametrize("file_format", ["blocks", "examples"])
def test_weights_go_with_their_rows(tiny_data, file_format):
    rows = conftest.tiny_rows("2024-01-04", 60, 40)
    rows["weight"] = rows["price"] / 8
    tiny_data.write_day("natural", "2024-01-04", [rows], {}, file_format)
    day = windows.Window("2024-01-04", "2024-01-04")
    for inputs, _ in streams.batches(tiny_data, "natural", day, 8, seed=1):
        np.testing.assert_array_equal(inputs["weight"], inputs["price"] / 8)
    columns = streams.read_columns(tiny_data, "natural", day)
    np.testing.assert_array_equal(columns["weight"], rows["weight"])


def test_days_without_weights_weigh_1_beside_others(tiny_data):
    rows = conftest.tiny_rows("2024-01-08", 0, 20)
    rows["weight"] = np.full(20, 2.5, np.float32)
    tiny_data.write_day("ads", "2024-01-08", [rows], {})
    parts = {
        "natural": windows.Window("2024-01-01", "2024-01-03"),
        "ads": windows.Window("2024-01-08", "2024-01-08"),
    }
    for inputs, _ in streams.mixed(tiny_data, parts, 16, 0):
        expected = np.where(inputs["domain"] == 1, 2.5, 1)
        np.testing.assert_array_equal(inputs["weight"], expected)
