import dataclasses
import json

import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import store, windows
from ecdctr_tf.training import workdir

CONFIG = configs.Config()


@pytest.fixture
def run(tmp_path):
    """A work directory begun with the default config."""
    run = workdir.Workdir(tmp_path / "run")
    run.open(CONFIG)
    return run


def kept(run) -> configs.Config:
    return configs.Config.from_json(run.path / "config.json")


def test_paths_are_those_of_the_layout(tmp_path):
    run = workdir.Workdir(tmp_path)
    assert run.tpm == tmp_path / "tpm"
    assert run.historical == tmp_path / "historical"
    assert run.cpm("e_cdctr") == tmp_path / "e_cdctr" / "cpm"
    assert run.ctr("ads_only") == tmp_path / "ads_only" / "ctr"
    assert run.progress("tpm", "x") == tmp_path / ".progress" / "tpm" / "x"
    assert run.tensorboard("tpm") == tmp_path / "tensorboard" / "tpm"


def test_open_keeps_the_config(run):
    assert kept(run) == CONFIG


def test_open_again_with_the_same_config(run):
    run.open(configs.Config())
    assert kept(run) == CONFIG


def test_schedule_may_change_and_is_kept(run):
    later = configs.override(CONFIG, ["schedule.ctr_last=2024-05-01"])
    run.open(later)
    assert kept(run) == later


def test_fields_that_differ_are_named_and_only_those(run):
    other = configs.override(
        CONFIG,
        [
            "seed=1",
            "model.embedding_dim=8",
            "ctr.passes=2",
            "schedule.cpm_days=3",
        ],
    )
    with pytest.raises(ValueError, match="begun with another config") as error:
        run.open(other)
    named = str(error.value).split("differ: ")[1].split(". ")[0]
    assert named == "ctr.passes, model.embedding_dim, seed"
    assert str(run.path) in str(error.value)
    assert "Use another --workdir" in str(error.value)
    assert kept(run) == CONFIG


def test_hidden_units_are_compared_as_kept_in_json(tmp_path):
    """JSON knows no tuples."""
    config = dataclasses.replace(
        CONFIG, model=configs.ModelConfig(hidden_units=(8, 4))
    )
    run = workdir.Workdir(tmp_path / "run")
    run.open(config)
    run.open(config)
    with pytest.raises(ValueError, match="differ: model.hidden_units."):
        run.open(CONFIG)


def test_config_of_an_older_version_has_the_defaults(run):
    """Fields and whole parts may have come after a run was begun."""
    file = run.path / "config.json"
    values = json.loads(file.read_text())
    del values["warm_start"], values["model"]["batch_norm_momentum"]
    file.write_text(json.dumps(values))
    run.open(CONFIG)
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="differ: warm_start.min_restored."):
        run.open(configs.override(CONFIG, ["warm_start.min_restored=0.9"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.json is not JSON"),
        ('{"seed": 0', "config.json is not JSON"),
        ("[1, 2]", "config.json should hold the fields"),
        ('{"sed": 0}', "no config field sed"),
        ('{"seed": "none"}', "seed should be int"),
    ],
)
def test_damaged_config_raises(run, text, message):
    (run.path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        run.open(CONFIG)
    assert str(run.path) in str(error.value)
    assert "Put back" in str(error.value)
    assert (run.path / "config.json").read_text() == text


def test_newest_before_is_strictly_before(tmp_path):
    for day in ("2024-01-01", "2024-01-05"):
        manifest = store.Manifest("cpm", windows.Window(day, day))
        with store.publish(tmp_path / day, manifest):
            pass
    (tmp_path / ".staging-2024-01-03").mkdir()
    newest = workdir.newest_before
    assert newest(tmp_path, "2024-01-01") is None
    assert newest(tmp_path, "2024-01-05") == tmp_path / "2024-01-01"
    assert newest(tmp_path, "2024-01-06") == tmp_path / "2024-01-05"
    assert newest(tmp_path / "nowhere", "2024-01-06") is None
