"""The features of a conversion spec, from what the columns of logs hold."""

import dataclasses
import keyword
import re

import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import features
from ecdctr_tf.input.conversion import exploding
from ecdctr_tf.input.inference import columns, roles, samples, side_files
from ecdctr_tf.input.inference.draft import Log

# Ids of at most so many values are cheap enough for the TPM.
_BASIC_VALUES = 2_000
# Rows that are looked at for lists of items.
_HISTORIES = 5_000
# Kinds of a column, from the first on if logs differ.
_PREFERRED = (
    "sequence",
    "weighted_ids",
    "ids",
    "position",
    "id",
    "vector",
    "dense",
)
# Kinds of lists of ids.
LISTS = ("ids", "weighted_ids", "sequence")
# Kinds whose features have a table of their own.
WITH_TABLE = ("id", "ids", "weighted_ids", "position")
# Values that two columns have to share to be called alike, and how many; of
# a position and another column, how many.
_ALIKE, _ALIKE_VALUES, _ALIKE_POSITIONS = 0.5, 10, 3
# Share of items below which those of two logs are taken for different things.
_FEW_SHARED = 0.05


@dataclasses.dataclass
class Feature:
    """A `[[features]]` entry, and why it is so."""

    name: str
    column: str
    kind: str
    side: str
    why: str
    dtype: str = ""
    table: str = ""
    basic: bool = False
    # Of an id: how many the sample has.
    values: int = 0
    separator: str = ""
    # Most entries of a list, or the length of a vector.
    length: int = 0
    # Of a position: what requests are scored at.
    default: int = 0
    # Of a number: how it is scaled; empty: as usual.
    transform: str = ""
    # "both", "natural" or "ads".
    domain: str = "both"
    # Name of a log -> the column there, where it is another one.
    elsewhere: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Features:
    """All features, the columns that are none, and what looks alike."""

    made: list[Feature]
    # Column -> why it is left out.
    left_out: dict[str, str]
    # Sentences for comments.
    alike: list[str]
    # Type of user and item ids: "int64" or "string".
    user_dtype: str
    item_dtype: str
    # Name of a log -> the id space of its items, where it is one of its own.
    spaces: dict[str, str]


def make(logs: list[Log]) -> Features:
    """Return the features that the columns of logs make."""
    left_out: dict[str, str] = {}
    made: dict[str, Feature] = {}
    holders: dict[str, list[Log]] = {}
    for log in logs:
        for name in log.table.column_names:
            if name not in log.roles and name != exploding.LABEL:
                holders.setdefault(name, []).append(log)
    for column, of in holders.items():
        found = [_decide(column, log) for log in of]
        bad = [decision for decision in found if not decision.kind]
        if len(bad) == len(found) or _later(bad):
            left_out[of[0].called(column)] = bad[0].why
            continue
        found = [decision for decision in found if decision.kind]
        made[column] = _feature(column, found, of)
    domains = {log.domain for log in logs}
    for column, feature in made.items():
        of_domains = {log.domain for log in holders[column]}
        if len(domains) > 1 and len(of_domains) == 1:
            feature.domain = of_domains.pop()
    alike = _alike(made, holders)
    entries = _named(list(made.values()))
    users = _dtype(logs, "user")
    spaces = _spaces(logs)
    # Ids of several spaces are held as text, each with its space.
    items = "string" if spaces else _dtype(logs, "item")
    return Features(entries, left_out, alike, users, items, spaces)


def _decide(column: str, log: Log) -> columns.Decision:
    rows = len(log.sample.table)
    if log.explode and log.sample.distinct.get(column) == rows > 1:
        return columns.Decision("", "one value a list")
    side = next((s for s, names in log.sides if column in names), None)
    if side:
        if columns.counted(column):
            return columns.Decision("", "a count that may have seen later days")
        values = side.sample.table[column]
        if pa.types.is_string(values.type):
            return columns.decide(column, values, None)
        text = not side.sample.parquet
        return columns.decide(column, log.table[column], log.click, text)
    values = log.sample.table[column].slice(0, _HISTORIES)
    if log.item.column and samples.is_text_or_list(values.type):
        found = columns.history(column, values, log.table[log.item.column])
        if found:
            return found
    text = not log.sample.parquet
    return columns.decide(column, log.table[column], log.click, text)


def _later(bad: list[columns.Decision]) -> bool:
    """Return whether a log shows that a column is known too late."""
    return any("after the" in of.why or "click" in of.why for of in bad)


def _feature(
    column: str,
    found: list[columns.Decision],
    of: list[Log],
) -> Feature:
    kinds = [decision.kind for decision in found]
    largest = max(found, key=lambda d: (d.values, d.transform))
    kind = next(kind for kind in _PREFERRED if kind in kinds)
    log = of[0]
    feature = Feature(column, column, kind, _side(column, log), largest.why)
    feature.length = max(decision.length for decision in found)
    separators = [decision.separator for decision in found]
    feature.separator = next(filter(None, separators), "")
    if kind == "sequence":
        feature.side = "user"
    if kind == "dense":
        feature.transform = next(filter(None, (d.transform for d in found)), "")
    if kind == "position":
        feature.side = "context"
        feature.default = min(decision.default for decision in found)
    if kind in WITH_TABLE:
        texts = any(decision.dtype == "string" for decision in found)
        feature.dtype = "string" if texts else "int64"
        known = feature.side != "context"
        feature.values = largest.values
        few = largest.values <= _BASIC_VALUES
        feature.basic = known and few and kind == "id"
        feature.why += f", {largest.values:,} values in the sample"
    if kind in LISTS:
        feature.why += f". The longest list of the sample has {feature.length}"
    return feature


