"""Metrics of click predictions, in NumPy."""

from ecdctr_tf.metrics.calibration import log_loss, normalized_entropy, pcoc
from ecdctr_tf.metrics.ranking import GaucResult, auc, gauc
from ecdctr_tf.metrics.scored_day import evaluate

__all__ = [
    "GaucResult",
    "auc",
    "evaluate",
    "gauc",
    "log_loss",
    "normalized_entropy",
    "pcoc",
]
