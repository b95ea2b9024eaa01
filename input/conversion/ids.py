"""Raw ids of logs as the int64 or text of their table, whatever files hold.

One id is written in one way: a whole number in a column of doubles is that
number, and text is compared with numbers as they are usually written. Where a
text such as "007" or "1.0" may or may not be meant to be a number, an error
asks.
"""

import decimal
import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import log_columns

# Stands between an id space and an id.
SPACE = ":"
# Bits of whole numbers that a type of floating point holds exactly.
_EXACT_BITS = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}
# Text that a whole number may be written as, and how it usually is.
_NUMBER = r"^\s*[+-]?(\d+(\.0*)?|\d+(\.\d*)?[eE][+-]?\d+)\s*$"
_USUAL = r"^(0|-?[1-9]\d*)$"
# Types that ids may have in files.
_TYPES = (
    pa.types.is_integer,
    pa.types.is_string,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_boolean,
    pa.types.is_date,
    pa.types.is_null,
)
# Texts, in lower case, that programs write where a value is missing; the last
# one stands for all devices that allow no advertising id.
_NO_IDS = (
    *("", "null", "none", "nan", "n/a", "na", "nil", "<na>", "undefined"),
    *("(null)", "#n/a", "-", "?", "unknown", "-1"),
    "00000000-0000-0000-0000-000000000000",
)
_WORDS = {"true": "1", "false": "0"}
_BOOL = "true or false, as what it is compared with"
# No id that is a number has more.
_DIGITS = 40


def read(
    column: log_columns.LogColumn, dtype: pa.DataType, space: str = ""
) -> pa.Array:
    """Return ids of the type of their table.

    Args:
      column: numbers or text; null and NaN are no id.
      dtype: int64 or string.
      space: the id space, if it is not the one that ids of the table belong
        to as they are.

    Returns:
      `dtype`; with a `space`, texts that begin with its name and a colon.

    Raises:
      ValueError: an id is not one of the type, is a number that a column of
        floating point does not hold exactly, or is written in two ways.
    """
    column = column.plain()
    should = f"ids of the type {dtype}, as `dtype` of the table says"
    if pa.types.is_integer(dtype):
        should += '; `dtype = "string"` takes all ids'
    if not any(is_type(column.type) for is_type in _TYPES):
        raise ValueError(
            f"{column.where}: {column} should hold ids: text or whole numbers. "
            f"It is {column.type}; write it as text."
        )
    if pa.types.is_floating(column.type):
        column = _whole(column)
    elif pa.types.is_decimal(column.type):
        whole = pa.decimal256(76, 0)
        column = column.cast(whole, "whole numbers, as ids are")
    if pa.types.is_string(column.type) and pa.types.is_integer(dtype):
        # Arrow takes "0x10" for 16.
        hexadecimal = pc.match_substring_regex(column.values, "^-?0[xX]")
        column.reject(pc.fill_null(hexadecimal, False), f"hold {should}")
        values = _array(column.cast(dtype, should))
        _reject_padding(column, values)
    else:
        values = _array(column.cast(dtype, should))
    if pa.types.is_string(dtype):
        broken = pc.match_substring(values, "\n")
        column.reject(pc.fill_null(broken, False), "hold ids of one line")
    if space:
        values = pc.binary_join_element_wise(space, values, SPACE)
    return values


def reject_missing(column: log_columns.LogColumn) -> None:
    """Raise a ValueError for a value that most likely stands for no id."""
    column = column.plain()
    if pa.types.is_string(column.type):
        texts = pc.utf8_lower(pc.utf8_trim_whitespace(column.values))
        bad = pc.is_in(texts, pa.array(_NO_IDS))
    elif pa.types.is_integer(column.type):
        bad = pc.fill_null(pc.equal(column.values, -1), False)
    else:
        return
    column.reject(
        bad,
        "hold an id in every row, and this is hardly one. Add it to "
        "`null_texts` of the log if it stands for a missing id; with any "
        "`null_texts` of your own such values may be ids",
    )


def comparable(
    left: log_columns.LogColumn, right: log_columns.LogColumn
) -> tuple[pa.Array, pa.Array]:
    """Return the values of two columns in one type, to compare them.

    Raises:
      ValueError: one holds text and the other numbers, and a text is a number
        that is written in another way than usual, such as "007" or "1.0".
    """
    columns = [_simple(left), _simple(right)]
    types = [column.type for column in columns]
    if types[0] == types[1]:
        return _array(columns[0]), _array(columns[1])
    if pa.bool_() in (left.type, right.type) and pa.string() in types:
        columns = [c.plain().cast(pa.bool_(), _BOOL) for c in (left, right)]
        return _array(columns[0]), _array(columns[1])
    if pa.string() not in types:
        columns = [column.cast(pa.float64()) for column in columns]
        return _array(columns[0]), _array(columns[1])
    for column, other in (columns, columns[::-1]):
        if pa.types.is_string(column.type):
            should = (
                f"be written as {other} is, which holds numbers, or as they "
                "usually are"
            )
            column.reject(_unusual(column.values), should)
    columns = [column.cast(pa.string()) for column in columns]
    return _array(columns[0]), _array(columns[1])


