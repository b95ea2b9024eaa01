"""Manifests of days, compared with where the days lie and what can be."""

import pathlib
from collections.abc import Collection, Mapping

from ecdctr_tf import features, store, typed_values, windows
from ecdctr_tf.input import new_day

SPEC = "spec.json"
EVENTS = "events.arrow"
_SOURCES = new_day.SOURCES
# What a row takes in any format: its click and its time.
_LEAST_ROW_BYTES = 1 + 8


def check(
    path: pathlib.Path,
    manifest: store.Manifest,
    specs: Mapping[str, features.DataSpec],
    tables: Collection[str],
    formats: Collection[str],
) -> None:
    """Raise a ValueError unless a manifest is that of the day at its place.

    Args:
      path: of the day, `<data directory>/<domain>/<day>`.
      manifest: of the day.
      specs: those that the directory has or had, by fingerprint; the newest
        one is the last.
      tables: names of their tables.
      formats: that there are.
    """
    domain, day = path.parts[-2:]
    file, config = path / store.MANIFEST, manifest.config
    again = rebuild(path)
    if manifest.spec not in specs:
        raise ValueError(
            f"{path} was written with another data spec ({manifest.spec}) "
            f"than {path.parents[1] / SPEC} ({list(specs)[-1]}) and "
            "those before it. If its features have just changed, run the "
            "command again. If not, put the file back that was changed."
        )
    holds = config.get("domain"), str(manifest.window)
    if holds != (domain, str(windows.Window(day, day))):
        raise ValueError(
            f"{path} should hold the {domain} rows of {day}. Its manifest "
            f"says: the {holds[0]} rows of {holds[1]}. {again}"
        )
    features.check_choice(
        str(file), "config.format", config.get("format"), tuple(formats)
    )
    for table in manifest.ids:
        features.check_choice(str(file), "ids", table, tables)
    names = shards(manifest)
    count = config.get("shards", len(names))
    if len(names) != count:
        raise ValueError(
            f"{file} lists {len(names)} of the day's {count} "
            f"files: the rows of the others would not be read. {again}"
        )
    size = sum(manifest.files[name]["bytes"] for name in names)
    _check_sources(file, manifest, again)
    clicks = manifest.metrics.get("clicks", 0)
    typed_values.check(f"`metrics.clicks` of {file}", int, clicks)
    # Files that are not empty hold a row: a day of none is never read.
    for name, found, least, most in (
        ("rows", manifest.rows, min(size, 1), size // _LEAST_ROW_BYTES),
        ("metrics.clicks", clicks, 0, manifest.rows),
    ):
        if not least <= found <= most:
            raise ValueError(
                f"`{name}` of {file} should be from {least} to {most}. "
                f"Received: {found}. {again}"
            )


def shards(manifest: store.Manifest) -> list[str]:
    """Return the names of the files with the rows of a day, in order."""
    return sorted(name for name in manifest.files if name != EVENTS)


def _check_sources(
    file: pathlib.Path, manifest: store.Manifest, again: str
) -> None:
    """Raise a ValueError unless all rows of a day are of known sources."""
    names = manifest.config.get(_SOURCES, [])
    typed_values.check(f"`config.{_SOURCES}` of {file}", tuple[str, ...], names)
    found = manifest.metrics.get(_SOURCES, {})
    typed_values.check(f"`metrics.{_SOURCES}` of {file}", dict, found)
    rows = sum(of["rows"] for of in found.values())
    known = {features.UNKNOWN_SOURCE, *names}
    if names and (rows != manifest.rows or not known.issuperset(found)):
        raise ValueError(
            f"`metrics.{_SOURCES}` of {file} should hold all {manifest.rows} "
            f"rows, of {', '.join(sorted(known))}. Received: {found}. {again}"
        )


def rebuild(path: pathlib.Path) -> str:
    """Return what to do about a day that is damaged."""
    return f"Delete {path} and convert the day again."
