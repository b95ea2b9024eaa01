"""What an artefact is, as its `manifest.json` says it.

The file ends with a hash of all that it says, so that a manifest that was
damaged or edited by hand is found. Those of older versions have none.
"""

import dataclasses
import pathlib
import typing

from ecdctr_tf import typed_values, windows

NAME = "manifest.json"
# Fields that manifests have only where there is something to say.
_MAY_LACK = {"code"}
HASH = typed_values.HASH


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
    ids: dict[str, dict[str, typing.Any]] = dataclasses.field(
        default_factory=dict
    )
    # Role -> {"path": ..., "manifest": hash of its manifest.json}.
    parents: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    config: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    # File name -> {"bytes": size, "sha256": hash}; filled in by `publish`.
    files: dict[str, dict[str, typing.Any]] = dataclasses.field(
        default_factory=dict
    )
    # `revision()` of the code that made it, filled in by `publish`; empty for
    # data, which depends on the logs alone. Nothing is compared by it.
    code: str = ""

    def to_json(self) -> str:
        """Return the manifest as JSON text.

        Raises:
          ValueError: a number in it is NaN or infinite; the message names it.
        """
        what = f"the manifest of a {self.kind} artefact"
        said = {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if value or name not in _MAY_LACK
        }
        return typed_values.to_json(typed_values.sealed(said), what)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Return the manifest written by `to_json`.

        Raises:
          ValueError: the text is not JSON, a field is missing or has the
            wrong type, or it is not what was published.
        """
        given = typed_values.from_json(text)
        if not isinstance(given, dict):
            raise ValueError(f"It should be a table. Received: {text[:40]!r}")
        # Raised last: what is wrong says more than that something is.
        edited = typed_values.is_edited(given)
        missing = {field.name for field in dataclasses.fields(cls)} - set(given)
        missing -= _MAY_LACK
        if missing:
            raise ValueError(f"It lacks {', '.join(sorted(missing))}.")
        if given.get("window") is not None:
            given["window"] = typed_values.make(
                windows.Window, "`window`", given["window"]
            )
        manifest = typed_values.make(cls, "the manifest", given)
        if manifest.rows < 0:
            raise ValueError(
                f"`rows` should be at least 0. Received: {manifest.rows}."
            )
        for role, entry in manifest.parents.items():
            for key in ("path", "manifest"):
                typed_values.check(
                    f"`parents.{role}.{key}`", str, entry.get(key)
                )
        for table, entry in manifest.ids.items():
            typed_values.check(f"`ids.{table}.rows`", int, entry.get("rows"))
            typed_values.check(
                f"`ids.{table}.sha256`", str | None, entry.get("sha256")
            )
        for name, entry in manifest.files.items():
            place = pathlib.PurePosixPath(name)
            if place.is_absolute() or ".." in place.parts:
                raise ValueError(
                    f"`files` should name files inside the artefact. "
                    f"Received: {name!r}"
                )
            for key, expected in (("bytes", int), ("sha256", str)):
                what = f"`files.{name}.{key}`"
                typed_values.check(what, expected, entry.get(key))
        if edited:
            raise ValueError(typed_values.EDITED)
        return manifest
