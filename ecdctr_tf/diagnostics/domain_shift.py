"""How well natural rows can be told from ads by their features.

A logistic regression is trained on some days and judged on later ones, on
samples of equal size of both domains and, where there are any, of the same
days, so that neither numbers nor dates give a row away. Clicks are not looked
at.

Shapes: N sampled rows, F features.
"""

from collections.abc import Sequence

import numpy as np
import tqdm

from ecdctr_tf import features, kinds, metrics, windows
from ecdctr_tf.diagnostics import counting, logistic
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory

# Newest days looked at, and rows of each domain taken of all of them.
_DAYS = 12
_ROWS = 24_000


def measure(
    data: DataDirectory,
    exclude: Sequence[str] = (),
    seed: int = 0,
) -> dict | None:
    """Return how well the domains are told apart.

    Args:
      data: the data directory.
      exclude: names of features that are not looked at.
      seed: of the samples and of the classifier.

    Returns:
      `auc` on the held-out days, in [0, 1]: 0.5 is no difference to be seen;
      `features`: name -> AUC of that feature alone, largest first; `rows`
      (of each domain: `train`, `held_out`), `train` and `held_out` (windows of
      the ads), and `same_days`, whether both domains are of the same days.
      None if there are not two days of both domains.

    Raises:
      FileNotFoundError, ValueError: a day is missing or damaged, or a feature
        to exclude is none.
    """
    spec = data.without(exclude)
    pairs = _pairs(data)
    if len(pairs) < 2:
        return None
    held_out = max(len(pairs) // 3, 1)
    parts, labels, training = [], [], []
    for i, days in enumerate(tqdm.tqdm(pairs, desc="sample", unit="day")):
        count = min(data.manifest(d, day).rows for d, day in days.items())
        count = min(count, max(_ROWS // len(pairs), 1))
        for domain, day in days.items():
            parts.append(sample(data, domain, day, count, seed, spec))
            labels.append(np.full(count, domain == counting.ADS, np.float32))
            training.append(np.full(count, i < len(pairs) - held_out))
    columns = {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}
    label, train = np.concatenate(labels), np.concatenate(training)
    codes = logistic.encode(spec, columns, train)  # [N, F]
    every = {
        feature.name: _auc(codes[:, [i]], label, train, seed)
        for i, feature in enumerate(spec.features)
    }
    ads = [days[counting.ADS] for days in pairs]
    return {
        "auc": _auc(codes, label, train, seed),
        "features": dict(sorted(every.items(), key=lambda v: -v[1])),
        "rows": {
            "train": int(train.sum()) // 2,
            "held_out": int((~train).sum()) // 2,
        },
        "train": str(windows.Window(ads[0], ads[-held_out - 1])),
        "held_out": str(windows.Window(ads[-held_out], ads[-1])),
        "same_days": all(len(set(days.values())) == 1 for days in pairs),
    }


def sample(
    data: DataDirectory,
    domain: str,
    day: str,
    count: int,
    seed: int,
    spec: features.DataSpec,
) -> dict[str, np.ndarray]:
    """Return columns of rows drawn from a day, each row at most once.

    The day is streamed; only the drawn rows are held.

    Args:
      data: the data directory.
      domain: "natural" or "ads".
      day: the day.
      count: rows to draw, at most as many as the day has.
      seed: which rows.
      spec: the features to return.

    Returns:
      The columns of each feature, `count` rows, in the order of the files.
    """
    place = [seed, windows.day_number(day), features.DOMAINS.index(domain)]
    rng = np.random.default_rng(place)
    total = data.manifest(domain, day).rows
    drawn = np.sort(rng.choice(total, count, replace=False, shuffle=False))
    names = [feature.name for feature in spec.features]
    window = windows.Window(day, day)
    groups = streams.rows(data, domain, window, names=names)
    columns = [name for f in kinds.of(spec) for name in f.columns()]
    parts, first = [], 0
    for group in groups.as_numpy_iterator():
        size = len(group["click"])
        inside = drawn[(drawn >= first) & (drawn < first + size)] - first
        parts.append({name: group[name][inside] for name in columns})
        first += size
    return {n: np.concatenate([p[n] for p in parts]) for n in columns}


def _pairs(data: DataDirectory) -> list[dict[str, str]]:
    """Return domain -> day of the newest days, those of both where possible."""
    domains = (counting.NATURAL, counting.ADS)
    days = {d: data.days(d) for d in domains}
    common = sorted(set(days[counting.NATURAL]) & set(days[counting.ADS]))
    if len(common) >= 2:
        days = {d: common for d in domains}
    count = min(_DAYS, *map(len, days.values()))
    newest = [days[d][len(days[d]) - count :] for d in domains]
    pairs = [
        dict(zip(domains, pair, strict=True))
        for pair in zip(*newest, strict=True)
    ]
    return [
        pair
        for pair in pairs
        if all(data.manifest(d, day).rows for d, day in pair.items())
    ]


def _auc(
    codes: np.ndarray, label: np.ndarray, train: np.ndarray, seed: int
) -> float:
    """Return the AUC on the held-out rows of a fit on the others."""
    weights = logistic.fit(codes[train], label[train], seed)
    return metrics.auc(label[~train], logistic.logits(weights, codes[~train]))
