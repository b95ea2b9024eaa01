"""The rows that a day's events make: as given, or clicks and drawn negatives.

An impression is two places among the events: the one whose context it has
(user, time and so on) and the one whose item it has. For a log of impressions
the two are the same.

Shapes: N impressions, k negatives a click.
"""

import dataclasses

import numpy as np

from ecdctr_tf.input.conversion import encoding, negatives, past_spec


@dataclasses.dataclass
class Impressions:
    """The impressions of a day of a domain."""

    # Columns of the events: those of the stretch, for drawn negatives behind
    # the last ones before it.
    events: dict[str, np.ndarray]
    # Place of the first event of the stretch.
    first: int
    # int `[N]`, places among the events; `context` never falls.
    context: np.ndarray
    item: np.ndarray
    # uint8 `[N]`, 0 or 1.
    click: np.ndarray

    def __len__(self) -> int:
        """Return N."""
        return len(self.click)

    def new_events(self) -> dict[str, np.ndarray]:
        """Return the columns of the events of the stretch."""
        return {name: c[self.first :] for name, c in self.events.items()}


def given(events: dict[str, np.ndarray]) -> Impressions:
    """Return the impressions of a log that holds them."""
    places = np.arange(len(events[encoding.CLICK]))
    return Impressions(events, 0, places, places, events[encoding.CLICK])


def with_drawn(
    pool: dict[str, np.ndarray],
    first: int,
    clicks: np.ndarray,
    drawn: np.ndarray,
) -> Impressions:
    """Return the impressions of clicks and their negatives.

    Args:
      pool: columns of the events, those of the stretch behind others.
      first: place of the first event of the stretch.
      clicks: int, places of the clicks that get negatives.
      drawn: int `[., k]`, as `negatives.draw` returns them.
    """
    places = np.concatenate([clicks[:, None], drawn], 1)  # [., 1 + k]
    labels = np.zeros(places.shape, np.uint8)
    labels[:, 0] = 1
    context = np.repeat(clicks, places.shape[1])
    there = places.ravel() >= 0
    return Impressions(
        pool,
        first,
        context[there],
        places.ravel()[there],
        labels.ravel()[there],
    )


def earliest_midnight(events: dict[str, np.ndarray]) -> int:
    """Return the earliest end that the day of the last event may have."""
    time, second = events[encoding.TIME], events[encoding.SECOND]
    # The shortest day, when clocks go forward, has 23 hours.
    return time[-1] - second[-1] + 23 * 3600


class Sampler:
    """Makes impressions of clicks, day after day of one domain.

    Args:
      rule: how negatives are drawn.
      stream: number of the domain, part of the seed.
    """

    def __init__(self, rule: past_spec.Negatives, stream: int):
        self._rule = rule
        self._stream = stream
        self._tail: dict[str, np.ndarray] = {}
        # Clicks of the day that got negatives.
        self._done = 0

    def impressions(
        self,
        events: dict[str, np.ndarray],
        seen: negatives.SeenPairs,
        day: int,
    ) -> Impressions:
        """Return the impressions of the clicks of a stretch of a day.

        Args:
          events: the clicks, in order of time.
          seen: the pairs clicked, those of the stretch included.
          day: days since 1970-01-01.
        """
        first = len(self._tail.get(encoding.TIME, ()))
        pool = events
        if first:
            # Clicks of before there were sources have none.
            none = np.zeros(first, np.uint8)
            pool = {
                name: np.concatenate([self._tail.get(name, none), column])
                if name == encoding.SOURCE
                else np.concatenate([self._tail[name], column])
                for name, column in events.items()
            }
        clicks = np.arange(first, len(pool[encoding.TIME]))
        if self._rule.drop_reclicks:
            again = negatives.reclicks(
                events[encoding.USER],
                events[encoding.ITEM],
                events[encoding.TIME],
                seen,
            )
            clicks = clicks[~again]
        stream = (day, self._stream)
        drawn = negatives.draw(
            pool, clicks, seen, self._rule, stream, self._done
        )
        self._done += len(clicks)
        self._tail = pool
        self._keep_tail(min(pool[encoding.TIME][-1], self._midnight()))
        return with_drawn(pool, first, clicks, drawn)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the columns of the clicks kept for tomorrow."""
        # A prefix, since a column may have the name of an argument of savez.
        return {f"tail/{name}": column for name, column in self._tail.items()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` returned."""
        self._tail = {n.removeprefix("tail/"): c for n, c in arrays.items()}

    def end_day(self) -> None:
        """Keep the clicks that tomorrow's negatives may be drawn from."""
        self._done = 0
        if len(self._tail.get(encoding.TIME, ())):
            self._keep_tail(self._midnight())

    def _midnight(self) -> int:
        return earliest_midnight(self._tail)

    def _keep_tail(self, moment: int) -> None:
        """Keep the clicks that may be drawn at a moment or later."""
        late = self._tail[encoding.TIME] >= moment - self._rule.window_seconds
        self._tail = {name: column[late] for name, column in self._tail.items()}
