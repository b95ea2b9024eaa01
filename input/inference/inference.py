"""A conversion spec from the files of logs: what each file and column is."""

import dataclasses
import pathlib
import re

import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import exploding, log_spec
from ecdctr_tf.input.inference import (
    columns,
    draft,
    feature_drafts,
    roles,
    samples,
    side_files,
    spec_text,
    times,
)
from ecdctr_tf.input.inference.draft import UNKNOWN, Log


@dataclasses.dataclass(frozen=True)
class Inferred:
    """A spec as text, and what is left to do."""

    text: str
    # One sentence for each role that was not found; empty if it converts.
    edits: tuple[str, ...]
    # Sentences on what converts and may yet be wrong.
    remarks: tuple[str, ...] = ()


def infer(source: str | pathlib.Path) -> Inferred:
    """Return a commented conversion spec for the files of a directory.

    Args:
      source: the directory; all its Parquet and text files are looked at.

    Raises:
      FileNotFoundError: there is no file with a table.
      ValueError: a file cannot be read, or no file is a log.
    """
    taken, skipped = samples.take(source)
    found, unused = _logs(taken)
    if not found:
        names = ", ".join(sample.path for sample in taken)
        raise ValueError(
            "No file looks like a log: a column with the time of each event "
            f"is needed, or a user, an item and a label. Seen: {names}."
            + "".join(f" {line}." for line in skipped if ": " in line)
        )
    found = draft.with_domains(found)
    made = feature_drafts.make(found)
    text = spec_text.write(found, made, [*unused, *skipped])
    unread = [f"Not read: {line}." for line in skipped if ": " in line]
    remarks = (*unread, *_all_clicks(found, made.left_out))
    return Inferred(text, tuple(_edits(found)), remarks)


def _all_clicks(found: list[Log], left_out: dict[str, str]) -> list[str]:
    """Return a sentence on each log whose rows are wrongly all clicks."""
    return [
        f"{log.path} has no label, so each row counts as a click, though "
        f"{column!r} is the type of the event. Keep the clicks with `keep`, or "
        "write a column of 0 and 1 and name it with `click`."
        for log in found
        for column, why in left_out.items()
        if not log.label.column
        and column in log.table.column_names
        and why == columns.EVENT_TYPE
    ]


def _logs(taken: list[samples.Sample]) -> tuple[list[Log], list[str]]:
    """Return the logs, and the files that are neither logs nor joined."""
    events, sides = [], []
    for sample in taken:
        time = draft.has_time(sample)
        keyed = side_files.keys(sample) and not roles.label(sample, ()).column
        if time is None and (keyed or not _like_events(sample)):
            sides.append(sample)
        else:
            events.append((sample, time))
    unlabelled = _unlabelled([sample for sample, _ in events])
    found: list[Log] = []
    for sample, time in events:
        if sample not in unlabelled:
            name = _unique(sample.name, [log.name for log in found])
            found.append(_log(sample, time, name, sides))
    joined = [side.sample for log in found for side, _ in log.sides]
    unused = [
        f"{s.path}: as another log, but without labels" for s in unlabelled
    ]
    unused += [
        f"{s.path}: neither a log nor joined to one"
        for s in sides
        if s not in joined
    ]
    return found, unused


def _like_events(sample: samples.Sample) -> bool:
    """Return whether a file without time has user, item and label."""
    return bool(
        roles.user(sample, ()).column
        and roles.item(sample, ()).column
        and roles.label(sample, ()).column
    )


def _unlabelled(events: list[samples.Sample]) -> list[samples.Sample]:
    """Return files that equal another one, but for its label: test sets."""
    found = []
    for sample in events:
        names = set(sample.table.column_names)
        for other in events:
            rest = set(other.table.column_names) - names
            label = roles.label(other, ()).column
            same = names <= set(other.table.column_names)
            if same and label in rest and len(rest) <= 3:
                found.append(sample)
                break
    return found


def _log(
    sample: samples.Sample,
    time: times.Time | None,
    name: str,
    sides: list[samples.Sample],
) -> Log:
    """Return what was found out about one log."""
    log = Log(sample, name, sample.table, time=time)
    log.explode = roles.lists(sample)
    taken = {time.column} if time else set()
    if log.explode:
        taken |= {log.explode["column"], log.explode.get("clicked", "")}
    else:
        log.label = roles.label(sample, taken)
        if log.label.column:
            taken.add(log.label.column)
            log.weight = roles.weight(sample, taken)
            taken |= {log.weight} - {""}
    if time:
        log.days = times.days(sample.table, time)
        log.hours = times.hours_of_files(sample.parts, time)
        taken |= {log.days.column} if log.days else set()
    if log.explode:
        rule = log_spec.Explode(**log.explode)
        parts = list(exploding.exploded(sample.table, rule, sample.path))
        log.table = pa.concat_tables(parts).slice(0, samples.ROWS)
    names = [n for n in log.table.column_names if n not in taken]
    if log.explode:
        names.append(log.explode["column"])
    near = _nearest(sides, sample)
    known = side_files.values(log.table, names)
    item = log.explode["column"] if log.explode else ""
    joins = side_files.assigned(known, near, item)
    _choose_roles(log, joins, taken)
    _join(log, joins)
    _name_columns(log)
    return log


