"""One export is made for the module; what it answers is looked at from here.

The data set has ids of every kind: exact and hashed, numbers and text, one
bucket and several, and ids that the data directory got after the artefact.
"""

import json
import os
import pathlib
import shutil
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from ecdctr_tf import (
    artefacts,
    export,
    features,
    model_table,
    scoring,
    store,
    windows,
)
from ecdctr_tf import config as configs
from ecdctr_tf.export import (
    batching,
    client,
    contract,
    folded,
    fresh_process,
    load,
    probe,
    saved_model,
    signatures,
    verify,
    warm_up,
)
from ecdctr_tf.export.checks import files, subject
from ecdctr_tf.input import data_directory, id_space
from ecdctr_tf.training import daily, history, natural
from ecdctr_tf.training import level as levels
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint, historical
from tests import training_world

DAY, VERSION, DIM, NEWEST_DAY = "2024-02-03", "20240203", 4, 2**31 - 1
VERSIONS = ("2023-11-30", "2023-12-31", "2024-01-31")
USERS, ITEMS = np.arange(100, 110), np.arange(200, 212)
CATEGORIES = ["books", "films", "", "a\rb"]
# What the artefact knows: 9 users, 10 items, all categories.
TABLE_ROWS = {"user": 1 + 9, "item": 3 + 10, "category": 1 + 4, "city": 5}

SPEC = features.DataSpec(
    tables=(
        features.TableSpec("user"),
        features.TableSpec("item", buckets=3),
        features.TableSpec("category", dtype="string"),
        features.TableSpec("city", "hashing", "string", buckets=5),
    ),
    features=(
        features.FeatureSpec("user_id", "id", "user", "user", basic=True),
        features.FeatureSpec("item_id", "id", "item", "item", basic=True),
        features.FeatureSpec("category", "id", "category", "item"),
        features.FeatureSpec("city", "id", "city"),
        features.FeatureSpec(
            "clicked", "sequence", "item", "user", max_length=3
        ),
        features.FeatureSpec(
            "seen", "sequence", "category", "user", max_length=2
        ),
        features.FeatureSpec("price", "dense"),
        features.FeatureSpec("age", "dense"),
    ),
)
# Known, known, unknown to the data, later than the artefact.
RAW = {
    "user_id": np.array([100, 108, 7, 109]),
    "item_id": np.array([200, 209, 7, 211]),
    "category": np.array(["books", "a\rb", "no", "films"]),
    "city": np.array(["rome", "oslo", "", "rome"]),
    "clicked": np.array(
        [
            [200, 201, 202, 203, 204],
            [205, -1, -1, -1, -1],
            [-1, -1, -1, -1, -1],
            [7, 206, 211, -1, -1],
        ]
    ),
    "seen": np.array(
        [["films", "no"], ["books", ""], ["", ""], ["a\rb", "films"]]
    ),
    "price": np.array([0.5, -1.0, 2.0, 0.0], np.float32),
    "age": np.array([1.0, 0.0, -0.5, 3.0], np.float32),
}


def hashed(text, buckets):
    return int(tf.strings.to_hash_bucket_fast(text, buckets))


def rows_by_hand():
    """Return the rows that `RAW` stands for."""
    unknown, later = hashed("7", 3), hashed("211", 3)
    return {
        "user_id": np.array([1, 9, 0, 0], np.int32),
        "item_id": np.array([3, 12, unknown, later], np.int32),
        "category": np.array([1, 4, 0, 2], np.int32),
        "city": np.array(
            [hashed(c, 5) for c in ("rome", "oslo", "", "rome")], np.int32
        ),
        "clicked": np.array(
            [[5, 6, 7], [8, -1, -1], [-1, -1, -1], [unknown, 9, later]],
            np.int32,
        ),
        "seen": np.array([[2, 0], [1, -1], [-1, -1], [4, 2]], np.int32),
        "price": RAW["price"],
        "age": RAW["age"],
        "day": np.full(4, NEWEST_DAY, np.int32),
    }


def write_data(path, items=ITEMS, spec=SPEC):
    path.mkdir(parents=True)
    spec.save(path / data_directory.SPEC)
    raw = {"user": USERS, "item": items, "category": CATEGORIES, "city": []}
    for table in spec.tables:
        space = id_space.new(table)
        space.append(raw[table.name])
        space.save(path / "ids")
    return data_directory.DataDirectory(path)


