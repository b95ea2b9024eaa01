"""Tables of logs to tables of events: checked, typed, in one order.

A table of events has a column for each `[[features]]` entry that comes from a
column, under the name of the feature and with its final raw value, and
`timestamp` int64 (seconds), `click` uint8, `day` int32 (days since 1970-01-01,
local) and the evaluation columns. Other columns of the log are dropped.
"""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import kinds, windows
from ecdctr_tf.input.conversion import toml_spec

# Column of row numbers that readers of files add for error messages.
ROW = "__row"
_DAY_SECONDS = 86_400


def normalised(
    table: pa.Table, spec: toml_spec.ConversionSpec, where: str
) -> pa.Table:
    """Return the events of a table of a log.

    Args:
      table: has the columns that the features read, `timestamp` (seconds or
        an Arrow timestamp), and where known `click` (0 or 1; without it every
        row is a click) and `day` (whole days since `first_day`, or dates).
      spec: says which columns there are.
      where: names the table in errors.

    Raises:
      ValueError: a column is missing, of a wrong type, or holds a null user,
        item or time, a label other than 0 and 1, a missing or infinite dense
        number, or a day that the time does not lie in.
    """
    if "timestamp" not in table.column_names:
        raise _missing(table, "timestamp", "every table needs", where)
    stamp = table["timestamp"]
    if pa.types.is_timestamp(stamp.type):
        stamp = pc.floor_temporal(stamp, unit="second").cast(
            pa.timestamp("s", stamp.type.tz)
        )
    columns = {"timestamp": _cast(table, stamp, "timestamp", pa.int64(), where)}
    _refuse_nulls(table, columns["timestamp"], "timestamp", where)
    columns["click"] = _clicks(table, where)
    columns["day"] = _days(table, columns["timestamp"], spec, where)
    of_data = {feature.name: feature for feature in kinds.of(spec.data_spec())}
    for feature in spec.features:
        if feature.source:
            dtype = of_data[feature.name].log_type()
            column = _feature(table, feature, dtype, where)
            if feature.name in (spec.user, spec.item):
                _refuse_nulls(table, column, feature.source, where)
            columns[feature.name] = column
    for name in spec.evaluation:
        columns[name] = _numbers(table, name, f"{name!r} reads", None, where)
    return pa.table(columns)


def local_seconds(
    timestamp: np.ndarray, spec: toml_spec.ConversionSpec
) -> np.ndarray:
    """Return event times as seconds of local time since 1970-01-01."""
    return timestamp + int(spec.utc_offset_hours * 3600)


def ordered(table: pa.Table, user: str, item: str) -> pa.Table:
    """Return the events in an order that their order in files has no part in.

    Args:
      table: the events of a day.
      user: the column with the user.
      item: the column with the item.

    Returns:
      The rows by time, user, item and click, then by all other columns.
    """
    head = ["timestamp", user, item, "click"]
    keys = [_rank(table[name]) for name in head]
    order = np.lexsort(keys[::-1])
    tied = np.ones(max(len(order) - 1, 0), bool)
    for key in keys:
        tied &= key[order[1:]] == key[order[:-1]]
    if tied.any():
        places = np.flatnonzero(np.r_[tied, False] | np.r_[False, tied])
        part = table.take(order[places])
        rest = sorted(set(table.column_names) - set(head))
        keys = [key[order[places]] for key in keys]
        keys += [_rank(part[name]) for name in rest]
        order[places] = order[places][np.lexsort(keys[::-1])]
    return table.take(order)


def _rank(column: pa.ChunkedArray) -> np.ndarray:
    """Return numbers that sort as the column does."""
    if pa.types.is_integer(column.type) and not column.null_count:
        return column.to_numpy()
    return pc.rank(column, tiebreaker="dense").to_numpy()


def _feature(
    table: pa.Table,
    feature: toml_spec.Column,
    dtype: pa.DataType,
    where: str,
) -> pa.Array:
    """Return the values of a feature, of the type that its kind asks for."""
    name, reader = feature.source, f"the feature {feature.name!r} reads"
    if pa.types.is_floating(dtype):
        return _numbers(table, name, reader, feature.missing, where)
    if name not in table.column_names:
        raise _missing(table, name, reader, where)
    column = table[name]
    if feature.divide > 1:
        column = _cast(table, column, name, pa.int64(), where)
        column = floor_divide(column, feature.divide)
    if feature.separator:
        column = _cast(table, column, name, pa.string(), where)
        parts = pc.split_pattern(column, feature.separator, max_splits=1)
        column = pc.list_element(parts, 0)
    return _cast(table, column, name, dtype, where)


