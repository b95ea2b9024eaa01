"""What a stage reads may be damaged, of another world or from the future.

Each is an error that says what, where and what to do, and what was published
before keeps every byte.
"""

import contextlib
import json
import pathlib
import shutil

import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import stages, store
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.model_table import model
from ecdctr_tf.training import daily, history, natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import historical
from ecdctr_tf.windows import Window
from tests import training_world

pytestmark = pytest.mark.usefixtures("eagerly")

CONFIG = training_world.SMALL_CONFIG
D1, D2, D3, D4, D5, D6 = training_world.SMALL_NATURAL.days


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data directory, and a work directory with something of each level."""
    place = tmp_path_factory.mktemp("artefacts")
    data = training_world.small_data(place / "data")
    run = Workdir(place / "run")

    def level(kind):
        return Level(data, run, CONFIG, model("e_cdctr"), kind)

    natural.train(level("snapshot"), Window(D1, D2))
    history.aggregate(run, CONFIG)
    for window in (Window(D3, D4), Window(D5, D6)):
        natural.train(level("cpm"), window)
    natural.train(level("snapshot"), Window(D3, D6))
    daily.DailyTrainer(level("ctr")).run([Window(D5, D5)])
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy of both to do harm to."""
    shutil.copytree(made, tmp_path / "place")
    # Not begun: as if only the first CPM and TPM had been made.
    run = tmp_path / "place/run"
    (tmp_path / "later").mkdir()
    (run / "e_cdctr/cpm" / D6).rename(tmp_path / "later/cpm")
    (run / "tpm" / D6).rename(tmp_path / "later/tpm")
    return tmp_path / "place"


def stage(place, name, config=CONFIG, window=None) -> None:
    """Run a stage as the command line does."""
    stages.run(
        stages.Request(
            stage=name,
            data_dir=place / "data",
            workdir=place / "run",
            config=config,
            models=("e_cdctr",),
            window=window,
        )
    )


# What comes next on each level, and what it reads of the level before.
NEXT = {
    "tpm": (Window(D3, D4), f"tpm/{D2}"),
    "cpm": (Window(D5, D6), f"e_cdctr/cpm/{D4}"),
    "ctr": (Window(D6, D6), f"e_cdctr/ctr/{D5}"),
}


@contextlib.contextmanager
def refused(place, error, match):
    """Expect an error that leaves every published byte as it is."""
    before = training_world.tree(place)
    assert len(before) > 40
    with pytest.raises(error, match=match) as raised:
        yield
    assert "\n" not in str(raised.value)
    assert training_world.tree(place) == before
    assert not list(place.rglob(".staging-*"))


def flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


HARM = {
    "flipped": (flip, ValueError, "is damaged"),
    "truncated": (truncate, ValueError, "truncated"),
    "missing": (pathlib.Path.unlink, FileNotFoundError, "but missing"),
}


@pytest.mark.parametrize("domain", ["natural", "ads"])
@pytest.mark.parametrize("name", [*NEXT, "report", "auto"])
def test_missing_day_of_logs(place, name, domain):
    """Also where the stage would only read the days around it."""
    day = {"natural": D2, "ads": D4}[domain]
    shutil.rmtree(place / "data" / domain / day)
    window = NEXT[name][0] if name in NEXT else None
    said = f"data/{domain} lacks {day}, and days without rows are there"
    with refused(place, ValueError, said):
        stage(place, name, window=window)


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("level", NEXT)
def test_damaged_day_of_logs(place, level, harm):
    """Found before a row is read, in the last day of a window too."""
    window, _ = NEXT[level]
    domain = "ads" if level == "ctr" else "natural"
    file = place / "data" / domain / window.last / "part-00000.tfrecord"
    do, error, what = HARM[harm]
    do(file)
    with refused(place, error, f"{file}.*{what}.*input.doctor {place}/data"):
        stage(place, level, window=window)


