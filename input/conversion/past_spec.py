"""The part of the conversion spec about what is computed of past events.

Past events (`[[sequences]]`, `[[counts]]`) are taken from the domain "natural",
"ads", "both", or "same", that of the row itself.
"""

import dataclasses

from ecdctr_tf import features

HISTORY_DOMAINS = (*features.DOMAINS, "both", "same")


@dataclasses.dataclass(frozen=True)
class Sequence:
    """The items that the user of a row clicked strictly before the row."""

    name: str
    table: str
    # How many of the newest entries are kept.
    max_length: int
    domain: str = "both"

    def __post_init__(self) -> None:
        """Check the choices."""
        owner = f"the sequence {self.name!r}"
        features.check_choice(owner, "domain", self.domain, HISTORY_DOMAINS)


@dataclasses.dataclass(frozen=True)
class Count:
    """log1p of the events that the ids of a row had on earlier days.

    Users and items are counted exactly. Ids of other features are counted by
    the rows of their table: ids that share a table row are counted together.
    """

    name: str
    # One or two id features whose values are counted.
    of: tuple[str, ...]
    # "click" or "impression".
    event: str = "click"
    domain: str = "both"
    # How many earlier days count; 0: all.
    window_days: int = 0
    side: str = "context"

    def __post_init__(self) -> None:
        """Check the choices."""
        owner = f"the count {self.name!r}"
        features.check_choice(
            owner, "event", self.event, ("click", "impression")
        )
        features.check_choice(owner, "domain", self.domain, HISTORY_DOMAINS)
        good = 1 <= len(set(self.of)) == len(self.of) <= 2
        if not good or self.window_days < 0:
            raise ValueError(
                f"`of` of {owner} should name one or two different features, "
                "and `window_days` should be at least 0. "
                f"Received: {self.of}, {self.window_days}"
            )


@dataclasses.dataclass(frozen=True)
class Age:
    """log1p of the hours since the first event of the item in either domain."""

    name: str
    side: str = "item"


@dataclasses.dataclass(frozen=True)
class Negatives:
    """How impressions without a click are sampled if logs hold only clicks."""

    # Negatives per click; fewer if there are not enough to sample from.
    per_click: int = 3
    # They are sampled from other users' clicks within so many seconds before.
    window_seconds: int = 3600
    # Whether repeated clicks of a user on an item are dropped.
    drop_reclicks: bool = True
    # Seed of the sampling.
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (self.per_click > 0 < self.window_seconds <= 86_400):
            raise ValueError(
                "`per_click` of the negatives should be at least 1 and "
                "`window_seconds` from 1 to 86400. Received: "
                f"{self.per_click}, {self.window_seconds}"
            )