def alike(ids: pa.Array) -> list[tuple[str, str]]:
    """Return pairs of text ids that are one, written in two ways.

    Numbers may have zeros or a point, true and false are 1 and 0 to some
    programs, space around an id is seldom meant, and letters such as "é" may be
    one character or two.
    """
    unusual = ids.filter(_odd(ids)).to_pylist()
    usual = [_usual(text) for text in unusual]
    there = ids.filter(pc.is_in(ids, pa.array(usual, ids.type))).to_pylist()
    first = dict(zip(there, there, strict=True))
    pairs = []
    for text, id_ in zip(unusual, usual, strict=True):
        other = first.setdefault(id_, text)
        if other != text:
            pairs.append((text, other))
    return pairs


def forms(ids: pa.Array) -> pa.Array:
    """Return text ids as they are usually written; `alike` ones are equal."""
    odd = _odd(ids)
    usual = [_usual(text) for text in ids.filter(odd).to_pylist()]
    return pc.replace_with_mask(ids, odd, pa.array(usual, ids.type))


def _odd(ids: pa.Array) -> pa.Array:
    """Return which text ids are not as they are usually written."""
    trimmed = pc.utf8_normalize(pc.utf8_trim_whitespace(ids), "NFC")
    word = pc.is_in(pc.utf8_lower(trimmed), pa.array(list(_WORDS)))
    return pc.or_(_unusual(ids), pc.or_(word, pc.not_equal(trimmed, ids)))


def _usual(text: str) -> str:
    """Return an id as it is usually written."""
    bare = unicodedata.normalize("NFC", text.strip())
    bare = _WORDS.get(bare.lower(), bare)
    if not re.match(_NUMBER, bare, re.ASCII):
        return bare
    number = decimal.Decimal(bare)
    if number.adjusted() > _DIGITS or number != number.to_integral_value():
        return bare
    return str(int(number))


def _simple(column: log_columns.LogColumn) -> log_columns.LogColumn:
    """Return a column of int64, text, or numbers with fractions."""
    column = column.plain()
    if pa.types.is_floating(column.type):
        fraction = pc.not_equal(column.values, pc.floor(column.values))
        fraction = pc.and_(fraction, pc.is_finite(column.values))
        if pc.any(fraction).as_py():
            return column.cast(pa.float64())
        return _whole(column)
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return column.cast(pa.int64())
    if pa.types.is_decimal(column.type):
        try:
            return column.having(column.values.cast(pa.int64()))
        except pa.ArrowInvalid:
            return column.cast(pa.float64())
    return column.cast(pa.string())


def _whole(column: log_columns.LogColumn) -> log_columns.LogColumn:
    """Return floating-point ids as whole numbers; NaN is null."""
    values = column.values
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    limit = 2.0 ** _EXACT_BITS[column.type]
    missing = pc.is_nan(values)
    bad = pc.or_(
        pc.greater_equal(pc.abs(values), limit),
        pc.not_equal(values, pc.floor(values)),
    )
    bad = pc.and_(bad, pc.invert(missing))
    column.reject(
        pc.fill_null(bad, False),
        f"hold ids: text, or whole numbers below 2^{_EXACT_BITS[column.type]}, "
        f"which {column.type} holds exactly",
    )
    values = pc.if_else(missing, pa.scalar(None, values.type), values)
    return column.having(values.cast(pa.int64()))


def _reject_padding(column: log_columns.LogColumn, numbers: pa.Array) -> None:
    """Raise a ValueError if a number is there with and without zeros."""
    padded = pc.fill_null(
        pc.match_substring_regex(column.values, r"^-?0\d"), False
    )
    if not pc.any(padded).as_py():
        return
    texts = pc.count_distinct(column.values)
    if pc.count_distinct(numbers).as_py() < texts.as_py():
        raise column.error(
            pc.index(padded, True).as_py(),
            "hold each id in one way, but has ids with and without leading "
            'zeros. Write them alike, or set `dtype = "string"` of the table '
            "if they are different ids",
        )


def _unusual(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return where text is a number that is usually written otherwise."""
    number = pc.match_substring_regex(values, _NUMBER)
    usual = pc.match_substring_regex(values, _USUAL)
    return pc.fill_null(pc.and_(number, pc.invert(usual)), False)


def _array(column: log_columns.LogColumn) -> pa.Array:
    values = column.values
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    return values
