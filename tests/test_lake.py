"""Logs that are Delta or Iceberg tables: deleted rows are never read."""

import importlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecdctr_tf.input.conversion import (
    files,
    lake,
    log_spec,
    logs,
    readers,
    toml_spec,
)
from ecdctr_tf.input.inference import inference
from tests import conversion_world as world

ROWS = pa.table(
    {
        "user_id": [1, 2, 3, 4],
        "item_id": [7, 8, 7, 9],
        "click": [0, 1, 1, 0],
        "timestamp": [1_704_420_000 + i for i in range(4)],
        "dt": ["2024-01-05"] * 2 + ["2024-01-06"] * 2,
        "tags": [["a"], ["b", "c"], [], None],
    }
)
FOLDERS = {lake.DELTA: "_delta_log", lake.HUDI: ".hoodie"}


def _delta(tmp_path):
    """Write a table, of which user 2 is deleted; return its folder."""
    deltalake = pytest.importorskip(
        "deltalake", reason="the extra `delta` is not installed"
    )
    folder = tmp_path / "logs" / "feed"
    deltalake.write_deltalake(folder, ROWS, partition_by=["dt"])
    deltalake.DeltaTable(folder).delete("user_id = 2")
    return folder


def _iceberg(tmp_path):
    """Write a table, of which user 2 is deleted; return its folder."""
    sql = pytest.importorskip(
        "pyiceberg.catalog.sql",
        reason="the extra `iceberg`, with SQLite, is not installed",
    )
    catalog = sql.SqlCatalog(
        "logs",
        uri=f"sqlite:///{tmp_path}/catalog.db",
        warehouse=f"file://{tmp_path}/logs",
    )
    catalog.create_namespace("n")
    table = catalog.create_table("n.feed", schema=ROWS.schema)
    table.append(ROWS)
    table.delete("user_id = 2")
    return tmp_path / "logs" / "n" / "feed"


WRITERS = {lake.DELTA: _delta, lake.ICEBERG: _iceberg}


def _made_up(tmp_path, kind):
    """Write a folder that looks like a table; return it."""
    folder = tmp_path / "feed"
    data = folder / "data" / "dt=2024-01-05"
    data.mkdir(parents=True)
    pq.write_table(ROWS, data / "part-0.parquet")
    (folder / FOLDERS.get(kind, "metadata")).mkdir()
    if kind == lake.ICEBERG:
        (folder / "metadata" / "v1.metadata.json").write_text("{}")
    return folder


@pytest.mark.parametrize("kind", [*FOLDERS, lake.ICEBERG])
def test_a_table_may_be_called_as_parts_are(tmp_path, kind):
    """As where there is one a market."""
    folder = _made_up(tmp_path, kind).rename(tmp_path / "market=de")
    (file,) = files.find(tmp_path, "")
    assert (file.path, file.table) == (str(folder), kind)
    with pytest.raises(ValueError, match=f"leads into the {kind} table"):
        files.find(folder, "data/dt=2024-01-05")


def _read(file):
    names = readers.columns(file, log_spec.Text())
    tables = list(readers.batches(file, log_spec.Text(), names))
    return pa.concat_tables(tables).sort_by("user_id").to_pydict()


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("path", ["", ".", "{}", "**"])
def test_deleted_rows_are_not_read(tmp_path, kind, path):
    folder = WRITERS[kind](tmp_path)
    assert len(list(folder.rglob("*.parquet"))) > 1
    (file,) = files.find(tmp_path / "logs", path.format(folder))
    assert (file.path, file.table) == (str(folder), kind)
    found = _read(file)
    assert found.pop("tags")[0] == ["a"]
    wanted = ROWS.filter(pa.array([True, False, True, True]))
    assert found == wanted.drop_columns(["tags"]).to_pydict()


@pytest.mark.parametrize("kind", WRITERS)
def test_batches_have_at_most_so_many_rows(tmp_path, kind):
    folder = str(WRITERS[kind](tmp_path))
    (file,) = files.find(folder, "")
    table = lake.Table(file.filesystem, folder, folder, kind)
    batches = list(table.batches(["dt", "user_id"], 1))
    assert [len(batch) for batch in batches] == [1, 1, 1]
    assert batches[0].schema.names == ["dt", "user_id"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_spec_is_inferred(tmp_path, kind):
    WRITERS[kind](tmp_path)
    text = inference.infer(tmp_path / "logs").text
    assert 'user = "user_id"' in text and 'feed"' in text


def test_columns_of_other_names_in_files_are_an_error(tmp_path):
    folder = _delta(tmp_path)
    log = next((folder / "_delta_log").glob("*0.json"))
    said = '"configuration":{'
    text = log.read_text()
    assert said in text
    other = f'{said}"delta.columnMapping.mode":"name"'
    comma = "" if f"{said}}}" in text else ","
    log.write_text(text.replace(said, other + comma))
    (file,) = files.find(folder, "")
    with pytest.raises(ValueError, match="cannot be read as Delta table"):
        readers.columns(file, log_spec.Text())


@pytest.mark.parametrize("kind", [lake.DELTA, lake.ICEBERG])
def test_error_names_the_extra(tmp_path, kind, monkeypatch):
    def absent(name):
        raise ImportError(name)

    folder = _made_up(tmp_path, kind)
    monkeypatch.setattr(importlib, "import_module", absent)
    (file,) = files.find(tmp_path, "feed")
    named = rf"feed is a {kind} table.*ecdctr-tf\[{kind.lower()}\]"
    with pytest.raises(ValueError, match=named):
        readers.columns(file, log_spec.Text())
    with pytest.raises(ValueError, match=named):
        inference.infer(folder.parent)


def test_a_hudi_table_is_an_error(tmp_path):
    _made_up(tmp_path, lake.HUDI)
    (file,) = files.find(tmp_path, "")
    with pytest.raises(ValueError, match="is a Hudi table.*export its rows"):
        readers.columns(file, log_spec.Text())


@pytest.mark.parametrize("kind", [lake.DELTA, lake.ICEBERG, lake.HUDI])
@pytest.mark.parametrize(
    "path", ["feed/data", "feed/data/*/*.parquet", "feed/data/dt=2024-01-05"]
)
def test_a_part_of_a_table_is_an_error(tmp_path, kind, path):
    _made_up(tmp_path, kind)
    with pytest.raises(
        ValueError, match=f"into the {kind} table .*feed, whose"
    ):
        files.find(tmp_path, path)


def test_rows_without_order_make_no_days(tmp_path):
    _made_up(tmp_path, lake.DELTA)
    (tmp_path / "logs.toml").write_text(
        """
        [[logs]]
        domain = "natural"
        path = "feed"
        user = "user_id"
        item = "item_id"
        click = "click"
        rows_per_day = 2
        """
        + world.USER_AND_ITEM
    )
    spec = toml_spec.ConversionSpec.load(tmp_path / "logs.toml")
    with pytest.raises(ValueError, match="Delta table. Its rows have no order"):
        next(logs.tables(spec, tmp_path))


def test_two_newest_versions_are_an_error(tmp_path):
    folder = _made_up(tmp_path, lake.ICEBERG)
    (folder / "metadata" / "00001-x.metadata.json").write_text("{}")
    (file,) = files.find(folder, "")
    with pytest.raises(ValueError, match="two versions 1"):
        lake._newest(file.filesystem, file.path)


def test_folders_called_metadata_are_no_tables(tmp_path):
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "about.txt").write_text("a,b\n")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    found = files.find(tmp_path, "*.csv")
    assert [file.table for file in found] == [""]
