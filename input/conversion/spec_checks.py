"""Checks of a conversion spec: every reference resolves, every key counts."""

import dataclasses
import typing

import numpy as np

from ecdctr_tf import features, kinds
from ecdctr_tf.input.conversion import ids, zones

if typing.TYPE_CHECKING:
    from ecdctr_tf.input.conversion import log_spec, toml_spec

_NULLS = ("error", "drop", "unknown")
# Files hold the number of a source in a byte.
_MOST_SOURCES = 255
# Keys that only some kinds of features have beside those of the data spec.
_READING = {
    "separator": ("id", "ids", "weighted_ids", "sequence", "vector"),
    "time": ("id",),
    "divide": ("id", "position"),
    "missing": ("dense",),
    "weights": ("weighted_ids",),
    "weight_separator": ("weighted_ids",),
    "newest_first": ("sequence",),
    "attribute_column": ("sequence",),
    "time_column": ("sequence",),
    "time_column_unit": ("sequence",),
}


def check_used(owner: str, column: "toml_spec.Column") -> None:
    """Raise a ValueError if a key of a feature would do nothing."""
    idle = {
        "column": column.time != "" and column.column != "",
        "divide": column.divide > 1
        and (column.time or column.separator or column.kind == "dense"),
        "separator": column.separator
        and (column.time or column.kind == "dense"),
        "missing": column.missing is not None and column.kind != "dense",
        "time": column.time and column.kind == "dense",
        "domain": column.time and column.domain != "both",
    }
    if abs(column.missing or 0) > float(np.finfo(np.float32).max):
        raise ValueError(
            f"`missing` of {owner} should be a finite number of 32 bits. "
            f"Received: {column.missing!r}"
        )
    for key, does_nothing in idle.items():
        if does_nothing:
            raise ValueError(
                f"`{key}` of {owner} does nothing beside its other keys; leave "
                f"it out. Received: {getattr(column, key)!r}"
            )
    for field in dataclasses.fields(column):
        having = _READING.get(field.name, (column.kind,))
        value = getattr(column, field.name)
        if column.kind not in having and value != field.default:
            raise ValueError(
                f"`{field.name}` of {owner} is for the kinds "
                f"{', '.join(having)}. Received: kind {column.kind!r}"
            )


def check(spec: "toml_spec.ConversionSpec") -> None:
    """Raise a ValueError unless a spec means something in all its parts."""
    _check_roles(spec)
    _check_tables(spec)
    _check_history(spec)
    _check_choices(spec)
    _check_sources(spec)
    for log in spec.logs:
        _check_log(spec, log, f"the log {log.name or log.path!r}")
    names = [log.name for log in spec.logs if log.name]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"Each log needs a name of its own. Received {name!r} twice."
            )


def _check_roles(spec: "toml_spec.ConversionSpec") -> None:
    known = {f.name for f in kinds.ids(spec.data_spec())}
    columns = {f.name for f in spec.features if f.source}
    for key, role in (("user", spec.user), ("item", spec.item)):
        if role not in known & columns:
            raise ValueError(
                f"`{key}` of the spec should be an id read from a column. "
                f"Received: {role!r}"
            )
        column = spec.column(role)
        if column.divide > 1 or column.separator or column.domain != "both":
            raise ValueError(
                f"{role!r} should be read from its column unchanged in both "
                "domains: without `divide`, `separator` and `domain`."
            )
        if not column.basic:
            raise ValueError(
                f"The feature {role!r} should have `basic = true`: the TPM "
                "reads the basic features only, of which it needs the user and "
                "the item."
            )
    if spec.user == spec.item:
        raise ValueError(
            "`user` and `item` of the spec should be two features. Received: "
            f"{spec.user!r} for both"
        )


def _check_tables(spec: "toml_spec.ConversionSpec") -> None:
    for table in spec.tables:
        if table.ids == "hashing" and table.buckets == 1:
            raise ValueError(
                f'The table {table.name!r} has `ids = "hashing"` and one '
                "bucket, so all ids would share one embedding. Set `buckets`, "
                "such as several times the number of ids."
            )
    for name, count in spec.min_count.items():
        table = spec.data_spec().table(name)
        if table.ids == "hashing" or count < 1:
            raise ValueError(
                f"`min_count` of the table {name!r} should be at least 1, and "
                "is for tables with a vocabulary, whose ids wait for a row. "
                f"Received: {count}, ids = {table.ids!r}"
            )