def _numbers(
    table: pa.Table,
    name: str,
    reader: str,
    missing: float | None,
    where: str,
) -> pa.Array:
    """Return a column of finite numbers; `missing` stands in for nulls."""
    if name not in table.column_names:
        raise _missing(table, name, reader, where)
    column = _cast(table, table[name], name, pa.float32(), where)
    if missing is not None:
        column = pc.fill_null(column, missing)
    bad = pc.invert(pc.fill_null(pc.is_finite(column), False))
    _refuse(
        table,
        bad,
        name,
        "a finite number; give the feature a `missing` value",
        where,
    )
    return column


def floor_divide(column: pa.ChunkedArray, divisor: int) -> pa.ChunkedArray:
    """Return whole numbers divided, rounded down also below zero."""
    rest = pc.subtract(column, pc.multiply(pc.divide(column, divisor), divisor))
    below = pc.cast(pc.less(rest, 0), pa.int64())
    return pc.subtract(pc.divide(column, divisor), below)


def _clicks(table: pa.Table, where: str) -> pa.Array:
    if "click" not in table.column_names:
        return pa.array(np.ones(len(table), np.uint8))
    column = _cast(table, table["click"], "click", pa.float64(), where)
    good = pc.fill_null(pc.is_in(column, pa.array([0.0, 1.0])), False)
    _refuse(
        table,
        pc.invert(good),
        "click",
        "0 or 1; set `click_at_least` of the log for other labels",
        where,
    )
    return column.cast(pa.uint8())


def _days(
    table: pa.Table,
    stamp: pa.Array,
    spec: toml_spec.ConversionSpec,
    where: str,
) -> pa.Array:
    seconds = local_seconds(stamp.to_numpy(), spec)
    days = (seconds // _DAY_SECONDS).astype(np.int32)
    if "day" in table.column_names:
        given = _given_days(table, spec, where)
        wrong = pa.array(given != days)
        _refuse(
            table,
            wrong,
            "day",
            "the day of the event's time; set `utc_offset_hours`, `first_day` "
            "or `time_unit`, or leave `day` out",
            where,
        )
    return pa.array(days)


def _given_days(
    table: pa.Table, spec: toml_spec.ConversionSpec, where: str
) -> np.ndarray:
    """Return the day column as days since 1970-01-01."""
    column = table["day"]
    _refuse_nulls(table, column, "day", where)
    text = pa.types.is_string(column.type)
    if text and len(column) and not column[0].as_py().lstrip("-").isdigit():
        column = _cast(table, column, "day", pa.date32(), where)
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        return column.cast(pa.date32()).cast(pa.int32()).to_numpy()
    column = _cast(table, column, "day", pa.int64(), where)
    return column.to_numpy() + windows.day_number(spec.first_day)


def _cast(
    table: pa.Table,
    column: pa.ChunkedArray,
    name: str,
    dtype: pa.DataType,
    where: str,
) -> pa.Array:
    try:
        column = column.cast(dtype)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"{where}: the column {name!r} should be {dtype}; it is "
            f"{column.type}. {error}"
        ) from error
    return column.combine_chunks() if hasattr(column, "chunks") else column


def _refuse_nulls(
    table: pa.Table, column: pa.ChunkedArray, name: str, where: str
) -> None:
    if column.null_count:
        _refuse(table, pc.is_null(column), name, "present in every row", where)


def _refuse(
    table: pa.Table, bad: pa.Array, name: str, should: str, where: str
) -> None:
    """Raise where `bad` is true, naming the first row and its value."""
    if not pc.any(bad).as_py():
        return
    place = pc.index(bad, True).as_py()
    row = table[ROW][place].as_py() if ROW in table.column_names else place
    value = table[name][place].as_py()
    stamp = table["timestamp"][place].as_py()
    if isinstance(stamp, int) and name == "day":
        utc = datetime.datetime.fromtimestamp(stamp, datetime.UTC)
        value = f"{value!r} at {utc:%Y-%m-%d %H:%M:%S} UTC"
    raise ValueError(
        f"{where}, row {row}: {name!r} should be {should}. Received: {value!r}"
    )


def _missing(table: pa.Table, name: str, who: str, where: str) -> ValueError:
    columns = [c for c in table.column_names if c != ROW]
    return ValueError(
        f"{where} lacks the column {name!r}, which {who}. It has: "
        f"{', '.join(columns)}."
    )
