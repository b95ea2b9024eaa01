"""The rows of a file of a day, in memory, to be written again."""

import pathlib

import numpy as np

from ecdctr_tf import features, store
from ecdctr_tf.input import data_directory, examples, tfrecords

# Row-wise Examples that are parsed together.
_TOGETHER = 4096


def columns(
    file: pathlib.Path, manifest: store.Manifest, spec: features.DataSpec
) -> dict[str, np.ndarray]:
    """Return the columns of a file, in the form of `blocks.write`.

    Args:
      file: of the day.
      manifest: of the day.
      spec: the features to read, of those that the day was written with.
    """
    file_format = data_directory.FORMATS[manifest.config["format"]]
    records = list(tfrecords.read(file))
    groups: list = records
    if file_format is examples:
        groups = [
            records[start : start + _TOGETHER]
            for start in range(0, len(records), _TOGETHER)
        ]
    parts = [
        file_format.parse(group, spec, with_source=True) for group in groups
    ]
    return {
        name: np.concatenate([part[name].numpy() for part in parts])
        for name in parts[0]
    }
