"""A logistic regression on codes: one weight for each value of a feature.

It is no model of clicks but a measuring rod: the simplest classifier that can
see every feature, the same for every data set.

Shapes: N rows, F features, B rows of a step, Q quantiles.
"""

from collections.abc import Mapping

import numpy as np

from ecdctr_tf import features, kinds

# Values of a feature that are told apart; ids beyond share codes.
CODES = 1 << 16
_PASSES = 5
_STEP = 256
_RATE = 0.1


def encode(
    spec: features.DataSpec,
    columns: Mapping[str, np.ndarray],
    train: np.ndarray,
) -> np.ndarray:
    """Return the code of each feature of each row.

    The code of an id is its row number, that of a sequence its length, that of
    a dense number its place between the quantiles of the training rows.

    Args:
      spec: the features.
      columns: feature name -> int `[N]`, int `[N, T]` or float `[N]`.
      train: bool `[N]`, the rows that quantiles are taken of.

    Returns:
      int64 `[N, F]`, in [0, `CODES`), in the order of the spec's features.
    """
    codes = []
    for feature in kinds.of(spec):
        column = feature.codes(columns, train)
        codes.append(column.astype(np.int64) % CODES)
    return np.stack(codes, axis=1)  # [N, F]


def fit(codes: np.ndarray, label: np.ndarray, seed: int) -> np.ndarray:
    """Return the weights of a logistic regression, by AdaGrad.

    Args:
      codes: int `[N, F]`, in [0, `CODES`).
      label: `[N]`, 0 or 1.
      seed: of the order of rows.

    Returns:
      float64 `[F, CODES]`; a code that was not there weighs nothing.

    Source: Duchi et al., "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization".
    """
    count, width = codes.shape
    places = codes + CODES * np.arange(width)  # [N, F]
    weights = np.zeros(width * CODES)
    squares = np.zeros(width * CODES)
    rng = np.random.default_rng(seed)
    for _ in range(_PASSES):
        order = rng.permutation(count)
        for first in range(0, count, _STEP):
            rows = order[first : first + _STEP]
            logits = weights[places[rows]].sum(axis=1)  # [B]
            error = _sigmoid(logits) - label[rows]  # [B]
            used, inverse = np.unique(places[rows], return_inverse=True)
            gradient = np.bincount(
                inverse.reshape(-1), np.repeat(error, width), len(used)
            )
            squares[used] += gradient**2
            # A gradient of 0 has squares that may be 0 too.
            scale = np.sqrt(squares[used]) + 1e-12
            weights[used] -= _RATE * gradient / scale
    return weights.reshape(width, CODES)


def logits(weights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the logits `[N]` of rows `[N, F]`, without a bias.

    Equal samples of both classes need none.
    """
    return weights[np.arange(codes.shape[1]), codes].sum(axis=1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
