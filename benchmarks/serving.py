r"""Time of a request to an exported model, in a client in C++ on one thread.

```
python -m benchmarks.serving --calls=300 --json=serving.json
```

One user with N items and T clicks is sent to `rank`, to `serving_default`,
where the user is in each row, and in the same rows to a plain Keras 3 export of
the same network with the same weights, which is sent rows of tables instead of
ids. Beside them are the matrix products that `rank` needs, alone, and a
signature that does nothing. All take turns, a call each; ratios are those of
the shortest times.

The network has the default config, but one head for keys without an ending;
those of the two heads of the default end in `_two_heads`. The features are
those of the demo, with 20,000 users and 5,000 items; the weights are random.

Keys: `rank_over_keras_n200_t50` and so on, how many times as fast `rank` is as
Keras; `default_over_keras_...`, the same of `serving_default`;
`rank_over_matmuls_...`, the time of `rank` over that of the bare products.
"""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks import harness
from ecdctr_tf import config as configs
from ecdctr_tf import features
from ecdctr_tf.export import client, folded, saved_model
from ecdctr_tf.input import id_space
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.models.ctr_model import CTRModel

CALLS = flags.DEFINE_integer(
    "calls", 300, "Measured calls of each way.", lower_bound=10
)
ITEMS = (1, 50, 200, 1000)
CLICKS = (10, 50)
TABLES = {"user": 20_001, "item": 5_001, "category": 51}
# Feature -> its table, in the order in which the network reads ids.
IDS = {"user_id": "user", "item_id": "item", "category": "category"}
# Raw ids begin here: row 1 is that of the first.
_FIRST = 1_000
EMPTY, RANK, DEFAULT, KERAS, PRODUCTS = (
    "empty",
    "rank",
    "serving_default",
    "keras",
    "products",
)


def main() -> None:
    """Measure all sizes with one head and with two; report."""
    times: dict[str, harness.Median] = {}
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        built = client.compiled(directory)
        for heads, ending in ((1, ""), (2, "_two_heads")):
            ours = model(heads)
            places = write(ours, directory / str(heads))
            for clicks in CLICKS:
                for items in ITEMS:
                    case = f"n{items}_t{clicks}{ending}"
                    ways = requests(places, ours, items, clicks)
                    answers, seconds = client.run(built, ways, CALLS.value)
                    check(answers)
                    least = {n: float(s.min()) for n, s in seconds.items()}
                    ratios |= ratios_of(least, case)
                    for way, values in seconds.items():
                        micros = values * 1e6
                        times[f"{case} {way}"] = harness.Median(micros)
                        p99 = float(np.quantile(micros, 0.99))
                        times[f"{case} {way}, 99 %"] = p99
    harness.report(
        "Requests, microseconds",
        times,
        ratios,
        f"python -m benchmarks.serving --calls={CALLS.value}",
        harness.JSON.value,
        {"keras": keras.__version__},
        ["Ratios are those of the shortest times."],
    )


def ratios_of(least: dict[str, float], case: str) -> dict[str, float]:
    """Return the keys of a case, given the shortest times by way."""
    return {
        f"rank_over_keras_{case}": least[KERAS] / least[RANK],
        f"default_over_keras_{case}": least[KERAS] / least[DEFAULT],
        f"rank_over_matmuls_{case}": least[RANK] / least[PRODUCTS],
    }


def model(heads: int) -> CTRModel:
    """Return the default network with random weights."""
    tables = tuple(features.TableSpec(name) for name in TABLES)
    ids = tuple(
        features.FeatureSpec(
            name, "id", table, "user" if table == "user" else "item", basic=True
        )
        for name, table in IDS.items()
    )
    clicked = features.FeatureSpec(
        "clicked_items", "sequence", "item", "user", max_length=max(CLICKS)
    )
    spec = features.DataSpec(tables=tables, features=(*ids, clicked))
    config = configs.ModelConfig(heads=heads)
    random = np.random.default_rng(0)
    history = {
        name: HistoricalTable(
            random.normal(0.0, 0.1, [1, rows, config.embedding_dim]),
            random.random([1, rows]) < 0.8,
            [0],
        )
        for name, rows in TABLES.items()
    }
    made = CTRModel(spec, config, TABLES, history=history).build_from_spec()
    for variable in made.variables:
        if not variable.dtype.is_floating or None in variable.shape.as_list():
            continue
        noise = random.normal(0.0, 0.1, variable.shape)
        if "variance" in variable.name:
            noise = random.uniform(0.5, 1.5, variable.shape)
        elif "gamma" in variable.name:
            noise += 1
        variable.assign(noise)
    made.line.assign([1 / heads] * heads + [0.0])
    return made


