"""Requests that servers answer for themselves before a version goes live."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from ecdctr_tf.export import (
    fresh_process,
    prediction_log,
    signatures,
    verify,
    warm_up,
)
from ecdctr_tf.export.server import loading, warming
from tests import served, test_folded

SPEC = test_folded.EVERY_KIND
HISTORICAL = ("user_id", "item_id", "category")
SIZES = (1, 5)


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """A SavedModel with its requests."""
    path = tmp_path_factory.mktemp("warm_up") / "7"
    served.write(path)
    spaces = test_folded.spaces_of(SPEC)
    warm_up.write(path, SPEC, spaces, HISTORICAL, SIZES)
    return path


def logs(path):
    """Return the records as TensorFlow Serving reads them."""
    return [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path / warm_up.FILE))
    ]


def same(found, wanted):
    assert (found.signature, found.outputs) == (
        wanted.signature,
        wanted.outputs,
    )
    assert sorted(found.inputs) == sorted(wanted.inputs)
    for name, values in wanted.inputs.items():
        np.testing.assert_array_equal(found.inputs[name], values)


def test_records_are_those_of_the_stubs():
    spaces = test_folded.spaces_of(SPEC)
    for request in warm_up.requests(SPEC, spaces, HISTORICAL, 3):
        record = prediction_log.encode(request)
        log = prediction_log_pb2.PredictionLog.FromString(record)
        made = getattr(log, log.WhichOneof("log_type")).request
        assert made.model_spec.signature_name == request.signature
        same(prediction_log.decode(record), request)
        if log.HasField("predict_log"):
            inputs = {n: tf.make_ndarray(t) for n, t in made.inputs.items()}
            outputs = tuple(made.output_filter)
            same(request._replace(inputs=inputs, outputs=outputs), request)
        else:
            rows = map(tf.train.Example.FromString, request.inputs["inputs"])
            found = made.input.example_list.examples
            for example, wanted in zip(found, rows, strict=True):
                assert example.ByteSize() == wanted.ByteSize()
                assert set(example.features.feature) == set(
                    wanted.features.feature
                )


def test_every_signature_is_asked_for_every_size(version):
    requests = warm_up.read(version)
    for count in SIZES:
        asked = set()
        for request in requests:
            rank = request.signature == signatures.RANK
            sizes = {len(v) for v in request.inputs.values()}
            if rank:
                sizes = {request.inputs["item_id"].shape[1]}
            if count in sizes:
                asked.add(request.signature)
        assert asked == set(tf.saved_model.load(str(version)).signatures)
    # The user of all candidates has a history.
    ranked = [r for r in requests if r.signature == signatures.RANK]
    assert all((r.inputs["clicked"] != -1).any() for r in ranked[:1])


def test_too_many_requests_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at most 1000 requests"):
        warm_up.write(
            tmp_path, SPEC, test_folded.spaces_of(SPEC), (), [1] * 200
        )


def test_a_damaged_file_is_an_error(version, tmp_path):
    assert warm_up.read(tmp_path) == []
    file = tmp_path / warm_up.FILE
    file.parent.mkdir()
    whole = (version / warm_up.FILE).read_bytes()
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(prediction_log_pb2.PredictionLog().SerializeToString())
    other = file.read_bytes()
    for damaged in (b"none", whole[:-1], whole + whole[:20], other):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="should be a TFRecord file"):
            warm_up.read(tmp_path)


def test_a_replay_before_publishing_asks_for_everything(version):
    sent = warm_up.replay(version, SPEC)
    answers = fresh_process.answer(tf.saved_model.load(str(version)), sent)
    cases = {name.rpartition("/")[0] for name in sent}
    assert {name.rpartition("/")[0] for name in answers} == cases
    assert len(cases) == len(warm_up.read(version))


def test_an_answer_to_warm_up_that_is_not_finite_is_not_published(
    version, monkeypatch
):
    def answer(directory, sent, scratch=None):
        return {"warm-up 3/rank/ctr": np.float32([np.nan])}

    monkeypatch.setattr(verify, "in_fresh_process", answer)
    historical = test_folded.made(SPEC).historical
    with pytest.raises(ValueError, match="warm-up 3/rank/ctr should be finite"):
        verify.check(version, SPEC, historical, {})


def test_the_server_replays_all_before_a_version_is_live(version):
    ran = []

    class Counted(loading.Version):
        def run(self, signature, inputs, outputs):
            ran.append(tuple(outputs))
            return super().run(signature, inputs, outputs)

    counted = Counted(version)
    warming.replay(counted, version)
    counted.retire()
    assert len(ran) == len(logs(version))
    assert ("ctr",) in ran


def test_the_server_refuses_a_version_that_does_not_answer(version, tmp_path):
    loaded = loading.Version(version)
    file = tmp_path / warm_up.FILE
    file.parent.mkdir()
    request = warm_up.read(version)[0]._replace(signature="none")
    for record in (prediction_log.encode(request), b"", b"none"):
        with tf.io.TFRecordWriter(str(file)) as writer:
            writer.write(record)
        with pytest.raises(ValueError, match="Record 0 of .* is not answered"):
            warming.replay(loaded, tmp_path)
    loaded.retire()
