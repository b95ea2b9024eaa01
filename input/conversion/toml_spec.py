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
    times,
    zones,
)

TIME_PARTS = ("hour", "weekday")
WHERE = ("both", *features.DOMAINS)


@dataclasses.dataclass(frozen=True)
class Column:
    """A feature that is read from the log, or made of what is read."""

    name: str
    # "id", "dense", "ids", "weighted_ids", "sequence", "vector", "cross" or
    # "position".
    kind: str = "id"
    # The table of ids.
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
    # What separates the values in a text such as "Drama|War"; an id keeps only
    # the first one. Empty: ids are whole texts, lists are Arrow lists.
    separator: str = ""
    # Replaces missing dense numbers; without it they stay missing (NaN).
    missing: float | None = None
    # Most entries that are kept of a list: the newest ones of a sequence, else
    # the first ones.
    max_length: int = 0
    # How ids are pooled: "mean", "sum" or "attention".
    pooling: str = "mean"
    # Column with the weights of weighted ids; empty: they are in the same
    # column, as text such as "sports:0.7" or as pairs of id and weight.
    weights: str = ""
    # What separates id and weight in a text.
    weight_separator: str = ":"
    # Whether the log holds the newest entry of a sequence first.
    newest_first: bool = False
    # Column with a second id of each entry of a sequence, such as its category.
    attribute_column: str = ""
    # The table of these ids.
    attribute_table: str = ""
    # Column with the time of each entry of a sequence.
    time_column: str = ""
    # Unit of numbers in that column: s, ms, us or ns; empty: times are written
    # as those of the log.
    time_column_unit: str = ""
    # Numbers of a vector.
    length: int = 0
    # Names of the id features that a cross is made of.
    of: tuple[str, ...] = ()
    # How models scale a number: "standardise", "log1p", "quantiles" or "clip",
    # see `layers/scaled_numbers.py`; empty: the first of these.
    transform: str = ""
    # The position that requests without one are scored at.
    default: int | str | None = None

    def __post_init__(self) -> None:
        """Check the choices; `features.FeatureSpec` checks the rest."""
        owner = f"the feature {self.name!r}"
        readable = [name for name, kind in kinds.KINDS.items() if kind.in_logs]
        features.check_choice(owner, "kind", self.kind, readable)
        features.check_choice(owner, "time", self.time, ("", *TIME_PARTS))
        features.check_choice(owner, "domain", self.domain, WHERE)
        units = ("", *times.UNITS)
        features.check_choice(
            owner, "time_column_unit", self.time_column_unit, units
        )
        if self.divide < 1:
            raise ValueError(
                f"`divide` of {owner} should be at least 1. "
                f"Received: {self.divide}"
            )
        spec_checks.check_used(owner, self)
        if not self.weight_separator:
            raise ValueError(f"`weight_separator` of {owner} should be text.")
        if bool(self.attribute_column) != bool(self.attribute_table):
            raise ValueError(
                f"`attribute_column` and `attribute_table` of {owner} should "
                "both be set, or neither. Received: "
                f"{self.attribute_column!r} and {self.attribute_table!r}"
            )

    @property
    def source(self) -> str:
        """The column of the log, or "" for what is made of other columns."""
        made = self.time or self.kind == "cross"
        return "" if made else self.column or self.name

    @property
    def sources(self) -> dict[str, str]:
        """What reads columns, the feature or a part of it -> the column."""
        found = {
            self.name: self.source,
            f"{self.name}/weight": self.weights,
            f"{self.name}/attribute": self.attribute_column,
            f"{self.name}/age": self.time_column,
        }
        return {reader: column for reader, column in found.items() if column}

    def feature_spec(self) -> features.FeatureSpec:
        """Return the feature in the data spec, which checks its fields."""
        shared = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(features.FeatureSpec)
            if hasattr(self, field.name)
        }
        return features.FeatureSpec(**shared, ages=bool(self.time_column))


@dataclasses.dataclass(frozen=True)
class Source:
    """A surface of the app that natural logs come from, such as search."""

    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        features.check_name("source", self.name)
        if self.name.lower() == features.UNKNOWN_SOURCE:
            raise ValueError(
                f"A source cannot be called {self.name!r}: so are called rows "
                "of days before there were sources."
            )


@dataclasses.dataclass(frozen=True)
class ConversionSpec:
    """Everything that a conversion needs to know about the logs."""

    tables: tuple[features.TableSpec, ...]
    features: tuple[Column, ...]
    sequences: tuple[past_spec.Sequence, ...] = ()
    counts: tuple[past_spec.Count, ...] = ()
    ages: tuple[past_spec.Age, ...] = ()
    logs: tuple[log_spec.Log, ...] = ()
    # The sources of natural logs, in the order of their numbers: new ones are
    # added behind the others.
    sources: tuple[Source, ...] = ()
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
    def source_names(self) -> tuple[str, ...]:
        """The names of the sources, in the order of their numbers."""
        return tuple(source.name for source in self.sources)

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
        return self._data_spec

    @functools.cached_property
    def _data_spec(self) -> DataSpec:
        made = [feature.feature_spec() for feature in self.features]
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
    "sources": Source,
}
_LISTS_OF_LOG = {"where": log_spec.Congruence, "joins": log_spec.Join}
