"""Pass 1: tables of logs to events of one day of one domain, checked.

What is wrong with the days of the events is found before anything is written:
days that are held, days of the wrong zone, and rows far from all others.
"""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf import features, windows
from ecdctr_tf.input.conversion import (
    bars,
    day_watch,
    events,
    held,
    spill,
    tally,
    toml_spec,
)


class FirstPass:
    """The first pass of a conversion.

    Args:
      spec: tables, features and rules.
      directory: an empty directory for files of events.
      base: the days converted before, or None.
      replaced: the day that is converted again; empty where days are added.

    Attributes:
      spilled: the events.
      clicks_only: domain -> whether its logs hold clicks only, where known.
      counts: domain -> what its tables held that is not as usual.
    """

    def __init__(
        self,
        spec: toml_spec.ConversionSpec,
        directory: pathlib.Path,
        base: held.Held | None,
        replaced: str,
    ):
        self.spilled = spill.Spill(directory)
        self.clicks_only: dict[str, bool] = {}
        self.counts: dict[str, collections.Counter[str]] = {
            domain: collections.Counter() for domain in features.DOMAINS
        }
        self._spec = spec
        self._base = base
        self._replaced = replaced
        # Numbers of the natural sources that have events.
        self._sources: set[int] = set()
        if base is not None:
            self.clicks_only.update(base.past.clicks_only)

    def read(
        self,
        tables: Iterable[tuple[str, pa.Table]],
        progress: bool,
        finished: str = "",
    ) -> str:
        """Go through the tables; fingerprint them where days are held.

        Args:
          tables: as of `converter.convert_tables`.
          progress: whether to show a bar.
          finished: fingerprint of tables that the past holds already, and that
            may be given again.

        Raises:
          ValueError: as `converter.convert_tables` and `append_tables`.
        """
        digest = hashlib.sha256()
        watch = day_watch.DayWatch(self._spec)
        early = ""
        with bars.bar("reading", progress) as bar:
            for i, (domain, table) in enumerate(tables):
                where = name_of(table, f"Table {i} of {domain}")
                self._check_domain(domain, where)
                part = events.normalised(table, self._spec, domain, where)
                self.check_label(domain, part.clicks_only, where)
                part = self._of_the_day(part)
                if self._base is not None:
                    digest.update(domain.encode())
                    digest.update(_bytes(part.table))
                watch.add(domain, part)
                early = early or self._early_days(domain, part.table, where)
                if early and not finished:
                    raise ValueError(early)
                if features.SOURCE in part.table.column_names:
                    numbers = pc.unique(part.table[features.SOURCE])
                    self._sources.update(numbers.to_pylist())
                self.spilled.add(domain, part.table)
                self.counts[domain].update(part.counts)
                bar.update(len(table))
        fingerprint = digest.hexdigest()
        if early and fingerprint != finished:
            raise ValueError(early)
        watch.check_zone()
        past = self._base.past if self._base is not None else None
        for domain, day, rows in watch.far(
            past.last_days if past else {}, past.window.first if past else ""
        ):
            self.spilled.drop(domain, day)
            self.counts[domain][tally.FAR] += rows
        if self._replaced:
            self._check_replaced()
        if not self.spilled.span():
            raise no_rows(self.counts)
        watch.warn()
        return fingerprint

    def _check_domain(self, domain: str, where: str) -> None:
        if domain not in features.DOMAINS:
            raise ValueError(
                f"{where}: the domain should be one of "
                f"{', '.join(features.DOMAINS)}. Received: {domain!r}"
            )

    def check_label(self, domain: str, only: bool, where: str) -> None:
        """Raise a ValueError unless the label is as that of other tables.

        Args:
          domain: of a table.
          only: whether its rows are clicks only.
          where: names the table in errors.
        """
        if self.clicks_only.setdefault(domain, only) != only:
            raise ValueError(
                f"{where}: all tables of {domain} should have a column "
                "'click', or none of them, including those of days converted "
                "earlier."
            )
        if only and domain not in self._spec.negatives:
            raise ValueError(
                f"{where} has no column 'click', so its rows are clicks "
                f"only. Name the label (`click` of the log), or add a table "
                f"[negatives.{domain}] to the spec to draw negatives."
            )

    def _of_the_day(self, part: events.Events) -> events.Events:
        """Return the events of the day that is replaced, if there is one."""
        if not self._replaced:
            return part
        day = windows.day_number(self._replaced)
        there = part.table["day"].to_numpy() == day
        return dataclasses.replace(
            part, table=part.table.filter(there), rows=part.rows[there]
        )

    def _check_replaced(self) -> None:
        """Raise a ValueError unless the day can be converted again."""
        found = [d for d in features.DOMAINS if self.spilled.days(d)]
        data = self._base.past.data
        if not found:
            raise ValueError(
                f"The logs have no events of {self._replaced}, the day to "
                "replace. Check the paths and the filters of the logs, and the "
                "zone of days."
            )
        for domain in found:
            if self._replaced not in data.days(domain):
                raise ValueError(
                    f"{data.path} holds no {self._replaced} of {domain} that "
                    "could be replaced; it holds "
                    f"{data.window(domain) if data.days(domain) else 'none'}. "
                    "Append later days with --append."
                )
        if features.NATURAL in found:
            self._check_sources(data.of_sources(self._replaced))

    def _check_sources(self, held: Mapping[str, Mapping]) -> None:
        """Raise a ValueError if the day would lose the rows of a source.

        Args:
          held: source -> its rows of the day that is replaced.
        """
        names = self._spec.source_names
        found = {names[number - 1] for number in self._sources if number}
        for name in {log.source for log in self._spec.logs} - found - {""}:
            if name in held:
                raise ValueError(
                    f"The logs have no events of the source {name!r} on "
                    f"{self._replaced}, of which {held[name]['rows']:,} rows "
                    "would be lost: a day is replaced as a whole. Give the "
                    "logs of all its sources, or take the [[logs]] of "
                    f"{name!r} out of the spec if the rows are to go."
                )

    def _early_days(self, domain: str, part: pa.Table, where: str) -> str:
        """Return what is wrong with the days of a table, or ""."""
        if self._base is None or not len(part):
            return ""
        whole = "convert a day again with --replace=DAY"
        if self._spec.sources and domain == features.NATURAL:
            whole += " and the logs of all its sources"
        day = windows.day_name(pc.min(part["day"]).as_py())
        last = self._base.kept.get(domain, "")
        if day > last:
            return ""
        return (
            f"{where} has events of {day}, but {self._base.past.data.path} "
            f"holds all days up to {last}. Append logs of later days of "
            f"{domain} only, or {whole}. Days are those of the zone "
            f"{self._spec.zone}."
        )


def no_rows(counts: Mapping[str, Mapping[str, int]]) -> ValueError:
    """Return the error that there is nothing to convert.

    Args:
      counts: domain -> what its tables held that is not as usual.
    """
    dropped = "".join(
        f" {rows:,} of {domain}: {what}."
        for domain, of_domain in counts.items()
        for what, rows in of_domain.items()
    )
    return ValueError(
        "There are no rows to convert. Check the paths and the "
        f"filters (`keep`, `where`) of the logs.{dropped}"
    )


def _bytes(part: pa.Table) -> pa.Buffer:
    """Return the rows of a table as bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, part.schema) as out:
        out.write_table(part)
    return sink.getvalue()


def name_of(table: pa.Table, otherwise: str) -> str:
    """Return the name that a reader of files gave a table for errors."""
    metadata = table.schema.metadata or {}
    return metadata.get(b"where", otherwise.encode()).decode()
