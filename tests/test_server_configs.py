"""Config files of the server, and manifests of its deployment."""

import pathlib
import re

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from ecdctr_tf import config as configs
from ecdctr_tf import export
from ecdctr_tf.export import server_configs
from ecdctr_tf.export.checks import files, subject
from tests import test_versions

ROOT = pathlib.Path(__file__).parent.parent
# Of `session_bundle_config.proto` and `monitoring_config.proto`, for which
# there are no stubs: the fields that the files may use.
FIELDS = {
    server_configs.BATCHING: {
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
        "allowed_batch_sizes",
    },
    server_configs.MONITORING: {"prometheus_config"},
}
# As `tests.test_versions` publishes: days by name, without their graphs.
run, served = test_versions.run, test_versions.served
written = test_versions.written


def models(export_dir) -> tuple[list[int], dict[str, int]]:
    """Return the versions and labels of the one model."""
    text = (export_dir / server_configs.MODELS).read_text()
    found = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = found.model_config_list.config
    assert (model.name, model.base_path) == ("ctr", "/models/ctr")
    policy = model.model_version_policy.specific
    return list(policy.versions), dict(model.version_labels)


def test_labels_follow_the_versions(run, served):
    days = test_versions.DAYS
    test_versions.publish(run, served, days[0])
    alone = ([20240101], {"stable": 20240101, "canary": 20240101})
    assert models(served) == alone
    test_versions.publish(run, served, days[1])
    both = (
        [20240101, 20240102],
        {"stable": 20240101, "canary": 20240102},
    )
    assert models(served) == both
    test_versions.publish(run, served, days[2])
    labels = {"stable": 20240102, "canary": 20240103}
    assert models(served) == ([20240102, 20240103], labels)
    export.roll_back(served)
    assert models(served) == both


def test_a_version_that_is_retired_has_no_label(run, served):
    test_versions.publish(run, served, test_versions.DAYS[0])
    test_versions.publish(run, served, test_versions.DAYS[1], keep=1)
    labels = {"stable": 20240102, "canary": 20240102}
    assert models(served) == ([20240102], labels)


def test_a_rollback_that_was_killed_is_finished_in_the_labels_too(
    run, served, monkeypatch
):
    test_versions.publish_all(run, served)
    with monkeypatch.context() as patched:
        patched.setattr(server_configs, "write", lambda *of: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export.roll_back(served)
    test_versions.publish(run, served, test_versions.DAYS[2])
    assert models(served)[0] == [20240101, 20240102]


def test_batches_hold_the_requests_of_clients(run, served):
    serving = configs.ServingConfig(candidates=(1, 5000))
    test_versions.publish(run, served, test_versions.DAYS[0], serving=serving)
    text = (served / server_configs.BATCHING).read_text()
    assert "max_batch_size { value: 5000 }" in text


@pytest.mark.parametrize("name", FIELDS)
def test_other_files_have_known_fields(run, served, name):
    test_versions.publish(run, served, test_versions.DAYS[0])
    text = (served / name).read_text()
    lines = [line for line in text.splitlines() if line[0] != "#"]
    fields = {re.match(r"\w+", line)[0] for line in lines}
    assert fields
    assert fields <= FIELDS[name]
    assert text.count("{") == text.count("}") > 0


def test_the_check_of_an_export_reads_them(run, served):
    with pytest.raises(subject.LeftOut, match="no models.config"):
        files.configs(subject.Subject(served / "20240101", ()))
    test_versions.publish_all(run, served)
    newest = subject.Subject(served / "20240103", ())
    assert "'canary': 20240103" in files.configs(newest)
    server_configs.write(served, [20240103, 20240199])
    with pytest.raises(ValueError, match="should name versions that are there"):
        files.configs(newest)


@pytest.mark.parametrize("name", server_configs.FILES)
def test_a_damaged_file_is_found(run, served, name):
    test_versions.publish_all(run, served)
    newest = subject.Subject(served / "20240103", ())
    file = served / name
    whole = file.read_bytes()
    middle = len(whole) // 2
    flipped = bytes([whole[middle] ^ 1])
    for content in (
        b"",
        b"# Only a comment.\n",
        b"\xff" + whole,
        whole[:middle],
        whole[:middle] + flipped + whole[middle + 1 :],
        whole + b"pad_variable_length_inputs: true\n",
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} should be as exports"):
            files.configs(newest)
    file.unlink()
    with pytest.raises(ValueError, match=f"{name} .* Received: no file"):
        files.configs(newest)
    test_versions.publish_all(run, served)
    assert "'canary': 20240103" in files.configs(newest)


def documents(name):
    text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
    return {part["kind"]: part for part in yaml.safe_load_all(text)}


def test_kubernetes_serves_what_exports_write():
    found = documents("kubernetes.yaml")
    assert set(found) == {"Deployment", "Service"}
    deployment = found["Deployment"]["spec"]
    assert (
        deployment["selector"]["matchLabels"]
        == (deployment["template"]["metadata"]["labels"])
    )
    [container] = deployment["template"]["spec"]["containers"]
    flags = dict(flag[2:].split("=") for flag in container["args"])
    [mount] = container["volumeMounts"]
    assert mount["mountPath"] == server_configs.BASE_PATH
    for flag, file in (
        ("model_config_file", server_configs.MODELS),
        ("batching_parameters_file", server_configs.BATCHING),
        ("monitoring_config_file", server_configs.MONITORING),
    ):
        assert flags[flag] == f"{server_configs.BASE_PATH}/{file}"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {
        "grpc": int(flags["port"]),
        "rest": int(flags["rest_api_port"]),
    }
    service = found["Service"]["spec"]
    assert service["selector"] == deployment["selector"]["matchLabels"]
    assert {port["targetPort"] for port in service["ports"]} == set(ports)
    name = server_configs.NAME
    path = container["readinessProbe"]["httpGet"]["path"]
    assert path == f"/v1/models/{name}/labels/stable"


def test_kserve_serves_the_same_volume():
    [service] = documents("kserve.yaml").values()
    assert service["kind"] == "InferenceService"
    model = service["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "tensorflow"}
    volumes = documents("kubernetes.yaml")["Deployment"]["spec"]["template"]
    [volume] = volumes["spec"]["volumes"]
    claim = volume["persistentVolumeClaim"]["claimName"]
    assert model["storageUri"] == f"pvc://{claim}/"
    [container] = volumes["spec"]["containers"]
    assert container["image"].endswith(model["runtimeVersion"])
