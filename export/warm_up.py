"""Requests that a server answers for itself before a version goes live.

The first call of a signature prepares its part of the graph and takes many
times as long as the next one. TensorFlow Serving replays the file of such
requests when it loads a version, and only then lets clients have it.

Each signature is asked for each number of rows, or of candidates of a user,
that clients send. `serving_default`, `rank` and `predict_examples` are also
asked for `ctr` alone, which another part of the graph answers, and the first
two without the inputs that may be left out. The requests are made up, of known
and unknown ids; nobody has ever sent them.
"""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from google.protobuf import message

from ecdctr_tf import config as configs
from ecdctr_tf import features
from ecdctr_tf.export import prediction_log, probe, signatures
from ecdctr_tf.input import examples

FILE = pathlib.PurePosixPath("assets.extra/tf_serving_warmup_requests")
# Rows, or candidates, of the requests of clients.
CANDIDATES = configs.ServingConfig().candidates
# Records that TensorFlow Serving replays at most.
MOST = 1000


def write(
    directory: pathlib.Path,
    spec: features.DataSpec,
    spaces: probe.Spaces,
    historical: Sequence[str],
    candidates: Sequence[int] = CANDIDATES,
) -> None:
    """Write the requests of a SavedModel.

    Args:
      directory: the SavedModel.
      spec: the features of the model.
      spaces: table name -> the ids that the model knows.
      historical: the features with history.
      candidates: numbers of rows, or of candidates of a user, that are sent.

    Raises:
      ValueError: there would be more requests than a server replays.
    """
    made = [
        request
        for count in candidates
        for request in requests(spec, spaces, historical, count)
    ]
    if len(made) > MOST:
        raise ValueError(
            f"A server replays at most {MOST} requests. Received: "
            f"{len(candidates)} sizes, which make {len(made)}."
        )
    file = directory / FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in made:
            writer.write(prediction_log.encode(request))


def read(directory: pathlib.Path) -> list[prediction_log.Request]:
    """Return the requests of a SavedModel; none if it has no such file.

    Raises:
      ValueError: the file is damaged.
    """
    file = directory / FILE
    if not file.exists():
        return []
    try:
        records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
        if not records:
            raise ValueError("it holds no record")
        return [prediction_log.decode(record) for record in records]
    except (message.DecodeError, ValueError, tf.errors.OpError) as error:
        raise ValueError(
            f"{file} should be a TFRecord file of PredictionLogs: {error}"
        ) from error


def replay(
    directory: pathlib.Path, spec: features.DataSpec
) -> dict[str, np.ndarray]:
    """Return the requests of a SavedModel as `verify.in_fresh_process` asks.

    What they leave out has the shape that a server gives it.
    """
    unsaid = {
        signatures.DEFAULT: signatures.defaults(spec),
        signatures.RANK: signatures.defaults(spec, by_user=True),
    }
    sent = {}
    for number, request in enumerate(read(directory)):
        inputs = {
            name: value.numpy()
            for name, value in unsaid.get(request.signature, {}).items()
        }
        for name, values in (inputs | request.inputs).items():
            sent[f"warm-up {number}/{request.signature}/{name}"] = values
    return sent


def requests(
    spec: features.DataSpec,
    spaces: probe.Spaces,
    historical: Sequence[str],
    count: int,
) -> Iterator[prediction_log.Request]:
    """Yield requests of `count` rows, or of a user with as many candidates."""
    # The third row has full lists; it is the user's of all candidates.
    raw = probe.requests(spec, spaces, count + 2)
    raw = {name: column[2:] for name, column in raw.items()}
    ranked, _ = probe.by_users(raw, spec, 1)
    optional = signatures.left_out(spec)
    for signature, inputs in (
        (signatures.DEFAULT, raw),
        (signatures.RANK, ranked),
    ):
        least = {n: v for n, v in inputs.items() if n not in optional}
        yield prediction_log.Request(signature, inputs)
        yield prediction_log.Request(signature, inputs, ("ctr",))
        yield prediction_log.Request(signature, least)
    rows = np.array(examples.requests(raw, spec), object)
    yield prediction_log.Request(signatures.EXAMPLES, {"examples": rows})
    yield prediction_log.Request(
        signatures.EXAMPLES, {"examples": rows}, ("ctr",)
    )
    for signature in signatures.METHODS:
        yield prediction_log.Request(signature, {"inputs": rows})
    if historical:
        ids = {name: raw[name] for name in historical}
        yield prediction_log.Request(signatures.EMBEDDINGS, ids)
