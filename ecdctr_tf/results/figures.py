"""Plots of scored models: by day, with intervals, of history, of forgetting."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import ticker

from ecdctr_tf import metrics
from ecdctr_tf.results import plots
from ecdctr_tf.results.models import BASELINE, MAIN, ORACLE
from ecdctr_tf.results.plots import Figure

_LOOKS = {
    MAIN: plots.LOOKS[0],
    BASELINE: plots.LOOKS[1],
    "cpm_finetune": plots.LOOKS[2],
    ORACLE: plots.LOOKS[-1],
}
# Metrics that are plotted: those where higher is better.
PLOTTED = [
    name for name, metric in metrics.METRICS.items() if metric.better > 0
]


def intervals(results: Mapping, metric: str) -> Figure:
    """Return the plot of a metric and its interval, best model on top."""
    name = metrics.METRICS[metric].label
    rows = []
    for model, of in results["models"].items():
        if of[metric]["mean"] is not None:
            look = _LOOKS.get(model, plots.LOOKS[1])
            look = plots.LOOKS[0] if model.startswith(MAIN) else look
            ends = (of[metric][key] for key in ("low", "mean", "high"))
            rows.append((results["labels"][model], *ends, look))
    rows.sort(key=lambda row: -row[2])
    return plots.ranges(name, rows, f"{name} of each model, 95 % intervals")


def by_day(results: Mapping, metric: str) -> Figure:
    """Return the plot of a metric over the scored days, a line a model.

    It has the models with a look of their own: more lines cannot be told
    apart. Bands are one standard deviation over seeds; days that the means
    leave out are grey.
    """
    name, days = metrics.METRICS[metric].label, results["by_day"]
    with plots.axes(f"{name} by day") as (figure, ax):
        for model in _drawn(results):
            rows = [of[model] for of in days.values()]
            values = [row[metric] for row in rows]
            label = results["labels"][model]
            plots.line(ax, values, _LOOKS[model], label=label)
            std = [row[f"{metric}_std"] for row in rows]
            plots.band(ax, values, std, _LOOKS[model])
        _finish(figure, ax, list(days), results["days"])
    return Figure(figure, f"{name} of each model by scored day")


def lift_by_day(results: Mapping, metric: str) -> Figure:
    """Return the plot of each model's metric less that of ads-only, by day."""
    days = results["by_day"]
    title = f"{metrics.METRICS[metric].label} above ads only"
    with plots.axes(title) as (figure, ax):
        look = {**_LOOKS[BASELINE], "marker": None, "linewidth": 1}
        ax.axhline(0, label=results["labels"][BASELINE], **look)
        for model in _drawn(results):
            if model not in (BASELINE, ORACLE):
                apart = lift(days.values(), metric, model)
                label = results["labels"][model]
                plots.line(ax, apart, _LOOKS[model], label=label)
        ax.yaxis.set_major_formatter(ticker.FormatStrFormatter("%+.4f"))
        _finish(figure, ax, list(days), results["days"])
    return Figure(figure, f"{title}, by scored day")


def lift(days: Iterable[Mapping], metric: str, model: str) -> np.ndarray:
    """Return by how much a model is above ads only on each day."""
    ours, theirs = (
        np.array([of[name][metric] for of in days], float)
        for name in (model, BASELINE)
    )
    return ours - theirs


def coverage(shares: Mapping[str, Mapping]) -> Figure:
    """Return the plot of the shares of rows that history knows, by day."""
    days = list(shares)
    with plots.axes("Rows with historical embeddings") as (figure, ax):
        for role, look in zip(("user", "item"), plots.LOOKS, strict=False):
            values = [of.get(role) for of in shares.values()]
            if values.count(None) < len(values):
                plots.line(ax, values, look, label=f"{role} in history")
        ax.set_ylim(-0.02, 1.02)
        ax.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        _finish(figure, ax, days, days)
    return Figure(
        figure, "Share of the rows of each day whose user or item has history"
    )


def learning_curves(title: str, lines: Sequence[Mapping]) -> Figure:
    """Return the plot of the loss over rows of `details.curves`, one level."""
    with plots.axes(title) as (figure, ax):
        for i, line in enumerate(lines):
            look = plots.LOOKS[i % len(plots.LOOKS)]
            # A line of one point cannot be seen.
            marker = "o" if len(line["rows"]) == 1 else ""
            look = {**look, "marker": marker, "label": line["label"]}
            ax.plot(line["rows"], line["loss"], **look)
        ax.set_xlabel("rows trained on")
        ax.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
        ax.set_ylabel("mean loss since the point before (nats)")
        if len(lines) <= 8:
            plots.legend(figure)
    return Figure(figure, f"{title}: loss over the rows trained on")


def forgetting(label: str, of: Mapping) -> Figure:
    """Return the heat map of a forgetting matrix, its numbers written in."""
    matrix = np.array(of["matrix"], float)
    days = [day.split("..")[-1][5:] for day in of["days"]]
    title = f"{label}: AUC on a day (across) after a day (down)"
    with plots.axes(title, 4.0, grid=False) as (figure, ax):
        ax.imshow(matrix, cmap="cividis")
        middle = np.nanmean(matrix)
        for (i, j), value in np.ndenumerate(matrix):
            colour = "black" if value > middle else "white"
            ax.text(j, i, f"{value:.3f}", ha="center", color=colour)
        ax.set_xticks(range(len(days)), days)
        ax.set_yticks(range(len(days)), days)
    return Figure(figure, f"AUC of {label} after each day, on each day")


def _drawn(results: Mapping) -> list[str]:
    """Return the models of plots by day."""
    first = next(iter(results["by_day"].values()))
    return [model for model in first if model in _LOOKS]


def _finish(
    figure: mpl_figure.Figure,
    ax: mpl_axes.Axes,
    days: Sequence[str],
    averaged: Sequence[str],
) -> None:
    """Label the days, shade those not averaged, and put the legend below."""
    before = sum(day < averaged[0] for day in days)
    if before:
        ax.axvspan(
            -0.5, before - 0.5, color="#f0f0f0", label="not averaged", zorder=0
        )
    plots.day_ticks(ax, days)
    years = dict.fromkeys((days[0][:4], days[-1][:4]))
    ax.set_xlabel(f"scored day ({', '.join(years)})")
    plots.legend(figure)
