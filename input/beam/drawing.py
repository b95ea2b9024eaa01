"""Negatives of logs of clicks, drawn as `conversion.negatives` draws them.

What is drawn in which round is known of a stretch and the clicks of the window
before it. Only whether the user had clicked the item before is not: pairs are
asked for, by a hash of the pair, and `negatives.draw` is given the answers.
Most negatives are drawn in the first rounds, so the pairs of later rounds are
asked for only where these did not do.

Shapes: N pairs.
"""

from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from apache_beam import pvalue

from ecdctr_tf.input.beam import exchange, planning
from ecdctr_tf.input.beam import job as jobs
from ecdctr_tf.input.conversion import encoding, impressions, negatives

# Rounds whose pairs are asked for first.
_FIRST_ROUNDS = 3
# Stretch, and pairs; as an answer also when each was clicked first.
Asked = tuple[int, np.ndarray]
Answer = tuple[int, tuple[np.ndarray, np.ndarray]]
_CLICKED, _ASKED = "clicked", "asked"


def drawn(
    encoded: beam.PCollection,
    job: jobs.Job,
    plan: pvalue.AsSingleton,
    through: exchange.Exchange,
) -> beam.PCollection:
    """Return the stretches once more, when the impressions of all are written.

    Args:
      encoded: the stretches, their columns written.
      job: of the conversion.
      plan: of the conversion.
      through: of the pipeline.
    """
    clicks = through.put(
        "Clicks", encoded | "Click" >> beam.FlatMap(clicked, job, plan)
    )
    drawing = encoded | "Draws" >> beam.Filter(_draws, plan)
    kept = through.grouped("Clicks", clicks) | (
        "KeepPairs" >> beam.Map(keep_pairs, job, plan)
    )
    asks = drawing | "AskReclicks" >> beam.FlatMap(ask_reclicks, job, plan)
    counts = pvalue.AsDict(
        _answered("Reclicks", drawing, asks, clicks, through)
        | "CountClicks" >> beam.Map(first_clicks, job, plan)
    )
    asks = drawing | "AskFirst" >> beam.FlatMap(ask_rounds, job, plan, counts)
    first = _answered("FirstRounds", drawing, asks, clicks, through) | (
        "KeepFirst" >> beam.Map(keep_answers, job)
    )
    asks = first | "AskLater" >> beam.FlatMap(
        ask_later_rounds, job, plan, counts
    )
    made = _answered("LaterRounds", first, asks, clicks, through) | (
        "Draw" >> beam.Map(draw, job, plan, counts)
    )
    # Parts of the state are there when the impressions are.
    return encoded | "AfterDraws" >> beam.Map(
        lambda number, *_: number, pvalue.AsIter(made), pvalue.AsIter(kept)
    )


def _answered(
    name: str,
    stretches: beam.PCollection,
    asks: beam.PCollection,
    clicks: beam.PCollection,
    through: exchange.Exchange,
) -> beam.PCollection:
    """Return stretches with the answers to what they ask."""
    pairs = {_CLICKED: clicks, _ASKED: through.put(f"Asked{name}", asks)}
    answers = through.joined(f"Asked{name}", pairs) | (
        f"Answer{name}" >> beam.FlatMap(answered)
    )
    tokens = stretches | f"Tokens{name}" >> beam.Map(lambda n: (n, None))
    return through.grouped(name, tokens, through.put(name, answers))


def _draws(number: int, plan: planning.Plan) -> bool:
    return plan.clicks_only[plan.stretches[number].domain]


def clicked(
    number: int, job: jobs.Job, plan: planning.Plan
) -> Iterator[tuple[int, tuple[int, np.ndarray, np.ndarray]]]:
    """Yield the pairs clicked in a stretch, and when, by partition."""
    if not plan.draws(job):
        return
    columns = jobs.load_columns(job.columns(number))
    clicks = columns[encoding.CLICK] == 1
    pairs = _pairs(columns)[clicks]
    times = columns[encoding.TIME][clicks]
    for part, held in _parts(pairs, job, plan):
        yield part, (plan.stretches[number].day, pairs[held], times[held])