def write_history(directory, data):
    """Publish versions of vectors of some users and items; return them."""
    random = np.random.default_rng(1)
    for last in VERSIONS:
        arrays = {}
        for table, ids in (("user", USERS[:6]), ("item", ITEMS[2:9])):
            some = ids[random.random(len(ids)) < 0.7]
            vectors = random.normal(size=[len(some), DIM])
            arrays[f"{table}/ids"] = some
            arrays[f"{table}/vectors"] = vectors.astype(np.float32)
        manifest = store.Manifest(
            "historical",
            windows.Window(last, last),
            ids=fingerprints(data, ("user", "item")),
            config=historical.settings(CONFIG.history),
        )
        with store.publish(directory / last, manifest) as staging:
            checkpoint.write(staging / "historical", arrays)
    return [directory / last for last in VERSIONS]


def fingerprints(data, tables):
    return {
        name: data.id_spaces[name].fingerprint(TABLE_ROWS[name])
        for name in tables
    }


def write_artefact(path, data, config, versions=()):
    """Publish a model with random weights, batch norm's included."""
    row = model_table.model(path.parent.parent.name)
    parents = {
        f"historical {version.name}": store.parent(version, path)
        for version in versions
    }
    spec = data.spec.without(config.model.exclude)
    used = [table.name for table in spec.tables]
    manifest = store.Manifest(
        "ctr",
        windows.Window(DAY, DAY),
        rows=12,
        spec=data.spec.fingerprint(),
        ids=fingerprints(data, used),
        parents=parents,
        metrics={"auc": 0.75},
    )
    tables = {}
    if versions:
        tables = historical.load(versions, data.id_spaces, config.history)
    known = {name: TABLE_ROWS[name] for name in used}
    model = artefacts.build(
        data.spec, config, row, artefacts.CTR, known, history=tables
    )
    random = np.random.default_rng(2)
    variables = artefacts.weights(model)
    for name, variable in variables.items():
        noise = random.normal(0.0, 0.3, variable.shape)
        variable.assign(abs(noise) if name.endswith("variance") else noise)
    manifest.config = {
        "capacities": model.embedding.capacities,
        "model": row.name,
    }
    with store.publish(path, manifest) as staging:
        checkpoint.write(staging / "weights", variables)
        store.write_text(staging / "config.json", config.to_json())
        data.spec.save(staging / "spec.json")


CONFIG = configs.Config(
    model=configs.ModelConfig(
        embedding_dim=DIM,
        hidden_units=(8, 4),
        exclude=("age",),
    ),
    history=configs.HistoryConfig(aggregation="attention", snapshots=2),
)


class Poller(threading.Thread):
    """Lists the versions there are, as a server does, and what they lack."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        self.directory, self.seen, self.lacking = directory, 0, []
        self.hidden: set[str] = set()
        self.stop = threading.Event()

    def run(self):
        while not self.stop.is_set():
            names = os.listdir(self.directory)
            self.hidden.update(n for n in names if not n.isdigit())
            for name in filter(str.isdigit, names):
                self.seen += 1
                for file in (
                    "saved_model.pb",
                    "variables/variables.index",
                    "variables/variables.data-00000-of-00001",
                    "assets/user.txt",
                    "assets.extra/lineage.json",
                    "manifest.json",
                ):
                    if not (self.directory / name / file).exists():
                        self.lacking.append(f"{name}/{file}")
            self.stop.wait(0.001)


class World:
    """A data directory, an artefact, its export and what a poller saw."""

    def __init__(self, path):
        self.data = write_data(path / "data")
        self.work, self.export_dir = path / "work", path / "export"
        self.artefact = self.work / "e_cdctr" / "ctr" / DAY
        versions = write_history(self.work / "historical", self.data)
        write_artefact(self.artefact, self.data, CONFIG, versions)
        self.plain = self.work / "ads_only" / "ctr" / DAY
        model = configs.ModelConfig(
            embedding_dim=DIM,
            hidden_units=(4,),
            history=False,
        )
        write_artefact(self.plain, self.data, configs.Config(model=model))
        self.export_dir.mkdir()
        self.poller = Poller(self.export_dir)
        self.poller.start()
        self.version = export.export_model(
            self.artefact, self.data.path, self.export_dir
        )
        self.poller.stop.wait(0.1)
        self.poller.stop.set()
        self.poller.join()
        self.served = tf.saved_model.load(str(self.version)).signatures
        self.model = artefacts.read_model(self.artefact, self.data)

    def expected(self):
        rows = rows_by_hand()
        del rows["age"]
        logit = self.model(
            {name: tf.constant(column) for name, column in rows.items()},
            training=False,
        )
        return {"ctr": 1 / (1 + np.exp(-logit.numpy())), "logit": logit.numpy()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("export"))


@pytest.fixture
def copied(world, tmp_path):
    """A copy of the artefact's work directory that a test may damage."""
    shutil.copytree(world.work, tmp_path / "work")
    return tmp_path / "work" / world.artefact.relative_to(world.work)


