"""The served form of models of all networks and kinds of features.

Nothing is trained: the weights are random, batch norm's included.
"""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import features
from ecdctr_tf.export import attention, folded, probe, signatures
from ecdctr_tf.export.id_mapping import IdMapping
from ecdctr_tf.input import id_space
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.layers.target_attention import TargetAttention
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.joint import JointModel
from ecdctr_tf.models.mixture import MixedModel
from tests import test_export

DIM = 4
IDS = {"user": 9, "item": 12, "category": 5}
ROWS = {name: count + 1 for name, count in IDS.items()}
ROWS |= {"pair": 7, "place": 4}


def feature(name, kind, table="", side="context", **others):
    return features.FeatureSpec(name, kind, table, side, **others)


PLAIN = features.DataSpec(
    tables=tuple(features.TableSpec(name) for name in IDS),
    features=(
        feature("user_id", "id", "user", "user", basic=True),
        feature("item_id", "id", "item", "item", basic=True),
        feature("category", "id", "category", "item", basic=True),
        feature("clicked", "sequence", "item", "user", max_length=3),
    ),
)
# A feature of each kind, on each side.
EVERY_KIND = dataclasses.replace(
    PLAIN,
    tables=(
        *PLAIN.tables,
        features.TableSpec("pair", "hashing", buckets=7),
        features.TableSpec("place"),
    ),
    features=(
        *PLAIN.features,
        feature("tags", "ids", "category", "item", max_length=2),
        feature(
            "liked",
            "weighted_ids",
            "category",
            "user",
            max_length=3,
            pooling="attention",
        ),
        feature(
            "topics",
            "ids",
            "category",
            "item",
            max_length=2,
            pooling="attention",
        ),
        feature(
            "seen",
            "sequence",
            "item",
            "user",
            max_length=2,
            attribute_table="category",
            ages=True,
        ),
        feature("price", "dense", side="item"),
        feature("stock", "dense", side="item", transform="quantiles"),
        feature("age", "dense", side="user"),
        feature("height", "dense", side="user"),
        feature("picture", "vector", side="item", length=2),
        feature("both", "cross", "pair", of=("user_id", "item_id")),
        feature("place", "position", "place", default=1),
    ),
)


def spaces_of(spec):
    spaces = {}
    for table in spec.tables:
        spaces[table.name] = id_space.new(table)
        if table.ids == "vocabulary":
            spaces[table.name].append(np.arange(ROWS[table.name] - 1) + 100)
    return spaces


def made(spec=PLAIN, mode="single", network=CTRModel, **config):
    """Return a model with random weights, about as large as learned ones."""
    random = np.random.default_rng(3)
    history = {
        name: HistoricalTable(
            random.normal(size=[2, ROWS[name], DIM]),
            random.random([2, ROWS[name]]) < 0.7,
            [100, 130],
        )
        for name in ("user", "item", "category")
    }
    settings = {"embedding_dim": DIM, "hidden_units": (6, 5)} | config
    config = configs.ModelConfig(**settings)
    model = network(
        spec,
        config,
        ROWS,
        history=history if config.history else None,
        history_mode=mode,
        history_slots=2,
    ).build_from_spec()
    for variable in model.variables:
        if not variable.dtype.is_floating or None in variable.shape.as_list():
            continue
        noise = random.normal(0.0, 0.3, variable.shape)
        if "variance" in variable.name or "deviation" in variable.name:
            noise = np.abs(noise) + 0.3
        variable.assign(noise)
    shares = random.uniform(0.2, 0.9, model.line.shape[0] - 1)
    model.line.assign(np.append(shares, -0.4))
    return model


def rows_of(spec):
    """Return the columns of eight rows as batches hold them, and the spaces."""
    spaces = spaces_of(spec)
    return probe.requests(spec, spaces), spaces


