"""Events of both domains to days of rows, in two passes.

Pass 1 spills the events to files of one day of one domain (`spill`). Pass 2
goes through the days in order, the two domains of a day together, and holds
in memory the events of one day, or of a stretch of a large one (`stretches`),
one file of rows, and the state of the past:
for each user the newest clicks, for each item its first event, for each value
a count, and, where negatives are drawn, each pair of user and item clicked.
No log is ever in memory as a whole.

Nothing in a day's rows depends on later rows: not the history, not the
negatives, not the numbers of ids. So a conversion can be taken up where one of
earlier days ended (`state`). Where days that are held already lie between,
their events are gone through again, and their rows are left as they are
(`held`).
"""

import contextlib
import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Iterable
from concurrent import futures

import numpy as np
import pyarrow as pa

from ecdctr_tf import features, typed_values, windows
from ecdctr_tf.input import data_directory, former_specs, new_day
from ecdctr_tf.input.conversion import (
    bars,
    day_events,
    encoding,
    first_pass,
    held,
    id_checks,
    impressions,
    negatives,
    row_features,
    row_files,
    state,
    stretches,
    tally,
    toml_spec,
)

_SPILLED, _BEHIND = ".spill", ".behind"
# Days, each with the directory that it lies in.
Days = list[tuple[data_directory.DataDirectory, str]]


