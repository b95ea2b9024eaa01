"""What is due on a date, and why."""

import dataclasses
import pathlib
from collections.abc import Iterable

from ecdctr_tf import (
    artefacts,
    command_line,
    features,
    model_table,
    store,
    windows,
)
from ecdctr_tf import config as configs
from ecdctr_tf.export import versions
from ecdctr_tf.input.as_of import AsOf
from ecdctr_tf.operation import ages
from ecdctr_tf.operation.readiness import Readiness
from ecdctr_tf.operation.steps import (
    AGGREGATE,
    DOES,
    EXPORT,
    HISTORICAL,
    NOTHING,
    REFUSE,
    SKIP,
    TRAIN,
    VERSION,
    WAIT,
    WITHOUT,
    Plan,
    Step,
)
from ecdctr_tf.request import Request
from ecdctr_tf.training import origins, schedule
from ecdctr_tf.training.level import Level
from ecdctr_tf.transfer import historical

# What to do where a model is added after what it begins with was deleted.
_ELSEWHERE = "Train the model in another --workdir"


def make(
    request: Request,
    data: AsOf,
    skipped: Iterable[str] = (),
    exports: bool = True,
) -> Plan:
    """Return what is due on a date.

    Args:
      request: the models, their config and the work directory.
      data: the data directory as of the date.
      skipped: days of ads that were left out on earlier dates.
      exports: whether a version is exported on this date.

    Raises:
      FileNotFoundError, ValueError: the schedule leaves a level no window, or
        an artefact is damaged.
    """
    planner = _Planner(request, data, frozenset(skipped))
    planner.levels(artefacts.TPM)
    planner.history()
    planner.levels(artefacts.CPM)
    planner.levels(artefacts.CTR)
    if exports:
        planner.version()
    return Plan(data.date, tuple(planner.steps))


def level_of(request: Request, data: AsOf, step: Step) -> Level:
    """Return the level that a step trains, which leaves out what it says."""
    seen = AsOf(data, data.date, step.left_out) if step.left_out else data
    return next(
        level
        for level in request.levels(seen, step.kind)
        if _place(request, level) == step.place
    )


def _place(request: Request, level: Level) -> str:
    return level.directory.relative_to(request.workdir).as_posix()