@pytest.mark.parametrize("level", NEXT)
def test_day_whose_manifest_lacks_a_shard(place, level):
    """The shard is there, but nobody would read it."""
    window, _ = NEXT[level]
    domain = "ads" if level == "ctr" else "natural"
    day = place / "data" / domain / window.last
    manifest = store.read_manifest(day, "day")
    del manifest.files["part-00000.tfrecord"]
    (day / store.MANIFEST).write_text(manifest.to_json())
    with refused(
        place,
        ValueError,
        f"{day}/manifest.json lists 0 of the day's 1 files.*convert",
    ):
        stage(place, level, window=window)


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize(
    "file", ["weights.data-00000-of-00001", "optimizer.index"]
)
@pytest.mark.parametrize("level", NEXT)
def test_damaged_artefact_of_the_same_level(place, level, file, harm):
    window, path = NEXT[level]
    do, error, what = HARM[harm]
    do(place / "run" / path / file)
    with refused(place, error, f"{path}/{file}.*{what}.*Delete.*{path}"):
        stage(place, level, window=window)


@pytest.mark.parametrize("harm", HARM)
def test_damaged_cpm_under_a_new_a_ctr(place, harm):
    shutil.rmtree(place / "run/e_cdctr/ctr")
    file = place / f"run/e_cdctr/cpm/{D4}/weights.data-00000-of-00001"
    do, error, what = HARM[harm]
    do(file)
    with refused(place, error, f"{file}.*{what}.*Delete"):
        stage(place, "ctr", window=Window(D5, D5))


@pytest.mark.parametrize("level", ["cpm", "ctr"])
def test_damaged_historical_table(place, level):
    file = place / f"run/historical/{D2}/historical.data-00000-of-00001"
    flip(file)
    with refused(place, ValueError, f"{file} is damaged.*Delete"):
        stage(place, level, window=NEXT[level][0])


def test_damaged_snapshot_under_aggregation(place):
    shutil.rmtree(place / "run/historical")
    file = place / f"run/tpm/{D2}/snapshot.index"
    truncate(file)
    with refused(place, ValueError, f"{file}.*truncated.*Delete"):
        stage(place, "aggregate")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sort": "cpm"}'])
def test_damaged_manifest(place, text):
    file = place / f"run/e_cdctr/cpm/{D4}" / store.MANIFEST
    file.write_text(text)
    shutil.rmtree(place / "run/e_cdctr/ctr")
    with refused(place, ValueError, f"{file} is not a manifest"):
        stage(place, "ctr", window=Window(D5, D5))


@pytest.mark.parametrize("level", NEXT)
@pytest.mark.parametrize(
    ("field", "name"),
    [("config", "capacities"), ("config", "model"), ("ids", "user")],
)
def test_manifest_without_an_entry(place, level, field, name):
    window, path = NEXT[level]
    manifest = store.read_manifest(
        place / "run" / path, "snapshot" if level == "tpm" else level
    )
    del getattr(manifest, field)[name]
    file = place / "run" / path / store.MANIFEST
    file.write_text(manifest.to_json())
    said = f"{file} is damaged: .* lacks .*{name}.*Delete"
    with refused(place, ValueError, said):
        stage(place, level, window=window)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("capacities", None, "`capacities` of `config` should be a table"),
        ("capacities", {"user": "x"}, "should be a table whose values are a"),
        ("capacities", {"user": 1}, "'user' should have room for its"),
        ("model", "nope", "nope"),
        ("batch_size", "a", "`batch_size` of `config` should be a whole"),
        ("batch_size", -3, "`batch_size` of `config` should be at least 0"),
        ("evidence", {"losses": [1.0]}, "`evidence` should be of 3 candidates"),
        ("evidence", [1], "`evidence` of `config` should be a table"),
        ("unheard_of", 1, "has unknown keys: unheard_of"),
    ],
)
def test_manifest_with_a_damaged_entry(place, name, value, said):
    file = place / f"run/e_cdctr/ctr/{D5}" / store.MANIFEST
    manifest = store.read_manifest(file.parent, "ctr")
    manifest.config[name] = value
    file.write_text(manifest.to_json())
    with refused(place, ValueError, f"{file} is damaged: .*{said}.*Delete"):
        stage(place, "ctr", window=Window(D6, D6))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {}}, "damaged: `files` lacks weights.index"),
        ({"parents": {}}, "damaged: `parents` lacks the CPM"),
        ({"parents": {"cpm": {}}}, "not a manifest: `parents.cpm.path`"),
        ({"rows": -5}, "not a manifest: `rows` should be at least 0"),
    ],
)
def test_manifest_that_contradicts_its_artefact(place, change, said):
    file = place / f"run/e_cdctr/ctr/{D5}" / store.MANIFEST
    values = json.loads(file.read_text())
    del values["sha256"]
    file.write_text(json.dumps({**values, **change}))
    with refused(place, ValueError, f"{file} is {said}"):
        stage(place, "ctr", window=Window(D6, D6))


