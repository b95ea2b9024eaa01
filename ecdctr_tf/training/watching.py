"""Counts what a scored day holds while it is scored: `monitoring.drift`."""

import json
import pathlib
from collections.abc import Mapping

import tensorflow as tf

from ecdctr_tf import artefacts, kinds, store, windows
from ecdctr_tf.monitoring import bins, drift
from ecdctr_tf.training import workdir
from ecdctr_tf.training.level import Level


class Watch:
    """Counts the inputs of a day and compares them with the days before.

    Args:
      level: the A-CTR, ready to score the day.
      today: the day.

    Raises:
      FileNotFoundError, ValueError: what the day before left is damaged.
    """

    def __init__(self, level: Level, today: windows.Window):
        """Take up what is known of the days before."""
        self._limits = level.config.monitoring
        self._today = today
        last = workdir.newest_before(level.directory, today.first)
        kept = {}
        if last is not None:
            kept = artefacts.read_json(last, artefacts.CTR, artefacts.INPUTS)
        self._records: dict[str, drift.Record] = {}
        self._counters: dict[str, bins.Counter] = {}
        self._tables: dict[str, str] = {}
        historical = _historical(level, today)
        for feature in kinds.of(level.model.spec):
            of = feature.feature
            record = drift.Record(f"{of.kind} {of.table}".strip())
            known = (kept or {}).get(feature.name)
            if known is not None and known["of"] == record.of:
                record = drift.Record.from_dict(known)
            self._records[feature.name] = record
            rows = None
            if of.table:
                self._tables[feature.name] = of.table
                if feature.table.ids != "hashing":
                    rows = feature.table.buckets, level.table_rows[of.table]
            looks_up = feature.one_row and of.basic
            self._counters[feature.name] = bins.Counter(
                feature,
                record.edges,
                rows,
                historical.get(of.table) if looks_up else None,
            )

    def add(self, batch: Mapping[str, tf.Tensor]) -> None:
        """Count the rows of a batch."""
        columns = {name: column.numpy() for name, column in batch.items()}
        for counter in self._counters.values():
            counter.add(columns)

    def compared(self) -> dict:
        """Return what the manifest of the day says of its inputs.

        Returns:
          `days`, with which it was compared; `features`, name -> what
          `drift.compare` returns, and `table` of those on one; `warnings`.
        """
        days = sorted({d for r in self._records.values() for d in r.days})
        found: dict[str, dict] = {}
        told = {}
        for name, counter in self._counters.items():
            before = list(self._records[name].days.values())
            found[name] = drift.compare(counter.seen(), before)
            # Features of a few days only have nothing to be warned of yet.
            if len(before) == len(days):
                told[name] = found[name]
        said = drift.warnings(told, len(days), self._limits)
        for name, table in self._tables.items():
            found[name]["table"] = table
        return {"days": days, "features": found, "warnings": said}

    def write(self, staging: pathlib.Path) -> None:
        """Write what the next day is compared with among the day's files."""
        kept = {}
        for name, record in self._records.items():
            counter = self._counters[name]
            record.edges = counter.edges
            record = record.after(
                self._today.last, counter.seen(), self._limits.days
            )
            kept[name] = record.to_dict()
        text = json.dumps(kept, allow_nan=False)
        store.write_text(staging / artefacts.INPUTS, text)


def _historical(level: Level, today: windows.Window) -> dict:
    """Return which rows of each historical table have a vector on a day.

    Days that are scored together count from the first of them.
    """
    if not level.config.model.history:
        return {}
    _, slots = artefacts.look_up(level.config, artefacts.CTR)
    day = windows.day_number(today.first)
    return {
        name: table.known(day, slots)
        for name, table in level.model.history_tables.items()
    }
