"""Historical tables: what CPM and A-CTR look up of dated TPM snapshots.

An artefact holds one version of each table, dated by its newest snapshot: for
"last", "mean" and "decay" a vector an id, made of the K newest snapshots; for
the other aggregations the snapshot itself, which a model combines. A row of a
day sees the versions whose snapshots had ended before it.

Shapes: K snapshots, S versions, N ids, V table rows, D embedding width.
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
SELF_ATTENTION = "self_attention"
# Combined by the model, which reads the K newest versions.
LEARNED = ("concat", "attention", SELF_ATTENTION)


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

    Raises:
      ValueError: there is no such aggregation.
    """
    age = np.arange(len(vectors))[::-1, np.newaxis]  # [K, 1]
    if aggregation == "last":
        newest = np.where(present, age, len(vectors)).min(0)
        weights = (present & (age == newest)).astype(np.float32)
    elif aggregation == "mean":
        weights = present.astype(np.float32)
    elif aggregation == "decay":
        weights = present * np.float32(decay) ** age
    else:
        raise ValueError(
            "`aggregation` should be last, mean or decay. "
            f"Received: {aggregation!r}"
        )
    total = weights.sum(0)[:, np.newaxis]  # [N, 1]
    total[total == 0] = 1
    summed = np.einsum("kn,knd->nd", weights, vectors)
    return (summed / total).astype(np.float32)


def settings(history: configs.HistoryConfig) -> dict:
    """Return the settings that the vectors of a version depend on."""
    if history.aggregation in LEARNED:
        return {"aggregation": "snapshot"}
    found = {
        "aggregation": history.aggregation,
        "snapshots": history.snapshots,
    }
    if history.aggregation == "decay":
        found["decay"] = history.decay
    return found


