"""Tables of logs to tables of events: checked and typed.

A table of events has a column for each `[[features]]` entry that comes from a
column, under the name of the feature and with its final raw value, and
`timestamp` int64 (seconds), `click` uint8, `day` int32 (days since 1970-01-01,
local) and the evaluation columns; of natural logs with sources `@source` uint8,
its number. Other columns of the log are dropped.
"""

import collections
import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import features, kinds
from ecdctr_tf.input import former_specs
from ecdctr_tf.input.conversion import (
    columns,
    ids,
    lists,
    log_columns,
    times,
    toml_spec,
    weights,
    zones,
)

ROW = columns.ROW


@dataclasses.dataclass(frozen=True)
class Events:
    """The events of a table of a log."""

    table: pa.Table
    # int64, the number of each event's row in its file.
    rows: np.ndarray
    # The file or table.
    where: str
    # What happened to rows that are not as usual -> how many there were.
    counts: dict[str, int]
    # Whether all rows are clicks, as the log has no label.
    clicks_only: bool


def normalised(
    table: pa.Table, spec: toml_spec.ConversionSpec, domain: str, where: str
) -> Events:
    """Return the events of a table of a log.

    Args:
      table: as `converter.convert_tables` takes it, or as `logs.tables` gives.
      spec: says which columns there are.
      domain: of the log.
      where: names the table in errors.

    Raises:
      ValueError: a column is missing, of a wrong type, or holds a null user,
        item or time, a label other than 0 and 1, an infinite dense number, a
        time that events cannot have, or a day that the time does not lie in.
    """
    found = columns.of_table(table)
    if found is None:
        found = columns.in_memory(spec, domain, table.column_names)
        found.check(table.column_names, where)
        renamed = {name: table[c] for name, c in found.by_reader.items()}
        renamed[ROW] = pa.chunked_array([np.arange(len(table))])
        table = pa.table(renamed)
    return _Table(table, spec, domain, found, where).events()


