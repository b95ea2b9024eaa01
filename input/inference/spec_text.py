"""A conversion spec as commented TOML."""

import json
import re
from collections.abc import Iterable, Mapping

from ecdctr_tf.input.inference import layout, times
from ecdctr_tf.input.inference.draft import UNKNOWN, Log
from ecdctr_tf.input.inference.feature_drafts import (
    LISTS,
    WITH_TABLE,
    Feature,
    Features,
)

_HEAD = """\
Written by `ecdctr-convert --infer` from a sample of the files. Read the
comments: they say how sure each choice is. All keys are described in
docs/conversion_spec.md."""
_LONGEST_LINE = 79
# Entries of the sequence of clicked items.
_CLICKED = 20


def write(logs: list[Log], features: Features, unused: Iterable[str]) -> str:
    """Return the text of a spec.

    Args:
      logs: what was found out about the files.
      features: what their columns make.
      unused: files that the spec does not read.
    """
    parts = [_comment(_HEAD), _top(logs)]
    parts += [_log(log, features) for log in logs]
    parts += [_negatives(logs), _tables(features), _features(features)]
    text = "\n".join(part for part in parts if part)
    if features.left_out:
        lines = [f"{name}: {why}" for name, why in features.left_out.items()]
        text += "\n" + _comment("Columns that are no features:", *lines)
    if features.alike:
        text += "\n" + _comment("Columns that look alike:", *features.alike)
    files = [name for name in unused if not _same_kind(name)]
    if files:
        text += "\n" + _comment("Files that are not read:", *files)
    return text


def _same_kind(name: str) -> bool:
    """Return whether a file is text about the logs, not a part of them."""
    return bool(re.search(r"(?i)readme|licen[cs]e", name))


def _top(logs: list[Log]) -> str:
    told = [log.days for log in logs if log.days]
    firsts = {days.first_day for days in told} - {""}
    text = _zone(logs)
    if len(firsts) == 1:
        text += f'first_day = "{firsts.pop()}"\n'
    for role in ("user", "item"):
        lacking = [log.path for log in logs if log.lacks(role)]
        if lacking:
            text += _comment(
                f'Rows of {", ".join(lacking)} lack the {role}. "unknown" '
                "keeps them."
            )
            text += f'null_{role} = "drop"\n'
    natural = [log.name for log in logs if log.domain == "natural"]
    if len(natural) > 1:
        text += _comment(
            f"The natural logs are {', '.join(natural)}. If they are different "
            "surfaces of the app, such as feed and search, name each in a "
            "[[sources]] and as `source` of its log: then each can have a "
            "share in training, and diagnose says what each is good for."
        )
    return text


def _zone(logs: list[Log]) -> str:
    """Return the zone of days, as columns or names of files tell it."""
    told = [log.days for log in logs if log.days]
    hours = {days.hours for days in told} - {None}
    named = [log for log in logs if log.hours is not None]
    if len(hours) == 1:
        column = next(d.column for d in told if d.hours is not None)
        text = _comment(f"Sure: so begin the days of the column {column!r}.")
        text += f"utc_offset_hours = {hours.pop()}\n"
    elif any(map(lacks_zone, logs)):
        text = _comment(
            "The zone of the days in the names of files. It cannot be changed "
            "once days are appended."
        )
        return text + f'time_zone = "{UNKNOWN}"\n'
    elif named:
        # The sample may fit several; whole hours near UTC come first.
        first = min(named[0].hours, key=lambda h: (h % 1 != 0, abs(h)))
        text = _comment(
            "Likely: so begin the days in the names of the files of "
            f"{named[0].path}. If the zone has summer time, write its name "
            'instead, such as time_zone = "Europe/Berlin". It cannot be '
            "changed once days are appended."
        )
        text += f"utc_offset_hours = {first}\n"
    else:
        return _comment(
            "A guess: days begin at midnight UTC. Choose the zone of your "
            "users now; it cannot be changed once days are appended:",
            'time_zone = "Europe/Berlin"',
        )
    if any(log.time and not log.time.zoned for log in logs):
        text += _comment(
            "Where times have no zone, days and hours are those that the logs "
            "say."
        )
    return text


