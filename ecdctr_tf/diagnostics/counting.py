"""One pass over the logs of both domains, in order of time.

Shapes: N rows of a chunk.
"""

import dataclasses
import heapq
from collections.abc import Iterator

import numpy as np
import tqdm

from ecdctr_tf import features, windows
from ecdctr_tf.input import streams
from ecdctr_tf.input.data_directory import DataDirectory

NATURAL, ADS = "natural", "ads"
# Most rows held at a time; counting them costs a pass over a table's rows.
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one day and domain.

    Args:
      day: the day.
      domain: "natural" or "ads".
      user: row numbers in the users' table, int `[N]`.
      item: row numbers in the items' table, int `[N]`.
      click: `[N]`, 0 or 1.
      weight: of the rows in click rates, `[N]`.
      source: number of the natural source, int `[N]`; None where there are
        none.
    """

    day: str
    domain: str
    user: np.ndarray
    item: np.ndarray
    click: np.ndarray
    weight: np.ndarray
    source: np.ndarray | None = None

    def where(self, mask: np.ndarray) -> "Rows":
        """Return the rows of a mask, bool `[N]`."""
        columns = ("user", "item", "click", "weight", "source")
        held = {name: getattr(self, name) for name in columns}
        return dataclasses.replace(
            self, **{n: c[mask] for n, c in held.items() if c is not None}
        )


def walk(data: DataDirectory) -> Iterator[Rows]:
    """Yield the rows of both domains, day by day.

    The ads of a day come before the natural rows of the same day, so what was
    counted when ads arrive is what was known before their day. Natural days
    from the last day of ads on say nothing about ads and are left out.

    Raises:
      FileNotFoundError: a domain has no days, or a file is missing.
      ValueError: a day is damaged.
    """
    last = data.window(ADS).last
    data.window(NATURAL)
    days = {
        ADS: data.days(ADS),
        NATURAL: [day for day in data.days(NATURAL) if day < last],
    }
    total = sum(data.manifest(d, day).rows for d in days for day in days[d])
    chunks = heapq.merge(
        *(_chunks(data, domain, days[domain]) for domain in days),
        key=lambda rows: (rows.day, rows.domain),  # "ads" before "natural"
    )
    show = {"desc": "count", "unit": "row", "unit_scale": True}
    with tqdm.tqdm(total=total, **show) as bar:
        for rows in chunks:
            yield rows
            bar.update(len(rows.click))


def _chunks(
    data: DataDirectory, domain: str, days: list[str]
) -> Iterator[Rows]:
    """Yield the rows of a domain's days, each day in as few parts as can be."""
    names = [data.spec.user, data.spec.item, "click", "weight"]
    sourced = domain == NATURAL and bool(data.sources)
    if sourced:
        names.append(features.SOURCE)
    held: list[list[np.ndarray]] = []
    size, today = 0, None
    for window in _windows(days):
        # A window at a time: opening a stream takes longer than a small day.
        groups = streams.rows(
            data, domain, window, names=names[:2], with_source=sourced
        )
        for group in groups.as_numpy_iterator():
            if not len(group["click"]):
                continue
            day = windows.day_name(group["day"][0])
            if held and (day != today or size >= _CHUNK):
                yield _joined(today, domain, held)
                held, size = [], 0
            held.append([group[name] for name in names])
            size, today = size + len(group["click"]), day
    if held:
        yield _joined(today, domain, held)


def _joined(day: str, domain: str, held: list[list]) -> Rows:
    return Rows(day, domain, *map(np.concatenate, zip(*held, strict=True)))


def _windows(days: list[str]) -> list[windows.Window]:
    """Return the windows of days that follow each other without a gap."""
    found: list[windows.Window] = []
    for day in days:
        before = windows.plus(day, -1)
        if found and found[-1].last == before:
            found[-1] = windows.Window(found[-1].first, day)
        else:
            found.append(windows.Window(day, day))
    return found
