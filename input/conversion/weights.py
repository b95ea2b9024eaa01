"""Weights of rows: of a column of a log, or of how the log was downsampled."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import log_columns

# One row of a larger weight would be all that a batch is about.
LARGEST = 1_000_000


def check(owner: str, weight: str, downsampled: float) -> None:
    """Raise a ValueError unless a log says at most one thing of its weights.

    Args:
      owner: the log.
      weight: column with the weights, or "".
      downsampled: share of the rows without a click that the log holds.
    """
    if not 1 / LARGEST <= downsampled <= 1:
        raise ValueError(
            f"`downsampled` of {owner} should be the share of the rows without "
            f"a click that the log holds, from {1 / LARGEST:g} to 1. Received: "
            f"{downsampled!r}"
        )
    if weight and downsampled < 1:
        raise ValueError(
            f"{owner} should have `weight` or `downsampled`, not both. "
            f"Received: {weight!r}, {downsampled!r}"
        )


def of_column(column: log_columns.LogColumn) -> pa.Array:
    """Return the weights of a column, float32.

    Raises:
      ValueError: one is missing, below 0 or above `LARGEST`.
    """
    should = f"a weight from 0 to {LARGEST:,} in every row"
    numbers = column.numbers(should).values
    good = pc.and_(
        pc.greater_equal(numbers, 0), pc.less_equal(numbers, LARGEST)
    )
    column.reject(pc.invert(pc.fill_null(good, False)), f"hold {should}")
    return numbers.cast(pa.float32())


def of_clicks(clicks: pa.Array, downsampled: float) -> pa.Array:
    """Return 1 for clicks and 1 / `downsampled` for other rows, float32."""
    weights = np.where(clicks.to_numpy() == 1, 1, 1 / downsampled)
    return pa.array(weights, pa.float32())
