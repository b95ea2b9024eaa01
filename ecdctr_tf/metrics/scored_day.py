"""All metrics of one scored day, as they stand in manifests and reports.

Shapes: N rows.
"""

import typing

import numpy.typing as npt

from ecdctr_tf.metrics import checks, ranking
from ecdctr_tf.metrics.table import METRICS


def evaluate(
    click: npt.ArrayLike,
    ctr: npt.ArrayLike,
    user: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
) -> dict[str, typing.Any]:
    """Return the metrics of scored rows, ready for JSON.

    Args:
      click: `[N]`, 0 or 1.
      ctr: `[N]`, predicted click probability, in [0, 1].
      user: `[N]` integers or strings, the user of each row.
      weight: `[N]`, at least 0; None weighs all rows alike. Rows of weight 0
        are left out, also of the counts, which are of rows, not of weights.

    Returns:
      `rows`, `clicks`, `gauc_users` and `gauc_dropped_users` (that have rows of
      both classes, and that have not), and each of `METRICS`, None where the
      rows leave it undefined: all of no rows, `auc`, `gauc` and
      `normalized_entropy` of one class, `pcoc` without a click.

    Raises:
      ValueError: an input is malformed.
    """
    click, ctr = checks.clicks_and_probabilities(click, ctr)
    user = checks.groups(click, user)
    weight = checks.weights(click, weight)
    counted = weight > 0
    click, ctr, user, weight = (
        column[counted] for column in (click, ctr, user, weight)
    )
    rows, clicks = len(click), int(click.sum())
    mixed, single = ranking.mixed_groups(click, user)
    return {
        "rows": rows,
        "clicks": clicks,
        "gauc_users": mixed,
        "gauc_dropped_users": single,
        **{
            name: metric.value(click, ctr, user, weight)
            if metric.needs(rows, clicks)
            else None
            for name, metric in METRICS.items()
        },
    }
