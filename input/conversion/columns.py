"""Which column of a log holds what: the label, the time, each feature.

Tables that come from logs have their columns under the names of what reads
them: `timestamp`, `click`, `day` and `weight`, which no feature can be called,
the features and the evaluation columns. So any column of a log can be read,
also one that is called `click` and is no label. Where the columns came from is
in the metadata of a table.
"""

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa

from ecdctr_tf import features, windows
from ecdctr_tf.input.conversion import (
    log_columns,
    log_spec,
    times,
    toml_spec,
    zones,
)

TIME, CLICK, DAY, WEIGHT = ("timestamp", "click", "day", "weight")
SOURCE = features.SOURCE
ROW = log_columns.ROW
_KEY = b"columns"


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a log, or of a table in memory, by what reads them."""

    # Feature, evaluation column, `TIME`, `CLICK`, `DAY`, `WEIGHT` or `SOURCE`
    # -> column. Without `CLICK` all rows are clicks; features without a column
    # are missing.
    by_reader: Mapping[str, str]
    # How times are written.
    reading: times.Reading = times.Reading()
    # Table -> the id space of its ids, where they are not at home.
    spaces: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Share of the rows without a click that are there.
    downsampled: float = 1.0
    # Columns that joins add -> the path of the joined file.
    joined: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Texts that stand for a missing entry of a list.
    null_texts: Sequence[str] = ()
    # Number of the source of all rows, where no column says it; 0: not known.
    source: int = 0

    def names(self) -> list[str]:
        """Return the columns that something reads."""
        return list(dict.fromkeys(self.by_reader.values()))

    def check(self, have: Collection[str], where: str) -> None:
        """Raise a ValueError if a column is missing.

        Args:
          have: the columns that there are.
          where: names the file or table.
        """
        for reader, column in self.by_reader.items():
            if column not in have:
                names = [_shown(name) for name in have if name != ROW]
                hint = "" if names[1:] else "Is `delimiter` right? "
                raise ValueError(
                    f"{where} lacks the column {column!r}, which "
                    f"{described(reader)} reads. It has: {', '.join(names)}. "
                    f"{hint}"
                    "Correct the spec. A feature may have another column in "
                    "each log (`feature_columns`), or only one `domain`. If "
                    "the file is no part of the log, give a `path` without it."
                )

    def metadata(self, where: str) -> dict[str, str]:
        """Return the columns as metadata of a table."""
        fields = dataclasses.asdict(self)
        return {"where": where, _KEY.decode(): json.dumps(fields)}


def _shown(name: str) -> str:
    """Return a name for messages, in quotes if its ends could be missed."""
    return name if name == name.strip() and name.isprintable() else repr(name)


def described(reader: str) -> str:
    """Return what reads a column, for messages."""
    known = {
        TIME: "the event time",
        CLICK: "the label",
        DAY: "the day",
        WEIGHT: "the weight",
        SOURCE: "the source",
    }
    feature, _, part = reader.partition("/")
    described = f"the feature {feature!r}"
    return known.get(reader, f"{part} of {described}" if part else described)


def of_table(table: pa.Table) -> Columns | None:
    """Return the columns of a table that a log gave, or None."""
    text = (table.schema.metadata or {}).get(_KEY)
    if text is None:
        return None
    fields = json.loads(text)
    reading = fields["reading"]
    for key in ("zone", "naive"):
        if reading[key] is not None:
            reading[key] = zones.Zone(**reading[key])
    return Columns(**{**fields, "reading": times.Reading(**reading)})


def in_memory(
    spec: toml_spec.ConversionSpec, domain: str, have: Collection[str]
) -> Columns:
    """Return the columns of a table that no log gave.

    Raises:
      ValueError: a feature reads the label, the time, the day or the weight.
    """
    reserved = (TIME, CLICK, DAY, WEIGHT)
    found = {name: name for name in reserved if name in have}
    found.setdefault(TIME, TIME)
    for feature in spec.features:
        if feature.source in reserved:
            raise ValueError(
                f"The feature {feature.name!r} would read "
                f"{described(feature.source)}, the column {feature.source!r} "
                "of tables in memory. Give its column another name."
            )
        if feature.source and feature.domain in ("both", domain):
            found |= feature.sources
    if spec.sources and domain == features.NATURAL and SOURCE in have:
        found[SOURCE] = SOURCE
    return Columns({**found, **{name: name for name in spec.evaluation}})


def of_log(
    spec: toml_spec.ConversionSpec, log: log_spec.Log, have: Collection[str]
) -> Columns:
    """Return the columns of a file of a log.

    A feature reads the column that `feature_columns` of the log names, or else
    the one that the feature names. If the file has none of that name, but it is
    the name of the user's or the item's column in other logs, the feature reads
    the user or the item.

    Args:
      spec: of the conversion.
      log: the log.
      have: the columns of the file and its joins.

    Raises:
      ValueError: a feature would read the label.
    """
    roles = {
        spec.column(spec.user).source: log.user,
        spec.column(spec.item).source: log.item,
    }
    found = {TIME: log.time or ROW}
    of_roles = {CLICK: log.click, DAY: log.day, WEIGHT: log.weight}
    found |= {reader: column for reader, column in of_roles.items() if column}
    for feature in spec.features:
        if not feature.source or feature.domain not in ("both", log.domain):
            continue
        column = log.feature_columns.get(feature.name, feature.source)
        if feature.name == spec.user:
            column = log.user
        elif feature.name == spec.item:
            column = log.item
        elif column not in have:
            column = roles.get(column, column)
        read = {**feature.sources, feature.name: column}
        for reader, column in read.items():
            if reader != feature.name:
                column = log.feature_columns.get(reader, column)
            if column in _labels(log):
                raise ValueError(
                    f"The feature {feature.name!r} would read the column "
                    f"{column!r} of the log {log.name or log.path!r}, which is "
                    "its label. Leave the feature out, or name another column."
                )
            found[reader] = column
    found |= {name: name for name in spec.evaluation}
    tables = {t.name: log.id_spaces.get(t.name, t.name) for t in spec.tables}
    zone = zones.Zone(log.time_zone) if log.time_zone else None
    if times.says_utc(log.time_format):
        zone = zones.Zone()
    naive = spec.zone if spec.zone == zones.Zone() else None
    origin = windows.day_number(log.time_origin) * zones.DAY_SECONDS
    return Columns(
        found,
        times.Reading(
            log.time_unit,
            origin,
            log.time_format,
            zone or spec.zone,
            zone or naive,
        ),
        {t: s for t, s in tables.items() if s != spec.home_space(t)},
        log.downsampled,
        {name: join.path for join in log.joins for name in join.take},
        log.null_texts,
        spec.source_names.index(log.source) + 1 if log.source else 0,
    )


def _labels(log: log_spec.Log) -> set[str]:
    """Return the columns that say what was clicked."""
    clicked = log.explode.clicked if log.explode else ""
    return {name for name in (log.click, clicked) if name}
