"""The files of a log: local ones, and those that a URI names.

A path is a file, a folder, which stands for the files in it, or a glob with
`*`, `?`, `[...]` and `**`. Parts of a path that exist as they are written are
no globs. `s3://`, `gs://`, `abfs://`, `hdfs://` and `file://` are those of
`pyarrow.fs.FileSystem.from_uri`, with its options after a `?`.
"""

import dataclasses
import fnmatch
import glob
import logging
import os
import pathlib
import re
import urllib.parse
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet

from ecdctr_tf.input.conversion import lake

# Scheme, host or bucket, path, options.
_URI = re.compile(r"(.*?://)([^/?]*)(.*?)(\?\w+=.*)?")
# Ends of names of files that are being written, and of former ones.
_UNFINISHED = (
    "~",
    ".bak",
    ".tmp",
    ".crc",
    ".partial",
    ".inprogress",
    "._COPYING_",
)
# Beginnings of files of one size that are compared.
_COMPARED_BYTES = 1 << 20
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclasses.dataclass(frozen=True)
class File:
    """A file of logs, or the folder of a table (`lake`)."""

    filesystem: pa.fs.FileSystem
    # In the file system.
    path: str
    # As messages name it.
    name: str
    # Format of the table whose folder it is, or "".
    table: str = ""

    def __str__(self) -> str:
        """Return the name for messages."""
        return self.name

    @property
    def partitions(self) -> dict[str, str | None]:
        """Columns that folders hold: `dt=2024-01-01` is "dt"."""
        folders = pathlib.PurePosixPath(self.path).parent.parts
        found = {}
        for folder in folders:
            name, separator, value = folder.partition("=")
            if name and separator:
                name, value = map(urllib.parse.unquote, (name, value))
                found[name] = None if value == _NULL_PARTITION else value
        return found


def find(source: str | os.PathLike[str], path: str) -> list[File]:
    """Return the files that a path stands for, in order.

    Names that begin with "." or "_" are left out, as Spark and Hive do, and
    those that end as `_UNFINISHED` and copies do, unless the path itself writes
    that. A file that is there under several names, by links, is returned once.

    Args:
      source: folder or URI that relative paths start from.
      path: a file, folder, glob or URI.

    Raises:
      FileNotFoundError: there are none, or a link leads to nothing.
      ValueError: the file system of a URI cannot be used, or the path leads
        into a table.
    """
    base, below = os.fspath(source), path
    if "://" in path or path.startswith("/"):
        base, below = path, ""
    full = os.path.join(base, below) if below else base
    try:
        filesystem, root, prefix, parts = _parsed(base)
        infos = [pa.fs.FileInfo(root, type=pa.fs.FileType.Directory)]
        for part in [*parts, *_parts(below)]:
            infos = [
                child
                for info in infos
                if info.type == pa.fs.FileType.Directory
                for child in _children(filesystem, info.path, part)
            ]
        paths = {p for info in infos for p in _files(filesystem, info)}
        tables = lake.tables(filesystem, paths)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{full} cannot be opened: {error}") from error
    if not paths:
        raise FileNotFoundError(
            f"No file matches {full}. Give the directory of the logs with "
            "--source, or the path of a log with --log=name=path. Names that "
            'begin with "." or "_" are left out unless the path writes them, '
            f"and so are those that end in {', '.join(_UNFINISHED)}."
        )
    found: dict[str, str] = {}
    for name in sorted(paths, key=lambda name: (len(name), name)):
        local = isinstance(filesystem, pa.fs.LocalFileSystem)
        found.setdefault(os.path.realpath(name) if local else name, name)
    whole = [info.path for info in infos]
    units = {_unit(path, tables, whole, full) for path in found.values()}
    return [
        File(filesystem, p, prefix + p, tables.get(p, ""))
        for p in sorted(units)
    ]


def warn_of_copies(found: Iterable[File]) -> None:
    """Warn of files of a log that seem to be the same: rows count twice."""
    sizes: dict[int, list[File]] = {}
    for file in found:
        if not file.table:
            info = file.filesystem.get_file_info(file.path)
            sizes.setdefault(info.size, []).append(file)
    for of_size in sizes.values():
        seen: dict[tuple, File] = {}
        for file in of_size if len(of_size) > 1 else []:
            with file.filesystem.open_input_stream(
                file.path, compression=None
            ) as stream:
                content = stream.read(_COMPARED_BYTES)
            key = (content, *file.partitions.items())
            other = seen.setdefault(key, file)
            if other is not file and _has_rows(content):
                logging.warning(
                    "%s and %s hold the same, so their rows count twice. Take "
                    "one away if it is a copy.",
                    other,
                    file,
                )


