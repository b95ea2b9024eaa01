"""Whatever is sent to the development server, it refuses and goes on."""

import copy
import http.client
import json

import grpc
import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2, regression_pb2

from tests import served

# A server is started and asked some hundred times.
pytestmark = pytest.mark.long
SETTINGS = hypothesis.settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
METHODS = ("Predict", "Regress", "Classify", "GetModelMetadata")
PATHS = ("predict", "regress", "classify")
REFUSED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
}
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.fixed_dictionaries({"b64": st.text(max_size=8)})
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    base_path = tmp_path_factory.mktemp("fuzzed")
    cases = served.write(base_path / "1")
    with served.server(base_path) as running:
        wanted = served.in_process(base_path / "1", {"one": cases["one"]})
        yield running, cases, wanted["one"]["ctr"]


def ask(server, request, method="Predict"):
    """Return the bytes that are answered to bytes."""
    call = server.channel.unary_unary(
        f"/tensorflow.serving.PredictionService/{method}"
    )
    return call(request, timeout=served.SECONDS)


def predict_request(case):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ctr"
    request.model_spec.signature_name = case.signature
    for name, values in case.inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def assert_lives(world):
    server, cases, wanted = world
    request = predict_request(cases["one"])
    answer = ask(server, request.SerializeToString())
    found = predict_pb2.PredictResponse.FromString(answer).outputs["ctr"]
    np.testing.assert_allclose(tf.make_ndarray(found), wanted, 0, 1e-6)
    assert server.process.poll() is None


def assert_refused_or_answered(world, request, method="Predict"):
    try:
        ask(world[0], request, method)
    except grpc.RpcError as error:
        assert error.code() in REFUSED, error.details()


def columns(case):
    inputs = {n: v.tolist() for n, v in case.inputs.items()}
    return {"signature_name": case.signature, "inputs": inputs}


