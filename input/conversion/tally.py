"""What a conversion wrote: rows, clicks, users and items, and their overlap."""

import numpy as np
import rich.console
import rich.table

from ecdctr_tf import features
from ecdctr_tf.input.conversion import history_features, impressions


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

    def add(self, domain: str, made: impressions.Impressions) -> None:
        """Count the impressions of a day with events."""
        self._clicks[domain] += int(made.click.sum())
        self._days[domain] += 1
        for role, place in (("user", made.context), ("item", made.item)):
            keys = made.events[role][place]
            size = int(keys.max(initial=-1)) + 1
            rows = history_features.grown(self._rows[domain, role], size, 0)
            rows += np.bincount(keys, minlength=len(rows))
            self._rows[domain, role] = rows

    def result(self) -> dict:
        """Return the summary.

        Returns:
          Domain -> `rows`, `clicks`, `ctr`, `users`, `items`, `days` (those
          with events), and `overlap` -> for "user" and "item" the share of the
          ads' `ids` and of their `rows` whose id the natural rows have too,
          over all days; None where there are no ads.
        """
        summary = {d: self._domain(d) for d in features.DOMAINS}
        summary["overlap"] = {r: self._overlap(r) for r in ("user", "item")}
        return summary

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the counts, int64: `<domain>_<role>`, `clicks`, `days`."""
        rows = {
            f"{domain}_{role}": history_features.trimmed(counts, 0)
            for (domain, role), counts in self._rows.items()
        }
        clicks = np.array(list(self._clicks.values()))
        return {
            **rows,
            "clicks": clicks,
            "days": np.array(list(self._days.values())),
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` returned."""
        for domain, role in self._rows:
            self._rows[domain, role] = arrays[f"{domain}_{role}"]
        for name, counts in (("clicks", self._clicks), ("days", self._days)):
            values = arrays[name].tolist()
            counts.update(zip(features.DOMAINS, values, strict=True))

    def _domain(self, domain: str) -> dict:
        users, items = (self._rows[domain, r] for r in ("user", "item"))
        rows, clicks = int(users.sum()), self._clicks[domain]
        return {
            "rows": rows,
            "clicks": clicks,
            "ctr": clicks / rows if rows else None,
            "users": int((users > 0).sum()),
            "items": int((items > 0).sum()),
            "days": self._days[domain],
        }

    def _overlap(self, role: str) -> dict:
        ads, natural = self._rows["ads", role], self._rows["natural", role]
        known = np.zeros(len(ads), bool)
        shared = min(len(ads), len(natural))
        known[:shared] = natural[:shared] > 0
        count, rows = int((ads > 0).sum()), int(ads.sum())
        return {
            "ids": float((ads[known] > 0).sum() / count) if count else None,
            "rows": float(ads[known].sum() / rows) if rows else None,
        }


def show(summary: dict, console: rich.console.Console | None = None) -> None:
    """Print a summary as two tables."""
    console = console or rich.console.Console()
    table = rich.table.Table("domain", *summary["natural"])
    for domain in features.DOMAINS:
        table.add_row(domain, *map(_text, summary[domain].values()))
    console.print(table)
    table = rich.table.Table("of the ads", "ids in natural", "rows in natural")
    for role, shares in summary["overlap"].items():
        table.add_row(f"{role}s", *map(_text, shares.values()))
    console.print(table)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
