"""Made-up requests, and what the model answers to them without the export.

The answers go through `IdSpace.lookup` and NumPy, not through the exported
graph, so that both id mapping and network are compared.

Shapes: N requests.
"""

import typing

import numpy as np
import tensorflow as tf

from ecdctr_tf import features, kinds
from ecdctr_tf.export import given_history, load, signatures
from ecdctr_tf.input import examples, id_space
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.mixture import MixedModel

ROWS = 8
Columns = dict[str, np.ndarray]
Spaces = dict[str, id_space.IdSpace]


class Case(typing.NamedTuple):
    """A request, and what is to be answered."""

    signature: str
    # Name of a tensor -> its values; strings are objects.
    inputs: Columns
    outputs: Columns


def cases(
    model: CTRModel | MixedModel,
    spaces: Spaces,
    given: given_history.Given | None = None,
) -> dict[str, Case]:
    """Return requests to all signatures by name.

    Args:
      model: what answers them, with all of its history.
      spaces: table name -> the ids that requests ask for.
      given: what requests say of history; None: nothing.
    """
    spec = given.spec if given else model.spec
    raw = requests(spec, spaces)
    if given:
        raw = given_history.filled(given, model, raw, spaces)
    unsaid = least(raw, spec)
    needed = set(raw) - set(signatures.left_out(spec))
    nothing = dict(unsaid)
    for feature in (spec.user, spec.item):
        padding = spec.table(spec.feature(feature).table).padding
        nothing[feature] = np.full_like(raw[feature], padding)
    found: dict[str, Case] = {}
    for name, columns, sent in (
        ("many", raw, set(raw)),
        ("one", {n: column[:1] for n, column in raw.items()}, set(raw)),
        ("least", unsaid, needed),
        ("nothing", nothing, needed - {spec.user, spec.item}),
    ):
        wanted = expected(model, columns, spaces, given)
        found |= _of_examples(name, columns, sent, spec, wanted)
        if needed <= sent:
            inputs = _filled(columns, sent, signatures.defaults(spec))
            found[name] = Case(signatures.DEFAULT, inputs, wanted)
    for name, columns, sent, users in (
        ("users", raw, set(raw), 2),
        ("user", raw, set(raw), 1),
        ("least of users", unsaid, needed, 2),
    ):
        ranked, rows = by_users(columns, spec, users)
        wanted = expected(model, rows, spaces, given)
        wanted = {n: answer.reshape(users, -1) for n, answer in wanted.items()}
        inputs = _filled(ranked, sent, signatures.defaults(spec, by_user=True))
        found[name] = Case(signatures.RANK, inputs, wanted)
    if model.historical and not given:
        found["history"] = _of_history(model, raw, spaces)
    return found


def requests(
    spec: features.DataSpec, spaces: Spaces, count: int = ROWS
) -> Columns:
    """Return raw requests: known and unknown ids, short and long sequences.

    Args:
      spec: the features of the model.
      spaces: table name -> the ids it knows.
      count: N.

    Returns:
      The columns of a `serving_default` request, text as objects.
    """
    random = np.random.default_rng(0)
    ids = {name: _some_ids(space) for name, space in spaces.items()}
    raw: Columns = {}
    for feature in kinds.of(spec):
        raw |= feature.made_up(random, ids, count)
    return raw


def least(raw: Columns, spec: features.DataSpec) -> Columns:
    """Return requests as those are read that leave out all they may.

    Args:
      raw: as of `requests`.
      spec: the features of the model.
    """
    unsaid = {
        name: np.full(raw[name].shape, value, raw[name].dtype)
        for name, value in signatures.left_out(spec).items()
    }
    return {**raw, **unsaid}


