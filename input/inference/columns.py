"""What feature a column makes: its kind, table and side, or why it is none."""

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.inference import roles, samples

_PER_ROW = re.compile(r"impression|log_?id|session|request|trace|uuid|row_?id")
_ID = re.compile(
    r"_?id$|^id|code|type|cate|brand|level|class|tag|rank|group|gender|age$|"
    r"city|country|region|^c\d+$|^cat\d+$|device|status|flag|^is_|slot|site|app"
)
_NUMBER = re.compile(
    r"count|num|price|duration|width|height|score|bid|cnt|_ms$|days|times$|"
    r"length|size|amount|since|age_|ratio|rate$"
)
_COUNTED = re.compile(r"(^|_)(cnt|counts?|num|ctr|ratio|rate)($|_)")
_EVENTS = {"pv", "view", "click", "impression", "cart", "fav", "buy"}
_EVENTS |= {"purchase", "show", "exposure"}
EVENT_TYPE = (
    "the type of the event; say with `keep` of the log which types are "
    "impressions or clicks"
)
_POSITION = re.compile(r"(^|_)pos(ition)?$")
# The last one divides words, too.
_SEPARATORS = ("|", "^", ";", ",", " ")
_HISTORY = re.compile(
    r"hist|seq|click|seen|view|bought|items|articles|recent|last_"
)
# Most entries that are kept of a list.
_LONGEST = 50
# Share of the entries of a list of items that are items of the sample.
_ITEMS = 0.02
# Whole numbers of at most so many values are ids unless a name says otherwise.
_FEW = 200
# Share of the users or items that have one value of their own property.
_CONSTANT = 0.98
# A column of at most so many values may be the label once more.
_TELLING = 20
# A number of at least so many values may have heavy tails: where 99 % of the
# values span more than so many times what the middle half spans.
_NUMBERS, _HEAVY = 100, 8.0
# Whole numbers above are hashes, and so ids: a double does not tell them apart.
_AMOUNT = 2**53
# A weight that is a whole number is exact in 32 bits; times are not.
_WEIGHTS = 2**24
# A weight of a weighted id, such as the `0.7` of `sports:0.7`.
_WEIGHT = r"\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"


@dataclasses.dataclass(frozen=True)
class Decision:
    """What becomes of a column."""

    # "id", "ids", "weighted_ids", "sequence", "vector", "position" or "dense";
    # empty if it is left out.
    kind: str
    # Why, for the comment.
    why: str
    # "int64" or "string", of an id.
    dtype: str = ""
    # Stands between the entries of a text of several ids.
    separator: str = ""
    values: int = 0
    # Entries of the longest list; of a vector, of each.
    length: int = 0
    # Of a position: what requests are scored at.
    default: int = 0
    # Of a number: how it is scaled; empty: as usual.
    transform: str = ""


def decide(
    name: str,
    column: pa.ChunkedArray,
    click: np.ndarray | None,
    text: bool = False,
) -> Decision:
    """Return what becomes of a column of a sample.

    Args:
      name: the column.
      column: its values.
      click: whether each row is a click, bool; None if that is not known.
      text: whether the file is text, in which ids have no decimal point.
    """
    present = column.drop_null()
    rows, distinct = len(column), 0
    if not len(present):
        return Decision("", "no value in the sample")
    if roles.known_later(name):
        return Decision("", "seems to be known only after the impression")
    if samples.is_list(column.type):
        return _of_lists(present)
    if pa.types.is_temporal(column.type):
        return Decision("", "a time")
    distinct = len(pc.unique(present))
    if distinct == 1 and len(present) == rows:
        return Decision("", f"the same in all rows: {present[0].as_py()!r:.40}")
    if click is not None and _only_with_clicks(column, click):
        return Decision("", "there only where there was a click")
    if click is not None and _tells_click(column, click):
        return Decision("", "tells the click: no value has both labels")
    if pa.types.is_boolean(column.type):
        return Decision("id", "true or false", "int64", values=distinct)
    if pa.types.is_floating(column.type):
        if distinct <= 20 and _whole(present) and not text:
            return Decision("id", "few whole numbers", "int64", "", distinct)
        return _of_numbers(present, "numbers")
    if pa.types.is_integer(column.type):
        if _POSITION.search(name.strip().lower()) and distinct <= _FEW:
            return Decision(
                "position",
                "a position, and requests are scored at its `default`",
                "int64",
                values=distinct,
                default=pc.min(present).as_py(),
            )
        return _of_integers(name, present, rows, distinct)
    if pa.types.is_string(column.type):
        return _of_text(name, present, rows, distinct)
    return Decision("", f"of type {column.type}")


def counted(name: str) -> bool:
    """Return whether a column of a joined file holds counts, by its name.

    Such files are usually made at the end: their counts know all days.
    """
    return bool(_COUNTED.search(name.strip().lower()))


