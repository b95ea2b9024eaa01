"""The family tree of an artefact: what it was made from, back to the logs."""

import dataclasses
import json
import pathlib
import typing
from collections.abc import Iterator, Mapping

import rich.console
import rich.text
import rich.tree

from ecdctr_tf import artefacts, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.export import saved_model
from ecdctr_tf.results import text

# Role of the artefact of a level that one continued from.
_LAST = "last"
# Metrics of manifests that are shown, and what they are called.
_METRICS = {
    "auc": "AUC",
    "normalized_entropy": "NE",
    "pcoc": "PCOC",
    "loss": "loss",
}
# Kind -> what it is called.
_KINDS = {
    artefacts.TPM: "TPM snapshot",
    "historical": "historical version",
    artefacts.CPM: "CPM",
    artefacts.CTR: "A-CTR day",
    saved_model.KIND: "export",
    "day": "day of data",
    "progress": "resumable state",
    "conversion_state": "state of the conversion",
}


@dataclasses.dataclass
class Member:
    """An artefact in a family tree."""

    # What it was to the artefact below it; empty for that at the root.
    role: str
    path: pathlib.Path
    # What has become of it, in words; empty if it is there as it was.
    trouble: str = ""
    # None where nothing is known of it but its place.
    manifest: store.Manifest | None = None
    # Its config, or None.
    config: Mapping[str, typing.Any] | None = None
    # Other days of its level that it went on from.
    before: str = ""
    # Whether it stands in the tree further up, with its own parents.
    shown: bool = False
    parents: list["Member"] = dataclasses.field(default_factory=list)