def write(ours: CTRModel, directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """Write the SavedModels of a network; return their places."""
    places = {name: directory / name for name in ("ours", "keras", "bare")}
    places["ours"].mkdir(parents=True)
    spaces = {table.name: id_space.new(table) for table in ours.spec.tables}
    for name, space in spaces.items():
        space.append(np.arange(TABLES[name] - 1) + _FIRST)
    saved_model.write(folded.of(ours, TABLES), spaces, places["ours"])
    plain_keras(ours).export(str(places["keras"]), verbose=False)
    bare = tf.Module()
    bare.multiplied = tf.function(
        lambda **pairs: {
            name: pairs[name] @ pairs[f"{name}_kernel"]
            for name in pairs
            if not name.endswith("_kernel")
        }
    )
    signature = bare.multiplied.get_concrete_function(
        **{
            name: tf.TensorSpec([None, None], tf.float32)
            for name in products(ours, 1, 1)
        }
    )
    bare.nothing = tf.function(
        lambda x: {"x": tf.identity(x)},
        input_signature=[tf.TensorSpec([None], tf.float32)],
    )
    tf.saved_model.save(
        bare,
        str(places["bare"]),
        signatures={PRODUCTS: signature, EMPTY: bare.nothing},
    )
    return places


def plain_keras(ours: CTRModel) -> keras.Model:
    """Return the network of a model as one would write it in Keras 3."""
    layers = keras.layers
    dim = ours.feature_layers["attention_clicked_items"].hidden.kernel.shape[0]
    dim //= 4
    inputs = {n: keras.Input([], dtype="int64", name=n) for n in IDS}
    inputs["clicked_items"] = keras.Input(
        [None], dtype="int64", name="clicked_items"
    )

    def embedding(values: np.ndarray) -> keras.layers.Layer:
        layer = layers.Embedding(*values.shape)
        layer.build()
        layer.set_weights([values])
        return layer

    trained, recalled, known = {}, {}, {}
    item = None
    for name, table in IDS.items():
        history = ours.history_tables[table]
        weights = ours.embedding.tables[table].embeddings[: TABLES[table]]
        look_up = embedding(weights.numpy())
        item = look_up if table == "item" else item
        trained[name] = look_up(inputs[name])
        recalled[name] = embedding(history.vectors.numpy())(inputs[name])
        flags = history.present.numpy()[:, np.newaxis].astype(np.float32)
        known[name] = embedding(flags)(inputs[name])
    attention = Attention(ours.feature_layers["attention_clicked_items"])
    interest = attention(trained["item_id"], item(inputs["clicked_items"]))
    items = ("item_id", "category")
    columns = [trained[name] for name in IDS]
    columns += [trained["user_id"] * trained[name] for name in items]
    columns.append(interest)
    own = sum(column.shape[1] for column in columns)
    for name in IDS:
        columns += [recalled[name], known[name]]
    columns += [recalled["user_id"] * recalled[name] for name in items]
    x = normalised(ours.input_norm, layers.Concatenate()(columns))
    logits = []
    heads = [(ours.mlp, ours.cross, ours.head)]
    heads += [(h.mlp, h.cross, h.head) for h in ours.more_heads]
    for place, (mlp, crosses, output) in enumerate(heads):
        read = x
        if place % 2:
            read = x * (np.arange(x.shape[1]) < own).astype(np.float32)
        hidden = read
        for dense, norm in zip(mlp.dense, mlp.norms, strict=True):
            layer = layers.Dense(dense.units, use_bias=False)
            hidden = normalised(norm, with_weights(layer, dense, hidden))
            hidden = layers.ReLU()(hidden)
        (cross,) = crosses
        product = with_weights(layers.Dense(x.shape[1]), cross, read)
        both = layers.Concatenate()([hidden, read * product + read])
        logits.append(with_weights(layers.Dense(1), output, both))
    logit = layers.Average()(logits) if len(logits) > 1 else logits[0]
    return keras.Model(inputs, {"ctr": keras.ops.sigmoid(logit)})


def with_weights(layer, of, x):
    """Return what a layer of Keras 3 makes of x with the weights of another."""
    found = layer(x)
    layer.set_weights(of.get_weights())
    return found


def normalised(of, x):
    """Return x after batch norm with the weights of another layer."""
    return with_weights(
        keras.layers.BatchNormalization(epsilon=of.epsilon), of, x
    )


class Attention(keras.layers.Layer):
    """Target attention as in its paper, with the weights of ours."""

    def __init__(self, of):
        super().__init__()
        self.hidden = keras.layers.Dense(of.hidden_units, activation="relu")
        self.score = keras.layers.Dense(1)
        self._weights_of = of.hidden.get_weights(), of.score.get_weights()

    def build(self, query_shape, keys_shape):
        """Make the weights."""
        hidden, score = self._weights_of
        self.hidden.build([None, None, len(hidden[0])])
        self.score.build([None, None, len(score[0])])
        self.hidden.set_weights(hidden)
        self.score.set_weights(score)

    def call(self, query, keys):
        """Return the interest, `[B, D]`, of `[B, D]` and `[B, T, D]`."""
        places = keras.ops.shape(keys)[1]
        query = keras.ops.repeat(query[:, np.newaxis], places, axis=1)
        both = [query, keys, query - keys, query * keys]
        hidden = self.hidden(keras.ops.concatenate(both, axis=-1))
        return keras.ops.sum(self.score(hidden) * keys, axis=1)


def products(ours: CTRModel, items: int, clicks: int) -> dict[str, np.ndarray]:
    """Return the matrices that `rank` multiplies, random ones."""
    attention = ours.feature_layers["attention_clicked_items"]
    dim, units = attention.hidden.kernel.shape[0] // 4, attention.hidden_units
    hidden = [units * (1 + len(ours.more_heads)) for units in (64, 32)]
    # Of a candidate: two ids with history and a flag, and the interest.
    own = 2 * (2 * dim + 1) + dim
    shapes = {
        "clicks": (clicks, dim, (dim + 1) * units),
        "query": (items, dim + 1, clicks * units),
        "score": (items * clicks, units, 1),
        "pooled": (items, clicks, dim),
        "quadratic": (items, own + 1, own + hidden[0]),
        "second": (items, hidden[0], hidden[1]),
        "output": (items, hidden[1], 1),
    }
    random = np.random.default_rng(0)
    made = {}
    for name, (rows, inner, columns) in shapes.items():
        made[name] = random.normal(size=[rows, inner])
        made[f"{name}_kernel"] = random.normal(size=[inner, columns])
    return {name: part.astype(np.float32) for name, part in made.items()}


def requests(
    places: dict[str, pathlib.Path], ours: CTRModel, items: int, clicks: int
) -> list[client.Way]:
    """Return the requests of one user to all ways."""
    random = np.random.default_rng([items, clicks])
    user = {
        "user_id": np.array([7]),
        "clicked_items": random.integers(1, TABLES["item"], [1, clicks]),
    }
    own = {
        "item_id": random.integers(1, TABLES["item"], [1, items]),
        "category": random.integers(1, TABLES["category"], [1, items]),
    }
    rows = {name: np.repeat(part, items, axis=0) for name, part in user.items()}
    rows |= {name: part[0] for name, part in own.items()}

    def raw(numbers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: part + (_FIRST - 1) for name, part in numbers.items()}

    bare = products(ours, items, clicks)
    return [
        client.Way(RANK, places["ours"], RANK, raw(user | own)),
        client.Way(DEFAULT, places["ours"], DEFAULT, raw(rows)),
        client.Way(KERAS, places["keras"], DEFAULT, rows),
        client.Way(PRODUCTS, places["bare"], PRODUCTS, bare),
        client.Way(EMPTY, places["bare"], EMPTY, {"x": np.zeros(1, "f")}),
    ]


def check(answers: dict[str, dict[str, np.ndarray]]) -> None:
    """Make sure that all ways gave the same probabilities.

    Raises:
      RuntimeError: they did not, so the times say nothing.
    """
    found = [answers[way]["ctr"].ravel() for way in (RANK, DEFAULT, KERAS)]
    worst = max(float(np.abs(other - found[0]).max()) for other in found[1:])
    if worst > 1e-5:
        raise RuntimeError(f"The answers differ by {worst}.")


if __name__ == "__main__":
    harness.run(main)
