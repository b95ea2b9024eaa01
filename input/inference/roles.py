"""What the columns of a log are: user, item, label, and lists of items."""

import dataclasses
import re
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.inference import samples

_THINGS = (
    "item|article|video|movie|doc|news|content|product|goods|photo|note|post|"
    "song|track|book"
)
# Pattern of a name in lower case -> how much it speaks for the role.
_USER = {
    r"^(u_)?user_?id$|^user$|^uid$": 5,
    r"user_?id|(reviewer|customer|visitor|member|account|client)_?id": 4,
    r"^user|^reviewer|^customer|^visitor|cookie": 3,
    r"device_?id|idfa|gaid|imei": 2,
    r"device_?ip|^ip(_address)?$": 1,
}
_ITEM = {
    rf"^({_THINGS})(_?id)?$|^parent_asin$": 6,
    rf"({_THINGS})_?id$|^asin$|^sku$": 5,
    r"^(ad|adv|creative|adgroup)(_?id)?$": 4,
    r"^(campaign|banner)(_?id)?$|^task_id$": 3,
    r"^(brand|cate|category|topic|channel)(_?id)?$": 1,
}
_LABEL = {
    r"^(is_)?(click|clicked|clk)$": 5,
    r"^label$|^click_?label$": 4,
    r"^target$|^is_?clicked$|^y$|^read$": 3,
    r"^(rating|stars|overall)$": 2,
}
_WEIGHT = re.compile(r"^((sample|importance|event|row)_?)?weights?$|^ipw$")
_AFTER_IMPRESSION = re.compile(
    r"(^|_)(is_)?(like|follow|share|comment|forward|hate|favou?rite|collect|"
    r"purchase|buy|conversion|play|watch\w*|stay|dwell|read|scroll|finish|"
    r"attribution|cost|cpo|revenue|nonclk|rating|long_view|profile_enter|"
    r"cillabel|pro)(d|s|es)?(_|$)|^next_|^click_(pos|nb)$|playtime|cillabel"
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A column for a role; an empty one if there is none."""

    column: str = ""
    # "sure", "likely" or "a guess".
    trust: str = "a guess"
    # Other columns that could be meant, likeliest first.
    others: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Label:
    """What says which rows are clicks; an empty one if all of them are."""

    column: str = ""
    at_least: float | None = None
    trust: str = "likely"


def user(sample: samples.Sample, taken: Iterable[str]) -> Choice:
    """Return the column with the user."""
    return _chosen(sample, _USER, set(taken), 1)


def item(sample: samples.Sample, taken: Iterable[str]) -> Choice:
    """Return the column with the item."""
    return _chosen(sample, _ITEM, set(taken), 0)


def is_ad(column: str) -> bool:
    """Return whether a column of items is one of ads, by its name."""
    return 3 <= _score(column, _ITEM) <= 4


def known_later(column: str) -> bool:
    """Return whether a column tells what came of an impression, by name."""
    return bool(_AFTER_IMPRESSION.search(column.strip().lower()))


def label(sample: samples.Sample, taken: Iterable[str]) -> Label:
    """Return what says which rows are clicks."""
    names = [n for n in sample.table.column_names if n not in set(taken)]
    named = [(n, s) for n in names if (s := _score(n, _LABEL))]
    for name, score in sorted(named, key=lambda pair: -pair[1]):
        found = _label(name, sample.table[name], score)
        if found:
            return found
    if sample.parquet or sample.layout.header:
        return Label()
    for name in names:
        values = _values(sample.table[name])
        if values in ([0, 1], [-1, 1]) or values == [1, 2, 3, 4, 5]:
            found = _label(name, sample.table[name], 0)
            if found:
                return dataclasses.replace(found, trust="a guess")
    return Label()


def weight(sample: samples.Sample, taken: Iterable[str]) -> str:
    """Return the column with the weight of each row, or ""."""
    for name in sample.table.column_names:
        column = sample.table[name]
        number = pa.types.is_integer(column.type) or pa.types.is_floating(
            column.type
        )
        if name in set(taken) or not _WEIGHT.search(name.strip().lower()):
            continue
        if number and not column.null_count and pc.min(column).as_py() >= 0:
            return name
    return ""


def _label(name: str, column: pa.ChunkedArray, score: int) -> Label | None:
    values = _values(column)
    if _is_text(column.type):
        values = _truths(column)
    trust = "sure" if score >= 4 else "likely"
    if values and set(values) <= {0, 1}:
        return Label(name, None, trust)
    if values and set(values) <= {-1, 1}:
        return Label(name, 1, trust)
    if values and len(values) <= 11 and 0 <= values[0] and values[-1] <= 10:
        # Stars: four of five, eight of ten.
        return Label(name, 4 if values[-1] <= 5 else 8, "likely")
    return None


def _values(column: pa.ChunkedArray) -> list[float]:
    """Return the values of a column of few numbers, or none."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    number = pa.types.is_integer(column.type) or pa.types.is_floating(
        column.type
    )
    if not number:
        return []
    values = pc.unique(column.drop_null())
    return sorted(values.to_pylist()) if len(values) <= 20 else []


