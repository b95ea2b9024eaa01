"""The serving signatures, made from the `DataSpec` of a model.

Shapes: B batch, L places of a sequence in a request, T entries a model reads.
"""

import tensorflow as tf

from ecdctr_tf import features
from ecdctr_tf.export.id_mapping import IdMapping
from ecdctr_tf.input import blocks
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
        parsed = tf.io.parse_example(examples, example_features(spec))
        for feature in spec.of_kind("sequence"):
            parsed[feature.name] = parsed[feature.name].to_tensor(
                mappings[feature.table].padding
            )
        return _predict(model, parsed, mappings)

    strings = tf.TensorSpec([None], tf.string, "examples")
    return {
        DEFAULT: serve.get_concrete_function(**request(spec)),
        EXAMPLES: serve_examples.get_concrete_function(examples=strings),
    }


def request(spec: features.DataSpec) -> dict[str, tf.TensorSpec]:
    """Return feature name -> tensor of a `serving_default` request."""
    specs = {}
    for feature in spec.features:
        shape = [None, None] if feature.kind == "sequence" else [None]
        dtype = raw_dtype(feature, spec)
        specs[feature.name] = tf.TensorSpec(shape, dtype, feature.name)
    return specs


def example_features(spec: features.DataSpec) -> dict:
    """Return what `tf.io.parse_example` has to look for in a row."""
    parsed = {}
    for feature in spec.features:
        dtype = raw_dtype(feature, spec)
        if feature.kind == "sequence":
            parsed[feature.name] = tf.io.RaggedFeature(dtype)
        else:
            parsed[feature.name] = tf.io.FixedLenFeature([], dtype)
    return parsed


def raw_dtype(
    feature: features.FeatureSpec, spec: features.DataSpec
) -> tf.DType:
    """Return the type of a feature's raw values."""
    if feature.kind == "dense":
        return tf.float32
    return tf.as_dtype(spec.table(feature.table).dtype)


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
      raw: feature name -> raw ids `[B]` or `[B, L]`, or float32 `[B]`.
      spec: the features of the model.
      mappings: table name -> its ids in the graph.

    Returns:
      Feature name -> int32 `[B]`, int32 `[B, T]` or float32 `[B]`, and `day`.
    """
    inputs = {}
    for feature in spec.features:
        column = raw[feature.name]
        if feature.kind == "id":
            column = mappings[feature.table].rows(column)  # [B]
        elif feature.kind == "sequence":
            mapping = mappings[feature.table]
            column = _sequence(column, mapping, feature.max_length)  # [B, T]
        inputs[feature.name] = column
    inputs["day"] = tf.fill(tf.shape(raw[spec.user]), NEWEST_DAY)  # [B]
    return inputs


def _sequence(raw: tf.Tensor, mapping: IdMapping, max_length: int) -> tf.Tensor:
    """Return rows `[B, T]` of the newest ids of raw sequences `[B, L]`."""
    used = tf.not_equal(raw, mapping.padding)  # [B, L]
    rows = mapping.rows(tf.boolean_mask(raw, used))
    lengths = tf.reduce_sum(tf.cast(used, tf.int32), axis=1)  # [B]
    return blocks.pad(rows, lengths, max_length)
