"""Exports whose requests bring the historical vectors, from a feature store."""

import dataclasses
import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from ecdctr_tf import features
from ecdctr_tf.export import (
    contract,
    folded,
    given_history,
    probe,
    saved_model,
    signatures,
)
from ecdctr_tf.input import id_space
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.joint import JointModel
from ecdctr_tf.models.mixture import MixedModel
from tests import test_folded
from tests.test_folded import DIM, PLAIN, made, spaces_of

NAMES = ("user_id", "item_id", "category")
VERSION = given_history.VERSION


def of_known_ids(spec=PLAIN) -> CTRModel:
    """Return a model without history of unknown ids, as trained ones are."""
    model = made(spec)
    for table in model.history_tables.values():
        present = table.present.numpy().reshape(table.versions, table.rows)
        present[:, 0] = False
        table.present.assign(present.ravel())
    return model


def mixture(*experts) -> MixedModel:
    weights = np.full([4, len(experts) + 1], 0.3)
    return MixedModel(experts, weights, -2.0, (0.9, 0.1), 8.0)


class Served:
    """A model whose requests bring history, and the same with it inside."""

    def __init__(self, path, model, spec=PLAIN):
        self.spaces = spaces_of(spec)
        self.given = given_history.of(model, self.spaces)
        self.path = path / "given"
        self.path.mkdir()
        given_history.write(self.path, self.given, model, self.spaces)
        self._inside = path / "inside"
        self._model = model
        for table in self.given.spec.tables:
            self.spaces.setdefault(table.name, id_space.new(table))
        self.cases = probe.cases(model, self.spaces, self.given)
        form = folded.of(model, self.rows(), given=self.given)
        saved_model.write(form, self.spaces, self.path)
        self.ask = tf.saved_model.load(self.path).signatures

    def inside(self):
        """Return the signatures of the model with its history inside."""
        self._inside.mkdir()
        form = folded.of(self._model, self.rows())
        spaces = {t.name: self.spaces[t.name] for t in self._model.spec.tables}
        saved_model.write(form, spaces, self._inside)
        return tf.saved_model.load(self._inside).signatures

    def rows(self):
        return {name: space.rows for name, space in self.spaces.items()}

    def stored(self, table):
        return pq.read_table(
            self.path / given_history.DIRECTORY / f"{table}.parquet"
        )

    def vectors(self, ids) -> dict:
        """Return what a feature store says of the ids of a request."""
        found = {}
        for name in NAMES:
            table = self.stored(self.given.spec.feature(name).table).to_pydict()
            known = dict(zip(table[name], table[f"{name}_vector"], strict=True))
            none = [np.nan] * DIM
            rows = [known.get(int(raw), none) for raw in ids[name].ravel()]
            shape = [*ids[name].shape, DIM]
            found[f"{name}_vector"] = np.float32(rows).reshape(shape)
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Served:
    return Served(tmp_path_factory.mktemp("given"), of_known_ids())


IDS = {
    "user_id": np.array([100, 104, 99, 107]),
    "item_id": np.array([100, 105, 111, 99]),
    "category": np.array([100, 101, 102, 103]),
}
CLICKED = np.full([4, 1], -1)


def request(served, version, ids=IDS, **others) -> dict:
    users = len(ids["user_id"])
    sent = {
        **ids,
        "clicked": CLICKED[:users],
        **served.vectors(ids),
        VERSION: np.full(users, version, object),
        **others,
    }
    return {name: tf.constant(column) for name, column in sent.items()}


@pytest.mark.parametrize("kind", ["one", "mixture"])
def test_all_signatures_answer_as_the_model(tmp_path, kind):
    model = of_known_ids(test_folded.EVERY_KIND)
    if kind == "mixture":
        model = mixture(of_known_ids(), made(history=False))
    served = Served(tmp_path, model, model.spec)
    contract.check(served.path, served.given.spec, [])
    assert set(served.ask) == {case.signature for case in served.cases.values()}
    assert signatures.EMBEDDINGS not in served.ask
    for case in served.cases.values():
        sent = {name: tf.constant(of) for name, of in case.inputs.items()}
        answers = served.ask[case.signature](**sent)
        for name, wanted in case.outputs.items():
            found = answers[name].numpy()
            if wanted.dtype == object:
                assert found.tolist() == wanted.tolist()
            else:
                # Two floats, of logits that are large.
                np.testing.assert_allclose(found, wanted, 2.5e-7, 4e-6)


def test_stored_vectors_give_what_the_tables_gave(served):
    ask = request(served, served.given.version)
    found = served.ask[signatures.DEFAULT](**ask)
    inside = {name: ask[name] for name in (*IDS, "clicked")}
    wanted = served.inside()[signatures.DEFAULT](**inside)
    np.testing.assert_allclose(found["logit"], wanted["logit"], atol=2e-6)
    assert found[given_history.IGNORED].numpy().tolist() == [0] * 4