def request(part=slice(None), **changes):
    raw = {n: c[part] for n, c in RAW.items() if n != "age"} | changes
    return {name: tf.constant(column) for name, column in raw.items()}


def example(i, **changes):
    """Return row i of `RAW` as an Example; None leaves a feature out."""
    values = {}
    for name, column in (RAW | changes).items():
        if column is None:
            continue
        value = np.atleast_1d(column[i])
        if value.dtype.kind == "f":
            made = tf.train.Feature(float_list={"value": value})
        elif value.dtype.kind == "i":
            value = value[value != -1] if column.ndim == 2 else value
            made = tf.train.Feature(int64_list={"value": value})
        else:
            value = value[value != ""] if column.ndim == 2 else value
            value = [v.encode() for v in value]
            made = tf.train.Feature(bytes_list={"value": value})
        values[name] = made
    row = tf.train.Example(features=tf.train.Features(feature=values))
    return row.SerializeToString()


def assert_answers(answers, expected, part=slice(None)):
    assert sorted(answers) == ["ctr", "logit"]
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, expected[name][part], 1e-6, 1e-6)


@pytest.mark.parametrize("part", [slice(0, 1), slice(3, 4), slice(None)])
def test_serving_default_answers_as_the_model(world, part):
    answers = world.served["serving_default"](**request(part))
    assert_answers(answers, world.expected(), part)


@pytest.mark.parametrize("part", [slice(0, 1), slice(3, 4), slice(None)])
def test_predict_examples_answers_as_the_model(world, part):
    rows = tf.constant([example(i) for i in range(4)][part])
    answers = world.served["predict_examples"](examples=rows)
    assert_answers(answers, world.expected(), part)


def test_answers_depend_on_every_feature(world):
    serve = world.served["serving_default"]
    before = serve(**request(slice(0, 1)))["logit"].numpy()
    others = request(slice(1, 2))
    for name in others:
        after = serve(**(request(slice(0, 1)) | {name: others[name]}))["logit"]
        assert abs(after.numpy() - before) > 1e-4, name


@pytest.mark.parametrize(
    "clicked",
    [
        np.array([[202, 203, 204]]),
        np.array([[-1, -1, 202, 203, 204]]),
        np.array([[202, -1, 203, 204, -1]]),
        np.array([[208, 207, 206, 205, 202, 203, 204, -1]]),
    ],
)
def test_sequences_of_any_length_keep_their_newest_entries(world, clicked):
    part = slice(0, 1)
    answers = world.served["serving_default"](**request(part, clicked=clicked))
    assert_answers(answers, world.expected(), part)


def test_a_sequence_may_have_no_places(world):
    part = slice(2, 3)
    empty = np.zeros([1, 0], np.int64)
    answers = world.served["serving_default"](**request(part, clicked=empty))
    assert_answers(answers, world.expected(), part)


def test_an_example_may_lack_a_sequence(world):
    row = tf.constant([example(2, clicked=None, seen=None)])
    answers = world.served["predict_examples"](examples=row)
    assert_answers(answers, world.expected(), slice(2, 3))


def test_an_example_without_an_id_is_one_of_an_unknown_id(world):
    lacking = [example(0, user_id=None), example(1), example(0, item_id=None)]
    answers = world.served["predict_examples"](examples=tf.constant(lacking))
    unknown = [example(0, user_id=np.full(4, -5)), example(1)]
    unknown.append(example(0, item_id=np.full(4, -1)))
    wanted = world.served["predict_examples"](examples=tf.constant(unknown))
    for name, answer in answers.items():
        np.testing.assert_array_equal(answer, wanted[name])


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_a_missing_one(world, number):
    left_out = tf.constant([example(0, price=None)])
    wanted = world.served["predict_examples"](examples=left_out)
    price = np.full(4, number, np.float32)
    row = tf.constant([example(0, price=price)])
    answers = world.served["predict_examples"](examples=row)
    sent = request(slice(0, 1), price=price[:1])
    for found in (answers, world.served["serving_default"](**sent)):
        for name, answer in found.items():
            np.testing.assert_array_equal(answer, wanted[name])
            assert np.isfinite(answer).all()


@pytest.mark.parametrize("number", [1e30, -3e38])
def test_a_number_out_of_proportion_is_an_extreme_one(world, number):
    sent = request(slice(0, 1), price=np.full(1, number, np.float32))
    answers = world.served["serving_default"](**sent)
    assert np.isfinite(answers["logit"]).all()