def aggregate(
    snapshot_dirs: list[pathlib.Path],
    target: pathlib.Path,
    history: configs.HistoryConfig,
) -> store.Manifest:
    """Publish the version of the newest of some snapshots.

    Args:
      snapshot_dirs: published snapshots, oldest first; those older than the
        version needs are not read.
      target: the artefact's place, named by the last snapshot's day.
      history: K and the kind of aggregation.

    Raises:
      FileNotFoundError, ValueError: a snapshot is missing or damaged, or the
        snapshots are of several widths.
    """
    began = time.monotonic()
    learned = history.aggregation in LEARNED
    snapshot_dirs = snapshot_dirs[-1 if learned else -history.snapshots :]
    manifests = [store.read_manifest(d, snapshots.KIND) for d in snapshot_dirs]
    found = [snapshots.read(d) for d in snapshot_dirs]
    arrays = {}
    # Where features have changed, older snapshots may lack a table.
    for table in found[-1]:
        ids, vectors, present = _align(
            [tables[table] for tables in found if table in tables]
        )
        kind = "last" if learned else history.aggregation
        arrays[f"{table}/ids"] = ids
        arrays[f"{table}/vectors"] = combine(
            vectors, present, kind, history.decay
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
        config=settings(history),
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
        if table.vectors.shape[1] != dim:
            raise ValueError(
                "Snapshots have different widths: "
                f"{[t.vectors.shape[1] for t in tables]}. Delete those with "
                "another tpm_model.embedding_dim."
            )
        place = np.searchsorted(ids, table.ids)
        vectors[i, place] = table.vectors
        present[i, place] = table.counts > 0
    return ids, vectors, present


def visible_from(day: str, history: configs.HistoryConfig) -> int:
    """Return the first day, since 1970-01-01, whose rows see a version."""
    return windows.day_number(day) + 1 + history.lag


def seen_in(
    days: list[str],
    window: windows.Window,
    history: configs.HistoryConfig,
) -> list[str]:
    """Return the versions that rows of a window may see, oldest first.

    Args:
      days: the days of all versions, in order.
      window: the days of the rows.
      history: K, the kind of aggregation and the lag.
    """
    slots = history.snapshots if history.aggregation in LEARNED else 1
    ends = [windows.day_number(day) for day in (window.first, window.last)]
    before, until = (
        sum(visible_from(day, history) <= end for day in days) for end in ends
    )
    return days[max(before - slots, 0) : until]


def load(
    directories: list[pathlib.Path],
    id_spaces: dict,
    history: configs.HistoryConfig,
) -> dict[str, HistoricalTable]:
    """Return the historical tables of some versions by table name.

    Rows are those of the ids in the given id spaces.

    Args:
      directories: the versions, oldest first; at least one.
      id_spaces: table name -> id space of the data directory.
      history: the lag, and what the versions should have been made with.

    Raises:
      FileNotFoundError, ValueError: a version is missing, damaged, of another
        id space, under the name of another day, or made with other settings.
    """
    found = []
    for directory in directories:
        manifest = store.read_manifest(directory, KIND)
        check_settings(manifest, history, directory)
        found.append(read(directory, id_spaces))
    since = np.array(
        [visible_from(d.name, history) for d in directories], np.int32
    )
    tables = {}
    # Where features have changed, some versions may lack a table.
    for name in dict.fromkeys(name for version in found for name in version):
        width = max(v[name][1].shape[1] for v in found if name in v)
        none = np.zeros(0, np.int32), np.zeros([0, width], np.float32)
        of_table = [version.get(name, none) for version in found]
        size = 1 + max(int(rows.max(initial=0)) for rows, _ in of_table)
        dim = of_table[-1][1].shape[1]
        wide = np.zeros((len(found), size, dim), np.float32)
        known = np.zeros((len(found), size), bool)
        for i, (rows, vectors) in enumerate(of_table):
            wide[i, rows], known[i, rows] = vectors, True
        tables[name] = HistoricalTable(wide, known, since, name=name)
    return tables


def check_settings(
    manifest: store.Manifest,
    history: configs.HistoryConfig,
    directory: pathlib.Path,
) -> None:
    """Make sure that a version was made with the settings asked for.

    Raises:
      ValueError: it was made with others.
    """
    if manifest.config != settings(history):
        raise ValueError(
            f"{directory} was aggregated with {manifest.config}; the config "
            f"asks for {settings(history)}. Use another --workdir, or delete "
            f"{directory.parent} and run `python train_main.py "
            "--stage=aggregate` to rebuild it."
        )


def check_snapshots(manifest: store.Manifest, directory: pathlib.Path) -> None:
    """Make sure that a version is of the snapshots that are there now.

    Snapshots that were removed since are passed over.

    Raises:
      ValueError: one was replaced by another of its name.
    """
    for parent in manifest.parents.values():
        place = (directory / parent["path"]).resolve()
        if not place.exists():
            continue
        if store.file_hash(place / store.MANIFEST) != parent["manifest"]:
            raise ValueError(
                f"{directory} was made from another snapshot than the one that "
                f"is now at {place}. Put the original back, or delete "
                f"{directory} and run `python train_main.py --stage=aggregate` "
                "to rebuild it."
            )


def check_versions(manifest: store.Manifest, path: pathlib.Path) -> None:
    """Make sure that the versions that an artefact looked up are still there.

    Raises:
      FileNotFoundError: one is gone; older ones would be read in its place.
    """
    for role, parent in manifest.parents.items():
        place = (path / parent["path"]).resolve()
        if role.startswith(f"{KIND} ") and not place.exists():
            raise FileNotFoundError(
                f"{place}, which {path} looked up, is gone. Put it back, or "
                "run `python train_main.py --stage=aggregate` to rebuild it."
            )


def read(
    directory: pathlib.Path, id_spaces: dict
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return rows `[N]` and vectors `[N, D]` of a version by table name.

    Raises:
      FileNotFoundError, ValueError: it is missing, damaged, or of another id
        space.
    """
    manifest = store.verify(directory, KIND)
    warm_start.check_ids(manifest, id_spaces, directory)
    arrays = checkpoint.read(directory / NAME)
    found = {}
    for name in sorted({key.split("/")[0] for key in arrays}):
        space = id_spaces[name]
        rows = snapshots.rows_of(arrays[f"{name}/ids"], space)
        if space.table.ids != "hashing" and np.any(rows < space.table.buckets):
            raise ValueError(
                f"{directory} holds ids of table {name!r} that the data "
                "directory's vocabulary lacks: its snapshots come from several "
                "data directories. Delete those of the others, and rebuild it "
                "with `python train_main.py --stage=aggregate`."
            )
        found[name] = rows, arrays[f"{name}/vectors"]
    return found


def check_before(manifest: store.Manifest, day: str, source: object) -> None:
    """Make sure that an artefact has seen nothing of a day or later.

    Raises:
      ValueError: its window reaches into the day.
    """
    if manifest.window is not None and manifest.window.last >= day:
        raise ValueError(
            f"{source} has seen data up to {manifest.window.last}; a model "
            f"that is scored on {day} may only see earlier days. Use one whose "
            f"window ends before {day}."
        )
