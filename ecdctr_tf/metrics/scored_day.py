"""All metrics of one scored day, as they stand in manifests and reports.

Shapes: N rows.
"""

from ecdctr_tf.metrics import calibration, checks, ranking


def evaluate(click, ctr, user) -> dict:
    """Return the metrics of scored rows, ready for JSON.

    Args:
      click: `[N]`, 0 or 1.
      ctr: `[N]`, predicted click probability, in [0, 1].
      user: `[N]` integers or strings, the user of each row.

    Returns:
      `rows`, `clicks`, `auc`, `gauc`, `gauc_users` (in its mean),
      `gauc_dropped_users` (of one class), `log_loss` (nats),
      `normalized_entropy`, `pcoc`. A metric that the rows leave undefined is
      None: all but `rows` and counts of no rows, `auc`, `gauc` and
      `normalized_entropy` of one class, `pcoc` without a click.

    Raises:
      ValueError: an input is malformed.
    """
    click, ctr = checks.clicks_and_probabilities(click, ctr)
    rows, clicks = len(click), int(click.sum())
    both = 0 < clicks < rows
    grouped = ranking.gauc(click, ctr, user)
    return {
        "rows": rows,
        "clicks": clicks,
        "auc": ranking.auc(click, ctr) if both else None,
        "gauc": grouped.value,
        "gauc_users": grouped.groups,
        "gauc_dropped_users": grouped.dropped_groups,
        "log_loss": calibration.log_loss(click, ctr) if rows else None,
        "normalized_entropy": (
            calibration.normalized_entropy(click, ctr) if both else None
        ),
        "pcoc": calibration.pcoc(click, ctr) if clicks else None,
    }
