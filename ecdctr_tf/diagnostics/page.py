"""Diagnostics as people read them: Markdown, a page with plots, a console."""

import pathlib

import rich.console
import rich.table

from ecdctr_tf.diagnostics import plots
from ecdctr_tf.evaluation import plots as plots_lib
from ecdctr_tf.evaluation import report, text

_TEMPLATE = "page.html.jinja"
# Told apart by sign and word, not by colour alone.
_SIGNS = {"good": "+", "watch": "!", "bad": "\N{MINUS SIGN}"}
_STYLES = {"good": "blue", "watch": "yellow", "bad": "bold red"}


def files(found: dict) -> dict[str, str]:
    """Return the pages of diagnostics: path in the directory -> content.

    Args:
      found: what `diagnose.write` returns.
    """
    svg = {
        name: plots_lib.to_svg(figure, description)
        for name, (figure, description) in plots.figures(found).items()
    }
    tables = _tables(found)
    html = report.page_template(__package__, _TEMPLATE).render(
        scope=_scope(found),
        notes=found["notes"],
        verdicts=found["verdicts"],
        signs=_SIGNS,
        tables=tables,
        svg=svg,
    )
    return {"diagnostics.md": _markdown(found, tables), "index.html": html}


def print_table(found: dict, out_dir: pathlib.Path) -> None:
    """Print the verdicts, and where everything is."""
    table = rich.table.Table(
        title=_scope(found), title_justify="left", show_lines=True
    )
    table.add_column("diagnostic", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("found, and what it means")
    for verdict in found["verdicts"]:
        table.add_row(
            verdict["name"],
            _level(verdict["level"]),
            f"{_sentence(verdict['finding'])} {verdict['meaning']}",
            style=_STYLES.get(verdict["level"], "dim"),
        )
    console = rich.console.Console()
    console.print(table)
    console.print(f"wrote {out_dir}", soft_wrap=True, highlight=False)


def _scope(found: dict) -> str:
    period = found["overlap"]["all"]
    return (
        f"{text.plural(period['rows'], 'ad row')} of {period['first']} to "
        f"{period['last']}, each against the natural rows of earlier days"
    )


def _level(level: str) -> str:
    return f"{_SIGNS[level]} {level}" if level in _SIGNS else level


def _sentence(finding: str) -> str:
    return f"{finding[0].upper()}{finding[1:]}."


def _tables(found: dict) -> list[tuple]:
    """Return title, header and rows of each table that has rows."""
    tables = [_overlap(found["overlap"])]
    tables += [_activity(found["overlap"], role) for role in ("user", "item")]
    tables += [_shift(found["domain_shift"]), _drift(found["snapshot_drift"])]
    tables += [_runs(found["alarm"]), _slices(found["alarm"])]
    return [table for table in tables if table[2]]


def _overlap(overlap: dict) -> tuple:
    rows = [
        [
            f"{role}s, {period['first']} to {period['last']}",
            f"{period[role]['ids']:,}",
            _percent(period[role]["ids_share"]),
            _percent(period[role]["rows_share"]),
        ]
        for period in overlap.values()
        if period["rows"]
        for role in ("user", "item")
    ]
    header = ["ads", "ids", "ids known", "rows known"]
    return "Known to natural logs", header, rows


def _activity(overlap: dict, role: str) -> tuple:
    every, last = overlap["all"][role], overlap["last"][role]
    rows = [
        [
            name,
            f"{bucket['rows']:,}",
            _percent(bucket["share"]),
            _percent(bucket["ctr"], 2),
            _percent(last["buckets"][name]["share"]),
            _percent(last["buckets"][name]["ctr"], 2),
        ]
        for name, bucket in every["buckets"].items()
    ]
    header = ["natural rows before", "ad rows", "share", "CTR"]
    header += ["share, last days", "CTR, last days"]
    return f"Ad rows by natural activity of the {role}", header, rows


def _shift(shift: dict | None) -> tuple:
    rows = []
    if shift:
        values = {"all features": shift["auc"], **shift["features"]}
        rows = [[name, f"{value:.4f}"] for name, value in values.items()]
    return "Natural rows told from ads", ["by", "AUC"], rows


def _drift(drift: dict) -> tuple:
    rows = [
        [
            f"{table}, {move['old']} to {move['new']}",
            f"{move['ids']:,}",
            _percent(move["common_share"]),
            f"{move['before']:.3f}",
            f"{move['after']:.3f}",
        ]
        for table, moves in drift.items()
        for move in moves
    ]
    header = ["snapshots", "common ids", "of the newer", "moved"]
    return "Snapshot drift", [*header, "moved, aligned"], rows


def _runs(alarm: dict | None) -> tuple:
    rows = [
        [
            f"{text.METRICS[run['metric']]}, {run['first']} to {run['last']}",
            f"{run['days']}",
            f"{run['lost_by']:.4f}",
            _percent(run["chance"], 1),
            run["level"],
        ]
        for run in (alarm or {}).get("runs", ())
    ]
    header = ["run of lost days", "days", "lost by", "by chance", "level"]
    return "Days lost to ads only", header, rows


def _slices(alarm: dict | None) -> tuple:
    rows = [
        [
            f"{found['slice']}, {text.METRICS[found['metric']]}",
            f"{found['clicks']:,}",
            f"{found['lost_by']:.4f}",
            f"{found['noise']:.4f}",
            found["level"],
        ]
        for found in (alarm or {}).get("slices", ())
    ]
    header = ["slice", "clicks", "lost by", "noise", "level"]
    return "Slices lost to ads only", header, rows


def _percent(share: float | None, digits: int = 0) -> str:
    return text.NOTHING if share is None else f"{share:.{digits}%}"


def _markdown(found: dict, tables: list[tuple]) -> str:
    lines = [f"{_scope(found)}."]
    lines += [f"\n> {note}" for note in found["notes"]]
    lines += [
        "",
        "| diagnostic | verdict | found | meaning |",
        "|---" * 4 + "|",
    ]
    for verdict in found["verdicts"]:
        cells = [verdict["name"], _level(verdict["level"])]
        cells += [_sentence(verdict["finding"]), verdict["meaning"]]
        lines.append(text.markdown_row(cells))
    for title, header, rows in tables:
        lines += ["", f"## {title}", "", *text.markdown_table(header, rows)]
    return "\n".join(lines) + "\n"
