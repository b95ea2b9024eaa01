"""What was known before a row: sequences of clicks, counts, ages.

Users and items are keys: whole numbers from 0 in order of appearance. All
state is arrays that grow with the keys. A day, or a stretch of its time, goes
`start`, any number of look-ups, `end`; look-ups see clicks strictly before
their time (sequences) or nothing of the day (counts). Between two days
`arrays` gives the state, as little as there is of it, and `restore` takes it
back.

Shapes: N rows, M clicks of the stretch, T entries of a sequence, U users,
K keys, D days.
"""

import collections

import numpy as np
import numpy.typing as npt

from ecdctr_tf.input.conversion.key_arrays import grown, places, trimmed

# Bits that hold a second of the day.
_SECONDS = 17


class ClickHistory:
    """The newest clicks of every user.

    Args:
      max_length: T, clicks kept of a user.
      dtype: of item keys.
    """

    def __init__(self, max_length: int, dtype: npt.DTypeLike = np.int32):
        self._length = max_length
        self._items = np.zeros((0, max_length), dtype)  # [U, T]
        self._held = np.zeros(0, np.int32)  # [U]
        # Place of each user among those with clicks now, or -1.
        self._place = np.zeros(0, np.int32)  # [U]

    def start(
        self, user: np.ndarray, item: np.ndarray, second: np.ndarray
    ) -> None:
        """Take in the clicks of a stretch of a day.

        Args:
          user: int `[M]`, keys.
          item: int `[M]`, keys.
          second: int `[M]`, since the day began. Clicks of a user in the same
            second follow each other in order of item.
        """
        moment = self._moment(user, second)
        order = np.lexsort((item, moment))
        self._today = moment[order]
        user = self._today >> _SECONDS
        self._first = np.flatnonzero(_starts(user))
        self._users = user[self._first]
        rows = int(user.max(initial=-1)) + 1
        self._items = grown(self._items, rows, -1)
        self._held = grown(self._held, rows, 0)
        self._place = grown(self._place, len(self._held), -1)
        held = self._held[self._users]
        # Each of these users: the older clicks, then those of the stretch.
        counts = np.diff(np.append(self._first, len(user)))
        self._ends = np.cumsum(held + counts)
        self._begin = self._ends - counts - held
        self._place[self._users] = np.arange(len(self._users))
        self._clicks = np.empty(
            self._ends[-1] if len(user) else 0, self._items.dtype
        )
        older = np.repeat(self._begin + held, counts)
        today = np.arange(len(user)) - np.repeat(self._first, counts)
        self._clicks[older + today] = np.asarray(item)[order]
        used = np.arange(self._length) < held[:, None]
        place = (self._begin[:, None] + np.arange(self._length))[used]
        self._clicks[place] = self._items[self._users][used]

    def before(
        self, user: np.ndarray, second: np.ndarray, length: int
    ) -> np.ndarray:
        """Return the newest clicks strictly before a moment of the stretch.

        Args:
          user: int `[N]`, keys; unknown ones, which are -1, have no clicks.
          second: int `[N]`, of the day.
          length: entries wanted, at most T.

        Returns:
          `[N, length]`, item keys, the newest last, then -1.
        """
        out = np.full((len(user), length), -1, self._items.dtype)
        known = (user >= 0) & (user < len(self._place))
        place = np.append(self._place, -1)[np.where(known, user, -1)]
        rows = np.flatnonzero(known & (place < 0))
        flat, start = self._items.ravel(), user[rows] * np.int64(self._length)
        out[rows] = _newest(flat, start, self._held[user[rows]], length)
        rows = np.flatnonzero(place >= 0)
        place = place[rows]
        moment = self._moment(user[rows], second[rows])
        today = places(self._today, moment) - self._first[place]
        older = self._held[user[rows]]
        start = self._begin[place]
        out[rows] = _newest(self._clicks, start, older + today, length)
        return out

    def end(self) -> None:
        """Make the clicks of the stretch older clicks."""
        counts = self._ends - self._begin
        self._items[self._users] = _newest(
            self._clicks, self._begin, counts, self._length
        )
        self._held[self._users] = np.minimum(counts, self._length)
        self._place[self._users] = -1

    def arrays(self) -> dict[str, np.ndarray]:
        """Return `held` int32 `[U]`, clicks of each user, and their `items`."""
        held = trimmed(self._held, 0)
        used = np.arange(self._length) < held[:, None]  # [U, T]
        return {"held": held, "items": self._items[: len(held)][used]}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` returned."""
        self._held = arrays["held"]
        shape = (len(self._held), self._length)
        self._items = np.full(shape, -1, self._items.dtype)
        used = np.arange(self._length) < self._held[:, None]  # [U, T]
        self._items[used] = arrays["items"]
        self._place = np.full(len(self._held), -1, np.int32)

    def _moment(self, user: np.ndarray, second: np.ndarray | int) -> np.ndarray:
        return (np.asarray(user).astype(np.int64) << _SECONDS) | second


def _newest(
    flat: np.ndarray, start: np.ndarray, count: np.ndarray, length: int
) -> np.ndarray:
    """Return the last `length` of `count` values from a place on, then -1.

    Args:
      flat: the values.
      start: int `[N]`, places.
      count: int `[N]`.
      length: values wanted.

    Returns:
      `[N, length]`.
    """
    shorter = np.minimum(count, length)
    places = (start + count - shorter)[:, None] + np.arange(length)
    unused = np.arange(length) >= shorter[:, None]
    if not len(flat):
        return np.full(places.shape, -1, flat.dtype)
    found = flat.take(places, mode="clip")
    found[unused] = -1
    return found


def _starts(values: np.ndarray) -> np.ndarray:
    """Return where sorted values begin to be others."""
    return np.r_[True, values[1:] != values[:-1]][: len(values)]


def _counted(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct keys in order, which are not negative, and counts."""
    if keys.max(initial=0) < 4 * len(keys):
        counts = np.bincount(keys)
        keys = np.flatnonzero(counts)
        return keys, counts[keys]
    return np.unique(keys, return_counts=True)


def _merged(
    old: tuple[np.ndarray, np.ndarray], new: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of two counts, as sorted keys and counts above 0."""
    (keys, counts), (more, changes) = old, new
    if not len(keys):
        return new
    place = np.searchsorted(keys, more)
    fresh = np.append(keys, -1)[place] != more
    # A copy: what the past holds stays as it is.
    counts = counts.copy()
    counts[place[~fresh]] += changes[~fresh]
    if fresh.any():
        keys = np.insert(keys, place[fresh], more[fresh])
        counts = np.insert(counts, place[fresh], changes[fresh])
    kept = counts > 0
    return (keys, counts) if kept.all() else (keys[kept], counts[kept])


class DayCounts:
    """How often each key was seen on earlier days.

    Args:
      window_days: days that count; 0 for all.
    """

    def __init__(self, window_days: int = 0):
        self._window = window_days
        self._set(np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._today: tuple[np.ndarray, np.ndarray] | None = None
        self._days: collections.deque[tuple[int, np.ndarray, np.ndarray]] = (
            collections.deque()
        )

    def start_day(self, day: int) -> None:
        """Forget what lies before the window of a day."""
        while self._days and self._days[0][0] < day - self._window:
            _, keys, counts = self._days.popleft()
            self._set(*_merged((self._keys, self._counts), (keys, -counts)))

    def before(self, keys: np.ndarray) -> np.ndarray:
        """Return the counts of keys, int64 `[N]`; 0 for negative ones."""
        if not len(self._keys):
            return np.zeros(len(keys), np.int64)
        if self._dense is not None:
            # The last entry, a 0, stands for keys that are not there.
            return self._dense.take(
                np.where(keys < 0, len(self._dense), keys), mode="clip"
            )
        place = places(self._keys, keys)
        place = np.minimum(place, len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._counts[place], 0)

    def add(self, keys: np.ndarray) -> None:
        """Take in keys of the day's events; negative ones are passed over."""
        new = _counted(keys[keys >= 0])
        self._today = _merged(self._today, new) if self._today else new

    def end_day(self, day: int) -> None:
        """Count the events of the day as those of an earlier day."""
        if self._today is None:
            return
        self._set(*_merged((self._keys, self._counts), self._today))
        if self._window:
            self._days.append((day, *self._today))
        self._today = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return `keys` and `counts` `[K]`, and those of the window's days.

        Of the days: `days` and `sizes` (entries of each) `[D]`, `day_keys` and
        `day_counts` one day after the other. All are int64.
        """
        parts = list(zip(*self._days, strict=True)) or [(), (), ()]
        none = np.zeros(0, np.int64)
        return {
            "keys": self._keys,
            "counts": self._counts,
            "days": np.array(parts[0], np.int64),
            "sizes": np.array([len(keys) for keys in parts[1]], np.int64),
            "day_keys": np.concatenate([none, *parts[1]]),
            "day_counts": np.concatenate([none, *parts[2]]),
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` returned."""
        self._set(arrays["keys"], arrays["counts"])
        ends = np.cumsum(arrays["sizes"])
        # Behind the last end is nothing: a piece that `zip` leaves out.
        keys = np.split(arrays["day_keys"], ends)
        counts = np.split(arrays["day_counts"], ends)
        days = arrays["days"].tolist()
        self._days = collections.deque(zip(days, keys, counts, strict=False))

    def _set(self, keys: np.ndarray, counts: np.ndarray) -> None:
        self._keys, self._counts = keys, counts
        self._dense: np.ndarray | None = None
        if len(keys) and keys[-1] < 8 * len(keys):
            # Looked up at their place: several times as fast.
            self._dense = np.zeros(keys[-1] + 2, np.int64)
            self._dense[keys] = counts


class FirstSeen:
    """When each key had its first event."""

    _NEVER = np.iinfo(np.int64).max

    def __init__(self) -> None:
        self._first = np.zeros(0, np.int64)

    def start(self, keys: np.ndarray, times: np.ndarray) -> None:
        """Take in events of a stretch of a day; times in seconds."""
        rows = int(keys.max(initial=0)) + 1
        self._first = grown(self._first, rows, self._NEVER)
        known = keys >= 0
        np.minimum.at(self._first, keys[known], times[known])

    def hours(self, keys: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return the hours since the first event, float64 `[N]`.

        A first event at or after a row's time gives 0, so that a later event
        of the day says nothing; so does the key -1, which is unknown.
        """
        first = np.where(keys >= 0, self._first[keys], self._NEVER)
        return np.maximum(times - first, 0) / 3600

    def arrays(self) -> dict[str, np.ndarray]:
        """Return `first` int64 `[K]`, the second of each key's first event."""
        return {"first": trimmed(self._first, self._NEVER)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` returned."""
        self._first = arrays["first"]
