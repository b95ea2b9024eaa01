"""Where the files of logs are."""

import datetime
import types

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet
import pytest

from ecdctr_tf.input.conversion import files, log_spec, readers


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a\n1\n")


def names(source, path):
    found = [file.path for file in files.find(source, path)]
    return [name.removeprefix(str(source)).lstrip("/") for name in found]


@pytest.mark.parametrize(
    "path, expected",
    [
        ("*.csv", ["x.csv", "y.csv"]),
        ("?.csv", ["x.csv", "y.csv"]),
        ("[!x].csv", ["y.csv"]),
        ("day/*", ["day/1.csv", "day/deep/2.csv"]),
        ("day", ["day/1.csv", "day/deep/2.csv"]),
        ("./day/", ["day/1.csv", "day/deep/2.csv"]),
        ("**/2.csv", ["day/deep/2.csv"]),
        ("day/**", ["day/1.csv", "day/deep/2.csv"]),
        ("**/*.csv", ["day/1.csv", "day/deep/2.csv", "x.csv", "y.csv"]),
        ("day/../x.csv", ["day/../x.csv"]),
    ],
)
def test_files_folders_and_globs(tmp_path, path, expected):
    write(tmp_path, "x.csv", "y.csv", "day/1.csv", "day/deep/2.csv", "z.txt")
    assert names(tmp_path, path) == expected
    assert names(tmp_path, str(tmp_path / path)) == expected
    assert names(f"file://{tmp_path}", path) == [
        f"{tmp_path}/{name}".lstrip("/") for name in expected
    ]


@pytest.mark.parametrize("path", ["*", "**", "**/*", "x/**", "**/*.csv", "x"])
def test_hidden_names_are_left_out(tmp_path, path):
    hidden = [".x/1.csv", "x/.1.csv", "x/_2.csv", "x/_temporary/0/3.csv"]
    hidden += ["x/4.csv~", "x/5.csv.tmp", "x/6.csv._COPYING_", "x/4.csv.crc"]
    write(tmp_path, *hidden, "x/4.csv", "x/.4.csv.crc", "x/_SUCCESS")
    assert names(tmp_path, path) == ["x/4.csv"]


@pytest.mark.parametrize("path", ["x/1.tmp", "x/*.tmp", "*/1.tmp"])
def test_unfinished_names_are_read_if_the_path_writes_them(tmp_path, path):
    write(tmp_path, "x/1.tmp", "x/2.csv")
    assert names(tmp_path, path) == ["x/1.tmp"]


def test_a_file_is_read_once_by_whatever_links(tmp_path):
    write(tmp_path, "x/1.csv", "y/2.csv")
    (tmp_path / "x/again").symlink_to(tmp_path / "x")
    (tmp_path / "x/z.csv").symlink_to(tmp_path / "x/1.csv")
    (tmp_path / "x/y").symlink_to(tmp_path / "y")
    assert names(tmp_path, "x") == ["x/1.csv", "x/y/2.csv"]


def test_a_link_to_nothing_is_refused(tmp_path):
    write(tmp_path, "x/1.csv")
    (tmp_path / "x/2.csv").symlink_to(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="2.csv is a link to a file"):
        names(tmp_path, "x")


@pytest.mark.parametrize("path", ["_x/1.csv", "_x/*", "_*/1.csv", "_x"])
def test_hidden_names_are_read_if_the_path_writes_them(tmp_path, path):
    write(tmp_path, "_x/1.csv", "_x/.2.csv")
    assert names(tmp_path, path) == ["_x/1.csv"]


@pytest.mark.parametrize(
    "folder", ["a b", "[2024]", "a*", "x?y", "día", "50%", "a#b", "a[1-3] b"]
)
def test_names_with_signs_of_globs(tmp_path, folder):
    write(tmp_path, f"{folder}/[x] 1.csv", "other/2.csv")
    expected = [f"{folder}/[x] 1.csv"]
    assert names(tmp_path, f"{folder}/*.csv") == expected
    assert names(tmp_path, f"{folder}/[x] 1.csv") == expected
    assert names(tmp_path / folder, "*.csv") == ["[x] 1.csv"]
    assert names("/", f"{tmp_path}/{folder}/*.csv") == [
        f"{tmp_path}/{expected[0]}".lstrip("/")
    ]


def rows(source, path, *wanted):
    log = log_spec.Text()
    return [
        tuple(row.values())
        for file in files.find(source, path)
        for table in readers.batches(file, log, wanted)
        for row in table.select(wanted).to_pylist()
    ]


@pytest.mark.parametrize(
    "folder, values",
    [
        ("dt=2024-01-01", ("2024-01-01", None)),
        ("dt=2024-01-01/hour=05", ("2024-01-01", "05")),
        ("dt=a%20b%2Fc/x/hour=", ("a b/c", "")),
        ("dt=__HIVE_DEFAULT_PARTITION__/hour=1", (None, "1")),
        ("dt=a=b/hour=1", ("a=b", "1")),
    ],
)
def test_folders_that_are_columns(tmp_path, folder, values):
    write(tmp_path, f"{folder}/1.csv")
    wanted = ["a", "dt", "hour"][: 3 if "hour" in folder else 2]
    assert rows(tmp_path, "**/*.csv", *wanted) == [
        ("1", *values)[: len(wanted)]
    ]
    assert rows(tmp_path, "", "a") == [("1",)]
    with pytest.raises(ValueError, match="lacks the column 'day'.*a, dt"):
        rows(tmp_path, "*", "day")


