"""The part of the conversion spec about the files of a log."""

import codecs
import dataclasses

from ecdctr_tf import features

TIME_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}


@dataclasses.dataclass(frozen=True)
class Congruence:
    """The rule `sum(weight * column) % modulo == equals` on whole numbers."""

    # Column of the log -> the whole number it is multiplied by.
    weights: dict[str, int]
    # What the sum is divided by, and the remainder of rows that are kept.
    modulo: int
    equals: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """How text files are written; Parquet files need none of it."""

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
    time: str
    # The name that `--log=name=path` refers to.
    name: str = ""
    # Column with the label; empty if the log holds only clicks.
    click: str = ""
    # Labels of at least this are clicks; without it the label is 0 or 1.
    click_at_least: float | None = None
    # Unit of a numeric event time: s, ms or us since 1970-01-01 UTC.
    time_unit: str = "s"
    # strptime format of an event time in text, in local time; empty: numbers.
    time_format: str = ""
    # Column with the day, which is checked against the time: a whole number of
    # days since `first_day`, or a date; empty if there is none.
    day: str = ""
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
        units = tuple(TIME_UNITS)
        features.check_choice(owner, "time_unit", self.time_unit, units)
        self.check(owner)
