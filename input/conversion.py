"""Events of both domains to a data directory, day by day.

Pass 1 spills the events to files of one day of one domain (`spill`). Pass 2
goes through the days in order, the two domains of a day together, and holds
in memory the events of one day, one file of rows, and the state of the past:
for each user the newest clicks, for each item its first event, for each value
a count, and, where negatives are drawn, each pair of user and item clicked.
No log is ever in memory as a whole.

Nothing in a day's rows depends on later rows: not the history, not the
negatives, not the numbers of ids.

The directory is made under another name beside its place and renamed at the
end, so it is there whole or not at all.
"""

import glob
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import tqdm

from ecdctr_tf import features, windows
from ecdctr_tf.input import (
    conversion_spec,
    conversion_summary,
    data_directory,
    encoding,
    events,
    impressions,
    negatives,
    row_features,
    spill,
)

ROWS_PER_FILE = 131_072
SUMMARY = "summary.json"


def convert_tables(
    spec: conversion_spec.ConversionSpec,
    tables: Iterable[tuple[str, pa.Table]],
    out: str | pathlib.Path,
    file_format: str = "blocks",
    rows_per_file: int = ROWS_PER_FILE,
    progress: bool = True,
) -> dict:
    """Write a data directory from tables in memory, one after the other.

    Args:
      spec: tables, features and rules; its `logs` are not read.
      tables: pairs of a domain ("natural" or "ads") and a table of any size,
        in any order of time. Columns: one for each `[[features]]` entry (its
        `column`, or else its name; so `user_id` and `item_id`), `timestamp`
        (int64 seconds UTC or an Arrow timestamp), the evaluation columns;
        `click` (0 or 1) unless the domain is clicks only, and optionally
        `day`, checked against the time. Other columns are dropped.
      out: the data directory; must not exist.
      file_format: "blocks" or "examples".
      rows_per_file: rows of a TFRecord file, which are in memory together.
      progress: whether to show bars on stderr.

    Returns:
      The summary, as saved in `summary.json`: see `conversion_summary`.

    Raises:
      FileExistsError: `out` exists.
      ValueError: a table does not hold what it should, there are no rows, or
        a domain of clicks only has no `negatives` in the spec.
    """
    out = pathlib.Path(out)
    if file_format not in data_directory.FORMATS:
        raise ValueError(
            f"The format should be one of {', '.join(data_directory.FORMATS)}. "
            f"Received: {file_format!r}"
        )
    if rows_per_file < 1:
        raise ValueError(
            f"`rows_per_file` should be at least 1. Received: {rows_per_file}"
        )
    if out.exists():
        raise FileExistsError(
            f"{out} exists already. Remove it or name another directory."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    for leftover in out.parent.glob(
        f".staging-{glob.escape(out.name)}-????????"
    ):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = out.with_name(f".staging-{out.name}-{uuid.uuid4().hex[:8]}")
    staging.mkdir()
    try:
        spilled = staging / ".spill"
        conversion = _Conversion(spec, staging, file_format, rows_per_file)
        conversion.spill(tables, spilled, progress)
        summary = conversion.write_days(progress)
        shutil.rmtree(spilled, ignore_errors=True)
        os.rename(staging, out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return summary


class _Conversion:
    """A conversion under way."""

    def __init__(self, spec, staging, file_format, rows_per_file):
        spec.data_spec().save(staging / data_directory.SPEC)
        self._spec = spec
        self._data = data_directory.DataDirectory(staging)
        self._format = file_format
        self._rows_per_file = rows_per_file
        self._encoder = encoding.Encoder(spec)
        self._features = row_features.RowFeatures(spec, self._encoder)
        self._summary = conversion_summary.Tally()
        self._clicks_only: dict[str, bool] = {}
        self._seen = negatives.SeenPairs()
        self._samplers = {
            domain: impressions.Sampler(rule, features.DOMAINS.index(domain))
            for domain, rule in spec.negatives.items()
        }

    def spill(self, tables, directory: pathlib.Path, progress: bool) -> None:
        """Go through the tables: pass 1."""
        self._spilled = spill.Spill(directory)
        with _bar("reading", progress) as bar:
            for i, (domain, table) in enumerate(tables):
                where = _where(table, f"Table {i} of {domain}")
                self._check_domain(domain, table, where)
                self._spilled.add(
                    domain, events.normalised(table, self._spec, where)
                )
                bar.update(len(table))
        if not self._spilled.span():
            raise ValueError(
                "There are no rows to convert. Check the paths and the "
                "filters (`keep`, `where`) of the logs."
            )

    def _check_domain(self, domain: str, table: pa.Table, where: str) -> None:
        if domain not in features.DOMAINS:
            raise ValueError(
                f"{where}: the domain should be one of "
                f"{', '.join(features.DOMAINS)}. Received: {domain!r}"
            )
        clicks_only = "click" not in table.column_names
        if self._clicks_only.setdefault(domain, clicks_only) != clicks_only:
            raise ValueError(
                f"{where}: all tables of {domain} should have a column 'click' "
                "or none."
            )
        if clicks_only and domain not in self._spec.negatives:
            raise ValueError(
                f"{where} has no column 'click', so its rows are clicks only. "
                f"Name the label (`click` of the log), or add a table "
                f"[negatives.{domain}] to the spec to draw negatives."
            )

    def write_days(self, progress: bool) -> dict:
        """Go through the days: pass 2. Returns the summary."""
        spans = {}
        for domain in features.DOMAINS:
            days = self._spilled.days(domain)
            spans[domain] = range(days[0], days[-1] + 1) if days else range(0)
        with _bar("writing", progress) as bar:
            for day in self._spilled.span():
                bar.set_postfix_str(windows.day_name(day), refresh=False)
                domains = [d for d, span in spans.items() if day in span]
                bar.update(self._write_day(day, domains))
        for space in self._encoder.id_spaces.values():
            space.save(self._data.path / "ids")
        summary = self._summary.result()
        (self._data.path / SUMMARY).write_text(
            json.dumps(summary, indent=1) + "\n", encoding="utf-8"
        )
        return summary

    def _write_day(self, day: int, domains: list[str]) -> int:
        """Write a day of the domains it belongs to; return its rows."""
        encoded = {d: self._events(d, day) for d in domains}
        encoded = {d: e for d, e in encoded.items() if e is not None}
        self._features.start_day(day, encoded)
        made = self._impressions(day, encoded)
        table_rows = self._encoder.end_day()
        for domain in domains:
            # A day without events is written too: windows have no holes.
            rows = made.get(domain)
            parts = self._parts(domain, rows) if rows is not None else ()
            self._data.write_day(
                domain, windows.day_name(day), parts, table_rows, self._format
            )
            if rows is not None:
                self._summary.add(domain, rows)
        self._features.end_day(day, made)
        return sum(len(rows) for rows in made.values())

    def _events(self, domain: str, day: int) -> dict | None:
        table = self._spilled.read(domain, day)
        if table is None:
            return None
        table = events.ordered(table, self._spec.user, self._spec.item)
        return self._encoder.encode(table)

    def _impressions(self, day: int, encoded: dict) -> dict:
        """Return the impressions of a day by domain."""
        drawing = [d for d in encoded if self._clicks_only[d]]
        if any(self._clicks_only.values()):
            clicks = [e["click"] == 1 for e in encoded.values()]
            pairs, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
            for part, clicked in zip(encoded.values(), clicks, strict=True):
                pair = negatives.pair(part["user"], part["item"])
                pairs.append(pair[clicked])
                times.append(part["time"][clicked])
            self._seen.start_day(np.concatenate(pairs), np.concatenate(times))
        made = {
            domain: self._samplers[domain].impressions(part, self._seen, day)
            if domain in drawing
            else impressions.given(part)
            for domain, part in encoded.items()
        }
        self._seen.end_day()
        return made

    def _parts(self, domain: str, made) -> Iterator[dict]:
        """Yield the rows of a day, one dict a file."""
        for start in range(0, len(made), self._rows_per_file):
            part = slice(start, start + self._rows_per_file)
            yield self._features.rows(domain, made, part)


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
