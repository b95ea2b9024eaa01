"""What has changed in a data directory, and which artefacts saw it before.

An artefact has seen the former rows if it was trained on them, or made from one
that was. Levels go on from their own last artefact, so all later artefacts of a
level have seen what an earlier one saw.
"""

import dataclasses
import pathlib

from ecdctr_tf import features, model_table, store
from ecdctr_tf.input import data_directory, id_space

# Kind of an artefact -> the domain whose days it is trained on.
_TRAINED_ON = {
    "snapshot": features.NATURAL,
    "cpm": features.NATURAL,
    "ctr": features.ADS,
}


@dataclasses.dataclass(frozen=True)
class Exchanged:
    """The days whose rows have changed or are gone."""

    # Domain -> its days, in order.
    days: dict[str, list[str]]
    # Whether ids of former rows have other rows now, or none.
    renumbered: bool
    summary: dict

    def seen_by(self, workdir: str | pathlib.Path) -> list[str]:
        """Return the artefacts of a work directory that saw the former rows.

        Returns:
          Their paths, relative to the work directory, in order.

        Raises:
          FileNotFoundError: there is no work directory.
          ValueError: a manifest in it is damaged.
        """
        workdir = pathlib.Path(workdir)
        if not workdir.is_dir():
            raise FileNotFoundError(f"There is no work directory at {workdir}.")
        found: dict[pathlib.Path, bool] = {}
        for file in workdir.rglob(f"*/{store.MANIFEST}"):
            self._saw(file.parent.resolve(), found)
        root = workdir.resolve()
        return sorted(
            path.relative_to(root).as_posix()
            for path, saw in found.items()
            if saw and path.is_relative_to(root)
        )

    def _saw(self, path: pathlib.Path, found: dict[pathlib.Path, bool]) -> bool:
        """Return whether an artefact saw former rows; keep it in `found`."""
        if path in found:
            return found[path]
        found[path] = False
        if not (path / store.MANIFEST).is_file():
            return False
        manifest = store.read_manifest(path)
        places = [path / p["path"] for p in manifest.parents.values()]
        found[path] = self._learned(manifest) or any(
            [self._saw(place.resolve(), found) for place in places]
        )
        return found[path]

    def _learned(self, manifest: store.Manifest) -> bool:
        """Return whether an artefact, or its level before, learned the rows."""
        domains = {_TRAINED_ON.get(manifest.kind)}
        name = manifest.config.get("model")
        if manifest.kind == "ctr" and name in model_table.MODELS:
            row = model_table.model(name)
            if row.origin == model_table.BOTH_DOMAINS:
                domains.add(features.NATURAL)
        firsts = [days[0] for d, days in self.days.items() if d in domains]
        return any(first <= manifest.window.last for first in firsts)

    def lines(self) -> list[str]:
        """Return what has changed, for people."""
        if not self.days:
            return ["No row has changed."]
        said = [
            f"{domain}: {len(days)} days have changed or are gone, from "
            f"{days[0]} to {days[-1]}."
            for domain, days in self.days.items()
        ]
        if self.renumbered:
            said.append(
                "Ids have other table rows than before: artefacts that know "
                "them can no longer be used with this directory."
            )
        return said


class Before:
    """A data directory as it is before days are exchanged."""

    def __init__(self, data: data_directory.DataDirectory):
        self._path = data.path
        self._days = _days(data)
        self._spaces = dict(data.id_spaces)

    def compared(self, summary: dict) -> Exchanged:
        """Return what has changed since; with the new summary."""
        data = data_directory.DataDirectory(self._path)
        now = _days(data)
        changed: dict[str, list[str]] = {}
        for (domain, day), files in sorted(self._days.items()):
            if now.get((domain, day)) != files:
                changed.setdefault(domain, []).append(day)
        spaces = data.id_spaces
        renumbered = any(
            not _begins(spaces[name], space)
            for name, space in self._spaces.items()
        )
        return Exchanged(changed, renumbered, summary)


def _days(data: data_directory.DataDirectory) -> dict[tuple[str, str], dict]:
    """Return the hashes of the files with rows of each day."""
    found = {}
    for domain in features.DOMAINS:
        for day in data.days(domain):
            files = dict(data.manifest(domain, day).files)
            files.pop(data_directory.EVENTS, None)
            found[domain, day] = files
    return found


def _begins(now: id_space.IdSpace, before: id_space.IdSpace) -> bool:
    """Return whether all ids have the rows they had before."""
    return (
        now.rows >= before.rows
        and now.fingerprint(before.rows) == before.fingerprint()
    )
