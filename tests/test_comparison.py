"""`--stage=compare`: which runs there are, what they share, what comes out."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import presets, store, windows
from ecdctr_tf.comparison import matrix, search, shared, variants
from ecdctr_tf.input import streams
from ecdctr_tf.results import (
    given,
    measures,
    report,
    rescoring,
    scored,
    sections,
)
from ecdctr_tf.results.models import Model
from ecdctr_tf.training import daily
from ecdctr_tf.training.level import Level
from tests import training_world

pytestmark = pytest.mark.usefixtures("eagerly")

SCHEDULE = configs.ScheduleConfig(
    tpm_days=2,
    cpm_days=2,
    ctr_first="2024-01-04",
    ctr_last="2024-01-06",  # natural logs end here
    catch_up_days=1,
    report_first="2024-01-05",
)
CONFIG = dataclasses.replace(
    training_world.SMALL_CONFIG, schedule=SCHEDULE, seed=0
)
NAMES = ("e_cdctr", "ads_only", "joint", "aggregation_last")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def compared(data, tmp_path_factory):
    """Root, the runs of `NAMES` for two seeds, and their results."""
    root = tmp_path_factory.mktemp("compared")
    chosen = variants.chosen(NAMES)
    runs = matrix.Matrix(data, root, CONFIG, trials=2).run(chosen, (0, 1))
    models = runs
    found = report.write(data, models, root / "out", ["made up"])
    return root, runs, found


def test_groups_are_variants_each_once():
    names = [v.name for v in variants.chosen(["e_cdctr", "models"])]
    assert names == ["e_cdctr", *(n for n in variants.GROUPS["models"][1:])]
    with pytest.raises(ValueError, match="Received: 'no_such'"):
        variants.chosen(["ads_only", "no_such"])


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_every_variant_has_a_config_of_every_preset(name):
    variant, full = variants.VARIANTS[name], variants.VARIANTS["e_cdctr"]
    changes = []
    for preset in presets.PRESETS.values():
        config = configs.of_model(preset(), variant)
        assert config.schedule.ctr_first == preset().schedule.ctr_first
        changed = config != configs.of_model(preset(), full)
        changed |= (variant.origin, variant.network) != (
            full.origin,
            full.network,
        )
        so_already = configs.override(preset(), [*variant.changes]) == preset()
        assert changed or so_already
        changes.append(changed)
    assert any(changes) or name == "e_cdctr"


def test_runs_share_what_is_equal_and_nothing_else(data, tmp_path):
    def of(name, **changes):
        variant = variants.VARIANTS[name]
        config = configs.of_model(CONFIG, variant)
        config = dataclasses.replace(config, **changes)
        return shared.workdir_of(tmp_path, data, config, variant)

    full = of("e_cdctr")
    assert of("e_cdctr") == full
    batch_norm = of("batch_norm_full")
    assert batch_norm.cpm("x") == full.cpm("x")
    assert batch_norm.path != full.path
    last = of("aggregation_last")
    assert last.tpm == full.tpm
    assert last.historical != full.historical
    assert last.cpm("x") != full.cpm("x")
    other = of("e_cdctr", seed=1)
    assert other.tpm != full.tpm
    assert other.cpm("x") != full.cpm("x")
    assert other.path != full.path
    later = dataclasses.replace(SCHEDULE, ctr_last="2024-01-05")
    assert of("e_cdctr", schedule=later) == full
    slow = configs.TrainingConfig(dense_learning_rate=1e-5, batch_size=8)
    assert of("e_cdctr", ctr=slow).cpm("x") == full.cpm("x")
    assert of("e_cdctr", ctr=slow).path != full.path
    whole = of("no_history_dropout")
    assert whole.historical == full.historical
    assert whole.cpm("x") != full.cpm("x")


@pytest.mark.parametrize("name", ["ads_only", "joint"])
def test_models_without_a_cpm_are_not_trained_anew_for_one(
    data, tmp_path, name
):
    def of(**changes):
        variant = variants.VARIANTS[name]
        changed = dataclasses.replace(CONFIG, **changes)
        config = configs.of_model(changed, variant)
        return shared.workdir_of(tmp_path, data, config, variant).path

    for changes in (
        {"cpm": configs.TrainingConfig(batch_size=8)},
        {"schedule": dataclasses.replace(SCHEDULE, cpm_every=1)},
        {"history": configs.HistoryConfig(dropout=0.5)},
        {"tpm": configs.TrainingConfig(batch_size=8)},
    ):
        assert of(**changes) == of()
    network = dataclasses.replace(CONFIG.model, embedding_dim=2)
    assert of(model=network) != of()


def test_a_run_goes_on_when_settings_change_that_it_does_not_read(
    data, tmp_path
):
    """Such settings are in no key, and no reason to refuse the run."""
    variant = variants.VARIANTS["ads_only"]
    runs = []
    for changes, last in (([], 4), (["cpm.l2=0.1", "history.dropout=0.5"], 5)):
        config = configs.override(CONFIG, changes)
        config = configs.of_model(config, variant)
        run = shared.workdir_of(tmp_path, data, config, variant)
        days = windows.Window("2024-01-04", f"2024-01-0{last}").split(1)
        level = Level(data, run, config, variant, "ctr")
        daily.DailyTrainer(level).run(days)
        runs.append(run)
    assert runs[0].path == runs[1].path
    published = store.dated(runs[0].ctr("ads_only"))
    assert published == ["2024-01-04", "2024-01-05"]


def test_every_variant_has_scored_every_day(compared):
    _, runs, _ = compared
    days = [f"2024-01-0{n}" for n in range(4, 7)]
    for r in runs:
        assert len(r.workdirs) == 2
        for run in r.workdirs:
            assert store.dated(run.ctr(r.row.base)) == days


def test_models_are_tuned_and_ablations_take_it_over(compared):
    _, runs, found = compared
    of = {r.row.name: r for r in runs}
    assert set(found["tuning"]) == {"e_cdctr", "ads_only", "joint"}
    for name in found["tuning"]:
        r = of[name]
        best = int(np.argmax(r.trials))
        start = configs.of_model(CONFIG, r.row)
        assert r.config.ctr == search.TRIALS[best].apply(start.ctr)
    assert of["aggregation_last"].config.ctr == of["e_cdctr"].config.ctr


def test_an_ablation_may_change_a_setting_of_the_training(data, tmp_path):
    found = matrix.Matrix(data, tmp_path, CONFIG, trials=1)
    (row,) = variants.chosen(["not_calibrated"])
    tuned, changed = (
        found._choose(of)[0].ctr for of in (variants.VARIANTS["e_cdctr"], row)
    )
    assert tuned.calibrate and not changed.calibrate
    assert dataclasses.replace(changed, calibrate=True) == tuned


def test_tuning_looks_at_no_reported_day(data, tmp_path, monkeypatch):
    """Trials end on the day before the first reported one."""
    lasts = []
    train = matrix.Matrix._train

    def noted(self, variant, config):
        lasts.append(config.schedule.ctr_last)
        return train(self, variant, config)

    monkeypatch.setattr(matrix.Matrix, "_train", noted)
    chosen = variants.chosen(["ads_only"])
    matrix.Matrix(data, tmp_path, CONFIG, trials=2).run(chosen, (0,))
    assert lasts == ["2024-01-04", "2024-01-04", "2024-01-06"]


def test_a_second_call_trains_nothing(data, compared, monkeypatch):
    root, runs, _ = compared

    def forbidden(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr("ecdctr_tf.training.fit.fit", forbidden)
    chosen = variants.chosen(NAMES)
    again = matrix.Matrix(data, root, CONFIG, trials=2).run(chosen, (0, 1))
    assert again == runs


def test_results_have_what_they_say(data, compared):
    root, _, found = compared
    written = json.loads((root / "out/results.json").read_text())
    assert written["models"] == found["models"]
    names = {*NAMES, report.DOWN}
    assert set(found["models"]) == names
    for of_metric in found["models"].values():
        assert set(of_metric["auc"]) >= {"mean", "std", "low", "high"}
    assert found["days"] == ["2024-01-05", "2024-01-06"]
    assert "e_cdctr - joint" in found["differences"]
    assert set(found["costs"]["e_cdctr"]) == {"tpm", "cpm", "ctr"}
    assert set(found["costs"]["ads_only"]) == {"ctr"}
    assert set(found["costs"]["joint"]) == {"ctr"}
    ads, both = (
        found["costs"][name]["ctr"]["rows"] for name in ("ads_only", "joint")
    )
    assert ads == training_world.SMALL_ADS_ROWS
    assert both > ads
    assert set(found["forgetting"]) == {"e_cdctr", "ads_only"}
    assert set(found["forgetting_differences"]) == {"e_cdctr - ads_only"}
    assert found["alarm"]["days"]["auc"]["compared"] == 2
    against = {"e_cdctr - ads_only", f"e_cdctr - {report.DOWN}"}
    assert set(found["slices"]["all"]["differences"]) == against
    rows = list(csv.reader((root / "out/results.csv").open()))
    assert rows[0] == ["of", "metric", "mean", "std", "low", "high"]
    page = (root / "out/index.html").read_text()
    assert "made up" in page
    assert page.count("<svg") >= 2
    markdown = (root / "out/results.md").read_text()
    assert "| E-CDCTR, history down |" in markdown
    slices = markdown.partition("## AUC by slice")[2]
    assert "E-CDCTR \N{MINUS SIGN} E-CDCTR, history down |" in slices


def test_a_model_that_loses_to_ads_only_is_an_alarm(data, compared):
    """Of scores turned around, every day and all slices are lost."""
    _, runs, found = compared
    models = runs[:1]
    by_day = {}
    for name in found["days"]:
        day = scored.read(data, models, name)
        good = 0.1 + 0.8 * day.click
        ctr = {"ads_only": [good, good], "e_cdctr": [1 - good, 1 - good]}
        turned = dataclasses.replace(day, ctr=ctr)
        by_day[name] = measures.of_day(turned)
    lost = measures.alarm_of(by_day, found["days"], {})
    assert lost["days"]["auc"] == {"compared": 2, "lost": 2}
    assert lost["days"]["log_loss"] == {"compared": 2, "lost": 2}
    table = sections.negative_transfer(lost)
    assert table.rows[0][:2] == ["2 of 2 days", "AUC"]
    only = {day: {"e_cdctr": of["e_cdctr"]} for day, of in by_day.items()}
    assert measures.alarm_of(only, found["days"][:1], {}) is None


def test_days_scored_again_are_as_they_were_but_for_history(data, compared):
    """A model of a day, scored on the next, gives the published scores."""
    _, runs, _ = compared
    r = runs[0]
    run, day = r.workdirs[0], windows.Window("2024-01-05", "2024-01-05")
    published = np.load(run.ctr("e_cdctr") / day.last / "scores.npz")["ctr"]
    model = r
    level = rescoring.opened(data, model, run, "2024-01-04", day)
    again = level.score(day)["ctr"]
    np.testing.assert_allclose(again, published, rtol=1e-5)
    (down,) = rescoring.without_history(data, model, run, [day])
    assert np.max(np.abs(down - published)) > 1e-6


def test_bad_requests_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="--trials should be between 1 and"):
        matrix.Matrix(data, tmp_path, CONFIG, trials=99)
    schedule = dataclasses.replace(SCHEDULE, report_first="")
    config = dataclasses.replace(CONFIG, schedule=schedule)
    with pytest.raises(ValueError, match=r"set schedule\.report_first"):
        matrix.Matrix(data, tmp_path, config, trials=2)
    assert not list(tmp_path.iterdir())


def test_best_config_gives_each_model_what_its_trials_chose():
    """Whoever reads it with `--config` trains the same models."""
    start = configs.override(
        CONFIG, ["ads_only.l2=0.5", "ads_only.passes=2", "keep.passes=3"]
    )
    chosen = {"e_cdctr": search.TRIALS[1], "ads_only": search.TRIALS[3]}
    models = []
    for name, trial in chosen.items():
        row = variants.VARIANTS[name]
        config = configs.of_model(start, row)
        config = dataclasses.replace(config, ctr=trial.apply(config.ctr))
        models.append(Model(row, config, ()))
    best = search.best(start, models)
    for model in models:
        assert configs.of_model(best, model.row).ctr == model.config.ctr
    keep = variants.VARIANTS["keep"]
    expected = dataclasses.replace(models[0].config.ctr, passes=3)
    assert configs.of_model(best, keep).ctr == expected
    assert best.model == start.model and best.schedule == start.schedule


def test_scores_of_a_file_join(data, compared, tmp_path):
    """A row that is the same for all models, beside them in every table."""
    _, runs, _ = compared
    window = windows.Window("2024-01-05", "2024-01-06")
    rows = streams.read_columns(data, "ads", window)
    columns = {"timestamp": rows["timestamp"]}
    for role in ("user", "item"):
        table = data.spec.feature(getattr(data.spec, role)).table
        known, place = data.id_spaces[table].ids, rows[getattr(data.spec, role)]
        columns[role] = np.where(place > 0, known[place - 1], -7)
    columns["score"] = np.full(len(rows["click"]), 0.25)
    np.savez(tmp_path / "mine.npz", **columns)
    mine = given.read(f"mine={tmp_path / 'mine.npz'}", [])
    found = report.write(
        data, runs, tmp_path / "out", rescored=False, others=[mine]
    )
    assert found["models"]["mine"]["auc"]["mean"] == 0.5
    assert found["models"]["mine"]["log_loss"]["mean"] > 0
    assert {"e_cdctr - mine", "mine - ads_only"} <= set(found["differences"])
    page = (tmp_path / "out/index.html").read_text()
    assert ">mine<" in page
