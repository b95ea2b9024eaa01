"""Where rows of delimited text end: at line breaks outside quoted fields."""

import re

import numpy as np

_BREAK = b"\n"


class MalformedError(ValueError):
    """A quoted field does not end as it should; `place` is its first byte."""

    def __init__(self, place: int):
        super().__init__(f"The quote at byte {place} is not closed.")
        self.place = place


def end_of_rows(
    data: bytes, delimiter: bytes, quote: bytes, escape: bytes
) -> tuple[int, int | None]:
    """Return where the last whole row ends, and the place of an open quote.

    Args:
      data: begins with a row; lines end in a line feed.
      delimiter: one byte.
      quote: one byte, or none if quotes mean nothing.
      escape: the byte that takes the meaning from the next one, or none.

    Returns:
      The number of bytes of whole rows, and how many bytes behind them the
      quote is that is not closed yet, or None.

    Raises:
      MalformedError: a closing quote is followed by more of the field.
    """
    if not quote or quote not in data:
        return data.rfind(_BREAK) + 1, None
    if escape:
        data = re.sub(re.escape(escape) + b".", b"__", data, flags=re.DOTALL)
    places = _quotes(data, delimiter, quote)
    end = data.rfind(_BREAK)
    # Of an odd number of quotes before it the last one is open there.
    while (before := np.searchsorted(places, end)) % 2:
        end = data.rfind(_BREAK, 0, places[before - 1])
    end += 1
    return end, int(places[-1]) - end if len(places) % 2 else None


def _quotes(data: bytes, delimiter: bytes, quote: bytes) -> np.ndarray:
    """Return the places of opening and closing quotes, in turn."""
    codes = np.frombuffer(_BREAK + data + _BREAK, np.uint8)
    places = np.flatnonzero(codes == ord(quote)) - 1
    begins, ends = (
        (sign == ord(_BREAK)) | (sign == ord(delimiter))
        for sign in (codes[places], codes[places + 2])
    )
    doubled = np.diff(places) == 1
    opens = begins | np.r_[False, doubled]
    closes = ends | np.r_[doubled, False]
    if opens[::2].all() and closes[1::2].all():
        return places
    return _one_by_one(places, begins, ends, doubled)


def _one_by_one(
    places: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    doubled: np.ndarray,
) -> np.ndarray:
    """Do as `_quotes` where quotes also stand in fields without quotes."""
    found: list[int] = []
    skip = False
    rows = zip(places, begins, ends, np.r_[doubled, False], strict=True)
    for place, begin, end, double in rows:
        if skip:
            skip = False
        elif len(found) % 2 == 0:
            if begin:
                found.append(place)
        elif double:
            skip = True
        elif end:
            found.append(place)
        else:
            raise MalformedError(int(found[-1]))
    return np.array(found, np.int64)
