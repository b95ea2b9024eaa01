"""Diagnostics as a page: verdicts, tables and plots."""

import pathlib
from collections.abc import Mapping

from ecdctr_tf.diagnostics import figures
from ecdctr_tf.results import page, sections, text
from ecdctr_tf.results.page import Card, Page, Section

_STYLES = {"good": "blue", "watch": "yellow", "bad": "bold red"}


def diagnostics_page(found: Mapping) -> Page:
    """Return the page of diagnostics."""
    overlap, alarm = found["overlap"], found["alarm"]
    lost = sections.negative_transfer(alarm)
    drawn = {"alarm": figures.alarm(alarm)} if alarm else {}
    return Page(
        "Transfer diagnostics",
        _scope(found),
        found["notes"],
        [
            _overlap(overlap),
            *(_activity(overlap, role) for role in ("user", "item")),
            *([_sources(found["sources"])] if "sources" in found else []),
            _shift(found["domain_shift"]),
            _drift(found["snapshot_drift"]),
            Section(lost.title, lost.header, lost.rows, figures=drawn),
        ],
        cards=[
            Card(
                verdict["name"],
                verdict["level"],
                text.sentence(verdict["finding"]),
                verdict["meaning"],
            )
            for verdict in found["verdicts"]
        ],
    )


def print_table(shown: Page, out_dir: pathlib.Path) -> None:
    """Print the verdicts of a page, and where everything is."""
    page.print_table(
        shown.scope,
        ["diagnostic", "verdict", "found, and what it means"],
        {c.title: [c.label, f"{c.text} {c.meaning}"] for c in shown.cards},
        {c.title: _STYLES.get(c.level, "dim") for c in shown.cards},
        [str(out_dir)],
        justify="left",
    )


def _scope(found: Mapping) -> str:
    period = found["overlap"]["all"]
    return (
        f"{text.plural(period['rows'], 'ad row')} of {period['first']} to "
        f"{period['last']}, each against the natural rows of earlier days."
    )


def _overlap(overlap: Mapping) -> Section:
    rows = [
        [
            f"{role}s, {period['first']} to {period['last']}",
            text.count(period[role]["ids"]),
            text.percent(period[role]["ids_share"]),
            text.percent(period[role]["rows_share"]),
        ]
        for period in overlap.values()
        if period["rows"]
        for role in ("user", "item")
    ]
    header = ["ads", "ids", "ids known", "rows known"]
    return Section("Known to natural logs", header, rows)


def _activity(overlap: Mapping, role: str) -> Section:
    every, last = overlap["all"][role], overlap["last"][role]
    rows = [
        [
            name,
            text.count(bucket["rows"]),
            text.percent(bucket["share"]),
            text.percent(bucket["ctr"], 2),
            text.percent(last["buckets"][name]["share"]),
            text.percent(last["buckets"][name]["ctr"], 2),
        ]
        for name, bucket in every["buckets"].items()
    ]
    header = ["natural rows before", "ad rows", "share", "CTR"]
    header += ["share, last days", "CTR, last days"]
    drawn = {}
    # One plot has both roles.
    if role == "user" and overlap["last"]["rows"]:
        drawn = {"activity": figures.activity(overlap["last"])}
    title = f"Ad rows by natural activity of the {role}"
    return Section(title, header, rows, figures=drawn)


def _sources(sources: Mapping) -> Section:
    rows = [
        [
            name,
            text.count(of["rows"]),
            text.percent(of["share"], 1),
            text.percent(of["ctr"], 2),
            of["last"],
            text.percent(of["overlap"]["user"]["rows_share"]),
            text.percent(of["overlap"]["item"]["rows_share"]),
            text.percent(of["overlap"]["both_share"]),
            text.number((of["item_ctr"] or {}).get("spearman"), 2),
            text.number(of["auc"], 3),
        ]
        for name, of in sources.items()
    ]
    header = ["source", "rows before the ads", "share", "CTR", "newest"]
    header += ["user known", "item known", "both", "item clicks", "AUC"]
    words = (
        "Each source as if there were no other. Known: the share of the ad "
        "rows of the last days whose user or item it has before their day. "
        "Item clicks: the rank correlation of click rates of items with those "
        "in ads. AUC: of the ads of the last days, by the click rate of their "
        "item in the source before their day."
    )
    return Section("Natural sources", header, rows, words)


def _shift(shift: Mapping | None) -> Section:
    title, header = "Natural rows told from ads", ["by", "AUC"]
    if not shift:
        return Section(title)
    values = {"all features": shift["auc"], **shift["features"]}
    rows = [[name, text.number(value)] for name, value in values.items()]
    drawn = {"domain_shift": figures.shift(values)}
    return Section(title, header, rows, figures=drawn)


def _drift(drift: Mapping) -> Section:
    rows = [
        [
            f"{table}, {move['old']} to {move['new']}",
            text.count(move["ids"]),
            text.percent(move["common_share"]),
            text.number(move["before"], 3),
            text.number(move["after"], 3),
        ]
        for table, moves in drift.items()
        for move in moves
    ]
    header = ["snapshots", "common ids", "of the newer", "moved"]
    header += ["moved, aligned"]
    drawn = {"snapshot_drift": figures.drift(drift)} if rows else {}
    return Section("Snapshot drift", header, rows, figures=drawn)
