"""Raw ids to rows of a table, in the graph: `input.id_space` for serving.

Shapes: N ids.
"""

import pathlib
import uuid

import tensorflow as tf

from ecdctr_tf.input import id_space


class IdMapping(tf.Module):
    """Number raw ids as the id space of a table does.

    Args:
      space: the ids that the model knows, no more.
      directory: where the vocabulary's file is written. It has to stay until
        the module is saved, which copies it among the assets.
    """

    def __init__(self, space: id_space.IdSpace, directory: str | pathlib.Path):
        """Write the file and make the table from it."""
        super().__init__(name=f"ids_{space.table.name}")
        self._spec = space.table
        self.dtype = tf.as_dtype(space.table.dtype)
        self._known = None
        if isinstance(space, id_space.Vocabulary):
            self._known = _known(space, directory)

    def rows(self, raw: tf.Tensor) -> tf.Tensor:
        """Return the rows of raw ids.

        Args:
          raw: int64 or string, as the table's dtype is, of any shape.

        Returns:
          int32 of the same shape; unknown ids have row 0, or with several
          buckets that of the hash of their text.
        """
        if self._known is None:
            if self._spec.buckets > 1:
                return self._hashed(raw)
            return tf.zeros(tf.shape(raw), tf.int32)
        rows = self._known.lookup(raw)
        if self._spec.buckets > 1:
            rows = tf.where(rows >= 0, rows, self._hashed(raw))
        return rows

    def _hashed(self, raw: tf.Tensor) -> tf.Tensor:
        text = raw if self.dtype == tf.string else tf.strings.as_string(raw)
        buckets = self._spec.buckets
        return tf.cast(tf.strings.to_hash_bucket_fast(text, buckets), tf.int32)


def _known(
    space: id_space.Vocabulary, directory: str | pathlib.Path
) -> tf.lookup.StaticHashTable | None:
    """Return the table of a vocabulary, as of `IdMapping`; None if it is empty.

    TensorFlow has no empty lookup tables.
    """
    erased = space.entries.null_count
    if len(space.entries) == erased:
        return None
    space.save(directory)
    path = pathlib.Path(directory) / f"{space.table.name}.txt"
    buckets, dtype = space.table.buckets, tf.as_dtype(space.table.dtype)
    return tf.lookup.StaticHashTable(
        _Lines(str(path), dtype, buckets, bool(erased)),
        default_value=0 if buckets == 1 else -1,
    )


class _Lines(tf.lookup.TextFileInitializer):
    """Line of an asset -> its row, split at line feeds and nowhere else.

    The stock initializer refuses an empty line and drops carriage returns,
    both of which an id may hold.

    Args:
      path: the asset.
      dtype: of the ids.
      first: the row of the first line.
      erased: whether some lines are those of unassigned rows.
    """

    def __init__(self, path: str, dtype: tf.DType, first: int, erased: bool):
        self._bytes = pathlib.Path(path).stat().st_size
        super().__init__(
            path,
            dtype,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self._value_dtype, self._first = tf.int32, first
        self._erased = erased
        self._unique_name = f"ids_{uuid.uuid4().hex}"

    @property
    def _shared_name(self) -> str:
        # The stock name holds the path: no business of whoever serves.
        return self._unique_name

    def initialize(
        self, table: tf.lookup.StaticHashTable
    ) -> tf.Operation | None:
        """Fill the table; called when it is made and when it is loaded."""
        lines = tf.strings.split(self._text(), "\n")[:-1]  # [N]
        rows = self._first + tf.range(tf.size(lines))  # [N]
        if self._erased:
            assigned = tf.not_equal(lines, id_space.UNASSIGNED)
            lines, rows = lines[assigned], rows[assigned]
        keys = lines
        if self.key_dtype != tf.string:
            keys = tf.strings.to_number(lines, self.key_dtype)  # [N]
        return tf.raw_ops.InitializeTableV2(
            table_handle=table.resource_handle,
            keys=keys,
            values=rows,
        )

    def _text(self) -> tf.Tensor:
        """Return the file's bytes.

        As a data set of one record: `ReadFile` is on the list of operations
        that `saved_model_cli scan` warns of.
        """
        records = tf.raw_ops.FixedLengthRecordDatasetV2(
            filenames=[tf.convert_to_tensor(self._filename, tf.string)],
            header_bytes=0,
            record_bytes=self._bytes,
            footer_bytes=0,
            buffer_size=0,
            compression_type="",
        )
        [text] = tf.raw_ops.DatasetToSingleElement(
            dataset=records, output_types=[tf.string], output_shapes=[[]]
        )
        return text
