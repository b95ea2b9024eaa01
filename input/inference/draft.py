"""What was found out about each log, before it is written as a spec."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input.conversion import exploding
from ecdctr_tf.input.inference import domains, roles, samples, side_files, times

# Stands in the spec for a column that was not found.
UNKNOWN = "FILL IN"


@dataclasses.dataclass
class Log:
    """A log: its files, what its columns mean, and what is joined to it."""

    sample: samples.Sample
    name: str
    # Rows of the sample with the columns of joins, one for each impression.
    table: pa.Table
    domain: str = "natural"
    explode: dict | None = None
    time: times.Time | None = None
    days: times.Days | None = None
    # Hours ahead of UTC of the days in the names of its files, all that fit;
    # None if these are days of UTC, or not known.
    hours: np.ndarray | None = None
    user: roles.Choice = dataclasses.field(default_factory=roles.Choice)
    item: roles.Choice = dataclasses.field(default_factory=roles.Choice)
    label: roles.Label = dataclasses.field(default_factory=roles.Label)
    # Column with the weight of each row, or "".
    weight: str = ""
    # Files that are joined, and the columns that are taken from each.
    sides: list[tuple[side_files.Side, list[str]]] = dataclasses.field(
        default_factory=list
    )
    # Column -> values, as in the spec.
    keep: dict[str, list] = dataclasses.field(default_factory=dict)
    drop: dict[str, list] = dataclasses.field(default_factory=dict)
    # Made-up name of a column -> the name it gets in the spec.
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    # Sentences for the comment above the log.
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def roles(self) -> set[str]:
        """The columns that are no features."""
        named = {self.user.column, self.label.column, self.weight}
        # A category that stands for an item is a feature, too.
        if self.item.trust != "a guess" or self.names:
            named.add(self.item.column)
        named |= {self.time.column} if self.time else set()
        named |= {self.days.column} if self.days else set()
        if self.explode:
            named |= {self.explode["column"], self.explode.get("clicked", "")}
        named |= {*self.keep, *self.drop}
        return named - {""}

    @property
    def click(self) -> np.ndarray | None:
        """Whether each row of the sample is a click, where that is known."""
        if exploding.LABEL in self.table.column_names:
            return self.table[exploding.LABEL].to_numpy() > 0
        if not self.label.column:
            return None
        at_least = self.label.at_least or 1
        values = self.table[self.label.column]
        if pa.types.is_string(values.type):
            values = values.cast(pa.bool_())
        number = pc.fill_null(values.cast(pa.float64(), safe=False), 0)
        return number.to_numpy() >= at_least

    def missing(self) -> list[str]:
        """Return the roles for which no column was found."""
        found = {
            "user": self.user.column,
            "item": self.item.column,
            "time": self.time and self.time.column,
        }
        return [role for role, column in found.items() if not column]

    @property
    def path(self) -> str:
        """The path or glob of the files."""
        return self.sample.path

    def lacks(self, role: str) -> bool:
        """Return whether rows of the sample have no user or no item."""
        column = getattr(self, role).column
        return bool(column) and self.table[column].null_count > 0

    def called(self, column: str) -> str:
        """Return the name that a column has in the spec."""
        return self.names.get(column, column)


def has_time(sample: samples.Sample) -> times.Time | None:
    """Return the event time of a file, or None if it is no log."""
    found = times.of_table(sample.table)
    return found[0] if found and found[0].score >= 1 else None


def with_domains(logs: list[Log]) -> list[Log]:
    """Return the logs with their domains; a log of both becomes two."""
    divided = []
    for log in logs:
        found = domains.split(log.table)
        divided += _halves(log, found) if found else [log]
    if any(log.keep or log.drop for log in divided):
        return divided
    for log in divided:
        of_ads = roles.is_ad(log.item.column)
        log.domain = domains.hint(log.sample.path, of_ads)
    _settle(divided)
    return divided


def _halves(log: Log, found: domains.Split) -> list[Log]:
    """Return the natural rows and the ads of one log, as two logs."""
    natural = dataclasses.replace(log, notes=[*log.notes])
    ads = dataclasses.replace(log, notes=[*log.notes])
    natural.name, ads.name = f"{log.name}_natural", f"{log.name}_ads"
    natural.domain, ads.domain = "natural", "ads"
    natural.drop, ads.keep = (
        {found.column: found.ads},
        {found.column: found.ads},
    )
    for half in (natural, ads):
        half.notes.append(
            f"Domain: likely; {found.column!r} is {found.ads} for ads."
        )
        kept = pc.is_in(log.table[found.column], pa.array(found.ads))
        kept = pc.invert(kept) if half is natural else kept
        half.table = log.table.filter(kept)
    return [natural, ads]


def _settle(logs: list[Log]) -> None:
    """Give a domain to the logs whose names do not say it."""
    if len(logs) == 1:
        logs[0].domain = "natural"
        logs[0].notes.append(
            "Domain: no file and no column says which rows are ads, so all "
            "rows are natural. If some are ads: repeat this log with "
            '`domain = "ads"` and another `name`, and give one of them '
            "`keep`, the other `drop`, with the values of a column."
        )
        return
    trust = dict.fromkeys((log.name for log in logs if log.domain), "by name")
    if "ads" not in {log.domain for log in logs}:
        smallest = min(logs, key=lambda log: log.sample.rows)
        smallest.domain = "ads"
        trust[smallest.name] = "a guess: it is the smallest log"
    for log in logs:
        log.domain = log.domain or "natural"
        why = trust.get(log.name, "a guess: another log has the ads")
        log.notes.append(f"Domain: {log.domain}, {why}.")