class Passes:
    """A conversion under way.

    Args:
      spec: tables, features and rules.
      directory: an empty directory; `write` makes a data directory of it, one
        of the new days only where there is a past.
      file_format: "blocks" or "examples".
      rows_per_file: rows of a TFRecord file.
      base: the days converted before, or None.
      replaced: the day that is converted again, with all days after it; empty
        where days are only added.
    """

    def __init__(
        self,
        spec: toml_spec.ConversionSpec,
        directory: pathlib.Path,
        file_format: str,
        rows_per_file: int,
        base: held.Held | None = None,
        replaced: str = "",
    ):
        self._spec = spec
        self._former = _former(spec.data_spec(), base)
        former_specs.save(directory, self._former)
        spec.data_spec().save(directory / data_directory.SPEC)
        self._data = data_directory.DataDirectory(directory)
        self._format = file_format
        self._rows_per_file = rows_per_file
        self._encoder = encoding.Encoder(spec)
        self._features = row_features.RowFeatures(spec, self._encoder)
        self._summary = tally.Tally()
        self._seen = negatives.SeenPairs()
        self._samplers = {
            domain: impressions.Sampler(rule, features.DOMAINS.index(domain))
            for domain, rule in spec.negatives.items()
        }
        self._base = base
        self._replaced = replaced
        if base is not None:
            own = self._encoder.id_spaces
            own.update({n: s for n, s in base.id_spaces.items() if n in own})
            self._encoder.goes_again = True
        self._first = first_pass.FirstPass(
            spec, self._data.path / _SPILLED, base, replaced
        )

    def read(
        self,
        tables: Iterable[tuple[str, pa.Table]],
        progress: bool,
        finished: str = "",
    ) -> str:
        """Go through the tables; see `first_pass.FirstPass.read`."""
        return self._first.read(tables, progress, finished)

    def write(self, progress: bool) -> dict:
        """Write the days of the tables that were read; return the summary."""
        spans = {domain: self._span(domain) for domain in features.DOMAINS}
        with (
            futures.ThreadPoolExecutor(1) as sorter,
            futures.ThreadPoolExecutor(2) as self._writers,
        ):
            self._events = day_events.DayEvents(
                self._spec, self._first.spilled, self._base, sorter
            )
            self._write_days(spans, progress)
        shutil.rmtree(self._data.path / _SPILLED, ignore_errors=True)
        return self._finish(spans)

    def _carried(self) -> dict[str, state.Part]:
        """Return what is carried from day to day beside the id spaces."""
        samplers = self._samplers.items()
        return {
            **self._encoder.parts(),
            **self._features.parts(),
            **{f"negatives-{domain}": sampler for domain, sampler in samplers},
            "seen_pairs": self._seen,
            "summary": self._summary,
        }

    def _span(self, domain: str) -> range:
        """Return the days to write of a domain: a window has no holes."""
        days = self._first.spilled.days(domain)
        if self._base is None:
            return range(days[0], days[-1] + 1) if days else range(0)
        kept, past = self._base.kept, self._base.past
        if self._replaced and domain in past.last_days:
            days.append(windows.day_number(past.last_days[domain]))
        if not days:
            return range(0)
        first = min(days)
        if domain in kept:
            first = windows.day_number(kept[domain]) + 1
        elif domain in past.last_days:
            first = windows.day_number(past.data.days(domain)[0])
        return range(first, max(days) + 1)

    def _write_days(self, spans: dict[str, range], progress: bool) -> None:
        ends = self._ends(spans)
        behind = state.behind(ends)
        done = self._restore(behind or max(ends.values()))
        for domain, counts in self._first.counts.items():
            self._summary.count(domain, counts)
        # A domain not seen yet may begin with clicks only on a later day.
        draws = [self._first.clicks_only.get(d, True) for d in self._samplers]
        self._draws = any(draws)
        if not self._draws:
            self._seen = negatives.SeenPairs()
        self._keep_behind(behind, done)
        days = [day for span in spans.values() for day in span]
        if done:
            days.append(windows.day_number(done) + 1)
        elif self._base is not None:
            days.append(windows.day_number(self._base.past.window.first))
        with bars.bar("writing", progress) as bar:
            for day in range(
                min(days), windows.day_number(max(ends.values())) + 1
            ):
                name = windows.day_name(day)
                bar.set_postfix_str(name, refresh=False)
                domains = [d for d, span in spans.items() if day in span]
                if name > done:
                    bar.update(self._write_day(day, domains))
                    self._keep_behind(behind, name)
                    continue
                rows = self._base.past.data.table_rows(name)
                rows = self._of_tables(rows)
                for domain in domains:
                    # Held, when this domain had ended: no events.
                    with self._writing(domain, name) as new:
                        self._know(new, name, rows)

    def _writing(
        self, domain: str, day: str
    ) -> contextlib.AbstractContextManager[new_day.NewDay]:
        """Give a day to write."""
        natural = domain == features.NATURAL
        sources = self._spec.source_names if natural else ()
        return self._data.writing(domain, day, self._format, sources)

    def _ends(self, spans: dict[str, range]) -> dict[str, str]:
        """Return the last day of each domain when `spans` are written."""
        kept = self._base.kept if self._base is not None else {}
        ends = {d: windows.day_name(s[-1]) for d, s in spans.items() if s}
        return {**kept, **ends}

    def _restore(self, until: str) -> str:
        """Take back the newest state that the conversion can go on from.

        Args:
          until: the first day that a state is kept of.

        Returns:
          The last day that the state has seen; "" if there is none.
        """
        if self._base is None:
            return ""
        new = [
            day for d in features.DOMAINS for day in self._first.spilled.days(d)
        ]
        first = min(new, default=windows.day_number(until) + 1)
        past, done = self._base.past, self._base.start(first)
        if past.data.spec != self._data.spec:
            # What it knows of the past is not all that features are made of.
            done = ""
        if done == past.window.last:
            past.restore(self._carried())
            return done
        if done:
            past.restore_behind(self._carried())
        newest = tally.Tally()
        past.restore({"summary": newest})
        self._summary.restore_counts(newest)
        return done

    def _keep_behind(self, behind: str, day: str) -> None:
        """Keep the state of a day if it is the one of the domain behind."""
        path = self._data.path / _BEHIND
        if behind and day == behind:
            state.write_parts(path, self._carried())
        elif behind and day > behind and not path.exists():
            shutil.copytree(self._base.past.path / state.BEHIND, path)

    def _write_day(self, day: int, domains: list[str]) -> int:
        """Go through a day, and write it for some domains; return its rows."""
        name, rows = windows.day_name(day), 0
        with contextlib.ExitStack() as stack:
            # A day without events is written too: windows have no holes.
            new = {
                domain: stack.enter_context(self._writing(domain, name))
                for domain in domains
            }
            files = {
                domain: row_files.RowFiles(
                    new[domain].write, self._rows_per_file, self._writers
                )
                for domain in domains
            }
            encoded = self._encoded(day, new)
            self._features.start_day(day)
            for events in stretches.together(encoded):
                self._features.start(events)
                made = self._impressions(day, events)
                for domain in files.keys() & made.keys():
                    make = functools.partial(
                        self._features.rows, domain, made[domain]
                    )
                    files[domain].add(len(made[domain]), make)
                for domain, part in made.items():
                    self._summary.add(domain, part)
                    rows += len(part)
                for of_domain in files.values():
                    of_domain.wait()
                self._features.end(made, self._writers)
            for domain in encoded:
                self._summary.add_day(domain)
            for of_domain in files.values():
                of_domain.end()
            self._end_day(day)
            in_use = self._of_tables(self._encoder.end_day())
            for domain in domains:
                files[domain].wait()
                self._know(new[domain], name, in_use)
        return rows

    def _know(
        self, new: new_day.NewDay, day: str, in_use: dict[str, int]
    ) -> None:
        """Say which ids there are at the end of a new day."""
        spaces = self._encoder.id_spaces
        new.know(self._known(day) or in_use, in_use, spaces)

    def _known(self, day: str) -> dict[str, int] | None:
        """Return the rows of each table that are known at the end of a day.

        Returns:
          None where there is no later day: all rows in use are known.
        """
        known = self._base.table_rows(day) if self._base else None
        return None if known is None else self._of_tables(known)

    def _of_tables(self, rows: dict[str, int]) -> dict[str, int]:
        """Return the rows of the tables that there are."""
        tables = self._data.spec.tables
        return {t.name: rows.get(t.name, t.buckets) for t in tables}

    def _end_day(self, day: int) -> None:
        self._features.end_day(day, self._writers)
        for sampler in self._samplers.values():
            sampler.end_day()

    def _encoded(
        self, day: int, new: dict[str, new_day.NewDay]
    ) -> dict[str, stretches.Encoded]:
        """Return the events of a day by domain.

        Args:
          day: the day.
          new: domain -> the day to write, which gets the events too.
        """
        found = {}
        for domain, (events, again) in self._events.of(day).items():
            if domain in new:
                path = new[domain].staging / data_directory.EVENTS
                events = stretches.written(events, path, self._writers)
                again = functools.partial(stretches.read, path)
            found[domain] = stretches.Encoded(events, again, self._encoder)
        self._events.begin(day + 1)
        return found

    def _impressions(self, day: int, encoded: dict) -> dict:
        """Return the impressions of a stretch of a day by domain."""
        drawing = [d for d in encoded if self._first.clicks_only[d]]
        if self._draws:
            clicks = [e[encoding.CLICK] == 1 for e in encoded.values()]
            pairs, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
            for part, clicked in zip(encoded.values(), clicks, strict=True):
                pair = negatives.pair(part[encoding.USER], part[encoding.ITEM])
                pairs.append(pair[clicked])
                times.append(part[encoding.TIME][clicked])
            self._seen.start(np.concatenate(pairs), np.concatenate(times))
        made = {
            domain: self._samplers[domain].impressions(part, self._seen, day)
            if domain in drawing
            else impressions.given(part)
            for domain, part in encoded.items()
        }
        self._seen.end()
        return made

    def _finish(self, spans: dict[str, range]) -> dict:
        """Write vocabularies, summary and state; return the summary."""
        directory, spaces = self._data.path, self._encoder.id_spaces
        for space in spaces.values():
            space.save(directory / "ids")
        summary = self._summary.result() | id_checks.found(self._spec, spaces)
        if self._former:
            summary["features"] = self._feature_changes()
        if self._spec.sources:
            summary["sources"] = of_sources(self._spec, self._natural_days())
        (directory / state.SUMMARY).write_text(
            typed_values.to_json(summary, "the summary"), encoding="utf-8"
        )
        ends = self._ends(spans)
        firsts = [windows.day_name(s[0]) for s in spans.values() if s]
        if self._base is not None:
            firsts.append(self._base.past.window.first)
        manifest = state.described(
            self._spec,
            self._format,
            windows.Window(min(firsts), max(ends.values())),
            ends,
            {
                d: only
                for d, only in self._first.clicks_only.items()
                if d in ends
            },
            {name: space.fingerprint() for name, space in spaces.items()},
            sum(summary[domain]["rows"] for domain in features.DOMAINS),
            len(self._former),
        )
        behind = directory / _BEHIND if state.behind(ends) else None
        state.save(directory, manifest, self._carried(), behind)
        return summary

    def _natural_days(self) -> Days:
        """Return all natural days, those that stay last."""
        days = [(self._data, d) for d in self._data.days(features.NATURAL)]
        if self._base is not None:
            data = self._base.past.data
            kept = self._base.kept.get(features.NATURAL, "")
            own = data.days(features.NATURAL)
            days += [(data, day) for day in own if day <= kept]
        return days

    def _feature_changes(self) -> list[dict]:
        """Return what has changed about features, and since which days."""
        specs = [*(former.spec for former in self._former), self._data.spec]
        found = []
        for i, former in enumerate(self._former):
            since = {d: windows.plus(day, 1) for d, day in former.until.items()}
            changes = former_specs.changes(specs[i], specs[i + 1])
            found.append({"since": since, **dataclasses.asdict(changes)})
        return found


def of_sources(spec: toml_spec.ConversionSpec, days: Days) -> dict[str, dict]:
    """Return the rows and clicks of each source, of natural days."""
    names = (*spec.source_names, features.UNKNOWN_SOURCE)
    found = {name: {"rows": 0, "clicks": 0} for name in names}
    for data, day in days:
        for name, of in data.of_sources(day).items():
            for count in found[name]:
                found[name][count] += of[count]
    if not found[features.UNKNOWN_SOURCE]["rows"]:
        del found[features.UNKNOWN_SOURCE]
    return found


def _former(
    spec: features.DataSpec, base: held.Held | None
) -> list[former_specs.Former]:
    """Return the specs that days which stay were written with before one."""
    if base is None:
        return []
    data, kept = base.past.data, base.kept
    former = [
        former_specs.Former(
            entry.spec,
            {
                d: min(day, kept[d])
                for d, day in entry.until.items()
                if d in kept
            },
        )
        for entry in data.former
    ]
    if data.spec != spec:
        former.append(former_specs.Former(data.spec, dict(kept)))
    return former