def test_columns_of_files_go_before_those_of_folders(tmp_path):
    (tmp_path / "a=1").mkdir()
    pa.parquet.write_table(pa.table({"a": [1, 1]}), tmp_path / "a=1/x.parquet")
    write(tmp_path, "a=1/y.csv")
    assert rows(tmp_path, "a=*", "a") == [(1,), (1,), ("1",)]


def test_files_of_other_file_systems(tmp_path, monkeypatch):
    write(tmp_path, "bucket/ads/dt=1/x y.csv", "bucket/ads/_tmp/z.csv")
    local = pa.fs.LocalFileSystem()
    remote = pa.fs.SubTreeFileSystem(str(tmp_path), local)
    asked = []

    def from_uri(uri):
        asked.append(uri)
        return remote, "bucket"

    systems = types.SimpleNamespace(**vars(pa.fs))
    systems.FileSystem = types.SimpleNamespace(from_uri=from_uri)
    monkeypatch.setattr(pa, "fs", systems)
    uri = "s3://bucket/ads/*/*.csv?region=eu-west-1"
    (found,) = files.find("elsewhere", uri)
    assert str(found) == "s3://bucket/ads/dt=1/x y.csv"
    assert asked == ["s3://bucket/?region=eu-west-1"]
    assert rows(".", uri, "a", "dt") == [("1", "1")]
    assert rows("s3://bucket/ads", "", "a") == [("1",)]
    assert rows("s3://bucket/", "ads/dt=1/x y.csv", "a") == [("1",)]
    assert rows("", "s3://bucket/ads/dt=1/x%20y.csv", "a") == [("1",)]
    assert rows("s3://bucket?region=x", "ads", "a") == [("1",)]


def test_uris_that_cannot_be_used_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="foo://x/y cannot be opened: "):
        files.find(tmp_path, "foo://x/y")
    with pytest.raises(FileNotFoundError, match="No file matches file:///no/"):
        files.find(tmp_path, "file:///no/*.csv")


@pytest.mark.parametrize(
    "names, contents, said",
    [
        (("a.csv", "a (1).csv"), ("x\n1\n", "x\n1\n"), True),
        (("a.csv", "old/a.csv"), ("x\n1\n", "x\n1\n"), True),
        (("a.csv", "b.csv"), ("x\n1\n", "x\n2\n"), False),
        (("a.csv", "b.csv"), ("x\n", "x\n"), False),
        (("dt=1/a.csv", "dt=2/a.csv"), ("x\n1\n", "x\n1\n"), False),
    ],
)
def test_copies_of_a_file_are_said(tmp_path, caplog, names, contents, said):
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    files.warn_of_copies(files.find(tmp_path, ""))
    assert ("hold the same, so their rows count twice" in caplog.text) == said


@pytest.mark.parametrize("rows", [0, 3])
def test_parquet_files_without_rows_are_no_copies(tmp_path, caplog, rows):
    for name in "ab":
        table = pa.table({"a": list(range(rows))})
        pa.parquet.write_table(table, tmp_path / f"{name}.parquet")
    files.warn_of_copies(files.find(tmp_path, ""))
    assert ("hold the same" in caplog.text) == (rows > 0)


@pytest.mark.parametrize("path", ["no.csv", "*.txt", "x.csv/y", "no/*", "e"])
def test_nothing_found_says_where(tmp_path, path):
    write(tmp_path, "x.csv", "_x.txt", "e/_SUCCESS")
    with pytest.raises(FileNotFoundError, match=r"No file matches .*--source"):
        files.find(tmp_path, path)


@pytest.mark.parametrize(
    "folder, value, right",
    [
        ("5", "5", True),
        ("05", 5, True),
        ("2024-01-01", datetime.date(2024, 1, 1), True),
        ("2024-01-01", datetime.datetime(2024, 1, 1, 5), True),
        ("a%20b", "a b", True),
        ("__HIVE_DEFAULT_PARTITION__", None, True),
        ("5", "51", False),
        ("5", None, False),
        ("2024-01-02", datetime.datetime(2024, 1, 1, 5), False),
    ],
)
def test_a_column_says_what_its_folder_says(tmp_path, folder, value, right):
    path = tmp_path / f"d%20t={folder}" / "1.parquet"
    path.parent.mkdir()
    pa.parquet.write_table(pa.table({"d t": [value]}), path)
    (file,) = files.find(tmp_path, "*")
    log = log_spec.Text()
    if right:
        (table,) = readers.batches(file, log, ["d t"])
        assert table["d t"].to_pylist() == [value]
        return
    with pytest.raises(ValueError, match="1.parquet: .*'d t' holds .*folder"):
        list(readers.batches(file, log, ["d t"]))
