"""Text as platforms and spreadsheets write it, read as rows."""

import bz2
import csv
import gzip
import io
import lzma
import random

import pyarrow as pa
import pyarrow.parquet
import pytest

from ecdctr_tf.input.conversion import files, log_spec, quotes, readers, text

ROWS = [
    {"user": "u1", "note": 'a "b", c', "time": "10"},
    {"user": "ü2", "note": "two\nlines", "time": "20"},
    {"user": "u3", "note": None, "time": "30"},
]
NAMES = list(ROWS[0])


def written(delimiter=",", end="\n", header=True, quoting=csv.QUOTE_MINIMAL):
    """Return the rows as text, by the csv module."""
    out = io.StringIO()
    writer = csv.writer(
        out, delimiter=delimiter, lineterminator=end, quoting=quoting
    )
    writer.writerows([NAMES] * header)
    writer.writerows(row.values() for row in ROWS)
    return out.getvalue()


def read(path, wanted=NAMES, **settings):
    """Return the rows of the files at a path."""
    parts = [
        table
        for file in files.find(path.parent, path.name)
        for table in readers.batches(file, log_spec.Text(**settings), wanted)
    ]
    return [row for table in parts for row in table.to_pylist()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.csv"


@pytest.fixture(autouse=True, params=[40, 8 << 20], ids=["cut", "whole"])
def block_bytes(request, monkeypatch):
    """Read everything in small blocks and in one."""
    monkeypatch.setattr(text, "BLOCK_BYTES", request.param)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "\x01", " "])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_quotes_with_any_delimiter(path, delimiter, quoting):
    path.write_text(written(delimiter, quoting=quoting))
    assert read(path, delimiter=delimiter) == ROWS
    (file,) = files.find(path.parent, path.name)
    assert readers.columns(file, log_spec.Text(delimiter=delimiter)) == NAMES


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", [True, False])
def test_line_ends(path, end, header):
    path.write_text(written(",", end, header, csv.QUOTE_ALL), newline="")
    assert read(path, columns=() if header else tuple(NAMES)) == ROWS
    path.write_text(path.read_text().removesuffix("\n"))
    assert read(path, columns=() if header else tuple(NAMES)) == ROWS


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "latin-1"]
)
def test_encodings(path, encoding):
    path.write_text(written(), encoding=encoding)
    marked = encoding in ("utf-8-sig", "utf-16", "utf-32")
    assert read(path, encoding="utf-8" if marked else encoding) == ROWS


def test_big_endian_text_with_a_mark(path):
    path.write_bytes(("\ufeff" + written()).encode("utf-16-be"))
    assert read(path) == ROWS


def zstd(data):
    return pa.compress(data, "zstd", asbytes=True)


def lz4(data):
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "lz4") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, zstd, lz4])
def test_compressed_files_of_any_name(path, compress):
    data = written().encode()
    path.write_bytes(compress(data))
    assert read(path) == ROWS
    path.write_bytes(compress(data[:30]) + compress(data[30:]))
    assert read(path) == ROWS
    path.write_bytes(compress(data)[:-6])
    with pytest.raises(ValueError, match=r"log.csv cannot be read: "):
        read(path)


def test_text_called_gz_that_is_not_compressed(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_text(written())
    assert read(path) == ROWS


def test_quotes_within_fields_without_quotes_are_kept(path):
    path.write_text('user,size\nu1,5" wide\nu2,"6"" wide"\nu3,a"b"c\n')
    sizes = [row["size"] for row in read(path, ["size"])]
    assert sizes == ['5" wide', '6" wide', 'a"b"c']


def test_quotes_may_be_part_of_the_values(path):
    path.write_text('user\tnote\nu1\t"a" b\nu2\t"c\nu3\td"\n')
    notes = [r["note"] for r in read(path, ["note"], delimiter="\t", quote="")]
    assert notes == ['"a" b', '"c', 'd"']


def test_escaped_quotes(path):
    path.write_text('user,note\nu1,"a \\"b\\", c"\nu2,"d\\\\"\nu3,e\n')
    rows = read(path, ["note"], escape="\\")
    assert [row["note"] for row in rows] == ['a "b", c', "d\\", "e"]


def test_delimiters_of_several_characters(path):
    path.write_text('user::note\nu1::a:b\nu2::"c::d"\nu3:::e\n')
    rows = read(path, ["user", "note"], delimiter="::")
    assert [tuple(row.values()) for row in rows] == [
        ("u1", "a:b"),
        ("u2", "c::d"),
        ("u3", ":e"),
    ]
    path.write_text("user§note\nu1§a\n")
    assert read(path, ["note"], delimiter="§") == [{"note": "a"}]


def test_headers_with_quotes_and_line_breaks(path):
    path.write_text('\n\n"user","a\nb",c\n1,2,3\n')
    assert read(path, ["a\nb"]) == [{"a\nb": "2"}]


@pytest.mark.parametrize(
    "content, settings, message",
    [
        ("a,b\n1,2\n3\n", {}, r"row 1: there should be 2 fields.* are 1.*'3'"),
        ("a,b\n1,2\n\n3,4,5\n", {}, r"there should be 2 fields.*'3,4,5'"),
        ("1,2\n3\n", {"columns": ("a", "b")}, r"row 1: .* 2 fields"),
        ("a,b\n1,2,\n", {}, r"row 0: there should be 2 fields.* are 3"),
        ('a,b\n1,2\n3,"4\n5,6\n', {}, r"line 3: a quoted field does not end"),
        ('a,b\n1,2\n3,"4\n' + "5,6\n" * 9, {}, r"line 3: a quoted field"),
        ('a,b\n1,"x"y"\n2,3\n', {}, r"line 2: a quoted field.*`escape`"),
        ('a,b\n1,"x\\"y"\n', {}, r"line 2: a quoted field.*`escape`"),
        ('a,b\n1,"x\n2,"y"\n', {}, r"line 2: a quoted field"),
        ("a,b\n1,2\n" + "3" * 99, {}, r"line 3, is longer than 80|2 fields"),
        ("a,b,a\n1,2,3\n", {}, r"has 2 columns 'a'"),
        ("1,2\n", {"columns": ("a", "a")}, r"has 2 columns 'a'"),
        ("A,b\n1,2\n", {}, r"lacks the column 'a'.*It has: A, b"),
        ("a,b\nü,2\n", {"encoding": "ascii"}, r"line 2: 'ascii'.*`encoding`"),
        ("a,b\n1,2\n".encode("utf-16-le"), {}, r"zero bytes.*is UTF-16"),
        (b"a,b\n1,2\n\xff,2\n", {}, r"line 3: 'utf-8'.*`encoding`"),
        (b"\x7fELF\0\0\0\0a,b\n", {}, "is no text: .*gzip, zstd"),
    ],
)
def test_what_cannot_be_read_says_where(path, content, settings, message):
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"log.csv.*{message}"):
        read(path, ["a"], **settings)


