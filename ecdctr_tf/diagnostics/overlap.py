"""How much of the ads' users and items the natural logs know.

A row of ads of day t is compared with the natural rows of days before t: later
ones could not have helped. Unknown ids (the first rows of a vocabulary) are
known to nobody. Ids of hashed tables share rows, so overlap is overstated.

Shapes: N rows of a chunk, V table rows, K buckets of activity.
"""

from collections.abc import Mapping

import numpy as np

from ecdctr_tf.diagnostics import counting

ROLES = ("user", "item")
# Natural rows before the day: a bucket begins at each of these numbers.
BUCKETS = {"0": 0, "1-3": 1, "4-15": 4, "16-63": 16, "64+": 64}
_EDGES = np.array([*BUCKETS.values()][1:])


class Overlap:
    """Count what natural logs knew of the ads, as the days go by.

    Args:
      sizes: "user" and "item" -> V, rows of the table; larger row numbers may
        not come.
      unknown: "user" and "item" -> rows at the beginning of the table that
        belong to unknown ids.
      last_from: first day of ads of the period "last"; the period "all" has
        every day of ads.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        unknown: Mapping[str, int],
        last_from: str,
    ):
        self._unknown = dict(unknown)
        self._natural = {r: np.zeros(sizes[r], np.int64) for r in ROLES}
        self._periods = {
            "all": ("", _Period(sizes)),
            "last": (last_from, _Period(sizes)),
        }
        self._newest = ("", "")

    def add(self, rows: counting.Rows) -> None:
        """Count rows.

        Raises:
          ValueError: rows of an earlier day, or ads after the natural rows of
            their day, which would let them see the present.
        """
        place = (rows.day, rows.domain)
        if place < self._newest:
            raise ValueError(
                "Rows should come in order of days, ads before natural rows. "
                f"Received: {place} after {self._newest}"
            )
        self._newest = place
        columns = {role: getattr(rows, role) for role in ROLES}
        if rows.domain == counting.NATURAL:
            for role, column in columns.items():
                counts = self._natural[role]
                counts += np.bincount(column, minlength=len(counts))
                counts[: self._unknown[role]] = 0
            return
        before = {role: self._natural[role][columns[role]] for role in ROLES}
        for first, period in self._periods.values():
            if rows.day >= first:
                period.add(rows, columns, before)

    def result(self) -> dict[str, dict]:
        """Return what was counted, by period.

        Returns:
          "all" and "last" -> `first` and `last` day, `rows`, `clicks`,
          `either_share` and `both_share` (of rows, of which natural logs know
          the user or item, or both), and for "user" and "item": `ids`
          (distinct), `ids_share` (known on the day of one of their rows or
          more), `rows_share` (known on the row's day) and `buckets`, by natural
          rows before: `rows`, `share` and `ctr`. Shares are in [0, 1], None
          where there is nothing to share.
        """
        return {
            name: period.result(self._unknown)
            for name, (_, period) in self._periods.items()
        }


class _Period:
    """The counts of some days of ads."""

    def __init__(self, sizes: Mapping[str, int]):
        self._days: list[str] = []
        self._rows = self._either = self._both = 0
        self._clicks = 0.0
        self._seen = {r: np.zeros(sizes[r], bool) for r in ROLES}  # [V]
        self._known = {r: np.zeros(sizes[r], bool) for r in ROLES}  # [V]
        count = len(BUCKETS)
        self._bucket_rows = {r: np.zeros(count, np.int64) for r in ROLES}
        # Weight of the rows, and of those that were clicked.
        self._bucket_weights = {r: np.zeros(count) for r in ROLES}  # [K]
        self._bucket_clicks = {r: np.zeros(count) for r in ROLES}  # [K]

    def add(
        self,
        rows: counting.Rows,
        columns: Mapping[str, np.ndarray],
        before: Mapping[str, np.ndarray],
    ) -> None:
        """Count rows of ads `[N]` with `before` natural rows of each role."""
        day, click, weight = rows.day, rows.click, rows.weight
        self._days = [min([day, *self._days]), max([day, *self._days])]
        known = {role: before[role] > 0 for role in ROLES}
        self._rows += len(click)
        self._clicks += float(click.sum())
        self._either += int((known["user"] | known["item"]).sum())
        self._both += int((known["user"] & known["item"]).sum())
        count = len(BUCKETS)
        for role in ROLES:
            self._seen[role][columns[role]] = True
            self._known[role][columns[role][known[role]]] = True
            bucket = np.searchsorted(_EDGES, before[role], side="right")
            self._bucket_rows[role] += np.bincount(bucket, minlength=count)
            for sums, of_row in (
                (self._bucket_weights[role], weight),
                (self._bucket_clicks[role], weight * click),
            ):
                sums += np.bincount(bucket, of_row, count)

    def result(self, unknown: Mapping[str, int]) -> dict:
        """Return the counts as shares."""
        found = {
            "first": self._days[0] if self._days else None,
            "last": self._days[1] if self._days else None,
            "rows": self._rows,
            "clicks": round(self._clicks),
            "either_share": _share(self._either, self._rows),
            "both_share": _share(self._both, self._rows),
        }
        for role in ROLES:
            # Nobody can say how many ids are behind an unknown one.
            ids = int(self._seen[role][unknown[role] :].sum())
            rows, clicks = self._bucket_rows[role], self._bucket_clicks[role]
            weights = self._bucket_weights[role]
            found[role] = {
                "ids": ids,
                "ids_share": _share(self._known[role].sum(), ids),
                "rows_share": _share(rows[1:].sum(), self._rows),
                "buckets": {
                    name: {
                        "rows": int(rows[i]),
                        "share": _share(rows[i], self._rows),
                        "ctr": _share(clicks[i], weights[i]),
                    }
                    for i, name in enumerate(BUCKETS)
                },
            }
        return found


def _share(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None