def _of_numbers(present: pa.ChunkedArray, why: str) -> Decision:
    """Return a number, and how it is scaled if it has heavy tails."""
    values = present.cast(pa.float64(), safe=False).to_numpy()
    values = values[np.isfinite(values)]
    if len(values) < _NUMBERS or not _heavy(values):
        return Decision("dense", why)
    why += " with heavy tails"
    if _heavy(np.sign(values) * np.log1p(np.abs(values))):
        why += ", also as logarithms. The transform is a guess"
        return Decision("dense", why, transform="quantiles")
    why += ", which logarithms do not have. The transform is likely right"
    return Decision("dense", why, transform="log1p")


def _heavy(values: np.ndarray) -> bool:
    """Return whether values have heavy tails.

    A normal distribution has 3.8 where an exponential one has 4.8 and the
    exponential of a normal one 8.9.
    """
    shares = (0.005, 0.25, 0.75, 0.995)
    low, first, third, high = np.quantile(values, shares)
    return bool(high - low > _HEAVY * (third - first))


def _of_integers(
    name: str, present: pa.ChunkedArray, rows: int, distinct: int
) -> Decision:
    lower = name.strip().lower()
    if distinct > 0.9 * rows and rows > 50 or _PER_ROW.search(lower):
        return Decision("", "nearly one value a row")
    number = _NUMBER.search(lower) and not _ID.search(lower)
    if number and distinct > 20:
        return _of_numbers(present, "whole numbers, by the name an amount")
    named = bool(_ID.search(lower))
    if distinct > _FEW and not named and distinct > 0.3 * rows:
        if max(map(abs, pc.min_max(present).as_py().values())) <= _AMOUNT:
            return _of_numbers(present, "many whole numbers (a guess)")
    trust = "" if named or distinct <= _FEW else "; a guess"
    return Decision("id", f"whole numbers{trust}", "int64", "", distinct)


def _of_text(
    name: str, present: pa.ChunkedArray, rows: int, distinct: int
) -> Decision:
    words = pc.mean(pc.count_substring(present, " ")).as_py()
    length = pc.mean(pc.utf8_length(present)).as_py()
    weighted = _weighted(present)
    if weighted is not None:
        return weighted
    many = distinct > 0.5 * rows and rows > 50
    if many and (length > 40 or words >= 2) or length > 200:
        return Decision("", "free text")
    if distinct > 0.9 * rows and rows > 50 or _PER_ROW.search(name.lower()):
        return Decision("", "nearly one value a row")
    values = pc.unique(present.slice(0, 1_000)).to_pylist()
    if distinct <= 10 and len(_EVENTS.intersection(values)) > 1:
        return Decision("", EVENT_TYPE)
    separator = _separator(present)
    if not separator:
        return Decision("id", "text", "string", "", distinct)
    lists = pc.split_pattern(present, separator)
    why = f"several values, divided by {separator!r}"
    return _of_ids(lists, "string", why, separator)


def _weighted(present: pa.ChunkedArray) -> Decision | None:
    """Return what becomes of text of ids with a weight each, or None.

    Pairs of whole numbers may be other things, such as times: they count only
    if there are several in a text, and more ids than weights.
    """
    texts = present.filter(pc.not_equal(present, ""))
    for separator in _SEPARATORS if len(texts) else ():
        mark = re.escape(separator)
        pair = rf"\s*[^:{mark}]+:\s*{_WEIGHT}\s*"
        whole = rf"^{pair}(?:{mark}{pair})*$"
        if not pc.all(pc.match_substring_regex(texts, whole)).as_py():
            continue
        lists = pc.split_pattern(texts, separator)
        pairs = pc.split_pattern(pc.list_flatten(lists), ":")
        ids, weights = (
            pc.unique(pc.utf8_trim_whitespace(pc.list_element(pairs, i)))
            for i in (0, 1)
        )
        several = pc.max(pc.list_value_length(lists)).as_py() > 1
        fractions = pc.any(pc.match_substring(weights, ".")).as_py()
        if not fractions and not (several and len(ids) > len(weights)):
            return None
        trust = "likely" if fractions and several else "a guess"
        made = _of_ids(lists, "string", "", separator)
        return dataclasses.replace(
            made,
            kind="weighted_ids",
            why=f"ids with a weight each, such as {texts[0].as_py()!r:.40}: "
            f"{trust}",
            dtype=_id_type(ids),
            values=len(ids),
        )
    return None


def _id_type(ids: pa.Array | pa.ChunkedArray) -> str:
    return "int64" if pa.types.is_integer(samples.typed(ids).type) else "string"


