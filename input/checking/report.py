"""The check of logs as tables on the console and as a page."""

import datetime
import pathlib
from collections.abc import Mapping

import rich.console

from ecdctr_tf.input.checking import warnings
from ecdctr_tf.results import page, plots, text
from ecdctr_tf.results.page import Card, Page, Section

_TITLE = "Check of the logs"


def show(found: Mapping, paths: list[str]) -> None:
    """Print the check, and the files that were written."""
    shown = (_domains(found), _sources(found), _features(found), _shared(found))
    for section in shown:
        if section.rows:
            rows = {row[0]: row[1:] for row in section.rows}
            page.print_table(section.title, section.header, rows, {}, [])
    console = rich.console.Console()
    for seen, advice in warnings.warnings(dict(found)):
        console.print(
            f"! {seen} {advice}", soft_wrap=True, highlight=False, markup=False
        )
    for path in paths:
        console.print(
            f"wrote {path}", soft_wrap=True, highlight=False, markup=False
        )


def write(found: Mapping, out_dir: pathlib.Path) -> list[str]:
    """Write `index.html`, `check.md` and `check.json`; return their paths."""
    seen = warnings.warnings(dict(found))
    cards = [Card("look", "watch", said, advice) for said, advice in seen]
    rows = sum(of["rows"] for of in found["domains"].values())
    days = {day for of in found["domains"].values() for day in of["days"]}
    made = Page(
        _TITLE,
        f"{text.plural(rows, 'row')} of {text.plural(len(days), 'day')}, "
        f"{min(days)} to {max(days)}; nothing was converted.",
        [],
        [
            _domains(found),
            _sources(found),
            _features(found),
            _shared(found),
            _days(found),
        ],
        cards=cards or [Card("logs", "good", "nothing stands out", "convert")],
    )
    others = {"check.json": text.to_json(dict(found))}
    return made.write(out_dir, "check", others)


def _domains(found: Mapping) -> Section:
    of = found["domains"].values()
    rows = [
        ["rows", *(text.count(d["rows"]) for d in of)],
        ["clicks", *(text.count(d["clicks"]) for d in of)],
        ["CTR", *(text.percent(d["clicks"] / d["rows"], 2) for d in of)],
        ["first", *(_moment(d["first"]) for d in of)],
        ["last", *(_moment(d["last"]) for d in of)],
        ["days with rows", *(text.count(len(d["days"])) for d in of)],
        ["days without rows", *(text.count(len(d["gaps"])) for d in of)],
        ["duplicates", *(text.count(d["duplicates"]) for d in of)],
    ]
    words = (
        "Times are UTC. Duplicates repeat user, item and second of another "
        "row. Counts of more than some 100,000 values are estimates."
    )
    days = sorted({d for of in found["domains"].values() for d in of["days"]})
    drawn = {"click_rate": _click_rate(found, days)}
    header = ["", *found["domains"]]
    return Section("Domains", header, rows, words, drawn)


def _sources(found: Mapping) -> Section:
    rows = [
        [
            name,
            text.count(of["rows"]),
            text.percent(of["clicks"] / of["rows"] if of["rows"] else None, 2),
            text.count(of["days"]),
            of["first"] or text.NOTHING,
            of["last"] or text.NOTHING,
        ]
        for name, of in found["sources"].items()
    ]
    header = ["source", "rows", "CTR", "days with rows", "first", "last"]
    return Section("Natural sources", header, rows)


def _moment(second: int) -> str:
    moment = datetime.datetime.fromtimestamp(second, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _features(found: Mapping) -> Section:
    header = ["feature", "missing", "values", "lowest", "mean", "highest"]
    rows = []
    for name, of in found["features"].items():
        for domain in found["domains"]:
            if domain in of:
                values = of[domain]
                rows.append(
                    [
                        f"{name}, {domain}",
                        text.percent(values["missing"], 1),
                        text.count(values["values"]),
                        _number(values["low"]),
                        _number(values["mean"]),
                        _number(values["high"]),
                        text.number(values["drift"], 2),
                    ]
                )
    words = (
        "Drift is the population stability index of the later half of the "
        "days against the earlier half: up to 0.1 alike, above 0.25 another "
        "distribution. New ids of users and items drift by nature."
    )
    return Section("Features", [*header, "drift"], rows, words)


def _number(value: float | None) -> str:
    if value is None:
        return text.NOTHING
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1e9 else f"{value:.4g}"


def _shared(found: Mapping) -> Section:
    rows = [
        [
            name,
            text.percent(of.get("shared_ids"), 1),
            text.percent(of.get("shared_rows"), 1),
            text.number(of.get("shift"), 2),
        ]
        for name, of in found["features"].items()
        if "shift" in of
    ]
    header = ["feature", "ids of ads in natural", "their rows", "shift"]
    words = (
        "Shift is the population stability index of the ads against the "
        "natural rows."
    )
    return Section("Ads against natural rows", header, rows, words)


def _days(found: Mapping) -> Section:
    header = ["day"]
    days = sorted({d for of in found["domains"].values() for d in of["days"]})
    for domain in found["domains"]:
        header += [f"{domain}: rows", "CTR"]
    rows = []
    for day in days:
        cells = [day]
        for of in found["domains"].values():
            count, clicks = of["days"].get(day, (0, 0))
            rate = clicks / count if count else None
            cells += [text.count(count), text.percent(rate, 2)]
        rows.append(cells)
    return Section("Days", header, rows, folded=True)


def _click_rate(found: Mapping, days: list[str]) -> plots.Figure:
    with plots.axes("Click rate by day") as (figure, ax):
        for (name, of), look in zip(
            found["domains"].items(), plots.LOOKS, strict=False
        ):
            known = [d for d in days if d in of["days"]]
            rates = [of["days"][d][1] / of["days"][d][0] for d in known]
            places = [days.index(day) for day in known]
            ax.plot(places, rates, label=name, **look)
        step = max(len(days) // 5, 1)
        ax.set_xticks(range(0, len(days), step), days[::step], rotation=20)
        ax.set_ylim(bottom=0)
        plots.legend(figure)
    return plots.Figure(figure, "Share of rows that are clicks, by day")