@pytest.mark.parametrize("name", ["item_id", "clicked", "seen", "price"])
def test_tensors_of_other_lengths_are_refused(world, name):
    """A sequence [1, L] beside three rows would be that of all of them."""
    sent = request(slice(0, 3))
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"`{name}` has"):
        world.served["serving_default"](**(sent | {name: sent[name][:1]}))


def merged(requests):
    """Merge requests as TensorFlow Serving does to batch them."""
    columns = [{n: v.numpy() for n, v in sent.items()} for sent in requests]
    whole = batching.merged(columns)
    return {name: tf.constant(column) for name, column in whole.items()}


@pytest.mark.parametrize("signature", ["serving_default", "rank"])
def test_padding_in_front_survives_batching_of_the_server(world, signature):
    short = [[-1, -1, 201]], [[b"", b"films"]]
    long = [[-1, 208, 207, 206, 205]], [[b"", b"books", b"a\rb"]]
    requests = []
    for row, (clicked, seen) in enumerate((short, long)):
        part = slice(row, row + 1)
        sent = request(part, clicked=np.array(clicked), seen=np.array(seen))
        if signature == "rank":
            count = 2 + row
            for name in ("item_id", "category"):
                sent[name] = tf.constant(RAW[name][np.newaxis, :count])
        requests.append(sent)
    serve = world.served[signature]
    apart = [serve(**sent)["logit"].numpy() for sent in requests]
    together = serve(**merged(requests))["logit"].numpy()
    for row, wanted in enumerate(apart):
        # A candidate that the server has added is the first one once more.
        found = together[row : row + 1]
        if signature == "rank":
            found = found[:, : wanted.shape[1]]
        np.testing.assert_allclose(found, wanted, 1e-6, 1e-6)
    # Without padding in front, the first entry would be added again and again.
    wrong = [sent | {"clicked": sent["clicked"][:, 1:]} for sent in requests]
    wrong[0]["clicked"] = tf.constant([[201]], tf.int64)
    found = serve(**merged(wrong))["logit"].numpy()
    assert np.abs(found - together)[0].max() > 1e-3


def by_users(part=slice(None)):
    """Return the rows of `RAW` as those of one user, as `rank` takes them."""
    own = ("item_id", "category")
    sent = {}
    for name, column in request().items():
        sent[name] = column[tf.newaxis] if name in own else column[:1]
    return sent


def test_rank_answers_as_rows_of_the_user(world):
    raw = {n: c.numpy() for n, c in request().items()}
    for name in set(raw) - {"item_id", "category"}:
        raw[name] = np.repeat(raw[name][:1], 4, axis=0)
    rows = {name: tf.constant(column) for name, column in raw.items()}
    wanted = world.served["serving_default"](**rows)
    answers = world.served["rank"](**by_users())
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, wanted[name][tf.newaxis], 0, 2e-6)


def test_rank_needs_as_many_values_of_each_candidate(world):
    sent = by_users()
    sent["category"] = sent["category"][:, :2]
    with pytest.raises(tf.errors.InvalidArgumentError, match="`category` has"):
        world.served["rank"](**sent)


def test_regression_and_classification_answer_as_the_model(world):
    rows = tf.constant([example(i) for i in range(4)])
    ctr = world.expected()["ctr"]
    regressed = world.served["regression"](inputs=rows)
    np.testing.assert_allclose(regressed["outputs"], ctr, 0, 1e-6)
    classified = world.served["classification"](inputs=rows)
    assert (
        classified["classes"].numpy().tolist() == [[b"no click", b"click"]] * 4
    )
    scores = np.stack([1 - ctr, ctr], axis=1)
    np.testing.assert_allclose(classified["scores"], scores, 0, 1e-6)


def test_embeddings_are_the_historical_vectors(world):
    ids = {name: tf.constant(RAW[name]) for name in ("user_id", "item_id")}
    answers = world.served["embeddings"](**ids)
    rows = rows_by_hand()
    for name in ids:
        table = world.model.history_tables[world.model.spec.feature(name).table]
        vectors, known = world.model.historical[name](
            rows[name], rows["day"], table
        )
        np.testing.assert_allclose(answers[f"{name}_vector"], vectors, 0, 1e-6)
        np.testing.assert_array_equal(answers[f"{name}_known"], known[:, 0])
    known = [answers[f"{name}_known"] for name in ids]
    assert 0 < np.mean(known) < 1


# Operations that a request runs, of all functions that the signature calls.
def executed(graph):
    functions = {f.signature.name: f.node_def for f in graph.library.function}

    def inside(nodes):
        found = []
        for node in nodes:
            found.append(node.op)
            for attribute in node.attr.values():
                if attribute.WhichOneof("value") == "func":
                    found += inside(functions[attribute.func.name])
        return found

    return [
        op for op in inside(graph.node) if op not in ("Const", "Placeholder")
    ]


