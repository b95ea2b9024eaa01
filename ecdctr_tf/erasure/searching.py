"""Files that hold any of some ids, found by their bytes.

Compressed and columnar files are decoded: what is compared is what a reader of
the file would see. An id counts where nothing before and behind it continues
it: "user-12" is not in "user-123". Ids of a few characters occur by chance in
any file; they are left to the test of membership.
"""

import gzip
import mmap
import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecdctr_tf.transfer import checkpoint

# Bytes of the shortest id that is looked for.
LEAST = 8


def wanted(ids: pa.Array) -> pa.Array:
    """Return the ids that are long enough to be looked for."""
    texts = ids.cast(pa.string())
    return ids.filter(pc.greater_equal(pc.binary_length(texts), LEAST))


def files(root: pathlib.Path) -> list[pathlib.Path]:
    """Return all files under a directory, hidden ones too; links are not."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def holds(path: pathlib.Path, ids: pa.Array) -> str | None:
    """Return an id that a file holds, as text; None if it holds none.

    Args:
      path: the file.
      ids: int64 or string, of `wanted`.
    """
    if path.suffix in (".arrow", ".parquet"):
        return _in_columns(path, ids)
    if path.suffix == ".index":
        return _in_checkpoint(path.with_suffix(""), ids)
    texts = [text.encode() for text in ids.cast(pa.string()).to_pylist()]
    for data in _decoded(path):
        for text in texts:
            if _holds(data, text):
                return text.decode()
    return None


def _decoded(path: pathlib.Path) -> Iterator[bytes | mmap.mmap]:
    """Yield the bytes of a file, or of what is compressed in it."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            for name in file.files:
                yield np.ascontiguousarray(file[name]).tobytes()
    elif path.suffix == ".gz":
        with gzip.open(path) as file:
            yield file.read()
    elif path.stat().st_size:
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            yield data


def _holds(data: bytes | mmap.mmap, text: bytes) -> bool:
    place = data.find(text)
    while place >= 0:
        before = data[max(place - 1, 0) : place]
        behind = data[place + len(text) : place + len(text) + 1]
        # In messages an id stands behind the number of its bytes.
        begins = not _continues(before) or before[0] == len(text)
        if begins and not _continues(behind):
            return True
        place = data.find(text, place + 1)
    return False


def _continues(byte: bytes) -> bool:
    return byte.isalnum() or byte in (b"_", b"-")


def _in_columns(path: pathlib.Path, ids: pa.Array) -> str | None:
    """Look through the columns of an Arrow or Parquet file."""
    if path.suffix == ".parquet":
        tables: Iterator[pa.RecordBatch] = pq.ParquetFile(path).iter_batches()
    else:
        file = pa.ipc.open_file(str(path))
        tables = map(file.get_batch, range(file.num_record_batches))
    for table in tables:
        for column in table.columns:
            while pa.types.is_list(column.type):
                column = column.flatten()
            if column.type == ids.type or pa.types.is_dictionary(column.type):
                found = column.filter(pc.is_in(column.cast(ids.type), ids))
                if len(found):
                    return str(found[0].as_py())
    return None


def _in_checkpoint(prefix: pathlib.Path, ids: pa.Array) -> str | None:
    """Look through the raw ids of a checkpoint, which are not delimited."""
    text = pa.types.is_string(ids.type)
    for name, values in checkpoint.read(prefix).items():
        if name.endswith("/ids") and text == (values.dtype == object):
            raw = values.tolist()
            if text:
                raw = [value.decode() for value in raw]
            column = pa.array(raw, ids.type)
            found = column.filter(pc.is_in(column, ids))
            if len(found):
                return str(found[0].as_py())
    return None