class _Table:
    """A table under way to events; `table` has columns by what reads them."""

    def __init__(
        self,
        table: pa.Table,
        spec: toml_spec.ConversionSpec,
        domain: str,
        found: columns.Columns,
        where: str,
    ):
        self._table = table
        self._spec = spec
        self._domain = domain
        self._found = found
        self._where = where
        self._counts: collections.Counter[str] = collections.Counter()

    def events(self) -> Events:
        """Return the events."""
        stamp = self._times()
        kept = pc.is_valid(stamp)
        for role, key in (("user", "null_user"), ("item", "null_item")):
            missing = pc.and_(self._missing_ids(role, key), kept)
            if getattr(self._spec, key) == "drop":
                self._count(f"dropped without {role}", missing)
                kept = pc.and_(kept, pc.invert(missing))
            else:
                self._count(f"unknown {role}", missing)
        if not pc.all(kept).as_py():
            self._table, stamp = self._table.filter(kept), stamp.filter(kept)
        made = {columns.TIME: stamp, columns.CLICK: self._clicks()}
        made[columns.DAY] = self._days(stamp)
        made |= self._weights(made[columns.CLICK])
        made |= self._sources()
        of_data = {f.name: f for f in kinds.of(self._spec.data_spec())}
        for feature in self._spec.features:
            if feature.source:
                kind = of_data[feature.name]
                made[feature.name] = self._feature(feature, kind, stamp)
        for name in self._spec.evaluation:
            numbers = self._numbers(name)
            self._column(name).reject(
                pc.is_nan(numbers), "hold a number in every row"
            )
            made[name] = numbers
        return Events(
            pa.table(made),
            self._table[ROW].to_numpy(),
            self._where,
            dict(self._counts),
            columns.CLICK not in self._table.column_names,
        )

    def _column(self, reader: str) -> log_columns.LogColumn:
        name = self._found.by_reader.get(reader, reader)
        described = columns.described(reader)
        if name in self._found.joined:
            described += f", joined from {self._found.joined[name]}"
        return log_columns.LogColumn(
            self._table[reader],
            name,
            self._where,
            described,
            self._table[ROW],
        )

    def _count(self, what: str, rows: pa.Array) -> None:
        count = pc.sum(rows).as_py() or 0
        if count:
            self._counts[what] += count

    def _times(self) -> pa.Array:
        """Return the times; null for rows to drop."""
        column, reading = self._column(columns.TIME), self._found.reading
        stamp, uncertain = times.seconds(column, reading)
        bad = pc.invert(times.plausible(stamp))
        if pc.any(bad).as_py():
            if self._spec.wrong_time == "error":
                place = pc.index(bad, True).as_py()
                value = column.values[place].as_py()
                should = times.advice(value, stamp[place].as_py(), reading)
                if pc.count(stamp).as_py():
                    should += f". Times of the table go {times.span(stamp)}"
                raise column.error(place, should)
            self._count("dropped without a possible time", bad)
            stamp = pc.if_else(bad, None, stamp)
        if uncertain:
            self._counts["local time that was twice"] += uncertain
        return stamp

    def _missing_ids(self, role: str, key: str) -> pa.Array:
        """Return the rows without a user or an item."""
        column = self._column(getattr(self._spec, role)).plain()
        missing = pc.is_null(column.values, nan_is_null=True)
        if isinstance(missing, pa.ChunkedArray):
            missing = missing.combine_chunks()
        if getattr(self._spec, key) == "error":
            column.reject(
                missing,
                f'hold an id in every row; `{key} = "drop"` leaves such rows '
                f'out, "unknown" keeps them without a {role}',
            )
        return missing

    def _clicks(self) -> pa.Array:
        if columns.CLICK not in self._table.column_names:
            return pa.array(np.ones(len(self._table), np.uint8))
        column = self._column(columns.CLICK)
        should = (
            "0 or 1; set `click_at_least` of the log for other numbers; "
            "`drop` can leave out rows without a label"
        )
        numbers = column.numbers(should).values
        good = pc.fill_null(pc.is_in(numbers, pa.array([0.0, 1.0])), False)
        column.reject(pc.invert(good), f"hold {should}")
        return numbers.cast(pa.uint8())

    def _weights(self, clicks: pa.Array) -> dict[str, pa.Array]:
        """Return the column of weights, or nothing where all rows have 1."""
        share = self._found.downsampled
        if columns.WEIGHT not in self._table.column_names and share == 1:
            return {}
        if columns.CLICK not in self._table.column_names:
            raise ValueError(
                f"{self._where} has weights, but no label: its rows are "
                "clicks, and rows without a click are drawn. Leave `weight` "
                "and `downsampled` out, or name the label (`click`)."
            )
        if share < 1:
            return {columns.WEIGHT: weights.of_clicks(clicks, share)}
        column = self._column(columns.WEIGHT)
        return {columns.WEIGHT: weights.of_column(column)}

    def _sources(self) -> dict[str, pa.Array]:
        """Return the column of sources, or nothing where there are none."""
        names = self._spec.source_names
        if not names or self._domain != features.NATURAL:
            return {}
        if columns.SOURCE not in self._table.column_names:
            number = np.full(len(self._table), self._found.source, np.uint8)
            return {columns.SOURCE: pa.array(number)}
        column = self._column(columns.SOURCE)
        text = ids.read(column, pa.string())
        places = pc.index_in(text, pa.array(names))
        column.reject(
            pc.is_null(places), f"hold the name of a source: {', '.join(names)}"
        )
        numbers = pc.add(places, 1).cast(pa.uint8())
        if isinstance(numbers, pa.ChunkedArray):
            numbers = numbers.combine_chunks()
        return {columns.SOURCE: numbers}

    def _days(self, stamp: pa.Array) -> pa.Array:
        """Return the local days; a column of days is compared with them."""
        seconds = stamp.to_numpy()
        days = self._spec.zone.local(seconds) // zones.DAY_SECONDS
        if columns.DAY in self._table.column_names:
            column = self._column(columns.DAY)
            given = times.days(column, self._spec.first_day)
            wrong = np.flatnonzero(given != days)
            if len(wrong):
                place = int(wrong[0])
                raise column.error(
                    place,
                    "hold the day of the event's time in the zone of the days, "
                    f"{self._spec.zone}; {_fitting(given, seconds)}",
                    f"{column.values[place].as_py()!r} at "
                    f"{times.written(seconds[place])}",
                )
        return pa.array(days.astype(np.int32))

    def _feature(
        self, feature: toml_spec.Column, kind: kinds.Feature, stamp: pa.Array
    ) -> pa.Array:
        """Return the values of a feature, of the type its kind asks for."""
        dtype = kind.log_type()
        if feature.name not in self._found.by_reader:
            return _missing(len(self._table), dtype)
        if pa.types.is_list(dtype):
            found = {name: self._column(name) for name in feature.sources}
            reader = lists.Reader(
                feature,
                found,
                self._ids,
                self._found.reading,
                stamp,
                self._found.null_texts,
            )
            return reader.read(kind)
        if pa.types.is_floating(dtype):
            numbers = self._numbers(feature.name)
            if feature.missing is not None:
                absent = pc.is_nan(numbers)
                value = pa.scalar(feature.missing, dtype)
                numbers = pc.if_else(absent, value, numbers)
            return numbers
        column = self._column(feature.name)
        if feature.divide > 1:
            whole = ids.read(column, pa.int64())
            whole = log_columns.floor_divide(whole, feature.divide)
            column = column.having(whole)
        if feature.separator:
            text = ids.read(column, pa.string())
            parts = pc.split_pattern(text, feature.separator, max_splits=1)
            first = pc.list_element(parts, 0)
            there = pc.not_equal(first, "")
            column = column.having(pc.if_else(there, first, None))
        return self._ids(column, feature.table, dtype)

    def _ids(
        self, column: log_columns.LogColumn, table: str, dtype: pa.DataType
    ) -> pa.Array:
        """Return raw ids of a table."""
        space = self._found.spaces.get(table, "")
        values = ids.read(column, dtype, space)
        for name in self._spec.foreign_spaces(table):
            if not space:
                taken = pc.starts_with(values, name + ids.SPACE)
                column.reject(
                    pc.fill_null(taken, False),
                    f"hold no id that begins as those of the id space {name!r}",
                )
        return values

    def _numbers(self, reader: str) -> pa.Array:
        """Return float32 numbers, NaN where there is none."""
        column = self._column(reader)
        numbers = column.numbers().values
        if isinstance(numbers, pa.ChunkedArray):
            numbers = numbers.combine_chunks()
        numbers = pc.fill_null(numbers, float("nan"))
        numbers = numbers.cast(pa.float32(), safe=False)
        column.reject(pc.is_inf(numbers), "hold finite numbers of 32 bits")
        return numbers


