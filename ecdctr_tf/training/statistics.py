"""Statistics of numbers, from the rows that a level is to be trained on."""

import numpy as np

from ecdctr_tf import features, windows
from ecdctr_tf.input import sources, streams
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models.ctr_model import CTRModel

# Most rows looked at, evenly spread over the days.
ROWS = 1 << 18


def adapt(
    model: CTRModel,
    data: DataDirectory,
    parts: dict[str, windows.Window],
    rows: int,
    use: sources.Use | None = None,
) -> None:
    """Give a model the statistics that it lacks before a window is trained on.

    The first window of a level gives nearly all of them. A number that has been
    the same in all rows so far is looked for in each window anew, and missing
    ones are until the level has been trained on many rows.

    Args:
      model: the model.
      data: the data directory.
      parts: domain -> days, which have been scored if they ever are.
      rows: how many rows the level has been trained on.
      use: how natural rows count; those that are left out are not looked at.
    """
    lacking = model.lacking(rows)
    uses = {features.NATURAL: use}
    total = sum(
        of.rows if (of := uses.get(domain)) else data.rows(domain, days)
        for domain, days in parts.items()
    )
    if not lacking or not total:
        return
    every = -(-total // ROWS)
    # A spec has to have the user and the item.
    spec = model.spec
    names = {*lacking, spec.user, spec.item}
    kept: list[dict[str, np.ndarray]] = []
    passed = 0
    for domain, days in parts.items():
        for group in streams.rows(
            data, domain, days, names=names, spec=spec, use=uses.get(domain)
        ).as_numpy_iterator():
            first = -passed % every
            kept.append({n: c[first::every] for n, c in group.items()})
            passed += len(group["click"])
    model.adapt({n: np.concatenate([k[n] for k in kept]) for n in kept[0]})
