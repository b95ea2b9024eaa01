"""A part of a window in time: its rows before a moment, or those from it on.

Rows of one second are never parted.

Shapes: N rows.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from ecdctr_tf import windows
from ecdctr_tf.input import data_directory, row_groups, sources

# After all times, in seconds since 1970.
_END = 1 << 60


@dataclasses.dataclass(frozen=True)
class Part:
    """Which rows of a window are read."""

    # Seconds since 1970.
    moment: int
    # Whether rows from the moment on are read, or those before it.
    later: bool
    # Domain -> how many rows they are.
    rows: Mapping[str, int]

    @property
    def seconds(self) -> tuple[int, int]:
        """The first time of a row that is read, and the first after them."""
        return (self.moment, _END) if self.later else (0, self.moment)


def last(
    data: data_directory.DataDirectory,
    domain: str,
    window: windows.Window,
    share: float,
) -> Part:
    """Return the last rows of a window, as near to a share as seconds allow.

    Args:
      data: the data directory.
      domain: "natural" or "ads".
      window: the days, which have rows.
      share: in (0, 1).

    Returns:
      The part, of all rows where they are of one second.
    """
    times = np.concatenate(list(_times(data, domain, window)))
    seconds, counts = np.unique(times, return_counts=True)
    rows = counts[::-1].cumsum()[::-1]  # From each second on.
    nearest = np.abs(rows - share * len(times)).argmin()
    return Part(int(seconds[nearest]), True, {domain: int(rows[nearest])})


def rows_from(
    data: data_directory.DataDirectory,
    domain: str,
    window: windows.Window,
    moment: int,
    use: sources.Use | None = None,
) -> int:
    """Return how many rows of a window there are from a moment on.

    Args:
      data: the data directory.
      domain: "natural" or "ads".
      window: the days.
      moment: seconds since 1970.
      use: how natural rows count; those that are left out are not counted.
    """
    return sum(
        int(np.count_nonzero(times >= moment))
        for times in _times(data, domain, window, use)
    )


def _times(
    data: data_directory.DataDirectory,
    domain: str,
    window: windows.Window,
    use: sources.Use | None = None,
) -> Iterator[np.ndarray]:
    """Yield the times of the rows of a window, int64 `[N]`."""
    spec = data.spec.select([data.spec.user, data.spec.item])
    groups = row_groups.read(
        data, domain, window, None, 1, spec, False, use is not None
    )
    if use is not None:
        groups = use.apply(groups)
    for group in groups.as_numpy_iterator():
        yield group["timestamp"]
