"""The historical tables that a level looks up."""

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import features, kinds, store
from ecdctr_tf.artefacts.files import CPM, MERGED, verified
from ecdctr_tf.artefacts.parents import parent_path
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.transfer import checkpoint, historical


def history_of(
    path: pathlib.Path,
    manifest: store.Manifest,
    data: DataDirectory,
    config: configs.Config,
) -> dict[str, HistoricalTable]:
    """Return the historical tables that an A-CTR day read.

    Raises:
      FileNotFoundError, ValueError: they are missing or replaced.
    """
    if config.history.merges:
        return read_merged(parent_path(path, manifest, CPM), data)
    roles = sorted(r for r in manifest.parents if r.startswith("historical "))
    if not roles:
        raise ValueError(
            f"{path} reads historical embeddings (model.history=true), but its "
            "manifest.json names no historical version. Train it again."
        )
    versions = [parent_path(path, manifest, role) for role in roles]
    return historical.load(versions, data.id_spaces, config.history)


def history_for(
    spec: features.DataSpec, tables: Mapping[str, HistoricalTable]
) -> dict[str, HistoricalTable]:
    """Return the historical tables of the basic ids that a model reads.

    Those that no snapshot has yet, since their feature was added, are empty.

    Args:
      spec: the features that the model reads.
      tables: table name -> historical vectors.
    """
    widths = {table.dim for table in tables.values()}
    names = {f.table for f in kinds.ids(spec) if f.basic}
    return {
        name: tables[name] if name in tables else _no_history(width, name)
        for width in widths
        for name in sorted(names)
    }


def _no_history(width: int, name: str) -> HistoricalTable:
    """Return a historical table that knows no id."""
    return HistoricalTable(np.zeros([1, 1, width]), [[False]], [0], name)


def merged_arrays(
    model: CTRModel, tables: Mapping[str, HistoricalTable]
) -> dict[str, np.ndarray]:
    """Return what self-attention makes of historical tables, by name.

    Each version becomes the vectors that a row which sees it would read, so
    that one look-up takes the place of K look-ups and the attention.

    Args:
      model: a CPM with self-attention.
      tables: table name -> its dated vectors.
    """
    layers = {
        model.spec.feature(name).table: layer
        for name, layer in model.historical.items()
    }
    arrays = {}
    for name, table in tables.items():
        rows = tf.range(table.rows)
        since = table.visible_from.numpy()
        versions = [
            layers[name](rows, tf.fill(tf.shape(rows), day), table)
            for day in since
        ]
        arrays[f"{name}/vectors"] = np.stack([v.numpy() for v, _ in versions])
        arrays[f"{name}/present"] = np.stack(
            [flag.numpy()[:, 0] > 0 for _, flag in versions]
        )
        arrays[f"{name}/visible_from"] = since
    return arrays


def read_merged(
    cpm: pathlib.Path, data: DataDirectory
) -> dict[str, HistoricalTable]:
    """Return the historical tables that a CPM merged.

    Raises:
      FileNotFoundError, ValueError: they are missing or damaged.
    """
    verified(cpm, CPM, data)
    return historical_tables(checkpoint.read(cpm / MERGED))


def historical_tables(
    arrays: Mapping[str, np.ndarray],
) -> dict[str, HistoricalTable]:
    """Return the historical tables that arrays were made of, by name.

    Args:
      arrays: `<table>/vectors`, `<table>/present` and `<table>/visible_from`,
        as `HistoricalTable` takes them.
    """
    return {
        name: HistoricalTable(
            arrays[f"{name}/vectors"],
            arrays[f"{name}/present"],
            arrays[f"{name}/visible_from"],
            name,
        )
        for name in sorted({key.rpartition("/")[0] for key in arrays})
    }