def test_day_of_another_model(place):
    """As where somebody copied the days of one model to the other's place."""
    file = place / f"run/e_cdctr/ctr/{D5}" / store.MANIFEST
    manifest = store.read_manifest(file.parent, "ctr")
    manifest.config["model"] = "cpm_finetune"
    file.write_text(manifest.to_json())
    with refused(place, ValueError, "should be a day of e_cdctr. Received one"):
        stage(place, "ctr", window=Window(D6, D6))


def test_day_under_another_date(place):
    path = place / f"run/e_cdctr/ctr/{D5}"
    shutil.copytree(path, path.with_name("2024-03-01"))
    said = f"2024-03-01 is the artefact of {D5}, under another name"
    with refused(place, ValueError, said):
        stage(place, "ctr", window=Window(D6, D6))


def test_artefact_of_another_kind(place):
    """As where somebody moved a directory by hand."""
    path = place / f"run/e_cdctr/cpm/{D4}"
    shutil.rmtree(path)
    shutil.copytree(place / f"run/tpm/{D2}", path)
    shutil.rmtree(place / "run/e_cdctr/ctr")
    with refused(place, ValueError, f"{path}.*'cpm'. Received: 'snapshot'"):
        stage(place, "ctr", window=Window(D5, D5))


def test_parent_that_was_replaced(place, tmp_path):
    """Another CPM lies where that of the A-CTR was."""
    path = place / f"run/e_cdctr/cpm/{D4}"
    shutil.rmtree(path)
    shutil.move(tmp_path / "later/cpm", path)
    made = f"run/e_cdctr/ctr/{D5}"
    with refused(
        place, ValueError, f"{path} is not the artefact from which .*{made}"
    ):
        stage(place, "ctr", window=Window(D6, D6))


def test_parent_that_is_gone(place):
    path = place / f"run/e_cdctr/cpm/{D4}"
    shutil.rmtree(path)
    with refused(place, FileNotFoundError, f"{path}, from which .* is gone"):
        stage(place, "ctr", window=Window(D6, D6))


@pytest.mark.parametrize(("level", "day"), [("cpm", D4), ("ctr", D5)])
def test_historical_version_that_is_gone(place, level, day):
    """Older versions, if there are any, do not take its place."""
    path = place / f"run/historical/{D2}"
    older = path.with_name("2023-12-31")
    shutil.move(path, older)
    with refused(
        place,
        FileNotFoundError,
        f"{path}, which .*{level}/{day} looked up, is gone. Put it back",
    ):
        stage(place, level, window=NEXT[level][0])


def test_levels_and_aggregate_say_what_they_did(place, capsys):
    stage(place, "aggregate")
    directory = place / "run/historical"
    assert capsys.readouterr().out == (
        f"aggregate: 0 new historical versions (mean) in {directory}, up to "
        f"{D2}\n"
    )
    stage(place, "tpm", window=NEXT["tpm"][0])
    assert capsys.readouterr().out.startswith(f"TPM: 1 window up to {D4} in ")
    stage(place, "aggregate")
    said = capsys.readouterr().out
    assert said.startswith("aggregate: 1 new historical version (mean)")
    assert said.endswith(f", up to {D4}\n")


def test_export_up_to_a_day_before_all_days_names_those_there_are(place):
    match = f"e_cdctr/ctr holds the days {D5}, none of them up to --end={D4}"
    with refused(place, ValueError, match):
        stage(place, "export", window=Window(D4, D4))


