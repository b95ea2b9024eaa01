"""History of both domains through the days, and the columns of rows.

Everything here is causal: sequences hold clicks strictly before a row's time,
counts hold events of days before the row's day, ages look back to the item's
first event.

Shapes: N rows, T entries of a sequence.
"""

from concurrent import futures

import numpy as np
import numpy.typing as npt

from ecdctr_tf import features, kinds
from ecdctr_tf.input.conversion import (
    encoding,
    history_features,
    impressions,
    negatives,
    past_spec,
    toml_spec,
)


class RowFeatures:
    """The state behind sequences, counts and ages.

    Args:
      spec: says which there are.
      encoder: the keys and rows of the events.
    """

    def __init__(
        self,
        spec: toml_spec.ConversionSpec,
        encoder: encoding.Encoder,
    ):
        self._spec = spec
        self._encoder = encoder
        self._histories = histories(spec)
        self._counts = {
            (count.name, domain): history_features.DayCounts(count.window_days)
            for count in spec.counts
            for domain in features.DOMAINS
            if count.domain in (domain, "both", "same")
        }
        self._ages = history_features.FirstSeen()
        self._item_rows: dict[str, np.ndarray] = {}

    def parts(self) -> dict:
        """Return what is carried from day to day, by name."""
        histories = self._histories.items()
        counts = self._counts.items()
        return {
            **{f"history-{name}": history for name, history in histories},
            **{f"count-{name}-{domain}": c for (name, domain), c in counts},
            "ages": self._ages,
        }

    def start_day(self, day: int) -> None:
        """Begin a day, the ids of which have been numbered.

        Args:
          day: days since 1970-01-01.
        """
        for counts in self._counts.values():
            counts.start_day(day)
        self._item_rows = {
            sequence.table: self._encoder.item_rows(sequence.table)
            for sequence in self._spec.sequences
        }

    def start(self, events: dict[str, dict]) -> None:
        """Take in the events of a stretch of the day's time.

        Args:
          events: domain -> the columns of its events then.
        """
        for name, history in self._histories.items():
            parts = [e for d, e in events.items() if name in (d, "both")]
            history.start(*clicks(parts))
        if self._spec.ages:
            for part in events.values():
                self._ages.start(part[encoding.ITEM], part[encoding.TIME])

    def end(
        self,
        made: dict[str, impressions.Impressions],
        pool: futures.Executor,
    ) -> None:
        """Make the events of the stretch those of the past, in a pool."""
        for history in self._histories.values():
            history.end()

        def add(count: past_spec.Count, domain: str) -> None:
            keys = added_keys(self._spec, count, made[domain])
            self._counts[count.name, domain].add(keys)

        counted = [
            (count, domain)
            for count in self._spec.counts
            for domain in made
            if (count.name, domain) in self._counts
        ]
        list(pool.map(lambda pair: add(*pair), counted))

    def end_day(self, day: int, pool: futures.Executor) -> None:
        """Make the day an earlier day, in a pool."""
        list(pool.map(lambda count: count.end_day(day), self._counts.values()))

    def rows(
        self, domain: str, made: impressions.Impressions, part: slice
    ) -> dict[str, np.ndarray]:
        """Return the columns of some impressions as `blocks.write` takes them.

        Args:
          domain: of the impressions.
          made: the impressions of the stretch.
          part: which of them.
        """
        events = made.events
        context, item = made.context[part], made.item[part]
        out = of_events(self._encoder, domain, made, part)
        for sequence in self._spec.sequences:
            out[sequence.name] = self._sequence(
                sequence, domain, events, context
            )
        for count in self._spec.counts:
            keys = count_keys(self._spec, count, events, context, item)
            name = domain if count.domain == "same" else count.domain
            out[count.name] = np.log1p(
                sum(
                    self._counts[count.name, d].before(keys)
                    for d in features.DOMAINS
                    if name in (d, "both")
                )
            ).astype(np.float32)
        for age in self._spec.ages:
            hours = self._ages.hours(
                events[encoding.ITEM][item], events[encoding.TIME][context]
            )
            out[age.name] = np.log1p(hours).astype(np.float32)
        return out

    def _sequence(
        self,
        sequence: past_spec.Sequence,
        domain: str,
        events: dict,
        context: np.ndarray,
    ) -> np.ndarray:
        """Return a sequence of the rows of items, int32 `[N, T]`."""
        if not len(context):
            return np.zeros((0, sequence.max_length), np.int32)
        # Impressions of a click share its past: look it up once for each.
        places = slice(context[0], context[-1] + 1)
        name = domain if sequence.domain == "same" else sequence.domain
        keys = self._histories[name].before(
            events[encoding.USER][places],
            events[encoding.SECOND][places],
            sequence.max_length,
        )
        rows = self._item_rows[sequence.table][keys]
        return rows[context - context[0]]


