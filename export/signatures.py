"""The serving signatures, made from the `DataSpec` of a model.

Shapes: B batch.
"""

import typing

import tensorflow as tf

from ecdctr_tf import features, kinds
from ecdctr_tf.export.id_mapping import IdMapping
from ecdctr_tf.models.ctr_model import CTRModel

DEFAULT = "serving_default"
EXAMPLES = "predict_examples"
OUTPUTS = ("ctr", "logit")
# Later than any day: a request sees the newest historical version there is.
NEWEST_DAY = tf.int32.max


def make(model: CTRModel, mappings: dict[str, IdMapping]) -> dict:
    """Return signature name -> concrete function of a model.

    Args:
      model: the model.
      mappings: table name -> its ids in the graph.
    """
    spec = model.spec

    @tf.function
    def serve(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        return _predict(model, raw, mappings)

    @tf.function
    def serve_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        wanted: dict[str, typing.Any] = {}
        raw: dict[str, tf.Tensor] = {}
        for feature in kinds.of(spec):
            wanted |= feature.example_features(raw=True)
        parsed = tf.io.parse_example(examples, wanted)
        for feature in kinds.of(spec):
            raw |= feature.request_of_examples(parsed)
        return _predict(model, raw, mappings)

    strings = tf.TensorSpec([None], tf.string, "examples")
    return {
        DEFAULT: serve.get_concrete_function(**request(spec)),
        EXAMPLES: serve_examples.get_concrete_function(examples=strings),
    }


def request(spec: features.DataSpec) -> dict[str, tf.TensorSpec]:
    """Return the tensors of a `serving_default` request by name."""
    specs: dict[str, tf.TensorSpec] = {}
    for feature in kinds.of(spec):
        specs |= feature.request()
    return specs


def _predict(
    model: CTRModel, raw: dict[str, tf.Tensor], mappings: dict[str, IdMapping]
) -> dict[str, tf.Tensor]:
    """Return the outputs of a signature, each `[B]`."""
    logit = model(model_inputs(raw, model.spec, mappings), training=False)
    return dict(zip(OUTPUTS, (tf.sigmoid(logit), logit), strict=True))


def model_inputs(
    raw: dict[str, tf.Tensor],
    spec: features.DataSpec,
    mappings: dict[str, IdMapping],
) -> dict[str, tf.Tensor]:
    """Return what the model reads, from a request.

    Args:
      raw: the tensors of `request`.
      spec: the features of the model.
      mappings: table name -> its ids in the graph.

    Returns:
      The columns of each feature, as batches hold them, and `day`.
    """
    inputs: dict[str, tf.Tensor] = {}
    for feature in kinds.of(spec):
        inputs |= feature.from_request(raw, mappings)
    inputs["day"] = tf.fill(tf.shape(raw[spec.user]), NEWEST_DAY)  # [B]
    return inputs
