"""Levels go on where features were added, removed or retyped on a day."""

import json
import logging

import numpy as np
import pytest

from ecdctr_tf import artefacts, features, scoring, store
from ecdctr_tf import config as configs
from ecdctr_tf.export import saved_model
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.model_table import model as model_row
from ecdctr_tf.training import carrying, daily, history
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint
from ecdctr_tf.windows import Window
from tests import changed_world, training_world
from tests.trained import (
    copy,
    day,
    days,
    manifest,
    pretrained,
    scores,
    train,
    train_natural,
)

pytestmark = pytest.mark.usefixtures("eagerly")
CONFIG = training_world.SMALL_CONFIG
E_CDCTR = model_row("e_cdctr")
# The first days of the new features: of natural logs, and of ads.
SINCE = {"natural": day(5), "ads": day(7)}
MLP, CROSS = "mlp/dense/0/kernel", "cross/0/_dense/kernel"
BRAND = "embedding/tables/brand/embeddings"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("changed")


@pytest.fixture(scope="module")
def data(place):
    return training_world.small_data(place / "data")


@pytest.fixture(scope="module")
def begun(place, data):
    """TPM on days 1 and 2, a CPM on days 3 and 4, A-CTR on days 5 and 6."""
    return train(data, pretrained(data, place / "begun"), days(5, 6))


@pytest.fixture(scope="module")
def added(place, data):
    """The world with features of several kinds more."""
    return changed_world.change(
        data, place / "added", changed_world.spec(), SINCE
    )


@pytest.fixture(scope="module")
def after(place, added, begun):
    """Day 7, the first one with the new features."""
    return train(added, copy(begun, place / "after"), days(7, 7))


def opened(data, run, number, kind="ctr"):
    """Return the published level of a day, as it goes on."""
    level = Level(data, run, CONFIG, E_CDCTR, kind)
    level.look_up(Window(day(number + 1), day(number + 1)))
    level.open(run.level(kind, "e_cdctr") / day(number))
    return level


def weights(run, number, kind="ctr"):
    path = run.level(kind, "e_cdctr") / day(number)
    return checkpoint.read(path / artefacts.WEIGHTS)


def places(model, name):
    """Return the places of an input among all of them."""
    place = 0
    for column in [c for part in model.columns() for c in part]:
        if column.name == name:
            return slice(place, place + column.width)
        place += column.width
    raise KeyError(name)


def test_added_features_change_no_score_of_their_first_day(
    place, data, begun, after
):
    plain = train(data, copy(begun, place / "plain"), days(7, 7))
    expected, found = scores(plain, 7), scores(after, 7)
    np.testing.assert_allclose(found["ctr"], expected["ctr"], atol=1e-6)
    np.testing.assert_array_equal(found["click"], expected["click"])


def test_added_features_are_learned(added, after):
    level = opened(added, after, 7)
    kernel = level.model.mlp.dense[0].kernel.numpy()
    for name in ("brand/0", "size/0", "look/0", "tags/0", "recent/0"):
        assert np.abs(kernel[places(level.model, name)]).max() > 1e-4, name
    assert level.model.idle() == set()
    table = level.model.embedding.tables["brand"]
    assert level.table_rows["brand"] == changed_world.BRANDS + 1
    start = table.initial_rows(0, table.capacity)
    values = table.embeddings.numpy()
    assert (values != start).any(axis=1).sum() >= changed_world.BRANDS
    before = level.score(Window(day(8), day(8)))["ctr"]
    table.embeddings.assign(start[::-1])
    after_all = level.score(Window(day(8), day(8)))["ctr"]
    assert np.abs(before - after_all).max() > 1e-6


def test_what_is_shared_keeps_weights_and_state(data, added, begun):
    """Each input is at another place; its weights have come along."""
    old, new = opened(data, begun, 6).model, opened(added, begun, 6).model
    for name in ("user_id/0", "item_id/0", "user_id*item_id", "price/0"):
        was, now = places(old, name), places(new, name)
        assert was != now
        np.testing.assert_array_equal(
            new.mlp.dense[0].kernel.numpy()[now],
            old.mlp.dense[0].kernel.numpy()[was],
        )
        for other in ("user_id/history", "price/0"):
            np.testing.assert_array_equal(
                new.cross[0].weights[0].numpy()[now, places(new, other)],
                old.cross[0].weights[0].numpy()[was, places(old, other)],
            )
        (m, v), (m_old, v_old) = (
            of.optimizer.state_of(of.mlp.dense[0].kernel) for of in (new, old)
        )
        np.testing.assert_array_equal(m.numpy()[now], m_old.numpy()[was])
        np.testing.assert_array_equal(v.numpy()[now], v_old.numpy()[was])
    assert not m.numpy()[places(new, "brand/0")].any()
    for of in ("user", "item"):
        tables = [m.embedding.tables[of].embeddings for m in (new, old)]
        np.testing.assert_array_equal(*tables)
        states = [
            m.table_optimizer.state_of(table)[0]
            for m, table in zip((new, old), tables, strict=True)
        ]
        np.testing.assert_array_equal(*states)
    assert new.optimizer.iterations == old.optimizer.iterations