@pytest.mark.parametrize(
    "path",
    [
        f"run/tpm/{D2}",
        f"run/historical/{D2}",
        f"run/e_cdctr/cpm/{D4}",
        f"run/e_cdctr/ctr/{D5}",
        f"data/natural/{D4}",
        f"data/ads/{D6}",
    ],
)
def test_manifest_without_a_window(place, path):
    file = place / path / "manifest.json"
    values = json.loads(file.read_text())
    del values["sha256"]
    file.write_text(json.dumps({**values, "window": None}))
    with pytest.raises(ValueError, match=f"{file}.*`window` should be"):
        store.read_manifest(place / path, values["kind"])


@pytest.mark.parametrize("level", NEXT)
def test_level_with_other_settings_than_it_began_with(place, level):
    """Those of the other levels may change."""
    window, path = NEXT[level]
    others = [f"{other}.l2=0.5" for other in NEXT if other != level]
    config = configs.override(CONFIG, [f"{level}.l2=0.25", *others])
    with refused(
        place,
        ValueError,
        rf"{path} was trained with other settings: {level}.l2=0.0 "
        r"\(now 0.25\). Use",
    ):
        stage(place, level, config, window)
    config = configs.override(CONFIG, others)
    stage(place, level, config, window)
    kept = configs.Config.from_json(place / "run/config.json")
    assert kept == config


@pytest.mark.parametrize(
    ("level", "window"),
    [
        ("tpm", Window(D1, D2)),
        ("cpm", Window(D3, D4)),
        ("ctr", Window(D5, D5)),
    ],
)
def test_other_settings_where_nothing_is_left_to_train(place, level, window):
    """The command does not look as if it had been followed."""
    config = configs.override(CONFIG, [f"{level}.l2=0.25"])
    with refused(place, ValueError, f"with other settings: {level}.l2=0.0"):
        stage(place, level, config, window)
    stage(place, level, window=window)


@pytest.mark.parametrize("level", ["cpm", "ctr"])
def test_historical_table_of_other_settings(place, level):
    config = configs.override(CONFIG, ["history.aggregation=last"])
    with refused(
        place,
        ValueError,
        f"historical/{D2} was aggregated with .*'mean'.*asks for .*'last'",
    ):
        stage(place, level, config, NEXT[level][0])


@pytest.mark.parametrize("level", NEXT)
def test_artefact_of_another_feature_spec(place, level):
    """The same days, converted anew without the price."""
    window, path = NEXT[level]
    shutil.rmtree(place / "data")
    spec = training_world.SMALL_SPEC.without(["price"])
    training_world.small_data(place / "data", spec=spec)
    with refused(
        place, ValueError, f"{path} was trained with the data spec.*train it"
    ):
        stage(place, level, window=window)


def another_id_space(place) -> None:
    shutil.rmtree(place / "data")
    training_world.small_data(place / "data", first_id=1000)


@pytest.mark.parametrize("level", ["tpm", "cpm"])
def test_artefact_of_another_id_space(place, level):
    window, path = NEXT[level]
    another_id_space(place)
    # Without history, whose table is of the other id space as well.
    config = configs.of_model(CONFIG, model("cpm_finetune"))
    with refused(
        place, ValueError, f"{path} was trained with another id space of table"
    ):
        stage(place, level, config, window)


def test_cpm_of_another_id_space_under_an_a_ctr(place):
    another_id_space(place)
    shutil.rmtree(place / "run/e_cdctr/ctr")
    config = configs.of_model(CONFIG, model("cpm_finetune"))
    data = DataDirectory(place / "data")
    run = Workdir(place / "run")
    level = Level(data, run, config, model("e_cdctr"), "ctr")
    trainer = daily.DailyTrainer(level)
    with refused(
        place, ValueError, f"cpm/{D4} was trained with another id space"
    ):
        trainer.run([Window(D5, D5)])


