"""A newer CPM reaches a running A-CTR: add what the CPM has learned since.

`A-CTR + (CPM today - CPM before)` keeps what the A-CTR learned from ads, with
no restart and no replay, so that a refresh costs no rows of ads at all. Which
of the three models knows an id decides what becomes of its row:

| known to                          | the row of the A-CTR becomes          |
|-----------------------------------|---------------------------------------|
| both CPMs                         | its value + (newer CPM - older CPM)   |
| the newer CPM and the A-CTR       | its value + (newer CPM - first value) |
| the newer CPM only                | that of the newer CPM                 |
| not to the newer CPM              | its value                             |

The first value of a row is the same in every model of a seed
(`TableEmbedding.initial_rows`). Batch norm's moving statistics stay the
A-CTR's own, since a difference would make moving variances negative; they are
estimated again afterwards. The statistics of numbers stay its own too: they say
what its weights mean. Only those that it lacks become the newer CPM's.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ecdctr_tf.transfer import warm_start

SHIFTED = "shifted"
# Statistics -> the weight beside it that is 0 where they are not known yet;
# those of batch norm always are.
_STATISTICS = {
    "moving_mean": "",
    "moving_variance": "",
    "mean": "deviation",
    "deviation": "deviation",
    "quantiles": "deviation",
    "partial": "partial",
    "rows": "rows",
}


@dataclasses.dataclass(frozen=True)
class Strength:
    """How much of a change is taken, each from 0 (none) to 1 (all)."""

    # Of what the tables' rows learned.
    tables: float = 1.0
    # Of what the dense weights learned.
    dense: float = 1.0


@dataclasses.dataclass(frozen=True)
class TableRows:
    """How many rows of a table each model knows, and how rows start."""

    # Rows that the CPM before, the newer CPM and the A-CTR know.
    old: int
    new: int
    own: int
    # First and one past the last row -> their first values, float32 `[N, D]`.
    initial: Callable[[int, int], np.ndarray]


def add_change(
    variables: dict[str, tf.Variable],
    new: dict[str, np.ndarray],
    old: dict[str, np.ndarray],
    tables: dict[str, TableRows],
    source: str,
    strength: Strength = Strength(),
) -> warm_start.RestoreReport:
    """Add the change from one checkpoint of a model to the next.

    Args:
      variables: the A-CTR's, by path; tables have room for all rows known.
      new: the newer CPM's values, by path.
      old: the values of the CPM before it.
      tables: path of a table's embeddings -> the rows that are known.
      source: where the values come from, for messages.
      strength: how much of the change is added. Rows that the A-CTR does not
        know yet are those of the newer CPM all the same.

    Returns:
      The report; variables with a change are "shifted", others "restored" to
      what they were.

    Raises:
      ValueError: names or shapes differ; no variable has been changed.
    """
    values = {
        name: _kept(name, variables, value)
        if _is_statistic(name)
        else _changed(
            variables.get(name),
            value,
            old.get(name),
            tables.get(name),
            strength,
        )
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


def _kept(
    name: str, variables: dict[str, tf.Variable], new: np.ndarray
) -> np.ndarray:
    """Return statistics that stay, or become new ones where there are none."""
    if name not in variables:
        return new  # `restore` says what does not fit.
    value = variables[name].numpy()
    layer, _, last = name.rpartition("/")
    known = f"{layer}/{_STATISTICS[last]}"
    if known not in variables:
        return value
    return np.where(variables[known].numpy() > 0, value, new)


def _changed(
    variable: tf.Variable | None,
    new: np.ndarray,
    old: np.ndarray | None,
    table: TableRows | None,
    strength: Strength,
) -> np.ndarray:
    """Return a variable's value with the change added."""
    if variable is None or old is None:
        return new  # `restore` says what does not fit.
    value = variable.numpy()
    if table is not None:
        return _changed_rows(value, new, old, table, strength.tables)
    if value.shape == new.shape == old.shape:
        return value + strength.dense * (new - old)
    return new


def _changed_rows(
    value: np.ndarray,
    new: np.ndarray,
    old: np.ndarray,
    known: TableRows,
    strength: float,
) -> np.ndarray:
    """Return the rows of a table by which of the models knows them."""
    both = min(known.old, known.new)
    value[:both] += strength * (new[:both] - old[:both])
    learned = slice(both, max(min(known.new, known.own), both))
    initial = known.initial(learned.start, learned.stop)
    value[learned] += strength * (new[learned] - initial)
    first = max(both, known.own)
    value[first : known.new] = new[first : known.new]
    return value
