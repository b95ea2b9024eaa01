"""Artefacts: directories that exist whole or not at all.

An artefact is written under a temporary name beside its place, gets a
`manifest.json` (what it is, the days in it, hashes of its files, its parents,
its config and metrics) and is renamed. Readers go through `read_manifest`.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator

from ecdctr_tf import windows

MANIFEST = "manifest.json"
_STAGING = ".staging-"


@dataclasses.dataclass
class Manifest:
    """What an artefact is and what it was made from."""

    # "day", "ids", "snapshot", "historical", "cpm", "ctr", "export", ...
    kind: str
    # Days of the data inside, or None where there is no data inside.
    window: windows.Window | None = None
    # Examples inside (a day of data) or trained on (a model).
    rows: int = 0
    # `DataSpec.fingerprint()` of the data.
    spec: str = ""
    # Table name -> {"rows": rows in use, "sha256": hash of their ids}.
    ids: dict = dataclasses.field(default_factory=dict)
    # Role -> {"path": ..., "manifest": hash of its manifest.json}.
    parents: dict = dataclasses.field(default_factory=dict)
    config: dict = dataclasses.field(default_factory=dict)
    metrics: dict = dataclasses.field(default_factory=dict)
    # File name -> {"bytes": size, "sha256": hash}; filled in by `publish`.
    files: dict = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """Return the manifest as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Return the manifest written by `to_json`."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"it holds no fields but {text[:40]!r}")
        if values.get("window"):
            values["window"] = windows.Window(**values["window"])
        return cls(**values)


def file_hash(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file's bytes, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | pathlib.Path, text: str) -> None:
    """Write a file that readers see whole or not at all."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_STAGING}{uuid.uuid4().hex}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


@contextlib.contextmanager
def publish(
    path: str | pathlib.Path, manifest: Manifest
) -> Iterator[pathlib.Path]:
    """Give a staging directory that becomes the artefact on leaving.

    Args:
      path: the artefact's place; its parents are made.
      manifest: completed with the hashes of the files and written with them;
        its other fields may still be set inside the `with` block.

    Yields:
      The empty directory to write into.

    Raises:
      FileExistsError: `path` exists: what is published never changes.
    """
    path = pathlib.Path(path)
    if path.exists():
        raise FileExistsError(
            f"{path} was published before. Remove it to make it anew."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f"{_STAGING}{path.name}-{uuid.uuid4().hex[:8]}")
    staging.mkdir()
    try:
        yield staging
        for file in sorted(p for p in staging.rglob("*") if p.is_file()):
            manifest.files[file.relative_to(staging).as_posix()] = {
                "bytes": file.stat().st_size,
                "sha256": file_hash(file),
            }
        (staging / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        sync(staging)
        os.rename(staging, path)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def sync(directory: pathlib.Path) -> None:
    """Make the files of a directory survive a power cut before a rename."""
    for file in directory.rglob("*"):
        if file.is_file():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())


def remove(path: pathlib.Path) -> None:
    """Remove an artefact, which readers see whole until it is gone."""
    doomed = path.with_name(f"{_STAGING}{path.name}-{uuid.uuid4().hex[:8]}")
    os.rename(path, doomed)
    shutil.rmtree(doomed)


def sweep(directory: str | pathlib.Path) -> None:
    """Remove what killed writers left behind in a directory."""
    for leftover in pathlib.Path(directory).glob(f"{_STAGING}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def read_manifest(path: str | pathlib.Path, kind: str) -> Manifest:
    """Return the manifest of an artefact of that kind.

    Raises:
      FileNotFoundError: there is no artefact at `path`.
      ValueError: it is an artefact of another kind, or no manifest.
    """
    file = pathlib.Path(path) / MANIFEST
    if not file.exists():
        raise FileNotFoundError(
            f"There is no {kind} artefact at {path}: {MANIFEST} is missing."
        )
    try:
        manifest = Manifest.from_json(file.read_text(encoding="utf-8"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} is not a manifest: {error}") from error
    if manifest.kind != kind:
        raise ValueError(
            f"{path} should be an artefact of kind {kind!r}. "
            f"Received: {manifest.kind!r}"
        )
    return manifest


def verify(path: str | pathlib.Path, kind: str) -> Manifest:
    """Return the manifest after comparing every file with its hash.

    Raises:
      FileNotFoundError: the artefact or one of its files is missing.
      ValueError: a file is shorter, longer or other than when it was published.
    """
    path = pathlib.Path(path)
    manifest = read_manifest(path, kind)
    for name, recorded in manifest.files.items():
        file = path / name
        if not file.exists():
            raise FileNotFoundError(
                f"{file} is listed in {MANIFEST} but missing. "
                f"Remove {path} and make it anew."
            )
        size = file.stat().st_size
        if size != recorded["bytes"]:
            raise ValueError(
                f"{file} has {size:,} bytes; {recorded['bytes']:,} were "
                f"published (truncated?). Remove {path} and make it anew."
            )
        if file_hash(file) != recorded["sha256"]:
            raise ValueError(
                f"{file} is damaged: its SHA-256 is not the one published. "
                f"Remove {path} and make it anew."
            )
    return manifest


def parent(path: str | pathlib.Path, root: str | pathlib.Path) -> dict:
    """Return the entry of `Manifest.parents` for an artefact under `root`."""
    path = pathlib.Path(path)
    return {
        "path": os.path.relpath(path, root),
        "manifest": file_hash(path / MANIFEST),
    }


def dated(directory: str | pathlib.Path) -> list[str]:
    """Return the days that artefacts of a directory are named by, in order."""
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        return []
    return sorted(
        child.name
        for child in directory.iterdir()
        if (child / MANIFEST).exists() and not child.name.startswith(".")
    )


@contextlib.contextmanager
def lock(directory: pathlib.Path, what: str) -> Iterator[None]:
    """TEMPORARY."""
    del directory, what
    yield
