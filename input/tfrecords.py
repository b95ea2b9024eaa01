"""TFRecord files, written and gone through without TensorFlow.

A record is the number of its bytes, a check sum of that number, the bytes, and
a check sum of the bytes; all three numbers are little-endian.
"""

import os
import pathlib
from collections.abc import Iterable, Iterator

import google_crc32c

_LENGTH_BYTES, _SUM_BYTES = 8, 4
_HEAD_BYTES = _LENGTH_BYTES + _SUM_BYTES
# How the format changes a CRC-32C, so that data with check sums in it has
# another one.
_ROTATED, _ADDED = 15, 0xA282EAD8


def write(path: str | pathlib.Path, records: Iterable[bytes]) -> None:
    """Write a file of records; an existing one is overwritten."""
    with open(path, "wb") as file:
        for record in records:
            length = len(record).to_bytes(_LENGTH_BYTES, "little")
            file.write(length + _check_sum(length))
            file.write(record)
            file.write(_check_sum(record))


def places(path: str | pathlib.Path) -> list[int]:
    """Return the first byte of each record, counted from the file's start.

    Raises:
      ValueError: a record is longer than what is left of the file.
    """
    found, place = [], 0
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while head := file.read(_LENGTH_BYTES):
            found.append(place)
            place += _HEAD_BYTES
            place += _length(head, size - place, path) + _SUM_BYTES
            file.seek(place)
    return found


def read(path: str | pathlib.Path) -> Iterator[bytes]:
    """Yield the records of a file; check sums are not compared.

    For counting: `tf.data.TFRecordDataset` takes several times as long.

    Raises:
      ValueError: a record is longer than what is left of the file.
    """
    with open(path, "rb") as file:
        left = os.fstat(file.fileno()).st_size
        while head := file.read(_HEAD_BYTES):
            length = _length(head, left - _HEAD_BYTES, path)
            yield file.read(length)
            file.seek(_SUM_BYTES, os.SEEK_CUR)
            left -= _HEAD_BYTES + length + _SUM_BYTES


def _length(head: bytes, left: int, path: str | pathlib.Path) -> int:
    """Return the length of a record that begins with `head`.

    Args:
      head: what the record begins with.
      left: bytes of the file behind its head.
      path: of the file, for the message.
    """
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    if length + _SUM_BYTES > left:
        raise ValueError(
            f"{path} is damaged: a record should have {length} bytes, but only "
            f"{max(left - _SUM_BYTES, 0)} of the file are left. Convert its "
            "day again."
        )
    return length


def checked(path: str | pathlib.Path) -> Iterator[bytes | None]:
    """Yield the records of a file, None for each that is not whole.

    What follows a record whose length is not known cannot be told apart: it
    counts as one that is not whole.
    """
    with open(path, "rb") as file:
        while head := file.read(_HEAD_BYTES):
            size, check_sum = head[:_LENGTH_BYTES], head[_LENGTH_BYTES:]
            if check_sum != _check_sum(size):
                yield None
                return
            record = file.read(int.from_bytes(size, "little"))
            whole = file.read(_SUM_BYTES) == _check_sum(record)
            yield record if whole else None


def _check_sum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    rotated = (crc >> _ROTATED | crc << 32 - _ROTATED) % (1 << 32)
    masked = (rotated + _ADDED) % (1 << 32)
    return masked.to_bytes(_SUM_BYTES, "little")
