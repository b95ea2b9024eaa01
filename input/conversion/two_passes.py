"""Events of both domains to days of rows, in two passes.

Pass 1 spills the events to files of one day of one domain (`spill`). Pass 2
goes through the days in order, the two domains of a day together, and holds
in memory the events of one day, one file of rows, and the state of the past:
for each user the newest clicks, for each item its first event, for each value
a count, and, where negatives are drawn, each pair of user and item clicked.
No log is ever in memory as a whole.

Nothing in a day's rows depends on later rows: not the history, not the
negatives, not the numbers of ids. So a conversion can be taken up where one of
earlier days ended (`state`).
"""

import hashlib
import pathlib
import shutil
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tqdm

from ecdctr_tf import features, typed_values, windows
from ecdctr_tf.input import data_directory
from ecdctr_tf.input.conversion import (
    day_watch,
    encoding,
    events,
    id_checks,
    impressions,
    negatives,
    ordering,
    row_features,
    spill,
    state,
    tally,
    toml_spec,
)

_SPILLED = ".spill"


class Passes:
    """A conversion under way.

    Args:
      spec: tables, features and rules.
      directory: an empty directory; `write` makes a data directory of it, one
        of the new days only where there is a past.
      file_format: "blocks" or "examples".
      rows_per_file: rows of a TFRecord file.
      past: the days converted before, or None.
    """

    def __init__(
        self,
        spec: toml_spec.ConversionSpec,
        directory: pathlib.Path,
        file_format: str,
        rows_per_file: int,
        past: state.Past | None = None,
    ):
        spec.data_spec().save(directory / data_directory.SPEC)
        self._spec = spec
        self._data = data_directory.DataDirectory(directory)
        self._format = file_format
        self._rows_per_file = rows_per_file
        self._encoder = encoding.Encoder(spec)
        self._features = row_features.RowFeatures(spec, self._encoder)
        self._summary = tally.Tally()
        self._clicks_only: dict[str, bool] = {}
        self._seen = negatives.SeenPairs()
        self._samplers = {
            domain: impressions.Sampler(rule, features.DOMAINS.index(domain))
            for domain, rule in spec.negatives.items()
        }
        self._past = past
        if past is not None:
            self._clicks_only.update(past.clicks_only)
            self._encoder.id_spaces.update(past.id_spaces)
            past.restore(self._carried())

    def read(
        self,
        tables: Iterable[tuple[str, pa.Table]],
        progress: bool,
        finished: str = "",
    ) -> str:
        """Go through the tables; return a fingerprint of them.

        Args:
          tables: as of `converter.convert_tables`.
          progress: whether to show a bar.
          finished: fingerprint of tables that the past holds already, and that
            may be given again.

        Raises:
          ValueError: as `converter.convert_tables` and `append_tables`.
        """
        self._spilled = spill.Spill(self._data.path / _SPILLED)
        digest = hashlib.sha256()
        watch = day_watch.DayWatch(self._spec)
        early = ""
        with _bar("reading", progress) as bar:
            for i, (domain, table) in enumerate(tables):
                where = _where(table, f"Table {i} of {domain}")
                self._check_domain(domain, where)
                part = events.normalised(table, self._spec, domain, where)
                self._check_label(domain, part)
                digest.update(domain.encode())
                digest.update(_bytes(part.table))
                watch.add(domain, part)
                early = early or self._early_days(part.table, where)
                if early and not finished:
                    raise ValueError(early)
                self._spilled.add(domain, part.table)
                self._summary.count(domain, part.counts)
                bar.update(len(table))
        fingerprint = digest.hexdigest()
        if early and fingerprint != finished:
            raise ValueError(early)
        watch.check_zone()
        for domain, day, rows in watch.far(
            self._past.last_days if self._past else {}
        ):
            self._spilled.drop(domain, day)
            self._summary.count(domain, {tally.FAR: rows})
        if not self._spilled.span():
            raise ValueError(
                "There are no rows to convert. Check the paths and the "
                "filters (`keep`, `where`) of the logs."
            )
        return fingerprint

    def write(self, progress: bool) -> dict:
        """Write the days of the tables that were read; return the summary."""
        spans = {domain: self._span(domain) for domain in features.DOMAINS}
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

    def _check_domain(self, domain: str, where: str) -> None:
        if domain not in features.DOMAINS:
            raise ValueError(
                f"{where}: the domain should be one of "
                f"{', '.join(features.DOMAINS)}. Received: {domain!r}"
            )

    def _check_label(self, domain: str, part: events.Events) -> None:
        only = part.clicks_only
        if self._clicks_only.setdefault(domain, only) != only:
            raise ValueError(
                f"{part.where}: all tables of {domain} should have a column "
                "'click', or none of them, including those of days converted "
                "earlier."
            )
        if only and domain not in self._spec.negatives:
            raise ValueError(
                f"{part.where} has no column 'click', so its rows are clicks "
                f"only. Name the label (`click` of the log), or add a table "
                f"[negatives.{domain}] to the spec to draw negatives."
            )

    def _early_days(self, part: pa.Table, where: str) -> str:
        """Return what is wrong with the days of a table, or ""."""
        if self._past is None or not len(part):
            return ""
        day = windows.day_name(pc.min(part["day"]).as_py())
        last = self._past.window.last
        if day > last:
            return ""
        return (
            f"{where} has events of {day}, but {self._past.data.path} "
            f"holds all days up to {last}. Append logs of later days only, "
            "or convert all logs again into another directory. Days are those "
            f"of the zone {self._spec.zone}."
        )

    def _span(self, domain: str) -> range:
        """Return the days to write of a domain: a window has no holes."""
        days = self._spilled.days(domain)
        if not days:
            return range(0)
        first = days[0]
        if self._past is not None and domain in self._past.last_days:
            first = windows.day_number(self._past.last_days[domain]) + 1
        return range(first, days[-1] + 1)

    def _write_days(self, spans: dict[str, range], progress: bool) -> None:
        # A domain not seen yet may begin with clicks only on a later day.
        draws = [self._clicks_only.get(d, True) for d in self._samplers]
        self._draws = any(draws)
        if not self._draws:
            self._seen = negatives.SeenPairs()
        days = [day for span in spans.values() for day in span]
        with _bar("writing", progress) as bar:
            for day in range(min(days), max(days) + 1):
                bar.set_postfix_str(windows.day_name(day), refresh=False)
                domains = [d for d, span in spans.items() if day in span]
                bar.update(self._write_day(day, domains))

    def _write_day(self, day: int, domains: list[str]) -> int:
        """Write a day of the domains it belongs to; return its rows."""
        name = windows.day_name(day)
        if self._past is not None and name <= self._past.window.last:
            # Converted before, when this domain had ended: no events.
            table_rows = self._past.data.table_rows(name)
            for domain in domains:
                self._data.write_day(domain, name, (), table_rows, self._format)
            return 0
        encoded = {d: self._events(d, day) for d in domains}
        encoded = {d: e for d, e in encoded.items() if e is not None}
        self._features.start_day(day, encoded)
        made = self._impressions(day, encoded)
        table_rows = self._encoder.end_day()
        for domain in domains:
            # A day without events is written too: windows have no holes.
            rows = made.get(domain)
            parts = self._parts(domain, rows) if rows is not None else ()
            self._data.write_day(domain, name, parts, table_rows, self._format)
            if rows is not None:
                self._summary.add(domain, rows)
        self._features.end_day(day, made)
        return sum(len(rows) for rows in made.values())

    def _events(self, domain: str, day: int) -> dict | None:
        table = self._spilled.read(domain, day)
        if table is None:
            return None
        table = ordering.ordered(table, self._spec.user, self._spec.item)
        return self._encoder.encode(table)

    def _impressions(self, day: int, encoded: dict) -> dict:
        """Return the impressions of a day by domain."""
        drawing = [d for d in encoded if self._clicks_only[d]]
        if self._draws:
            clicks = [e[encoding.CLICK] == 1 for e in encoded.values()]
            pairs, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
            for part, clicked in zip(encoded.values(), clicks, strict=True):
                pair = negatives.pair(part[encoding.USER], part[encoding.ITEM])
                pairs.append(pair[clicked])
                times.append(part[encoding.TIME][clicked])
            self._seen.start_day(np.concatenate(pairs), np.concatenate(times))
        made = {
            domain: self._samplers[domain].impressions(part, self._seen, day)
            if domain in drawing
            else impressions.given(part)
            for domain, part in encoded.items()
        }
        self._seen.end_day()
        return made

    def _parts(
        self, domain: str, made: impressions.Impressions
    ) -> Iterator[dict]:
        """Yield the rows of a day, one dict a file."""
        for start in range(0, len(made), self._rows_per_file):
            part = slice(start, start + self._rows_per_file)
            yield self._features.rows(domain, made, part)

    def _finish(self, spans: dict[str, range]) -> dict:
        """Write vocabularies, summary and state; return the summary."""
        directory, spaces = self._data.path, self._encoder.id_spaces
        for space in spaces.values():
            space.save(directory / "ids")
        summary = self._summary.result() | id_checks.found(self._spec, spaces)
        (directory / state.SUMMARY).write_text(
            typed_values.to_json(summary, "the summary"), encoding="utf-8"
        )
        ends = {d: windows.day_name(s[-1]) for d, s in spans.items() if s}
        if self._past is not None:
            ends = {**self._past.last_days, **ends}
            first = self._past.window.first
        else:
            first = windows.day_name(min(s[0] for s in spans.values() if s))
        manifest = state.described(
            self._spec,
            self._format,
            windows.Window(first, max(ends.values())),
            ends,
            self._clicks_only,
            spaces,
            sum(summary[domain]["rows"] for domain in features.DOMAINS),
        )
        state.save(directory, manifest, self._carried())
        return summary


def _bytes(part: pa.Table) -> pa.Buffer:
    """Return the rows of a table as bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, part.schema) as out:
        out.write_table(part)
    return sink.getvalue()


def _where(table: pa.Table, otherwise: str) -> str:
    """Return the name that a reader of files gave a table for errors."""
    metadata = table.schema.metadata or {}
    return metadata.get(b"where", otherwise.encode()).decode()


def _bar(what: str, progress: bool) -> tqdm.tqdm:
    # The delay keeps an early error alone on its line.
    return tqdm.tqdm(
        desc=what,
        unit=" rows",
        unit_scale=True,
        delay=0.5,
        disable=not progress,
    )
