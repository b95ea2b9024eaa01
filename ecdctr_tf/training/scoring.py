"""Scoring days of either domain, and letting batch norm see ads."""

import numpy as np
import tensorflow as tf

from ecdctr_tf import features, windows
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models.ctr_model import CTRModel

ADS = "ads"
_SCORE_BATCH = 8192


def score(
    model: CTRModel,
    data: DataDirectory,
    window: windows.Window,
    domain: str = ADS,
    as_of: str = "",
) -> dict[str, np.ndarray]:
    """Return click probabilities of days, in the order of their files.

    Args:
      model: the model.
      data: the data directory.
      window: the days.
      domain: "natural" or "ads".
      as_of: look history up as of this day; empty: as of the row's day.

    Returns:
      `ctr` and `click` float32 `[N]`, `user` and `item` int32 `[N]`.
    """
    names = [f.name for f in model.spec.features]
    place = features.DOMAINS.index(domain)
    batches = streams.batches(data, domain, window, _SCORE_BATCH, names=names)
    parts = []
    for inputs, click in batches:
        # Joint models read it.
        inputs = {"domain": tf.fill(tf.shape(click), place), **inputs}
        if as_of:
            day = windows.day_number(as_of)
            inputs["day"] = tf.fill(tf.shape(click), day)
        parts.append(
            {
                "ctr": model.score(inputs).numpy(),
                "click": click.numpy(),
                "user": inputs[data.spec.user].numpy(),
                "item": inputs[data.spec.item].numpy(),
            }
        )
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def adapt_statistics(model: CTRModel, dataset: tf.data.Dataset) -> None:
    """Let batch norm's moving statistics see ads; no weight is trained."""
    for inputs, _ in dataset:
        model(inputs, training=True)
