"""Plots of the diagnostics; colours and looks are those of the reports."""

import matplotlib as mpl
import numpy as np
from matplotlib import ticker

from ecdctr_tf.evaluation import plots as plots_lib

_USER, _ITEM, _LINE = "#0072B2", "#D55E00", "#595959"
# Tables of the drift plot: colour, marker.
_LOOKS = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
)


def figures(found: dict) -> dict:
    """Return name -> (figure, description) of the plots of diagnostics."""
    result = {}
    last = found["overlap"]["last"]
    if last["rows"]:
        result["activity"] = (
            _activity(last),
            "Share of ad rows by natural rows of their user and item before",
        )
    if found["domain_shift"]:
        result["domain_shift"] = (
            _shift(found["domain_shift"]),
            "AUC of telling natural rows from ads, by feature",
        )
    if found["snapshot_drift"]:
        result["snapshot_drift"] = (
            _drift(found["snapshot_drift"]),
            "Distance between consecutive snapshots, before and after "
            "alignment",
        )
    if found["alarm"]:
        result["alarm"] = (
            _alarm(found["alarm"]),
            "AUC of E-CDCTR above ads only, by scored day",
        )
    return result


def _activity(period: dict):
    """Return the plot of bars of each bucket, user beside item."""
    with mpl.rc_context(plots_lib.STYLE):
        figure, axes = plots_lib.new_axes("Ad rows by natural rows before", 2.9)
        looks = (("user", -0.2, _USER, ""), ("item", 0.2, _ITEM, "///"))
        for role, shift, colour, hatch in looks:
            buckets = period[role]["buckets"]
            axes.bar(
                np.arange(len(buckets)) + shift,
                [bucket["share"] for bucket in buckets.values()],
                width=0.38,
                color=colour,
                edgecolor="white",
                hatch=hatch,
                label=f"of the {role}",
            )
        axes.set_xticks(range(len(buckets)), buckets)
        axes.set_xlabel("natural rows before the day")
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _shift(shift: dict):
    """Return the plot of the AUC of each feature alone, and of all."""
    values = {"all features": shift["auc"], **shift["features"]}
    with mpl.rc_context(plots_lib.STYLE):
        height = 1.0 + 0.28 * len(values)
        figure, axes = plots_lib.new_axes(
            "Natural rows told from ads (AUC)", height
        )
        for y, (name, value) in enumerate(reversed(values.items())):
            every = name == "all features"
            colour, marker = (_ITEM, "^") if every else (_USER, "o")
            axes.plot([0.5, value], [y, y], color=colour)
            axes.plot(value, y, marker=marker, color=colour)
        axes.axvline(0.5, color=_LINE, linewidth=1)
        axes.set_xlim(min(0.45, *values.values()) - 0.02, 1.02)
        axes.set_yticks(range(len(values)), reversed(values))
    return figure


def _drift(drift: dict):
    """Return the plot of distances by snapshot: dotted before, solid after.

    It has the tables of most ids only; more lines cannot be told apart.
    """
    largest = sorted(drift, key=lambda name: -drift[name][-1]["ids"])
    drift = {name: drift[name] for name in largest[: len(_LOOKS)]}
    days = sorted({move["new"] for moves in drift.values() for move in moves})
    with mpl.rc_context(plots_lib.STYLE):
        figure, axes = plots_lib.new_axes(
            "Moved since the snapshot before", 3.3
        )
        for i, (table, moves) in enumerate(drift.items()):
            colour, marker = _LOOKS[i % len(_LOOKS)]
            x = [days.index(move["new"]) for move in moves]
            for part, style in (("before", ":"), ("after", "-")):
                axes.plot(
                    x,
                    [move[part] for move in moves],
                    color=colour,
                    marker=marker,
                    linestyle=style,
                    label=f"{table}, {part} alignment",
                )
        axes.set_ylim(bottom=0)
        axes.set_ylabel("distance by length")
        plots_lib.day_ticks(axes, days)
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _alarm(found: dict):
    """Return the plot of the AUC above the baseline; runs of loss are grey."""
    days = list(found["metrics"])
    values = []
    for of in found["metrics"].values():
        ours, theirs = (of[found[m]]["auc"] for m in ("full", "baseline"))
        values.append(np.nan if None in (ours, theirs) else ours - theirs)
    with mpl.rc_context(plots_lib.STYLE):
        figure, axes = plots_lib.new_axes("E-CDCTR's AUC above ads only", 2.9)
        for run in found["runs"]:
            if run["metric"] == "auc":
                ends = (days.index(run["first"]), days.index(run["last"]))
                axes.axvspan(ends[0] - 0.5, ends[1] + 0.5, color="#e4e4e4")
        axes.axhline(0, color=_LINE, linewidth=1)
        axes.plot(range(len(days)), values, color=_ITEM, marker="^")
        axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%+.3f"))
        plots_lib.day_ticks(axes, days)
    return figure