def expected(
    model: CTRModel | MixedModel,
    raw: Columns,
    spaces: Spaces,
    given: given_history.Given | None = None,
) -> Columns:
    """Return the model's own answers: `ctr` and `logit`, float32 `[N]`.

    And, where requests bring history, `vectors_ignored`, int32 `[N]`.
    """
    inputs = {}
    for feature in kinds.of(model.spec):
        for name, column in feature.looked_up(raw, spaces).items():
            inputs[name] = tf.constant(column)
    inputs |= signatures.context(len(raw[model.spec.user]))
    ignored = {}
    if given:
        inputs["day"], count = given_history.days(given, raw)
        ignored[given_history.IGNORED] = count
    logit = model(inputs, training=False)
    answer = {"ctr": tf.sigmoid(logit).numpy(), "logit": logit.numpy()}
    return answer | ignored


def _some_ids(space: id_space.IdSpace) -> np.ndarray:
    """Return an unknown id and, of a vocabulary, the first and last ones."""
    text = space.table.dtype == "string"
    known: list[int | str] = [f"id-{i}" if text else i for i in range(6)]
    if isinstance(space, id_space.Vocabulary):
        ids = space.entries.drop_null()
        last = ids.slice(max(len(ids) - 3, 0))
        known = [*ids.slice(0, 3).to_pylist(), *last.to_pylist()]
    return np.array([*known, unknown(space)], object if text else np.int64)


def unknown(space: id_space.IdSpace) -> int | str:
    """Return a raw id that an id space does not know."""
    found: int | str = "no-such-id" if space.table.dtype == "string" else -2
    while isinstance(space, id_space.Vocabulary) and load.knows(space, found):
        found = found - 1 if isinstance(found, int) else f"{found}-"
    return found


def _filled(
    columns: Columns, sent: set[str], unsaid: dict[str, tf.Tensor]
) -> Columns:
    """Return a request as a server completes it, with tensors without rows."""
    return {
        name: column if name in sent else unsaid[name].numpy()
        for name, column in columns.items()
    }


def _of_examples(
    name: str,
    columns: Columns,
    sent: set[str],
    spec: features.DataSpec,
    wanted: Columns,
) -> dict[str, Case]:
    """Return a request to each signature that takes Examples."""
    ctr = wanted["ctr"]
    rows = examples.requests(columns, spec, sent) or [b""] * len(ctr)
    classes = [[label.encode() for label in signatures.CLASSES]] * len(ctr)
    classified = {
        "classes": np.array(classes, object),
        "scores": np.stack([1 - ctr, ctr], axis=1),
    }
    return {
        f"{name} {signature}": Case(
            signature, {column: np.array(rows, object)}, outputs
        )
        for signature, column, outputs in (
            (signatures.EXAMPLES, "examples", wanted),
            (signatures.REGRESSION, "inputs", {"outputs": ctr}),
            (signatures.CLASSIFICATION, "inputs", classified),
        )
    }


def by_users(
    raw: Columns, spec: features.DataSpec, users: int
) -> tuple[Columns, Columns]:
    """Return a request to rank, and the rows that it stands for.

    Args:
      raw: as of `requests`.
      spec: the features of the model.
      users: how many, a divisor of N; the rest are candidates of the user.
    """
    own = signatures.candidates(spec)
    each = len(raw[spec.user]) // users
    ranked, rows = {}, {}
    for name, column in raw.items():
        if name in own:
            ranked[name] = column.reshape(users, each, *column.shape[1:])
            rows[name] = column
        else:
            ranked[name] = column[::each]
            rows[name] = np.repeat(column[::each], each, axis=0)
    return ranked, rows


def _of_history(
    model: CTRModel | MixedModel, raw: Columns, spaces: Spaces
) -> Case:
    """Return a request for historical vectors."""
    inputs, wanted = {}, {}
    for name in model.historical:
        table = model.spec.feature(name).table
        rows = tf.constant(spaces[table].lookup(raw[name]))
        days = tf.fill(rows.shape, signatures.NEWEST_DAY)
        vectors, known = model.recall(name, rows, days)
        inputs[name] = raw[name]
        wanted[f"{name}_vector"] = vectors.numpy()
        wanted[f"{name}_known"] = known.numpy()
    return Case(signatures.EMBEDDINGS, inputs, wanted)
