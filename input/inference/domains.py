"""Which logs are natural and which are ads."""

import dataclasses
import re

import pyarrow as pa
import pyarrow.compute as pc

_ADS = re.compile(
    r"(?<![a-z])(ads?|adv|advert\w*|sponsor\w*|promo\w*|target|banners?|"
    r"displays?|raw_sample|creatives?)(?![a-z])"
)
_NATURAL = re.compile(
    r"(?<![a-z])(feeds?|natural|organic|content|behaviou?rs?|news|articles?|"
    r"standard|clicks|random|videos?)(?![a-z])"
)
_AD_VALUE = r"(?i)^(ads?|advert\w*|sponsored|promoted|promotion|paid)$"
_AD_FLAG = re.compile(r"^is_(ads?|sponsored|promoted)$|(^|_)ad_flag$")


@dataclasses.dataclass(frozen=True)
class Split:
    """A column whose values tell ads from natural rows."""

    column: str
    ads: list


def hint(path: str, of_ads: bool) -> str:
    """Return "natural", "ads" or "", as a path and its item say.

    Args:
      path: relative to the directory of the logs.
      of_ads: whether the column of the item has the name of one of ads.
    """
    lower = path.lower()
    ads, natural = _ADS.search(lower), _NATURAL.search(lower)
    if ads and natural:
        return "ads" if ads.start() > natural.start() else "natural"
    if ads or natural:
        return "ads" if ads else "natural"
    return "ads" if of_ads else ""


def split(table: pa.Table) -> Split | None:
    """Return the column that tells ads from natural rows, if there is one."""
    for name in table.column_names:
        column = table[name]
        number = pa.types.is_integer(column.type) or pa.types.is_boolean(
            column.type
        )
        if number and _AD_FLAG.search(name.lower()):
            if len(pc.unique(column.drop_null())) == 2:
                one = True if pa.types.is_boolean(column.type) else 1
                return Split(name, [one])
        if not pa.types.is_string(column.type):
            continue
        values = pc.unique(column.drop_null())
        if 2 <= len(values) <= 20:
            found = values.filter(pc.match_substring_regex(values, _AD_VALUE))
            if 0 < len(found) < len(values):
                return Split(name, found.to_pylist())
    return None
