"""What is deleted, what stays, and that days go on as if nothing had been."""

import dataclasses
import pathlib

import pytest

from ecdctr_tf import artefacts, export, model_table, store
from ecdctr_tf import config as configs
from ecdctr_tf.export import evidence, versions
from ecdctr_tf.operation import needed, retention
from ecdctr_tf.results import models, report
from ecdctr_tf.training import history, mixing, natural, schedule
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import historical
from ecdctr_tf.windows import Window
from tests import trained, training_world
from tests.trained import day

pytestmark = pytest.mark.usefixtures("eagerly")

STRICTEST = configs.RetentionConfig(
    ctr=1, cpm=1, snapshots=1, historical=1, exports=2
)
CONFIG = dataclasses.replace(training_world.SMALL_CONFIG, retention=STRICTEST)
MODELS = ("e_cdctr", "ads_only", "cpm_only", "no_regret")
# Of the days of ads that are trained on.
FIRST = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("logs") / "data")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run of days 6 to 8 that was never cleaned."""
    run = Workdir(tmp_path_factory.mktemp("whole") / "run")
    for number in range(FIRST, 9):
        go_through(data, run, number)
    return run


@pytest.fixture
def trained_run(whole, tmp_path):
    return trained.copy(whole, tmp_path / "run")


@pytest.fixture
def run(tmp_path):
    """Artefacts without weights, of all levels and four models."""
    run = Workdir(tmp_path / "run")
    for number in range(1, 9):
        snapshots = {
            f"snapshot {day(n)}": run.tpm / day(n)
            for n in range(max(number - 2, 1), number)
        }
        snapshot = publish(run.tpm / day(number), "snapshot")
        snapshots[f"snapshot {day(number)}"] = snapshot
        version = publish(
            run.historical / day(number), "historical", **snapshots
        )
        history = {f"historical {day(number)}": version}
        before = {"last": run.cpm("e_cdctr") / day(number - 1)}
        parents = history | (before if number > 1 else {})
        cpm = publish(run.cpm("e_cdctr") / day(number), "cpm", **parents)
        if number < 5:
            continue
        for name in MODELS:
            parents = {"cpm": cpm, **history}
            if name == "ads_only":
                parents = {}
            if name == "no_regret":
                parents = {
                    artefacts.expert_role(expert): run.ctr(expert) / day(number)
                    for expert in MODELS[:3]
                }
            publish(run.ctr(name) / day(number), "ctr", **parents)
        export_day(run, number)
    return run


def publish(path, kind, **parents):
    manifest = store.Manifest(kind, Window(path.name, path.name))
    with store.publish(path, manifest) as staging:
        (staging / artefacts.CONFIG).write_text(CONFIG.to_json())
        for role, parent in parents.items():
            manifest.parents[role] = store.parent(parent, path)
    return path


def go_through(data, run, number):
    """A day of ads: every level is refreshed, and the day becomes a version."""
    row = model_table.model("e_cdctr")
    for kind, last in (("snapshot", number - 3), ("cpm", number - 2)):
        level = Level(data, run, CONFIG, row, kind)
        natural.train(level, Window(day(last), day(last)))
        if kind == "snapshot":
            history.aggregate(run, CONFIG)
    parts = trained.days(FIRST, number)
    mixing.trainer(Level(data, run, CONFIG, row, "ctr")).run(parts)
    export_day(run, number)


def export_day(run, number):
    place = run.path / "export" / f"2024010{number}"
    manifest = store.Manifest("export")
    with store.publish(place, manifest):
        artefact = run.ctr("e_cdctr") / day(number)
        manifest.parents = {"artefact": store.parent(artefact, place)}


def clean(run, config=CONFIG, **options):
    return retention.clean(run, run.path / "export", config, **options)


def days(run, *parts):
    return [name[-2:] for name in store.dated(run.path.joinpath(*parts))]


def contents(path: pathlib.Path) -> dict:
    """Return the hashes of the files of an artefact."""
    found = store.Manifest.from_json((path / store.MANIFEST).read_text())
    return {name: entry["sha256"] for name, entry in found.files.items()}


def assert_went_on_as(whole, run, number):
    for place in needed.places(run):
        path = place.path / day(number)
        if path.exists():
            relative = path.relative_to(run.path.resolve())
            assert contents(path) == contents(whole.path / relative), path


def test_days_after_a_cleaning_are_as_if_there_had_been_none(
    data, whole, tmp_path
):
    """Cleaned after each day, as strictly as can be."""
    run = Workdir(tmp_path / "run")
    for number in range(FIRST, 9):
        go_through(data, run, number)
        clean(run)
        assert_went_on_as(whole, run, number)
    # The two versions, what they were made from, and what the levels need.
    assert versions.numbers(run.path / "export") == [20240107, 20240108]
    assert days(run, "e_cdctr", "ctr") == ["07", "08"]
    assert days(run, "e_cdctr", "cpm") == ["05", "06"]


@pytest.mark.parametrize(
    ("settings", "days_back"),
    [
        (["ctr.replay_days=3"], 3),
        (["schedule.catch_up_days=2", "history.lag=1"], 2),
        (["warm_start.warm_up_days=4", "history.aggregation=last"], 4),
        (["history.aggregation=attention", "history.snapshots=4"], 0),
        (["history.aggregation=concat", "ctr.replay_days=2"], 2),
    ],
)
def test_days_that_look_back_find_what_they_would_have_seen(
    run, settings, days_back, monkeypatch
):
    config, read = configs.override(CONFIG, settings), artefacts.read_config

    def other(path):
        return config if path.parents[1].name == "e_cdctr" else read(path)

    monkeypatch.setattr(artefacts, "read_config", other)
    rows = Window(day(9 - days_back), day(9))

    def seen():
        there = store.dated(run.historical)
        return historical.seen_in(there, rows, config.history)

    before = seen()
    clean(run, config)
    assert seen() == before
    assert len(before) < 8


def test_what_is_served_can_be_compared_with_and_returned_to(data, trained_run):
    run = trained_run
    clean(run)
    served = run.path / "export"
    artefact = run.ctr("e_cdctr") / day(8)
    for live in ("20240108", "20240107"):
        found = evidence.gather(artefact, data.path, served / live)
        assert found.live is not None
        assert not any("not compared with" in said for said in found.left_out)
    assert export.roll_back(served) == (20240108, 20240107)
    assert "stable" in (served / "models.config").read_text()


def test_a_report_says_that_days_were_deleted(data, trained_run, tmp_path):
    run = trained_run
    _, notes = models.of_workdirs([run], CONFIG)
    assert notes == []
    clean(run)
    found, notes = models.of_workdirs([run], CONFIG)
    (note,) = notes
    assert f"up to {day(6)} were deleted by --stage=clean" in note
    results = report.write(data, found, tmp_path / "report", notes, False)
    assert results["days"] == [day(7), day(8)]
    assert note in results["notes"]


def test_no_window_that_was_cleaned_is_missed(data, run, caplog):
    clean(run)
    windows = [Window(day(n), day(n)) for n in range(1, 9)]
    assert schedule.left(windows, run.tpm, "snapshot") == []
    assert caplog.text == ""
    # One that was deleted otherwise is.
    (run.tpm / ".cleaned").unlink()
    schedule.left(windows, run.tpm, "snapshot")
    assert "in other windows" in caplog.text


def test_as_many_stay_as_the_config_says(run):
    keep = configs.RetentionConfig(
        ctr=3, cpm=4, snapshots=4, historical=4, exports=3
    )
    clean(run, dataclasses.replace(CONFIG, retention=keep))
    assert len(versions.numbers(run.path / "export")) == 3
    for name in MODELS:
        assert days(run, name, "ctr") == ["06", "07", "08"]
    assert len(days(run, "e_cdctr", "cpm")) == 4
    assert clean(run, dataclasses.replace(CONFIG, retention=keep)) == {}


def test_a_dry_run_deletes_nothing(run):
    before = training_world.tree(run.path)
    freed = clean(run, dry_run=True)
    assert training_world.tree(run.path) == before
    assert list(freed) == list(clean(run))
    assert not any(of.path.exists() for of in freed)
    assert min(freed.values()) > 0


def test_a_killed_cleaning_is_finished_by_the_next(run, tmp_path, monkeypatch):
    other = trained.copy(run, tmp_path / "other")
    clean(other)
    for count in (1, 4, 9):
        removed, remove = [], store.remove

        def remove_some(path, removed=removed, remove=remove, count=count):
            removed.append(path)
            if len(removed) == count:
                path.rename(path.with_name(".staging-half-deleted"))
                raise KeyboardInterrupt
            remove(path)

        with monkeypatch.context() as patch:
            patch.setattr(store, "remove", remove_some)
            with pytest.raises(KeyboardInterrupt):
                clean(run)
    clean(run)
    names = [sorted(training_world.tree(r.path)) for r in (run, other)]
    assert names[0] == names[1]
    assert not list(run.path.rglob(".staging-*"))


def test_leftovers_go_and_the_states_of_later_windows_stay(run):
    level = run.ctr("e_cdctr")
    (level / ".staging-file").write_text("half")
    (level / ".staging-directory").mkdir()
    progress = run.progress(artefacts.CTR, "e_cdctr")
    over = progress / f"later-{Window(day(8), day(8))}"
    later = progress / str(Window(day(9), day(9)))
    for state in (over, later):
        state.mkdir(parents=True)
    clean(run)
    assert not list(level.glob(".staging-*"))
    assert [path.name for path in progress.iterdir()] == [later.name]


def test_another_writer_keeps_all_from_being_deleted(run):
    before = training_world.tree(run.path)
    with store.lock(run.cpm("e_cdctr"), "training the CPM"):
        with pytest.raises(ValueError, match="already training the CPM"):
            clean(run)
    assert training_world.tree(run.path) == before


def test_without_an_a_ctr_all_that_it_may_begin_with_stays(run):
    for name in MODELS:
        for number in days(run, name, "ctr"):
            store.remove(run.ctr(name) / f"2024-01-{number}")
    freed = retention.clean(run, run.path / "nowhere", CONFIG)
    assert not any(of.path.parent.name == "cpm" for of in freed)


def test_days_that_a_mixture_lacks_stay_with_its_experts(run):
    store.remove(run.ctr("no_regret") / day(8))
    store.remove(run.ctr("no_regret") / day(7))
    clean(run)
    for name in model_table.model("no_regret").experts:
        assert set(days(run, name, "ctr")) >= {"06", "07", "08"}


def test_a_missing_work_directory_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no work directory at"):
        clean(Workdir(tmp_path / "nowhere"))


def test_what_was_moved_to_another_disk_is_found(run, tmp_path):
    """The TPM is behind a symbolic link, the versions were moved away."""
    other = trained.copy(run, tmp_path / "other")
    clean(other)
    run.tpm.rename(tmp_path / "disk")
    run.tpm.symlink_to(tmp_path / "disk")
    served = tmp_path / "a" / "served"
    served.parent.mkdir()
    (run.path / "export").rename(served)
    retention.clean(run, served, CONFIG)
    for parts in (("tpm",), ("historical",), ("e_cdctr", "ctr")):
        assert days(run, *parts) == days(other, *parts)
    assert versions.numbers(served) == [20240107, 20240108]
