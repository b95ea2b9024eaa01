"""The plots of a report, as SVG for the page and as PNG for a README.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; every
model has a marker and a line style of its own besides.
"""

import io
import pathlib
import re
import uuid
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import figure as mpl_figure
from matplotlib import ticker

from ecdctr_tf.evaluation import summary as summary_lib
from ecdctr_tf.evaluation import text

_LOOKS = {
    "oracle": {"color": "#595959", "marker": "D", "linestyle": (0, (1, 1.5))},
    "ads_only": {"color": "#0072B2", "marker": "o", "linestyle": (0, (4, 2))},
    "cpm_finetune": {"color": "#009E73", "marker": "s", "linestyle": "-."},
    "e_cdctr": {"color": "#D55E00", "marker": "^", "linestyle": "-"},
    "user": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "item": {"color": "#D55E00", "marker": "s", "linestyle": (0, (4, 2))},
}
_WINDOWS = (*(look["color"] for look in _LOOKS.values()), "#CC79A7", "#E69F00")
STYLE = {
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
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "xtick.color": "#3a3a3a",
    "ytick.color": "#3a3a3a",
}
_WIDTH, _HEIGHT = 4.8, 3.3  # inches: legible at the width of a phone


def metric_by_day(summary: dict, metric: str, title: str):
    """Return the plot of a metric over the scored days, a line a model.

    Bands are one standard deviation over seeds; days that the means leave out
    are grey.
    """
    days = list(summary["days"])
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(title)
        for model in summary["models"]:
            rows = [summary["days"][day][model] for day in days]
            mean = _array(row[metric] for row in rows)
            std = _array(row[f"{metric}_std"] for row in rows)
            _line(axes, model, mean, std)
        _finish(figure, axes, days, summary["averaged_days"])
    return figure


def lift_by_day(summary: dict, metric: str, title: str):
    """Return the plot of each model's metric less that of ads-only, by day."""
    days = list(summary["days"])
    baseline = summary_lib.BASELINE
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(title)
        look = {**_LOOKS[baseline], "marker": None, "linewidth": 1}
        axes.axhline(0, label=text.LABELS[baseline], **look)
        for model in summary["models"]:
            if model in (baseline, "oracle"):
                continue
            rows = [summary["days"][day] for day in days]
            base = _array(row[baseline][metric] for row in rows)
            values = _array(row[model][metric] for row in rows) - base
            _line(axes, model, values)
        axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%+.4f"))
        _finish(figure, axes, days, summary["averaged_days"])
    return figure


def coverage_by_day(coverage: dict):
    """Return the plot of the shares of rows that history knows, by day."""
    days = list(coverage)
    with mpl.rc_context(STYLE):
        figure, axes = new_axes("Rows with history")
        for role in ("user", "item"):
            values = _array(coverage[day].get(role) for day in days)
            if not np.isnan(values).all():
                _line(axes, role, values, label=f"{role} in history")
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        _finish(figure, axes, days, days)
    return figure


def learning_curves(title: str, lines: Sequence[dict]):
    """Return the plot of `details.curves` of one level: loss over rows."""
    several = len({line["model"] for line in lines}) == 1 and len(lines) > 1
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(title)
        for i, line in enumerate(lines):
            look = {"color": _WINDOWS[i % len(_WINDOWS)]} if several else {}
            if not several and line["model"]:
                look = {**_LOOKS[line["model"]], "marker": None}
            model = text.LABELS.get(line["model"], "")
            parts = [model] if model and not several else []
            if several:
                parts.append(f"to {line['day']}")
            label = " ".join(parts) or None
            if len(line["rows"]) == 1:
                look["marker"] = "o"  # A line of one point cannot be seen.
            axes.plot(line["rows"], line["loss"], label=label, **look)
        axes.set_xlabel("rows trained on")
        axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
        axes.set_ylabel("training loss (nats)")
        if 1 <= len(axes.get_legend_handles_labels()[1]) <= 8:
            figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def to_svg(figure, description: str) -> str:
    """Return a figure as an `<svg>` element to put inside a page.

    Args:
      figure: the figure.
      description: read out in its place by a screen reader.
    """
    buffer = io.StringIO()
    # The salt names the inner ids: other plots of the page have other ids.
    with mpl.rc_context({**STYLE, "svg.hashsalt": description}):
        metadata = {"Date": None, "Creator": None}
        figure.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.S)
    label = description.replace("&", "and").replace('"', "'").replace("<", "")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def save_png(figure, path: pathlib.Path) -> None:
    """Write a figure as PNG, which readers see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".staging-{uuid.uuid4().hex}")
    figure.savefig(temporary, format="png", dpi=180)
    temporary.replace(path)


def new_axes(title: str, height: float = _HEIGHT):
    """Return a figure and its axes, as wide as all plots of a page.

    Args:
      title: of the axes.
      height: inches.
    """
    size = (_WIDTH, height)
    figure = mpl_figure.Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes


def day_ticks(axes, days: Sequence[str]) -> None:
    """Label at most seven of the days, which are at 0, 1, and so on."""
    axes.set_xlim(-0.5, len(days) - 0.5)
    step = -(-len(days) // 7)
    places = range(0, len(days), step)
    axes.set_xticks(list(places), [days[i][5:] for i in places])


def _array(values) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], float)


def _line(axes, name: str, values, std=None, label: str = "") -> None:
    x = np.arange(len(values))
    look = _LOOKS[name]
    axes.plot(x, values, label=label or text.LABELS[name], **look)
    if std is not None and not np.isnan(std).all():
        std = np.nan_to_num(std)
        band = (values - std, values + std)
        axes.fill_between(x, *band, color=look["color"], alpha=0.15, lw=0)


def _finish(figure, axes, days, averaged) -> None:
    """Label the days, shade those not averaged, and put the legend below."""
    before = sum(day < averaged[0] for day in days)
    if before:
        axes.axvspan(
            -0.5, before - 0.5, color="#f0f0f0", label="not averaged", zorder=0
        )
    day_ticks(axes, days)
    years = dict.fromkeys((days[0][:4], days[-1][:4]))
    axes.set_xlabel(f"scored day ({', '.join(years)})")
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
