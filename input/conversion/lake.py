"""Folders that are Delta or Iceberg tables, read through their packages.

Their files may hold rows that have been deleted or rewritten since. Which rows
there are, only the table knows, so no file of one is read by itself.
"""

import dataclasses
import importlib
import pathlib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.fs

DELTA, ICEBERG, HUDI = "Delta", "Iceberg", "Hudi"
# Folder in the folder of a table -> the format.
_MARKS = {"_delta_log": DELTA, "metadata": ICEBERG, ".hoodie": HUDI}
# Of the extras that read them.
_MODULES = {DELTA: "deltalake", ICEBERG: "pyiceberg.table"}
_METADATA = re.compile(r"v?(\d+).*\.metadata\.json(\.gz)?")
# Says whether files name columns otherwise; they would be read as null.
_MAPPING = "delta.columnMapping.mode"


def tables(
    filesystem: pa.fs.FileSystem, paths: Iterable[str]
) -> dict[str, str]:
    """Return the tables that files lie in: folder -> format."""
    above = {
        str(folder)
        for path in paths
        for folder in pathlib.PurePosixPath(path).parents
        # Folders such as hour=3 in dt=2024-01-01 are parts of a table.
        if "=" not in folder.name or "=" not in str(folder.parent)
    }
    local = isinstance(filesystem, pa.fs.LocalFileSystem)
    folders = sorted(above if local else above - {".", "/"})
    found = {}
    for mark, kind in _MARKS.items():
        places = [f"{folder}/{mark}" for folder in folders]
        infos = filesystem.get_file_info(places)
        for folder, info in zip(folders, infos, strict=True):
            there = info.type == pa.fs.FileType.Directory
            if there and (kind != ICEBERG or _versions(filesystem, folder)):
                found[folder] = kind
    return found


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of rows in a folder."""

    filesystem: pa.fs.FileSystem
    # The folder in the file system.
    path: str
    # The folder as a URI or local path.
    name: str
    # The format.
    kind: str

    def columns(self) -> list[str]:
        """Return the names of the columns.

        Raises:
          ValueError: the table cannot be read.
        """
        schema, _ = self._opened()
        return schema.names

    def batches(
        self, wanted: Sequence[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield some columns of the rows that the table has now.

        Args:
          wanted: the columns.
          rows: of a batch, at most.

        Raises:
          ValueError: the table cannot be read.
        """
        _, table = self._opened()
        if self.kind == DELTA:
            found = table.to_batches(
                columns=list(wanted),
                batch_size=rows,
                batch_readahead=1,
                fragment_readahead=1,
            )
        else:
            scan = table.scan(selected_fields=tuple(wanted))
            found = scan.to_arrow_batch_reader()
        for batch in found:
            for start in range(0, len(batch), rows):
                yield batch.select(list(wanted)).slice(start, rows)

    def _opened(self) -> tuple[pa.Schema, typing.Any]:
        """Return the schema, and what reads the rows."""
        name, kind = self.name, self.kind
        package = _imported(kind, name)
        try:
            if kind == DELTA:
                table = package.DeltaTable(name)
                mapping = table.metadata().configuration.get(_MAPPING, "none")
                if mapping != "none":
                    raise ValueError(f"{_MAPPING} is {mapping!r}")
                dataset = table.to_pyarrow_dataset()
                return dataset.schema, dataset
            newest = _newest(self.filesystem, self.path)
            table = package.StaticTable.from_metadata(
                f"{name}/metadata/{newest}"
            )
            return table.schema().as_arrow(), table
        except Exception as error:
            raise ValueError(
                f"{name} cannot be read as {kind} table: {error}. Export its "
                "rows as Parquet if this stays so."
            ) from error


def _imported(kind: str, name: str) -> types.ModuleType:
    """Return the module that reads a format."""
    about = (
        f"{name} is a {kind} table, whose files may hold rows that have been "
        "deleted."
    )
    if kind not in _MODULES:
        raise ValueError(f"{about} It is not read: export its rows as Parquet.")
    try:
        return importlib.import_module(_MODULES[kind])
    except ImportError as error:
        raise ValueError(
            f"{about} To read it, install the extra {kind.lower()!r}: "
            f'pip install "ecdctr-tf[{kind.lower()}]".'
        ) from error


def _versions(
    filesystem: pa.fs.FileSystem, folder: str
) -> list[tuple[int, str]]:
    """Return number and name of each version of an Iceberg table, in order."""
    selector = pa.fs.FileSelector(f"{folder}/metadata")
    names = [info.base_name for info in filesystem.get_file_info(selector)]
    matches = [match for n in names if (match := _METADATA.fullmatch(n))]
    return sorted((int(match[1]), match[0]) for match in matches)


def _newest(filesystem: pa.fs.FileSystem, folder: str) -> str:
    """Return the name of the newest version of an Iceberg table."""
    *_, newest = versions = _versions(filesystem, folder)
    if [number for number, _ in versions].count(newest[0]) > 1:
        raise ValueError(
            f"{folder}/metadata has two versions {newest[0]}. Remove the one "
            "that the catalog does not name"
        )
    return newest[1]
