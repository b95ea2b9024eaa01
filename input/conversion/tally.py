"""What a conversion wrote: rows, clicks, users and items, and their overlap."""

import collections
from collections.abc import Mapping

import numpy as np
import rich.console
import rich.table

from ecdctr_tf import features
from ecdctr_tf.input import former_specs
from ecdctr_tf.input.conversion import (
    encoding,
    impressions,
    key_arrays,
)

FAR = "dropped as far from all other days"
# What is counted of rows that are not as usual.
COUNTS = (
    "dropped without user",
    "dropped without item",
    "dropped without a possible time",
    FAR,
    "unknown user",
    "unknown item",
    "local time that was twice",
)


class Tally:
    """Counts the rows of each user and each item by domain."""

    def __init__(self) -> None:
        self._rows = {
            (domain, role): np.zeros(0, np.int64)
            for domain in features.DOMAINS
            for role in ("user", "item")
        }
        self._clicks = dict.fromkeys(features.DOMAINS, 0)
        self._days = dict.fromkeys(features.DOMAINS, 0)
        self._unknown = dict.fromkeys(self._rows, 0)
        self._counts = {d: dict.fromkeys(COUNTS, 0) for d in features.DOMAINS}

    def count(self, domain: str, counts: Mapping[str, int]) -> None:
        """Count rows that were dropped or are not as usual; see `COUNTS`."""
        for what, rows in counts.items():
            self._counts[domain][what] += rows

    def restore_counts(self, other: "Tally") -> None:
        """Take over what another tally counted of rows not as usual."""
        self._counts = other._counts

    def add(self, domain: str, made: impressions.Impressions) -> None:
        """Count impressions."""
        self._clicks[domain] += int(made.click.sum())
        for role, column, place in (
            ("user", encoding.USER, made.context),
            ("item", encoding.ITEM, made.item),
        ):
            keys = made.events[column][place]
            self._unknown[domain, role] += int((keys < 0).sum())
            keys = keys[keys >= 0]
            size = int(keys.max(initial=-1)) + 1
            rows = key_arrays.grown(self._rows[domain, role], size, 0)
            rows += np.bincount(keys, minlength=len(rows))
            self._rows[domain, role] = rows

    def add_day(self, domain: str) -> None:
        """Count a day with events."""
        self._days[domain] += 1

    def forget(
        self, users: np.ndarray, rows: Mapping[str, int], clicks: Mapping
    ) -> None:
        """Leave users out; what was counted of items stays.

        Args:
          users: keys.
          rows: domain -> rows that are gone. Other rows of the users named
            nobody, and count as those of unknown ones.
          clicks: domain -> clicks that are gone.
        """
        for domain in features.DOMAINS:
            of_ids = self._rows[domain, "user"]
            known = users[users < len(of_ids)]
            left = int(of_ids[known].sum()) - rows[domain]
            of_ids[known] = 0
            self._unknown[domain, "user"] += left
            self._clicks[domain] -= clicks[domain]

    def keep(self, role: str, kept: np.ndarray) -> None:
        """Leave ids out; their rows count as those of unknown ones.

        Args:
          role: "user" or "item".
          kept: int `[K]`, keys in order, which are numbered from 0 anew.
        """
        for domain in features.DOMAINS:
            of_ids = self._rows[domain, role]
            left = of_ids[kept[kept < len(of_ids)]]
            self._unknown[domain, role] += int(of_ids.sum() - left.sum())
            self._rows[domain, role] = left

    def totals(self) -> collections.Counter[tuple[str, str]]:
        """Return what `summary` is made of; adds up over parts of the ids."""
        found = collections.Counter[tuple[str, str]]()
        for domain in features.DOMAINS:
            found[domain, "clicks"] = self._clicks[domain]
            found[domain, "days"] = self._days[domain]
            for what, rows in self._counts[domain].items():
                found[domain, what] = rows
        for role in ("user", "item"):
            ads, natural = self._rows["ads", role], self._rows["natural", role]
            known = np.zeros(len(ads), bool)
            shared = min(len(ads), len(natural))
            known[:shared] = natural[:shared] > 0
            found[role, "shared ids"] = int((ads[known] > 0).sum())
            found[role, "shared rows"] = int(ads[known].sum())
            for domain in features.DOMAINS:
                of_ids = self._rows[domain, role]
                all_rows = int(of_ids.sum()) + self._unknown[domain, role]
                found[domain, f"{role}s"] = int((of_ids > 0).sum())
                found[domain, f"rows of {role}s"] = all_rows
        return found

    def result(self) -> dict:
        """Return the summary; see `summary`."""
        return summary(self.totals())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the counts, all int64.

        They are `<domain>_<role>`, `clicks` and `days`, `unknown` by domain and
        role, and `counts` by domain and `COUNTS`.
        """
        rows = {
            f"{domain}_{role}": key_arrays.trimmed(counts, 0)
            for (domain, role), counts in self._rows.items()
        }
        clicks = np.array(list(self._clicks.values()))
        return {
            **rows,
            "clicks": clicks,
            "days": np.array(list(self._days.values())),
            "unknown": np.array(list(self._unknown.values())),
            "counts": np.array(
                [list(counts.values()) for counts in self._counts.values()]
            ),
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` returned."""
        for domain, role in self._rows:
            self._rows[domain, role] = arrays[f"{domain}_{role}"]
        for name, counts in (("clicks", self._clicks), ("days", self._days)):
            values = arrays[name].tolist()
            counts.update(zip(features.DOMAINS, values, strict=True))
        unknown = arrays["unknown"].tolist()
        self._unknown.update(zip(self._rows, unknown, strict=True))
        for domain, rows in zip(
            features.DOMAINS, arrays["counts"].tolist(), strict=True
        ):
            self._counts[domain].update(zip(COUNTS, rows, strict=True))


