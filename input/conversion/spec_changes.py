"""What of a conversion spec may change from one append to the next.

Features may be added, removed or retyped: days that are held stay as they are,
and what they lack is missing in them. A name means one thing for ever. So a
feature that is read or computed in another way needs another name, as does one
that comes back after it was removed; else old and new values could not be told
apart, in rows or in the weights of models. What numbers users, items and ids,
or cuts days, stays as it was.
"""

import dataclasses
import hashlib
import json
import pathlib

from ecdctr_tf import features
from ecdctr_tf.input import former_specs
from ecdctr_tf.input.conversion import toml_spec

# Fields of the spec that only say how to read logs: what is in the columns of
# the tables that come out of them is said by the others.
_READING = (
    "logs",
    # Compared by themselves: new ones may be added.
    "sources",
    "first_day",
    "null_user",
    "null_item",
    "wrong_time",
    "longest_gap_days",
    # The zone is compared by itself: it may be said in two ways.
    "utc_offset_hours",
    "time_zone",
)
# Fields that are lists of named entries: of features, and of tables.
_FEATURES = ("features", "sequences", "counts", "ages")
_TABLES = ("tables",)
# Between a field and the name of an entry.
_DOT = "."


def fingerprints(spec: toml_spec.ConversionSpec) -> dict[str, str]:
    """Return a hash of each part of the spec that rows depend on.

    Returns:
      Field, or `<field>.<name>` of an entry -> hash.
    """
    found = {}
    for field, value in dataclasses.asdict(spec).items():
        if field in (*_FEATURES, *_TABLES):
            for entry in value:
                found[f"{field}{_DOT}{entry['name']}"] = _hash(entry)
        elif field == "min_count":
            for table, count in value.items():
                found[f"{field}{_DOT}{table}"] = _hash(count)
        elif field not in _READING:
            found[field] = _hash(value)
    for table in spec.tables:
        home = spec.home_space(table.name)
        found[f"id_spaces{_DOT}{table.name}"] = home
    return found


def by_field(spec: toml_spec.ConversionSpec) -> dict[str, str]:
    """Return the hashes that older versions kept: one of each field."""
    found = {
        field: _hash(value)
        for field, value in dataclasses.asdict(spec).items()
        if field not in _READING
    }
    homes = {table.name: spec.home_space(table.name) for table in spec.tables}
    found["id_spaces"] = ", ".join(f"{t} {s}" for t, s in homes.items())
    return found


def check(
    directory: pathlib.Path,
    kept: dict[str, str],
    spec: toml_spec.ConversionSpec,
    specs: list[features.DataSpec],
) -> former_specs.Changes:
    """Return how the features of a spec differ from those of the days held.

    Args:
      directory: the data directory, for messages.
      kept: the `fingerprints` of the spec of the newest days.
      spec: the spec that is given.
      specs: the data specs of the days, the newest last.

    Raises:
      ValueError: what differs may not.
    """
    older = "features" in kept
    given = by_field(spec) if older else fingerprints(spec)
    differing = [
        part
        for part in dict.fromkeys([*kept, *given])
        if kept.get(part) != given.get(part)
    ]
    before, after = specs[-1], spec.data_spec()
    others = [
        part for part in differing if not _may_change(part, before, after)
    ]
    if others:
        hint = ""
        if older:
            hint = (
                " It was written by an older version: once days have been "
                "appended with the former spec, features may change."
            )
        raise ValueError(
            f"{directory} was converted with another conversion spec; these "
            f"parts differ: {', '.join(others)}. Append with the former one, "
            f"or convert all logs again.{hint}"
        )
    _check_names(differing, before, after)
    _check_comes_back(specs, after)
    return former_specs.changes(before, after)


def _may_change(
    part: str, before: features.DataSpec, after: features.DataSpec
) -> bool:
    """Return whether a part may differ where features have changed."""
    field, _, name = part.partition(_DOT)
    if not name:
        return False
    if field in _FEATURES:
        return name not in (before.user, before.item)
    # Of tables, what is said of those that are there before and after stays.
    tables = [{table.name for table in spec.tables} for spec in (before, after)]
    return name not in tables[0] & tables[1]


def _check_names(
    differing: list[str], before: features.DataSpec, after: features.DataSpec
) -> None:
    """Raise a ValueError if a feature is made in another way, not retyped."""
    same = {f.name for f in former_specs.shared(before, after).features}
    for part in differing:
        field, _, name = part.partition(_DOT)
        if field in _FEATURES and name in same:
            raise ValueError(
                f"The feature {name!r} would be read or computed in another "
                "way than on the days before, which could not be seen in its "
                "values. If it means something else now, give it another name: "
                "it is then removed, and another one added. If only its column "
                "is called otherwise, say so in `feature_columns` of the log."
            )


def _check_comes_back(
    specs: list[features.DataSpec], after: features.DataSpec
) -> None:
    """Raise a ValueError if something comes back after it was removed."""
    gone = [f for spec in specs[:-1] for f in spec.features]
    gone_tables = {t.name for spec in specs[:-1] for t in spec.tables}
    tables = {table.name for table in specs[-1].tables}
    again = [
        f"feature {feature.name!r}"
        for feature in after.features
        if feature in gone and feature not in specs[-1].features
    ] + [
        f"table {table.name!r}"
        for table in after.tables
        if table.name in gone_tables - tables
    ]
    if again:
        raise ValueError(
            f"The {again[0]} was removed on an earlier day. What comes back "
            "needs another name, since models have forgotten what they knew of "
            "it."
        )


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
