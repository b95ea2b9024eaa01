import dataclasses

import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import presets, windows

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


def test_presets_are_those_of_the_data_sets():
    assert NAMES == ["globo", "movielens", "seasonal", "synthetic"]


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
def test_levels_of_a_preset_share_one_network(name):
    config = presets.PRESETS[name]()
    assert configs.cpm_config(config).model == configs.ctr_config(config).model


@pytest.mark.parametrize("name", NAMES)
def test_tables_of_tpm_and_cpm_are_as_wide(name):
    """So that the CPM's can start from the TPM's."""
    config = presets.PRESETS[name]()
    assert config.history.start_tables
    assert config.tpm_model.embedding_dim == config.model.embedding_dim


@pytest.mark.parametrize("name", NAMES)
def test_e_cdctr_is_the_config_itself(name):
    config = presets.PRESETS[name]()
    assert presets.variant(config, "e_cdctr") == config


@pytest.mark.parametrize("model", ["cpm_finetune", "ads_only"])
@pytest.mark.parametrize("name", NAMES)
def test_variants_differ_in_transfer_only(name, model):
    config = presets.PRESETS[name]()
    variant = presets.variant(config, model)
    of_transfer = {"model.history", "history.start_tables"}
    if model == "ads_only":
        of_transfer.add("warm_start.from_cpm")
        of_training = {f for f in differing(config, variant) if f[:4] == "ctr."}
        of_transfer |= of_training
        assert variant.ctr == config.ads_only
    assert differing(config, variant) == of_transfer
    assert variant.model.history is False
    assert variant.history.start_tables is False


def test_extras_left_out_of_the_globo_preset_are_features_of_its_data():
    """The names have to be those that the data set's spec writes."""
    from ecdctr_tf.input import convert

    text = convert.find_spec("globo.toml").read_text()
    for name in presets.globo().model.exclude:
        assert f'"{name}"' in text