def keep_pairs(
    found: tuple[int, Iterable[tuple[int, np.ndarray, np.ndarray]]],
    job: jobs.Job,
    plan: planning.Plan,
) -> None:
    """Write the pairs of a partition that were clicked by each moment."""
    part, values = found
    clicks = [(day, pairs) for day, pairs, _ in values]
    for last, moment in plan.moments.items():
        until = [pairs for day, pairs in clicks if day <= last]
        if until:
            pairs = np.unique(np.concatenate(until))
            arrays = {"pairs": pairs}
            jobs.save_piece(job, moment, "seen_pairs", part, arrays)


def ask_reclicks(
    number: int, job: jobs.Job, plan: planning.Plan
) -> Iterator[tuple[int, Asked]]:
    """Yield the pairs of a stretch, where repeated ones are dropped."""
    if job.spec.negatives[plan.stretches[number].domain].drop_reclicks:
        columns = jobs.load_columns(job.columns(number))
        yield from _asking(number, np.unique(_pairs(columns)), job, plan)


def answered(
    found: tuple[int, dict[str, exchange.Values]],
) -> Iterator[Answer]:
    """Yield those of the asked pairs that were clicked, and when first."""
    _, values = found
    asked = values[_ASKED].by_number()
    if not asked.numbers:
        return
    none = np.zeros(0, np.int64)
    clicks = list(values[_CLICKED])
    pairs = np.concatenate([none, *(pairs for _, pairs, _ in clicks)])
    times = np.concatenate([none, *(times for _, _, times in clicks)])
    order = np.lexsort((times, pairs))
    pairs, first = np.unique(pairs[order], return_index=True)
    times = times[order][first]
    for number in asked.numbers:
        for wanted in asked.of(number):
            there = np.flatnonzero(np.isin(pairs, wanted))
            if len(there):
                yield number, (pairs[there], times[there])


def first_clicks(
    found: tuple[int, Iterable], job: jobs.Job, plan: planning.Plan
) -> tuple[int, int]:
    """Write which clicks of a stretch get negatives; return how many."""
    number, answers = found
    columns = jobs.load_columns(job.columns(number))
    clicks = np.arange(len(columns[encoding.TIME]))
    if job.spec.negatives[plan.stretches[number].domain].drop_reclicks:
        again = negatives.reclicks(
            columns[encoding.USER],
            columns[encoding.ITEM],
            columns[encoding.TIME],
            _seen(answers),
        )
        clicks = clicks[~again]
    jobs.save_columns(job.clicks(number), {"clicks": clicks})
    return number, len(clicks)


class _Stretch:
    """A stretch of clicks and what its negatives are drawn from."""

    def __init__(
        self,
        number: int,
        job: jobs.Job,
        plan: planning.Plan,
        counts: dict[int, int],
    ):
        stretch = plan.stretches[number]
        rule = job.spec.negatives[stretch.domain]
        columns = jobs.load_columns(job.columns(number))
        begin = columns[encoding.TIME][0] - rule.window_seconds
        before = earlier(job, plan, stretch.domain, number, begin)
        self.pool = {
            name: np.concatenate([*(part[name] for part in before), column])
            for name, column in columns.items()
        }
        self.first = len(self.pool[encoding.TIME]) - len(columns[encoding.TIME])
        own = jobs.load_columns(job.clicks(number))["clicks"]
        self.clicks = self.first + own
        of_day = plan.numbers[stretch.domain, stretch.day]
        self._rule = rule
        self._stream = stretch.day, jobs.domain_number(stretch.domain)
        self._before = sum(counts[n] for n in of_day if n < number)

    def draw(self, answers: Iterable, rounds: int) -> np.ndarray:
        """Return what is drawn in some rounds; see `negatives.draw`."""
        return negatives.draw(
            self.pool,
            self.clicks,
            _seen(answers),
            self._rule,
            self._stream,
            self._before,
            rounds,
        )

    def asked(self, attempts: range, drawn: np.ndarray) -> np.ndarray:
        """Return the pairs to ask for; see `negatives.asked`."""
        return negatives.asked(
            self.pool,
            self.clicks,
            self._rule,
            self._stream,
            self._before,
            attempts,
            drawn,
        )


def earlier(
    job: jobs.Job, plan: planning.Plan, domain: str, number: int, begin: int
) -> list[dict[str, np.ndarray]]:
    """Return the columns of a domain's events before a stretch, in order.

    Args:
      job: of the conversion.
      plan: of the conversion.
      domain: of the events.
      number: of the stretch.
      begin: the second from which on events are wanted.
    """
    found: list[dict[str, np.ndarray]] = []
    for other in range(number - 1, -1, -1):
        if plan.stretches[other].domain != domain:
            continue
        columns = jobs.load_columns(job.columns(other))
        late = columns[encoding.TIME] >= begin
        if late.any():
            found.append({name: c[late] for name, c in columns.items()})
        if not late.all():
            break
    return found[::-1]


