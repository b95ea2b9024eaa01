"""The serving signatures, made from the `DataSpec` of a model.

Shapes: B batch.
"""

import inspect
import typing

import tensorflow as tf

from ecdctr_tf import features, kinds
from ecdctr_tf.export.id_mapping import IdMapping
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.mixture import MixedModel

DEFAULT = "serving_default"
EXAMPLES = "predict_examples"
OUTPUTS = ("ctr", "logit")
# Later than any day: a request sees the newest historical version there is.
NEWEST_DAY = tf.int32.max


def make(model: CTRModel | MixedModel, mappings: dict[str, IdMapping]) -> dict:
    """Return signature name -> function of a model.

    Args:
      model: the model.
      mappings: table name -> its ids in the graph.
    """
    spec = model.spec

    wanted = request(spec)
    unsaid = defaults(spec)
    names = sorted(wanted, key=lambda name: name in unsaid)

    def serve(*columns: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = filled(dict(zip(names, columns, strict=True)), spec)
        return _predict(model, raw, mappings)

    # What may be left out becomes part of the SavedModel's signature.
    serve.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=unsaid.get(name, inspect.Parameter.empty),
            )
            for name in names
        ]
    )

    @tf.function(autograph=False)
    def serve_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        looked_for: dict[str, typing.Any] = {}
        raw: dict[str, tf.Tensor] = {}
        for feature in kinds.of(spec):
            looked_for |= feature.example_features(raw=True)
        parsed = tf.io.parse_example(examples, looked_for)
        for feature in kinds.of(spec):
            raw |= feature.request_of_examples(parsed)
        return _predict(model, raw, mappings)

    strings = tf.TensorSpec([None], tf.string, "examples")
    return {
        DEFAULT: tf.function(
            serve,
            input_signature=[wanted[name] for name in names],
            autograph=False,
        ),
        EXAMPLES: serve_examples.get_concrete_function(examples=strings),
    }


def request(spec: features.DataSpec) -> dict[str, tf.TensorSpec]:
    """Return the tensors of a `serving_default` request by name."""
    specs: dict[str, tf.TensorSpec] = {}
    for feature in kinds.of(spec):
        specs |= feature.request()
    return specs


def left_out(spec: features.DataSpec) -> dict[str, float | int | str]:
    """Return the tensors that a request may lack, and what then stands there.

    `kinds.Feature.left_out` of all features.
    """
    values: dict[str, float | int | str] = {}
    for feature in kinds.of(spec):
        values |= feature.left_out()
    return values


def defaults(spec: features.DataSpec) -> dict[str, tf.Tensor]:
    """Return what a server takes for tensors that a request lacks: no rows."""
    wanted, unsaid = request(spec), left_out(spec)
    return {
        name: tf.zeros(
            [size or 0 for size in wanted[name].shape], wanted[name].dtype
        )
        for name in wanted
        if name in unsaid
    }


def filled(
    raw: dict[str, tf.Tensor], spec: features.DataSpec
) -> dict[str, tf.Tensor]:
    """Return a request with the rows of the tensors that it lacks.

    Args:
      raw: the tensors of `request`; those it lacks have no rows.
      spec: the features of the model.
    """
    count = tf.shape(raw[spec.user])[0]
    whole = dict(raw)
    for name, value in left_out(spec).items():
        shape = tf.shape(raw[name])
        # Another number of rows is an error of the client, and stays one.
        lacking = tf.where(shape[0] == 0, count, 0)
        shape = tf.concat([[lacking], shape[1:]], axis=0)
        filler = tf.fill(shape, tf.constant(value, raw[name].dtype))
        whole[name] = tf.concat([raw[name], filler], axis=0)
    return whole


def _predict(
    model: CTRModel | MixedModel,
    raw: dict[str, tf.Tensor],
    mappings: dict[str, IdMapping],
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
      The columns of each feature, as batches hold them, `day` and `domain`.
    """
    inputs: dict[str, tf.Tensor] = {}
    for feature in kinds.of(spec):
        inputs |= feature.from_request(raw, mappings)
    return inputs | context(tf.shape(raw[spec.user])[0])


def context(count: int | tf.Tensor) -> dict[str, tf.Tensor]:
    """Return what models read beside features, int32 `[B]` each.

    A request sees the newest history there is, and is one for ads.

    Args:
      count: B.
    """
    ads = features.DOMAINS.index(features.ADS)
    return {
        "day": tf.fill([count], NEWEST_DAY),
        "domain": tf.fill([count], ads),
    }
