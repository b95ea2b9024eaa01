"""Aggregate dated snapshots into what CPM and A-CTR look up.

The artefact holds dated versions of each table: for "last", "mean" and "decay"
a version is one table made of the K newest snapshots of its date; for "concat"
and "attention" it is the snapshot itself, combined by the model. Ids that a
snapshot does not know do not count in averages.

Shapes: K snapshots, S versions, N ids, D embedding width.
"""

import pathlib
import time

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf import store, windows
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.transfer import checkpoint, snapshots, warm_start

NAME = "historical"
KIND = "historical"
LEARNED = ("concat", "attention")


def mode(aggregation: str) -> str:
    """Return the mode of `HistoricalEmbedding` for an aggregation."""
    return aggregation if aggregation in LEARNED else "single"


def combine(
    vectors: np.ndarray,
    present: np.ndarray,
    aggregation: str,
    decay: float,
) -> np.ndarray:
    """Return one vector an id from K snapshots.

    Args:
      vectors: float32 `[K, N, D]`, oldest first.
      present: bool `[K, N]`, whether the snapshot knows the id.
      aggregation: "last" (the newest vector there is), "mean" over the
        snapshots that know the id, or "decay" (weights `decay ** age`).
      decay: weight of a snapshot against the next newer one.

    Returns:
      float32 `[N, D]`; zeros for ids that no snapshot knows.
    """
    age = np.arange(len(vectors))[::-1, np.newaxis]  # [K, 1]
    if aggregation == "last":
        newest = np.where(present, age, len(vectors)).min(0)
        weights = (present & (age == newest)).astype(np.float32)
    elif aggregation == "mean":
        weights = present.astype(np.float32)
    else:
        weights = present * np.float32(decay) ** age
    total = weights.sum(0)[:, np.newaxis]  # [N, 1]
    total[total == 0] = 1
    summed = np.einsum("kn,knd->nd", weights, vectors)
    return (summed / total).astype(np.float32)


def aggregate(
    snapshot_dirs: list[pathlib.Path],
    target: pathlib.Path,
    history: configs.HistoryConfig,
) -> store.Manifest:
    """Publish the historical tables of the newest snapshots.

    Args:
      snapshot_dirs: published snapshots, oldest first; older ones than the
        `2 K` newest are passed over.
      target: the artefact's place, named by the last snapshot's day.
      history: K, the kind of aggregation, and the lag.

    Raises:
      FileNotFoundError, ValueError: a snapshot is missing or damaged, or the
        snapshots are of several specs or widths.
    """
    began = time.monotonic()
    count = history.snapshots
    snapshot_dirs = snapshot_dirs[-2 * count :]
    manifests = [store.read_manifest(d, snapshots.KIND) for d in snapshot_dirs]
    if len({m.spec for m in manifests}) > 1:
        raise ValueError(
            f"The snapshots of {target.name} are of several feature specs: "
            f"{[str(d) for d in snapshot_dirs]}. Remove those of the old spec."
        )
    read = [snapshots.read(d) for d in snapshot_dirs]
    arrays = {}
    for table in read[0]:
        ids, vectors, present = _align([tables[table] for tables in read])
        if history.aggregation not in LEARNED:
            groups = [
                slice(max(i + 1 - count, 0), i + 1) for i in range(len(vectors))
            ]
            kind, decay = history.aggregation, history.decay
            vectors = np.stack(
                [combine(vectors[g], present[g], kind, decay) for g in groups]
            )
            present = np.stack([present[g].any(0) for g in groups])
        arrays[f"{table}/ids"] = ids
        arrays[f"{table}/vectors"] = vectors
        arrays[f"{table}/present"] = present
    after = 1 + history.lag
    arrays["visible_from"] = np.array(
        [windows.day_number(m.window.last) + after for m in manifests], np.int32
    )
    manifest = store.Manifest(
        kind=KIND,
        window=windows.Window(
            manifests[0].window.first, manifests[-1].window.last
        ),
        spec=manifests[-1].spec,
        ids=manifests[-1].ids,
        parents={
            f"snapshot {d.name}": store.parent(d, target) for d in snapshot_dirs
        },
        config={"aggregation": history.aggregation, "snapshots": count},
    )
    with store.publish(target, manifest) as staging:
        checkpoint.write(staging / NAME, arrays)
        manifest.metrics["seconds"] = time.monotonic() - began
    return manifest


def _align(tables: list[snapshots.SnapshotTable]) -> tuple:
    """Return ids `[N]`, vectors `[K, N, D]`, present `[K, N]` of snapshots."""
    ids = np.unique(np.concatenate([table.ids for table in tables]))
    dim = tables[-1].vectors.shape[1]
    vectors = np.zeros((len(tables), len(ids), dim), np.float32)
    present = np.zeros((len(tables), len(ids)), bool)
    for i, table in enumerate(tables):
        place = np.searchsorted(ids, table.ids)
        vectors[i, place] = table.vectors
        present[i, place] = table.counts > 0
    return ids, vectors, present


def load(
    directory: str | pathlib.Path, id_spaces: dict
) -> dict[str, HistoricalTable]:
    """Return the historical tables of an artefact by table name.

    Rows are those of the ids in the given id spaces.

    Raises:
      FileNotFoundError, ValueError: the artefact is missing, damaged, or of
        another id space.
    """
    manifest = store.verify(directory, KIND)
    warm_start.check_ids(manifest, id_spaces, directory)
    arrays = checkpoint.read(pathlib.Path(directory) / NAME)
    visible_from = arrays.pop("visible_from")
    tables = {}
    for name in sorted({key.split("/")[0] for key in arrays}):
        space = id_spaces[name]
        ids = arrays[f"{name}/ids"]
        rows = snapshots.rows_of(ids, space)
        if space.table.ids != "hashing" and np.any(rows < space.table.buckets):
            raise ValueError(
                f"{directory} holds ids of table {name!r} that the data "
                "directory's vocabulary lacks: it was made of snapshots of "
                "several data directories. Remove those of the others and "
                "rebuild it with `python train_main.py --stage=aggregate`."
            )
        vectors, present = arrays[f"{name}/vectors"], arrays[f"{name}/present"]
        size = int(rows.max(initial=0)) + 1
        wide = np.zeros((len(vectors), size, vectors.shape[2]), np.float32)
        known = np.zeros((len(vectors), size), bool)
        wide[:, rows], known[:, rows] = vectors, present
        tables[name] = HistoricalTable(wide, known, visible_from, name=name)
    return tables


def check_before(manifest: store.Manifest, day: str, source) -> None:
    """Make sure that an artefact has seen nothing of a day or later.

    Raises:
      ValueError: its window reaches into the day.
    """
    if manifest.window is not None and manifest.window.last >= day:
        raise ValueError(
            f"{source} was made of data up to {manifest.window.last}; a model "
            f"that is scored on {day} may only see earlier days. Use one whose "
            f"window ends before {day}."
        )