def _has_rows(content: bytes) -> bool:
    """Return whether there is more in a file than the names of columns."""
    try:
        found = pa.parquet.read_metadata(pa.BufferReader(content))
    except (pa.ArrowException, OSError):
        return len(content.splitlines()) > 1  # Text, or only its beginning.
    return found.num_rows > 0


def _unit(
    path: str, tables: dict[str, str], whole: list[str], full: str
) -> str:
    """Return what is read: a file, or the table that it is in."""
    for folder in map(str, pathlib.PurePosixPath(path).parents):
        if folder not in tables:
            continue
        above = {folder, *map(str, pathlib.PurePosixPath(folder).parents)}
        if not above.intersection(str(pathlib.PurePosixPath(p)) for p in whole):
            raise ValueError(
                f"{full} leads into the {tables[folder]} table {folder}, whose "
                "files may hold rows that have been deleted. Give the folder "
                f"{folder} as the path, and choose rows with `keep`."
            )
        return folder
    return path


def _parsed(base: str) -> tuple[pa.fs.FileSystem, str, str, list[str]]:
    """Return file system, root, what messages put before paths, and parts."""
    if "://" not in base:
        root = "/" if base.startswith("/") else ""
        return pa.fs.LocalFileSystem(), root, "", _parts(base)
    scheme, host, path, options = _URI.fullmatch(base).groups("")
    filesystem, root = pa.fs.FileSystem.from_uri(f"{scheme}{host}/{options}")
    prefix = "" if scheme == "file://" else scheme
    return filesystem, root, prefix, _parts(urllib.parse.unquote(path))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _children(
    filesystem: pa.fs.FileSystem, folder: str, part: str
) -> Iterable[pa.fs.FileInfo]:
    """Return what one part of a path stands for in a folder."""
    exact = filesystem.get_file_info(_join(folder, part))
    if not glob.has_magic(part) or exact.type != pa.fs.FileType.NotFound:
        return [exact]
    if part == "**":
        here = pa.fs.FileInfo(folder, type=pa.fs.FileType.Directory)
        return [here, *_visible(filesystem, folder, recursive=True)]
    entries = _visible(filesystem, folder, written=part)
    return [e for e in entries if fnmatch.fnmatchcase(e.base_name, part)]


def _files(filesystem: pa.fs.FileSystem, info: pa.fs.FileInfo) -> Iterator[str]:
    """Yield the path of a file, or those of the files in a folder."""
    if info.type == pa.fs.FileType.Directory:
        if isinstance(filesystem, pa.fs.LocalFileSystem):
            _check_links(info.path)
        for entry in _visible(filesystem, info.path, recursive=True):
            if entry.type == pa.fs.FileType.File:
                yield entry.path
    elif info.type == pa.fs.FileType.File:
        yield info.path


def _check_links(folder: str) -> None:
    """Raise a FileNotFoundError for a link in a folder that leads nowhere.

    Arrow passes over these.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if name[0] not in "._" and not os.path.exists(path):
                raise FileNotFoundError(
                    f"{path} is a link to a file that is not there. Remove it, "
                    "or give a path that leaves it out."
                )


def _visible(
    filesystem: pa.fs.FileSystem,
    folder: str,
    recursive: bool = False,
    written: str = "",
) -> list[pa.fs.FileInfo]:
    """Return what is in a folder but is not hidden.

    Args:
      filesystem: of the folder.
      folder: its path.
      recursive: whether to go through its folders too.
      written: a part of a path; names that begin or end as it does are not
        hidden.
    """
    selector = pa.fs.FileSelector(folder, recursive=recursive)
    entries = filesystem.get_file_info(selector)
    begins = tuple({".", "_"} - {*written[:1]})
    ends = tuple(end for end in _UNFINISHED if not written.endswith(end))
    depth = len(_parts(folder))
    return [
        entry
        for entry in entries
        if not any(
            name.startswith(begins) or name.endswith(ends)
            for name in _parts(entry.path)[depth:]
        )
    ]


def _join(folder: str, name: str) -> str:
    return (
        f"{folder.rstrip('/')}/{name}"
        if folder not in ("", "/")
        else (folder + name)
    )
