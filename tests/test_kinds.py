"""Kinds of features: what holds for all, and one that only this file knows."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features, kinds, windows
from ecdctr_tf.diagnostics import domain_shift, logistic
from ecdctr_tf.export import folded, probe, saved_model, verify
from ecdctr_tf.input import blocks, data_directory, examples, streams
from ecdctr_tf.input.conversion import converter, toml_spec
from ecdctr_tf.kinds import listed
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.optimizers.lazy_adam import LazyAdam
from ecdctr_tf.transfer import checkpoint
from tests import conftest


def test_every_kind_says_what_its_specs_hold():
    assert list(kinds.KINDS) == list(features.KINDS)


def test_kinds_follow_each_other_as_in_the_table(tiny_spec):
    mixed = tiny_spec.select([f.name for f in tiny_spec.features])
    assert [f.name for f in kinds.of(mixed)] == [
        feature.name for feature in tiny_spec.features
    ]
    swapped = features.DataSpec(tiny_spec.tables, tiny_spec.features[::-1])
    names = [feature.name for feature in kinds.by_kind(swapped)]
    assert names == ["category", "item_id", "user_id", "clicked", "price"]
    assert [f.name for f in kinds.ids(swapped)] == names[:3]


# Of the files as they were before kinds were classes: readers of any version
# read those of any other.
@pytest.mark.parametrize(
    ("module", "sha256"),
    [
        (
            blocks,
            "d6d4efcf4c1789dd794bf3e3b79e56aa866442079b0ebbb508856dd4c2e3d228",
        ),
        (
            examples,
            "df9c5e6f45434b9977b31a9cfe21b54bd2199a0d36cc84b38872119ca99656f1",
        ),
    ],
)
def test_bytes_on_disk_stay_as_they_are(tiny_spec, tmp_path, module, sha256):
    rows = conftest.tiny_rows("2024-01-01", 0, 10)
    module.write(tmp_path / "f", rows, tiny_spec)
    written = (tmp_path / "f").read_bytes()
    assert hashlib.sha256(written).hexdigest() == sha256


def test_order_of_inputs_and_names_in_checkpoints_stay(tiny_spec):
    """Ids, products, sequences, numbers, whatever the order of the spec."""
    spec = features.DataSpec(tiny_spec.tables, tiny_spec.features[::-1])
    config = configs.ModelConfig(embedding_dim=2, hidden_units=(3,))
    rows = {"user": 6, "item": 8, "category": 4}
    model = CTRModel(spec, config, rows).build_from_spec()
    inputs = {
        "user_id": tf.constant([1]),
        "item_id": tf.constant([2]),
        "category": tf.constant([3]),
        "clicked": tf.constant([[4, 5, -1]]),
        "price": tf.constant([7.0]),
    }
    user, item, category, *clicked = (
        model.embedding.tables[table].embeddings.numpy()[row]
        for table, row in [
            *(("user", 1), ("item", 2), ("category", 3)),
            *(("item", 4), ("item", 5)),
        ]
    )
    pooled = model.feature_layers["attention_clicked"](
        item[np.newaxis], np.array([clicked]), tf.constant([[True, True]])
    )
    expected = [category, item, user, user * item, pooled[0]]
    model.adapt({"price": np.array([2.0, 4.0, np.nan], np.float32)})
    read, scaled = model._inputs(inputs, model.embedding(inputs), False)
    np.testing.assert_allclose(read, [np.concatenate(expected)], 1e-6)
    np.testing.assert_allclose(scaled, [[[4.0, 0.0]]])
    kept = checkpoint.named_variables(model.parts())
    assert [name for name in kept if "attention" in name] == [
        "feature_layers/attention_clicked/hidden/bias",
        "feature_layers/attention_clicked/hidden/kernel",
        "feature_layers/attention_clicked/score/bias",
        "feature_layers/attention_clicked/score/kernel",
    ]


def test_pad_puts_padding_behind_the_entries():
    padded = listed.pad(tf.constant([1, 2, 3, 4]), tf.constant([0, 1, 3]), 2)
    assert padded.shape[1] == 2
    np.testing.assert_array_equal(padded, [[-1, -1], [1, -1], [3, 4]])
    assert features.PADDING == -1


# Where no row is too long none is cut, which is another way through `pad`.
@pytest.mark.parametrize("max_length", [3, 4])
def test_pad_of_short_rows_keeps_all_entries(max_length):
    padded = listed.pad(
        tf.constant([1, 2, 3, 4]), tf.constant([0, 1, 3]), max_length
    )
    np.testing.assert_array_equal(
        padded[:, :3], [[-1, -1, -1], [1, -1, -1], [2, 3, 4]]
    )
    assert padded.shape == [3, max_length]


def test_pad_of_no_rows_has_no_rows():
    none = tf.zeros([0], tf.int32)
    assert listed.pad(none, none, 2).shape == [0, 2]


class Rated(kinds.Feature):
    """An id with a number: the id's embedding times the number.

    Two columns of a batch, of two types, one of them on a table; a log has both
    in one text, `<id>:<number>`.
    """

    in_logs = True

    @property
    def number(self):
        return f"{self.name}/number"

    @property
    def sent(self):
        return f"{self.name}_number"

    def log_type(self):
        return pa.string()

    def encode(self, raw, number):
        parts = pc.split_pattern(raw, ":")
        ids = pc.list_element(parts, 0).cast(pa.int64())
        numbers = pc.list_element(parts, 1).cast(pa.float32())
        return {
            self.name: number(self.table.name, ids),
            self.number: numbers.to_numpy(),
        }

    def columns(self):
        return {
            self.name: kinds.Column("int32"),
            self.number: kinds.Column("float32"),
        }

    def example_features(self, raw):
        return {
            self.name: tf.io.FixedLenFeature([], tf.int64),
            (self.sent if raw else self.number): tf.io.FixedLenFeature(
                [], tf.float32
            ),
        }

    def example_values(self, columns, raw):
        number = self.sent if raw else self.number
        names = (self.name, number)
        return {n: columns[n][:, np.newaxis].tolist() for n in names}

    def id_columns(self):
        return {self.name: self.table.name}

    def layers(self, config):
        return {f"scale_{self.name}": keras.layers.Dense(1)}

    def inputs(self, batch, embedded, layers):
        scale = layers[f"scale_{self.name}"](batch[self.number][:, tf.newaxis])
        return [embedded[self.name] * scale]

    def request(self):
        return {
            self.name: kinds.Column("int64"),
            self.sent: kinds.Column("float32"),
        }

    def from_request(self, raw, mappings):
        rows = mappings[self.table.name].rows(raw[self.name])
        return {self.name: rows, self.number: raw[self.sent]}

    def made_up(self, random, ids, count):
        return {
            self.name: np.resize(ids[self.table.name], count),
            self.sent: random.normal(size=count).astype(np.float32),
        }

    def looked_up(self, raw, spaces):
        rows = spaces[self.table.name].lookup(raw[self.name])
        return {self.name: rows, self.number: raw[self.sent]}

    def codes(self, columns, train):
        return columns[self.name] * 2 + (columns[self.number] > 0)


@pytest.fixture
def rated(monkeypatch):
    """Add the kind: a row in each of the two tables."""
    monkeypatch.setitem(features.KINDS, "rated", ("table",))
    monkeypatch.setitem(kinds.KINDS, "rated", Rated)


DAYS = windows.Window("2024-01-01", "2024-01-02")
TAGS, NUMBERS = [7, 8, 9], [0.5, -1.0, 2.0]


def converted(path, file_format):
    """Convert 30 rows of two days with one feature of the kind."""
    spec = toml_spec.from_dict(
        {
            "tables": [{"name": "user"}, {"name": "item"}, {"name": "tag"}],
            "features": [
                {
                    "name": "user_id",
                    "table": "user",
                    "side": "user",
                    "basic": True,
                },
                {
                    "name": "item_id",
                    "table": "item",
                    "side": "item",
                    "basic": True,
                },
                {"name": "tag", "kind": "rated", "table": "tag"},
            ],
        }
    )
    number = np.arange(30)
    table = pa.table(
        {
            "user_id": number % 4,
            "item_id": number % 5,
            "tag": [f"{TAGS[n % 3]}:{NUMBERS[n % 3]}" for n in number],
            "timestamp": 1_704_067_200 + number * 5000,
            "click": number % 2,
        }
    )
    converter.convert_tables(
        spec, [("ads", table)], path, file_format, progress=False
    )
    return data_directory.DataDirectory(path)


@pytest.mark.parametrize("file_format", ["blocks", "examples"])
def test_a_new_kind_goes_from_logs_to_batches(rated, tmp_path, file_format):
    data = converted(tmp_path / "data", file_format)
    assert data.id_spaces["tag"].ids.tolist() == TAGS
    columns = streams.read_columns(data, "ads", DAYS)
    np.testing.assert_array_equal(columns["tag"], np.arange(30) % 3 + 1)
    np.testing.assert_array_equal(
        columns["tag/number"], np.resize(NUMBERS, 30).astype(np.float32)
    )
    shuffled = list(streams.batches(data, "ads", DAYS, 8, seed=1))
    pairs = {
        (int(tag), float(number))
        for inputs, _ in shuffled
        for tag, number in zip(inputs["tag"], inputs["tag/number"], strict=True)
    }
    assert pairs == {(1, 0.5), (2, -1.0), (3, 2.0)}
    sample = domain_shift.sample(data, "ads", DAYS.first, 5, 0, data.spec)
    assert set(sample) == {"user_id", "item_id", "tag", "tag/number"}
    codes = logistic.encode(data.spec, columns, np.ones(30, bool))
    assert codes[:3, 2].tolist() == [3, 4, 7]


def test_a_new_kind_is_trained_on_and_served(rated, tmp_path):
    data = converted(tmp_path / "data", "blocks")
    config = configs.ModelConfig(embedding_dim=4, hidden_units=(4,))
    rows = {name: space.rows for name, space in data.id_spaces.items()}
    model = CTRModel(data.spec, config, rows).build_from_spec()
    model.compile(LazyAdam(0.01), LazyAdam(0.01))
    before = {
        name: variable.numpy()
        for name, variable in checkpoint.named_variables(model.parts()).items()
    }
    model.fit(streams.batches(data, "ads", DAYS, 8, seed=1), verbose=0)
    after = checkpoint.named_variables(model.parts())
    for name in (
        "embedding/tables/tag/embeddings",
        "feature_layers/scale_tag/kernel",
    ):
        assert np.abs(after[name].numpy() - before[name]).max() > 1e-4, name
    saved = tmp_path / "saved"
    saved.mkdir()
    saved_model.write(folded.of(model, rows), data.id_spaces, saved)
    raw = probe.requests(data.spec, data.id_spaces)
    assert set(raw) == {"user_id", "item_id", "tag", "tag_number"}
    answers = probe.expected(model, raw, data.id_spaces)
    verify.check(saved, model.spec, [], probe.cases(model, data.id_spaces))
    raw["tag_number"] = raw["tag_number"] + 1
    others = probe.expected(model, raw, data.id_spaces)
    assert np.abs(others["logit"] - answers["logit"]).max() > 1e-6


def test_a_new_kind_has_the_fields_that_its_row_says(rated):
    with pytest.raises(ValueError, match="`table` of feature 'tag'"):
        features.FeatureSpec("tag", "rated")
    with pytest.raises(ValueError, match="`max_length` of feature 'tag'"):
        features.FeatureSpec("tag", "rated", "tag", max_length=2)