def test_batch_norm_is_part_of_the_kernels(world):
    used = contract.operations(contract.meta_graph(world.version))
    assert not any("Norm" in op or op == "Rsqrt" for op in used)


def test_a_session_loads_and_runs_it_as_a_server_does(world):
    v1 = tf.compat.v1
    expected = world.expected()
    with tf.Graph().as_default(), v1.Session() as session:
        graph = v1.saved_model.load(session, ["serve"], str(world.version))
        signature = graph.signature_def["serving_default"]
        assert signature.method_name == "tensorflow/serving/predict"
        feed = {info.name: RAW[name] for name, info in signature.inputs.items()}
        fetch = {name: info.name for name, info in signature.outputs.items()}
        assert_answers(session.run(fetch, feed), expected)


def test_a_process_without_project_code_gives_the_same_answers(world):
    rows = np.array([example(0), example(1)], object)
    sent = {"a/predict_examples/examples": rows}
    answers = verify.in_fresh_process(world.version, sent)
    ctr = answers["a/predict_examples/ctr"]
    np.testing.assert_allclose(ctr, world.expected()["ctr"][:2], 0, 1e-6)


@pytest.mark.parametrize(
    "name",
    ["ecdctr_tf", "ecdctr_tf.models.ctr_model", "tf_keras", "train_main"],
)
def test_the_fresh_process_refuses_project_code(name):
    with pytest.raises(
        ImportError, match=f"{name} is not available to exports"
    ):
        fresh_process._Refuse().find_spec(name)


def test_signatures_are_as_promised(world):
    ids = {"user_id": tf.int64, "item_id": tf.int64}
    texts = {"category": tf.string, "city": tf.string}
    wanted = {
        **{name: (d, [None]) for name, d in (ids | texts).items()},
        "clicked": (tf.int64, [None, None]),
        "seen": (tf.string, [None, None]),
        "price": (tf.float32, [None]),
    }
    examples = {"examples": (tf.string, [None])}
    outputs = {"ctr": (tf.float32, [None]), "logit": (tf.float32, [None])}
    graph = contract.meta_graph(world.version)
    methods = {
        name: signature.method_name.removeprefix("tensorflow/serving/")
        for name, signature in graph.signature_def.items()
        if name in world.served
    }
    assert methods == {
        "serving_default": "predict",
        "predict_examples": "predict",
        "rank": "predict",
        "embeddings": "predict",
        "regression": "regress",
        "classification": "classify",
    }
    for name, inputs in (
        ("serving_default", wanted),
        ("predict_examples", examples),
    ):
        served = world.served[name]
        _, have = served.structured_input_signature
        assert described(have) == inputs
        assert described(served.structured_outputs) == outputs


def described(specs):
    return {n: (s.dtype, s.shape.as_list()) for n, s in specs.items()}


def test_the_graph_holds_stock_operations_only(world):
    graph = contract.meta_graph(world.version)
    used = contract.operations(graph)
    assert "LookupTableFindV2" in used
    assert {op for op in used if not hasattr(tf.raw_ops, op)} == set()
    assert not any("PyFunc" in op for op in used)


def test_no_version_is_ever_seen_incomplete(world):
    assert world.poller.seen > 0
    assert world.poller.hidden  # it did look while the version was written
    assert world.poller.lacking == []


def test_the_version_directory_is_one_of_tensorflow_serving(world):
    assert world.version == world.export_dir / VERSION
    assert sorted(p.name for p in world.export_dir.iterdir()) == [VERSION]
    assert sorted(p.name for p in world.version.iterdir()) == [
        "assets",
        "assets.extra",
        "fingerprint.pb",
        "manifest.json",
        "saved_model.pb",
        "variables",
    ]
    users = (world.version / "assets" / "user.txt").read_text().split()
    assert users == [str(user) for user in USERS[:9]]


def test_history_may_come_with_requests(world, tmp_path):
    """Learned combinations of snapshots are stored as the model reads them."""
    serving = configs.ServingConfig(history="as_input")
    version = export.export_model(
        world.artefact, world.data.path, tmp_path, serving=serving
    )
    extra = version / "assets.extra"
    lineage = json.loads((extra / "lineage.json").read_text())
    stored = pq.read_table(extra / "historical" / "item.parquet").to_pydict()
    assert set(stored["history_version"]) == {lineage["history_version"]}
    ask = tf.saved_model.load(str(world.version)).signatures["embeddings"]
    ids = tf.constant(stored["item_id"], tf.int64)
    users = tf.fill([len(ids)], tf.constant(USERS[0], tf.int64))
    found = ask(item_id=ids, user_id=users)
    assert found["item_id_known"].numpy().all()
    np.testing.assert_allclose(
        found["item_id_vector"], stored["item_id_vector"], atol=1e-6
    )


