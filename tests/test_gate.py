"""The gate: good days pass, broken artefacts are refused, and why.

A world of one ads-only model whose items have click rates of their own; the
graphs of versions are not written.
"""

import dataclasses
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from ecdctr_tf import (
    artefacts,
    command_line,
    export,
    model_table,
    stages,
    store,
    windows,
)
from ecdctr_tf import config as configs
from ecdctr_tf.export import evidence, gate, saved_model, versions
from ecdctr_tf.input import id_space
from ecdctr_tf.input.as_of import AsOf
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint
from tests import training_world
from tests.trained import day, days, manifest, train

pytestmark = pytest.mark.usefixtures("eagerly")

BOUNDS = configs.GateConfig()
CONFIG = configs.override(
    training_world.SMALL_CONFIG,
    ["ads_only.batch_size=32", "ads_only.table_learning_rate=0.03"],
)
ROWS, USERS, ITEMS, DAYS = 640, 40, 8, 4
NAME = "ads_only"
TABLE = "embedding/tables/user/embeddings"


def rows_of(number, shuffled=()) -> dict:
    """Return a day's rows; the first half of the items is clicked often."""
    random = np.random.default_rng(number)
    item = random.integers(1, 1 + ITEMS, ROWS)
    user = random.integers(1, 1 + USERS, ROWS)
    logit = np.where(item <= ITEMS // 2, 0.5, -3.0) + (user % 3 - 1)
    click = random.random(ROWS) < 1 / (1 + np.exp(-logit))
    if number in shuffled:
        click = random.permutation(click)
    start = windows.day_number(day(number)) * 86_400
    return {
        "user_id": user.astype(np.int32),
        "item_id": item.astype(np.int32),
        "price": random.random(ROWS).astype(np.float32),
        "click": click.astype(np.float32),
        "timestamp": start + np.arange(ROWS) * 60,
    }


def make_data(path, shuffled=()) -> DataDirectory:
    """Write the days, the clicks of some of them in random order."""
    path.mkdir(parents=True)
    spec = training_world.SMALL_SPEC
    spec.save(path / "spec.json")
    counts = {"user": USERS, "item": ITEMS}
    for table in spec.tables:
        space = id_space.new(table)
        space.append(np.arange(counts[table.name]))
        space.save(path / "ids")
    data = DataDirectory(path)
    known = {name: 1 + count for name, count in counts.items()}
    for number in range(1, 1 + DAYS):
        data.write_day("ads", day(number), [rows_of(number, shuffled)], known)
    return data


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataDirectory:
    return make_data(tmp_path_factory.mktemp("gate") / "data")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Workdir:
    run = Workdir(tmp_path_factory.mktemp("gate") / "run")
    return train(data, run, days(1, DAYS), CONFIG, NAME)


@pytest.fixture
def run(trained, tmp_path) -> Workdir:
    shutil.copytree(trained.path, tmp_path / "run")
    return Workdir(tmp_path / "run")


@pytest.fixture
def served(tmp_path) -> pathlib.Path:
    return tmp_path / "export"


@pytest.fixture(autouse=True)
def _without_graphs(monkeypatch):
    def write(artefact, data_dir, export_dir, version, *more, report):
        target = export_dir / str(version)
        window = store.read_manifest(artefact, artefacts.CTR).window
        found = store.Manifest("export", window)
        with store.publish(target, found) as staging:
            found.parents = {"artefact": store.parent(artefact, target)}
            lineage = {"gate": report and report.to_dict()}
            path = staging / "assets.extra" / saved_model.LINEAGE
            store.write_text(path, json.dumps(lineage))

    monkeypatch.setattr(saved_model, "export_model", write)


def publish(data, run, served, number, **options) -> str:
    options = {"bounds": BOUNDS, **options}
    path = run.ctr(NAME) / day(number)
    return export.publish(path, data.path, served, **options)


def version(number) -> str:
    return day(number).replace("-", "")


def lineage(served, number) -> dict:
    path = served / version(number) / "assets.extra" / saved_model.LINEAGE
    return json.loads(path.read_text())


def overwrite(run, number, change) -> None:
    """Change the weights of a day after its training, hashes and all."""
    path = run.ctr(NAME) / day(number)
    values = checkpoint.read(path / artefacts.WEIGHTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "check_finite", lambda variables: None)
        changed = {name: change(name, v) for name, v in values.items()}
        checkpoint.write(path / artefacts.WEIGHTS, changed)
    said = json.loads((path / store.MANIFEST).read_text())
    for name in said["files"]:
        file = path / name
        size = file.stat().st_size
        said["files"][name] = {"bytes": size, "sha256": store.file_hash(file)}
    said.pop(store.HASH, None)
    (path / store.MANIFEST).write_text(json.dumps(said))


def random_weights(name, value):
    # Variances are never below 0.
    least = 0.1 if "variance" in name else -1
    random = np.random.default_rng(len(name))
    return random.uniform(least, 1, value.shape).astype(value.dtype)


def zero_weights(name, value):
    return np.zeros_like(value)


def bias_plus_2(name, value):
    return value + 2 if name == "head/bias" else value


def nan_in_half_of_the_users(name, value):
    if name != TABLE:
        return value
    odd = np.arange(len(value)) % 2 == 1
    return np.where(odd[:, np.newaxis], np.nan, value).astype(value.dtype)


def inf_in_one_row(name, value):
    if name != TABLE:
        return value
    value = value.copy()
    value[USERS, 0] = np.inf
    return value


def refused(data, run, served, number) -> tuple[set[str], str]:
    """Publish a day that is refused, beside the one before, which is live.

    Returns:
      The checks that it did not pass, and the error.
    """
    publish(data, run, served, number - 1)
    live = served / version(number - 1)
    before = training_world.tree(live)
    with pytest.raises(export.RefusedError) as error:
        publish(data, run, served, number)
    assert training_world.tree(live) == before
    assert versions.numbers(served) == [int(live.name)]
    file = served / f"refused-{version(number)}.json"
    said = json.loads(file.read_text())
    assert not said["passed"] and said["live"] == int(live.name)
    failed = [check for check in said["checks"] if not check["passed"]]
    for check in failed:
        assert check["said"] in str(error.value)
    assert f"Version {live.name} stays live." in str(error.value)
    assert str(file) in str(error.value)
    return {check["name"] for check in failed}, str(error.value)


@pytest.mark.parametrize(
    "change, expected, reason",
    [
        (random_weights, {"settled_order"}, "have changed: both correlate by"),
        (zero_weights, {"settled_order"}, "have changed: both correlate by 0"),
        (bias_plus_2, {"settled_mean"}, r"have moved by \+[12]\."),
        (nan_in_half_of_the_users, {"finite"}, f"{TABLE} of .* in [0-9]+ of"),
        (inf_in_one_row, {"finite"}, f"{TABLE} of .* in 1 of"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_weights_that_were_not_trained_are_refused(
    data, run, served, change, expected, reason
):
    overwrite(run, DAYS, change)
    failed, error = refused(data, run, served, DAYS)
    assert failed >= expected
    assert re.search(reason, error)


def test_a_day_of_shuffled_clicks_is_refused(trained, served, tmp_path):
    """Trained and published with them: nothing else in the run knows."""
    data = make_data(tmp_path / "data", shuffled=[DAYS])
    run = Workdir(tmp_path / "run")
    train(data, run, days(1, DAYS), CONFIG, NAME)
    failed, error = refused(data, run, served, DAYS)
    assert "day" in failed
    assert "is expected of clicks and features that are as they were" in error


def test_a_day_learned_with_other_clicks_than_it_was_scored_by(
    data, served, tmp_path
):
    shuffled = make_data(tmp_path / "data", shuffled=[DAYS])
    stream = level.Level.stream

    def other(self, parts, *options):
        of = data if parts["ads"].last < day(DAYS) else shuffled
        self.data, kept = of, self.data
        try:
            return stream(self, parts, *options)
        finally:
            self.data = kept

    run = Workdir(tmp_path / "other")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(level.Level, "stream", other)
        train(data, run, days(1, DAYS), CONFIG, NAME)
    failed, _ = refused(data, run, served, DAYS)
    assert "training_loss" in failed and "day" not in failed


def test_good_days_pass(data, trained, served):
    for number in range(1, 1 + DAYS):
        said = publish(data, trained, served, number)
        assert "The gate lets it by" in said
        found = lineage(served, number)["gate"]
        assert found["passed"] and not found["forced"]
        assert found["rows"] == ROWS // 10
        assert found["live"] == (
            int(version(number - 1)) if number > 1 else None
        )
        names = {check["name"] for check in found["checks"]}
        of_live = {"moved", "worse_auc", "worse_log_loss", "worse_pcoc", "day"}
        assert names >= {"finite", "settled_mean", "settled_order"}
        assert names.isdisjoint(of_live) if number == 1 else names >= of_live
    assert len(versions.numbers(served)) == DAYS
    assert not list(served.glob("refused-*"))


def test_the_first_version_is_judged_by_itself(data, run, served):
    overwrite(run, 1, zero_weights)
    with pytest.raises(export.RefusedError, match="Nothing is live yet"):
        publish(data, run, served, 1)
    assert versions.numbers(served) == []


def test_a_forced_version_says_so(data, run, served):
    overwrite(run, DAYS, bias_plus_2)
    refused(data, run, served, DAYS)
    said = publish(data, run, served, DAYS, force=True)
    assert "although the gate refuses it. Since the rows held out" in said
    found = lineage(served, DAYS)["gate"]
    assert found["forced"] and not found["passed"]
    assert not list(served.glob("refused-*"))


def test_what_passes_was_not_forced(data, trained, served):
    publish(data, trained, served, 1, force=True)
    assert not lineage(served, 1)["gate"]["forced"]


def test_what_is_published_is_not_looked_at_again(
    data, run, served, monkeypatch
):
    publish(data, run, served, 1)
    monkeypatch.setattr(evidence, "gather", lambda *of: 1 / 0)
    publish(data, run, served, 1)


def test_a_live_version_whose_artefact_is_gone_is_not_compared_with(
    data, run, served
):
    publish(data, run, served, 2)
    store.remove(run.ctr(NAME) / day(2))
    said = publish(data, run, served, 3)
    assert f"The live version {version(2)} is not compared with." in said
    names = {check["name"] for check in lineage(served, 3)["gate"]["checks"]}
    assert names >= {"finite", "settled_mean"}
    assert names.isdisjoint({"moved", "worse_auc", "day"})


def test_a_live_version_that_has_learned_the_rows_is_not_compared_with(
    data, run, served
):
    """An older day is published once more under a greater number."""
    publish(data, run, served, 3)
    said = publish(data, run, served, 2, version=20240105)
    assert "has learned the rows held out" in said
    path = served / "20240105/assets.extra" / saved_model.LINEAGE
    names = {c["name"] for c in json.loads(path.read_text())["gate"]["checks"]}
    assert "moved" in names and "worse_auc" not in names


def test_another_model_of_the_same_day_is_compared_by_what_both_held_out(
    data, run, served
):
    other = Workdir(run.path / "other")
    config = configs.override(CONFIG, ["ads_only.dense_learning_rate=0.01"])
    train(data, other, days(1, DAYS), config, NAME)
    publish(data, other, served, DAYS)
    publish(data, run, served, DAYS, version=20240105)
    path = served / "20240105/assets.extra" / saved_model.LINEAGE
    found = json.loads(path.read_text())["gate"]
    held = [manifest(r, DAYS, NAME).metrics["held_out"] for r in (run, other)]
    for name, of in zip(("candidate", "live"), held, strict=True):
        mean = found["metrics"][name]["auc"]["mean"]
        assert mean == pytest.approx(of["auc"], abs=1e-9)


def test_rows_that_were_replaced_since_are_found(run, served, tmp_path):
    data = make_data(tmp_path / "data", shuffled=[DAYS])
    failed, error = refused(data, run, served, DAYS)
    assert failed == {"rows"}
    assert "(click differs): they were replaced since" in error


def test_days_that_were_left_out_were_not_replaced(tmp_path):
    data = training_world.small_data(tmp_path / "data")
    window = windows.Window(day(3), day(4))
    seen = AsOf(data, day(5), {"ads": [day(4)]})
    run = train(seen, Workdir(tmp_path / "run"), [window], name=NAME)
    artefact = run.ctr(NAME) / window.last
    assert manifest(run, 4, NAME).metrics["left_out"] == [day(4)]
    assert not evidence.gather(artefact, data.path, None).replaced
    # Nor is a state gone on with that has read them, or has not.
    levels = [
        level.Level(of, run, CONFIG, model_table.model(NAME), artefacts.CTR)
        for of in (seen, data)
    ]
    one, other = (of._fingerprints({"ads": window}) for of in levels)
    assert one != other


def test_without_rows_held_out_weights_are_compared_with_the_live_ones(
    data, served, tmp_path
):
    run = Workdir(tmp_path / "run")
    config = configs.override(CONFIG, ["gate.share=0"])
    train(data, run, days(1, 3), config, NAME)
    said = publish(data, run, served, 2)
    assert "No rows of the day were held out" in said
    for change in (bias_plus_2, zero_weights):
        overwrite(run, 3, change)
        with pytest.raises(export.RefusedError, match="as it would be served"):
            publish(data, run, served, 3)


def test_bounds_are_those_of_the_config(data, run, served):
    publish(data, run, served, 3)
    for change, names in (
        ("moved=1e-9", ["settled_mean"]),
        ("kept_auc=2", ["day"]),
        ("training_loss=0.1", ["training_loss"]),
    ):
        config = configs.override(CONFIG, [f"gate.{change}"])
        with pytest.raises(export.RefusedError):
            publish(data, run, served, DAYS, bounds=config.gate)
        file = served / f"refused-{version(DAYS)}.json"
        checks = json.loads(file.read_text())["checks"]
        assert [c["name"] for c in checks if not c["passed"]] == names
    publish(data, run, served, DAYS)


def test_a_refused_export_ends_with_a_status_of_its_own_after_the_report(
    data, run, served, monkeypatch
):
    overwrite(run, DAYS, bias_plus_2)
    publish(data, run, served, DAYS - 1)
    done = []
    for stage in stages.STAGES:
        if stage != "export":
            monkeypatch.setitem(
                stages.STAGES,
                stage,
                lambda *of, stage=stage: done.append(stage),
            )
    request = stages.Request(
        "all", data.path, run.path, CONFIG, (NAME,), export_dir=served
    )
    with pytest.raises(SystemExit) as ended:
        with command_line.reported(verbose=True):
            stages.run(request)
    assert ended.value.code == 3
    assert done == ["tpm", "aggregate", "cpm", "ctr", "report"]
    stages.run(dataclasses.replace(request, force_publish=True))
    assert lineage(served, DAYS)["gate"]["forced"]


# The checks alone, on rows made up.


def made_up(auc_noise=1.0, count=4000, seed=0, **more) -> dict:
    """Return rows and scores of a model that errs by some noise."""
    random = np.random.default_rng(seed)
    logit = random.normal(-1.5, 1.2, count)
    click = random.random(count) < 1 / (1 + np.exp(-logit))
    wrong = logit + auc_noise * random.normal(size=count)
    return {
        "click": click.astype(np.float32),
        "weight": np.ones(count, np.float32),
        "user": random.integers(0, 500, count),
        "item": random.integers(0, 50, count),
        "ctr": (1 / (1 + np.exp(-wrong))).astype(np.float32),
    }


def failed(**found) -> list[str]:
    report = gate.judge(gate.Evidence(**found), BOUNDS, "day", 1)
    return [check.name for check in report.failed]


def shifted(ctr, by, scale=1.0):
    logit = np.log(ctr.astype(float)) - np.log1p(-ctr.astype(float))
    return 1 / (1 + np.exp(-(scale * logit + by)))


def test_a_candidate_worse_than_what_is_live():
    rows, better = made_up(1.0), made_up(0.3)
    assert failed(held_out=better, live_unseen=rows["ctr"]) == []
    assert failed(held_out=better, live_unseen=better["ctr"]) == []
    assert set(failed(held_out=rows, live_unseen=better["ctr"])) == {
        "worse_auc",
        "worse_log_loss",
    }


def test_what_may_be_noise_is_let_by():
    rows, better = made_up(1.0, 60), made_up(0.8, 60)
    assert rows["click"].sum() == better["click"].sum()
    assert failed(held_out=rows, live_unseen=better["ctr"]) == []


@pytest.mark.parametrize("by", [1.5, 0.6, -1.0])
def test_a_candidate_off_the_click_rate(by):
    rows = made_up(0.3)
    off = shifted(rows["ctr"], by)
    assert "worse_pcoc" in failed(
        held_out={**rows, "ctr": off}, live_unseen=rows["ctr"]
    )
    # Towards the click rate is no fault.
    assert failed(held_out=rows, live_unseen=off) == []


def test_too_few_clicks_are_no_worse_than_too_many():
    rows = made_up(0.3, 400)
    many, few = (shifted(rows["ctr"], by) for by in (0.3, -0.3))
    assert failed(held_out={**rows, "ctr": few}, live_unseen=many) == []
    assert failed(held_out={**rows, "ctr": many}, live_unseen=few) == []


def test_a_model_as_bad_as_what_is_live():
    """A first version, or one that never was better, may be published."""
    rows = made_up(0.3)
    random = np.random.default_rng(1)
    bad, live = (random.permutation(rows["ctr"]) for _ in range(2))
    found = {"held_out": {**rows, "ctr": bad}}
    assert failed(**found) == []
    assert failed(**found, live_unseen=live) == []
    assert set(failed(**found, live_unseen=rows["ctr"])) == {
        "worse_auc",
        "worse_log_loss",
    }


def test_a_young_model_may_move_far():
    """Single rows by more than anybody knows, and all of them a good deal."""
    rows = made_up(1.0, 150)
    random = np.random.default_rng(1)
    served = shifted(rows["ctr"], random.normal(0, 0.7, 150))
    live = shifted(rows["ctr"], random.normal(1.3, 1.5, 150))
    found = {"held_out": rows, "served": served, "live": live}
    assert failed(**found, live_unseen=live) == []
    # It may not be surely worse by that, nor go where no clicks are.
    found = {"held_out": {**rows, "ctr": live}, "served": live, "live": served}
    assert "moved" in failed(**found, live_unseen=rows["ctr"])
    assert failed(**found) == ["moved"]


def test_weights_that_forgot_what_was_scored():
    """Small logits can be lost without moving far."""
    random = np.random.default_rng(0)
    ctr = 1 / (1 + np.exp(-random.normal(0, 0.5, 4000)))
    rows, flat = made_up() | {"ctr": ctr}, np.full_like(ctr, 0.5)
    assert failed(held_out=rows, served=ctr) == []
    for forgot in (flat, random.permutation(ctr)):
        assert failed(held_out=rows, served=forgot) == ["settled_order"]
    # Who has not learned anything yet has nothing to forget.
    assert failed(held_out={**rows, "ctr": flat}, served=ctr) == []


def test_tables_that_are_stored_too_coarsely():
    rows = made_up(0.3)
    near = shifted(rows["ctr"], 1e-4)
    found = {"held_out": rows, "exact": rows["ctr"]}
    assert failed(**found, rounded=near) == []
    coarse = shifted(np.clip(np.round(rows["ctr"], 1), 0.05, 0.95), 0.3)
    assert failed(**found, rounded=coarse) == [
        "rounded_auc",
        "rounded_log_loss",
    ]


def test_what_tables_are_stored_in_is_looked_at(data, run, served):
    serving = configs.ServingConfig(tables="int8")
    publish(data, run, served, 2, serving=serving)
    checks = lineage(served, 2)["gate"]["checks"]
    (loss,) = (of for of in checks if of["name"] == "rounded_log_loss")
    assert loss["passed"] and 0 < abs(loss["value"]) < 1e-3
    assert "rounded_auc" in {check["name"] for check in checks}


def test_rows_of_which_nothing_can_be_said():
    rows = made_up(count=20)
    nothing = {**rows, "click": np.zeros(20, np.float32)}
    assert failed(held_out=nothing, live_unseen=rows["ctr"]) == []
    unweighted = {**rows, "weight": np.zeros(20, np.float32)}
    found = {"held_out": unweighted, "day": unweighted}
    assert failed(live_day=rows, losses=(None, None), **found) == []
    report = gate.judge(gate.Evidence(held_out=nothing), BOUNDS, "day", None)
    assert json.loads(report.to_json())["metrics"]["candidate"]["auc"]


@pytest.mark.parametrize(
    "noise, passes", [(1.0, True), (3.0, True), (100.0, False)]
)
def test_a_day_that_is_ranked_like_by_chance(noise, passes):
    found = failed(day=made_up(noise), live_day=made_up(0.8, seed=1))
    assert found == ([] if passes else ["day"])


def test_a_small_day_ranked_by_chance_beside_a_weak_one():
    """Half of what little was known could be left of chance."""
    weak, chance = made_up(2.5, 1500), made_up(100.0, 1500, seed=3)
    live = made_up(2.5, 1500, seed=1)
    assert failed(day=weak, live_day=live) == []
    assert failed(day=chance, live_day=live) == ["day"]
    # Nothing is asked where the other was no better.
    other = made_up(100.0, 1500, seed=2)
    assert failed(day=chance, live_day=other) == []


def test_of_many_rows_some_are_taken(monkeypatch):
    monkeypatch.setattr(gate, "_ROWS", 1500)
    rows = made_up(0.3, 4000)
    report = gate.judge(gate.Evidence(held_out=rows), BOUNDS, "day", None)
    some = {name: column[::3] for name, column in rows.items()}
    of_some = gate.judge(gate.Evidence(held_out=some), BOUNDS, "day", None)
    assert report.metrics == of_some.metrics
    assert report.rows == 4000


def test_intervals_are_drawn_alike_every_time():
    rows = made_up(1.0, 300)
    reports = [
        gate.judge(gate.Evidence(held_out=rows), BOUNDS, "day", None).to_json()
        for _ in range(2)
    ]
    assert reports[0] == reports[1]
