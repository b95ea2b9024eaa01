"""The requests that a version answers for itself before clients have it."""

import pathlib

import tensorflow as tf
from google.protobuf import message
from tensorflow_serving.apis import prediction_log_pb2

from ecdctr_tf.export import warm_up
from ecdctr_tf.export.server import answers
from ecdctr_tf.export.server.loading import Version
from ecdctr_tf.export.server.refusal import Refused

_ANSWERS = {
    "predict_log": answers.predict,
    "regress_log": answers.regress,
    "classify_log": answers.classify,
}


def replay(version: Version, path: pathlib.Path) -> None:
    """Answer the requests of the warm-up file, if there is one.

    Args:
      version: what answers.
      path: its directory.

    Raises:
      ValueError: a record is no request that the version answers, so that
        TensorFlow Serving would not load the version either.
    """
    file = path / warm_up.FILE
    if not file.exists():
        return
    records = tf.data.TFRecordDataset(str(file)).take(warm_up.MOST)
    for number, record in enumerate(records):
        try:
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            kind = log.WhichOneof("log_type")
            _ANSWERS[kind](version, getattr(log, kind).request)
        except (message.DecodeError, KeyError, Refused) as error:
            raise ValueError(
                f"Record {number} of {file} is not answered: {error}"
            ) from error