def test_warm_up_requests_lie_beside_the_lineage(world):
    requests = warm_up.read(world.version)
    assert {r.signature for r in requests} == set(world.served)
    ranked = [r for r in requests if r.signature == signatures.RANK]
    sizes = {r.inputs["item_id"].shape for r in ranked}
    assert sizes == {(1, 1), (1, 50), (1, 200)}
    manifest = store.read_manifest(world.version, "export")
    assert str(warm_up.FILE) in manifest.files


def test_the_manifest_and_lineage_tell_where_it_comes_from(world):
    manifest = store.verify(world.version, "export")
    assert manifest.window.last == DAY
    assert manifest.metrics["max_difference"] <= 1e-6
    assert manifest.config == {"tables": "float32"}
    source = world.version / manifest.parents["artefact"]["path"]
    assert source.resolve() == world.artefact.resolve()
    file = world.version / "assets.extra" / "lineage.json"
    lineage = json.loads(file.read_text())
    assert lineage["config"] == json.loads(CONFIG.to_json())
    assert lineage["features"]["user"] == "user_id"
    artefact = lineage["ancestors"][lineage["artefact"]]
    assert artefact["rows"] == 12
    assert artefact["metrics"] == {"auc": 0.75}
    assert artefact["window"] == {"first": DAY, "last": DAY}
    for last in VERSIONS:
        version = artefact["parents"][f"historical {last}"]["manifest"]
        assert lineage["ancestors"][version]["kind"] == "historical"
        assert lineage["ancestors"][version]["window"]["last"] == last
    assert len(lineage["ancestors"]) == 1 + len(VERSIONS)


def test_an_export_says_what_its_tables_hold(world, tmp_path):
    serving = configs.ServingConfig(tables="int8")
    version = export.export_model(
        world.artefact, world.data.path, tmp_path, serving=serving
    )
    manifest = store.read_manifest(version, "export")
    assert manifest.config == {"tables": "int8"}
    assert manifest.metrics["max_difference"] > 1e-6
    said = files.whole(subject.Subject(version, ()))
    assert "tables in int8" in said
    lineage = json.loads((version / "assets.extra/lineage.json").read_text())
    assert lineage["serving"]["tables"] == "int8"
    assert lineage["serving"]["max_shard_mb"] == 0


def test_only_the_newest_history_is_served(world):
    model = artefacts.read_model(world.artefact, world.data)
    raw = {
        n: c.astype(object) if c.dtype.kind == "U" else c
        for n, c in RAW.items()
    }
    manifest = store.read_manifest(world.artefact, "ctr")
    spaces = load.known_spaces(manifest, world.data)
    before = probe.expected(model, raw, spaces)
    assert {t.versions for t in model.history_tables.values()} == {3}
    load.keep_newest(model)
    assert {t.versions for t in model.history_tables.values()} == {2}
    after = probe.expected(model, raw, spaces)
    np.testing.assert_array_equal(after["logit"], before["logit"])
    np.testing.assert_array_equal(before["logit"], world.expected()["logit"])


def test_a_published_version_is_never_replaced(world):
    with pytest.raises(FileExistsError, match=f"{VERSION} was published"):
        export.export_model(world.plain, world.data.path, world.export_dir)


@pytest.mark.parametrize("version", [0, -1, 1.5, True])
def test_a_version_that_is_no_whole_number_is_refused(world, tmp_path, version):
    with pytest.raises(ValueError, match="`version` should be a whole number"):
        export.export_model(
            world.artefact, world.data.path, tmp_path, version=version
        )


def test_a_model_without_history_is_exported_under_a_version_of_choice(
    world, tmp_path, monkeypatch
):
    monkeypatch.setattr(verify, "in_fresh_process", answer_here)
    version = export.export_model(world.plain, world.data.path, tmp_path, 7)
    assert version == tmp_path / "7"
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    assert "age" in served.structured_input_signature[1]


def answer_here(directory, sent, scratch=None):
    """Answer as `verify.in_fresh_process`, in this process to save time."""
    return fresh_process.answer(tf.saved_model.load(str(directory)), sent)


