"""What the TFDS builders of logs of two domains have in common.

TFDS writes example by example in Python, far too slow for millions of rows. So
one example here is a block: up to `BLOCK_ROWS` rows of one domain and one day,
with one one-dimensional tensor a column and the scalar `day`. A split is a
domain. `tables` gives the rows back as Arrow tables, which is what the
converter takes.

Nothing is downloaded: worlds are generated, and real logs, whose licences
forbid handing them on, are read from a folder that the user filled.
"""

import abc
import heapq
import itertools
import pathlib
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_datasets as tfds

from ecdctr_tf import features

BLOCK_ROWS = 20_000


class TwoDomainBuilder(tfds.core.GeneratorBasedBuilder):
    """A data set of days of rows of the natural and the ads domain.

    A subclass sets `COLUMNS` and `ABOUT`, and `FILES` with
    `MANUAL_DOWNLOAD_INSTRUCTIONS` where it reads files, and writes `day_rows`.
    """

    # Column name -> NumPy dtype of its values; `str` for strings.
    COLUMNS: ClassVar[dict]
    # Domain -> names of columns it lacks; stored empty, not in its tables.
    LACKS: ClassVar[dict[str, tuple[str, ...]]] = {}
    # One sentence for people.
    ABOUT: ClassVar[str]
    # Names of the files read from the manual directory.
    FILES: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def day_rows(
        self, domain: str, folder: pathlib.Path
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield `(day, rows)` in order of days.

        Args:
          domain: "natural" or "ads".
          folder: holds `FILES`; of no meaning where there are none.

        Yields:
          The days since 1970-01-01 and that day's rows, with `COLUMNS` less
          those that the domain `LACKS`.
        """

    @classmethod
    def names(cls, domain: str) -> list[str]:
        """Return the names of the columns of a domain, in order."""
        lacking = cls.LACKS.get(domain, ())
        return [name for name in cls.COLUMNS if name not in lacking]

    def _info(self) -> tfds.core.DatasetInfo:
        columns = {name: _column(d) for name, d in self.COLUMNS.items()}
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.ABOUT,
            features=tfds.features.FeaturesDict({"day": np.int32, **columns}),
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict]]]:
        folder = self._manual_dir(dl_manager) if self.FILES else pathlib.Path()
        return {
            domain: self._generate_examples(domain, folder)
            for domain in features.DOMAINS
        }

    def _generate_examples(
        self, domain: str, folder: pathlib.Path
    ) -> Iterator[tuple[int, dict]]:
        key = itertools.count()
        names = self.names(domain)
        for day, rows in self.day_rows(domain, folder):
            rows = rows.select(names).combine_chunks()
            for start in range(0, rows.num_rows, BLOCK_ROWS):
                block = rows.slice(start, BLOCK_ROWS)
                columns = {
                    name: block[name].to_numpy() if name in names else ()
                    for name in self.COLUMNS
                }
                typed = {
                    name: np.asarray(columns[name], object if d is str else d)
                    for name, d in self.COLUMNS.items()
                }
                yield next(key), {"day": day, **typed}

    def _manual_dir(
        self, dl_manager: tfds.download.DownloadManager
    ) -> pathlib.Path:
        """Return the folder of `FILES`.

        Raises:
          FileNotFoundError: the folder or a file in it is missing; the message
            says how to get it.
        """
        try:
            folder = pathlib.Path(dl_manager.manual_dir)
        except AssertionError as error:
            # TFDS: there is no folder, or nothing in it.
            raise FileNotFoundError(str(error)) from error
        missing = [name for name in self.FILES if not (folder / name).exists()]
        if missing:
            raise FileNotFoundError(
                f"{folder} lacks {', '.join(missing)}. "
                f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        return folder


def prepare(
    builder: tfds.core.DatasetBuilder,
    manual_dir: str | pathlib.Path | None = None,
) -> None:
    """Write a builder's blocks into its `data_dir`, unless they are there.

    The network is never touched.

    Args:
      builder: one of `TwoDomainBuilder`.
      manual_dir: folder of the raw files, for a builder that reads some.

    Raises:
      FileNotFoundError: a raw file is missing.
    """
    config = tfds.download.DownloadConfig(
        manual_dir=None if manual_dir is None else str(manual_dir),
        try_download_gcs=False,
    )
    builder.download_and_prepare(download_config=config)


def tables(
    builder: tfds.core.DatasetBuilder,
) -> Iterator[tuple[str, pa.Table]]:
    """Yield `(domain, rows)` of each day of a prepared builder.

    Days come in order, and natural before ads within a day; days without rows
    are left out. Rows keep the order in which the builder gave them.

    Args:
      builder: one of `TwoDomainBuilder`, after `prepare`.
    """
    blocks = heapq.merge(
        *(_blocks(builder, domain) for domain in features.DOMAINS),
        # `merge` keeps the order of its arguments where keys are equal.
        key=lambda block: block[0],
    )
    for (_, domain), group in itertools.groupby(blocks, lambda b: b[:2]):
        yield domain, pa.concat_tables([block for _, _, block in group])


def _blocks(
    builder: tfds.core.DatasetBuilder, domain: str
) -> Iterator[tuple[int, str, pa.Table]]:
    """Yield `(day, domain, rows)` of the blocks of a domain."""
    examples = builder.as_dataset(
        split=domain,
        shuffle_files=False,
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    for example in tfds.as_numpy(examples):
        day = int(example.pop("day"))
        columns = {n: _array(example[n]) for n in builder.names(domain)}
        yield day, domain, pa.table(columns)


def _column(dtype: type) -> tfds.features.FeatureConnector:
    if dtype is str:
        return tfds.features.Tensor(shape=(None,), dtype=np.object_)
    # Raw bytes: a list of numbers is ten times slower to write.
    return tfds.features.Tensor(
        shape=(None,), dtype=dtype, encoding=tfds.features.Encoding.BYTES
    )


def _array(values: np.ndarray) -> pa.Array:
    if values.dtype == object:
        return pc.cast(pa.array(values, pa.binary()), pa.string())
    return pa.array(values)