def fitted(
    table: pa.Table, written: features.DataSpec, spec: toml_spec.ConversionSpec
) -> pa.Table:
    """Return the events of a day that another spec was used for.

    Args:
      table: the events, as the day holds them.
      written: the data spec of the day.
      spec: says which features there are to be. Those that the day lacks, or
        has in another form, are missing.
    """
    wanted = spec.data_spec()
    if written == wanted:
        return table
    shared = {f.name for f in former_specs.shared(written, wanted).features}
    kinds_of = {f.name: f for f in kinds.of(wanted)}
    others = {f.name for f in written.features} | {*spec.evaluation}
    made = {n: table[n] for n in table.column_names if n not in others}
    for feature in spec.features:
        if not feature.source:
            continue
        if feature.name in shared:
            made[feature.name] = table[feature.name]
        else:
            dtype = kinds_of[feature.name].log_type()
            made[feature.name] = _missing(len(table), dtype)
    return pa.table(made | {name: table[name] for name in spec.evaluation})


def _missing(rows: int, dtype: pa.DataType) -> pa.Array:
    """Return missing values."""
    if pa.types.is_floating(dtype):
        return pa.array(np.full(rows, np.nan), dtype)
    return pa.nulls(rows, dtype)


def _fitting(days: np.ndarray, seconds: np.ndarray) -> str:
    """Return what to set so that times lie in their days."""
    offsets = zones.offsets_of_days(days, seconds, seconds)
    otherwise = "`first_day` or `time_unit`, or leave `day` out"
    if not len(offsets):
        return f"set `time_zone`, `utc_offset_hours`, {otherwise}"
    span = f"{offsets[0]:g}"
    if len(offsets) > 1:
        span += f" to {offsets[-1]:g}"
    return (
        f"with `utc_offset_hours` = {span} all rows of this table do. Set it, "
        f"`time_zone`, {otherwise}"
    )
