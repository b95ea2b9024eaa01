"""The report of a run: one self-contained page, its numbers, its plots."""

import importlib.resources
import json
import pathlib
from collections.abc import Callable, Sequence

import jinja2

from ecdctr_tf import config as config_lib
from ecdctr_tf import store
from ecdctr_tf.evaluation import coverage as coverage_lib
from ecdctr_tf.evaluation import details, plots, text
from ecdctr_tf.evaluation import runs as runs_lib
from ecdctr_tf.evaluation import summary as summary_lib
from ecdctr_tf.input import data_directory

_TEMPLATE = "report.html.jinja"


def write_report(
    run_dirs: Sequence[str | pathlib.Path],
    data_dir: str | pathlib.Path,
    out_dir: str | pathlib.Path,
    config: config_lib.Config,
    notes: Sequence[str] = (),
    read_history: Callable[[pathlib.Path], coverage_lib.History] | None = None,
) -> dict:
    """Write the report of one or several seeds' work directories.

    Args:
      run_dirs: work directories of one configuration, one a seed.
      data_dir: the data directory that they were trained and scored on.
      out_dir: gets `index.html`, `summary.json`, `summary.md` and
        `plots/<name>.svg` and `.png`; files there are replaced.
      config: says from which day on means are taken and how history is read.
      notes: sentences that qualify the numbers, shown above them.
      read_history: reads a `historical/<day>` directory for the coverage; None
        reads it with `transfer.historical`.

    Returns:
      What `summary.json` holds: the result of `summary.summarize`, `seeds`
      (names), `coverage` (day -> shares, empty without history), `levels`
      and `notes`. And `paths`, what was written.

    Raises:
      FileNotFoundError: there is no data directory.
      ValueError: no day was scored, or scores are of other rows than the data.
    """
    data = data_directory.DataDirectory(data_dir)
    runs = [runs_lib.Run(pathlib.Path(path)) for path in run_dirs]
    models, left_out = runs_lib.scored_models(runs)
    days = runs_lib.common_days(runs, models)
    averaged = summary_lib.averaged_days(days, config.schedule.report_first)
    results = runs_lib.evaluate(runs, models, days, data)
    pooled = None
    if config.schedule.report_pooled:
        pooled = runs_lib.pooled(runs, models, averaged)
    if read_history is None:

        def read_history(path):
            return coverage_lib.read_history(path, data.id_spaces)

    summary = {
        **summary_lib.summarize(results, averaged, pooled),
        "seeds": [run.name for run in runs],
        "coverage": coverage_lib.coverage(
            runs[0], models[-1], days, data.spec, config.history, read_history
        ),
        "levels": details.levels(runs),
        "notes": [*notes, *left_out],
    }
    out_dir = pathlib.Path(out_dir)
    figures = _figures(summary, details.curves(runs[0]))
    svg = {name: plots.to_svg(*figure) for name, figure in figures.items()}
    page = _render(summary, svg, details.restores(runs[0]))
    files = {
        "summary.json": json.dumps(summary, indent=1) + "\n",
        "summary.md": to_markdown(summary),
        "index.html": page,
    }
    files |= {f"plots/{name}.svg": element for name, element in svg.items()}
    for name, content in files.items():
        store.write_text(out_dir / name, content)
    for name, (figure, _) in figures.items():
        plots.save_png(figure, out_dir / f"plots/{name}.png")
    names = ["index.html", "summary.json", "summary.md", "plots"]
    return {**summary, "paths": [str(out_dir / name) for name in names]}


def to_markdown(summary: dict) -> str:
    """Return the tables of models and differences as Markdown."""
    models = [
        [
            text.LABELS[model],
            *(text.number(of[m], of[f"{m}_std"]) for m in text.METRICS),
        ]
        for model, of in summary["models"].items()
    ]
    differences = [
        [text.pair(pair), *(text.difference(of[m]) for m in ("auc", "gauc"))]
        for pair, of in summary["differences"].items()
    ]
    lines = [f"{text.scope(summary)}.", ""]
    lines += text.markdown_table(["model", *text.METRICS.values()], models)
    if differences:
        header = ["difference", "AUC", "GAUC"]
        lines += ["", *text.markdown_table(header, differences)]
    shares = {k: v for k, v in summary["gap_closed"].items() if v is not None}
    if shares:
        closed = ", ".join(
            f"{text.METRICS[m]} {v:.0%}" for m, v in shares.items()
        )
        lines += ["", f"Gap to the oracle that E-CDCTR closes: {closed}."]
    lines += [f"\n> {note}" for note in summary["notes"]]
    return "\n".join(lines) + "\n"


def _figures(summary: dict, curves: dict) -> dict:
    """Return name -> (figure, description) of the plots of a report."""
    figures = {}
    for metric in ("auc", "gauc"):
        name = text.METRICS[metric]
        figures[metric] = (
            plots.metric_by_day(summary, metric, f"{name} by day"),
            f"{name} of each model by scored day",
        )
    if summary["differences"] and summary_lib.BASELINE in summary["models"]:
        for metric in ("auc", "gauc"):
            title = f"{text.METRICS[metric]} above ads only"
            figures[f"{metric}_lift"] = (
                plots.lift_by_day(summary, metric, title),
                f"{title}, by scored day",
            )
    if summary["coverage"]:
        figures["coverage"] = (
            plots.coverage_by_day(summary["coverage"]),
            "Share of the rows of each day whose user or item has history",
        )
    for level, lines in curves.items():
        figures[f"curve_{level.lower()}"] = (
            plots.learning_curves(f"{level} training", lines),
            f"Training loss of {level} over the rows trained on",
        )
    return figures


def page_template(package: str, name: str) -> jinja2.Template:
    """Return the template of a page, with the filters of `evaluation.text`."""
    resource = importlib.resources.files(package) / name
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": text.number,
        "difference": text.difference,
        "duration": text.duration,
        "pair": text.pair,
    }
    return environment.from_string(resource.read_text(encoding="utf-8"))


def _render(summary: dict, svg: dict, restores: list[dict]) -> str:
    template = page_template(__package__, _TEMPLATE)
    averaged = summary["averaged_days"]
    return template.render(
        summary=summary,
        scope=text.scope(summary),
        labels=text.LABELS,
        metrics=text.METRICS,
        svg=svg,
        curves=[name for name in svg if name.startswith("curve_")],
        coverage=_mean_coverage(summary["coverage"], averaged),
        restores=restores,
    )


def _mean_coverage(coverage: dict, averaged: Sequence[str]) -> dict:
    """Return the shares of all rows of the averaged days, by role."""
    days = [coverage[day] for day in averaged if day in coverage]
    rows = sum(day["rows"] for day in days)
    return {
        role: sum(day["rows"] * day[role] for day in days) / rows
        for role in ("user", "item", "both")
        if days and all(role in day for day in days)
    }
