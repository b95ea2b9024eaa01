import pytest
import tensorflow as tf

from ecdctr_tf.input import tfrecords

# None, few and many bytes; with byte order, and with high bits.
RECORDS = [b"", b"a", bytes(range(256)), b"\xff" * 70_000]


def written_by_tensorflow(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path.read_bytes()


@pytest.mark.parametrize("records", [[], RECORDS])
def test_files_are_those_that_tensorflow_writes(tmp_path, records):
    tfrecords.write(tmp_path / "own", iter(records))
    expected = written_by_tensorflow(tmp_path / "other", records)
    assert (tmp_path / "own").read_bytes() == expected
    # Which compares the check sums.
    dataset = tf.data.TFRecordDataset(str(tmp_path / "own"))
    assert list(dataset.as_numpy_iterator()) == records
    assert list(tfrecords.read(tmp_path / "own")) == records


def test_an_existing_file_is_overwritten(tmp_path):
    tfrecords.write(tmp_path / "f", RECORDS)
    tfrecords.write(tmp_path / "f", RECORDS[:1])
    assert list(tfrecords.read(tmp_path / "f")) == RECORDS[:1]
