import dataclasses
import json

import pytest

from ecdctr_tf import config as config_lib
from ecdctr_tf.model_table import model

Config = config_lib.Config


def test_override_types_values_by_their_field():
    config = config_lib.override(
        Config(),
        [
            "seed=3",
            "model.embedding_dim=8",
            "model.hidden_units=128,64",
            "model.exclude=price,user_id",
            "model.attention=false",
            "model.batch_norm_momentum=0.25",
            "tpm.dense_learning_rate=1e-2",
            "history.aggregation=last",
            "schedule.tpm_first=2024-01-01",
        ],
    )
    assert config.seed == 3
    assert config.model.embedding_dim == 8
    assert config.model.hidden_units == (128, 64)
    assert config.model.exclude == ("price", "user_id")
    assert config.model.attention is False
    assert config.model.batch_norm_momentum == 0.25
    assert config.tpm.dense_learning_rate == 0.01
    assert config.history.aggregation == "last"
    assert config.schedule.tpm_first == "2024-01-01"


def test_override_changes_nothing_else():
    config = config_lib.override(Config(), ["cpm.passes=2"])
    expected = dataclasses.replace(Config().cpm, passes=2)
    assert config == dataclasses.replace(Config(), cpm=expected)
    assert Config().cpm.passes == 1


def test_override_of_the_same_field_takes_the_last():
    assert config_lib.override(Config(), ["seed=1", "seed=2"]).seed == 2


def test_override_may_hold_an_equals_sign_and_be_empty():
    config = config_lib.override(
        Config(), ["schedule.tpm_first=a=b", "model.hidden_units="]
    )
    assert config.schedule.tpm_first == "a=b"
    assert config.model.hidden_units == ()


@pytest.mark.parametrize("assignment", ["seed", "", "model.embedding_dim"])
def test_override_without_value_raises(assignment):
    with pytest.raises(ValueError, match="--set should be name.field=value"):
        config_lib.override(Config(), [assignment])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (
            "sed=1",
            "Unknown config field sed. The fields are seed, model, tpm_model",
        ),
        (
            "model.width=1",
            "Unknown config field model.width. .*model.embedding_dim",
        ),
        ("=1", "Unknown config field . The fields are seed"),
        ("model.=1", "Unknown config field model.. The fields are"),
    ],
)
def test_override_of_unknown_field_lists_the_known(assignment, message):
    with pytest.raises(ValueError, match=message):
        config_lib.override(Config(), [assignment])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed=x", "seed should be int. Received: 'x'"),
        ("seed=1.5", "seed should be int"),
        ("model.embedding_dim=1e3", "model.embedding_dim should be int"),
        (
            "model.batch_norm_momentum=much",
            "model.batch_norm_momentum should be",
        ),
        ("model.attention=1", "model.attention should be bool"),
        ("model.attention=yes", "model.attention should be bool"),
        ("model.hidden_units=64,x", "model.hidden_units should be int"),
        ("model=1", "model has fields of its own"),
        ("seed.x=1", "seed should be int"),
        ("history.aggregation.x=1", "history.aggregation should be str"),
    ],
)
def test_override_of_wrong_type_raises(assignment, message):
    with pytest.raises(ValueError, match=message):
        config_lib.override(Config(), [assignment])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.embedding_dim=0", "`embedding_dim` should be at least 1"),
        ("model.hidden_units=64,0", "`hidden_units` should be numbers of at"),
        ("model.batch_norm_momentum=1", r"`batch_norm_momentum` should be in"),
        ("model.batch_norm_momentum=nan", "batch_norm_momentum should be"),
        ("model.cross_layers=-1", "`cross_layers` should be at least 0"),
        ("model.batch_norm_momentum=1", "`batch_norm_momentum` should be in"),
        ("ctr.batch_size=-1", "`batch_size` should be at least 0"),
        ("ctr.passes=0", "`passes` should be at least 1"),
        ("ctr.table_learning_rate=0", "`table_learning_rate` should be above"),
        ("ctr.dense_learning_rate=inf", "dense_learning_rate should be float"),
        ("ctr.l2=-1", "`l2` should be at least 0"),
        ("ctr.table_optimizer=sgd", "`table_optimizer` should be one of lazy"),
        (
            "history.aggregation=sum",
            "`aggregation` should be one of last, mean",
        ),
        ("history.snapshots=0", "`snapshots` should be at least 1"),
        ("history.decay=0", r"`decay` should be in \(0, 1\]"),
        ("history.dropout=1", r"`dropout` should be in \[0, 1\)"),
        ("warm_start.batch_norm=half", "`batch_norm` should be one of keep"),
        ("warm_start.min_restored=2", r"`min_restored` should be in \[0, 1\]"),
        ("schedule.cpm_days=0", "`cpm_days` should be at least 1"),
        ("schedule.ctr_days=0", "`ctr_days` should be at least 1"),
        ("schedule.tpm_days=-1", "`tpm_days` should be at least 0"),
        ("schedule.cpm_every=-1", "`cpm_every` should be at least 0"),
        ("seed=-1", "`seed` should be at least 0"),
    ],
)
def test_override_out_of_range_raises(assignment, message):
    with pytest.raises(ValueError, match=message):
        config_lib.override(Config(), [assignment])


