"""Features that vary in one domain only, such as the bid of ads.

In the other domain they are missing, or always the same. What only ads have, a
CPM never sees, and the A-CTR learns it from ads alone. What only natural logs
have, ads cannot use.
"""

from collections.abc import Sequence

import numpy as np

from ecdctr_tf import features, kinds
from ecdctr_tf.diagnostics import daily_constants
from ecdctr_tf.input.data_directory import DataDirectory


def measure(
    data: DataDirectory, exclude: Sequence[str] = (), seed: int = 0
) -> dict[str, list[str]] | None:
    """Return the features that vary in the newest days of one domain only.

    Args:
      data: the data directory.
      exclude: names of features that are not looked at.
      seed: of the rows looked at, up to 1,000 a day.

    Returns:
      Domain -> names in the order of the spec; None where a domain has no day
      of two rows or more.

    Raises:
      FileNotFoundError, ValueError: a day is missing or damaged, or a feature
        to exclude is none.
    """
    varying = {}
    for domain in features.DOMAINS:
        days = daily_constants.newest(data, domain, exclude, seed)
        if not days:
            return None
        varying[domain] = {
            feature.name
            for feature in kinds.of(data.without(exclude))
            if any(
                daily_constants.varies(np.concatenate([d[n] for d in days]))
                for n in feature.columns()
            )
        }
    natural, ads = (varying[domain] for domain in features.DOMAINS)
    only = {features.NATURAL: natural - ads, features.ADS: ads - natural}
    return {
        domain: [f.name for f in data.spec.features if f.name in names]
        for domain, names in only.items()
    }
