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


@pytest.mark.parametrize("read", [tfrecords.places, tfrecords.read])
@pytest.mark.parametrize("length", [b"\x10" + bytes(7), b"\xff" * 8])
def test_a_record_that_is_longer_than_its_file(tmp_path, read, length):
    tfrecords.write(tmp_path / "f", [b"a", b"bc"])
    content = bytearray((tmp_path / "f").read_bytes())
    second = tfrecords.places(tmp_path / "f")[1]
    content[second : second + 8] = length
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ValueError, match="f is damaged: .* only 2 of the file"):
        list(read(tmp_path / "f"))
