"""What a conversion knows of the past, kept so that days can be appended.

```
state/<last day>/manifest.json   kind "conversion_state"
state/<last day>/<part>.npz      arrays of a part of the conversion
state/<last day>/summary.json    the summary of the days so far
state/<last day>/behind/         the parts, as they were at an earlier day
```

Where one domain ends before the other, `behind` holds the parts as they were at
the end of its last day: days of it that come later are made from these.

A part has two methods: `arrays` gives its state between two days as NumPy
arrays without objects, and `restore` takes it back. What they hold depends on
the events only, not on the days that were converted at a time.
"""

import dataclasses
import functools
import pathlib
import shutil
import typing
from typing import Protocol

import numpy as np

from ecdctr_tf import features, store, typed_values, windows
from ecdctr_tf.input import data_directory, id_space
from ecdctr_tf.input.conversion import spec_changes, toml_spec

STATE = "state"
BEHIND = "behind"
KIND = "conversion_state"
SUMMARY = "summary.json"
FORMER = "former_specs"
# Name of a count -> the features whose values it counts.
COUNTS = "counts"


class Part(Protocol):
    """A part of a conversion that carries something from day to day."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state between two days."""

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` returned."""


@dataclasses.dataclass(frozen=True)
class Past:
    """The days that a data directory holds, as its newest state knows them."""

    data: data_directory.DataDirectory
    path: pathlib.Path
    manifest: store.Manifest

    @property
    def window(self) -> windows.Window:
        """The days from the first to the last of either domain."""
        return self.manifest.window

    @property
    def last_days(self) -> dict[str, str]:
        """The last day of each domain that there are days of."""
        return self.manifest.config["last_days"]

    @property
    def clicks_only(self) -> dict[str, bool]:
        """Whether the logs of a domain hold clicks only, where it is known."""
        return self.manifest.config["clicks_only"]

    @property
    def behind(self) -> str:
        """The last day of the domain that ends earlier; "" if none does."""
        return self.manifest.config[BEHIND]

    @functools.cached_property
    def on_disk(self) -> dict[str, id_space.IdSpace]:
        """The id spaces of the files, perhaps with ids of later days.

        Unlike those of `data` they are not compared with the newest day, which
        may be one of an append that did not end.
        """
        return id_space.load(self.data.tables.values(), self.data.path)

    @functools.cached_property
    def id_spaces(self) -> dict[str, id_space.IdSpace]:
        """The id spaces as they were at the end of the last day.

        Raises:
          ValueError: a vocabulary does not begin with the ids it had then.
        """
        spaces = dict(self.on_disk)
        for name, entry in self.manifest.ids.items():
            rows = int(entry["rows"])
            if rows > spaces[name].rows or (
                spaces[name].fingerprint(rows) != entry
            ):
                raise ValueError(
                    f"{self.data.path / 'ids' / name}.txt does not begin with "
                    f"the ids that {self.path} was made with. Put the file "
                    "back, or convert all logs again."
                )
            space = spaces[name]
            if isinstance(space, id_space.Vocabulary):
                spaces[name] = space.first(rows)
        return spaces

    def restore(self, parts: dict[str, Part]) -> None:
        """Give each part of a conversion its state."""
        _read_parts(self.path, parts)

    def restore_behind(self, parts: dict[str, Part]) -> None:
        """Give each part the state it had at the end of `behind`."""
        _read_parts(self.path / BEHIND, parts)


def write_parts(directory: pathlib.Path, parts: dict[str, Part]) -> None:
    """Write the state of each part to a directory."""
    directory.mkdir(exist_ok=True)
    for name, part in parts.items():
        arrays: dict[str, typing.Any] = part.arrays()
        np.savez(directory / f"{name}.npz", **arrays)


def _read_parts(directory: pathlib.Path, parts: dict[str, Part]) -> None:
    for name, part in parts.items():
        with np.load(directory / f"{name}.npz") as file:
            part.restore({key: file[key] for key in file.files})


def save(
    directory: pathlib.Path,
    manifest: store.Manifest,
    parts: dict[str, Part],
    behind: pathlib.Path | None,
) -> None:
    """Publish the state of a conversion.

    Args:
      directory: the data directory, its `summary.json` written.
      manifest: as `described` returns it.
      parts: name -> part.
      behind: where the parts of an earlier day lie, which are moved; or None.
    """
    path = directory / STATE / manifest.window.last
    with store.publish(path, manifest) as staging:
        write_parts(staging, parts)
        if behind is not None:
            behind.rename(staging / BEHIND)
        shutil.copy(directory / SUMMARY, staging)


def behind(last_days: dict[str, str]) -> str:
    """Return the last day of the domain that ends earlier; "" if none does."""
    ends = sorted(set(last_days.values()))
    return ends[0] if len(ends) > 1 else ""


def described(
    spec: toml_spec.ConversionSpec,
    file_format: str,
    window: windows.Window,
    last_days: dict[str, str],
    clicks_only: dict[str, bool],
    ids: dict[str, dict],
    rows: int,
    former: int,
) -> store.Manifest:
    """Return the manifest of a state.

    Args:
      spec: of the conversion.
      file_format: of the files of the days.
      window: the days from the first to the last of either domain.
      last_days: domain -> its last day.
      clicks_only: domain -> whether its logs hold clicks only.
      ids: table -> fingerprint of its ids at the end of the last day.
      rows: of all days of both domains.
      former: how many data specs there were before that of `spec`.
    """
    return store.Manifest(
        kind=KIND,
        window=window,
        rows=rows,
        spec=spec.data_spec().fingerprint(),
        ids=ids,
        config={
            "conversion": spec_changes.fingerprints(spec),
            COUNTS: {count.name: list(count.of) for count in spec.counts},
            "format": file_format,
            "last_days": _in_order(last_days),
            "clicks_only": _in_order(clicks_only),
            "zone": str(spec.zone),
            BEHIND: behind(last_days),
            FORMER: former,
        },
    )


def load(
    directory: pathlib.Path,
    spec: toml_spec.ConversionSpec,
    file_format: str,
    may_change: bool = False,
) -> Past:
    """Return the past of a data directory that days are to be appended to.

    Args:
      directory: the data directory.
      spec: what days are to be converted with.
      file_format: that of the days.
      may_change: whether features may differ; see `spec_changes`.

    Raises:
      FileNotFoundError: there is no data directory, or it has no state.
      ValueError: the state is damaged, a day that it knows is missing, or the
        directory was converted with another spec or file format.
    """
    data = data_directory.DataDirectory(directory)
    states = store.dated(directory / STATE, KIND)
    if not states:
        raise FileNotFoundError(
            f"{directory} has no {STATE}, so days cannot be appended: it was "
            "written by an older version, or not by `convert`. Convert all "
            "logs again into another directory."
        )
    path = directory / STATE / states[-1]
    past = Past(data, path, store.verify(path, KIND))
    _check_manifest(past)
    _check_zone(past, spec)
    changes = spec_changes.check(
        directory,
        past.manifest.config["conversion"],
        spec,
        [*(former.spec for former in data.former), data.spec],
    )
    if changes and not may_change:
        raise ValueError(
            f"The features of the spec are not those that {directory} has now: "
            f"{changes.text()}. Give the spec of the last append; features "
            "change with --append only."
        )
    if past.manifest.config["format"] != file_format:
        raise ValueError(
            f"The format should be that of the other days of {directory}, "
            f"{past.manifest.config['format']!r}. Received: {file_format!r}"
        )
    for domain, day in past.last_days.items():
        if day not in data.days(domain):
            raise ValueError(
                f"{directory / domain} lacks {day}, its last day according to "
                f"{path}. Put the day back, or convert all logs again."
            )
    # Days after these are of an append that did not end.
    last = past.last_days.get(features.NATURAL)
    held = data.sources_until(last) if last else ()
    if spec.source_names[: len(held)] != held:
        raise ValueError(
            f"The sources of {directory} are {', '.join(held)}. The "
            "[[sources]] of the spec should be the same in this order, also "
            "where one has ended, and new ones behind them. Received: "
            f"{', '.join(spec.source_names) or 'none'}"
        )
    return past


def _check_manifest(past: Past) -> None:
    """Raise a ValueError unless a manifest is as `described` makes it."""
    config = past.manifest.config
    for key, expected in (
        ("conversion", dict[str, str]),
        ("format", str),
        ("last_days", dict[str, str]),
        ("clicks_only", dict[str, bool]),
        ("zone", str),
        (BEHIND, str),
        (FORMER, int),
    ):
        what = f"`config.{key}` of {past.path / store.MANIFEST}"
        # Older versions knew no former specs.
        value = config.get(key, 0 if key == FORMER else None)
        typed_values.check(what, expected, value)
    if past.window is None or past.window.last != past.path.name:
        raise ValueError(
            f"{past.path} should be the state of its day. Its manifest says: "
            f"{past.window}. Put the file back, or convert all logs again."
        )


def _check_zone(past: Past, spec: toml_spec.ConversionSpec) -> None:
    zone = past.manifest.config["zone"]
    if zone != str(spec.zone):
        raise ValueError(
            f"The days of {past.data.path} are those of the zone {zone}; the "
            f"spec says {spec.zone}. Set `time_zone` or `utc_offset_hours` as "
            "it was, or convert all logs again into another directory."
        )


def _in_order(by_domain: dict) -> dict:
    return {d: by_domain[d] for d in features.DOMAINS if d in by_domain}
