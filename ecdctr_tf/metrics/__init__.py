"""Metrics of click predictions, in NumPy."""

from ecdctr_tf.metrics.bootstrap import (
    Difference,
    Estimate,
    Intervals,
    draw_users,
    estimate,
    intervals,
)
from ecdctr_tf.metrics.calibration import (
    log_loss,
    logit_shift,
    normalized_entropy,
    pcoc,
)
from ecdctr_tf.metrics.forgetting import (
    average_forgetting,
    backward_transfer,
    forward_transfer,
)
from ecdctr_tf.metrics.metric import Metric
from ecdctr_tf.metrics.ranking import (
    GaucResult,
    auc,
    expected_auc,
    gauc,
    weighted_expected_auc,
)
from ecdctr_tf.metrics.scored_day import evaluate
from ecdctr_tf.metrics.table import METRICS
from ecdctr_tf.metrics.weighted import ScoredRows

__all__ = [
    "METRICS",
    "Difference",
    "Estimate",
    "GaucResult",
    "Intervals",
    "Metric",
    "ScoredRows",
    "auc",
    "average_forgetting",
    "backward_transfer",
    "draw_users",
    "estimate",
    "evaluate",
    "expected_auc",
    "forward_transfer",
    "gauc",
    "intervals",
    "log_loss",
    "logit_shift",
    "normalized_entropy",
    "pcoc",
    "weighted_expected_auc",
]