def test_vectors_of_another_version_are_none_and_counted(served):
    found = served.ask[signatures.DEFAULT](**request(served, "2024-01-01-x"))
    empty = {f"{n}_vector": np.full([4, DIM], np.nan, "f") for n in NAMES}
    version = served.given.version
    none = served.ask[signatures.DEFAULT](**request(served, version, **empty))
    np.testing.assert_array_equal(found["logit"], none["logit"])
    brought = sum(
        ~np.isnan(vector).any(axis=1) for vector in served.vectors(IDS).values()
    )
    assert brought.max() == 3 and brought.min() < 3
    np.testing.assert_array_equal(found[given_history.IGNORED], brought)
    assert none[given_history.IGNORED].numpy().tolist() == [0] * 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_none(served, value):
    vectors = served.vectors(IDS)["user_id_vector"]
    vectors[0, 1] = value
    ask = request(served, served.given.version, user_id_vector=vectors)
    found = served.ask[signatures.DEFAULT](**ask)
    vectors[0] = np.nan
    ask = request(served, served.given.version, user_id_vector=vectors)
    wanted = served.ask[signatures.DEFAULT](**ask)
    np.testing.assert_array_equal(found["logit"], wanted["logit"])


def test_a_version_is_that_of_a_user_with_all_candidates(served):
    ids = {
        "user_id": IDS["user_id"][:2],
        "item_id": np.array([[100, 105, 111], [100, 99, 105]]),
        "category": np.array([[100, 101, 102], [103, 100, 100]]),
    }
    ask = request(served, served.given.version, ids)
    versions = [served.given.version, "another"]
    found = served.ask[signatures.RANK](
        **ask | {VERSION: tf.constant(versions)}
    )
    whole = served.ask[signatures.RANK](**ask)
    np.testing.assert_array_equal(found["ctr"][0], whole["ctr"][0])
    assert np.all(found["ctr"][1] != whole["ctr"][1])
    vectors = served.vectors(ids)
    brought = sum(
        ~np.isnan(vectors[f"{name}_vector"]).any(axis=-1)
        for name in ("item_id", "category")
    )
    user = ~np.isnan(vectors["user_id_vector"]).any(axis=1)[:, np.newaxis]
    assert found[given_history.IGNORED].numpy().tolist() == [
        [0, 0, 0],
        (brought + user)[1].tolist(),
    ]


def test_files_for_the_feature_store(served):
    model = made()
    table = served.stored("user")
    assert table.column_names == [
        "user_id",
        "user_id_vector",
        "history_version",
        "event_timestamp",
    ]
    rows = np.array(table["user_id"]) - 100 + 1
    days = tf.fill([len(rows)], signatures.NEWEST_DAY)
    vectors, known = model.recall("user_id", tf.constant(rows, "int32"), days)
    assert known.numpy().all()
    every = tf.range(1, test_folded.ROWS["user"])
    _, held = model.recall("user_id", every, tf.fill(every.shape, 2**31 - 1))
    assert len(rows) == held.numpy().sum() < len(every)
    np.testing.assert_array_equal(
        table["user_id_vector"].to_pylist(), vectors.numpy()
    )
    assert table["history_version"].unique().to_pylist() == [
        served.given.version
    ]
    # The newest version is visible from day 130 on.
    first = datetime.datetime(1970, 5, 11, tzinfo=datetime.UTC)
    assert table["event_timestamp"].unique().to_pylist() == [first]
    assert served.given.version.startswith("1970-05-11-")


@pytest.mark.parametrize("hours", [8, -5])
def test_a_vector_dates_from_when_its_day_begins_in_its_zone(tmp_path, hours):
    """Otherwise a store would show it to rows of the day before, or late."""
    model, spaces = made(), spaces_of(PLAIN)
    zone = datetime.timezone(datetime.timedelta(hours=hours))
    given = given_history.of(model, spaces)
    given_history.write(tmp_path, given, model, spaces, zone)
    file = tmp_path / given_history.DIRECTORY / "user.parquet"
    (since,) = pq.read_table(file)["event_timestamp"].unique().to_pylist()
    assert since == datetime.datetime(1970, 5, 11, tzinfo=zone)
    assert given.version.startswith("1970-05-11-")


def test_a_version_names_its_vectors():
    model, spaces = made(), spaces_of(PLAIN)
    before = given_history.of(model, spaces).version
    assert given_history.of(made(), spaces_of(PLAIN)).version == before
    other = made()
    vectors = other.history_tables["item"].vectors
    held = np.flatnonzero(other.history_tables["item"].present.numpy())[-1]
    vectors.scatter_nd_update([[held, 0]], [0.123])
    assert given_history.of(other, spaces).version != before
    spaces["user"] = id_space.new(spaces["user"].table)
    spaces["user"].append(np.arange(test_folded.ROWS["user"] - 1) + 500)
    assert given_history.of(model, spaces).version != before


def test_a_model_that_cannot_do_without_history_is_a_warning(caplog):
    model = made()
    given_history.of(model, spaces_of(PLAIN))
    assert "trained with history.dropout=0" in caplog.text
    caplog.clear()
    model.history_dropout = 0.1
    given_history.of(model, spaces_of(PLAIN))
    assert not caplog.text


def test_networks_and_ids_that_cannot_bring_history_are_refused():
    spaces = spaces_of(PLAIN)
    with pytest.raises(ValueError, match="no historical embeddings"):
        given_history.of(made(history=False), spaces)
    with pytest.raises(ValueError, match="ways of their own"):
        several = made(mode="attention")
        given_history.of(mixture(made(), several), spaces)
    given = given_history.of(made(), spaces)
    with pytest.raises(ValueError, match="for a JointModel"):
        folded.of(made(network=JointModel), test_folded.ROWS, given=given)
    hashed = features.TableSpec("user", "hashing", buckets=10)
    spec = dataclasses.replace(PLAIN, tables=(hashed, *PLAIN.tables[1:]))
    with pytest.raises(ValueError, match="table 'user' are hashed"):
        given_history.of(made(spec), spaces_of(spec))
