"""The conversion spec: logs, columns, features and rules, read from TOML.

Every class below, and those of `log_spec`, is one kind of TOML table; its
fields are the keys. `datasets/globo.toml` is a complete example.

Domains are "natural" and "ads". Past events (`[[sequences]]`, `[[counts]]`) are
taken from "natural", "ads", "both", or "same", the domain of the row itself.
"""

import dataclasses
import pathlib
import tomllib
import typing

from ecdctr_tf import features, kinds, typed_values, windows
from ecdctr_tf.features import DataSpec
from ecdctr_tf.input.conversion import log_spec

HISTORY_DOMAINS = (*features.DOMAINS, "both", "same")
TIME_PARTS = ("hour", "weekday")


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
    # Instead of a column: "hour" (0 to 23) or "weekday" (0 is Monday), local
    # time.
    time: str = ""
    side: str = "context"
    basic: bool = False
    # Whole number by which a column of whole numbers is divided, rounding down.
    divide: int = 1
    # Keeps only the part of a text such as "Drama|War" before this; empty: all.
    separator: str = ""
    # Replaces missing dense numbers; without it they are an error.
    missing: float | None = None

    def __post_init__(self) -> None:
        """Check the choices."""
        owner = f"the feature {self.name!r}"
        readable = [name for name, kind in kinds.KINDS.items() if kind.in_logs]
        features.check_choice(owner, "kind", self.kind, readable)
        features.check_choice(owner, "time", self.time, ("", *TIME_PARTS))
        if self.divide < 1 or (self.divide > 1 and self.separator):
            raise ValueError(
                f"`divide` of {owner} should be at least 1, and exactly 1 with "
                f"a `separator`. Received: {self.divide}"
            )

    @property
    def source(self) -> str:
        """The column of the log, or "" for a part of the time."""
        return "" if self.time else self.column or self.name


@dataclasses.dataclass(frozen=True)
class Sequence:
    """The items that the user of a row clicked strictly before the row."""

    name: str
    table: str
    # How many of the newest entries are kept.
    max_length: int
    domain: str = "both"

    def __post_init__(self) -> None:
        """Check the choices."""
        owner = f"the sequence {self.name!r}"
        features.check_choice(owner, "domain", self.domain, HISTORY_DOMAINS)


@dataclasses.dataclass(frozen=True)
class Count:
    """log1p of the events that the ids of a row had on earlier days.

    Users and items are counted exactly. Ids of other features are counted by
    the rows of their table: ids that share a table row are counted together.
    """

    name: str
    # One or two id features whose values are counted.
    of: tuple[str, ...]
    # "click" or "impression".
    event: str = "click"
    domain: str = "both"
    # How many earlier days count; 0: all.
    window_days: int = 0
    side: str = "context"

    def __post_init__(self) -> None:
        """Check the choices."""
        owner = f"the count {self.name!r}"
        features.check_choice(
            owner, "event", self.event, ("click", "impression")
        )
        features.check_choice(owner, "domain", self.domain, HISTORY_DOMAINS)
        if len(self.of) not in (1, 2) or self.window_days < 0:
            raise ValueError(
                f"`of` of {owner} should name one or two features, and "
                "`window_days` should be at least 0. "
                f"Received: {self.of}, {self.window_days}"
            )


@dataclasses.dataclass(frozen=True)
class Age:
    """log1p of the hours since the first event of the item in either domain."""

    name: str
    side: str = "item"


@dataclasses.dataclass(frozen=True)
class Negatives:
    """How impressions without a click are sampled if logs hold only clicks."""

    # Negatives per click; fewer if there are not enough to sample from.
    per_click: int = 3
    # They are sampled from other users' clicks within so many seconds before.
    window_seconds: int = 3600
    # Whether repeated clicks of a user on an item are dropped.
    drop_reclicks: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (self.per_click > 0 < self.window_seconds <= 86_400):
            raise ValueError(
                "`per_click` of the negatives should be at least 1 and "
                "`window_seconds` from 1 to 86400. Received: "
                f"{self.per_click}, {self.window_seconds}"
            )


@dataclasses.dataclass(frozen=True)
class ConversionSpec:
    """Everything that a conversion needs to know about the logs."""

    tables: tuple[features.TableSpec, ...]
    features: tuple[Column, ...]
    sequences: tuple[Sequence, ...] = ()
    counts: tuple[Count, ...] = ()
    ages: tuple[Age, ...] = ()
    logs: tuple[log_spec.Log, ...] = ()
    # Names of the id features that say who saw what.
    user: str = "user_id"
    item: str = "item_id"
    # Columns that are kept for evaluation only.
    evaluation: tuple[str, ...] = ()
    # Domain -> how to sample negatives if its logs hold only clicks.
    negatives: dict[str, Negatives] = dataclasses.field(default_factory=dict)
    # Table -> earlier events that an id needs before it gets a table row;
    # tables that are not named: 1.
    min_count: dict[str, int] = dataclasses.field(default_factory=dict)
    # Day 0 of day columns that hold whole numbers, `YYYY-MM-DD`.
    first_day: str = "1970-01-01"
    # Hours that local time is ahead of UTC; days, hours and weekdays are local.
    utc_offset_hours: float = 0.0

    def __post_init__(self) -> None:
        """Check that references resolve; the data spec checks the rest."""
        self.data_spec()
        windows.day_number(self.first_day)
        ids = {feature.name for feature in kinds.ids(self.data_spec())}
        for count in self.counts:
            if not set(count.of) <= ids:
                raise ValueError(
                    f"`of` of the count {count.name!r} should name id "
                    f"features: {sorted(ids)}. Received: {count.of}"
                )
        for table in self.min_count:
            self.data_spec().table(table)
        for domain in self.negatives:
            features.check_choice(
                "`negatives`", "domain", domain, features.DOMAINS
            )
        for role in (self.user, self.item):
            if role not in ids or self.column(role).time:
                raise ValueError(
                    f"{role!r} should be an id read from a column."
                )
            if self.column(role).divide > 1 or self.column(role).separator:
                raise ValueError(
                    f"{role!r} should be read from its column unchanged: "
                    "without `divide` and `separator`."
                )

    def column(self, name: str) -> Column:
        """Return the column feature of that name."""
        return next(f for f in self.features if f.name == name)

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
        numbers: tuple[Count | Age, ...] = (*self.counts, *self.ages)
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
        domain: typed_values.make(Negatives, f"[negatives.{domain}]", entry)
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
    "sequences": Sequence,
    "counts": Count,
    "ages": Age,
    "logs": log_spec.Log,
}
_LISTS_OF_LOG = {"where": log_spec.Congruence, "joins": log_spec.Join}
