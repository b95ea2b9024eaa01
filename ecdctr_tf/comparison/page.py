"""A comparison as people read it: Markdown, a page with plots, a console."""

import math
import pathlib

import rich.console
import rich.table

from ecdctr_tf.comparison import plots
from ecdctr_tf.comparison.variants import VARIANTS
from ecdctr_tf.evaluation import plots as plots_lib
from ecdctr_tf.evaluation import report, text

_TEMPLATE = "page.html.jinja"
_LABELS = {
    "oracle": text.LABELS["oracle"],
    "e_cdctr_history_down": "E-CDCTR, history down",
}
_WITHIN = "within the noise"
# Measures of forgetting: those that are differences, and those that are not.
_TRANSFER = {
    "backward_transfer": "backward transfer",
    "backward_transfer_today": "with today's history",
    "kept": "earlier days at the end",
    "forward_transfer": "forward transfer",
    "forgetting": "forgetting",
    "return": "at a return",
    "return_gain": "gain at a return",
}
_LEVELS = ("kept", "return")
_SEEDS = "AUC; 95 % t-intervals over seeds"
# Metrics of the table of differences.
_SHORT = ("auc", "gauc", "log_loss")


def label(name: str) -> str:
    """Return what a model is called."""
    return VARIANTS[name].label if name in VARIANTS else _LABELS[name]


def files(results: dict) -> dict[str, str]:
    """Return the pages of results: path in the directory -> content."""
    svg = {
        name: plots_lib.to_svg(figure, description)
        for name, (figure, description) in plots.figures(results).items()
    }
    tables = _tables(results)
    template = report.page_template(__package__, _TEMPLATE)
    html = template.render(
        scope=_scope(results), notes=results["notes"], tables=tables, svg=svg
    )
    return {
        "results.md": _markdown(results, tables),
        "index.html": html,
        **{f"plots/{name}.svg": content for name, content in svg.items()},
    }


def print_table(results: dict, out_dir: pathlib.Path) -> None:
    """Print the table of models, and where everything is."""
    table = rich.table.Table(title=_scope(results), title_justify="left")
    table.add_column("model")
    for name in ("AUC", "GAUC", "AUC above ads only"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, of in _by_auc(results):
        above = results["differences"].get(f"{name} - ads_only")
        table.add_row(
            label(name),
            _value(of["auc"]["mean"]),
            _value(of["gauc"]["mean"]),
            _difference(above["auc"]) if above else "",
            style="bold" if name == "e_cdctr" else "",
        )
    console = rich.console.Console()
    console.print(table)
    console.print(f"wrote {out_dir}", soft_wrap=True, highlight=False)


def _scope(results: dict) -> str:
    days, seeds = results["days"], len(results["seeds"])
    of = "all rows of" if results["pooled"] else "mean of"
    return (
        f"{of} {len(days)} scored days, {days[0]} to {days[-1]}; "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}; 95 % intervals by a "
        f"bootstrap of {results['users']:,} users and the seeds"
    )


def _tables(results: dict) -> list[tuple]:
    """Return title, header and rows of each table."""
    tables = [_models(results), _differences(results), _costs(results)]
    tables += [_slices(results), _alarm(results)]
    tables += [*_forgetting(results), _tuning(results)]
    return [table for table in tables if table[2]]


def _by_auc(results: dict) -> list[tuple[str, dict]]:
    """Return the models and their metrics, best AUC first."""

    def auc(item) -> float:
        mean = item[1]["auc"]["mean"]
        return math.inf if mean is None else -mean

    return sorted(results["models"].items(), key=auc)


def _models(results: dict) -> tuple:
    rows = [
        [label(name), *(_estimate(of[metric]) for metric in text.METRICS)]
        for name, of in _by_auc(results)
    ]
    return "Models", ["model", *text.METRICS.values()], rows


def _differences(results: dict) -> tuple:
    rows = []
    for pair, of_metric in results["differences"].items():
        values = [_difference(of_metric[metric]) for metric in _SHORT]
        rows.append([_apart(pair), *values])
    return "Differences", ["difference", *map(text.METRICS.get, _SHORT)], rows


