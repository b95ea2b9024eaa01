"""Made-up requests, and what the model answers to them without the export.

The answers go through `IdSpace.lookup` and NumPy, not through the exported
graph, so that both id mapping and network are compared.

Shapes: N requests.
"""

import numpy as np
import tensorflow as tf

from ecdctr_tf import features, kinds
from ecdctr_tf.export import load, signatures
from ecdctr_tf.input import id_space
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.mixture import MixedModel

ROWS = 8


def requests(
    spec: features.DataSpec, spaces: dict[str, id_space.IdSpace]
) -> dict[str, np.ndarray]:
    """Return raw requests: known and unknown ids, short and long sequences.

    Args:
      spec: the features of the model.
      spaces: table name -> the ids it knows.

    Returns:
      The columns of a `serving_default` request, text as objects.
    """
    random = np.random.default_rng(0)
    ids = {name: _some_ids(space) for name, space in spaces.items()}
    raw: dict[str, np.ndarray] = {}
    for feature in kinds.of(spec):
        raw |= feature.made_up(random, ids, ROWS)
    return raw


def least(
    raw: dict[str, np.ndarray], spec: features.DataSpec
) -> dict[str, np.ndarray]:
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


def _some_ids(space: id_space.IdSpace) -> np.ndarray:
    """Return an unknown id and, of a vocabulary, the first and last ones."""
    text = space.table.dtype == "string"
    known: list[int | str] = [f"id-{i}" if text else i for i in range(6)]
    if isinstance(space, id_space.Vocabulary):
        known = [*space.ids[:3], *space.ids[-3:]]
    unknown: int | str = "no-such-id" if text else -2
    while isinstance(space, id_space.Vocabulary) and load.knows(space, unknown):
        unknown = unknown - 1 if isinstance(unknown, int) else f"{unknown}-"
    return np.array([*known, unknown], object if text else np.int64)


def expected(
    model: CTRModel | MixedModel,
    raw: dict[str, np.ndarray],
    spaces: dict[str, id_space.IdSpace],
) -> dict[str, np.ndarray]:
    """Return the model's own answers: `ctr` and `logit`, float32 `[N]`."""
    inputs = {}
    for feature in kinds.of(model.spec):
        for name, column in feature.looked_up(raw, spaces).items():
            inputs[name] = tf.constant(column)
    inputs |= signatures.context(len(raw[model.spec.user]))
    logit = model(inputs, training=False)
    return {"ctr": tf.sigmoid(logit).numpy(), "logit": logit.numpy()}