def summary(totals: Mapping[tuple[str, str], int]) -> dict:
    """Return the summary of a conversion.

    Args:
      totals: as `Tally.totals` returns them, of all ids.

    Returns:
      Domain -> `rows`, `clicks`, `ctr`, `users`, `items`, `days` (those
      with events), and `overlap` -> for "user" and "item" the share of the
      ads' `ids` and of their `rows` whose id the natural rows have too,
      over all days; None where there are no ads. `counts` -> domain ->
      how many rows were dropped or are not as usual.
    """

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    found: dict = {}
    for domain in features.DOMAINS:
        rows = totals[domain, "rows of users"]
        clicks = totals[domain, "clicks"]
        found[domain] = {
            "rows": rows,
            "clicks": clicks,
            "ctr": share(clicks, rows),
            "users": totals[domain, "users"],
            "items": totals[domain, "items"],
            "days": totals[domain, "days"],
        }
    found["overlap"] = {
        role: {
            "ids": share(totals[role, "shared ids"], totals["ads", f"{role}s"]),
            "rows": share(
                totals[role, "shared rows"], totals["ads", f"rows of {role}s"]
            ),
        }
        for role in ("user", "item")
    }
    found["counts"] = {
        domain: {
            what: totals[domain, what]
            for what in COUNTS
            if totals[domain, what]
        }
        for domain in features.DOMAINS
    }
    return found


def show(summary: dict, console: rich.console.Console | None = None) -> None:
    """Print a summary as two tables and notes."""
    console = console or rich.console.Console()
    table = rich.table.Table("domain", *summary["natural"])
    for domain in features.DOMAINS:
        table.add_row(domain, *map(_text, summary[domain].values()))
    console.print(table)
    table = rich.table.Table("of the ads", "ids in natural", "rows in natural")
    for role, shares in summary["overlap"].items():
        table.add_row(f"{role}s", *map(_text, shares.values()))
    console.print(table)
    for note in notes(summary):
        console.print(note, highlight=False, soft_wrap=True, markup=False)


def notes(summary: dict) -> list[str]:
    """Return what a summary says of rows and ids that are not as usual."""
    said = [
        f"{rows:,} {'row' if rows == 1 else 'rows'} of {domain}: {what}."
        for domain, counts in summary["counts"].items()
        for what, rows in counts.items()
    ]
    for name, of in summary.get("sources", {}).items():
        said.append(
            f"Natural source {name}: {of['rows']:,} rows, {of['clicks']:,} "
            "clicks."
        )
    for change in summary.get("features", ()):
        changes = former_specs.Changes(
            change["added"], change["removed"], change["retyped"]
        )
        since = " and ".join(
            f"{day} ({d})" for d, day in change["since"].items()
        )
        said.append(
            f"Features have changed since {since or 'the first day'}: "
            f"{changes.text()}. Earlier days lack what is new."
        )
    for table, ids in summary["crossings"].items():
        if ids:
            said.append(
                f"{ids:,} ids of the table {table!r} are in several id spaces; "
                "they are different ids."
            )
    for table, pairs in summary["alike"].items():
        said.append(
            f"{len(pairs):,} ids of the table {table!r} are one number in two "
            f"ways of writing, such as {pairs[0][0]!r} and {pairs[0][1]!r}; "
            "they are different ids."
        )
    return said


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
