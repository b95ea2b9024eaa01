"""What the plots of all pages are drawn with.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; every
line has a marker and a style of its own besides.
"""

import contextlib
import dataclasses
import io
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure

from ecdctr_tf import store

GREY = "#595959"
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#D55E00", "marker": "^", "linestyle": "-"},
    {"color": "#0072B2", "marker": "o", "linestyle": (0, (4, 2))},
    {"color": "#009E73", "marker": "s", "linestyle": "-."},
    {"color": "#CC79A7", "marker": "v", "linestyle": (0, (5, 1))},
    {"color": "#E69F00", "marker": "P", "linestyle": (0, (3, 1, 1, 1))},
    {"color": GREY, "marker": "D", "linestyle": (0, (1, 1.5))},
)
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#8a8a8a",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "font.size": 9.5,
    "grid.color": "#e4e4e4",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "xtick.color": "#3a3a3a",
    "ytick.color": "#3a3a3a",
}
_WIDTH, _HEIGHT = 4.8, 3.3  # inches: legible at the width of a phone


@dataclasses.dataclass(frozen=True)
class Figure:
    """A plot, and what a screen reader reads out in its place."""

    figure: mpl_figure.Figure
    description: str


@contextlib.contextmanager
def axes(title: str, height: float = _HEIGHT, grid: bool = True) -> Iterator:
    """Give a figure and its axes, as wide as all plots of a page.

    Args:
      title: of the axes.
      height: inches.
      grid: whether lines are drawn behind.
    """
    with mpl.rc_context({**_STYLE, "axes.grid": grid}):
        figure = mpl_figure.Figure((_WIDTH, height), layout="constrained")
        ax = figure.add_subplot()
        ax.set_title(title)
        yield figure, ax


def legend(figure: mpl_figure.Figure) -> None:
    """Put the legend below the axes."""
    figure.legend(loc="outside lower center", ncols=2)


def line(
    ax: mpl_axes.Axes,
    values: Sequence[float | None] | np.ndarray,
    look: Mapping,
    **others: Any,
) -> None:
    """Draw a line over 0, 1, and so on; None leaves a gap."""
    y = np.array(values, float)
    ax.plot(np.arange(len(y)), y, **{**look, **others})


def band(
    ax: mpl_axes.Axes,
    values: Sequence[float | None],
    std: Sequence[float | None],
    look: Mapping,
) -> None:
    """Shade the values with a deviation around them, where there is one."""
    y, width = np.array(values, float), np.array(std, float)
    if not np.isnan(width).all():
        width = np.nan_to_num(width)
        edges = (y - width, y + width)
        x = np.arange(len(y))
        ax.fill_between(x, *edges, color=look["color"], alpha=0.15, lw=0)


def day_ticks(ax: mpl_axes.Axes, days: Sequence[str]) -> None:
    """Label at most seven of the days, which are at 0, 1, and so on."""
    ax.set_xlim(-0.5, len(days) - 0.5)
    places = range(0, len(days), -(-len(days) // 7))
    ax.set_xticks(list(places), [days[i][5:] for i in places])


def ranges(title: str, rows: Sequence[tuple], description: str) -> Figure:
    """Return the plot of a point and a range a row, the first row on top.

    Args:
      title: of the axes.
      rows: name, low, point, high and look of each; `low` and `high` may be
        None.
      description: for a screen reader.
    """
    with axes(title, 1.0 + 0.28 * len(rows)) as (figure, ax):
        for y, (_, low, point, high, look) in enumerate(reversed(rows)):
            colour, marker = look["color"], look["marker"]
            if low is not None:
                ax.plot([low, high], [y, y], color=colour)
            ax.plot(point, y, marker=marker, color=colour)
        ax.set_yticks(range(len(rows)), [row[0] for row in reversed(rows)])
    return Figure(figure, description)


def to_svg(figure: Figure) -> str:
    """Return a figure as an `<svg>` element to put inside a page."""
    buffer = io.StringIO()
    # The salt names the inner ids: other plots of the page have other ids.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": figure.description}):
        metadata = {"Date": None, "Creator": None}
        figure.figure.savefig(buffer, format="svg", metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.S)
    label = figure.description.replace("&", "and").replace('"', "'")
    label = label.replace("<", "")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def save_png(figure: Figure, path: pathlib.Path) -> None:
    """Write a figure as PNG, which readers see whole or not at all."""
    with store.replacing(path) as staging:
        figure.figure.savefig(staging, format="png", dpi=180)
