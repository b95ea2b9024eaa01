"""Scores from files: each scored row has one, or the file is rejected."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecdctr_tf.input import streams
from ecdctr_tf.results import given
from ecdctr_tf.windows import Window
from tests.conftest import ADS_DAYS

BOTH = Window(*ADS_DAYS[:2])


@pytest.fixture
def columns(tiny_data):
    """Keys of all rows of ads, and a score of each."""
    found = streams.read_columns(
        tiny_data, "ads", Window(ADS_DAYS[0], ADS_DAYS[-1])
    )
    ids = tiny_data.id_spaces
    return {
        "user": ids["user"].ids[found["user_id"] - 1],
        "item": ids["item"].ids[found["item_id"] - 1],
        "timestamp": found["timestamp"],
        "score": found["price"] / 100,
    }


def write(path, columns, kind="parquet"):
    path = path / f"mine.{kind}"
    if kind == "npz":
        np.savez(path, **columns)
    else:
        pq.write_table(pa.table(dict(columns)), path)
    return f"mine={path}"


def of_day(flag, data):
    return given.read(flag, ["e_cdctr"]).of_day(data, BOTH)


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_keys_in_any_order(tiny_data, columns, tmp_path, kind):
    order = np.random.default_rng(0).permutation(30)
    shuffled = {name: np.asarray(c)[order] for name, c in columns.items()}
    found = of_day(write(tmp_path, shuffled, kind), tiny_data)
    np.testing.assert_allclose(found, np.arange(60, 80) / 100)


def test_times_may_have_a_type(tiny_data, columns, tmp_path):
    times = np.asarray(columns["timestamp"]).astype("datetime64[s]")
    flag = write(tmp_path, {**columns, "timestamp": times})
    found = of_day(flag, tiny_data)
    np.testing.assert_allclose(found, np.arange(60, 80) / 100)


@pytest.mark.parametrize("count", [0, 2])
def test_each_row_has_one_score(tiny_data, columns, tmp_path, count):
    rows = [*range(3), *([3] * count), *range(4, 30)]
    changed = {name: np.asarray(c)[rows] for name, c in columns.items()}
    with pytest.raises(ValueError, match=f"is row 3 .* with {count} scores"):
        of_day(write(tmp_path, changed), tiny_data)


def test_ids_of_another_type(tiny_data, columns, tmp_path):
    names = np.array([f"u{i}" for i in range(30)])
    with pytest.raises(ValueError, match="'user' of .* which are int64. Rec"):
        of_day(write(tmp_path, {**columns, "user": names}), tiny_data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ctr": [0.5], "score": None}, "should have the columns user, item"),
        ({"timestamp": None}, "score. Received: user, item, score"),
        ({"score": [1.5]}, "Received: 1.5 in row 0"),
        ({"score": [np.nan]}, "Received: nan in row 0"),
        ({"score": [0.5, 0.5]}, "should be of one length"),
    ],
)
def test_columns_are_checked(tmp_path, changes, message):
    columns = {"user": [1], "item": [2], "timestamp": [3], "score": [0.5]}
    arrays = {n: np.array(c) for n, c in {**columns, **changes}.items() if c}
    with pytest.raises(ValueError, match=message):
        given.read(write(tmp_path, arrays, "npz"), [])


@pytest.mark.parametrize("flag", ["mine", "=x", "e_cdctr=x", "a b=x", "mine="])
def test_flags_are_checked(flag):
    with pytest.raises(ValueError, match="--scores should be name=file"):
        given.read(flag, ["e_cdctr"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_one_line(tmp_path, save):
    file = tmp_path / "mine.npz"
    whole = tmp_path / "whole.npz"
    columns = dict.fromkeys(["user", "item", "timestamp"], np.arange(40))
    save(whole, **columns, score=np.linspace(0, 1, 40))
    content = whole.read_bytes()
    for place in range(0, len(content), 23):
        flipped = bytearray(content)
        flipped[place] ^= 4
        for damaged in (bytes(flipped), content[:place]):
            file.write_bytes(damaged)
            try:
                found = given.read(f"mine={file}", [])
            except ValueError as error:
                assert str(file) in str(error)
            else:  # What was flipped is no value: a time, or a version.
                assert found.columns["score"].tolist() == list(
                    np.linspace(0, 1, 40)
                )


def test_files_are_checked(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.npz, given as --scores"):
        given.read(f"mine={tmp_path / 'none.npz'}", [])
    for name, message in (
        ("a.csv", "reads .parquet and .npz files. Received: 'a.csv'"),
        ("a.parquet", "a.parquet cannot be read"),
        ("a.npz", "a.npz cannot be read"),
    ):
        (tmp_path / name).write_text("score\n0.5\n")
        with pytest.raises(ValueError, match=message):
            given.read(f"mine={tmp_path / name}", [])
