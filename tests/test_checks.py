"""Everything that can be checked of an export, and faults that are found."""

import copy
import dataclasses
import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from ecdctr_tf import config as configs
from ecdctr_tf import stages, store
from ecdctr_tf.export import (
    checks,
    client,
    contract,
    prediction_log,
    saved_model,
    server_configs,
    signatures,
    warm_up,
)
from ecdctr_tf.export.checks import answers, files, protocols, subject
from tests import served, test_folded

SPEC = test_folded.EVERY_KIND
HISTORICAL = ["user_id", "item_id", "category"]


def publish(target, change=lambda staging: None):
    """Publish a model of random weights as the exporter does."""
    manifest = store.Manifest(saved_model.KIND)
    manifest.metrics = {"max_difference": 1e-8}
    with store.publish(target, manifest) as staging:
        made = staging / "made"
        served.write(made)
        shutil.copytree(made, staging, dirs_exist_ok=True)
        shutil.rmtree(made)
        spaces = test_folded.spaces_of(SPEC)
        warm_up.write(staging, SPEC, spaces, HISTORICAL, (1, 5))
        lineage = {
            "served": dataclasses.asdict(SPEC),
            "historical": HISTORICAL,
        }
        text = json.dumps(lineage)
        store.write_text(staging / "assets.extra/lineage.json", text)
        change(staging)
    server_configs.write(target.parent, [int(target.name)], (1, 5))
    return target


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return publish(tmp_path_factory.mktemp("checks") / "7")


def request(place, **options):
    return stages.Request(
        "verify", None, None, configs.Config(), (), export_dir=place, **options
    )


def test_a_good_export_passes_all_checks(
    version, capsys, cpp_client, monkeypatch
):
    monkeypatch.setattr(client, "compiled", lambda scratch: cpp_client)
    stages.run(request(version.parent, pythons=(sys.executable,)))
    printed = capsys.readouterr().out
    assert checks.FAILED not in printed
    assert checks.LEFT_OUT not in printed
    for name in checks._CHECKS:
        assert name in printed
    assert tf.__version__ in printed


def test_there_has_to_be_an_export(tmp_path):
    with pytest.raises(FileNotFoundError, match="should be an export"):
        stages.run(request(tmp_path))


@pytest.fixture
def copied(version, tmp_path):
    """A copy of the export that a test may damage."""
    shutil.copytree(version, tmp_path / "export" / "8")
    return tmp_path / "export" / "8"


def of(path, pythons=()):
    return subject.Subject(path, pythons)


def rewrite(path, change):
    """Change the SavedModel of a version."""
    file = path / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(model.meta_graphs[0])
    file.write_bytes(model.SerializeToString())


def test_a_changed_file_is_found(copied):
    rewrite(copied, lambda graph: graph.graph_def.node.add(op="ReadFile"))
    with pytest.raises(ValueError, match="saved_model.pb has"):
        files.whole(of(copied))
    with pytest.raises(ValueError, match="denylisted ops: {'ReadFile'}"):
        files.scan(of(copied))


def test_an_operation_that_servers_lack_is_found(copied):
    rewrite(copied, lambda graph: graph.graph_def.node.add(op="OurOwn"))
    with pytest.raises(ValueError, match=r"not TensorFlow's: \['OurOwn'\]"):
        files.structure(of(copied))


def test_a_signature_that_clients_do_not_expect_is_found(copied):
    def change(graph):
        graph.signature_def["rank"].method_name = "tensorflow/serving/regress"

    rewrite(copied, change)
    with pytest.raises(ValueError, match="The signature rank should have"):
        files.contract_of(of(copied))


