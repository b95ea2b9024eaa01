"""Plots of the diagnostics."""

from collections.abc import Mapping

import numpy as np
from matplotlib import ticker

from ecdctr_tf.results import figures, plots
from ecdctr_tf.results.models import MAIN
from ecdctr_tf.results.plots import Figure


def activity(period: Mapping) -> Figure:
    """Return the plot of bars of each bucket, user beside item."""
    with plots.axes("Ad rows by natural rows before", 2.9) as (figure, ax):
        bars = (("user", -0.2, 1, ""), ("item", 0.2, 0, "///"))
        for role, shift, look, hatch in bars:
            buckets = period[role]["buckets"]
            ax.bar(
                np.arange(len(buckets)) + shift,
                [bucket["share"] for bucket in buckets.values()],
                width=0.38,
                color=plots.LOOKS[look]["color"],
                edgecolor="white",
                hatch=hatch,
                label=f"of the {role}",
            )
        ax.set_xticks(range(len(buckets)), buckets)
        ax.set_xlabel("natural rows before the day")
        ax.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        plots.legend(figure)
    return Figure(
        figure, "Share of ad rows by natural rows of their user and item before"
    )


def shift(values: Mapping[str, float]) -> Figure:
    """Return the plot of the AUC of all features, first, and of each alone."""
    rows = [
        (name, 0.5, value, value, plots.LOOKS[min(i, 1)])
        for i, (name, value) in enumerate(values.items())
    ]
    return plots.ranges(
        "Natural rows told from ads (AUC)",
        rows,
        "AUC of telling natural rows from ads, by feature",
    )


def drift(moved: Mapping[str, list]) -> Figure:
    """Return the plot of distances by snapshot: dotted before, solid after.

    It has the tables of most ids only; more lines cannot be told apart.
    """
    largest = sorted(moved, key=lambda name: -moved[name][-1]["ids"])[:4]
    days = sorted({move["new"] for name in largest for move in moved[name]})
    with plots.axes("Moved since the snapshot before") as (figure, ax):
        for name, look in zip(largest, plots.LOOKS, strict=False):
            by_day = {move["new"]: move for move in moved[name]}
            for part, style in (("before", ":"), ("after", "-")):
                plots.line(
                    ax,
                    [by_day[d][part] if d in by_day else None for d in days],
                    look,
                    linestyle=style,
                    label=f"{name}, {part} alignment",
                )
        ax.set_ylim(bottom=0)
        ax.set_ylabel("distance by length")
        plots.day_ticks(ax, days)
        plots.legend(figure)
    return Figure(
        figure,
        "Distance between consecutive snapshots, before and after alignment",
    )


def alarm(found: Mapping) -> Figure:
    """Return the plot of the AUC above the baseline; runs of loss are grey."""
    days = list(found["metrics"])
    with plots.axes("E-CDCTR's AUC above ads only", 2.9) as (figure, ax):
        for run in found["runs"]:
            if run["metric"] == "auc":
                ends = (days.index(run["first"]), days.index(run["last"]))
                ax.axvspan(ends[0] - 0.5, ends[1] + 0.5, color="#e4e4e4")
        ax.axhline(0, color=plots.GREY, linewidth=1)
        apart = figures.lift(found["metrics"].values(), "auc", MAIN)
        plots.line(ax, apart, plots.LOOKS[0])
        ax.yaxis.set_major_formatter(ticker.FormatStrFormatter("%+.3f"))
        plots.day_ticks(ax, days)
    return Figure(figure, "AUC of E-CDCTR above ads only, by scored day")
