import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.layers.feature_embedding import FeatureEmbedding
from ecdctr_tf.layers.mlp import MLP
from ecdctr_tf.optimizers.lazy_adam import LazyAdam
from ecdctr_tf.transfer import checkpoint


def parts(table="item"):
    mlp = MLP((3, 2), 0.9)
    mlp(tf.zeros([1, 4]))
    return {
        "mlp": mlp,
        "embedding": FeatureEmbedding({"f": table}, {table: 3}, 2),
    }


def test_write_then_read_gives_the_same_arrays(tmp_path):
    arrays = {
        "top": np.float32(2.5),
        "item/ids": np.array([b"a", b"", b"\xc3\xa9/."], dtype=object),
        "item/vectors": np.arange(6, dtype=np.float32).reshape(3, 2),
        "user/ids": np.array([-(2**40), 7], np.int64),
        "user/present": np.array([[True], [False]]),
        "user/deep/er": np.zeros([0, 4], np.float32),
    }
    checkpoint.write(tmp_path / "x", arrays)
    read = checkpoint.read(tmp_path / "x")
    assert set(read) == set(arrays)
    for name, value in arrays.items():
        assert read[name].dtype == value.dtype
        np.testing.assert_array_equal(read[name], value)


@pytest.mark.parametrize(
    "name", ["write", "save_counter", "layer_1", "_x", "a.b", "x..y", "items"]
)
def test_any_name_is_kept(tmp_path, name):
    arrays = {f"{name}/ids": np.arange(2), "other": np.arange(3)}
    checkpoint.write(tmp_path / "x", arrays)
    assert set(checkpoint.read(tmp_path / "x")) == set(arrays)


def test_named_variables_are_the_same_for_every_instance():
    expected = [
        "embedding/tables/item/embeddings",
        "mlp/dense/0/kernel",
        "mlp/dense/1/kernel",
        *(
            f"mlp/norms/{i}/{name}"
            for i in (0, 1)
            for name in ("beta", "gamma", "moving_mean", "moving_variance")
        ),
    ]
    for _ in range(2):
        assert list(checkpoint.named_variables(parts())) == expected


@pytest.mark.parametrize("table", ["layer_kind", "_hidden", "keras_api"])
def test_named_variables_hold_tables_of_any_name(table):
    named = checkpoint.named_variables(parts(table))
    assert f"embedding/tables/{table}/embeddings" in named


def test_named_variables_hold_private_attributes():
    class Private(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self._dense = keras.layers.Dense(2)
            self._dense.build([None, 3])

    named = checkpoint.named_variables({"cross_0": Private()})
    assert list(named) == ["cross_0/_dense/bias", "cross_0/_dense/kernel"]


def test_variables_are_written_by_value(tmp_path):
    named = checkpoint.named_variables(parts())
    checkpoint.write(tmp_path / "x", named)
    expected = {name: v.numpy() for name, v in named.items()}
    for variable in named.values():
        variable.assign(variable + 1)
    read = checkpoint.read(tmp_path / "x")
    assert set(read) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(read[name], value)


def test_optimizer_variables_are_named_by_order():
    optimizer = LazyAdam(0.1)
    optimizer.build([tf.Variable([[1.0, 2.0]])])
    named = checkpoint.optimizer_variables(tables=optimizer)
    # The step and two moments.
    assert list(named) == [f"tables/{i}" for i in range(3)]
    assert named["tables/2"].shape == [1, 2]


def test_a_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        checkpoint.read(tmp_path / "x")


def _cut_index(index, data):
    index.write_bytes(index.read_bytes()[:-5])


def _empty_index(index, data):
    index.write_bytes(b"")


def _flip_index(index, data):
    content = bytearray(index.read_bytes())
    content[40] ^= 255
    index.write_bytes(content)


def _flip_data(index, data):
    content = bytearray(data.read_bytes())
    # The vectors: their first number is written as it is.
    content[content.index(np.float32(1234.5).tobytes())] ^= 255
    data.write_bytes(content)


def _cut_data(index, data):
    data.write_bytes(b"")


def _no_data(index, data):
    data.unlink()


@pytest.mark.parametrize(
    "damage",
    [_cut_index, _empty_index, _flip_index, _flip_data, _cut_data, _no_data],
)
def test_a_damaged_checkpoint_is_an_error(tmp_path, damage):
    checkpoint.write(tmp_path / "x", {"v": np.full(50, 1234.5, np.float32)})
    (data,) = tmp_path.glob("x.data*")
    damage(tmp_path / "x.index", data)
    with pytest.raises(ValueError, match="x cannot be read. Delete its"):
        checkpoint.read(tmp_path / "x")
