"""Values that come from files: checked where they enter, written without NaN.

Specs, manifests and configs are dataclasses on one side and JSON or TOML on the
other. What is read may have been edited by hand or damaged, so each value is
compared with the type of the field that takes it.
"""

import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import types
import typing
from collections.abc import Callable, Iterator

Entry = typing.TypeVar("Entry")
# In a table that is sealed, the key of the hash of all others.
HASH = "sha256"
# What is said of one whose hash is not its own.
EDITED = "It is damaged or was edited: it no longer says what was published."

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
    types.NoneType: "null",
}


def to_json(value: object, what: str, indent: int | None = 1) -> str:
    """Return a value as JSON text with a line break at its end.

    Args:
      value: of dicts, lists, texts and finite numbers.
      what: named in errors, such as "the manifest".
      indent: spaces a level; None writes one line.

    Raises:
      ValueError: a number is NaN or infinite, which JSON cannot hold.
    """
    for place, number in _numbers(value, ()):
        if not math.isfinite(number):
            raise ValueError(
                f"`{'.'.join(place)}` of {what} should be a finite number. "
                f"Received: {number}"
            )
    return json.dumps(value, indent=indent, allow_nan=False) + "\n"


def from_json(text: str | bytes) -> typing.Any:
    """Return the value of a JSON text.

    Raises:
      ValueError: it is not JSON, holds NaN or infinity, or is nested too deep.
    """
    try:
        return json.loads(text, parse_constant=_reject, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("Its values are nested too deeply.") from error


def sealed(said: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """Return a table of JSON values with a hash of all that it says."""
    return {**said, HASH: _hash(said)}


def is_edited(said: dict[str, typing.Any]) -> bool:
    """Take the hash from a table; return whether it is of something else.

    Tables that older versions wrote have none.
    """
    return HASH in said and said.pop(HASH) != _hash(said)


def _hash(said: dict[str, typing.Any]) -> str:
    text = json.dumps(said, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_list(
    path: pathlib.Path,
    make_entry: Callable[[typing.Any], Entry],
    what: str,
    advice: str,
) -> list[Entry]:
    """Return the entries of a JSON file that holds a list.

    Args:
      path: the file; where there is none, there are no entries.
      make_entry: makes an entry of its JSON value, or raises a ValueError.
      what: what the file should hold, such as "data specs"; for errors.
      advice: what to do about a damaged file, a sentence.

    Raises:
      ValueError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        entries = from_json(path.read_text("utf-8"))
        check("The file", list, entries)
        return [make_entry(entry) for entry in entries]
    except ValueError as error:
        raise ValueError(
            f"{path} does not hold {what}: {str(error).rstrip('.')}. {advice}"
        ) from error


def make(kind: type, owner: str, given: dict) -> typing.Any:
    """Return a dataclass from values whose types are checked.

    Lists become tuples where the field is a tuple.

    Args:
      kind: a dataclass; nested dataclasses have to be made before.
      owner: named in errors, such as "[[tables]]".
      given: field -> value.

    Raises:
      ValueError: a field is unknown, missing or of another type.
    """
    check(owner, dict, given)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise ValueError(
            f"{owner} has unknown keys: {', '.join(unknown)}. The known "
            f"keys are {', '.join(fields)}."
        )
    missing = sorted(
        name
        for name, field in fields.items()
        if field.default is field.default_factory is dataclasses.MISSING
        and name not in given
    )
    if missing:
        raise ValueError(f"{owner} lacks {', '.join(missing)}.")
    types_ = _hints(kind)
    for name, value in given.items():
        check(f"`{name}` of {owner}", types_[name], value)
    return kind(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
        }
    )


def check(what: str, expected: typing.Any, value: object) -> None:
    """Raise a ValueError unless a value is of a type.

    Args:
      what: named in the error.
      expected: a type, such as `int | None`, `tuple[str, ...]` or
        `dict[str, int]`.
      value: the value; lists are accepted for tuples.
    """
    if not _fits(expected, value):
        raise ValueError(
            f"{what} should be {described(expected)}. Received: {_short(value)}"
        )


def _fits(expected: typing.Any, value: object) -> bool:
    if expected in (str, bool):  # Most are.
        return isinstance(value, expected)
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(one, value) for one in arguments)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(
            _fits(arguments[0], entry) for entry in value
        )
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(arguments[0], key) and _fits(arguments[1], entry)
            for key, entry in value.items()
        )
    if expected is typing.Any:
        return True
    if expected is float:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
        )
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, expected)


def described(expected: typing.Any) -> str:
    """Return what values of a type are called in messages."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(described(one) for one in arguments)
    if origin is tuple:
        return f"a list whose entries are {described(arguments[0])}"
    if origin is dict and arguments[1] is not typing.Any:
        return f"a table whose values are {described(arguments[1])}"
    return _WORDS.get(origin or expected) or f"a {expected.__name__}"


@functools.cache
def _hints(kind: type) -> dict:
    return typing.get_type_hints(kind)


def _numbers(
    value: object, place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield place and value of each float inside of a value."""
    if isinstance(value, float):
        yield place, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _numbers(entry, (*place, str(key)))
    elif isinstance(value, list | tuple):
        for i, entry in enumerate(value):
            yield from _numbers(entry, (*place, str(i)))


def _finite(text: str) -> float:
    """Return a number; JSON may hold one that is too large to be finite."""
    number = float(text)
    return number if math.isfinite(number) else _reject(text)


def _reject(text: str) -> typing.NoReturn:
    raise ValueError(f"{text} is not a number that JSON can hold.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
