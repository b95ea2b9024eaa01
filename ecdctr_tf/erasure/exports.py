"""Ids out of exported versions.

A version is made anew, under its number, of the artefact that it was made of,
once the ids are out of that. It takes the place of the old one at one
moment: whoever polls the directory sees a whole version at any time. Servers
keep what they have loaded until they are started again.
"""

import dataclasses
import pathlib
import typing

from ecdctr_tf import artefacts, store, typed_values
from ecdctr_tf import config as configs
from ecdctr_tf.erasure import runs
from ecdctr_tf.export import gate, saved_model, versions
from ecdctr_tf.input.data_directory import DataDirectory


def stale(export_dir: pathlib.Path, data: DataDirectory) -> list[int]:
    """Return the versions that know ids which have gone since, in order.

    Args:
      export_dir: the base path of the served model; need not exist.
      data: the data directory.

    Raises:
      ValueError: a version is damaged.
    """
    return [
        number
        for number in versions.numbers(export_dir)
        if not _fits(export_dir / str(number), data)
    ]


def _fits(version: pathlib.Path, data: DataDirectory) -> bool:
    """Return whether a version numbers ids as the data directory does."""
    manifest = store.read_manifest(version, saved_model.KIND)
    for table, entry in manifest.ids.items():
        space, rows = data.id_spaces[table], int(entry["rows"])
        if rows > space.rows or space.fingerprint(rows) != entry:
            return False
    return True


def check(export_dir: pathlib.Path) -> None:
    """Make sure that each version can be made anew.

    Raises:
      FileNotFoundError, ValueError: the artefact of a version is gone, or is
        another one; or what the version remembers of its making is.
    """
    for number in versions.numbers(export_dir):
        _artefact(export_dir / str(number))
        _lineage(export_dir / str(number))


def _lineage(version: pathlib.Path) -> dict[str, typing.Any]:
    """Return what a version remembers of its making."""
    found = saved_model.read_lineage(version)
    if found is None:
        raise ValueError(
            f"{version} cannot be made anew without the ids: it does not say "
            "how it was made. Delete the version; then run this command again."
        )
    return found


def _artefact(version: pathlib.Path) -> pathlib.Path:
    """Return the artefact that a version was made of, perhaps made anew."""
    parent = store.read_manifest(version, saved_model.KIND).parents["artefact"]
    place = (version / parent["path"]).resolve()
    file = place / store.MANIFEST
    if file.is_file():
        manifest = store.read_manifest(place, artefacts.CTR)
        known = {store.file_hash(file), *runs.hashes_before(manifest)}
        if parent["manifest"] in known:
            return place
    raise ValueError(
        f"{version} cannot be made anew without the ids: {place}, of which "
        "it was made, is gone or was replaced. Delete the version, or put the "
        "artefact back; then run this command again."
    )


def run(
    export_dir: pathlib.Path, data_dir: pathlib.Path, numbers: list[int]
) -> None:
    """Make versions anew of their artefacts, out of which ids were taken.

    Args:
      export_dir: the base path of the served model.
      data_dir: the data directory.
      numbers: the versions, of `stale`.

    Raises:
      FileNotFoundError, ValueError: as `check` and `export_model`.
    """
    for number in numbers:
        version = export_dir / str(number)
        lineage = _lineage(version)
        serving = lineage["serving"]
        looked = lineage["gate"]
        saved_model.export_model(
            _artefact(version),
            data_dir,
            export_dir,
            number,
            typed_values.make(configs.ServingConfig, "`serving`", serving),
            report=gate.Report.from_dict(looked) if looked else None,
            replace=True,
        )


def rename_withdrawn(export_dir: pathlib.Path, former: dict[str, str]) -> None:
    """Let versions that were rolled back be known by the hashes of now.

    Args:
      export_dir: the base path of the served model.
      former: hash of a manifest -> hash of the one in its place.
    """
    before = versions.withdrawn(export_dir)
    after = {
        number: dataclasses.replace(
            entry, artefact=former.get(entry.artefact, entry.artefact)
        )
        for number, entry in before.items()
    }
    if after != before:
        versions.keep_withdrawn(export_dir, after)
