"""What an artefact of a level was made from."""

import pathlib

from ecdctr_tf import store
from ecdctr_tf.artefacts.files import CPM


def parent_path(
    path: pathlib.Path, manifest: store.Manifest, role: str
) -> pathlib.Path:
    """Return the place of what an artefact was made from.

    Args:
      path: the artefact's place.
      manifest: its manifest.
      role: a key of `Manifest.parents`.

    Raises:
      FileNotFoundError: it is gone.
      ValueError: another artefact lies in its place.
    """
    parent = manifest.parents[role]
    place = (path / parent["path"]).resolve()
    if not place.exists():
        raise FileNotFoundError(
            f"{place}, from which {path} was made, is gone. Put it back, or "
            "train in another --workdir."
        )
    if store.file_hash(place / store.MANIFEST) != parent["manifest"]:
        raise ValueError(
            f"{place} is not the artefact from which {path} was made: it was "
            "replaced. Put the original back, or train in another --workdir."
        )
    return place


def needs_cpm(path: pathlib.Path, manifest: store.Manifest) -> None:
    """Raise a ValueError if an A-CTR day does not name its CPM."""
    if CPM not in manifest.parents:
        raise ValueError(
            f"{path / store.MANIFEST} is damaged: `parents` lacks the CPM. "
            f"Delete {path} to rebuild it, or restore the file."
        )


def cpm_of(path: pathlib.Path, manifest: store.Manifest) -> pathlib.Path | None:
    """Return the CPM that an A-CTR day was made from; None if it reads none.

    Raises:
      FileNotFoundError, ValueError: as `parent_path`.
    """
    if CPM not in manifest.parents:
        return None
    return parent_path(path, manifest, CPM)


def cpm_role(age: int) -> str:
    """Return the role among parents of the newest CPM (0) or an older one."""
    return CPM if not age else f"{CPM} {age} before"


def expert_role(name: str) -> str:
    """Return the role among parents of a day of a mixture's expert."""
    return f"expert {name}"