def ask_rounds(
    number: int, job: jobs.Job, plan: planning.Plan, counts: dict[int, int]
) -> Iterator[tuple[int, Asked]]:
    """Yield the pairs that the first rounds look up."""
    stretch = _Stretch(number, job, plan, counts)
    drawn = stretch.draw((), 0)
    pairs = stretch.asked(range(_FIRST_ROUNDS), drawn)
    yield from _asking(number, pairs, job, plan)


def keep_answers(found: tuple[int, Iterable], job: jobs.Job) -> int:
    """Write the answers to the first rounds; return the stretch."""
    number, answers = found
    pairs, times = _joined(answers)
    jobs.save_columns(job.answers(number), {"pairs": pairs, "times": times})
    return number


def ask_later_rounds(
    number: int, job: jobs.Job, plan: planning.Plan, counts: dict[int, int]
) -> Iterator[tuple[int, Asked]]:
    """Yield the pairs that later rounds look up."""
    stretch = _Stretch(number, job, plan, counts)
    drawn = stretch.draw([_kept(job, number)], _FIRST_ROUNDS)
    attempts = range(_FIRST_ROUNDS, negatives.ROUNDS)
    pairs = stretch.asked(attempts, drawn)
    yield from _asking(number, pairs, job, plan)


def draw(
    found: tuple[int, Iterable],
    job: jobs.Job,
    plan: planning.Plan,
    counts: dict[int, int],
) -> None:
    """Write the impressions of a stretch of clicks."""
    number, answers = found
    stretch = _Stretch(number, job, plan, counts)
    known = [_kept(job, number), *filter(None, answers)]
    drawn = stretch.draw(known, negatives.ROUNDS)
    made = impressions.with_drawn(
        stretch.pool, stretch.first, stretch.clicks, drawn
    )
    jobs.save_impressions(job, number, made)


def _kept(job: jobs.Job, number: int) -> tuple[np.ndarray, np.ndarray]:
    kept = jobs.load_columns(job.answers(number))
    return kept["pairs"], kept["times"]


def _seen(answers: Iterable) -> negatives.SeenPairs:
    """Return the pairs clicked, as answers say."""
    seen = negatives.SeenPairs()
    seen.start(*_joined(answers))
    return seen


def _joined(answers: Iterable) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs and times of several answers, of which some are None."""
    none = np.zeros(0, np.int64)
    given = list(filter(None, answers))
    return (
        np.concatenate([none, *(pairs for pairs, _ in given)]),
        np.concatenate([none, *(times for _, times in given)]),
    )


def _pairs(columns: dict[str, np.ndarray]) -> np.ndarray:
    return negatives.pair(columns[encoding.USER], columns[encoding.ITEM])


def _asking(
    number: int, pairs: np.ndarray, job: jobs.Job, plan: planning.Plan
) -> Iterator[tuple[int, Asked]]:
    for part, held in _parts(pairs, job, plan):
        yield part, (number, pairs[held])


def _parts(
    pairs: np.ndarray, job: jobs.Job, plan: planning.Plan
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield partitions of pairs, and the places of theirs."""
    parts = jobs.hashed(pairs) % np.uint64(plan.partitions(job))
    for part in np.unique(parts).tolist():
        yield part, np.flatnonzero(parts == part)


def tail(
    job: jobs.Job, plan: planning.Plan, domain: str, day: int
) -> dict[str, np.ndarray]:
    """Return the clicks that later days may draw from, as a sampler keeps them.

    Args:
      job: of the conversion.
      plan: of the conversion.
      domain: of the clicks.
      day: the last day before those.
    """
    until = plan.until(day)
    numbers = [n for n in range(until) if plan.stretches[n].domain == domain]
    if not numbers or not plan.clicks_only[domain]:
        return {}
    last = jobs.load_columns(job.columns(numbers[-1]))
    begin = impressions.earliest_midnight(last)
    begin -= job.spec.negatives[domain].window_seconds
    parts = earlier(job, plan, domain, until, begin)
    return {
        name: np.concatenate([column[:0], *(part[name] for part in parts)])
        for name, column in last.items()
    }
