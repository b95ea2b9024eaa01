import dataclasses

import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import presets, windows
from ecdctr_tf.model_table import MODELS, model

NAMES = sorted(presets.PRESETS)


def differing(one: configs.Config, other: configs.Config) -> set[str]:
    """Return the fields, as `model.history`, in which two configs differ."""
    flat = []
    for config in (one, other):
        found = {}
        for name, value in dataclasses.asdict(config).items():
            parts = value if isinstance(value, dict) else {"": value}
            for field, part in parts.items():
                found[f"{name}.{field}".rstrip(".")] = part
        flat.append(found)
    return {name for name in flat[0] if flat[0][name] != flat[1][name]}


def test_presets_are_those_of_the_data_sets_and_the_papers():
    assert NAMES == ["globo", "movielens", "paper", "seasonal", "synthetic"]


@pytest.mark.parametrize("name", NAMES)
def test_preset_builds_and_survives_json(name, tmp_path):
    config = presets.PRESETS[name]()
    path = tmp_path / "config.json"
    path.write_text(config.to_json())
    assert configs.Config.from_json(path) == config
    assert config != configs.Config()


@pytest.mark.parametrize("name", NAMES)
def test_dates_of_presets_are_dates_in_order(name):
    schedule = presets.PRESETS[name]().schedule
    for field in dataclasses.fields(schedule):
        value = getattr(schedule, field.name)
        if isinstance(value, str) and value:
            windows.day_number(value)
    if schedule.ctr_first and schedule.tpm_last and name != "seasonal":
        # There the TPM rolls on while ads are scored.
        assert schedule.tpm_last < schedule.ctr_first
    if schedule.ctr_first and schedule.report_first:
        assert schedule.ctr_first <= schedule.report_first


@pytest.mark.parametrize("name", NAMES)
def test_tables_of_tpm_and_cpm_are_as_wide(name):
    """So that the CPM's can start from the TPM's."""
    config = presets.PRESETS[name]()
    assert config.history.start_tables
    assert config.tpm_model.embedding_dim == config.model.embedding_dim


@pytest.mark.parametrize("name", NAMES)
def test_e_cdctr_is_the_config_itself(name):
    config = presets.PRESETS[name]()
    without = dataclasses.replace(config, of_models=())
    assert configs.of_model(config, model("e_cdctr")) == without


@pytest.mark.parametrize("row", MODELS.values(), ids=list(MODELS))
@pytest.mark.parametrize("name", NAMES)
def test_models_differ_in_transfer_and_training_only(name, row):
    config = dataclasses.replace(presets.PRESETS[name](), of_models=())
    found = configs.of_model(config, row)
    changed = {change.partition("=")[0] for change in row.changes}
    differ = {f for f in differing(config, found) if f[:4] != "ctr."}
    # Some of it may be as in the preset.
    assert differ <= changed
    rooms = {field.partition(".")[0] for field in changed}
    assert rooms <= {"model", "history", "warm_start"}
    # A model is trained as the A-CTR is, or from the defaults on.
    if row.training is None:
        assert found.ctr == config.ctr


def test_extras_left_out_of_the_globo_preset_are_features_of_its_data():
    """The names have to be those that the data set's spec writes."""
    from ecdctr_tf.input import convert

    text = convert.find_spec("globo.toml").read_text()
    for name in presets.globo().model.exclude:
        assert f'"{name}"' in text
