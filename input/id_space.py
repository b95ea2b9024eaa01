"""Id spaces: raw ids to rows of a table, the same in both domains and all days.

A vocabulary is exact and append-only: rows never move when it grows, and only
an expiry numbers them anew (`expired`). Its rows start with the
out-of-vocabulary buckets: ids 0 to `buckets - 1` of the table belong to nobody,
id number i of the file has row `buckets + i`. Hashing needs no files and never
grows.

The state of a vocabulary after a day is its first n entries, so one file holds
the vocabularies of all days; `fingerprint(rows)` names one of them.

An id that was erased leaves its row unassigned: the row is there, and nobody's.
Its line of the file begins with the byte 255, which no text has.
"""

import hashlib
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import features, store
from ecdctr_tf.deferred import tf

# The line of a row whose id was erased.
UNASSIGNED = b"\xfferased"


class Vocabulary:
    """An append-only list of raw ids.

    Args:
      table: the table whose rows are numbered; says dtype and buckets.
      ids: raw ids known so far, in the order of their rows.
    """

    def __init__(
        self, table: features.TableSpec, ids: pa.Array | Sequence = ()
    ):
        self.table = table
        self._ids = pa.array(list(ids) if len(ids) == 0 else ids, self._type)
        # Number of ids -> the hash of so many, to go on from.
        self._hashed = 0, hashlib.sha256()

    @property
    def _type(self) -> pa.DataType:
        return _type(self.table)

    @property
    def rows(self) -> int:
        """Rows in use: the buckets and one for each id."""
        return self.table.buckets + len(self._ids)

    @property
    def ids(self) -> np.ndarray:
        """The raw ids, int64 or object of str, in the order of their rows.

        With unassigned rows they are objects, of which theirs are None.
        """
        if self._ids.null_count:
            return np.array(self._ids.to_pylist(), object)
        return self._ids.to_numpy(zero_copy_only=False)

    @property
    def entries(self) -> pa.Array:
        """The raw ids as Arrow holds them, null for unassigned rows."""
        return self._ids

    @property
    def unassigned(self) -> np.ndarray:
        """The rows whose ids were erased, int32 `[N]`, in order."""
        erased = self._ids.is_null().to_numpy(zero_copy_only=False)
        places = np.flatnonzero(erased).astype(np.int32)
        return places + np.int32(self.table.buckets)

    def raw(self, rows: np.ndarray) -> np.ndarray:
        """Return the raw ids of rows that are assigned, int64 or object `[N]`.

        Args:
          rows: int `[N]`, no buckets.
        """
        ids = self._ids.take(pa.array(rows - self.table.buckets))
        return ids.to_numpy(zero_copy_only=False)

    def unassign(self, raw: npt.ArrayLike | pa.Array) -> np.ndarray:
        """Erase raw ids; their rows stay, and those of all others.

        An id that comes up again gets a new row, as one that is new.

        Args:
          raw: array of raw ids, of the table's dtype. Those that have no row
            are passed over.

        Returns:
          The rows that were theirs, int32 `[N]`, in order.
        """
        rows = np.unique(self.lookup(raw))
        rows = rows[rows >= self.table.buckets]
        erased = np.zeros(len(self._ids), bool)
        erased[rows - self.table.buckets] = True
        nobody = pa.scalar(None, self._type)
        self._ids = pc.if_else(pa.array(erased), nobody, self._ids)
        self._hashed = 0, hashlib.sha256()
        return rows

    def without(self, rows: np.ndarray) -> "Vocabulary":
        """Return the vocabulary less some rows; later ones move up.

        Args:
          rows: int `[N]`, no buckets.
        """
        gone = np.zeros(len(self._ids), bool)
        gone[rows - self.table.buckets] = True
        return Vocabulary(self.table, self._ids.filter(pa.array(~gone)))

    def first(self, rows: int) -> "Vocabulary":
        """Return the vocabulary as it was when it had so many rows."""
        count = max(rows - self.table.buckets, 0)
        return Vocabulary(self.table, self._ids.slice(0, count))

    def append(self, raw: npt.ArrayLike | pa.Array) -> None:
        """Give a row to each raw id that has none yet, in order of appearance.

        Args:
          raw: array of raw ids, of the table's dtype; may repeat. Nulls are
            passed over.

        Raises:
          ValueError: an id holds a line break; the file has one id a line.
        """
        self.number(pc.unique(pa.array(raw, self._type)))

    def number(self, distinct: pa.Array) -> np.ndarray:
        """Append raw ids as `append` does, and return rows as `lookup` does.

        Args:
          distinct: raw ids of the table's dtype, each at most once.
        """
        place = pc.index_in(distinct, self._ids, skip_nulls=True)
        unknown = pc.and_(pc.is_null(place), pc.is_valid(distinct))
        new = distinct.filter(unknown)
        if self.table.dtype == "string":
            broken = new.filter(pc.match_substring(new, "\n"))
            if len(broken):
                raise ValueError(
                    f"Ids of table {self.table.name!r} should not contain a "
                    f"line break. Received: {broken[0].as_py()!r}"
                )
        rows = pc.fill_null(place, 0).to_numpy() + np.int32(self.table.buckets)
        fresh = unknown.to_numpy(zero_copy_only=False)
        rows[fresh] = self.rows + np.arange(len(new))
        if len(new):
            self._ids = pa.concat_arrays([self._ids, new])
        if distinct.null_count:
            missing = distinct.is_null().to_numpy(zero_copy_only=False)
            rows[missing] = self.lookup([None])
        return rows

    def lookup(self, raw: npt.ArrayLike | pa.Array) -> np.ndarray:
        """Return the rows of raw ids as int32 `[N]`; those of unknown ids: 0.

        With several buckets an unknown id goes to bucket
        `tf.strings.to_hash_bucket_fast(str(id), buckets)`, as it does in the
        exported graph. Null counts as the id -1, or the empty text, which is
        what stands for a missing id in requests.
        """
        raw = pc.fill_null(pa.array(raw, self._type), self.table.padding)
        place = pc.index_in(raw, self._ids)
        rows = pc.add(pc.fill_null(place, -1), self.table.buckets)
        rows = rows.to_numpy(zero_copy_only=False).astype(np.int32)
        unknown = rows < self.table.buckets
        if self.table.buckets == 1:
            rows[unknown] = 0
        elif unknown.any():
            text = raw.filter(pa.array(unknown)).cast(pa.string())
            rows[unknown] = hash_rows(text, self.table.buckets)
        return rows

    def bucket_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows that ids would have if they were unknown.

        A model that knows fewer ids than the vocabulary reads these rows for
        the others, as `lookup` and the exported graph do.

        Args:
          rows: int `[N]`, rows of the vocabulary.

        Returns:
          int32 `[N]`, in [0, buckets). The row of a bucket is that bucket.

        Raises:
          ValueError: a row is not one of the vocabulary.
        """
        found = np.array(rows, np.int32)
        _check_rows(self, found)
        named = found >= self.table.buckets
        if self.table.buckets == 1:
            found[named] = 0
        elif named.any():
            ids = self._ids.take(pa.array(found[named] - self.table.buckets))
            # No row of the data is an unassigned one.
            text = pc.fill_null(ids.cast(pa.string()), "")
            found[named] = hash_rows(text, self.table.buckets)
        return found

    def fingerprint(self, rows: int | None = None) -> dict:
        """Return `{"rows", "sha256"}` of the first `rows` rows (all: None).

        Raises:
          ValueError: the vocabulary has fewer rows.
        """
        rows = self.rows if rows is None else rows
        if rows > self.rows:
            raise ValueError(
                f"The vocabulary of table {self.table.name!r} has {self.rows} "
                f"rows; {rows} were asked for. The data directory is not the "
                "one the artefact was made from."
            )
        count = max(rows - self.table.buckets, 0)
        begun, digest = self._hashed
        if count < begun:
            begun, digest = 0, hashlib.sha256()
        digest = digest.copy()
        if count > begun:
            more = self._ids.slice(begun, count - begun)
            digest.update(_lines(more))
        self._hashed = count, digest
        return {"rows": rows, "sha256": digest.hexdigest()}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the ids as `text` uint8, the bytes of the file of `save`."""
        return {"text": np.frombuffer(_lines(self._ids), np.uint8)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` returned."""
        self._hashed = 0, hashlib.sha256()
        self._ids = _ids(self.table, arrays["text"].tobytes())

    def save(self, directory: str | pathlib.Path) -> None:
        """Write `<table>.txt`, one raw id a line."""
        path = pathlib.Path(directory) / f"{self.table.name}.txt"
        with store.replacing(path) as staging:
            staging.write_bytes(_lines(self._ids))

    @classmethod
    def load(
        cls, table: features.TableSpec, directory: str | pathlib.Path
    ) -> "Vocabulary":
        """Read `<table>.txt`.

        Raises:
          FileNotFoundError: the file is missing.
          ValueError: it is damaged.
        """
        path = pathlib.Path(directory) / f"{table.name}.txt"
        if not path.exists():
            raise FileNotFoundError(
                f"{path}, the vocabulary of table {table.name!r}, is missing. "
                "Convert the logs again."
            )
        # Not read_text: it would take a "\r" inside an id for the end of it.
        try:
            return cls(table, _ids(table, path.read_bytes()))
        except ValueError as error:
            raise ValueError(
                f"{path}, the vocabulary of table {table.name!r}, is damaged: "
                f"{error} Put the file back, or convert the logs again."
            ) from error


class Renumbered(Vocabulary):
    """A part of the ids of a vocabulary that nobody holds as a whole.

    Args:
      part: the ids.
      numbers: int64 `[N]`, of each of them in the whole, from 0.
    """

    def __init__(self, part: Vocabulary, numbers: np.ndarray):
        super().__init__(part.table, part.entries)
        self._numbers = numbers

    def number(self, distinct: pa.Array) -> np.ndarray:
        """Return rows as `lookup` does; no id is appended."""
        return self.lookup(distinct)

    def lookup(self, raw: npt.ArrayLike | pa.Array) -> np.ndarray:
        """Return the rows of raw ids in the whole vocabulary, int32 `[N]`."""
        rows = super().lookup(raw)
        own = rows >= self.table.buckets
        places = rows[own] - self.table.buckets
        rows[own] = self._numbers[places] + self.table.buckets
        return rows

    def text_from(self, first: int, last: int) -> bytes:
        """Return the lines that ids of some numbers have in the whole's file.

        Args:
          first: the first number.
          last: the number behind the last one; the part has all in between.
        """
        places = np.argsort(self._numbers)
        start, stop = np.searchsorted(self._numbers[places], [first, last])
        ids = self._ids.take(pa.array(places[start:stop]))
        return _lines(ids) if len(ids) else b""


class Hashing:
    """Rows by hash: `buckets` rows, no files, no growth.

    Args:
      table: the table whose rows are numbered.
    """

    def __init__(self, table: features.TableSpec):
        self.table = table
        self.rows = table.buckets

    def append(self, raw: npt.ArrayLike | pa.Array) -> None:
        """Do nothing: every id has a row already."""

    def number(self, distinct: pa.Array) -> np.ndarray:
        """Return rows as `lookup` does."""
        return self.lookup(distinct)

    def lookup(self, raw: npt.ArrayLike | pa.Array) -> np.ndarray:
        """Return the rows of raw ids as int32 `[N]`; null as `Vocabulary`."""
        raw = pc.fill_null(pa.array(raw, _type(self.table)), self.table.padding)
        return hash_rows(raw.cast(pa.string()), self.rows)

    def bucket_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows: all of them are buckets; see `Vocabulary`."""
        found = np.array(rows, np.int32)
        _check_rows(self, found)
        return found

    def fingerprint(self, rows: int | None = None) -> dict:
        """Return `{"rows", "sha256"}` of the number of buckets."""
        del rows
        text = f"hashing {self.rows}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"rows": self.rows, "sha256": digest}

    def save(self, directory: str | pathlib.Path) -> None:
        """Do nothing: there is nothing to keep."""


IdSpace = Vocabulary | Hashing


def hash_rows(text: pa.Array, buckets: int) -> np.ndarray:
    """Return `tf.strings.to_hash_bucket_fast` of strings as int32 `[N]`."""
    values = text.to_numpy(zero_copy_only=False).astype(object)
    rows = tf.strings.to_hash_bucket_fast(values, buckets)
    return rows.numpy().astype(np.int32)


def new(table: features.TableSpec) -> IdSpace:
    """Return the empty id space of a table."""
    return Vocabulary(table) if table.ids == "vocabulary" else Hashing(table)


def load(
    tables: Iterable[features.TableSpec], data_dir: str | pathlib.Path
) -> dict[str, IdSpace]:
    """Return the id spaces of tables of a data directory, by name."""
    directory = pathlib.Path(data_dir) / "ids"
    return {
        table.name: Vocabulary.load(table, directory)
        if table.ids == "vocabulary"
        else Hashing(table)
        for table in tables
    }


def _check_rows(space: IdSpace, rows: np.ndarray) -> None:
    """Raise a ValueError unless all are rows of an id space."""
    wrong = rows[(rows < 0) | (rows >= space.rows)]
    if len(wrong):
        raise ValueError(
            f"Rows of table {space.table.name!r} should be from 0 to "
            f"{space.rows - 1}. Received: {wrong[0]}"
        )


def _type(table: features.TableSpec) -> pa.DataType:
    return pa.int64() if table.dtype == "int64" else pa.string()


def _lines(ids: pa.Array) -> bytes:
    texts = ids.cast(pa.string()).to_pylist()
    if not ids.null_count:
        return "\n".join([*texts, ""]).encode()
    lines = (UNASSIGNED if text is None else text.encode() for text in texts)
    return b"\n".join([*lines, b""])


def _ids(table: features.TableSpec, text: bytes) -> pa.Array:
    """Return the ids that `_lines` made text of.

    Raises:
      ValueError: the text is not one that `_lines` makes.
    """
    lines: list[str | None]
    if UNASSIGNED in text:
        lines = [
            None if line == UNASSIGNED else line.decode("utf-8")
            for line in text.split(b"\n")
        ]
    else:
        lines = [*text.decode("utf-8").split("\n")]
    if lines.pop() != "":
        raise ValueError("Its last line is cut off.")
    try:
        ids = pa.array(lines, pa.string()).cast(_type(table))
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"It should hold one whole number of 64 bits a line. {error}."
        ) from error
    if pc.count_distinct(ids).as_py() != len(ids) - ids.null_count:
        raise ValueError("It holds an id twice.")
    return ids
