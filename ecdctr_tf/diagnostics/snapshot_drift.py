"""How far the embeddings of the TPM move from one snapshot to the next.

Two snapshots may hold the same geometry in turned coordinates. An orthogonal
Procrustes alignment takes the turn out: what is left after it is real change.

Shapes: N ids that both snapshots know, D embedding width.
"""

import pathlib

import numpy as np

from ecdctr_tf import store
from ecdctr_tf.transfer import snapshots


def align(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the orthogonal matrix that turns old vectors nearest to new ones.

    It minimises `||old R - new||` over orthogonal R: with the singular value
    decomposition `old' new = U S V'`, R is `U V'`.

    Args:
      old: float `[N, D]`.
      new: float `[N, D]`, of the same ids.

    Returns:
      float64 `[D, D]`.

    Source: Schoenemann, "A generalized solution of the orthogonal Procrustes
    problem".
    """
    product = np.asarray(old, np.float64).T @ np.asarray(new, np.float64)
    left, _, right = np.linalg.svd(product)
    return left @ right


def drift(
    old: snapshots.SnapshotTable, new: snapshots.SnapshotTable
) -> dict | None:
    """Return how far the common ids of two snapshots of a table moved.

    Returns:
      `ids` N, `common_share` (of the new snapshot's ids), `before` and `after`
      the alignment: `||old - new|| / ||new||`, at least 0. Unrelated vectors of
      one length come to about 1.4 before. None if no id is common.

    Raises:
      ValueError: the vectors are of other widths.
    """
    if old.vectors.shape[1] != new.vectors.shape[1]:
        raise ValueError(
            "The snapshots of a work directory should have the same width. "
            f"Received: {old.vectors.shape[1]} and {new.vectors.shape[1]}. "
            "Delete those of the old config."
        )
    _, first, second = np.intersect1d(old.ids, new.ids, return_indices=True)
    a = old.vectors[first].astype(np.float64)  # [N, D]
    b = new.vectors[second].astype(np.float64)  # [N, D]
    length = np.linalg.norm(b)
    if not length:
        return None
    return {
        "ids": len(first),
        "common_share": len(first) / len(new.ids),
        "before": float(np.linalg.norm(a - b) / length),
        "after": float(np.linalg.norm(a @ align(a, b) - b) / length),
    }


def measure(directory: pathlib.Path) -> dict[str, list[dict]]:
    """Return the drift between consecutive snapshots of each table.

    Args:
      directory: holds the dated snapshots, as `tpm` of a work directory. Two
        of them are held at a time.

    Returns:
      Table name -> what `drift` returns and `old` and `new`, the last days of
      both windows; empty with fewer than two snapshots.

    Raises:
      FileNotFoundError, ValueError: a snapshot is damaged, or of another width.
    """
    found: dict[str, list[dict]] = {}
    days = store.dated(directory)
    old = snapshots.read(directory / days[0]) if len(days) > 1 else {}
    for i in range(1, len(days)):
        new = snapshots.read(directory / days[i])
        for name in sorted(set(old) & set(new)):
            moved = drift(old[name], new[name])
            if moved is not None:
                span = {"old": days[i - 1], "new": days[i]}
                found.setdefault(name, []).append({**span, **moved})
        old = new
    return found
