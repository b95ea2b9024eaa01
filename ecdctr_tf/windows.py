"""Days and windows of days: the time axis that every artefact is dated by.

A day is written `YYYY-MM-DD` for people and held as an int32 for tensors: the
number of days since 1970-01-01.
"""

import dataclasses
import datetime

_EPOCH = datetime.date(1970, 1, 1)


def day_number(day: str) -> int:
    """Return the days since 1970-01-01 of a `YYYY-MM-DD` day.

    Raises:
      ValueError: `day` is not a date of the calendar in that form.
    """
    try:
        date = datetime.date.fromisoformat(day)
    except (TypeError, ValueError):
        date = None
    # Other ISO forms are dates too, but do not sort as text.
    if date is None or date.isoformat() != day:
        raise ValueError(
            f"A day should be written YYYY-MM-DD. Received: {day!r}"
        )
    return (date - _EPOCH).days


def is_day(text: str) -> bool:
    """Return whether a text is a day as `day_number` takes it."""
    try:
        day_number(text)
    except ValueError:
        return False
    return True


def day_name(number: int) -> str:
    """Return the `YYYY-MM-DD` form of a number of days since 1970-01-01.

    Raises:
      ValueError: the day is not one of the years 1 to 9999.
    """
    try:
        return (_EPOCH + datetime.timedelta(days=int(number))).isoformat()
    except OverflowError as error:
        raise ValueError(
            "A day should lie in the years 1 to 9999. Received: "
            f"{number} days since {_EPOCH}"
        ) from error


def plus(day: str, days: int) -> str:
    """Return the day that is so many days later, or earlier below 0."""
    return day_name(day_number(day) + days)


@dataclasses.dataclass(frozen=True, order=True)
class Window:
    """Whole days in a row, both ends included, as `YYYY-MM-DD`.

    Example:
      >>> window = ecdctr_tf.Window.ending("2024-03-01", days=3)
      >>> str(window)
      '2024-02-28..2024-03-01'
      >>> window.days
      ['2024-02-28', '2024-02-29', '2024-03-01']
    """

    first: str
    last: str

    def __post_init__(self) -> None:
        """Check the order of the ends."""
        if day_number(self.first) > day_number(self.last):
            raise ValueError(
                "A window should not end before it starts. Received: "
                f"first={self.first}, last={self.last}"
            )

    @classmethod
    def ending(cls, last: str, days: int) -> "Window":
        """Return the window of `days` days that ends with `last`."""
        return cls(plus(last, 1 - days), last)

    @property
    def days(self) -> list[str]:
        """The days of the window, in order."""
        return [
            day_name(n)
            for n in range(day_number(self.first), day_number(self.last) + 1)
        ]

    def split(self, days: int) -> list["Window"]:
        """Return consecutive windows of `days` days; the last may be shorter.

        Raises:
          ValueError: `days` is not positive.
        """
        if days < 1:
            raise ValueError(f"`days` should be at least 1. Received: {days}")
        names = self.days
        return [
            Window(part[0], part[-1])
            for part in (
                names[i : i + days] for i in range(0, len(names), days)
            )
        ]

    def months(self) -> list["Window"]:
        """Return the calendar months of the window; its ends may cut them."""
        months: dict[str, list[str]] = {}
        for day in self.days:
            months.setdefault(day[:7], []).append(day)
        return [Window(days[0], days[-1]) for days in months.values()]

    def __str__(self) -> str:
        """Return `first..last`."""
        return f"{self.first}..{self.last}"