def lacks_zone(log: Log) -> bool:
    """Return whether files name days that no offset from UTC fits."""
    told = log.days is not None and log.days.hours is not None
    return log.hours is not None and not len(log.hours) and not told


def _log(log: Log, features: Features) -> str:
    sample = log.sample
    notes = [f"About {sample.rows:,} rows.", *log.notes]
    if log.time:
        trust = "likely" if log.time.unit or log.time.format else "sure"
        zone = "UTC" if log.time.zoned else "of no zone,"
        since = ", counted from a day that is not known" * log.time.relative
        notes.append(f"Time: {trust}; {zone} from {log.time.says}{since}.")
    notes.append(f"User: {_trust(log.user)} Item: {_trust(log.item)}")
    if log.label.column:
        notes.append(f"Click: {log.label.trust}.")
    elif not log.explode:
        notes.append("Click: no column is a label, so each row is a click.")
    keys: dict[str, object] = {
        "name": log.name,
        "domain": log.domain,
        "path": sample.path,
    }
    if sample.layout.columns and not sample.layout.header:
        keys["columns"] = [log.called(n) for n in sample.layout.columns]
    keys |= _text_keys(sample.layout)
    keys |= {
        "user": log.called(log.user.column) or UNKNOWN,
        "item": log.called(log.item.column) or UNKNOWN,
        "time": log.called(log.time.column) if log.time else UNKNOWN,
    }
    if not log.time or log.time.relative:
        keys["time_origin"] = times.ORIGIN
    if log.time and log.time.unit:
        keys["time_unit"] = log.time.unit
    if log.time and log.time.format:
        keys["time_format"] = log.time.format
    if log.days and log.days.hours is not None:
        keys["day"] = log.days.column
    if log.label.column:
        keys["click"] = log.called(log.label.column)
        if log.label.at_least is not None:
            keys["click_at_least"] = log.label.at_least
    if log.weight:
        keys["weight"] = log.called(log.weight)
        notes.append("Weight of a row: likely, by the name.")
    keys |= {n: v for n, v in (("keep", log.keep), ("drop", log.drop)) if v}
    if log.name in features.spaces:
        keys["id_spaces"] = {"item": features.spaces[log.name]}
        notes.append(
            "The items are no items of the natural logs: an ad and an item of "
            "one number stay two."
        )
    elsewhere = {
        f.name: f.elsewhere[log.name]
        for f in features.made
        if log.name in f.elsewhere
    }
    if elsewhere:
        keys["feature_columns"] = elsewhere
    text = _comment(*notes) + _table("[[logs]]", keys)
    if log.explode:
        rule = {**log.explode, "column": log.called(log.explode["column"])}
        text += "\n" + _comment("Each entry of the list becomes a row.")
        text += _table("[logs.explode]", rule)
    for side, names in log.sides:
        text += "\n" + _comment(
            f"{side.contained:.0%} of the values of the sample are found there."
        )
        join: dict[str, object] = {"path": side.sample.path}
        found = side.sample.layout
        if found.columns and not found.header:
            join["columns"] = list(found.columns)
        join |= _text_keys(found)
        used = {f.column for f in features.made} | log.roles
        join |= {
            "on": log.called(side.on),
            "key": side.key,
            "take": [name for name in names if name in used] or names[:1],
        }
        text += _table("[[logs.joins]]", join)
    return text


def _text_keys(found: layout.Layout) -> dict[str, object]:
    """Return the keys that say how text is written, less the defaults."""
    usual = layout.Layout()
    return {
        key: getattr(found, key)
        for key in ("delimiter", "encoding", "quote")
        if getattr(found, key) != getattr(usual, key)
    }


def _trust(choice: object) -> str:
    column = getattr(choice, "column", "")
    if not column:
        return "not found."
    others = ", ".join(getattr(choice, "others", ()))
    trust = getattr(choice, "trust", "")
    return f"{trust}{f' (or {others})' if others else ''}."


def _negatives(logs: list[Log]) -> str:
    text = ""
    for domain in ("natural", "ads"):
        of = [log for log in logs if log.domain == domain]
        clicks_only = [
            log for log in of if not log.label.column and not log.explode
        ]
        if of and len(clicks_only) == len(of):
            text += _comment(
                f"The {domain} logs hold only clicks: impressions without a "
                "click are sampled from other users' clicks."
            )
            text += _table(f"[negatives.{domain}]", {"per_click": 3})
    return text


