"""Publish artefacts, and read them back."""

import contextlib
import errno
import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence

from ecdctr_tf import windows
from ecdctr_tf.store import manifest as manifests
from ecdctr_tf.store import revisions
from ecdctr_tf.store import staging as stagings

Manifest = manifests.Manifest
# Kinds of a data directory. The same logs give the same bytes, always.
_OF_DATA = ("day", "conversion_state")


def file_hash(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file's bytes, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def publish(
    path: str | pathlib.Path, manifest: Manifest, replace: bool = False
) -> Iterator[pathlib.Path]:
    """Give a staging directory that becomes the artefact on leaving.

    What killed writers left behind beside it is removed first.

    Args:
      path: the artefact's place; its parents are made.
      manifest: completed with the hashes of the files, and with the revision
        of the code unless it says one, and written with them; its other fields
        may still be set inside the `with` block.
      replace: whether it takes the place of an artefact that is there, at one
        moment; only what takes ids out may.

    Yields:
      The empty directory to write into.

    Raises:
      FileExistsError: `path` exists: what is published never changes.
      ValueError: a number in the manifest is NaN or infinite.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stagings.sweep(path.parent)
    if path.exists() and not replace:
        raise FileExistsError(_published(path))
    with stagings.staged(path) as staging:
        yield staging
        if manifest.kind not in _OF_DATA and not manifest.code:
            manifest.code = revisions.revision()
        for file in sorted(p for p in staging.rglob("*") if p.is_file()):
            manifest.files[file.relative_to(staging).as_posix()] = {
                "bytes": file.stat().st_size,
                "sha256": file_hash(file),
            }
        text = manifest.to_json()
        (staging / manifests.NAME).write_text(text, encoding="utf-8")
        stagings.sync(staging)
        if path.exists() and replace:
            stagings.swap(staging, path)
        else:
            rename(staging, path)


def rename(staging: pathlib.Path, path: pathlib.Path) -> None:
    """Rename a directory to a place where nothing is yet, for good.

    Raises:
      FileExistsError: another writer was there first.
    """
    try:
        os.rename(staging, path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(_published(path)) from error
        raise
    stagings.sync_names(path.parent)


def _published(path: pathlib.Path) -> str:
    return f"{path} was published before. Delete it to rebuild it."


def read_manifest(path: str | pathlib.Path, kind: str = "") -> Manifest:
    """Return the manifest of an artefact.

    Args:
      path: the artefact.
      kind: what it should be; empty: anything.

    Raises:
      FileNotFoundError: there is no artefact at `path`.
      ValueError: it is an artefact of another kind or day, or no manifest.
    """
    file = pathlib.Path(path) / manifests.NAME
    if not file.is_file():
        raise FileNotFoundError(
            f"There is no {f'{kind} artefact'.strip()} at {path}: "
            f"{manifests.NAME} is missing."
        )
    try:
        manifest = Manifest.from_json(file.read_text(encoding="utf-8"))
        if manifest.window is None and windows.is_day(file.parent.name):
            raise ValueError(
                "`window` should be the days of the artefact. Received: null."
            )
    except ValueError as error:
        raise ValueError(
            f"{file} is not a manifest: {str(error).rstrip('.')}. "
            f"{_remedy(path, kind)}"
        ) from error
    if kind and manifest.kind != kind:
        raise ValueError(
            f"{path} should be an artefact of kind {kind!r}. "
            f"Received: {manifest.kind!r}"
        )
    day, window = file.parent.name, manifest.window
    if window is not None and windows.is_day(day) and window.last != day:
        raise ValueError(
            f"{path} is the artefact of {window.last}, under another name. "
            "Move it elsewhere, or put the original back."
        )
    return manifest


def verify(
    path: str | pathlib.Path, kind: str, names: Sequence[str] | None = None
) -> Manifest:
    """Return the manifest after comparing files with their hashes.

    Args:
      path: the artefact.
      kind: what it should be.
      names: the files that will be read; None for all. Those that the artefact
        never had are passed over.

    Raises:
      FileNotFoundError: the artefact or one of its files is missing.
      ValueError: a file is shorter, longer or other than when it was published.
    """
    path = pathlib.Path(path)
    manifest = read_manifest(path, kind)
    remedy = _remedy(path, kind)
    for name, recorded in manifest.files.items():
        if names is not None and name not in names:
            continue
        file = path / name
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} is listed in {manifests.NAME} but missing. {remedy}"
            )
        size = file.stat().st_size
        if size != recorded["bytes"]:
            raise ValueError(
                f"{file} has {size:,} bytes; {recorded['bytes']:,} were "
                f"published (truncated?). {remedy}"
            )
        if file_hash(file) != recorded["sha256"]:
            raise ValueError(
                f"{file} is damaged: its SHA-256 is not the one published. "
                f"{remedy}"
            )
    return manifest


def file(path: str | pathlib.Path, kind: str, name: str) -> pathlib.Path:
    """Return the place of a file of an artefact, compared with its hash.

    Args:
      path: the artefact.
      kind: what it should be; empty: anything.
      name: of the file.

    Raises:
      FileNotFoundError, ValueError: as `verify`, or the artefact never had it.
    """
    path = pathlib.Path(path)
    if name not in verify(path, kind, [name]).files:
        raise FileNotFoundError(
            f"{path} should have a {name}; its {manifests.NAME} lists none. "
            f"{_remedy(path, kind)}"
        )
    return path / name


def parent(
    path: str | pathlib.Path, root: str | pathlib.Path
) -> dict[str, str]:
    """Return the entry of `Manifest.parents` for an artefact under `root`."""
    path = pathlib.Path(path)
    return {
        "path": os.path.relpath(path, root),
        "manifest": file_hash(path / manifests.NAME),
    }


def _remedy(path: str | pathlib.Path, kind: str) -> str:
    """Return what to do about an artefact that is damaged."""
    if kind not in _OF_DATA:
        return f"Delete {path} to rebuild it, or put its files back."
    root = pathlib.Path(path).parents[1]
    return (
        f"Put its files back; `python -m ecdctr_tf.input.doctor {root}` says "
        "what can be done without them."
    )


def dated(directory: str | pathlib.Path, kind: str = "") -> list[str]:
    """Return the names of the artefacts of a directory, in order.

    Artefacts are named by their day, or by a number of steps. Files and hidden
    directories are ignored.

    Args:
      directory: looked into; it may be missing.
      kind: of the artefacts, where it is known.

    Raises:
      ValueError: a directory in it is not an artefact.
    """
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        return []
    names = []
    for child in sorted(directory.iterdir()):
        if child.name.startswith(".") or not child.is_dir():
            continue
        if not child.name.isdecimal() and not windows.is_day(child.name):
            raise ValueError(
                f"{directory} should hold artefacts named by their day, "
                f"YYYY-MM-DD. Received: {child.name!r}. Move it elsewhere."
            )
        if not (child / manifests.NAME).is_file():
            raise ValueError(
                f"{child} is not an artefact: its {manifests.NAME} is missing. "
                f"{_remedy(child, kind)}"
            )
        names.append(child.name)
    return names