def _of_lists(present: pa.ChunkedArray) -> Decision:
    """Return what becomes of Arrow lists."""
    entries = pc.list_flatten(present).combine_chunks()
    lengths = pc.unique(pc.list_value_length(present))
    if pa.types.is_floating(entries.type):
        if len(lengths) == 1 and lengths[0].as_py() > 0:
            length = lengths[0].as_py()
            return Decision("vector", "lists of numbers", length=length)
        return Decision("", "lists of numbers of several lengths")
    if pa.types.is_struct(entries.type) and entries.type.num_fields == 2:
        ids, weights = (pc.struct_field(entries, i) for i in (0, 1))
        made = _of_ids(present, "", "pairs of id and weight: likely", "")
        text = pa.types.is_string(ids.type)
        if (text or pa.types.is_integer(ids.type)) and _are_weights(
            weights.filter(entries.is_valid())
        ):
            return dataclasses.replace(
                made,
                kind="weighted_ids",
                dtype="string" if text else "int64",
                values=len(pc.unique(ids)),
            )
    text = pa.types.is_string(entries.type)
    if not (text or pa.types.is_integer(entries.type)) or not len(entries):
        return Decision("", f"lists of {entries.type}")
    return _of_ids(present, "string" if text else "int64", "lists", "")


def _are_weights(values: pa.Array) -> bool:
    """Return whether all numbers can be weights, as times cannot."""
    if pa.types.is_integer(values.type):
        most = float(_WEIGHTS)
    elif pa.types.is_floating(values.type):
        most = float(np.finfo(np.float32).max)
    else:
        return False
    if values.null_count:
        return False
    found = values.to_numpy()
    return bool(((found >= 0) & (found <= most)).all())


def _of_ids(
    lists: pa.ChunkedArray, dtype: str, why: str, separator: str
) -> Decision:
    longest = pc.max(pc.list_value_length(lists)).as_py()
    entries = pc.list_flatten(lists)
    nested = pa.types.is_nested(entries.type)
    values = 0 if nested else len(pc.unique(entries))
    length = min(max(longest, 1), _LONGEST)
    return Decision("ids", why, dtype, separator, values, length)


def history(
    name: str, column: pa.ChunkedArray, items: pa.ChunkedArray
) -> Decision | None:
    """Return what becomes of a column that lists items, or None.

    Args:
      name: the column.
      column: text, or lists.
      items: the items of the log.
    """
    if pa.types.is_integer(items.type) and not _HISTORY.search(name.lower()):
        return None  # Small whole numbers are alike by chance.
    present, known = column.drop_null(), pc.unique(items.drop_null())
    for separator in _SEPARATORS if pa.types.is_string(column.type) else ("",):
        lists = present
        if separator:
            divided = pc.match_substring(present, separator)
            if not pc.any(divided).as_py():
                continue
            lists = pc.split_pattern(present, separator)
        elif not pa.types.is_list(lists.type):
            return None
        entries = pc.unique(pc.list_flatten(lists))
        shared = pc.is_in(entries.cast(pa.string()), known.cast(pa.string()))
        if len(entries) and pc.sum(shared).as_py() >= _ITEMS * len(entries):
            why = (
                "a list of items; add `newest_first = true` if the newest "
                "comes first"
            )
            made = _of_ids(lists, "", why, separator)
            return dataclasses.replace(made, kind="sequence")
    return None


def _separator(present: pa.ChunkedArray) -> str:
    """Return what divides texts into entries that come again, or ""."""
    distinct = pc.unique(present)
    for separator in _SEPARATORS[:-1]:
        divided = pc.match_substring(present, separator)
        if pc.mean(divided.cast(pa.int8())).as_py() < 0.05:
            continue
        parts = pc.list_flatten(pc.split_pattern(distinct, separator))
        brackets = pc.match_substring_regex(distinct, r"[\[\(\{]")
        if pc.any(brackets).as_py():
            continue  # A range such as [100,1k).
        if len(pc.unique(parts)) < 0.7 * len(parts):
            return separator
    return ""


def _whole(present: pa.ChunkedArray) -> bool:
    values = present.to_numpy()
    return bool(np.all(values == np.floor(values)))


def _only_with_clicks(column: pa.ChunkedArray, click: np.ndarray) -> bool:
    there = pc.is_valid(column).to_numpy()
    return bool(
        (~click).sum() >= 50 and not there[~click].any() and there[click].any()
    )


def _tells_click(column: pa.ChunkedArray, click: np.ndarray) -> bool:
    """Return whether few values tell for sure which rows are clicks."""
    codes = _codes(column)
    rows = np.bincount(codes)
    clicks = np.bincount(codes, click)
    return bool(
        len(rows) <= _TELLING
        and min(clicks.sum(), rows.sum() - clicks.sum()) >= 50
        and np.all((clicks == 0) | (clicks == rows))
    )


def side(
    column: pa.ChunkedArray, user: pa.ChunkedArray, item: pa.ChunkedArray
) -> str:
    """Return whose property a column is: "user", "item" or "context"."""
    codes = _codes(column)
    for name, owner in (("user", user), ("item", item)):
        owners = _codes(owner)
        pairs = np.unique(np.stack([owners, codes]), axis=1)
        counts = np.bincount(owners)
        seen = np.bincount(pairs[0], minlength=len(counts))
        several = counts > 1
        if several.sum() >= 5 and np.mean(seen[several] == 1) >= _CONSTANT:
            return name
    return "context"


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    encoded = column.combine_chunks().dictionary_encode("encode")
    return encoded.indices.to_numpy(False).astype(np.int64)
