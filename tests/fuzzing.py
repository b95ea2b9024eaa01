"""Inputs that are nearly right: mutations of bytes, and of values in JSON."""

import contextlib
import copy
import json
import random
import signal
from collections.abc import Callable, Iterator

# What no field expects, or only some.
ODD = (
    None,
    True,
    0,
    -1,
    1 << 70,
    0.5,
    1e308,
    "",
    "é\0\n",
    "x" * 3000,
    "2024-02-30",
    "../../etc",
    "\ud800",
    [],
    [None],
    {},
    {"": {}},
    [[[[[1]]]]],
)
_NUMBERS = (b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 400, b"[" * 3000)
# No reader takes so many seconds for an input of some kilobytes.
SECONDS = 60


def of_bytes(random_: random.Random, whole: bytes) -> bytes:
    """Return a text or file with one to three faults."""
    found = bytearray(whole)
    for _ in range(random_.randint(1, 3)):
        place = random_.randrange(len(found) + 1)
        size = random_.choice((1, 1, 2, 4, 50))
        kind = random_.randrange(7)
        if kind == 0 and found:
            found[place % len(found)] ^= 1 << random_.randrange(8)
        elif kind == 1:
            del found[place : place + size]
        elif kind == 2:
            found[place:place] = random_.randbytes(size)
        elif kind == 3:
            found[place:place] = found[place : place + size]
        elif kind == 4:
            del found[place:]
        elif kind == 5:
            other = random_.randrange(len(found) + 1)
            found[place : place + size] = found[other : other + size]
        else:
            found[place : place + size] = random_.choice(_NUMBERS)
    return bytes(found)


def of_json(random_: random.Random, whole: object) -> object:
    """Return a value of JSON with one or two faults."""
    found = copy.deepcopy(whole)
    for _ in range(random_.randint(1, 2)):
        holders = [h for h in _holders(found) if h]
        if not holders:
            return random_.choice(ODD)
        holder = random_.choice(holders)
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = random_.choice(keys)
        kind = random_.randrange(5)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[random_.choice(("", "colour", "x" * 50))] = holder[key]
        elif kind == 2:
            other = random_.choice(holders)
            keys = other if isinstance(other, dict) else range(len(other))
            holder[key] = copy.deepcopy(other[random_.choice(list(keys))])
        else:
            holder[key] = copy.deepcopy(random_.choice(ODD))
    return found


def of_text(random_: random.Random, text: str) -> bytes:
    """Return a JSON text with faults of either kind."""
    if random_.random() < 0.5:
        return of_bytes(random_, text.encode())
    mutated = json.dumps(of_json(random_, json.loads(text)))
    return mutated.encode()


def _holders(value: object) -> Iterator[dict | list]:
    """Yield each table and list in a value of JSON."""
    if isinstance(value, dict | list):
        yield value
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _holders(entry)


class HangError(Exception):
    """An input takes too long."""


@contextlib.contextmanager
def alarm() -> Iterator[Callable[[], None]]:
    """Raise a `HangError` where an input takes `SECONDS`.

    Yields:
      A function that starts the clock again.
    """

    def hang(number: int, frame: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, hang)
    try:
        yield lambda: signal.alarm(SECONDS)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
