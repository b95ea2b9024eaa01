"""Click probabilities of whole days.

Shapes: N rows of the days, H heads of the model.
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from ecdctr_tf import features, windows
from ecdctr_tf.input import streams, time_parts
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models.ctr_model import CTRModel, combined
from ecdctr_tf.models.mixture import MixedModel

_SCORE_BATCH = 8192


class NotFiniteError(ValueError):
    """A click probability is not a number."""


def score(
    model: CTRModel | MixedModel,
    data: DataDirectory,
    window: windows.Window,
    domain: str = features.ADS,
    as_of: str = "",
    part: time_parts.Part | None = None,
    watch: Callable[[Mapping[str, tf.Tensor]], None] | None = None,
) -> dict[str, np.ndarray]:
    """Return click probabilities of days, in the order of their files.

    Args:
      model: the model.
      data: the data directory.
      window: the days.
      domain: "natural" or "ads".
      as_of: look history up as of this day; empty: as of the row's day.
      part: the rows that are scored; None: all.
      watch: is shown the columns of each batch; None: nobody is.

    Returns:
      `ctr`, `click` and `weight` float32 `[N]`, `user` and `item` int32 `[N]`,
      and the logits of the heads, `heads` float32 `[N, H]`, not calibrated.

    Raises:
      NotFiniteError: a logit is not finite.
    """
    place = features.DOMAINS.index(domain)
    spec = model.spec
    batches = streams.batches(
        data, domain, window, _SCORE_BATCH, spec=spec, part=part
    )
    # Joint models read the domain.
    number = tf.TensorSpec([None], tf.int32)
    specs = {"domain": number, **batches.element_spec[0]}
    predict = model.logits
    if not tf.config.functions_run_eagerly():
        # Traced once a model, for batches of any size.
        predict = predict.get_concrete_function(specs)
    parts = []
    for inputs, click in batches:
        if watch is not None:
            watch(inputs)
        inputs = {"domain": tf.fill(tf.shape(click), place), **inputs}
        if as_of:
            day = windows.day_number(as_of)
            inputs["day"] = tf.fill(tf.shape(click), day)
        heads = predict(inputs)
        logit = combined(heads, model.line)
        parts.append(
            {
                "ctr": tf.sigmoid(logit).numpy(),
                "heads": heads.numpy(),
                "click": click.numpy(),
                "weight": inputs["weight"].numpy(),
                "user": inputs[data.spec.user].numpy(),
                "item": inputs[data.spec.item].numpy(),
            }
        )
    scores = {
        name: np.concatenate([p[name] for p in parts]) for name in parts[0]
    }
    bad = np.flatnonzero(~np.isfinite(scores["heads"]).all(axis=1))
    if bad.size:
        raise NotFiniteError(
            f"Scoring {domain} of {window} gave values that are not finite, "
            f"for example in rows {bad[:3].tolist()}. "
            "Look for extreme numbers among the features of these rows."
        )
    return scores
