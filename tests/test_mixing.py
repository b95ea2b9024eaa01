"""The no-regret mixture: what it publishes, learns, refuses and serves."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import artefacts, export, model_table, store
from ecdctr_tf import config as configs
from ecdctr_tf.comparison import variants
from ecdctr_tf.input import streams
from ecdctr_tf.training import mixing, natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import mixture
from ecdctr_tf.windows import Window
from tests import trained, training_world

pytestmark = pytest.mark.usefixtures("eagerly")

NAME = "no_regret"
ROW = model_table.model(NAME)
EXPERTS = ROW.experts


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("logs") / "data")


@pytest.fixture(scope="module")
def experts(data, tmp_path_factory):
    """All experts on days 5 to 8."""
    run = trained.pretrained(data, tmp_path_factory.mktemp("mix") / "run")
    for name in EXPERTS:
        trained.train(data, run, trained.days(5, 8), name=name)
    return run


@pytest.fixture(scope="module")
def mixed(data, experts, tmp_path_factory):
    run = trained.copy(experts, tmp_path_factory.mktemp("mixed") / "run")
    return trained.train(data, run, trained.days(5, 8), name=NAME)


def state(run, number):
    path = run.ctr(NAME) / trained.day(number) / artefacts.MIXTURE
    return mixture.Mixture.from_json(path)


def test_the_first_day_is_the_mean_of_the_experts(mixed):
    found = trained.scores(mixed, 5, NAME)
    logits = [
        mixture.logits_of(trained.scores(mixed, 5, name)["ctr"])
        for name in EXPERTS
    ]
    mean = 1 / (1 + np.exp(-np.mean(logits, axis=0)))
    np.testing.assert_allclose(found["ctr"], mean, rtol=1e-6)
    for column in ("click", "weight", "user", "item"):
        of_expert = trained.scores(mixed, 5)[column]
        np.testing.assert_array_equal(found[column], of_expert)


def test_later_days_are_mixed_by_the_weights_of_the_day_before(mixed):
    before = state(mixed, 6)
    found = mixture.logits_of(trained.scores(mixed, 7, NAME)["ctr"])
    logits = np.stack(
        [
            mixture.logits_of(trained.scores(mixed, 7, name)["ctr"])
            for name in EXPERTS
        ]
    )
    of_slices = [
        before.mix(logits, np.full(len(found), place))
        for place in range(len(mixture.SLICES))
    ]
    nearest = np.abs(np.array(of_slices) - found).min(axis=0)
    np.testing.assert_allclose(nearest, 0, atol=1e-5)
    assert not np.allclose(before.weights(), state(mixed, 5).weights())


def test_slices_are_what_history_knows(mixed):
    """TPM snapshots know the users and items of days 1 and 2 only."""
    rows = {
        name: np.array([state(mixed, n).rows[i] for n in range(5, 9)])
        for i, name in enumerate(mixture.SLICES)
    }
    total = sum(of[-1] for of in rows.values())
    assert total == sum(
        len(trained.scores(mixed, n, NAME)["click"]) for n in range(5, 9)
    )
    assert sum(of[-1] > 0 for of in rows.values()) > 1


def test_regret_is_within_the_bound(mixed):
    found = state(mixed, 8)
    for lost, hedge in zip(found.lost, found.hedges, strict=True):
        assert (lost[0] - lost[1:] <= hedge.bound() + 1e-6).all()
    calibrated, given = found.calibration.lost
    assert given == pytest.approx(found.lost[:, 0].sum())
    assert calibrated <= given + found.calibration.bound() + 1e-6
    ctr, click = (
        np.concatenate(
            [trained.scores(mixed, n, NAME)[of] for n in range(5, 9)]
        )
        for of in ("ctr", "click")
    )
    losses = -np.log(np.where(click > 0, ctr, 1 - ctr))
    assert calibrated == pytest.approx(losses.sum(), rel=1e-5)


def test_the_clicks_of_a_day_do_not_reach_its_own_scores(
    data, experts, mixed, tmp_path
):
    """Day 7 with other clicks is scored alike; day 8 is not."""
    run = trained.copy(experts, tmp_path / "run")
    for name in EXPERTS:
        path = run.ctr(name) / trained.day(7)
        scores = trained.scores(run, 7, name)
        scores["click"] = 1 - scores["click"]
        np.savez(path / artefacts.SCORES, **scores)
        manifest = json.loads((path / store.MANIFEST).read_text())
        file = path / artefacts.SCORES
        manifest["files"][artefacts.SCORES] = {
            "bytes": file.stat().st_size,
            "sha256": store.file_hash(file),
        }
        del manifest["sha256"]
        (path / store.MANIFEST).write_text(json.dumps(manifest))
    trained.train(data, run, trained.days(5, 8), name=NAME)
    for number, same in ((5, True), (6, True), (7, True), (8, False)):
        ctr = [trained.scores(r, number, NAME)["ctr"] for r in (run, mixed)]
        assert np.array_equal(*ctr) == same, number


def test_days_in_several_commands_are_the_same_bytes(
    data, experts, mixed, tmp_path
):
    run = trained.copy(experts, tmp_path / "run")
    for part in (trained.days(5, 6), trained.days(5, 7), trained.days(8, 8)):
        trained.train(data, run, part, name=NAME)
    for number in range(5, 9):
        for file in (artefacts.SCORES, artefacts.MIXTURE):
            paths = [
                of.ctr(NAME) / trained.day(number) / file for of in (run, mixed)
            ]
            assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("name", ["ads_only", "e_cdctr"])
def test_nothing_is_mixed_where_an_expert_lacks_a_day(
    data, experts, tmp_path, name
):
    run = trained.copy(experts, tmp_path / "run")
    shutil.rmtree(run.ctr(name) / trained.day(7))
    said = f"{name}.ctr has nothing under 2024"
    with pytest.raises(FileNotFoundError, match=said):
        trained.train(data, run, trained.days(5, 8), name=NAME)
    assert not store.dated(run.ctr(NAME))


def test_an_expert_that_was_replaced_is_rejected(
    data, experts, tmp_path, monkeypatch
):
    run = trained.copy(experts, tmp_path / "run")
    trained.train(data, run, trained.days(5, 6), name=NAME)
    path = run.ctr("ads_only") / trained.day(6) / store.MANIFEST
    path.write_text(path.read_text() + " ")
    with pytest.raises(ValueError, match="it was replaced"):
        trained.train(data, run, trained.days(5, 7), name=NAME)
    assert store.dated(run.ctr(NAME))[-1] == trained.day(6)


def test_experts_that_scored_other_rows_are_rejected(data, experts, tmp_path):
    run = trained.copy(experts, tmp_path / "run")
    other = trained.copy(Workdir(experts.path), tmp_path / "other")
    shutil.rmtree(run.ctr("ads_only") / trained.day(5))
    shutil.copytree(
        other.ctr("ads_only") / trained.day(6),
        run.ctr("ads_only") / trained.day(5),
    )
    with pytest.raises(ValueError, match="2024-01-06, under another name"):
        trained.train(data, run, trained.days(5, 5), name=NAME)


def test_a_damaged_state_is_rejected(data, experts, tmp_path):
    run = trained.copy(experts, tmp_path / "run")
    trained.train(data, run, trained.days(5, 6), name=NAME)
    path = run.ctr(NAME) / trained.day(6) / artefacts.MIXTURE
    path.write_text(path.read_text().replace("0", "1", 1))
    with pytest.raises(ValueError, match="mixture.json"):
        trained.train(data, run, trained.days(5, 7), name=NAME)
    path.write_text('{"experts": 3}')
    with pytest.raises(ValueError, match="does not hold the weights of a mix"):
        mixture.Mixture.from_json(path)


def test_the_model_is_the_mixture_of_the_experts_models(data, mixed):
    """Rows of the next day, read by the graph: slices, weights, click rate."""
    path = mixed.ctr(NAME) / trained.day(7)
    model = artefacts.read_model(path, data)
    weights = state(mixed, 7)
    window = trained.days(8, 8)[0]
    ((inputs, _),) = streams.batches(data, "ads", window, 1000, spec=model.spec)
    logits = np.stack(
        [expert(inputs, training=False).numpy() for expert in model.members]
    )
    level = Level(data, mixed, trained.CONFIG, ROW, "ctr")
    paths = {n: mixed.ctr(n) / trained.day(7) for n in EXPERTS}
    manifests = {n: store.read_manifest(p, "ctr") for n, p in paths.items()}
    rows = {name: inputs[f"{name}_id"].numpy() for name in ("user", "item")}
    rows["click"] = rows["user"]
    slices = mixing.Mixer(level)._slices(window, paths, manifests, rows)
    assert len(set(slices)) > 1
    found = model(inputs).numpy()
    np.testing.assert_allclose(
        found, weights.mix(logits, slices), rtol=1e-5, atol=1e-5
    )


def test_an_export_answers_as_the_mixture(data, mixed, tmp_path):
    """`export_model` compares answers in a process of its own."""
    tf.config.run_functions_eagerly(False)
    try:
        path = export.export_model(
            mixed.ctr(NAME) / trained.day(8), data.path, tmp_path / "served"
        )
    finally:
        tf.config.run_functions_eagerly(True)
    manifest = store.read_manifest(path, "export")
    assert manifest.metrics["max_difference"] < 1e-6


def test_a_mixture_with_a_model_beside_a_cpm_is_served(data, mixed, tmp_path):
    """Its network is not folded, and the CPM that it reads is in the graph."""
    run = trained.copy(mixed, tmp_path / "run")
    row = model_table.model("ctnet")
    config = configs.of_model(trained.CONFIG, row)
    natural.train(
        Level(data, run, config, row, "cpm"),
        Window(trained.day(3), trained.day(4)),
    )
    for name in ("ctnet", "no_regret_ctnet"):
        trained.train(data, run, trained.days(5, 6), name=name)
    tf.config.run_functions_eagerly(False)
    try:
        path = export.export_model(
            run.ctr("no_regret_ctnet") / trained.day(6),
            data.path,
            tmp_path / "served",
        )
    finally:
        tf.config.run_functions_eagerly(True)
    manifest = store.read_manifest(path, "export")
    assert manifest.metrics["max_difference"] < 1e-6


def test_experts_come_before_their_mixture():
    for choose in (model_table.chosen, variants.chosen):
        names = [row.name for row in choose([NAME, "keep", "ads_only"])]
        assert names == [*EXPERTS, NAME, "keep"]


@pytest.mark.parametrize(
    "origin, experts", [("scratch", EXPERTS), ("experts", ("keep",))]
)
def test_only_mixtures_have_experts(origin, experts):
    with pytest.raises(ValueError, match="`experts` of the model 'mine'"):
        model_table.ModelRow("mine", "M", "none", origin, experts=experts)


def test_a_click_rate_pulls_predictions_that_are_too_sure_together():
    """Two models that are ten times as sure as they should be."""
    random = np.random.default_rng(0)
    found = mixture.Mixture(("a", "b"))
    for _ in range(60):
        logit = random.normal(size=500)
        click = (random.random(500) < 1 / (1 + np.exp(-logit))).astype(float)
        sure = np.stack([3 * logit, 3 * logit])
        found.learn(sure, np.zeros(500, int), click, np.ones(500))
    weights = found.weights()[0]
    assert 3 * weights[:2].sum() == pytest.approx(1, abs=0.2)
    assert (found.lost[0, 0] < found.lost[0, 1:]).all()


def test_two_models_that_predict_too_many_clicks_are_brought_down():
    """Neither the models nor the click rate can say fewer clicks for a row."""
    random = np.random.default_rng(0)
    found, predicted, clicks = mixture.Mixture(("a", "b")), 0.0, 0.0
    for day in range(30):
        logit = random.normal(-2.0, size=2_000)
        click = (random.random(2_000) < 1 / (1 + np.exp(-logit))).astype(float)
        slices = random.integers(0, 4, 2_000)
        too_many = np.stack([logit + 0.5, logit + 0.7])
        if day >= 5:
            mixed = found.mix(too_many, slices)
            predicted += (1 / (1 + np.exp(-mixed))).sum()
            clicks += click.sum()
        found.learn(too_many, slices, click, np.ones(2_000))
    assert predicted / clicks == pytest.approx(1, abs=0.05)
    assert found.calibration.lost[0] < found.lost[:, 0].sum()
    best = found.lost[:, 1:].min(axis=1).sum()
    assert found.calibration.lost[0] <= best + found.bound()


def test_rows_of_weight_0_teach_nothing():
    found = [mixture.Mixture(("a", "b")) for _ in range(2)]
    random = np.random.default_rng(0)
    logits, click = random.normal(size=[2, 50]), random.integers(0, 2, 50)
    slices, weight = random.integers(0, 4, 50), (np.arange(50) < 20) * 2.0
    found[0].learn(logits, slices, click, weight)
    found[1].learn(logits[:, :20], slices[:20], click[:20], weight[:20])
    np.testing.assert_allclose(found[0].weights(), found[1].weights())
