"""Planted keywords: a list of ids tells a model what the ideal number does."""

import dataclasses

import numpy as np
import pytest
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import metrics, windows
from ecdctr_tf.input import data_directory, streams
from ecdctr_tf.input.conversion import converter, toml_spec
from ecdctr_tf.input.datasets import prepare, synthetic_world
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.optimizers.lazy_adam import LazyAdam

WORLD = synthetic_world.WorldConfig(
    users=300,
    items=60,
    days=12,
    ads_days=0,
    natural_per_day=3_000,
    keywords=30,
)
POOLINGS = ("mean", "sum", "attention")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The world, its keywords pooled in three ways, and their ideal effect."""
    path = tmp_path_factory.mktemp("keywords") / "data"
    spec = prepare.keyword_spec()
    listed = spec.column("keywords")
    others = [f for f in spec.features if f is not listed]
    pooled = [
        dataclasses.replace(
            listed, name=pooling, column="keywords", pooling=pooling
        )
        for pooling in POOLINGS
    ]
    ideal = toml_spec.Column("ideal", "dense", column="keyword_effect")
    spec = dataclasses.replace(spec, features=(*others, *pooled, ideal))
    rows = synthetic_world.generate(WORLD)
    converter.convert_tables(spec, rows, path, progress=False)
    return data_directory.DataDirectory(path)


def auc_with(data, name: str) -> tuple[float, int]:
    """Return the mean AUC of three seeds on the last three days, and the rows.

    One seed alone may be above or below by as much as the standard error.
    """
    found = [auc_of_seed(data, name, seed) for seed in range(3)]
    return float(np.mean([auc for auc, _ in found])), found[0][1]


def auc_of_seed(data, name: str, seed: int) -> tuple[float, int]:
    """Return the AUC with one of the features that tell keywords.

    Returns:
      The AUC on the last three days, and their rows.
    """
    # The same, in whatever order tests are run.
    keras.utils.set_random_seed(seed)
    told = (*POOLINGS, "ideal")
    spec = data.spec.without([other for other in told if other != name])
    config = configs.ModelConfig(embedding_dim=4, hidden_units=(16,))
    rows = {n: space.rows for n, space in data.id_spaces.items()}
    model = CTRModel(spec, config, rows)
    days = windows.Window("2024-01-01", "2024-01-09")
    model.build_from_spec()
    model.adapt(streams.read_columns(data, "natural", days))
    model.compile(LazyAdam(0.01), LazyAdam(0.01))
    names = [feature.name for feature in spec.features]
    batches = streams.batches(
        data, "natural", days, 256, seed=1, passes=2, names=names
    )
    model.fit(batches, verbose=0)
    last = windows.Window("2024-01-10", "2024-01-12")
    ctr, click = [], []
    for inputs, clicks in streams.batches(data, "natural", last, 3_000):
        ctr.append(model.score(inputs).numpy())
        click.append(clicks.numpy())
    labels = np.concatenate(click)
    return metrics.auc(labels, np.concatenate(ctr)), len(labels)


@pytest.fixture(scope="module")
def ideal(data):
    return auc_with(data, "ideal")


@pytest.mark.long
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_keywords_tell_as_much_as_their_effect(data, ideal, pooling):
    best, rows = ideal
    found, _ = auc_with(data, pooling)
    # Of the AUC of two classes of this size, at the least.
    standard_error = np.sqrt(best * (1 - best) / (rows / 4))
    assert best > 0.75
    assert found > best - standard_error


def test_a_world_without_keywords_has_none():
    plain = dataclasses.replace(WORLD, keywords=0)
    rows = synthetic_world.World(plain).rows("natural", 0)
    assert not [name for name in rows.column_names if "keyword" in name]


def test_the_effect_of_a_row_is_the_mean_of_those_of_its_keywords():
    world = synthetic_world.World(WORLD)
    rows = world.rows("natural", 3)
    lists = rows["keywords"].to_pylist()
    assert {len(row) for row in lists} == set(range(6))
    expected = [np.mean(world.keyword_effects[r]) if r else 0 for r in lists]
    np.testing.assert_allclose(rows["keyword_effect"], expected, rtol=1e-5)
