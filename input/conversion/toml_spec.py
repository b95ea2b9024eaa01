"""The conversion spec: logs, columns, features and rules, read from TOML.

Every class below, and those of `log_spec` and `past_spec`, is one kind of TOML
table; its fields are the keys. `datasets/globo.toml` is a complete example.
"""

import dataclasses
import functools
import pathlib
import tomllib
import typing

from ecdctr_tf import features, kinds, typed_values, windows
from ecdctr_tf.features import DataSpec
from ecdctr_tf.input.conversion import (
    log_spec,
    past_spec,
    spec_checks,
    zones,
)

TIME_PARTS = ("hour", "weekday")
WHERE = ("both", *features.DOMAINS)


@dataclasses.dataclass(frozen=True)
class Column:
    """A feature that is read from a column or from the event time."""

    name: str
    # "id" or "dense".
    kind: str = "id"
    # The table of an id.
    table: str = ""
    # The column; empty: the one with the name of the feature.
    column: str = ""
    # "natural" or "ads" if only logs of that domain have the column; in the
    # other domain the feature is missing.
    domain: str = "both"
    # Instead of a column: "hour" (0 to 23) or "weekday" (0 is Monday), local
    # time.
    time: str = ""
    side: str = "context"
    basic: bool = False
    # Whole number by which a column of whole numbers is divided, rounding down.
    divide: int = 1
    # Keeps only the part of a text such as "Drama|War" before this; empty: all.
    separator: str = ""
    # Replaces missing dense numbers; without it they stay missing (NaN).
    missing: float | None = None

    def __post_init__(self) -> None:
        """Check the choices."""
        owner = f"the feature {self.name!r}"
        readable = [name for name, kind in kinds.KINDS.items() if kind.in_logs]
        features.check_choice(owner, "kind", self.kind, readable)
        features.check_choice(owner, "time", self.time, ("", *TIME_PARTS))
        features.check_choice(owner, "domain", self.domain, WHERE)
        if self.divide < 1:
            raise ValueError(
                f"`divide` of {owner} should be at least 1. "
                f"Received: {self.divide}"
            )
        spec_checks.check_used(owner, self)

    @property
    def source(self) -> str:
        """The column of the log, or "" for a part of the time."""
        return "" if self.time else self.column or self.name


