"""The public names, and their use in a Keras model that is not ours."""

import ast
import inspect
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import ecdctr_tf

ROWS = {
    "user": np.array([0, 1, 1, 2], np.int32),
    "item": np.array([3, 4, 1, 5], np.int32),
    "clicked": np.array([[1, -1, -1], [2, 3, -1], [-1, -1, -1], [5, 4, 3]]),
    "day": np.array([99, 100, 101, 101], np.int32),
}
CLICKS = np.array([1, 0, 0, 1], np.float32)


def history():
    return ecdctr_tf.HistoricalTable(
        [[[0, 0], [1, 2], [3, 4]]], [[False, True, True]], [100]
    )


def foreign_model():
    """Return a functional model of Keras in which every layer is used."""
    inputs = {
        name: keras.Input(column.shape[1:], dtype="int32", name=name)
        for name, column in ROWS.items()
    }
    embedded = ecdctr_tf.FeatureEmbedding(
        {"user": "user", "item": "item", "clicked": "item"},
        {"user": 3, "item": 6},
        dim=4,
    )(inputs)
    bias = ecdctr_tf.TableEmbedding(4, 1, 3)({"user": inputs["user"]})
    interest = ecdctr_tf.TargetAttention(8)(
        embedded["item"], embedded["clicked"], inputs["clicked"] >= 0
    )
    recall = ecdctr_tf.HistoricalEmbedding("attention", 2, history())
    recalled, known = recall(inputs["user"], inputs["day"])
    x = keras.layers.Concatenate()(
        [embedded["user"], interest, recalled, known, bias["user"]]
    )
    x = ecdctr_tf.MLP((8, 4), 0.9, l2=1e-3)(ecdctr_tf.BatchNorm()(x))
    return keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(x))


def trained_model(optimizer):
    model = foreign_model()
    model.compile(optimizer=optimizer, loss="binary_crossentropy")
    model.fit(ROWS, CLICKS, epochs=2, verbose=0)
    return model


def test_import_loads_neither_tensorflow_nor_numpy():
    code = (
        "import sys, ecdctr_tf\n"
        "assert not {'tensorflow', 'tf_keras', 'numpy'} & set(sys.modules)\n"
        "assert 'CTRModel' in dir(ecdctr_tf)\n"
        "ecdctr_tf.auc\n"
        "assert 'numpy' in sys.modules and 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    for name in ecdctr_tf.__all__:
        assert getattr(ecdctr_tf, name).__name__ == name
        assert name in dir(ecdctr_tf)


def test_unknown_names_are_rejected():
    with pytest.raises(AttributeError, match="no attribute 'CTRModle'"):
        ecdctr_tf.CTRModle  # noqa: B018


def test_type_checkers_see_the_same_names():
    tree = ast.parse(pathlib.Path(ecdctr_tf.__file__).read_text("utf-8"))
    seen = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {
        name: f"ecdctr_tf.{module}"
        for name, module in ecdctr_tf._MODULES.items()
    }


@pytest.mark.parametrize("name", ["LazyAdam", "RowWiseAdagrad"])
def test_a_saved_model_goes_on_where_it_stopped(name, tmp_path):
    model = trained_model(getattr(ecdctr_tf, name)(0.01, clipnorm=1.0))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, getattr(ecdctr_tf, name))
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    np.testing.assert_array_equal(
        loaded.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0)
    )
    for each in (model, loaded):
        each.fit(ROWS, CLICKS, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        loaded.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0), 1e-5
    )


def test_a_cloned_model_with_the_weights_predicts_the_same():
    model = trained_model(ecdctr_tf.LazyAdam(0.01))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        clone.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0)
    )


@pytest.mark.parametrize(
    "layer",
    [
        ecdctr_tf.BatchNorm(momentum=0.7),
        ecdctr_tf.FeatureEmbedding({"a": "t"}, {"t": 3}, 2, {"t": 9}),
        ecdctr_tf.HistoricalEmbedding("concat", 3),
        ecdctr_tf.HistoricalEmbedding("concat", 3, history()),
        ecdctr_tf.MLP((3, 2), 0.8, 0.1, name="tower"),
        ecdctr_tf.TableEmbedding(5, 2, 4),
        ecdctr_tf.TargetAttention(7),
    ],
    ids=lambda layer: layer.name,
)
def test_config_of_a_layer_round_trip(layer):
    config = keras.layers.serialize(layer)
    assert config["registered_name"] == f"ecdctr_tf>{type(layer).__name__}"
    arguments = inspect.signature(type(layer)).parameters
    if type(layer) is not ecdctr_tf.BatchNorm:  # Its arguments are Keras'.
        assert set(arguments) - {"kwargs"} <= set(layer.get_config())
    again = keras.layers.deserialize(config)
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


def test_a_table_is_saved_with_its_layer_and_never_trained(tmp_path):
    model = trained_model(ecdctr_tf.LazyAdam(0.1))
    [layer] = [
        layer
        for layer in model.layers
        if isinstance(layer, ecdctr_tf.HistoricalEmbedding)
    ]
    np.testing.assert_array_equal(layer.table.vectors, [[0, 0], [1, 2], [3, 4]])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    table = loaded.get_layer(layer.name).table
    np.testing.assert_array_equal(table.vectors, [[0, 0], [1, 2], [3, 4]])
    np.testing.assert_array_equal(table.visible_from, [100])


def test_a_layer_without_a_table_asks_for_one():
    layer = ecdctr_tf.HistoricalEmbedding("single", 1)
    with pytest.raises(ValueError, match="given to the layer or to its call"):
        layer(tf.constant([1]), tf.constant([100]))
