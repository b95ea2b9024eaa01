"""From a plan and what became of its steps to the record of a date."""

import dataclasses
from collections.abc import Iterator, Sequence

from ecdctr_tf import artefacts, features, store
from ecdctr_tf.export import versions
from ecdctr_tf.operation import ages, record, steps
from ecdctr_tf.operation.steps import Plan, Step
from ecdctr_tf.request import Request


class Recording:
    """Writes the record of a date, before its steps and after them.

    A command that is killed leaves the first one, from which the next command
    knows what was done, and which days were left out.

    Args:
      request: what the command asks for.
      plan: what it does.
    """

    def __init__(self, request: Request, plan: Plan):
        self._request = request
        self._plan = plan
        self._before = record.newest(request.workdir, plan.date)
        # What earlier commands of the date did, or passed over.
        self._kept = list(self._earlier())

    def begin(self) -> None:
        """Write what is about to be done, if anything is."""
        planned = [
            outcome(step, record.PLANNED if step.action in steps.DOES else "")
            for step in self._plan.steps
        ]
        if any(of.result for of in planned):
            found = self._record(planned)
            found = dataclasses.replace(found, status=record.RUNNING)
            record.write(self._request.workdir, found)

    def end(self, outcomes: Sequence[record.Outcome]) -> record.Record:
        """Write and return what was done.

        Where nothing was, and nothing has changed, the record stays.
        """
        found = self._record(outcomes)
        if self._is_again and not any(of.result for of in outcomes):
            if _state(found) == _state(self._before):
                return self._before
        record.write(self._request.workdir, found)
        return found

    def _earlier(self) -> Iterator[record.Outcome]:
        if not self._is_again:
            return
        now = {(of.place, of.days) for of in map(outcome, self._plan.steps)}
        for of in self._before.steps:
            was_done = of.result == record.DONE or (
                of.result == record.PLANNED and self._is_published(of)
            )
            if was_done:
                yield dataclasses.replace(of, result=record.DONE)
            elif of.action == steps.SKIP and (of.place, of.days) not in now:
                yield of

    @property
    def _is_again(self) -> bool:
        """Whether there is a record of the date already."""
        return self._before is not None and (
            self._before.date == self._plan.date
        )

    def _learned(self, outcomes: Sequence[record.Outcome]) -> set[str]:
        """Return the days of ads that every A-CTR has learned just now."""
        by_level: dict[str, set[str]] = {}
        for step, of in zip(self._plan.steps, outcomes, strict=True):
            if step.kind != artefacts.CTR:
                continue
            days = by_level.setdefault(step.place, set())
            if step.window is not None and of.result == record.DONE:
                left_out = step.left_out.get(features.ADS, ())
                days |= set(step.window.days).difference(left_out)
        return set.intersection(*by_level.values()) if by_level else set()

    def _is_published(self, of: record.Outcome) -> bool:
        day = of.days[-1] if of.days else ""
        if of.action == steps.EXPORT:
            return self._live_day() == day
        path = self._request.workdir / of.place / day / store.MANIFEST
        return path.exists()

    def _live_day(self) -> str:
        """Return the day of the live version; "" where nobody can tell."""
        try:
            return versions.live_day(self._request.export_place)
        except (OSError, ValueError):
            return ""  # The plan refuses to export, and says why.

    def _record(self, outcomes: Sequence[record.Outcome]) -> record.Record:
        request, date = self._request, self._plan.date
        skipped = set(self._before.skipped if self._before else ())
        for step in self._plan.steps:
            if step.kind == artefacts.CTR:
                skipped |= set(step.left_out.get(features.ADS, ()))
        skipped -= self._learned(outcomes)
        every = [*self._kept, *outcomes]
        version = self._live_day() or None
        learned = {**ages.newest(request, date), "version": version}
        behind = ages.behind(learned, date)
        alarms = [alarm for of in every for alarm in _alarms(of)]
        alarms += [
            record.Alarm(record.OLD, of.words())
            for of in ages.judge(behind, request.config)
        ]
        whats = {alarm.what for alarm in alarms}
        return record.Record(
            date,
            next((s for s in record.WORST if s in whats), record.DONE),
            tuple(every),
            learned,
            behind,
            tuple(alarms),
            tuple(sorted(skipped)),
            sum(of.seconds for of in every),
        )


def _state(of: record.Record) -> tuple:
    """Return what a record says of a date, in however many commands."""
    return of.status, of.learned, frozenset(of.alarms)


def outcome(
    step: Step, result: str = "", said: str = "", seconds: float = 0.0
) -> record.Outcome:
    """Return what became of a step."""
    return record.Outcome(
        step.title,
        step.place,
        step.action,
        (step.window.first, step.window.last) if step.window else None,
        step.reason,
        result,
        said,
        seconds,
    )


def days_of(of: record.Outcome) -> str:
    """Return the days of a step in words; empty without any."""
    return "..".join(dict.fromkeys(of.days or ()))


def _alarms(of: record.Outcome) -> Iterator[record.Alarm]:
    """Yield what a person should know of a step."""
    title = ", ".join(filter(None, (of.title, days_of(of))))
    if of.result == record.FAILED:
        yield record.Alarm(record.FAILED, f"{title}: {of.said}")
    elif of.result == record.NOT_TRIED:
        yield record.Alarm(record.FAILED, f"{title}: not tried")
    elif of.result == record.REFUSED:
        yield record.Alarm(record.REFUSED, of.said)
    elif of.result == record.WAITING:
        yield record.Alarm(record.WAITING, f"{title}: {of.said}")
    elif of.action == steps.REFUSE:
        yield record.Alarm(record.FAILED, f"{title}: {of.reason}")
    elif of.action == steps.WAIT:
        yield record.Alarm(record.WAITING, f"{title}: {of.reason}")
    elif of.action == steps.SKIP or of.reason.startswith(steps.WITHOUT):
        yield record.Alarm(record.SKIPPED, f"{title}: {of.reason}")