def _nearest(
    sides: list[samples.Sample], sample: samples.Sample
) -> list[samples.Sample]:
    """Return the side files, of those of one name the one beside the log."""
    chosen: dict[str, samples.Sample] = {}
    folder = pathlib.PurePath(sample.path).parent
    for side in sides:
        path = pathlib.PurePath(side.path)
        if path.name not in chosen or path.parent == folder:
            chosen[path.name] = side
    return list(chosen.values())


def _choose_roles(
    log: Log, joins: list[side_files.Side], taken: set[str]
) -> None:
    """Set the user and the item of a log."""
    log.user = roles.user(log.sample, taken)
    if log.explode:
        log.item = roles.Choice(log.explode["column"], "sure")
    else:
        log.item = roles.item(log.sample, {*taken, log.user.column})
    about_user = [s for s in joins if side_files.named_user(s)]
    about_items = [s for s in joins if s not in about_user]
    if not log.user.column and about_user:
        log.user = roles.Choice(about_user[0].on, "likely")
    if not log.item.column and about_items and not log.sample.layout.header:
        log.item = roles.Choice(about_items[0].on, "likely")
    if log.sample.parquet or log.sample.layout.header:
        return
    # Without names: the first ids are those of users, the next of items.
    free = [
        name
        for name in log.sample.table.column_names
        if name not in {*taken, log.user.column, log.item.column}
        and roles.could_be_id(log.sample, name)
        and log.sample.distinct[name] > 1
    ]
    if not log.user.column and free:
        log.user = roles.Choice(free.pop(0))
    if not log.item.column and free:
        log.item = roles.Choice(free.pop(0))


def _join(log: Log, joins: list[side_files.Side]) -> None:
    """Add the columns of files to the rows of the sample."""
    for side in joins:
        names = side_files.take(side, log.table.column_names)
        if not names:
            continue
        log.sides.append((side, names))
        on = log.table[side.on].cast(pa.string()).combine_chunks()
        keys = side.sample.table[side.key].cast(pa.string()).combine_chunks()
        place = pc.index_in(on, keys)
        for name in names:
            values = side.sample.table[name].combine_chunks().take(place)
            log.table = log.table.append_column(name, values)


def _name_columns(log: Log) -> None:
    """Name the columns of a file without header after what they mean."""
    if log.sample.parquet or log.sample.layout.header:
        return
    named = {
        "user": log.user.column,
        "item": log.item.column,
        "time": log.time.column if log.time else "",
        "rating" if log.label.at_least else "label": log.label.column,
    }
    log.names = {column: role for role, column in named.items() if column}


def _unique(name: str, taken: list[str]) -> str:
    name = re.sub(r"^\d+", "", name) or "log"
    count = sum(re.sub(r"_\d+$", "", other) == name for other in taken)
    return f"{name}_{count + 1}" if count else name


def _edits(found: list[Log]) -> list[str]:
    """Return a sentence for each role that no column was found for."""
    edits = []
    named = [log for log in found if spec_text.lacks_zone(log)]
    if named:
        edits.append(
            f"By their names, the files of {named[0].path} are of days that "
            "are not those of UTC, and no fixed offset fits all of them, as "
            f'where there is summer time. Replace `time_zone = "{UNKNOWN}"` by '
            'their zone, such as "Europe/Berlin".'
        )
    timeless = [log.sample.path for log in found if not log.time]
    if timeless:
        have = "has" if len(timeless) == 1 else "have"
        edits.append(
            f"{' and '.join(timeless)} {have} no column with a time. Replace "
            f'`time = "{UNKNOWN}"` by the column with the time; or, if rows '
            "are in the order of time, by `rows_per_day = 100000`."
        )
    for log in found:
        for role in log.missing():
            line = f'`{role} = "{UNKNOWN}"` of the log {log.name!r}'
            if role == "time":
                continue
            choice = log.user if role == "user" else log.item
            could = [f"{name} ({_values(log, name)})" for name in choice.others]
            edits.append(
                f"No column of {log.sample.path} looks like the {role}. "
                f"Replace {line} by one of: {', '.join(could) or 'none'}."
            )
    return edits


def _values(log: Log, name: str) -> str:
    count = log.sample.distinct.get(name, 0)
    return f"{count:,} value{'' if count == 1 else 's'}"
