"""The development server answers as the SavedModel, over both protocols."""

import base64
import dataclasses
import json
import pathlib
import re
import shutil
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from ecdctr_tf import artefacts, store, windows
from ecdctr_tf.export import folded, saved_model, signatures, versions
from tests import served, test_folded

ROOT = pathlib.Path(__file__).parent.parent
PREDICT = "/v1/models/ctr:predict"


class World:
    """A served model, requests to it, and what they are answered in process."""

    def __init__(self, path):
        self.base_path = path / "export"
        self.version = self.base_path / "7"
        self.cases = served.write(self.version)
        self.expected = served.in_process(self.version, self.cases)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def server(world):
    with served.server(world.base_path) as running:
        yield running


def assert_same(found, wanted):
    assert sorted(found) == sorted(wanted)
    for name, values in wanted.items():
        if values.dtype == object:
            np.testing.assert_array_equal(found[name], values)
        else:
            assert np.shape(found[name]) == values.shape
            np.testing.assert_allclose(found[name], values, 0, 1e-6)


def examples_of(case):
    rows = case.inputs[next(iter(case.inputs))]
    return [tf.train.Example.FromString(row) for row in rows]


def over_grpc(server, case):
    """Return the answers of the method that a case is for."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
    requests = {
        signatures.REGRESSION: regression_pb2.RegressionRequest,
        signatures.CLASSIFICATION: classification_pb2.ClassificationRequest,
    }
    request = requests.get(case.signature, predict_pb2.PredictRequest)()
    request.model_spec.name = "ctr"
    request.model_spec.signature_name = case.signature
    if case.signature == signatures.REGRESSION:
        request.input.example_list.examples.extend(examples_of(case))
        found = stub.Regress(request, timeout=served.SECONDS).result
        return {"outputs": [row.value for row in found.regressions]}
    if case.signature == signatures.CLASSIFICATION:
        request.input.example_list.examples.extend(examples_of(case))
        found = stub.Classify(request, timeout=served.SECONDS).result
        rows = [row.classes for row in found.classifications]
        return {
            "classes": [[of.label.encode() for of in row] for row in rows],
            "scores": [[of.score for of in row] for row in rows],
        }
    for name, values in case.inputs.items():
        # A server fills in what is left out.
        if values.shape[0]:
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    outputs = stub.Predict(request, timeout=served.SECONDS).outputs
    return {name: tf.make_ndarray(proto) for name, proto in outputs.items()}


def test_every_signature_answers_over_grpc(server, world):
    asked = {case.signature for case in world.cases.values()}
    assert asked == set(tf.saved_model.load(str(world.version)).signatures)
    for name, case in world.cases.items():
        assert_same(over_grpc(server, case), world.expected[name])


def json_of(values):
    """Return a tensor as JSON; text of an id as text, Examples as base64."""
    if values.dtype != object:
        return values.tolist()
    if isinstance(values.flat[0], bytes):
        return [{"b64": base64.b64encode(v).decode()} for v in values]
    return values.tolist()


def sendable(case):
    """Return whether JSON can say a request: REST knows no defaults."""
    return all(values.size for values in case.inputs.values())


def test_every_signature_answers_over_rest_by_columns(server, world):
    sent = set()
    for name, case in world.cases.items():
        if case.signature in signatures.METHODS or not sendable(case):
            continue
        columns = {n: json_of(v) for n, v in case.inputs.items()}
        body = {"signature_name": case.signature, "inputs": columns}
        status, found = server.rest(PREDICT, body)
        assert status == 200, found
        assert_same(found["outputs"], world.expected[name])
        sent.add(case.signature)
    assert sent == {"serving_default", "rank", "predict_examples", "embeddings"}


def test_every_signature_answers_over_rest_by_rows(server, world):
    sent = set()
    for name, case in world.cases.items():
        if case.signature in signatures.METHODS or not sendable(case):
            continue
        columns = {n: json_of(v) for n, v in case.inputs.items()}
        rows = zip(*columns.values(), strict=True)
        rows = [dict(zip(columns, row, strict=True)) for row in rows]
        if len(columns) == 1:
            rows = next(iter(columns.values()))
        body = {"signature_name": case.signature, "instances": rows}
        status, found = server.rest(PREDICT, body)
        assert status == 200, found
        found = found["predictions"]
        columns = {n: [row[n] for row in found] for n in found[0]}
        assert_same(columns, world.expected[name])
        sent.add(case.signature)
    assert sent == {"serving_default", "rank", "predict_examples", "embeddings"}


def json_of_example(example):
    row = {}
    for name, feature in example.features.feature.items():
        values = getattr(feature, feature.WhichOneof("kind")).value
        if feature.HasField("bytes_list"):
            values = [{"b64": base64.b64encode(v).decode()} for v in values]
        # Whole numbers of floats are written as such.
        row[name] = list(values)
    return row


@pytest.mark.parametrize("with_context", [False, True])
def test_examples_are_regressed_and_classified_over_rest(
    server, world, with_context
):
    for name, case in world.cases.items():
        method = {
            signatures.REGRESSION: "regress",
            signatures.CLASSIFICATION: "classify",
        }.get(case.signature)
        rows = [json_of_example(e) for e in examples_of(case)] if method else []
        # What all rows have in common may be said once.
        if not method or (with_context and len(rows) > 1):
            continue
        body = {"signature_name": case.signature, "examples": rows}
        if with_context:
            body["context"] = {n: v for n, v in rows[0].items() if "user" in n}
            kept = {n: v for n, v in rows[0].items() if "user" not in n}
            body["examples"] = [kept]
        status, found = server.rest(f"/v1/models/ctr:{method}", body)
        assert status == 200, found
        found = found["results"]
        if method == "regress":
            found = {"outputs": found}
        else:
            found = {
                "classes": [[k.encode() for k, _ in row] for row in found],
                "scores": [[score for _, score in row] for row in found],
            }
        assert_same(found, world.expected[name])


def test_a_version_may_be_named(server):
    for path in ("/v1/models/ctr/versions/7", "/V1/models/ctr/versions/7"):
        status, found = server.rest(path)
        assert status == 200
        assert found["model_version_status"] == [
            {
                "version": "7",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    body = {"signature_name": "embeddings"}
    body["inputs"] = {"user_id": [1], "item_id": [1], "category": [1]}
    path = "/v1/models/ctr/versions/{}:predict"
    assert server.rest(path.format(7), body)[0] == 200
    assert server.rest(path.format(8), body)[0] == 404
    assert server.rest(path.format(2**63), body)[0] == 400


def test_status_and_metadata_are_told_over_both_protocols(server, world):
    status, found = server.rest("/v1/models/ctr/metadata")
    assert status == 200
    told = found["metadata"]["signature_def"]["signature_def"]
    user = told["serving_default"]["inputs"]["user_id"]
    assert user["dtype"] == "DT_INT64"
    assert user["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "ctr"
    request.metadata_field.append("signature_def")
    metadata = stub.GetModelMetadata(request).metadata["signature_def"]
    defs = get_model_metadata_pb2.SignatureDefMap()
    assert metadata.Unpack(defs)
    assert set(defs.signature_def) == set(told)
    stub = model_service_pb2_grpc.ModelServiceStub(server.channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "ctr"
    [entry] = stub.GetModelStatus(request).model_version_status
    assert (entry.version, entry.state) == (7, entry.AVAILABLE)


REQUEST = {"inputs": {"user_id": [1], "item_id": [1], "category": [1]}}


@pytest.mark.parametrize(
    "path, body, status, message",
    [
        ("/v1/models/other:predict", REQUEST, 404, "not served"),
        ("/v1/models/other", None, 404, "no such version"),
        ("/v1/models/ctr/versions/9", None, 404, "no such version"),
        ("/v1/models/ctr/labels/canary:predict", REQUEST, 400, "no labels"),
        ("/v1/models/ctr:predict", b"", 400, "should be JSON"),
        ("/v1/models/ctr:predict", b"[" * 100_000, 400, "should be JSON"),
        ("/v1/models/ctr:predict", [], 400, "JSON object"),
        ("/v1/models/ctr:predict", {}, 400, "either `instances` or `inputs`"),
        ("/v1/models/ctr:predict", REQUEST, 400, "all inputs of the signature"),
        (
            "/v1/models/ctr:predict",
            {"signature_name": "x", **REQUEST},
            400,
            "no signature 'x'",
        ),
        (
            "/v1/models/ctr:regress",
            {"examples": [{"user_id": 1}]},
            400,
            "should answer tensorflow/serving/regress",
        ),
        ("/v1/models/ctr:regress", {}, 400, "should be a list"),
        ("/v1/models/ctr:train", {}, 400, "There is no POST"),
        ("/v1/models", None, 400, "There is no GET"),
        ("/metrics", None, 404, "Paths begin with"),
    ],
)
def test_what_is_wrong_is_said(server, path, body, status, message):
    code, found = server.rest(path, body)
    assert code == status
    assert list(found) == ["error"]
    assert message in found["error"]


@pytest.mark.parametrize(
    "value, message",
    [
        ([1.0], "should be int64"),
        (["1"], "should be int64"),
        ([True], "should be int64"),
        ([2**63], "should be int64"),
        ([[1]], "shape (1, 1)"),
        (1, "shape ()"),
        ([1, [2]], "should be int64"),
        ([[1], 2], "as long as"),
        ([1, 2], "another number of rows"),
        (None, "should be int64"),
    ],
)
def test_values_of_other_types_and_shapes_are_refused(
    server, world, value, message
):
    case = world.cases["one"]
    columns = {n: json_of(v) for n, v in case.inputs.items()}
    body = {"inputs": {**columns, "item_id": value}}
    code, found = server.rest(PREDICT, body)
    assert code == 400
    assert message in found["error"]


def test_a_tensor_that_is_larger_than_its_bytes_is_refused(server):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ctr"
    request.model_spec.signature_name = "embeddings"
    tensor = request.inputs["user_id"]
    tensor.CopyFrom(tf.make_tensor_proto(np.array([1])))
    tensor.tensor_shape.dim[0].size = 1 << 40
    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request, timeout=served.SECONDS)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "values at most" in raised.value.details()


def test_a_directory_without_versions_is_waited_for(tmp_path, world):
    with served.server(tmp_path) as running:
        assert running.rest("/v1/models/ctr")[0] == 404
        shutil.copytree(world.version, tmp_path / ".staging")
        (tmp_path / ".staging").rename(tmp_path / "3")
        answering(running, 3)


def answering(server, number):
    """Wait until a version answers."""
    over = time.monotonic() + served.SECONDS
    while time.monotonic() < over:
        status, found = server.rest(f"/v1/models/ctr/versions/{number}")
        if status == 200:
            [entry] = found["model_version_status"]
            if entry["state"] == "AVAILABLE":
                return
        time.sleep(0.02)
    raise AssertionError(f"Version {number} does not answer.")


def no_graph(version):
    (version / "saved_model.pb").write_bytes(b"none")


def a_flipped_bit(version):
    """A server would load it, and answer something else."""
    manifest, file = (
        store.Manifest(saved_model.KIND),
        version / "saved_model.pb",
    )
    manifest.files[file.name] = {
        "bytes": file.stat().st_size,
        "sha256": store.file_hash(file),
    }
    (version / store.MANIFEST).write_text(manifest.to_json())
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"), [(no_graph, ""), (a_flipped_bit, "is damaged: its SHA")]
)
def test_a_damaged_version_does_not_end_the_one_before(
    tmp_path, world, damage, said
):
    shutil.copytree(world.version, tmp_path / "1")
    with served.server(tmp_path) as running:
        shutil.copytree(world.version, tmp_path / ".staging")
        damage(tmp_path / ".staging")
        (tmp_path / ".staging").rename(tmp_path / "2")
        over = time.monotonic() + served.SECONDS
        state = ""
        while state != "END" and time.monotonic() < over:
            _, found = running.rest("/v1/models/ctr")
            state = found["model_version_status"][0]["state"]
        damaged, former = found["model_version_status"]
        assert damaged["status"]["error_code"] != "OK"
        assert damaged["status"]["error_message"]
        assert said in damaged["status"]["error_message"]
        assert former["state"] == "AVAILABLE"


class Poller(threading.Thread):
    """Asks all the time over both protocols."""

    def __init__(self, server, case):
        super().__init__(daemon=True)
        self._server, self._case = server, case
        self.answers, self.errors, self.numbers = [], [], []
        self.over = threading.Event()

    def run(self):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(
            self._server.channel
        )
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "ctr"
        columns = {}
        for name, values in self._case.inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            columns[name] = json_of(values)
        body = json.dumps({"inputs": columns}).encode()
        while not self.over.is_set():
            try:
                found = stub.Predict(request, timeout=served.SECONDS)
                number = found.model_spec.version.value
                if self.numbers[-1:] != [number]:
                    self.numbers.append(number)
                self.answers.append(tf.make_ndarray(found.outputs["ctr"]))
                status, found = self._server.rest(PREDICT, body)
                assert status == 200, found
                self.answers.append(np.float32(found["outputs"]["ctr"]))
            except Exception as error:
                self.errors.append(error)

    def wait_for(self, number):
        over = time.monotonic() + served.SECONDS
        while self.numbers[-1:] != [number] and not self.errors:
            assert time.monotonic() < over, f"{number} does not answer."
            time.sleep(0.01)


def publish_day(path):
    window = windows.Window(path.name, path.name)
    with store.publish(path, store.Manifest(artefacts.CTR, window)):
        return path


@pytest.mark.long
def test_there_is_no_error_while_versions_come_and_go(
    tmp_path, world, monkeypatch
):
    def export(artefact, data_dir, export_dir, version, serving, report=None):
        target = export_dir / str(version)
        manifest = store.Manifest(saved_model.KIND)
        with store.publish(target, manifest) as staging:
            own = shutil.ignore_patterns(store.MANIFEST)
            shutil.copytree(
                world.version, staging, dirs_exist_ok=True, ignore=own
            )
            manifest.parents = {"artefact": store.parent(artefact, target)}

    monkeypatch.setattr(saved_model, "export_model", export)
    base_path = tmp_path / "export"

    def publish(day, **options):
        place = tmp_path / "ctr" / day
        artefact = place if place.exists() else publish_day(place)
        versions.publish(artefact, tmp_path, base_path, **options)

    publish("2024-01-01")
    case = world.cases["one"]
    with served.server(base_path) as running:
        poller = Poller(running, case)
        poller.start()
        poller.wait_for(20240101)
        publish("2024-01-02")
        poller.wait_for(20240102)
        publish("2024-01-03")
        poller.wait_for(20240103)
        versions.roll_back(base_path, "it was slow")
        poller.wait_for(20240102)
        publish("2024-01-04", keep=1)
        poller.wait_for(20240104)
        poller.over.set()
        poller.join()
    assert poller.errors == []
    assert poller.numbers == [20240101, 20240102, 20240103, 20240102, 20240104]
    wanted = world.expected["one"]["ctr"]
    for answer in poller.answers:
        np.testing.assert_allclose(answer, wanted, 0, 1e-6)
    assert versions.numbers(base_path) == [20240104]


def test_the_command_says_what_it_needs(tmp_path):
    with pytest.raises(AssertionError, match="The server ended"):
        with served.server(tmp_path / "nowhere"):
            pass


def test_the_requests_of_the_readme_are_answered(tmp_path, capsys):
    """On a model with the features of the demo."""
    plain = test_folded.PLAIN
    *others, clicked = plain.features
    clicked = dataclasses.replace(clicked, name="clicked_items")
    spec = dataclasses.replace(plain, features=(*others, clicked))
    (tmp_path / "1").mkdir()
    model, spaces = test_folded.made(spec), test_folded.spaces_of(spec)
    form = folded.of(model, test_folded.ROWS)
    saved_model.write(form, spaces, tmp_path / "1")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    bodies = re.findall(
        r"curl http://localhost:8501(\S+) -d '(.*?)'", readme, re.S
    )
    program = re.search(r"python - <<'END'\n(.*?)END\n", readme, re.S)[1]
    with served.server(tmp_path) as running:
        for path, body in bodies:
            status, found = running.rest(path, json.loads(body))
            assert status == 200, found
            assert np.shape(found["outputs"]["ctr"])[-1] == 2
        exec(program.replace("8500", str(running.grpc_port)), {})
    assert bodies
    assert re.search(r"the best five: \[( *\d+){5}\]", capsys.readouterr().out)