def _costs(results: dict) -> tuple:
    rows = [
        [
            label(name),
            level.upper() if level != "ctr" else "A-CTR",
            f"{cost['refreshes']}",
            f"{cost['rows']:,.0f}",
            text.duration(cost["seconds"]),
            f"{cost['bytes'] / 1e6:.1f} MB",
        ]
        for name, levels in results["costs"].items()
        for level, cost in levels.items()
    ]
    header = ["model", "level", "refreshes", "rows", "time", "state"]
    return "Costs of a refresh", header, rows


def _slices(results: dict) -> tuple:
    rows = [
        [
            name,
            f"{of['rows']:,}",
            *(_value(of["models"][m]["auc"]) for m in _shown(results)),
        ]
        for name, of in results["slices"].items()
    ]
    header = ["slice", "rows", *map(label, _shown(results))]
    return "AUC by slice", header, rows


def _alarm(results: dict) -> tuple:
    """Return where E-CDCTR loses to ads only: days, runs of days, slices."""
    found = results["alarm"] or {"days": {}, "runs": [], "slices": []}
    rows = [
        [f"{of['lost']} of {of['compared']} days", text.METRICS[metric], "", ""]
        for metric, of in found["days"].items()
    ]
    for of in (*found["runs"], *found["slices"]):
        where = of.get("slice") or f"{of['first']} to {of['last']}"
        lost = f"{of['lost_by']:.4f}"
        rows.append([where, text.METRICS[of["metric"]], lost, of["level"]])
    header = ["where E-CDCTR loses to ads only", "metric", "by", "level"]
    return "Negative transfer", header, rows


def _shown(results: dict) -> list[str]:
    """Return the models of the slices' table: no ablations."""
    return [
        name
        for name in results["models"]
        if name not in VARIANTS or not VARIANTS[name].ablation
    ]


def _forgetting(results: dict) -> list[tuple]:
    """Return the tables of models and of their paired differences."""
    of_models = {
        label(name): of["measures"]
        for name, of in results["forgetting"].items()
    }
    apart = {
        _apart(pair): measures
        for pair, measures in results["forgetting_differences"].items()
    }
    known = next(iter(of_models.values()), {})
    names = [name for key, name in _TRANSFER.items() if key in known]
    rows = [
        [name, *(_measure(key, of[key]) for key in _TRANSFER if key in of)]
        for name, of in of_models.items()
    ]
    differences = [
        [name, *(_difference(of[key]) for key in _TRANSFER if key in of)]
        for name, of in apart.items()
    ]
    return [
        (f"Forgetting ({_SEEDS})", ["model", *names], rows),
        (
            f"Differences in forgetting (paired; {_SEEDS})",
            ["difference", *names],
            differences,
        ),
    ]


def _measure(key: str, of: dict) -> str:
    return _estimate(of) if key in _LEVELS else _difference(of)


def _apart(pair: str) -> str:
    """Return what the difference of two models, "a - b", is called."""
    first, _, second = pair.partition(" - ")
    return f"{label(first)} \N{MINUS SIGN} {label(second)}"


def _tuning(results: dict) -> tuple:
    rows = [
        [label(name), *(f"{value:.4f}" for value in trials)]
        for name, trials in results["tuning"].items()
    ]
    count = max((len(row) - 1 for row in rows), default=0)
    header = ["model", *(f"trial {i}" for i in range(count))]
    return "Validation AUC of the trials", header, rows


def _value(value: float | None) -> str:
    return text.NOTHING if value is None else f"{value:.4f}"


def _estimate(of: dict) -> str:
    if of["mean"] is None:
        return text.NOTHING
    if of["low"] is None:
        return f"{of['mean']:.4f}"
    return f"{of['mean']:.4f} [{of['low']:.4f}, {of['high']:.4f}]"


def _difference(of: dict) -> str:
    if of["mean"] is None:
        return text.NOTHING
    shown = f"{of['mean']:+.4f}"
    if of["low"] is not None:
        shown += f" [{of['low']:+.4f}, {of['high']:+.4f}]"
    return shown if of["significant"] else f"{shown} {_WITHIN}"


def _markdown(results: dict, tables: list[tuple]) -> str:
    lines = [f"{_scope(results)}.".capitalize()]
    lines += [f"\n> {note}" for note in results["notes"]]
    for title, header, rows in tables:
        lines += ["", f"## {title}", "", *text.markdown_table(header, rows)]
    return "\n".join(lines) + "\n"
