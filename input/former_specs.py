"""The data specs that earlier days of a data directory were written with.

`spec.json` is what days are written with now. Where features were added,
removed or retyped, `former_specs.json` holds the specs before it, oldest first,
with the last day of each domain that is of it. Days stay as they were written:
a feature that a day's own spec lacks, or has in another form, is missing in its
rows.

A name means one thing for ever: see `conversion.spec_changes`.
"""

import dataclasses
import json
import pathlib
import typing

from ecdctr_tf import features, store, typed_values

FILE = "former_specs.json"


@dataclasses.dataclass(frozen=True)
class Former:
    """A spec of earlier days."""

    spec: features.DataSpec
    # Domain -> the last of its days that are of this spec, or of an older one.
    until: dict[str, str]


def load(directory: pathlib.Path) -> list[Former]:
    """Return the former specs of a data directory, oldest first.

    Raises:
      ValueError: the file is damaged.
    """
    return typed_values.read_list(
        directory / FILE,
        _made,
        "data specs",
        "Put the file back, or convert all logs again.",
    )


def _made(entry: typing.Any) -> Former:
    typed_values.check("An entry", dict, entry)
    typed_values.check("`until`", dict[str, str], entry.get("until"))
    spec = features.DataSpec.from_dict(entry.get("spec"))
    return Former(spec, entry["until"])


def save(directory: pathlib.Path, former: list[Former]) -> None:
    """Write the former specs of a data directory; without any, no file."""
    path = directory / FILE
    if not former:
        path.unlink(missing_ok=True)
        return
    entries = [dataclasses.asdict(entry) for entry in former]
    store.write_text(path, json.dumps(entries, indent=1) + "\n")


@dataclasses.dataclass(frozen=True)
class Changes:
    """The names of the features that differ from one spec to the next."""

    added: list[str]
    removed: list[str]
    # There in both, in another form: removed, and another one added.
    retyped: list[str]

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.added or self.removed or self.retyped)

    def text(self) -> str:
        """Return the changes for people, such as `added brand`."""
        named = {
            "added": self.added,
            "removed": self.removed,
            "retyped (removed, and added anew)": self.retyped,
        }
        said = [f"{what} {', '.join(n)}" for what, n in named.items() if n]
        return "; ".join(said) or "only the order of features is another one"


def changes(before: features.DataSpec, after: features.DataSpec) -> Changes:
    """Return the features that two specs do not have in common."""
    old = {feature.name: feature for feature in before.features}
    new = {feature.name: feature for feature in after.features}
    return Changes(
        added=[name for name in new if name not in old],
        removed=[name for name in old if name not in new],
        retyped=[n for n in new if n in old and old[n] != new[n]],
    )


def shared(
    before: features.DataSpec, after: features.DataSpec
) -> features.DataSpec:
    """Return the part of a spec that another one has in the same form.

    A cross is the same only if all that it is made of is.
    """
    old = {feature.name: feature for feature in before.features}
    same = {f.name for f in after.features if old.get(f.name) == f}
    names = [f.name for f in after.features if same.issuperset({f.name, *f.of})]
    whole = len(names) == len(after.features)
    return after if whole else after.select(names)