def _side(column: str, log: Log) -> str:
    for side, names in log.sides:
        if column in names:
            on_user = side.on == log.user.column
            on_item = side.on == log.item.column
            return "user" if on_user else "item" if on_item else "context"
    unknown = not (log.user.column and log.item.column)
    if unknown or samples.is_list(log.table[column].type):
        return "context"
    roles_ = log.table[log.user.column], log.table[log.item.column]
    return columns.side(log.table[column], *roles_)


def _alike(
    made: dict[str, Feature], holders: dict[str, list[Log]]
) -> list[str]:
    """Merge columns that are one thing; return sentences on those that may be.

    Features of one domain are compared with those of the other: what has the
    same values and the same name, endings aside, becomes one feature.
    """
    said = []
    for natural in [c for c, f in made.items() if f.domain == "natural"]:
        for ads in [c for c, f in made.items() if f.domain == "ads"]:
            if natural not in made or ads not in made:
                continue
            kinds = {made[natural].kind, made[ads].kind}
            if not kinds <= {"id", "position"}:
                continue
            here, there = holders[natural][0], holders[ads][0]
            least = _ALIKE_POSITIONS if "position" in kinds else _ALIKE_VALUES
            share = _shared(here.table[natural], there.table[ads], least)
            names = (
                f"{natural!r} of {here.name!r} and {ads!r} of {there.name!r}"
            )
            same = side_files.normalised(natural) == side_files.normalised(ads)
            if share >= _ALIKE and same and kinds == {"id"}:
                _merge(made, natural, ads, holders)
                said.append(
                    f"{names} are taken for one thing: {share:.0%} of the "
                    "values are in both."
                )
            elif share >= 0.8 or same:
                said.append(
                    f"{names} look alike ({share:.0%} of the values are in "
                    "both). If they are one thing, make them one feature with "
                    "`feature_columns`."
                )
    return said


def _merge(
    made: dict[str, Feature],
    natural: str,
    ads: str,
    holders: dict[str, list[Log]],
) -> None:
    """Make one feature of two; the ads' column gives the name."""
    kept, other = made[ads], made.pop(natural)
    kept.domain = "both"
    kept.elsewhere = {log.name: natural for log in holders[natural]}
    if other.dtype == "string":
        kept.dtype = "string"
    kept.why = f"{kept.why}; in natural logs {natural!r}"


def _shared(
    one: pa.ChunkedArray, other: pa.ChunkedArray, least: int = _ALIKE_VALUES
) -> float:
    """Return the share of the fewer values that both columns have.

    Of fewer than `least` values it is 0.
    """
    values = [pc.unique(column.drop_null()) for column in (one, other)]
    if any(pa.types.is_floating(v.type) or len(v) < 1 for v in values):
        return 0.0
    few, many = sorted((v.cast(pa.string()) for v in values), key=len)
    if len(few) < least:
        return 0.0
    return float(pc.mean(pc.is_in(few, many).cast(pa.int8())).as_py())


def _named(made: list[Feature]) -> list[Feature]:
    """Give each feature a name that the spec takes."""
    taken = {"user_id", "item_id", "clicked", "hour", "weekday"}
    for feature in made:
        name = re.sub(r"\W+", "_", feature.name, flags=re.ASCII).strip("_")
        name = name if re.match(r"[A-Za-z]", name) else f"f_{name}"
        name = name[:48]
        while (
            name.lower() in taken
            or name in features.RESERVED
            or keyword.iskeyword(name)
        ):
            name = f"{name}_column"
        taken.add(name.lower())
        feature.name = name
        if feature.kind in WITH_TABLE:
            feature.table = name
        elif feature.kind == "sequence":
            feature.table = "item"
    return made


def _spaces(logs: list[Log]) -> dict[str, str]:
    """Return the id spaces of items that are no items of natural logs."""
    natural = [log for log in logs if log.domain == "natural"]
    found = {}
    for ads in [log for log in logs if log.domain == "ads"]:
        names = {log.item.column for log in natural} - {""}
        plain = {side_files.normalised(name) for name in names}
        if not ads.item.column or not names:
            continue
        unlike = side_files.normalised(ads.item.column) not in plain
        items = [
            log.table[log.item.column] for log in natural if log.item.column
        ]
        own = ads.table[ads.item.column]
        shared = max(_shared(one, own, 1) for one in items)
        if not shared and all(map(_are_names, [own, *items])):
            continue
        if unlike and (roles.is_ad(ads.item.column) or shared < _FEW_SHARED):
            found[ads.name] = ads.item.column
    return found


def _are_names(items: pa.ChunkedArray) -> bool:
    """Return whether all ids are text such as "ad-7", not numbers.

    Those of two kinds of things are hardly alike by chance, and then lists may
    hold both.
    """
    if not pa.types.is_string(items.type):
        return False
    number = pc.match_substring_regex(items.drop_null(), r"^\d*$")
    return not pc.any(number).as_py()


def _dtype(logs: list[Log], role: str) -> str:
    """Return the type of the ids of a role over all logs."""
    for log in logs:
        choice: roles.Choice = getattr(log, role)
        if not choice.column:
            return "string"
        if not pa.types.is_integer(log.table[choice.column].type):
            return "string"
    return "int64"