def answers(model, spec, by_user=0, tables="float32"):
    """Return the logits of the folded form and those that are expected."""
    raw, spaces = rows_of(spec)
    form = folded.of(model, ROWS, tables)
    if not by_user:
        rows = raw
    else:
        _, rows = probe.by_users(raw, spec, by_user)
    wanted = probe.expected(model, rows, spaces)["logit"]
    own = {
        name
        for of in folded.kinds.of(spec)
        if of.of_candidate
        for name in of.columns()
    }
    inputs = {}
    for of in folded.kinds.of(spec):
        for name, column in of.looked_up(rows, spaces).items():
            if by_user and name not in own:
                column = column[:: len(column) // by_user]
            inputs[name] = tf.constant(column)
    return (form.rank if by_user else form)(inputs), wanted


NETWORKS = {
    "one head": {"heads": 1},
    "two heads": {},
    "three heads without cross layers": {"heads": 3, "cross_layers": 0},
    "two cross layers": {"cross_layers": 2},
    "no hidden layers": {"hidden_units": ()},
    "two cross layers only": {"hidden_units": (), "cross_layers": 2},
    "linear": {"hidden_units": (), "cross_layers": 0},
    "one hidden layer": {"hidden_units": (6,)},
    "no history": {"history": False},
    "no products": {"products": False},
    "no attention": {"attention": False},
}


@pytest.mark.parametrize("by_user", [0, 1, 2])
@pytest.mark.parametrize("network", NETWORKS)
def test_all_networks_give_the_logits_of_the_model(network, by_user):
    model = made(**NETWORKS[network])
    found, wanted = answers(model, PLAIN, by_user)
    assert np.std(wanted) > 0.01
    np.testing.assert_allclose(found, wanted, 2e-6, 4e-6)


@pytest.mark.parametrize("by_user", [0, 1, 2])
def test_all_kinds_of_features_give_the_logits_of_the_model(by_user):
    found, wanted = answers(made(EVERY_KIND), EVERY_KIND, by_user)
    assert np.std(wanted) > 0.01
    np.testing.assert_allclose(found, wanted, 2e-6, 4e-6)


@pytest.mark.parametrize("by_user", [0, 2])
@pytest.mark.parametrize("mode", ["concat", "attention", "self_attention"])
def test_history_of_all_modes_is_part_of_the_tables(mode, by_user):
    found, wanted = answers(made(mode=mode), PLAIN, by_user)
    np.testing.assert_allclose(found, wanted, 2e-6, 4e-6)


@pytest.mark.parametrize("by_user", [0, 2])
@pytest.mark.parametrize("products", [False, True])
def test_inputs_that_hardly_vary_cancel_nothing(by_user, products):
    """Batch norm magnifies them, and what rounding makes of their squares."""
    model = made(products=products, attention=False)
    user = model.embedding.tables["user"].embeddings
    user.assign(tf.ones_like(user) + user / 100)
    place = folded._places(model)["item_id/0"]
    if products:
        place += folded._places(model)["user_id*item_id"]
    mean, variance = (
        model.input_norm.moving_mean,
        model.input_norm.moving_variance,
    )
    mean.assign(
        tf.tensor_scatter_nd_update(mean, np.c_[place], [2.0] * len(place))
    )
    variance.assign(
        tf.tensor_scatter_nd_update(variance, np.c_[place], [1e-3] * len(place))
    )
    vectors = model.embedding.tables["item"].embeddings
    vectors.assign(2.0 + vectors / 100)
    found, wanted = answers(model, PLAIN, by_user)
    assert np.std(wanted) > 0.01
    np.testing.assert_allclose(found, wanted, 2e-6, 4e-6)


@pytest.mark.parametrize("by_user", [0, 2])
def test_a_mixture_is_that_of_folded_experts(by_user):
    random = np.random.default_rng(5)
    experts = [made(history=False), made(), made(heads=1)]
    model = MixedModel(experts, random.random([4, 4]), -2.0, (1.3, -0.4), 3.0)
    assert isinstance(folded.of(model, ROWS), folded.FoldedMixture)
    found, wanted = answers(model, PLAIN, by_user)
    np.testing.assert_allclose(found, wanted, 2e-6, 4e-6)


def test_ids_that_an_expert_does_not_know_read_what_it_gives_to_them():
    model = made()
    table = model.embedding.tables["item"]
    table.vocab_size.assign(5)
    table.set_buckets(np.arange(ROWS["item"]) % 3)
    found, wanted = answers(model, PLAIN)
    np.testing.assert_allclose(found, wanted, 2e-6, 4e-6)


def test_other_networks_and_kinds_are_served_as_they_are():
    joint = made(network=JointModel)
    assert folded.of(joint, ROWS) is joint
    mixed = MixedModel([made(), joint], np.ones([4, 3]), 0.0, (1.0, 0.0), 3.0)
    assert folded.of(mixed, ROWS) is mixed


@pytest.mark.parametrize("normalised", [False, True])
def test_attention_by_rows_and_users_is_that_of_the_layer(normalised):
    random = np.random.default_rng(1)
    layer = TargetAttention(8, normalised)
    query = tf.constant(random.normal(size=[6, DIM]), tf.float32)
    keys = tf.constant(random.normal(size=[2, 5, DIM]), tf.float32)
    mask = tf.constant([[1.0, 0.5, 2.0, 0.0, 0.0], [0.0] * 5])
    each = [tf.repeat(part, 3, axis=0) for part in (keys, mask)]
    wanted = layer(query, *each)
    pooled = attention.Attention(layer)
    np.testing.assert_allclose(pooled(query, *each), wanted, 1e-5, 1e-6)
    found = pooled.by_user(query, keys, mask)
    np.testing.assert_allclose(found, wanted, 1e-5, 1e-6)
    assert np.abs(found[:3]).max() > 0.1
    assert not found[3:].numpy().any()


@pytest.mark.parametrize("tables", ["float32", "int8"])
@pytest.mark.parametrize("name", ["serving_default", "rank"])
def test_a_request_runs_few_operations(name, tables, tmp_path):
    """The default network, on the features of the demo."""
    model = made(embedding_dim=DIM, hidden_units=(64, 32))
    mappings = {
        table: IdMapping(space, tmp_path)
        for table, space in spaces_of(PLAIN).items()
    }
    served = tf.Module()
    form = folded.of(model, ROWS, tables)
    served.kept = [mappings, form.variables]
    made_of = signatures.make(form, mappings)
    tf.saved_model.save(served, str(tmp_path / "1"), signatures=made_of)
    loaded = tf.saved_model.load(str(tmp_path / "1")).signatures[name]
    used = test_export.executed(loaded.graph.as_graph_def())
    assert 50 < len(used) <= 200
    # One look-up of vectors for each id and each sequence, and one of scales.
    each = 2 if tables == "int8" else 1
    assert sum("Gather" in op and "Resource" in op for op in used) == 4 * each