@pytest.fixture(scope="module")
def refreshed(place, added, after):
    """A CPM of the new features, and the A-CTR that takes its change."""
    run = copy(after, place / "refreshed")
    train_natural(added, run, "cpm", 5, 6)
    return train(added, run, days(8, 8))


def test_the_first_change_of_a_cpm_with_new_features(
    added, after, refreshed, monkeypatch
):
    """Own weights + newer CPM - older CPM, whose new features are at start."""
    found = {}

    def record(level, window, day):
        found.update(
            {n: v.numpy() for n, v in artefacts.weights(level.model).items()}
        )
        raise KeyboardInterrupt

    monkeypatch.setattr(Level, "estimate_statistics", record)
    level = Level(added, refreshed, CONFIG, E_CDCTR, "ctr")
    level.directory = after.ctr("e_cdctr")
    trainer = daily.DailyTrainer(level)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(days(8, 8))
    own, new = weights(after, 7), weights(refreshed, 6, "cpm")
    old = opened(added, refreshed, 4, "cpm").model
    old = {n: v.numpy() for n, v in artefacts.weights(old).items()}
    for name in (MLP, CROSS, "head/kernel", "input_norm/gamma"):
        np.testing.assert_allclose(
            found[name], own[name] + new[name] - old[name], atol=1e-6
        )
    for name in own:
        if name.startswith(("feature_layers/attention", "feature_layers/proj")):
            np.testing.assert_allclose(
                found[name], own[name] + new[name] - old[name], atol=1e-6
            )
    level = opened(added, after, 7)
    table = level.model.embedding.tables["brand"]
    np.testing.assert_allclose(
        found[BRAND][:6],
        own[BRAND][:6] + new[BRAND][:6] - table.initial_rows(0, 6),
        atol=1e-6,
    )
    # Of numbers, the statistics stay its own.
    for name in ("mean", "deviation"):
        name = f"feature_layers/scale_size/{name}"
        np.testing.assert_array_equal(found[name], own[name])
    report = json.loads(
        (refreshed.ctr("e_cdctr") / day(8) / artefacts.RESTORE).read_text()
    )
    assert report["restored_share"] > 0.5


def test_a_cpm_of_before_the_change_starts_an_a_ctr_after_it(
    place, data, added, begun
):
    """The features that the CPM lacks change nothing, and are learned."""
    first = {}
    for name, of in (("plain", data), ("changed", added)):
        run = copy(begun, place / f"started {name}")
        for number in (5, 6):
            store.remove(run.ctr("e_cdctr") / day(number))
        config = configs.override(CONFIG, ["schedule.catch_up_days=0"])
        first[name] = train(of, run, days(7, 7), config)
    expected, found = (scores(first[n], 7)["ctr"] for n in first)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert opened(added, first["changed"], 7).model.idle() == set()


def test_a_removed_feature_is_gone(place, data, begun, caplog):
    caplog.set_level(logging.WARNING)
    given = changed_world.spec(added=(), removed=("price",))
    gone = changed_world.change(data, place / "gone", given, SINCE)
    run = train(gone, copy(begun, place / "less"), days(7, 7))
    assert "removed price" in caplog.text
    model = opened(gone, run, 7).model
    assert "feature_layers/scale_price/gain" not in artefacts.weights(model)
    old, new = opened(data, begun, 6).model, opened(gone, begun, 6).model
    for name in ("user_id/0", "user_id*item_id"):
        np.testing.assert_array_equal(
            new.mlp.dense[0].kernel.numpy()[places(new, name)],
            old.mlp.dense[0].kernel.numpy()[places(old, name)],
        )
    # What it gave to all rows alike is given back: the click rate is right.
    newest = Window(day(3), day(6))
    level = opened(gone, begun, 6)
    assert level.lost
    trainer = daily.DailyTrainer(Level(gone, begun, CONFIG, E_CDCTR, "ctr"))
    trainer._ready(day(7))
    rows = trainer._level.score(newest, as_of=day(7))
    logit = rows["heads"] @ trainer._level.calibration.shares()
    ctr = 1 / (1 + np.exp(-logit))  # Not calibrated.
    assert ctr.mean() == pytest.approx(rows["click"].mean(), abs=1e-4)


def test_a_retyped_feature_starts_anew(place, data, begun):
    price = features.FeatureSpec("price", "id", "brand", "item")
    given = changed_world.spec(added=(price,), removed=("price",))
    other = changed_world.change(data, place / "retyped", given, SINCE)
    model = opened(other, begun, 6).model
    kernel = model.mlp.dense[0].kernel.numpy()
    assert not kernel[places(model, "price/0")].any()
    run = train(other, copy(begun, place / "retyped run"), days(7, 7))
    assert "price" not in opened(other, run, 7).model.idle()


