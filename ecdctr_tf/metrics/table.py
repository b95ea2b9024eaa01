"""The metrics that are reported; a new one is a file and a row here.

Manifests, tables, plots, slices and intervals follow this list.
"""

from ecdctr_tf.metrics import calibration, ranking
from ecdctr_tf.metrics.metric import Metric


def _rows(rows: int, clicks: int) -> bool:
    del clicks
    return rows > 0


def _click(rows: int, clicks: int) -> bool:
    del rows
    return clicks > 0


def _both_classes(rows: int, clicks: int) -> bool:
    return 0 < clicks < rows


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "auc",
            "AUC",
            better=1,
            needs=_both_classes,
            value=lambda click, ctr, user, weight: ranking.auc(
                click, ctr, weight
            ),
            weighted=ranking.weighted_auc,
        ),
        Metric(
            "gauc",
            "GAUC",
            better=1,
            needs=_both_classes,
            value=lambda *rows: ranking.gauc(*rows).value,
            weighted=ranking.weighted_gauc,
            by_user=ranking.areas_by_user,
        ),
        Metric(
            "log_loss",
            "log loss",
            better=-1,
            needs=_rows,
            value=lambda click, ctr, user, weight: calibration.log_loss(
                click, ctr, weight
            ),
            weighted=calibration.weighted_log_loss,
            by_user=calibration.losses_by_user,
        ),
        Metric(
            "normalized_entropy",
            "NE",
            better=-1,
            needs=_both_classes,
            value=lambda click, ctr, user, weight: (
                calibration.normalized_entropy(click, ctr, weight)
            ),
            weighted=calibration.weighted_normalized_entropy,
            by_user=calibration.losses_by_user,
        ),
        Metric(
            "pcoc",
            "PCOC",
            better=0,
            needs=_click,
            value=lambda click, ctr, user, weight: calibration.pcoc(
                click, ctr, weight
            ),
            weighted=calibration.weighted_pcoc,
            by_user=calibration.predictions_by_user,
        ),
    )
}