def _tables(features: Features) -> str:
    tables = {"user": features.user_dtype, "item": features.item_dtype}
    text = ""
    for feature in features.made:
        if feature.kind in WITH_TABLE:
            tables[_table_name(feature.table)] = feature.dtype
    for name, dtype in {**tables, "hour": "int64"}.items():
        keys = {"name": name}
        if dtype == "string":
            keys["dtype"] = dtype
        text += _table("[[tables]]", keys)
    return text


def _table_name(name: str) -> str:
    taken = ("user", "item", "hour", "weekday")
    return f"{name}_value" if name.lower() in taken else name


def _features(features: Features) -> str:
    text = ""
    for name, table in (("user_id", "user"), ("item_id", "item")):
        entry = {"name": name, "table": table, "side": table, "basic": True}
        text += _table("[[features]]", entry) + "\n"
    for feature in features.made:
        text += _comment(f"{feature.column}: {feature.why}.")
        text += _table("[[features]]", _keys(feature)) + "\n"
    text += _comment(
        "The weekday is left out: all rows of a day have the same, and models "
        "that learn a day at a time get worse with it."
    )
    entry = {"name": "hour", "table": "hour", "time": "hour"}
    text += _table("[[features]]", entry) + "\n" + _cross(features)
    text += _comment("The items that the user clicked before the row.")
    entry = {"name": "clicked", "table": "item", "max_length": _CLICKED}
    return text + _table("[[sequences]]", entry)


def _cross(features: Features) -> str:
    """Return a cross of a user's and an item's id, as a comment."""
    ids = [feature for feature in features.made if feature.kind == "id"]
    sides = [[f for f in ids if f.side == side] for side in ("user", "item")]
    if not all(sides):
        return ""
    # The larger ones say more, and their pairs collide more often.
    parts = [min(of, key=lambda feature: feature.values).name for of in sides]
    table = {"name": "_x_".join(parts), "ids": "hashing", "buckets": 100_000}
    entry = {"name": table["name"], "kind": "cross", "of": parts}
    entry["table"] = table["name"]
    lines = _table("[[tables]]", table) + _table("[[features]]", entry)
    hint = _comment(
        "A cross says what a pair of values means. Which pairs help, no sample "
        "tells; try one, such as:"
    )
    return hint + "".join(f"# {line}\n" for line in lines.splitlines()) + "\n"


def _keys(feature: Feature) -> dict[str, object]:
    keys: dict[str, object] = {"name": feature.name}
    if feature.kind != "id":
        keys["kind"] = feature.kind
    if feature.column != feature.name:
        keys["column"] = feature.column
    if feature.kind == "sequence":
        keys["table"] = feature.table
    elif feature.table:
        keys["table"] = _table_name(feature.table)
    if feature.side != "context":
        keys["side"] = feature.side
    if feature.basic:
        keys["basic"] = True
    if feature.separator:
        keys["separator"] = feature.separator
    if feature.kind in LISTS:
        keys["max_length"] = feature.length
    if feature.kind == "vector":
        keys["length"] = feature.length
    if feature.kind == "position":
        keys["default"] = feature.default
    if feature.transform:
        keys["transform"] = feature.transform
    if feature.domain != "both":
        keys["domain"] = feature.domain
    return keys


def _comment(*sentences: str) -> str:
    """Return sentences as lines of comments."""
    lines = []
    for sentence in sentences:
        line = "#"
        for word in sentence.split():
            if len(line) + 1 + len(word) > _LONGEST_LINE:
                lines.append(line)
                line = "#"
            line += f" {word}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _table(header: str, keys: Mapping[str, object]) -> str:
    lines = [f"{_key(key)} = {_value(value)}" for key, value in keys.items()]
    return "\n".join([header, *lines]) + "\n"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)


def _value(value: object) -> str:
    """Return a value as TOML, which writes texts as JSON does."""
    if isinstance(value, Mapping):
        pairs = [f"{_key(k)} = {_value(v)}" for k, v in value.items()]
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
