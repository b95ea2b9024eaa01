"""Plots of a comparison: intervals of the models, forgetting."""

import matplotlib as mpl
import numpy as np

from ecdctr_tf.evaluation import plots as plots_lib

_MAIN, _OTHER, _TRUTH = "#D55E00", "#0072B2", "#595959"


def figures(results: dict) -> dict:
    """Return name -> (figure, description) of the plots of results."""
    found = {}
    for metric, name in (("auc", "AUC"), ("gauc", "GAUC")):
        if all(of[metric]["mean"] is None for of in results["models"].values()):
            continue
        found[metric] = (
            _intervals(results, metric, name),
            f"{name} of each model with its 95 % interval",
        )
    for model, of in results["forgetting"].items():
        found[f"forgetting_{model}"] = (
            _matrix(results["labels"][model], of),
            f"AUC of {results['labels'][model]} after each day, on each day",
        )
    return found


def _intervals(results: dict, metric: str, name: str):
    """Return the plot of a metric and its interval, best model on top."""
    models = [
        (model, of[metric])
        for model, of in results["models"].items()
        if of[metric]["mean"] is not None
    ]
    models.sort(key=lambda item: item[1]["mean"])
    with mpl.rc_context(plots_lib.STYLE):
        figure, axes = plots_lib.new_axes(name, 1.0 + 0.28 * len(models))
        for y, (model, of) in enumerate(models):
            main = model.startswith("e_cdctr")
            colour = _MAIN if main else _OTHER
            colour = _TRUTH if model == "oracle" else colour
            marker = "^" if main else "o"
            if of["low"] is not None:
                axes.plot([of["low"], of["high"]], [y, y], color=colour)
            axes.plot(of["mean"], y, marker=marker, color=colour)
        axes.set_yticks(
            range(len(models)), [results["labels"][m] for m, _ in models]
        )
    return figure


def _matrix(label: str, of: dict):
    """Return the heat map of a forgetting matrix, its numbers written in."""
    matrix = np.array(of["matrix"])
    days = [day.split("..")[-1][5:] for day in of["days"]]
    with mpl.rc_context({**plots_lib.STYLE, "axes.grid": False}):
        figure, axes = plots_lib.new_axes(
            f"{label}: AUC on a day (across) after a day (down)", 4.0
        )
        axes.imshow(matrix, cmap="cividis")
        middle = np.nanmean(matrix)
        for (i, j), value in np.ndenumerate(matrix):
            colour = "black" if value > middle else "white"
            axes.text(j, i, f"{value:.3f}", ha="center", color=colour)
        axes.set_xticks(range(len(days)), days)
        axes.set_yticks(range(len(days)), days)
    return figure
