"""The same model as a tutorial of Keras writes it: Embedding, Dense, Adam.

A process of `worker.Worker`. Settings: `data` (a data directory of
`world.write`), `batch_size` and `steps`, those of a measurement.
"""

import time

import tensorflow as tf
import tf_keras as keras

from benchmarks import worker, world
from benchmarks.peers import UNITS, WIDTH
from ecdctr_tf.input import data_directory, streams


def model(rows: dict[str, int]) -> keras.Model:
    """Return the compiled model.

    Args:
      rows: feature name -> rows of its table.
    """
    inputs, embedded = {}, []
    for name, count in rows.items():
        inputs[name] = keras.Input([], name=name, dtype=tf.int32)
        embedded.append(keras.layers.Embedding(count, WIDTH)(inputs[name]))
    x = keras.layers.Concatenate()(embedded)
    x = keras.layers.BatchNormalization()(x)
    for units in UNITS:
        x = keras.layers.Dense(units, use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    network = keras.Model(inputs, keras.layers.Dense(1)(x))
    network.compile(
        keras.optimizers.Adam(), keras.losses.BinaryCrossentropy(True)
    )
    return network


def make():
    """Build the model, take some steps; return the measuring function."""
    settings = worker.settings()
    size, steps = settings["batch_size"], settings["steps"]
    data = data_directory.DataDirectory(settings["data"])
    window = data.window(world.DOMAIN)
    rows = data.table_rows(window.last)
    network = model({name: rows[name] for name in world.FEATURES})
    batches = streams.batches(
        data, world.DOMAIN, window, size, seed=0, names=world.FEATURES
    )
    # The model has no input for the day; in memory, so only steps are timed.
    batches = batches.take(steps).map(
        lambda inputs, clicks: (
            {name: inputs[name] for name in world.FEATURES},
            clicks,
        )
    )
    batches = batches.cache().prefetch(tf.data.AUTOTUNE)
    network.fit(batches, verbose=0)

    def measure() -> float:
        began = time.perf_counter()
        network.fit(batches, verbose=0)
        return steps * size / (time.perf_counter() - began)

    return measure


if __name__ == "__main__":
    worker.serve(make, ["tensorflow", "tf_keras"])
