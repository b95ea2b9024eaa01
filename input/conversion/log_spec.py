"""What `convert` is told about the files of a log."""

import codecs
import dataclasses

from ecdctr_tf import features

TIME_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}


@dataclasses.dataclass(frozen=True)
class Congruence:
    """The rule `sum(weight * column) % modulo == equals` on whole numbers."""

    # Column of the log -> the whole number it is multiplied by.
    weights: dict[str, int]
    modulo: int
    equals: int = 0


@dataclasses.dataclass(frozen=True)
class Join:
    """A small file whose columns are looked up for every row of a log."""

    # Path or glob, relative to the source directory.
    path: str
    # Column of the log that holds the key.
    on: str
    # Column of this file that holds the key; each key once.
    key: str
    # Columns of this file to add to the log; a missing key gives nulls.
    take: tuple[str, ...]
    # Names of the columns of a file without header.
    columns: tuple[str, ...] = ()
    # Of a text file; may be several characters.
    delimiter: str = ","
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Check the encoding."""
        _check_text(f"the join {self.path!r}", self)


@dataclasses.dataclass(frozen=True)
class Log:
    """Files of one domain: where they are and what their columns mean."""

    domain: str
    # Path or glob, relative to the source directory; .parquet or text.
    path: str
    # Columns with the user, the item and the event time.
    user: str
    item: str
    time: str
    # Name for `--log name=path`.
    name: str = ""
    # Column with the label; empty where the log holds clicks only.
    click: str = ""
    # A row is a click where the label is at least this; None: it is 0 or 1.
    click_at_least: float | None = None
    # Unit of a numeric event time: s, ms or us since 1970-01-01 UTC.
    time_unit: str = "s"
    # strptime format of a text event time, local time; empty for numbers.
    time_format: str = ""
    # Column with the day, checked against the time: a whole number of days
    # since `first_day`, or a date; empty where there is none.
    day: str = ""
    # Names of the columns of a text file without header.
    columns: tuple[str, ...] = ()
    # Of a text file; may be several characters.
    delimiter: str = ","
    encoding: str = "utf-8"
    # Column -> values; other rows are passed over.
    keep: dict[str, list] = dataclasses.field(default_factory=dict)
    # Rows for which all of these hold are kept, the others with `negate`.
    where: tuple[Congruence, ...] = ()
    negate: bool = False
    joins: tuple[Join, ...] = ()

    def __post_init__(self) -> None:
        """Check the choices."""
        owner = f"the log {self.name or self.path!r}"
        features.check_choice(owner, "domain", self.domain, features.DOMAINS)
        units = tuple(TIME_UNITS)
        features.check_choice(owner, "time_unit", self.time_unit, units)
        _check_text(owner, self)


def _check_text(owner: str, files: "Log | Join") -> None:
    """Raise a ValueError unless text files can be read so."""
    try:
        codecs.lookup(files.encoding)
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"`encoding` of {owner} should be one that Python knows, such as "
            f"utf-8 or latin-1. Received: {files.encoding!r}"
        ) from error
    if not files.delimiter:
        raise ValueError(f"`delimiter` of {owner} should not be empty.")