@pytest.mark.parametrize("level", ["cpm", "ctr"])
def test_historical_table_of_another_id_space(place, level):
    another_id_space(place)
    with refused(
        place, ValueError, f"historical/{D2} was trained with another id space"
    ):
        stage(place, level, window=NEXT[level][0])


def test_tpm_of_another_id_space_under_the_tables_of_a_cpm(place):
    """Matched by raw id all of them would be unknown, that is, row 0."""
    another_id_space(place)
    shutil.rmtree(place / "run/e_cdctr/cpm")
    config = configs.override(CONFIG, ["model.history=false"])
    with refused(
        place, ValueError, f"tpm/{D2} was trained with another id space"
    ):
        stage(place, "cpm", config, window=Window(D3, D4))


def test_vocabulary_cut_short(place):
    file = place / "data/ids/user.txt"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:5]))
    with refused(place, ValueError, "'user', of .* directory's, which has 6:"):
        stage(place, "ctr", window=Window(D6, D6))


def test_historical_table_that_saw_the_scored_day(place, tmp_path):
    """Under the name of an earlier day, made of a snapshot up to day 6."""
    shutil.move(tmp_path / "later/tpm", place / f"run/tpm/{D6}")
    target = place / f"run/historical/{D4}"
    historical.aggregate([place / f"run/tpm/{D6}"], target, CONFIG.history)
    shutil.rmtree(place / "run/e_cdctr/ctr")
    message = f"{target} is the artefact of {D6}, under another name"
    with refused(place, ValueError, message):
        stage(place, "ctr", window=Window(D5, D5))
    # It reaches beyond a CPM's window as well.
    shutil.rmtree(place / "run/e_cdctr/cpm")
    with refused(place, ValueError, message):
        stage(place, "cpm", window=Window(D3, D4))


def test_cpm_that_saw_the_scored_day(place, tmp_path):
    """A CPM up to day 6 under an earlier name."""
    path = place / f"run/e_cdctr/cpm/{D4}"
    shutil.rmtree(path)
    shutil.rmtree(place / "run/e_cdctr/ctr")
    shutil.move(tmp_path / "later/cpm", path)
    message = f"{path} is the artefact of {D6}, under another name"
    with refused(place, ValueError, message):
        stage(place, "ctr", window=Window(D5, D5))


def test_a_ctr_that_saw_the_scored_day(place):
    """The A-CTR of day 5 under an earlier name."""
    directory = place / "run/e_cdctr/ctr"
    (directory / D5).rename(directory / D4)
    message = f"{directory / D4} is the artefact of {D5}, under another name"
    with refused(place, ValueError, message):
        stage(place, "ctr", window=Window(D5, D5))


def test_tpm_that_saw_the_window_of_a_cpm(place, tmp_path):
    path = place / f"run/tpm/{D2}"
    shutil.rmtree(path)
    shutil.move(tmp_path / "later/tpm", path)
    shutil.rmtree(place / "run/e_cdctr/cpm")
    message = f"{path} is the artefact of {D6}, under another name"
    with refused(place, ValueError, message):
        stage(place, "cpm", window=Window(D3, D4))


@pytest.mark.parametrize("level", ["tpm", "cpm"])
def test_window_that_would_be_learned_twice(place, level):
    window, path = NEXT[level]
    window = Window(D2, D5) if level == "tpm" else Window(D4, D6)
    with refused(
        place, ValueError, f"{path} has learned the days .*begins after"
    ):
        stage(place, level, window=window)


def test_natural_window_without_rows(place):
    shutil.rmtree(place / f"data/natural/{D3}")
    data = DataDirectory(place / "data")
    data.write_day("natural", D3, [], {"user": 15, "item": 9})
    with refused(place, ValueError, f"no rows in {D3}..{D3}.*--start"):
        stage(place, "tpm", window=Window(D3, D3))


def test_tables_of_another_width(place):
    shutil.rmtree(place / "run/e_cdctr/cpm")
    config = configs.override(CONFIG, ["model.embedding_dim=5"])
    with refused(
        place,
        ValueError,
        "has width 3; the model has width 5. Set tpm_model.embedding_dim",
    ):
        stage(place, "cpm", config, window=Window(D3, D4))