def _truths(column: pa.ChunkedArray) -> list[float]:
    """Return 0 and 1 if text is "true" and "false", or else nothing."""
    try:
        return _values(column.cast(pa.bool_()))
    except pa.ArrowInvalid:
        return []


def could_be_id(sample: samples.Sample, name: str) -> bool:
    """Return whether a column holds ids that come again."""
    column = sample.table[name]
    if not (pa.types.is_integer(column.type) or _is_text(column.type)):
        return False
    if _is_text(column.type):
        present = column.drop_null()
        length = pc.mean(pc.utf8_length(present)).as_py() or 0
        if length > 64 or pc.any(pc.match_substring(present, " ")).as_py():
            return False
    rows = len(column)
    return 1 < sample.distinct[name] and (
        sample.distinct[name] < 0.999 * rows or rows < 100
    )


def _is_text(dtype: pa.DataType) -> bool:
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype)


def _chosen(
    sample: samples.Sample, patterns: dict[str, int], taken: set[str], last: int
) -> Choice:
    """Return the best column by name; a score up to `last` is none at all."""
    names = [n for n in sample.table.column_names if n not in taken]
    ids = [
        n
        for n in names
        if not samples.is_list(sample.table[n].type) and could_be_id(sample, n)
    ]
    ids = ids or names
    ranked = sorted(ids, key=lambda n: -_score(n, patterns))
    scores = [_score(n, patterns) for n in ranked]
    by_size = sorted(ids, key=lambda n: -sample.distinct.get(n, 0))
    if not scores or scores[0] <= last:
        found = tuple(n for n in by_size if not known_later(n))[:6]
        return Choice(others=found)
    others = tuple(n for n, s in zip(ranked, scores, strict=True) if s)[1:4]
    clear = len(scores) == 1 or scores[0] > scores[1]
    trust = "sure" if scores[0] >= 4 and clear else "likely"
    return Choice(ranked[0], trust if scores[0] > 2 else "a guess", others)


def _score(name: str, patterns: dict[str, int]) -> int:
    lower = name.strip().lower()
    lower = re.sub(r"^(click|i|u)_", "", lower) if lower != "u_id" else lower
    return max(
        (s for p, s in patterns.items() if re.search(p, lower)), default=0
    )


def lists(sample: samples.Sample) -> dict | None:
    """Return the `explode` of a log whose rows hold lists of items, if any."""
    table = sample.table
    names = [n for n in table.column_names if samples.is_list(table[n].type)]
    shown = _named(names, r"in_?view|shown|impression|displayed|exposed|items$")
    clicked = _named(names, r"click")
    if shown and clicked and shown != clicked:
        return {"column": shown, "clicked": clicked}
    for name in table.column_names:
        if not _is_text(table[name].type):
            continue
        present = table[name].slice(0, 500).drop_null()
        if not len(present):
            continue
        for separator in (" ", ",", "|", ";"):
            for mark in ("-", ":", "_"):
                s, m = re.escape(separator), re.escape(mark)
                form = rf"^([^{s}]+{m}[01])({s}[^{s}]+{m}[01])*$"
                fits = pc.match_substring_regex(present, form)
                several = pc.match_substring(present, separator)
                if pc.all(fits).as_py() and pc.any(several).as_py():
                    return {
                        "column": name,
                        "separator": separator,
                        "label_separator": mark,
                    }
    return None


def _named(names: Sequence[str], pattern: str) -> str:
    return next((n for n in names if re.search(pattern, n.lower())), "")