def test_config_survives_its_file(tmp_path):
    config = config_lib.override(
        Config(),
        ["seed=5", "model.hidden_units=9,8", "tpm_model.exclude=price"],
    )
    (tmp_path / "config.json").write_text(config.to_json())
    assert Config.from_json(tmp_path / "config.json") == config


def test_from_json_fills_what_the_file_lacks(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(
        '{"model": {"hidden_units": [7], "batch_norm_momentum": 0}}'
    )
    config = Config.from_json(path)
    assert config.model.hidden_units == (7,)
    assert isinstance(config.model.batch_norm_momentum, float)
    model = dataclasses.replace(
        config.model, hidden_units=(64, 32), batch_norm_momentum=0.9
    )
    assert dataclasses.replace(config, model=model) == Config()


def test_from_json_without_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json does not exist"):
        Config.from_json(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json is not JSON"),
        ("[1]", "config.json should hold the fields of a config"),
        ("null", "config.json should hold the fields of a config"),
        ('{"sed": 1}', "Unknown config field sed"),
        ('{"seed": null}', "seed should be int"),
        ('{"seed": true}', "seed should be int"),
        ('{"seed": Infinity}', "Infinity is not a number"),
        ('{"model": {"hidden_units": 64}}', "model.hidden_units should be"),
        ('{"model": {"attention": 1}}', "model.attention should be bool"),
        ('{"schedule": {"tpm_first": 20240101}}', "tpm_first should be str"),
        ('{"model": []}', "model has fields of its own"),
    ],
)
def test_from_json_of_other_text_raises(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        Config.from_json(path)
    assert str(raised.value).startswith(str(path))


def test_to_json_is_plain_json():
    values = json.loads(Config().to_json())
    assert values["model"]["hidden_units"] == [64, 32]
    assert set(values) == {field.name for field in dataclasses.fields(Config)}


def test_settings_of_one_model_are_kept_apart():
    """They are carried out where the config of the model is made."""
    config = config_lib.override(
        Config(), ["ads_only.batch_size=64", "ads_only.passes=2"]
    )
    assert config.of_models == ("ads_only.batch_size=64", "ads_only.passes=2")
    assert config.ctr == Config().ctr
    training = config_lib.of_model(config, model("ads_only")).ctr
    assert (training.batch_size, training.passes) == (64, 2)
    assert config_lib.of_model(config, model("e_cdctr")).ctr == config.ctr


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("ads_only.batch_sise=64", "Unknown config field ctr.batch_sise"),
        ("ads_only.batch_size=-1", "`batch_size` should be at least 0"),
        ("ads_only=64", "ctr"),
        ("of_models=adz_only.passes=2", "Unknown model 'adz_only'"),
    ],
)
def test_settings_of_one_model_are_checked(assignment, message):
    with pytest.raises(ValueError, match=message):
        config_lib.override(Config(), [assignment])


# Ads only and joint models are not tuned by the settings of the A-CTR.
@pytest.mark.parametrize("name", ["ads_only", "joint"])
def test_models_with_training_of_their_own(name):
    config = config_lib.override(Config(), ["ctr.passes=3", "ctr.l2=0.5"])
    found = config_lib.of_model(config, model(name))
    assert found.ctr == config_lib.TrainingConfig()
    assert found.model.history is False


def test_e_cdctr_is_the_config_itself():
    config = config_lib.override(Config(), ["cpm.passes=3"])
    assert config_lib.of_model(config, model("e_cdctr")) == config


def test_tpm_is_tiny_and_reads_no_history():
    config = Config()
    assert config.tpm_model.history is False
    assert config.tpm_model.attention is False
    assert config.tpm_model.embedding_dim == config.model.embedding_dim


def test_configs_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError, match="seed"):
        Config().seed = 1


def test_every_part_has_at_most_a_dozen_fields():
    for field in dataclasses.fields(Config):
        if dataclasses.is_dataclass(field.type):
            assert len(dataclasses.fields(field.type)) <= 12, field.name