def of_events(
    encoder: encoding.Encoder,
    domain: str,
    made: impressions.Impressions,
    part: slice,
) -> dict[str, np.ndarray]:
    """Return the columns of some impressions that their events say.

    Args:
      encoder: has encoded the events.
      domain: of the impressions.
      made: the impressions of a stretch.
      part: which of them.
    """
    spec, events = encoder.spec, made.events
    context, item = made.context[part], made.item[part]
    out = {
        "click": made.click[part],
        "timestamp": events[encoding.TIME][context],
    }
    if encoding.WEIGHT in events:
        out["weight"] = events[encoding.WEIGHT][context]
    if encoding.SOURCE in events and domain == features.NATURAL:
        out[features.SOURCE] = events[encoding.SOURCE][context]
    places = {
        feature.name: item if feature.side == "item" else context
        for feature in spec.features
    }
    for name, place in places.items():
        kind = encoder.features[name]
        if isinstance(kind, kinds.Cross):
            # Of a drawn negative, the item's part is of another event.
            out |= kind.crossed(
                {
                    part: events[encoding.hashed(part)][places[part]]
                    for part in kind.feature.of
                }
            )
            continue
        for column in kind.columns():
            out[column] = events[column][place]
    for name in spec.evaluation:
        out[name] = events[name][context]
    return out


def count_keys(
    spec: toml_spec.ConversionSpec,
    count: past_spec.Count,
    events: dict,
    context: np.ndarray,
    item: np.ndarray,
) -> np.ndarray:
    """Return one int64 for each event's values of the counted features.

    It is negative where the user or the item is unknown.
    """
    parts = []
    for name in count.of:
        feature = spec.column(name)
        roles = {spec.user: encoding.USER, spec.item: encoding.ITEM}
        place = item if feature.side == "item" else context
        parts.append(events[roles.get(name, name)][place])
    return negatives.pair(parts[0] if parts[1:] else 0 * parts[0], parts[-1])


def added_keys(
    spec: toml_spec.ConversionSpec,
    count: past_spec.Count,
    made: impressions.Impressions,
) -> np.ndarray:
    """Return what a stretch adds to a count, as `count_keys`."""
    events, context, item = made.events, made.context, made.item
    if count.event == "click":
        events = made.new_events()
        context = item = np.flatnonzero(events[encoding.CLICK])
    return count_keys(spec, count, events, context, item)


def histories(
    spec: toml_spec.ConversionSpec, dtype: npt.DTypeLike = np.int32
) -> dict[str, history_features.ClickHistory]:
    """Return the click histories that the sequences need, by domain.

    Args:
      spec: says which sequences there are.
      dtype: of item keys.
    """
    lengths: dict[str, int] = {}
    for sequence in spec.sequences:
        same = sequence.domain == "same"
        for name in features.DOMAINS if same else (sequence.domain,):
            longest = max(lengths.get(name, 0), sequence.max_length)
            lengths[name] = longest
    return {
        name: history_features.ClickHistory(length, dtype)
        for name, length in lengths.items()
    }


def clicks(parts: list[dict]) -> list[np.ndarray]:
    """Return user, item and second of the clicks of several domains.

    Clicks of unknown users, or on unknown items, are nobody's history.
    """
    names = (encoding.USER, encoding.ITEM, encoding.SECOND)
    known = [
        (e[encoding.CLICK] == 1)
        & (e[encoding.USER] >= 0)
        & (e[encoding.ITEM] >= 0)
        for e in parts
    ]
    columns = [
        [e[name][kept] for e, kept in zip(parts, known, strict=True)]
        for name in names
    ]
    return [np.concatenate(c) if c else np.zeros(0, np.int64) for c in columns]