def test_an_export_of_before_is_said_to_be_left_out(copied, monkeypatch):
    monkeypatch.setattr(saved_model, "read_lineage", lambda version: {})
    (copied / warm_up.FILE).unlink()
    with pytest.raises(subject.LeftOut, match="lacks `served`"):
        files.contract_of(of(copied))
    with pytest.raises(subject.LeftOut, match="lacks assets.extra"):
        answers.fresh_process(of(copied))
    with pytest.raises(ValueError, match="should hold assets.extra"):
        files.warm_up_requests(of(copied))


def test_warm_up_without_a_signature_is_found(copied):
    kept = [r for r in warm_up.read(copied) if r.signature != "regression"]
    with tf.io.TFRecordWriter(str(copied / warm_up.FILE)) as writer:
        for record in map(prediction_log.encode, kept):
            writer.write(record)
    with pytest.raises(ValueError, match="none of regression"):
        files.warm_up_requests(of(copied))


@pytest.fixture(scope="module")
def asked(version):
    """The export, which has answered."""
    found = of(version)
    assert found.answers
    return found


def answering(asked, change):
    """Return the export, as if it answered what `change` makes of answers."""
    found = of(asked.path)
    found.answers = copy.deepcopy(asked.answers)
    for name, values in found.answers.items():
        change(name, values)
    return found


def test_answers_that_are_no_numbers_are_found(asked):
    def change(name, values):
        if name == "odd rank f0":
            values["ctr"] = values["ctr"] + np.nan

    with pytest.raises(ValueError, match="ctr of odd rank f0 should be finite"):
        answers.odd_input(answering(asked, change))


def test_answers_that_are_no_probabilities_are_found(asked):
    def change(name, values):
        if "outputs" in values:
            values["outputs"] = values["outputs"] + 1

    with pytest.raises(ValueError, match="should be a probability"):
        answers.odd_input(answering(asked, change))


def test_another_number_of_rows_is_found(asked):
    def change(name, values):
        if name == "odd regression":
            values["outputs"] = values["outputs"][:1]

    with pytest.raises(ValueError, match="odd regression should have 2 rows"):
        answers.fresh_process(answering(asked, change))


def test_merged_requests_that_are_answered_otherwise_are_found(asked):
    def change(name, values):
        if name == "together rank":
            values["logit"] = values["logit"] + np.float32(1e-3)

    with pytest.raises(ValueError, match="logit of apart rank 0 should be"):
        answers.merged_requests(answering(asked, change))


@pytest.mark.long
def test_other_answers_over_a_protocol_are_found(asked):
    def change(name, values):
        if name == "warm-up 0":
            values["ctr"] = values["ctr"] + np.float32(1e-4)

    found = answering(asked, change)
    for check in (protocols.over_grpc, protocols.over_rest):
        with pytest.raises(ValueError, match="ctr of warm-up 0 should be"):
            check(found)


def test_what_this_machine_lacks_is_left_out(version, monkeypatch):
    monkeypatch.setattr(client.shutil, "which", lambda name: None)
    with pytest.raises(subject.LeftOut, match="no C"):
        answers.in_cpp(of(version))
    with pytest.raises(subject.LeftOut, match="no --pythons"):
        answers.other_versions(of(version))
    monkeypatch.setitem(sys.modules, "ecdctr_tf.export.server.model", None)
    with pytest.raises(subject.LeftOut, match="extra `server`"):
        protocols.over_grpc(of(version))


def test_a_failed_check_ends_the_stage(copied, monkeypatch):
    def fails(found):
        raise ValueError("It is wrong.")

    monkeypatch.setattr(
        checks, "_CHECKS", {"files": files.whole, "wrong": fails}
    )
    with pytest.raises(ValueError, match="1 of 2 checks of .*8 failed: wrong"):
        stages.run(request(copied))


def test_requests_ask_every_signature_in_every_way(version, asked):
    found = asked
    graph = contract.meta_graph(version)
    assert signatures.RANK in graph.signature_def
    for kind in ("warm-up", "odd"):
        asked = {r.signature for n, r in found.requests.items() if kind in n}
        assert asked == files.served(found)