@pytest.mark.parametrize(
    "content, settings, message",
    [
        (b"PK\x03\x04\x14\0\0\0", {}, "is a zip archive or a spreadsheet"),
        (lzma.compress(b"a,b\n1,2\n"), {}, "is compressed as xz"),
        (b"Obj\x01\x04\x16", {}, "is an Avro file"),
        (b"ORC\x0a\x03", {}, "is an ORC file"),
        (b"a,b\n1,2\na,b\n3,4\n", {}, "row 1, is a header.*Take it out"),
        (
            b"a,b\n1,2\n",
            {"columns": ("a", "b")},
            "row 0, is a header.*Leave `columns` of the log out",
        ),
    ],
)
def test_what_is_no_row_of_text_says_what_it_is(
    path, content, settings, message
):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"log.csv.*{message}"):
        read(path, ["a", "b"], **settings)


def test_a_value_may_be_called_as_its_column(path):
    path.write_bytes(b"a,b\na,1\nx,b\n")
    assert read(path, ["a", "b"]) == [
        {"a": "a", "b": "1"},
        {"a": "x", "b": "b"},
    ]
    assert read(path, ["a"]) == [{"a": "a"}, {"a": "x"}]


@pytest.mark.parametrize("content", [b"", b"\n\n", gzip.compress(b"", mtime=0)])
def test_empty_files_have_no_rows(path, content):
    path.write_bytes(content)
    assert read(path, ["a"]) == []
    path.write_bytes(b"a,b\n")
    assert read(path, ["a"]) == []


def test_rows_end_outside_quotes_wherever_the_data_is_cut():
    rng = random.Random(0)
    for _ in range(300):
        rows = [
            ["".join(rng.choices('ab",\n', k=rng.randrange(5))) for _ in "abc"]
            for _ in range(4)
        ]
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(rows)
        data = out.getvalue().encode()
        ends, place = set(), 0
        for row in rows:
            one = io.StringIO()
            csv.writer(one, lineterminator="\n").writerow(row)
            place += len(one.getvalue().encode())
            ends.add(place)
        for cut in range(len(data) + 1):
            part = data[:cut]
            end, _ = quotes.end_of_rows(part, b",", b'"', b"")
            assert end == max([e for e in ends if e <= cut], default=0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"quote": ","}, "`delimiter`, `quote` and `escape` of it should be"),
        ({"quote": "''"}, "the last two one ASCII character each"),
        ({"escape": '"'}, "should be different"),
        ({"encoding": "rot13"}, "one that Python knows"),
    ],
)
def test_marks_that_cannot_be_told_apart_are_rejected(change, message):
    with pytest.raises(ValueError, match=message):
        log_spec.Text(**change).check("it")


def test_text_of_parquet_files_is_of_one_type(tmp_path):
    columns = {
        "a": pa.array(["x", "y"]).dictionary_encode(),
        "b": pa.array(["x", None], pa.large_string()),
        "c": pa.array([b"x", b"y"]),
        "d.e": pa.array([1, 2]),
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "part-0")
    rows = read(tmp_path / "part-0", list(columns))
    assert rows == [
        {"a": "x", "b": "x", "c": "x", "d.e": 1},
        {"a": "y", "b": None, "c": "y", "d.e": 2},
    ]
    table = pa.table([pa.array([1])] * 2, ["a", "a"])
    pa.parquet.write_table(table, tmp_path / "part-0")
    with pytest.raises(ValueError, match="part-0 has 2 columns 'a'"):
        read(tmp_path / "part-0", ["a"])
