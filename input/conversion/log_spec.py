"""The part of the conversion spec about the files of a log."""

import codecs
import dataclasses

from ecdctr_tf import features, windows
from ecdctr_tf.input.conversion import times, weights, zones

# What stands for a missing value unless a log says otherwise.
NULL_TEXTS = ("", r"\N")


@dataclasses.dataclass(frozen=True)
class Congruence:
    """The rule `sum(weight * column) % modulo == equals` on whole numbers."""

    # Column of the log -> the whole number it is multiplied by.
    weights: dict[str, int]
    # What the sum is divided by, and the remainder of rows that are kept.
    modulo: int
    equals: int = 0

    def __post_init__(self) -> None:
        """Check that rows may meet the rule."""
        if not self.weights or not 0 <= self.equals < self.modulo:
            raise ValueError(
                "A `where` of a log should have `weights`, and `equals` from 0 "
                "to `modulo` - 1. Received: "
                f"{self.weights}, {self.equals}, {self.modulo}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """How text is written."""

    # Names of the columns if the files have no header.
    columns: tuple[str, ...] = ()
    # May be several characters.
    delimiter: str = ","
    # As Python calls it, such as utf-8 or latin-1.
    encoding: str = "utf-8"
    # Stands around fields that hold delimiters, line breaks or, doubled,
    # itself; empty: quotes are part of the values.
    quote: str = '"'
    # Takes the meaning from the character after it; empty: there is none.
    escape: str = ""
    # Values, also of Parquet files and in lists, that stand for a missing one;
    # "-1" stands for the number, too.
    null_texts: tuple[str, ...] = NULL_TEXTS

    def check(self, owner: str) -> None:
        """Raise a ValueError unless text files can be read so."""
        try:
            codecs.getincrementaldecoder(self.encoding)
            "a".encode(self.encoding)
        except (LookupError, ValueError) as error:
            raise ValueError(
                f"`encoding` of {owner} should be one that Python knows, such "
                f"as utf-8 or latin-1. Received: {self.encoding!r}"
            ) from error
        if not self.delimiter:
            raise ValueError(f"`delimiter` of {owner} should not be empty.")
        marks = [m for m in (self.delimiter, self.quote, self.escape) if m]
        single = all(len(mark.encode()) == 1 for mark in marks[1:])
        if not single or len(set(marks)) < len(marks) or "\n" in marks:
            raise ValueError(
                f"`delimiter`, `quote` and `escape` of {owner} should be "
                "different, and the last two one ASCII character each, or "
                f"empty. Received: {self.delimiter!r}, {self.quote!r}, "
                f"{self.escape!r}"
            )


@dataclasses.dataclass(frozen=True)
class Join(Text):
    """A small file whose columns are joined to every row of a log."""

    # File, folder, glob or URI, relative to the source directory.
    path: str
    # Column of the log that holds the key.
    on: str
    # Column of this file that holds the key; keys are unique.
    key: str
    # Columns of this file to add to the log; they are null for missing keys.
    take: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check how the file is written."""
        self.check(f"the join {self.path!r}")


@dataclasses.dataclass(frozen=True)
class Explode:
    """Rows that hold a list of items: each entry becomes a row of its own."""

    # Column with the list; afterwards it holds one entry.
    column: str
    # Stands between the entries if the list is text; empty: it is a list.
    separator: str = ""
    # Column with the entries that were clicked, written as `column` is; the
    # others were not clicked.
    clicked: str = ""
    # Stands between an entry and its label, 0 or 1: "-" if entries look like
    # "N1-0".
    label_separator: str = ""

    def __post_init__(self) -> None:
        """Check that labels come from one place."""
        if self.clicked and self.label_separator:
            raise ValueError(
                "`explode` should have `clicked` or `label_separator`, not "
                f"both. Received: {self.clicked!r}, {self.label_separator!r}"
            )

    @property
    def labelled(self) -> bool:
        """Whether the list says what was clicked."""
        return bool(self.clicked or self.label_separator)


@dataclasses.dataclass(frozen=True)
class Log(Text):
    """Files of one domain: where they are and what their columns mean."""

    # "natural" or "ads".
    domain: str
    # File, folder, glob or URI, relative to the source directory; the files
    # are Parquet or text, and may be compressed. Folders called `dt=2024-01-01`
    # are a column "dt".
    path: str
    # Columns with the user, the item and the event time.
    user: str
    item: str
    time: str = ""
    # Instead of `time`, if rows are in the order of time but do not say it: how
    # many of them make a day. The first day is `time_origin`.
    rows_per_day: int = 0
    # The name that `--log=name=path` refers to.
    name: str = ""
    # Name of the `[[sources]]` that a natural log comes from. If there are
    # sources, each natural log has one.
    source: str = ""
    # Column with the label; empty if the log holds only clicks.
    click: str = ""
    # Labels of at least this are clicks; without it the label is 0 or 1.
    click_at_least: float | None = None
    # Unit of a numeric event time: s, ms, us or ns since `time_origin`.
    time_unit: str = "s"
    # Day that numeric event times count from, `YYYY-MM-DD`, 00:00 UTC.
    time_origin: str = "1970-01-01"
    # strptime format of an event time in text, or "iso"; empty: numbers. With
    # Z, UTC or GMT at its end times are those of UTC.
    time_format: str = ""
    # Zone of event times that do not say theirs, a name such as "UTC" or
    # "Europe/Berlin"; empty: that of the days.
    time_zone: str = ""
    # Column with the day, which is checked against the time: a date, a number
    # such as 20240501, or a whole number of days since `first_day`; empty if
    # there is none.
    day: str = ""
    # Column with the weight of each row in losses and metrics; empty: 1 each.
    weight: str = ""
    # Share of the rows without a click that the log holds, where others were
    # left out at random; they get the weight 1 / share.
    downsampled: float = 1.0
    # Feature -> its column in this log, where it has another name here.
    feature_columns: dict[str, str] = dataclasses.field(default_factory=dict)
    # Table -> the id space that its ids in this log belong to; without an
    # entry it is called as the table. The same id of two spaces is two ids.
    id_spaces: dict[str, str] = dataclasses.field(default_factory=dict)
    # Column -> values to keep; other rows are dropped. "" is a missing value.
    keep: dict[str, list] = dataclasses.field(default_factory=dict)
    # Column -> values to drop; other rows are kept. "" is a missing value.
    drop: dict[str, list] = dataclasses.field(default_factory=dict)
    # Only rows for which all of these hold are kept; with `negate`, only the
    # others.
    where: tuple[Congruence, ...] = ()
    negate: bool = False
    joins: tuple[Join, ...] = ()
    # How to take lists apart, such as the items of a page.
    explode: Explode | None = None

    def __post_init__(self) -> None:
        """Check the choices."""
        owner = f"the log {self.name or self.path!r}"
        if self.explode and self.explode.labelled and self.click:
            raise ValueError(
                f"{owner} should have no `click`: its `explode` says what was "
                f"clicked. Received: {self.click!r}"
            )
        features.check_choice(owner, "domain", self.domain, features.DOMAINS)
        units = tuple(times.UNITS)
        features.check_choice(owner, "time_unit", self.time_unit, units)
        windows.day_number(self.time_origin)
        zones.Zone(self.time_zone)
        times.check_format(owner, self.time_format, self.time_zone)
        weights.check(owner, self.weight, self.downsampled)
        _check_rules(owner, self)
        self.check(owner)


def _check_rules(owner: str, log: "Log") -> None:
    """Raise a ValueError for keys that would do nothing, or nonsense."""
    for key in ("user", "item"):
        if not getattr(log, key):
            raise ValueError(f"`{key}` of {owner} should name a column.")
    if bool(log.time) == (log.rows_per_day > 0) or log.rows_per_day < 0:
        raise ValueError(
            f"`time` of {owner} should name a column; or, if its rows are in "
            "the order of time, `rows_per_day` should be at least 1 instead. "
            f"Received: {log.time!r}, {log.rows_per_day}"
        )
    roles = ("user", "item", "time", "click", "weight")
    names = [getattr(log, key) for key in roles if getattr(log, key)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"{', '.join(roles)} of {owner} should be different columns. "
                f"Received {name!r} twice."
            )
    if log.click_at_least is not None and not log.click:
        raise ValueError(
            f"{owner} has `click_at_least`, but no `click` that it applies to."
        )
    if log.negate and not log.where:
        raise ValueError(f"{owner} has `negate`, but no `where` to negate.")
    for rules in (log.keep, log.drop):
        for name, values in rules.items():
            kinds = {isinstance(value, str) for value in values if value != ""}
            if len(kinds) > 1:
                raise ValueError(
                    f"The values of {name!r} in `keep` or `drop` of {owner} "
                    'should be all text or all numbers, beside "" for a '
                    f"missing value. Received: {values}"
                )
    taken: set[str] = set()
    for join in log.joins:
        own = {*join.take}
        again = taken & own or own & {join.on}
        if again:
            raise ValueError(
                f"{owner} would have two columns {min(again)!r}: the join "
                f"{join.path!r} takes one beside another one that is read."
            )
        taken |= own