def test_a_failing_export_leaves_nothing(world, tmp_path, monkeypatch):
    def differ(directory, sent, scratch=None):
        found = answer_here(directory, sent)
        return {
            n: v + 1e-4 if n.endswith("ctr") else v for n, v in found.items()
        }

    monkeypatch.setattr(verify, "in_fresh_process", differ)
    with pytest.raises(ValueError, match="differs from the model"):
        export.export_model(world.plain, world.data.path, tmp_path / "export")
    assert list((tmp_path / "export").iterdir()) == []


def test_a_fresh_process_that_fails_is_quoted(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("raise ImportError('ecdctr_tf may not be needed')")
    monkeypatch.setattr(verify, "_SCRIPT", script)
    with pytest.raises(
        ValueError, match="(?s)does not answer.*may not be needed"
    ):
        verify.in_fresh_process(tmp_path, {})


def test_another_signature_than_promised_raises(world):
    with pytest.raises(ValueError, match="serving_default should have"):
        contract.check(world.version, SPEC, ())
    with pytest.raises(ValueError, match="embeddings should have"):
        contract.check(world.version, SPEC.without(["age"]), ["city"])


def test_an_artefact_of_another_spec_is_refused(world, tmp_path):
    spec = SPEC.without(["price"])
    data = write_data(tmp_path / "data", spec=spec)
    with pytest.raises(ValueError, match="was trained with the data spec"):
        export.export_model(world.artefact, data.path, tmp_path / "export")
    assert list((tmp_path / "export").iterdir()) == []


def test_an_artefact_of_another_id_space_is_refused(world, tmp_path):
    data = write_data(tmp_path / "data", items=ITEMS[::-1])
    with pytest.raises(ValueError, match="another id space of table 'item'"):
        export.export_model(world.artefact, data.path, tmp_path / "export")


def test_an_artefact_without_its_history_is_refused(world, copied):
    shutil.rmtree(copied.parents[2] / "historical")
    with pytest.raises(
        FileNotFoundError, match=r"2023-11-30, from which .* is gone"
    ):
        artefacts.read_model(copied, world.data)


def test_an_artefact_with_other_history_is_refused(world, copied):
    version = copied.parents[2] / "historical" / "2024-01-31"
    with open(version / "manifest.json", "a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="2024-01-31 is not .*was replaced"):
        artefacts.read_model(copied, world.data)


def test_a_damaged_artefact_is_refused(world, copied):
    file = copied / "weights.data-00000-of-00001"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="truncated"):
        artefacts.read_model(copied, world.data)


@pytest.mark.parametrize(
    "name, number, said",
    [
        ("embedding/tables/user/embeddings", np.nan, "Tables of the served"),
        ("head/kernel", np.inf, "Dense weights"),
        ("head/kernel", 3e38, "Dense weights"),
        ("input_norm/moving_mean", -np.inf, "Dense weights"),
    ],
)
def test_weights_that_are_not_finite_are_never_served(
    world, tmp_path, name, number, said
):
    model = artefacts.read_model(world.artefact, world.data)
    weight = artefacts.weights(model)[name]
    weight.assign(weight * 0 + number)
    manifest = store.read_manifest(world.artefact, "ctr")
    spaces = load.known_spaces(manifest, world.data)
    with np.errstate(invalid="ignore", over="ignore"):
        with pytest.raises(checkpoint.NotFiniteError, match=said):
            form = folded.of(model, TABLE_ROWS)
            saved_model.write(form, spaces, tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_that_no_checkpoint_holds_are_refused(world, monkeypatch):
    named = checkpoint.named_variables

    def without_head(parts):
        found = named(parts)
        return {n: v for n, v in found.items() if n != "head/bias"}

    monkeypatch.setattr(checkpoint, "named_variables", without_head)
    with pytest.raises(ValueError, match="no checkpoint would hold: .*bias:0"):
        artefacts.read_model(world.artefact, world.data)


def test_an_artefact_that_is_not_there_is_refused(world, tmp_path):
    with pytest.raises(FileNotFoundError, match="no ctr artefact"):
        export.export_model(
            pathlib.Path("nowhere"), world.data.path, tmp_path / "export"
        )


def test_an_id_that_stands_for_unused_places_is_told(world, caplog):
    spaces = {"item": id_space.new(SPEC.table("item"))}
    spaces["category"] = world.data.id_spaces["category"]
    saved_model._warn_of_padding(world.model, spaces)
    assert "the padding of 'seen'" in caplog.text
    assert "clicked" not in caplog.text


def test_the_newest_day_is_after_every_day():
    assert signatures.NEWEST_DAY == NEWEST_DAY


# K newest snapshots, combined in the CPM and merged into one vector an id.
MERGING = configs.override(
    training_world.SMALL_CONFIG,
    ["history.aggregation=self_attention", "history.snapshots=2"],
)


@pytest.fixture(scope="module")
def merging(tmp_path_factory):
    """Data, and a run of two scored days that reads merged tables."""
    place = tmp_path_factory.mktemp("merging")
    data, run = (
        training_world.small_data(place / "data"),
        Workdir(place / "run"),
    )
    row = model_table.model("e_cdctr")
    args = (data, run, MERGING, row)
    for first, last in ((1, 2), (3, 3)):
        window = windows.Window(f"2024-01-0{first}", f"2024-01-0{last}")
        natural.train(levels.Level(*args, artefacts.TPM), window)
    history.aggregate(run, MERGING)
    window = windows.Window("2024-01-03", "2024-01-04")
    natural.train(levels.Level(*args, artefacts.CPM), window)
    days = windows.Window("2024-01-05", "2024-01-06").split(1)
    daily.DailyTrainer(levels.Level(*args, artefacts.CTR)).run(days)
    return data, run


def test_a_merged_row_is_what_the_layer_of_the_cpm_gives(merging):
    data, run = merging
    path = run.cpm("e_cdctr") / "2024-01-04"
    level = levels.Level(
        data, run, MERGING, model_table.model("e_cdctr"), artefacts.CPM
    )
    level.look_up(windows.Window("2024-01-03", "2024-01-05"))
    level.open(path)
    model = level.model
    # Users 13 to 15 are first seen on the third, others not at all.
    rows = tf.range(20)
    merged = artefacts.read_merged(path, data)
    for feature, name in (("user_id", "user"), ("item_id", "item")):
        for day in ("2024-01-03", "2024-01-04", "2024-01-09"):
            days = tf.fill([20], windows.day_number(day))
            table = model.history_tables[name]
            expected, flags = model.historical[feature](rows, days, table)
            vectors, found = merged[name].lookup(rows, days, 1)
            np.testing.assert_allclose(vectors[:, 0], expected, atol=1e-6)
            np.testing.assert_array_equal(found[:, 0], flags[:, 0] > 0)
            assert 0 < np.mean(found) < 1
            # Not a snapshot as it was, nor the mean of two.
            newest, _ = table.lookup(rows, days, 1)
            assert np.abs(newest[:, 0] - expected).max() > 1e-6


def test_a_model_of_merged_tables_scores_the_same_when_it_is_read(merging):
    data, run = merging
    model = artefacts.read_model(run.ctr("e_cdctr") / "2024-01-05", data)
    assert not any("historical" in name for name in artefacts.weights(model))
    day = windows.Window("2024-01-06", "2024-01-06")
    with np.load(run.ctr("e_cdctr") / day.last / artefacts.SCORES) as scores:
        found = scoring.score(model, data, day)["ctr"]
        np.testing.assert_allclose(found, scores["ctr"], atol=1e-6)


def test_an_export_of_merged_tables_answers_as_the_model(
    merging, tmp_path, monkeypatch
):
    monkeypatch.setattr(verify, "in_fresh_process", answer_here)
    data, run = merging
    artefact = run.ctr("e_cdctr") / "2024-01-06"
    version = export.export_model(artefact, data.path, tmp_path)
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    rows = np.arange(1, 17)
    answers = served(
        user_id=tf.constant(rows - 1, tf.int64),
        item_id=tf.constant(rows % 8, tf.int64),
        price=tf.ones([16]),
    )
    inputs = {
        "user_id": tf.constant(rows, tf.int32),
        "item_id": tf.constant(rows % 8 + 1, tf.int32),
        "price": tf.ones([16]),
        "day": tf.fill([16], NEWEST_DAY),
    }
    model = artefacts.read_model(artefact, data)
    expected = model.score(inputs)
    np.testing.assert_allclose(answers["ctr"], expected, atol=1e-6)
    for table in model.history_tables.values():
        table.clear()
    assert np.abs(model.score(inputs) - expected).max() > 1e-5


def test_every_signature_answers_in_a_client_in_cpp(world, cpp_client):
    manifest = store.read_manifest(world.artefact, "ctr")
    spaces = load.known_spaces(manifest, world.data)
    cases = probe.cases(world.model, spaces)
    ways = [
        client.Way(name, world.version, case.signature, case.inputs)
        for name, case in cases.items()
    ]
    answers, _ = client.run(cpp_client, ways)
    assert {case.signature for case in cases.values()} == set(world.served)
    for name, case in cases.items():
        for output, wanted in case.outputs.items():
            answer = answers[name][output]
            apart = verify.difference(output, answer, wanted)
            assert apart is not None, (name, case.signature, output)
