"""The serving signatures, made from the `DataSpec` of a model.

Shapes: B batch, U users, N candidates of a user, C candidates of all users.
"""

import inspect
import typing
from collections.abc import Callable, Mapping

import tensorflow as tf

from ecdctr_tf import features, kinds
from ecdctr_tf.export import given_history, requests
from ecdctr_tf.export.id_mapping import IdMapping
from ecdctr_tf.export.weights import NEWEST_DAY

DEFAULT = "serving_default"
EXAMPLES = "predict_examples"
RANK = "rank"
REGRESSION = "regression"
CLASSIFICATION = "classification"
EMBEDDINGS = "embeddings"
OUTPUTS = ("ctr", "logit")
CLASSES = ("no click", "click")
PREDICT = "tensorflow/serving/predict"
# Signature -> the method of TensorFlow Serving that it answers, if another.
METHODS = {
    REGRESSION: "tensorflow/serving/regress",
    CLASSIFICATION: "tensorflow/serving/classify",
}
Tensors = Mapping[str, tf.Tensor]


def make(model: typing.Any, mappings: dict[str, IdMapping]) -> dict:
    """Return signature name -> function of a model.

    Args:
      model: the model as it is served, of `folded.of`.
      mappings: table name -> its ids in the graph.
    """
    spec, given = model.spec, getattr(model, "given", None)
    # One function in the graph, whatever signatures call it.
    scored = tf.function(model, autograph=False)

    def answer(logit: tf.Tensor, inputs: Tensors) -> dict[str, tf.Tensor]:
        found = dict(zip(OUTPUTS, (tf.sigmoid(logit), logit), strict=True))
        if given:
            found[given_history.IGNORED] = given.ignored(inputs, tf.size(logit))
        return found

    def predicted(raw: Tensors) -> dict[str, tf.Tensor]:
        inputs = model_inputs(raw, spec, mappings)
        return answer(scored(inputs), inputs)

    def served(raw: Tensors) -> dict[str, tf.Tensor]:
        return predicted(requests.whole(raw, owners(spec), left_out(spec)))

    def ranked(raw: Tensors) -> dict[str, tf.Tensor]:
        raw = requests.whole(raw, owners(spec, True), left_out(spec))
        shape = tf.shape(raw[spec.item])  # [U, N]
        if hasattr(model, "rank"):
            inputs = _inputs_by_user(raw, spec, mappings)
            logit = model.rank(inputs)
        else:
            inputs = model_inputs(_by_row(raw, spec), spec, mappings)
            logit = scored(inputs)
        found = answer(logit, inputs)
        return {name: tf.reshape(of, shape) for name, of in found.items()}

    def of_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        looked_for: dict[str, typing.Any] = {}
        raw: dict[str, tf.Tensor] = {}
        for feature in kinds.of(spec):
            looked_for |= feature.example_features(raw=True)
        parsed = tf.io.parse_example(examples, looked_for)
        for feature in kinds.of(spec):
            raw |= feature.request_of_examples(parsed)
        return predicted(raw)

    def regressed(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"outputs": of_examples(inputs)["ctr"]}

    def classified(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        ctr = of_examples(inputs)["ctr"]
        classes = tf.tile([CLASSES], [tf.size(ctr), 1])
        return {
            "classes": classes,
            "scores": tf.stack([1 - ctr, ctr], axis=1),
        }

    def recalled(raw: Tensors) -> dict[str, tf.Tensor]:
        found: dict[str, tf.Tensor] = {}
        for name, column in raw.items():
            rows = mappings[spec.feature(name).table].rows(column)
            days = tf.fill(tf.shape(rows), NEWEST_DAY)
            vectors, known = model.recall(name, rows, days)
            found |= {f"{name}_vector": vectors, f"{name}_known": known}
        return found

    made = {
        DEFAULT: _function(served, request(spec), defaults(spec)),
        RANK: _function(ranked, request(spec, True), defaults(spec, True)),
        EXAMPLES: _of_strings(of_examples),
        REGRESSION: _of_strings(regressed),
        CLASSIFICATION: _of_strings(classified),
    }
    historical = given_history.inside(model)
    if historical:
        ids = {name: request(spec)[name] for name in historical}
        none = {n: tf.zeros([0], s.dtype) for n, s in ids.items()}
        made[EMBEDDINGS] = _function(recalled, ids, none)
    return made


def _function(
    of_request: Callable[[Tensors], dict[str, tf.Tensor]],
    wanted: dict[str, tf.TensorSpec],
    unsaid: dict[str, tf.Tensor],
) -> typing.Any:
    """Return a function of named tensors, some of which may be left out."""
    names = sorted(wanted, key=lambda name: name in unsaid)

    def serve(*columns: tf.Tensor) -> dict[str, tf.Tensor]:
        return of_request(dict(zip(names, columns, strict=True)))

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
    specs = [wanted[name] for name in names]
    return tf.function(serve, input_signature=specs, autograph=False)


def _of_strings(function: Callable[..., dict[str, tf.Tensor]]) -> typing.Any:
    """Return a function of serialized Examples."""
    strings = [tf.TensorSpec([None], tf.string)]
    return tf.function(function, input_signature=strings, autograph=False)


def candidates(spec: features.DataSpec) -> set[str]:
    """Return the tensors of a request that each candidate has its own of."""
    return {
        name
        for feature in kinds.of(spec)
        if feature.of_candidate
        for name in feature.request()
    }


def request(
    spec: features.DataSpec, by_user: bool = False
) -> dict[str, tf.TensorSpec]:
    """Return the tensors of a request by name.

    Args:
      spec: the features of the model.
      by_user: whether each row is a user with candidates, as in `rank`: what is
        the candidate's has the dimensions U and N instead of B.
    """
    specs: dict[str, tf.TensorSpec] = {}
    for feature in kinds.of(spec):
        columns = feature.request().items()
        specs |= {name: column.tensor(name) for name, column in columns}
    if by_user:
        for name in candidates(spec):
            shape = [None, *specs[name].shape]
            specs[name] = tf.TensorSpec(shape, specs[name].dtype, name)
    return specs


def left_out(spec: features.DataSpec) -> dict[str, float | int | str]:
    """Return the tensors that a request may lack, and what then stands there.

    `kinds.Feature.left_out` of all features.
    """
    values: dict[str, float | int | str] = {}
    for feature in kinds.of(spec):
        values |= feature.left_out()
    return values


def owners(
    spec: features.DataSpec, by_user: bool = False
) -> dict[str, tuple[str, ...]]:
    """Return whose the first dimensions of tensors are, as `requests.Owners`.

    There are as many rows as users, as many candidates as items, and as many
    values of a part of a list as it has entries.
    """
    found: dict[str, tuple[str, ...]] = {}
    for feature in kinds.of(spec):
        rows: tuple[str, ...] = (spec.user,)
        if by_user and feature.of_candidate:
            rows = (spec.user, spec.item)
        for name, column in feature.request().items():
            of_list = name != feature.name and bool(column.shape)
            found[name] = (*rows, feature.name) if of_list else rows
    return found


def defaults(
    spec: features.DataSpec, by_user: bool = False
) -> dict[str, tf.Tensor]:
    """Return what a server takes for tensors that a request lacks: no rows."""
    wanted, unsaid = request(spec, by_user), left_out(spec)
    return {
        name: tf.zeros(
            [size or 0 for size in wanted[name].shape], wanted[name].dtype
        )
        for name in wanted
        if name in unsaid
    }


def model_inputs(
    raw: Tensors,
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


def _inputs_by_user(
    raw: Tensors,
    spec: features.DataSpec,
    mappings: dict[str, IdMapping],
) -> dict[str, tf.Tensor]:
    """Return what `Folded.rank` reads, from a request by users."""
    own = candidates(spec)
    flat = {n: _flat(c) if n in own else c for n, c in raw.items()}
    inputs: dict[str, tf.Tensor] = {}
    for feature in kinds.of(spec):
        columns = flat
        if feature.of_candidate and not own.issuperset(feature.feature.of):
            columns = _by_row(raw, spec)  # A cross of user and candidate.
        inputs |= feature.from_request(columns, mappings)
    return inputs


def _by_row(raw: Tensors, spec: features.DataSpec) -> dict[str, tf.Tensor]:
    """Return a request by users as one with a row for each candidate."""
    own, each = candidates(spec), tf.shape(raw[spec.item])[1]
    return {
        name: _flat(column) if name in own else tf.repeat(column, each, axis=0)
        for name, column in raw.items()
    }


def _flat(column: tf.Tensor) -> tf.Tensor:
    """Return `[U, N, ...]` as `[C, ...]`."""
    if column.shape.rank == 2:
        return tf.reshape(column, [-1])
    shape = tf.concat([[-1], tf.shape(column)[2:]], axis=0)
    return tf.ensure_shape(tf.reshape(column, shape), [None, *column.shape[2:]])


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
