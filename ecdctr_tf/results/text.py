"""Numbers as people read them, and as JSON."""

import json
import math
from collections.abc import Mapping

NOTHING = "\N{EN DASH}"
WITHIN = "within the noise"


def number(value: float | None, digits: int = 4) -> str:
    """Return `0.1234`, or a dash for None."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """Return `12,345`, or a dash for None."""
    return NOTHING if value is None else f"{value:,.0f}"


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share in [0, 1] as `12 %`, or a dash for None."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def estimate(of: Mapping) -> str:
    """Return `0.1234 [0.1200, 0.1300]`.

    Args:
      of: the fields of a `metrics.Estimate`.
    """
    if of["mean"] is None or of["low"] is None:
        return number(of["mean"])
    return f"{of['mean']:.4f} [{of['low']:.4f}, {of['high']:.4f}]"


def difference(of: Mapping) -> str:
    """Return `+0.0123 [+0.0100, +0.0150]`, and whether that may be chance.

    Args:
      of: the fields of a `metrics.Difference`.
    """
    if of["mean"] is None:
        return NOTHING
    shown = f"{of['mean']:+.4f}"
    if of["low"] is not None:
        shown += f" [{of['low']:+.4f}, {of['high']:+.4f}]"
    return shown if of["significant"] else f"{shown} {WITHIN}"


def duration(seconds: float | None) -> str:
    """Return seconds as `42.0 s`, `3 min 05 s` or `2 h 07 min`."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def plural(number_of: int, noun: str) -> str:
    """Return `1 day`, `2 days`."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def sentence(words: str) -> str:
    """Return words as a sentence: a capital at the front, a period."""
    return f"{words[0].upper()}{words[1:]}."


def to_json(values: object) -> str:
    """Return values as JSON text, null for numbers that are undefined."""
    return json.dumps(_defined(values), indent=1, allow_nan=False) + "\n"


def _defined(values: object) -> object:
    if isinstance(values, dict):
        return {name: _defined(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_defined(value) for value in values]
    if isinstance(values, float) and not math.isfinite(values):
        return None
    return values
