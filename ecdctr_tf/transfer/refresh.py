"""A newer CPM reaches a running A-CTR: add what the CPM has learned since.

`A-CTR + (CPM today - CPM before)` keeps what the A-CTR learned from ads, with
no restart and no replay, so that a refresh costs no rows of ads at all. Batch
norm's moving statistics stay the A-CTR's own: a difference would make moving
variances negative.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from ecdctr_tf.transfer import warm_start

SHIFTED = "shifted"
_STATISTICS = ("moving_mean", "moving_variance")


def add_change(
    variables: dict[str, tf.Variable],
    new: dict[str, np.ndarray],
    old: dict[str, np.ndarray],
    source: str,
) -> warm_start.RestoreReport:
    """Add the change from one checkpoint of a model to the next.

    Args:
      variables: the A-CTR's, by path.
      new: the newer CPM's values, by path.
      old: the values of the CPM before it. Rows of tables that it lacks are
        taken from `new` as they are.
      source: where the values come from, for messages.

    Returns:
      The report; variables with a change are "shifted", others "restored" to
      what they were.

    Raises:
      ValueError: names or shapes differ; no variable has been changed.
    """
    values = {
        name: _changed(name, variables.get(name), value, old.get(name))
        for name, value in new.items()
    }
    report = warm_start.restore(variables, values, source)
    return dataclasses.replace(
        report,
        variables=tuple(
            v
            if _is_statistic(v.name)
            else dataclasses.replace(v, status=SHIFTED)
            for v in report.variables
        ),
    )


def _is_statistic(name: str) -> bool:
    return name.split("/")[-1] in _STATISTICS


def _changed(name, variable, new, old) -> np.ndarray:
    """Return a variable's value with the change added."""
    if variable is None or old is None:
        return new  # `restore` says what does not fit.
    value = variable.numpy()
    if _is_statistic(name):
        return value
    if value.ndim == 0 or value.shape == new.shape == old.shape:
        return value + (new - old)
    rows = min(len(value), len(new))
    known = min(rows, len(old))
    value[:known] += new[:known] - old[:known]
    value[known:rows] = new[known:rows]
    return value