def send(server, verb, path, body):
    """Return status and body of any request of HTTP."""
    connection = http.client.HTTPConnection(
        "localhost", server.rest_port, timeout=served.SECONDS
    )
    try:
        connection.request(verb, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def assert_told(status, body):
    """An answer, or an error that is the client's."""
    assert status == 200 or 400 <= status < 500, body
    found = json.loads(body)
    assert (status == 200) == ("error" not in found)


@SETTINGS
@hypothesis.given(body=st.binary(max_size=64), method=st.sampled_from(PATHS))
def test_any_bytes_over_rest(world, body, method):
    path = f"/v1/models/ctr:{method}"
    assert_told(*send(world[0], "POST", path, body))


@SETTINGS
@hypothesis.given(
    body=st.dictionaries(
        st.sampled_from(
            ["signature_name", "inputs", "instances", "examples", "context"]
        ),
        JSON,
    ),
    method=st.sampled_from(PATHS),
)
def test_any_json_over_rest(world, body, method):
    path = f"/v1/models/ctr:{method}"
    assert_told(*send(world[0], "POST", path, json.dumps(body)))


@SETTINGS
@hypothesis.given(
    verb=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    path=st.text(
        st.characters(min_codepoint=33, max_codepoint=126), max_size=40
    ),
    prefix=st.sampled_from(["/", "/v1/", "/v1/models/", "/v1/models/ctr"]),
)
def test_any_path_over_rest(world, verb, path, prefix):
    # What follows is no part of a path.
    path = prefix + path.replace("#", "").replace("?", "")
    assert_told(*send(world[0], verb, path, b"{}" if verb != "GET" else None))


@SETTINGS
@hypothesis.given(data=st.data())
def test_a_good_request_with_one_wrong_value_over_rest(world, data):
    server, cases, _ = world
    case = cases[data.draw(st.sampled_from(["one", "many", "user", "users"]))]
    body = copy.deepcopy(columns(case))
    name = data.draw(st.sampled_from(sorted(body["inputs"])))
    place, parent, key = body["inputs"][name], body["inputs"], name
    while isinstance(place, list) and place and data.draw(st.booleans()):
        parent, key = place, data.draw(st.integers(0, len(place) - 1))
        place = parent[key]
    parent[key] = data.draw(JSON)
    path = "/v1/models/ctr:predict"
    assert_told(*send(server, "POST", path, json.dumps(body)))


def test_a_body_that_is_too_large_is_refused(world):
    server, *_ = world
    connection = http.client.HTTPConnection("localhost", server.rest_port)
    connection.putrequest("POST", "/v1/models/ctr:predict")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    connection.close()
    assert_lives(world)


def test_a_list_of_too_many_values_is_refused(world):
    server, cases, _ = world
    body = columns(cases["one"])
    body["inputs"]["clicked"] = [[1] * (1 << 21)]
    found = send(server, "POST", "/v1/models/ctr:predict", json.dumps(body))
    assert found[0] == 400
    assert b"values at most" in found[1]
    assert_lives(world)


@SETTINGS
@hypothesis.given(
    request=st.binary(max_size=64), method=st.sampled_from(METHODS)
)
def test_any_bytes_over_grpc(world, request, method):
    assert_refused_or_answered(world, request, method)


TYPES = st.integers(-1, 40) | st.sampled_from([1, 7, 9])
SIZES = st.integers(-2, 5) | st.sampled_from([1 << 21, 1 << 40, 2**63 - 1])


@SETTINGS
@hypothesis.given(data=st.data())
def test_a_good_request_with_one_wrong_tensor_over_grpc(world, data):
    _, cases, _ = world
    case = cases[data.draw(st.sampled_from(sorted(cases)))]
    request = predict_request(case)
    name = data.draw(st.sampled_from(sorted(request.inputs)))
    tensor = request.inputs[name]
    wrong = data.draw(
        st.sampled_from(["dtype", "shape", "content", "rank", "values", "name"])
    )
    if wrong == "dtype":
        tensor.dtype = data.draw(TYPES)
    elif wrong == "shape":
        del tensor.tensor_shape.dim[:]
        for size in data.draw(st.lists(SIZES, max_size=4)):
            tensor.tensor_shape.dim.add(size=size)
    elif wrong == "content":
        tensor.tensor_content = data.draw(st.binary(max_size=40))
    elif wrong == "rank":
        tensor.tensor_shape.unknown_rank = True
    elif wrong == "values":
        tensor.ClearField("tensor_content")
        tensor.int64_val.extend(
            data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9))
        )
        tensor.string_val.extend(
            data.draw(st.lists(st.binary(max_size=9), max_size=9))
        )
    else:
        other = data.draw(st.text(max_size=9))
        request.inputs[other].CopyFrom(tensor)
    assert_refused_or_answered(world, request.SerializeToString())


@SETTINGS
@hypothesis.given(data=st.data())
def test_any_examples_over_grpc(world, data):
    _, cases, _ = world
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "ctr"
    request.model_spec.signature_name = "regression"
    names = st.sampled_from(sorted(cases["one"].inputs)) | st.text(max_size=5)
    for _ in range(data.draw(st.integers(0, 3))):
        example = request.input.example_list.examples.add()
        for name in data.draw(st.lists(names, max_size=4)):
            feature = example.features.feature[name]
            kind = data.draw(st.integers(0, 3))
            if kind == 1:
                feature.int64_list.value.extend(
                    data.draw(st.lists(st.integers(-(2**63), 2**63 - 1)))
                )
            elif kind == 2:
                feature.float_list.value.extend(
                    data.draw(st.lists(st.floats(width=32)))
                )
            elif kind == 3:
                feature.bytes_list.value.extend(
                    data.draw(st.lists(st.binary(max_size=9)))
                )
    method = data.draw(st.sampled_from(["Regress", "Classify"]))
    assert_refused_or_answered(world, request.SerializeToString(), method)


def test_a_message_that_is_too_large_is_refused(world):
    with pytest.raises(grpc.RpcError) as raised:
        ask(world[0], bytes(65 << 20))
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert_lives(world)


def test_the_server_lives_after_all_of_this(world):
    assert_lives(world)