class _Planner:
    """Plans a date, each level with what those before it will have published.

    Attributes:
      steps: those planned so far.
    """

    def __init__(self, request: Request, data: AsOf, skipped: frozenset[str]):
        self.steps: list[Step] = []
        self._request = request
        self._config = request.config
        self._data = data
        self._skipped = skipped
        self._ready = Readiness(data, request.config.clock)

    def levels(self, kind: str) -> None:
        """Plan the levels of a kind, one for each model and seed."""
        for level in self._request.levels(self._data, kind):
            self._level(level)

    def history(self) -> None:
        """Plan the historical version of each snapshot that lacks one."""
        for run in self._request.histories(self._data):
            there = store.dated(run.historical)
            lacking = [d for d in self._published(run.tpm) if d not in there]
            for day in lacking:
                place = run.historical.relative_to(self._request.workdir)
                self.steps.append(
                    Step(
                        HISTORICAL,
                        "historical embeddings",
                        place.as_posix(),
                        AGGREGATE,
                        "there is a snapshot of this day",
                        windows.Window(day, day),
                    )
                )

    def version(self) -> None:
        """Plan the export of the newest day of the A-CTR."""
        request, date = self._request, self._data.date
        row = model_table.model(request.exported_model)
        directory = request.runs()[0][0].ctr(row.base)
        day = max(self._published(directory), default="")
        try:
            action, reason = self._why_export(directory, day)
        except (OSError, ValueError) as error:
            # A damaged version keeps no level from its day.
            action, reason = REFUSE, command_line.one_line(error)
        self.steps.append(
            Step(
                VERSION,
                f"export of {row.label}",
                "",
                action,
                reason,
                windows.Window(day, day) if day and day < date else None,
            )
        )

    def _why_export(self, directory: pathlib.Path, day: str) -> tuple[str, str]:
        """Return whether a day of the A-CTR is exported, and why."""
        request, date = self._request, self._data.date
        if not day:
            return NOTHING, "there is no day of the A-CTR yet"
        live = versions.live_day(request.export_place)
        if day <= live:
            versions.verify_live(request.export_place)
            return NOTHING, f"the version of {live} is live"
        if (directory / day).exists():
            withheld = versions.withheld(request.export_place, directory / day)
            if withheld:
                return NOTHING, withheld
        on = self._config.clock.export_on
        if not _is_on(date, on):
            return NOTHING, f"exported on {', '.join(on)} only"
        learned = {
            level: max(self._published(place), default=None)
            for level, place in ages.places(request).items()
        }
        refused = ages.too_old(ages.behind(learned, date), self._config)
        if refused and not request.force_publish:
            return REFUSE, refused
        return EXPORT, f"{live or 'nothing'} is live"

    def _level(self, level: Level) -> None:
        """Plan the windows that a level has not learned."""
        natural = features.NATURAL
        days = self._data.days(natural)
        if not any(self._data.manifest(natural, day).rows for day in days):
            what = "rows" if days else "logs"
            self._add(level, WAIT, f"there are no natural {what} yet")
            return
        windows_due = self._due(level)
        on = {
            artefacts.TPM: self._config.clock.tpm_on,
            artefacts.CPM: self._config.clock.cpm_on,
        }.get(level.kind, ())
        if windows_due and not _is_on(self._data.date, on):
            reason = f"trained on {', '.join(on)} only"
            self._add(level, NOTHING, reason, windows_due[0])
            return
        for window in windows_due:
            if not self._window(level, window):
                return
        if not windows_due:
            self._add(level, NOTHING, self._why_nothing(level))

    def _why_nothing(self, level: Level) -> str:
        learned = max(store.dated(level.directory), default="")
        if learned:
            return f"it has learned up to {learned}"
        known = level.config.schedule.ctr_first or self._data.days(features.ADS)
        if known:
            return "its first window is not over"
        return "there are no ads yet, nor a schedule.ctr_first"

    def _due(self, level: Level) -> list[windows.Window]:
        """Return the windows that are over and that a level has not learned."""
        of = level.config.schedule
        planned = schedule.due(self._data, of, self._data.date)
        if level.kind == artefacts.CTR:
            learned = max(store.dated(level.directory), default="")
            return [window for window in planned.ctr if window.last > learned]
        natural = planned.tpm if level.kind == artefacts.TPM else planned.cpm
        # Those before may have been deleted; there is nothing to say of them.
        oldest = min(store.dated(level.directory), default="")
        newer = [window for window in natural if window.last >= oldest]
        return schedule.left(newer, level.directory, level.kind)

    def _window(self, level: Level, window: windows.Window) -> bool:
        """Plan a window; return whether the level may go on with the next."""
        left_out: dict[str, tuple[str, ...]] = {}
        whys: list[str] = []
        for domain in _domains(level):
            lacking = {
                day: why
                for day in window.days
                if (why := self._ready.lacks(domain, day))
            }
            if not lacking:
                continue
            whys += lacking.values()
            rule = getattr(self._config.clock, domain)
            absent = [
                why
                for day, why in lacking.items()
                if not self._ready.is_there(domain, day)
            ]
            if rule != SKIP or absent:
                # What is not there cannot be passed over yet.
                self._add(level, rule, _joined(absent or whys), window)
                return False
            left_out[domain] = tuple(lacking)
        if level.kind == artefacts.CTR:
            # What an A-CTR has passed over stays left out.
            passed = self._passed_over(level)
            if passed:
                now = left_out.get(features.ADS, ())
                left_out[features.ADS] = tuple(sorted({*now, *passed}))
        reason = f"{WITHOUT} {_joined(whys)}" if whys else "the logs are whole"
        step = self._step(level, TRAIN, reason, window, left_out)
        if not self._rows(step):
            why = _joined(whys) or "the logs have no rows to learn"
            step = dataclasses.replace(step, action=SKIP, reason=why)
        elif needed := self._needs(level, window):
            self._add(level, *needed, window)
            return False
        self.steps.append(step)
        return True

    def _rows(self, step: Step) -> int:
        """Return how many rows a step would learn."""
        level = level_of(self._request, self._data, step)
        if step.kind == artefacts.CTR:
            return level.data.rows(features.ADS, step.window)
        if not level.data.rows(features.NATURAL, step.window):
            return 0
        return level.natural_rows(step.window)

    def _passed_over(self, level: Level) -> set[str]:
        """Return days of ads that were left out and that cannot come back."""
        there = store.dated(level.directory)
        published = {
            day
            for name in there
            for day in store.read_manifest(
                level.directory / name, artefacts.CTR
            ).window.days
        }
        learned = max(there, default="")
        return {
            day
            for day in self._skipped
            if day < learned and day not in published
        }

    def _needs(
        self, level: Level, window: windows.Window
    ) -> tuple[str, str] | None:
        """Return what is done about what a level lacks, and what that is.

        It waits for what comes later; what is deleted does not come again.
        """
        for name in level.row.experts:
            days = self._published(level.run.ctr(name))
            if window.last not in days:
                label = model_table.model(name).label
                lacking = f"its expert {label} has not scored the day"
                if days and days[-1] > window.last:
                    return REFUSE, f"{lacking}, but {days[-1]}. {_ELSEWHERE}"
                return WAIT, lacking
        if store.dated(level.directory) or level.kind == artefacts.TPM:
            return None
        config = level.config
        if level.kind == artefacts.CTR and level.row.has_cpm:
            until = windows.plus(window.first, -config.schedule.cpm_lag)
            cpms = self._published(level.run.cpm(level.row.base))
            if not cpms:
                return WAIT, "there is no CPM yet"
            if cpms[0] >= until:
                lacking = f"there is no CPM from before {until}, but {cpms[0]}"
                return REFUSE, f"{lacking}. {_ELSEWHERE}"
        network, _ = artefacts.stage(config, level.kind)
        merged = config.history.merges and level.kind == artefacts.CTR
        if network.history and not merged and not level.row.experts:
            days = self._published(level.run.historical)
            rows = windows.Window(window.first, window.last)
            if level.kind == artefacts.CPM:
                tomorrow = windows.plus(window.last, 1)
                rows = windows.Window(window.first, tomorrow)
            if not historical.seen_in(days, rows, config.history):
                return WAIT, "there are no historical embeddings yet"
        return None

    def _published(self, directory: pathlib.Path) -> list[str]:
        """Return the days before the date that are there, or will be."""
        place = directory.relative_to(self._request.workdir).as_posix()
        planned = {
            step.window.last
            for step in self.steps
            if step.place == place and step.action in DOES and step.window
        }
        there = {d for d in store.dated(directory) if d < self._data.date}
        return sorted(there | planned)

    def _add(
        self,
        level: Level,
        action: str,
        reason: str,
        window: windows.Window | None = None,
    ) -> None:
        self.steps.append(self._step(level, action, reason, window, {}))

    def _step(
        self,
        level: Level,
        action: str,
        reason: str,
        window: windows.Window | None,
        left_out: dict[str, tuple[str, ...]],
    ) -> Step:
        title = {
            artefacts.TPM: "TPM",
            artefacts.CPM: f"CPM of {level.row.label}",
            artefacts.CTR: f"A-CTR, {level.row.label}",
        }[level.kind]
        if self._request.seeds:
            title = f"{title}, {level.run.path.name}"
        place = _place(self._request, level)
        return Step(level.kind, title, place, action, reason, window, left_out)


def _domains(level: Level) -> tuple[str, ...]:
    """Return the domains that a level is trained on."""
    if level.kind != artefacts.CTR:
        return (features.NATURAL,)
    origin = origins.ORIGINS.get(level.row.origin)
    return origin.domains if origin else (features.ADS,)


def _joined(whys: list[str]) -> str:
    more = f" (and {len(whys) - 1} more)" if whys[1:] else ""
    return f"{whys[0]}{more}" if whys else ""


def _is_on(date: str, weekdays: tuple[str, ...]) -> bool:
    """Return whether a date is on one of the weekdays, or these are all."""
    # 1970-01-01 was a Thursday.
    of_date = configs.WEEKDAYS[(windows.day_number(date) + 3) % 7]
    return not weekdays or of_date in weekdays