@dataclasses.dataclass(frozen=True)
class ConversionSpec:
    """Everything that a conversion needs to know about the logs."""

    tables: tuple[features.TableSpec, ...]
    features: tuple[Column, ...]
    sequences: tuple[past_spec.Sequence, ...] = ()
    counts: tuple[past_spec.Count, ...] = ()
    ages: tuple[past_spec.Age, ...] = ()
    logs: tuple[log_spec.Log, ...] = ()
    # Names of the id features that say who saw what.
    user: str = "user_id"
    item: str = "item_id"
    # Columns that are kept for evaluation only.
    evaluation: tuple[str, ...] = ()
    # Domain -> how to sample negatives if its logs hold only clicks.
    negatives: dict[str, past_spec.Negatives] = dataclasses.field(
        default_factory=dict
    )
    # Table -> earlier events that an id needs before it gets a table row;
    # tables that are not named: 1.
    min_count: dict[str, int] = dataclasses.field(default_factory=dict)
    # Day 0 of day columns that hold whole numbers, `YYYY-MM-DD`.
    first_day: str = "1970-01-01"
    # The zone of days, hours and weekdays: hours that it is ahead of UTC, or
    # its name, such as "Europe/Berlin", if it has summer time. Without either
    # it is UTC, unless files or day columns show that it is not.
    utc_offset_hours: float | None = None
    time_zone: str = ""
    # Rows without a user or an item: "error", "drop", or "unknown", which
    # keeps them with table row 0 and without history.
    null_user: str = "error"
    null_item: str = "error"
    # Rows without a time, or with one that is far from all others: "error" or
    # "drop".
    wrong_time: str = "error"
    # Days without rows after which later ones, or earlier ones, are far.
    longest_gap_days: int = 31

    def __post_init__(self) -> None:
        """Check that references resolve; the data spec checks the rest."""
        self.data_spec()
        windows.day_number(self.first_day)
        spec_checks.check(self)

    @functools.cached_property
    def zone(self) -> zones.Zone:
        """The zone of the days."""
        return zones.Zone(
            self.time_zone, round((self.utc_offset_hours or 0) * 3600)
        )

    @property
    def zone_is_given(self) -> bool:
        """Whether the spec says the zone of the days."""
        return bool(self.time_zone) or self.utc_offset_hours is not None

    def column(self, name: str) -> Column:
        """Return the column feature of that name."""
        return next(f for f in self.features if f.name == name)

    def home_space(self, table: str) -> str:
        """Return the id space whose ids a table holds as they are.

        Ids of other spaces are held as `<space>:<id>`. It is the space of the
        first log of ads, whose ids clients send.
        """
        ads = [log for log in self.logs if log.domain == features.ADS]
        logs = ads or self.logs
        return logs[0].id_spaces.get(table, table) if logs else table

    def foreign_spaces(self, table: str) -> list[str]:
        """Return the id spaces whose ids a table holds as `<space>:<id>`."""
        names = {log.id_spaces.get(table, table) for log in self.logs}
        return sorted(names - {self.home_space(table)})

    def data_spec(self) -> DataSpec:
        """Return the spec of the data directory."""
        made = [
            features.FeatureSpec(f.name, f.kind, f.table, f.side, f.basic)
            for f in self.features
        ]
        made += [
            features.FeatureSpec(
                s.name, "sequence", s.table, "user", max_length=s.max_length
            )
            for s in self.sequences
        ]
        numbers: tuple[past_spec.Count | past_spec.Age, ...] = (
            *self.counts,
            *self.ages,
        )
        made += [
            features.FeatureSpec(f.name, "dense", side=f.side) for f in numbers
        ]
        return DataSpec(
            self.tables, tuple(made), self.user, self.item, self.evaluation
        )

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "ConversionSpec":
        """Read a TOML file.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: it is no TOML, or a key or value in it is not known.
        """
        path = pathlib.Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no conversion spec at {path}.")
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
            return from_dict(values)
        except RecursionError as error:
            raise ValueError(
                f"{path}: its values are nested too deeply."
            ) from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def from_dict(values: dict) -> ConversionSpec:
    """Return the spec that the tables of a TOML file describe."""
    values = dict(values)
    for key, kind in _LISTS.items():
        values[key] = _made_list(kind, f"[[{key}]]", values.get(key, []))
    negatives = values.get("negatives", {})
    typed_values.check("[negatives]", dict, negatives)
    values["negatives"] = {
        domain: typed_values.make(
            past_spec.Negatives, f"[negatives.{domain}]", entry
        )
        for domain, entry in negatives.items()
    }
    return typed_values.make(ConversionSpec, "the conversion spec", values)


def _made_list(kind: type, owner: str, entries: typing.Any) -> list:
    """Return dataclasses from a list of TOML tables."""
    typed_values.check(owner, list, entries)
    if kind is log_spec.Log:
        entries = [_with_parts(entry) for entry in entries]
    return [typed_values.make(kind, owner, entry) for entry in entries]


def _with_parts(entry: typing.Any) -> typing.Any:
    """Return the TOML table of a log, its rules and joins made."""
    if not isinstance(entry, dict):
        return entry
    parts: dict[str, typing.Any] = {
        key: _made_list(kind, f"[[logs.{key}]]", entry[key])
        for key, kind in _LISTS_OF_LOG.items()
        if key in entry
    }
    if "explode" in entry:
        parts["explode"] = typed_values.make(
            log_spec.Explode, "[logs.explode]", entry["explode"]
        )
    return {**entry, **parts}


# Key of a TOML file -> what its list of tables describes.
_LISTS = {
    "tables": features.TableSpec,
    "features": Column,
    "sequences": past_spec.Sequence,
    "counts": past_spec.Count,
    "ages": past_spec.Age,
    "logs": log_spec.Log,
}
_LISTS_OF_LOG = {"where": log_spec.Congruence, "joins": log_spec.Join}
