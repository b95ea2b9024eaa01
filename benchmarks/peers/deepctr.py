"""DeepCTR, trained by `fit` from arrays in memory as its examples do.

A process of `benchmarks.worker.Worker` in an environment of its own. Settings:
`arrays` (a directory of `world.write_arrays`), `table_rows`, `batch_size` and
`steps`. Its ready models always add a linear part, so the network is made of
the layers and functions that they are made of.
"""

import time

import tensorflow as tf
from deepctr.feature_column import (
    SparseFeat,
    build_input_features,
    input_from_feature_columns,
)
from deepctr.layers.core import DNN, PredictionLayer
from deepctr.layers.utils import combined_dnn_input

from benchmarks import worker
from benchmarks.peers import UNITS, WIDTH, rows


def model(names: list[str], table_rows: int) -> tf.keras.Model:
    """Return the compiled model of features of `table_rows` ids each."""
    columns = [SparseFeat(name, table_rows, WIDTH) for name in names]
    inputs = build_input_features(columns)
    embedded, dense = input_from_feature_columns(inputs, columns, 0, seed=0)
    x = combined_dnn_input(embedded, dense)
    x = tf.keras.layers.BatchNormalization()(x)
    x = DNN(UNITS, use_bn=True)(x)
    chances = PredictionLayer()(tf.keras.layers.Dense(1, use_bias=False)(x))
    network = tf.keras.Model(list(inputs.values()), chances)
    network.compile("adam", "binary_crossentropy")
    return network


def make():
    """Build the model, train once; return the measuring function."""
    settings = worker.settings()
    size = settings["batch_size"]
    count = size * settings["steps"]
    ids, clicks = rows.load(settings["arrays"])
    columns = {f"feature_{i}": ids[:count, i] for i in range(ids.shape[1])}
    clicks = clicks[:count]
    network = model(list(columns), settings["table_rows"])

    def measure() -> float:
        began = time.perf_counter()
        network.fit(columns, clicks, batch_size=size, epochs=1, verbose=0)
        return count / (time.perf_counter() - began)

    measure()
    return measure


if __name__ == "__main__":
    worker.serve(make, ["deepctr", "tensorflow-cpu"])