def test_a_number_that_is_scaled_otherwise_starts_anew(place, data, begun):
    """Its layer has the same name and shapes, and means something else."""
    price = features.FeatureSpec("price", "dense", transform="log1p")
    given = changed_world.spec(added=(price,), removed=("price",))
    other = changed_world.change(data, place / "log", given, SINCE)
    model = opened(other, begun, 6).model
    assert not model.feature_layers["scale_price"].varies.any()


def test_a_basic_feature_has_history_once_the_tpm_knows_it(place, data, begun):
    brand = features.FeatureSpec("brand", "id", "brand", "item", basic=True)
    since = {"natural": day(3), "ads": day(7)}
    given = changed_world.spec(added=(brand,))
    plain = train(data, copy(begun, place / "plain basic"), days(7, 7))
    other = changed_world.change(data, place / "basic", given, since)
    run = copy(begun, place / "basic run")
    train(other, run, days(7, 7))
    np.testing.assert_allclose(
        scores(run, 7)["ctr"], scores(plain, 7)["ctr"], atol=1e-6
    )
    train_natural(other, run, "snapshot", 3, 6)
    history.aggregate(run, CONFIG)
    train(other, run, days(8, 8))
    table = opened(other, run, 8).model.history_tables["brand"]
    # The brands that natural rows have.
    assert table.present.numpy().tolist() == [False, True, True, True]
    assert "historical 2024-01-06" in manifest(run, 8).parents


def test_a_second_change(place, added, after):
    """What was added is removed; the A-CTR and the CPM go on over both."""
    given = changed_world.spec(added=changed_world.ADDED[:2])
    twice = changed_world.change(
        added, place / "twice", given, {"natural": day(6), "ads": day(8)}
    )
    run = copy(after, place / "twice run")
    train_natural(twice, run, "cpm", 5, 6)
    train(twice, run, days(8, 8))
    assert manifest(run, 8).spec == twice.spec.fingerprint()
    model = opened(twice, run, 8).model
    assert {"attention_recent", "scale_look"}.isdisjoint(model.feature_layers)


def test_models_with_layers_of_their_own_are_refused(place, data, added):
    run = Workdir(place / "star")
    train(data, run, days(5, 5), name="star")
    with pytest.raises(ValueError, match="star cannot go on"):
        train(added, run, days(6, 6), name="star")


def test_models_beside_a_frozen_cpm_are_refused(added, begun):
    row = model_row("ctnet")
    path = begun.cpm("e_cdctr") / day(4)
    with pytest.raises(ValueError, match="ctnet reads a frozen CPM row by row"):
        artefacts.read_cpm(path, added, row, CONFIG, added.spec)


def test_learned_layers_of_history_are_not_lost():
    """Their names depend on the basic features of a table."""
    config = configs.override(CONFIG, ["history.aggregation=self_attention"])
    brand = features.FeatureSpec("a_brand", "id", "item", "item", basic=True)
    given = changed_world.spec(added=(brand,))
    history = {
        name: HistoricalTable(np.zeros([1, 2, 3]), [[False, True]], [0], name)
        for name in ("user", "item")
    }
    before = training_world.SMALL_SPEC
    with pytest.raises(ValueError, match="The basic features have changed"):
        carrying.Carrier(before, given, config, E_CDCTR, "cpm", history)


def test_a_day_of_before_the_change_is_what_it_was(data, added, begun):
    """Exports and reports of older days read their own features."""
    path = begun.ctr("e_cdctr") / day(6)
    today = Window(day(6), day(6))
    first, second = (artefacts.read_model(path, of) for of in (data, added))
    assert [c.name for c in first.columns()[0]] == [
        c.name for c in second.columns()[0]
    ]
    np.testing.assert_array_equal(
        scoring.score(first, data, today)["ctr"],
        scoring.score(second, added, today)["ctr"],
    )


def test_export_after_the_change(tmp_path, added, after):
    """It was tried with requests of the new features, and without them."""
    path = after.ctr("e_cdctr") / day(7)
    out = saved_model.export_model(path, added.path, tmp_path)
    lineage = json.loads(
        (out / "assets.extra" / saved_model.LINEAGE).read_text()
    )
    names = {f["name"] for f in lineage["features"]["features"]}
    assert {"brand", "look", "recent"} < names
    assert store.read_manifest(out, "export").metrics["max_difference"] < 1e-5


def test_an_excluded_feature_may_be_removed(place, data):
    config = configs.override(CONFIG, ["model.exclude=price"])
    given = changed_world.spec(added=(), removed=("price",))
    gone = changed_world.change(data, place / "excluded", given, SINCE)
    run = Workdir(place / "excluded run")
    train(data, run, days(5, 6), config, "ads_only")
    train(gone, run, days(7, 7), config, "ads_only")
    assert manifest(run, 7, "ads_only").spec == gone.spec.fingerprint()
