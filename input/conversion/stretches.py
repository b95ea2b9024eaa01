"""The events of a day in stretches of time, each of which fits into memory.

Ids are numbered first: those of all natural events of the day, then those of
its ads. Then both domains are gone through together, in order of time. A domain
with several stretches is read again for that, from the file with its events;
nearly all days have one, which stays in memory. No second is in two stretches.

Rows do not depend on where stretches end. The numbers of ids do where several
features share a table: those of a stretch get numbers feature by feature.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from typing import Protocol

import numpy as np
import pyarrow as pa

from ecdctr_tf.input.conversion import encoding

Columns = dict[str, np.ndarray]


def written(
    events: Iterator[pa.Table],
    path: pathlib.Path,
    pool: futures.Executor,
) -> Iterator[pa.Table]:
    """Yield the events of a day, in order; in a pool, write them to a file."""
    # Twice as fast as Parquet, and no larger.
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    file: pa.RecordBatchFileWriter = None
    writing: futures.Future | None = None
    for part in events:
        # One chunk: where it was read from plays no part in the bytes.
        part = part.replace_schema_metadata(None).combine_chunks()
        if file is None:
            file = pa.ipc.new_file(str(path), part.schema, options=options)
        else:
            writing.result()
        writing = pool.submit(file.write_table, part)
        yield part
    if file is not None:
        writing.result()
        file.close()


def read(path: pathlib.Path) -> Iterator[pa.Table]:
    """Yield the stretches of a file that `written` wrote."""
    with pa.ipc.open_file(str(path)) as file:
        for number in range(file.num_record_batches):
            yield pa.Table.from_batches([file.get_batch(number)])


class Encoded:
    """The events of a day of a domain, their ids numbered.

    Args:
      events: in order, at least one stretch.
      again: returns them again, once all have been taken.
      encoder: numbers the ids.
    """

    def __init__(
        self,
        events: Iterator[pa.Table],
        again: Callable[[], Iterator[pa.Table]],
        encoder: encoding.Encoder,
    ):
        self._again = again
        self._encoder = encoder
        self._only: Columns | None = None
        self._count = 0
        for part in events:
            columns = encoder.encode(part)
            self._only = None if self._count else columns
            self._count += 1

    def stretches(self) -> Iterator[tuple[bool, Columns]]:
        """Yield whether a stretch is the last one, and its columns."""
        if self._only is not None:
            yield True, self._only
            return
        for number, part in enumerate(self._again(), 1):
            columns = self._encoder.encode(part, again=True)
            yield number == self._count, columns


class Stretches(Protocol):
    """Columns of a day of a domain, stretch by stretch."""

    def stretches(self) -> Iterator[tuple[bool, Columns]]:
        """Yield whether a stretch is the last one, and its columns."""


def together(days: Mapping[str, Stretches]) -> Iterator[dict[str, Columns]]:
    """Yield the events of both domains, stretch by stretch.

    Args:
      days: domain -> its events.

    Yields:
      Domain -> columns, of the domains that have events then.
    """
    streams = {domain: day.stretches() for domain, day in days.items()}
    held = {domain: next(stream) for domain, stream in streams.items()}
    while held:
        ends = [c[encoding.TIME][-1] for last, c in held.values() if not last]
        made = {}
        for domain, (last, columns) in list(held.items()):
            times = columns[encoding.TIME]
            stop = len(times)
            if ends:
                stop = int(np.searchsorted(times, min(ends), side="right"))
            if stop:
                made[domain] = {n: c[:stop] for n, c in columns.items()}
            if stop < len(times):
                rest = {name: c[stop:] for name, c in columns.items()}
                held[domain] = last, rest
            elif last:
                del held[domain]
            else:
                held[domain] = next(streams[domain])
        yield made