def _check_history(spec: "toml_spec.ConversionSpec") -> None:
    item = spec.column(spec.item)
    for sequence in spec.sequences:
        if sequence.table != item.table or item.side != "item":
            raise ValueError(
                f"The sequence {sequence.name!r} holds the items that a user "
                f"clicked, so its table should be {item.table!r}, that of the "
                f"item, and the feature {spec.item!r} should have "
                f'`side = "item"`. Received: table {sequence.table!r}, side '
                f"{item.side!r}"
            )
    ids = kinds.ids(spec.data_spec())
    known = {feature.name for feature in ids if feature.kind != "cross"}
    for count in spec.counts:
        if not set(count.of) <= known:
            raise ValueError(
                f"`of` of the count {count.name!r} should name id "
                f"features: {sorted(known)}. Received: {count.of}"
            )


def _check_choices(spec: "toml_spec.ConversionSpec") -> None:
    owner = "the conversion spec"
    for key, choices in (
        ("null_user", _NULLS),
        ("null_item", _NULLS),
        ("wrong_time", _NULLS[:2]),
    ):
        features.check_choice(owner, key, getattr(spec, key), choices)
    for domain in spec.negatives:
        features.check_choice("`negatives`", "domain", domain, features.DOMAINS)
    if spec.negatives and "unknown" in (spec.null_user, spec.null_item):
        raise ValueError(
            '`null_user` and `null_item` should not be "unknown" where '
            'negatives are drawn, which takes known users and items; "drop" '
            "leaves such rows out."
        )
    hours = spec.utc_offset_hours
    if hours is not None and (
        spec.time_zone or not zones.BEHIND <= hours <= zones.AHEAD
    ):
        raise ValueError(
            f"`utc_offset_hours` should be from {zones.BEHIND:g} to "
            f"{zones.AHEAD:g}, and not be set beside `time_zone`. Received: "
            f"{hours} and {spec.time_zone!r}"
        )
    if spec.longest_gap_days < 1:
        raise ValueError(
            "`longest_gap_days` should be at least 1. Received: "
            f"{spec.longest_gap_days}"
        )
    spec.zone  # noqa: B018  Checks the name.


def _check_sources(spec: "toml_spec.ConversionSpec") -> None:
    """Raise a ValueError unless each natural log says its source, if any."""
    names = spec.source_names
    features.check_names("source", list(names))
    if len(names) > _MOST_SOURCES:
        raise ValueError(
            f"There should be at most {_MOST_SOURCES} [[sources]]. Received: "
            f"{len(names)}"
        )
    for log in spec.logs:
        owner = f"the log {log.name or log.path!r}"
        if log.domain != features.NATURAL:
            if log.source:
                raise ValueError(
                    f"`source` of {owner} is for natural logs. Received: "
                    f"domain {log.domain!r}, source {log.source!r}"
                )
        elif log.source not in names and (log.source or names):
            raise ValueError(
                f"`source` of {owner} should be the name of one of the "
                f"[[sources]]: {', '.join(names) or 'there are none'}. "
                f"Received: {log.source!r}"
            )


def _check_log(
    spec: "toml_spec.ConversionSpec", log: "log_spec.Log", owner: str
) -> None:
    for name in log.feature_columns:
        if name not in {name for f in spec.features for name in f.sources}:
            raise ValueError(
                f"`feature_columns` of {owner} should name features that are "
                f"read from columns. Received: {name!r}"
            )
        if name in (spec.user, spec.item):
            raise ValueError(
                f"The column of the feature {name!r} is said by `user` and "
                f"`item` of {owner}, not by `feature_columns`."
            )
        domain = spec.column(name.partition("/")[0]).domain
        if domain not in ("both", log.domain):
            raise ValueError(
                f"`feature_columns` of {owner} names the feature {name!r}, "
                f"which only logs of {domain!r} have."
            )
    for space in log.id_spaces.values():
        features.check_name("id space", space)
    for name in {table for one in spec.logs for table in one.id_spaces}:
        table = spec.data_spec().table(name)
        space = log.id_spaces.get(name, name)
        if space != spec.home_space(name) and table.dtype != "string":
            raise ValueError(
                f"The table {name!r} has ids of several id spaces, "
                f"{spec.home_space(name)!r} and {space!r}. Set its `dtype = "
                f'"string"`: ids of the latter are held as '
                f'"{space}{ids.SPACE}<id>".'
            )