def trace(path: str | pathlib.Path) -> Member:
    """Return an artefact with all that it was made from.

    Parents that are missing or were replaced are members too, which say so. Of
    an export, they are those that its lineage remembers.

    Args:
      path: an artefact of a work directory, a day of a data directory, an
        exported version, or a file in one of these.

    Raises:
      FileNotFoundError: there is nothing at `path`.
      ValueError: it is no artefact, or its manifest is damaged.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    place = path.resolve()
    for directory in (place, *place.parents):
        if (directory / store.MANIFEST).is_file():
            return _Tree(directory, store.read_manifest(directory)).root
    raise ValueError(
        f"{path} should be an artefact, which has a {store.MANIFEST}, or lie "
        "in one: a day of a level, a historical version, an exported version, "
        "or a day of a data directory."
    )


class _Tree:
    """Goes through parents; each artefact has its own ones shown once."""

    def __init__(self, path: pathlib.Path, manifest: store.Manifest):
        self._seen: set[pathlib.Path] = set()
        # Hash of a manifest -> what the lineage of an export says of it.
        self._remembered: dict[str, dict[str, typing.Any]] = {}
        self._config: Mapping[str, typing.Any] | None = None
        if manifest.kind == saved_model.KIND:
            lineage = saved_model.read_lineage(path) or {}
            self._remembered = lineage.get("ancestors", {})
            self._config = lineage.get("config")
        self.root = Member("", path, manifest=manifest)
        _add_config(self.root, manifest.kind)
        self._add_parents(self.root)

    def _add_parents(self, member: Member) -> None:
        """Add parents; artefacts that a level continued from stand in a row."""
        self._seen.add(member.path)
        pending: Member | None = member
        while pending is not None and pending.manifest is not None:
            entries = pending.manifest.parents
            below, pending = pending, None
            for role in sorted(entries, key=lambda role: (role == _LAST, role)):
                parent = self._parent(role, entries[role], below.path)
                if role == _LAST:
                    member.parents.append(parent)
                    pending = None if parent.shown else parent
                    self._seen.add(parent.path)
                    continue
                below.parents.append(parent)
                if not parent.shown:
                    self._add_parents(parent)

    def _parent(
        self, role: str, entry: dict[str, str], of: pathlib.Path
    ) -> Member:
        path = (of / entry["path"]).resolve()
        file = path / store.MANIFEST
        found = Member(role, path, shown=path in self._seen)
        wanted = entry["manifest"]
        if file.is_file() and store.file_hash(file) == wanted:
            found.manifest = store.read_manifest(path)
            _add_config(found, found.manifest.kind)
            found.before = _days_before(path, found.manifest)
            return found
        found.trouble = (
            "MISSING: deleted since"
            if not path.exists()
            else "REPLACED: another artefact lies in its place"
        )
        remembered = self._remembered.get(wanted)
        if remembered is not None:
            fields = {**remembered, "files": {}}
            del fields["path"]
            found.manifest = store.Manifest.from_json(json.dumps(fields))
            found.trouble += "; this is what the export remembers of it"
            if role == "artefact":
                found.config = self._config
        return found


def _add_config(member: Member, kind: str) -> None:
    """Add the config of an artefact of a kind, or say that it is damaged."""
    try:
        found = artefacts.read_json(member.path, kind, artefacts.CONFIG)
    except (FileNotFoundError, ValueError) as error:
        member.trouble = f"DAMAGED: {error}"
    else:
        member.config = found


def _days_before(path: pathlib.Path, manifest: store.Manifest) -> str:
    """Return the days that an A-CTR learned before, which it does not name."""
    if manifest.kind != artefacts.CTR or not windows.is_day(path.name):
        return ""
    days = [day for day in store.dated(path.parent) if day < path.name]
    if not days:
        return ""
    return f"goes on from {days[-1]}; days there: {days[0]}..{days[-1]}"


def show(member: Member, console: rich.console.Console | None = None) -> None:
    """Print a family tree."""
    console = console or rich.console.Console()
    configs_shown: dict[str, str] = {}

    def node(of: Member, above: rich.tree.Tree | None) -> None:
        lines = list(_lines(of, configs_shown))
        label = rich.text.Text("\n".join(lines))
        label.stylize("bold", 0, len(lines[0]))
        if of.trouble:
            label.stylize("red", 0, len(lines[0]))
        branch = above.add(label) if above else rich.tree.Tree(label)
        for parent in of.parents:
            node(parent, branch)
        if above is None:
            console.print(branch)

    node(member, None)


def _lines(member: Member, shown: dict[str, str]) -> Iterator[str]:
    """Yield what is said of a member.

    Args:
      member: the member.
      shown: differences of a config -> where they were shown; added to.
    """
    manifest = member.manifest
    role = f"{member.role}: " if member.role else ""
    trouble = f"  [{member.trouble}]" if member.trouble else ""
    name = f"{role}{member.path}{trouble}"
    if member.shown:
        yield f"{name} (as above)"
        return
    yield name
    if manifest is None:
        return
    yield _of_days(manifest)
    if member.before:
        yield member.before
    found = [
        f"{label} {manifest.metrics[metric]:.4f}"
        for metric, label in _METRICS.items()
        if isinstance(manifest.metrics.get(metric), float)
    ]
    if found:
        yield f"metrics: {', '.join(found)}"
    if member.config is not None:
        settings = ", ".join(differences(member.config)) or "the defaults"
        said = shown.setdefault(settings, str(member.path))
        yield f"config: {settings if said == str(member.path) else 'as above'}"
    if manifest.kind not in ("day", "conversion_state"):
        yield f"code: {manifest.code or 'not recorded'}"


def _of_days(manifest: store.Manifest) -> str:
    """Return what an artefact is, of which days and rows."""
    said = _KINDS.get(manifest.kind, manifest.kind)
    model = manifest.config.get("model")
    if model:
        said += f" of {model}"
    if manifest.window is not None:
        said += f", {manifest.window}"
    if manifest.rows:
        said += f", {text.plural(manifest.rows, 'row')}"
    if manifest.spec:
        said += f", features {manifest.spec[:8]}"
    return said


def differences(config: Mapping[str, typing.Any]) -> list[str]:
    """Return the settings of a config that are not the defaults.

    Args:
      config: of a `config.json`.

    Returns:
      `name.field=value`, in the order of the config.
    """
    defaults = dict(_flat(json.loads(configs.Config().to_json()), ""))
    found = []
    for name, value in _flat(config, ""):
        if value != defaults.get(name):
            shown = ",".join(map(str, value)) if type(value) is list else value
            found.append(f"{name}={shown}")
    return found


def _flat(
    values: Mapping[str, typing.Any], prefix: str
) -> Iterator[tuple[str, typing.Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
