"""The model card of a served version: what it is, what it saw, how good it is.

It is rendered from the version's lineage and from the day of ads that the model
scored before it was trained on it. Reference: Mitchell et al., Model Cards for
Model Reporting (FAT* 2019).

Shapes: N rows of the scored day.
"""

import pathlib
import typing
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from ecdctr_tf import artefacts, metrics, model_table, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.export import given_history
from ecdctr_tf.export.weights import NEWEST_DAY
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import page, plots, slices, text
from ecdctr_tf.results.page import Section
from ecdctr_tf.results.slices import ScoredDay

NAME = "model_card"
# Groups of rows with about the same prediction, of which click rates are shown.
_GROUPS = 10
_LEVELS = {
    artefacts.TPM: "TPM",
    artefacts.CPM: "CPM",
    artefacts.CTR: "A-CTR",
}
_USE = (
    "The model predicts the probability that an ad is clicked when it is shown "
    "to a user, for the surfaces and the population that the ads of its logs "
    "come from, on the days after them. It is not meant for other surfaces, "
    "for events other than clicks, or for decisions about people. Its scores "
    "depend on the behaviour of users; how long logs, snapshots and models are "
    "kept is for whoever runs it to decide."
)


def write(
    directory: pathlib.Path,
    version: int,
    artefact: pathlib.Path,
    data: DataDirectory,
    model: typing.Any,
    lineage: Mapping[str, typing.Any],
) -> None:
    """Write the card as HTML and Markdown into `assets.extra/` of a version.

    Args:
      directory: of the version.
      version: its number.
      artefact: the A-CTR day that it is an export of.
      data: the data directory of that day.
      model: its model, or the form of it that is served.
      lineage: what `lineage.json` says.

    Raises:
      FileNotFoundError, ValueError: the scored day is missing or damaged.
    """
    card = _page(version, artefact, data, model, lineage)
    extra = directory / "assets.extra"
    store.write_text(extra / f"{NAME}.html", card.html())
    store.write_text(extra / f"{NAME}.md", card.markdown())


def _page(
    version: int,
    artefact: pathlib.Path,
    data: DataDirectory,
    model: typing.Any,
    lineage: Mapping[str, typing.Any],
) -> page.Page:
    row = model_table.model(artefact.parents[1].name)
    manifest = store.read_manifest(artefact, artefacts.CTR)
    sections = [
        Section("Intended use", text=_USE),
        _of_network(row, artefacts.read_config(artefact, artefacts.CTR)),
        _of_features(lineage),
        _of_data(lineage),
    ]
    if artefacts.SCORES in manifest.files:
        window = manifest.window
        scored = _scored(artefact, window, row.name)
        sections += [
            _of_metrics(scored, lineage["gate"]),
            _of_slices(scored, _masks(scored, data, model)),
            _of_calibration(scored),
        ]
    sections.append(_of_gate(lineage["gate"]))
    return page.Page(
        f"Model card: {row.label}, version {version}",
        f"An export of {artefact.parent.name}/{artefact.name} of the model "
        f"`{row.name}`.",
        _notes(lineage["gate"]),
        sections,
    )


def _notes(gate: Mapping | None) -> list[str]:
    """Return what whoever serves the version has to know first."""
    if gate is None:
        return ["No gate looked at this version before it was published."]
    if gate["forced"]:
        return ["This version was published although the gate refused it."]
    return []


def _of_network(row: model_table.ModelRow, config: configs.Config) -> Section:
    of = config.model
    rows = [
        ["reference", row.reference],
        ["hidden units", ", ".join(map(str, of.hidden_units))],
        ["cross layers", str(of.cross_layers)],
        ["heads", str(of.heads)],
        ["embedding width", str(of.embedding_dim)],
    ]
    return Section("Model", ["", row.label], rows)


def _of_features(lineage: Mapping[str, typing.Any]) -> Section:
    """Return the features that are served, and how many ids they know."""
    known = lineage["ancestors"][lineage["artefact"]]["ids"]
    rows = [
        [
            feature["name"],
            feature["kind"],
            feature["table"] or text.NOTHING,
            text.count(known.get(feature["table"], {}).get("rows")),
        ]
        for feature in lineage["served"]["features"]
    ]
    header = ["feature", "kind", "table", "rows of the table"]
    return Section("Features", header, rows)


def _of_data(lineage: Mapping[str, typing.Any]) -> Section:
    """Return the days that each level saw, as far as artefacts name them."""
    of_levels: dict[tuple[str, str], list[Mapping]] = {}
    for found in lineage["ancestors"].values():
        if found["kind"] in _LEVELS:
            level = pathlib.Path(found["path"]).parent
            model = level.parent.name if level.name != "tpm" else ""
            if model and model_table.model(model).experts:
                continue  # A mixture trains nothing.
            of_levels.setdefault((found["kind"], model), []).append(found)
    rows = []
    for kind, label in _LEVELS.items():
        for (of, model), found in of_levels.items():
            if of == kind:
                newest = max(found, key=lambda a: a["window"]["last"])
                days = (
                    min(a["window"]["first"] for a in found),
                    newest["window"]["last"],
                )
                name = f"{label}, {model}" if model else label
                rows.append([name, *days, text.count(newest["rows"])])
    header = ["level", "first day", "last day", "rows trained on"]
    words = (
        "Days of the artefacts that the version was made from; a level that "
        "names none before its newest has seen earlier days too. Rows count as "
        "often as they were trained on, from the beginning of the level."
    )
    return Section("Data", header, rows, words)


def _scored(
    artefact: pathlib.Path, window: windows.Window, name: str
) -> ScoredDay:
    found = artefacts.read_scores(artefact)
    return ScoredDay(
        window.first,
        found["click"],
        {role: found[role] for role in slices.ROLES},
        {name: [found["ctr"]]},
        weight=found["weight"],
    )


def _of_metrics(scored: ScoredDay, gate: Mapping | None) -> Section:
    """Return metrics of the scored day and of the rows held out."""
    whole = f"{scored.day}, before it was learned"
    every = slices.measured([(scored, np.s_[:])])
    rows = [
        _metrics(whole, every["rows"], next(iter(every["models"].values())))
    ]
    if gate and gate["rows"]:
        rows += [
            _metrics(f"rows held out, {name}", gate["rows"], of)
            for name, of in gate["metrics"].items()
        ]
    words = (
        "Means with 95 % intervals by a bootstrap of users, and for the rows "
        "held out those of the gate. The candidate scored these before it "
        "learned them; what is served has learned them since."
    )
    return Section("Metrics", _header("rows of"), rows, words)


def _header(first: str) -> list[str]:
    """Return the columns of rows that `_metrics` makes."""
    return [first, "rows", *(of.label for of in metrics.METRICS.values())]


def _metrics(name: str, rows: int, of: Mapping[str, Mapping]) -> list[str]:
    values = (text.estimate(of[metric]) for metric in metrics.METRICS)
    return [name, text.count(rows), *values]


def _masks(
    scored: ScoredDay, data: DataDirectory, model: typing.Any
) -> Iterator[tuple[str, np.ndarray]]:
    """Give slices of the scored rows: their names and bool `[N]`."""
    known = data.table_rows(windows.plus(scored.day, -1))
    for role in slices.ROLES:
        feature = getattr(model.spec, role)
        rows = scored.rows[role]
        # Rows of ids of the day itself are behind all others.
        new = rows >= known.get(model.spec.feature(feature).table, 0)
        yield f"{role} first seen that day", new
        yield f"{role} seen before", ~new
        if feature in given_history.inside(model):
            days = tf.fill([len(rows)], NEWEST_DAY)
            held = model.recall(feature, tf.constant(rows), days)[1].numpy() > 0
            yield f"{role} with history", held
            yield f"{role} without history", ~held


def _of_slices(
    scored: ScoredDay, masks: Iterator[tuple[str, np.ndarray]]
) -> Section:
    rows = []
    for name, mask in masks:
        found = slices.measured([(scored, mask)])
        for of in found["models"].values():
            rows.append(_metrics(name, found["rows"], of))
    return Section("Slices of the scored day", _header("slice"), rows)


def _of_calibration(scored: ScoredDay) -> Section:
    """Return click rates of rows with about the same prediction."""
    predicted, clicked, rows = _groups(scored)
    cells = [
        [f"{i + 1}", text.count(n), text.number(p), text.number(c)]
        for i, (p, c, n) in enumerate(
            zip(predicted, clicked, rows, strict=True)
        )
    ]
    title = "Predicted and observed click rate"
    with plots.axes(title) as (figure, ax):
        ends = [0, max(*predicted, *clicked, 1e-9)]
        ax.plot(ends, ends, color=plots.GREY, linewidth=1, label="calibrated")
        ax.plot(predicted, clicked, **plots.LOOKS[0], label="the scored day")
        ax.set_xlabel("mean prediction")
        ax.set_ylabel("click rate")
        plots.legend(figure)
    drawn = plots.Figure(figure, f"{title} of {len(rows)} groups of rows")
    header = ["group", "rows", "mean prediction", "click rate"]
    words = (
        "The rows of the scored day in the order of their predictions, in "
        "groups of equal size."
    )
    return Section("Calibration", header, cells, words, {"calibration": drawn})


def _groups(scored: ScoredDay) -> tuple[list[float], list[float], list[int]]:
    """Return mean prediction, click rate and rows of each group."""
    ((ctr,),) = scored.ctr.values()
    weight = scored.weight if scored.weight is not None else np.ones(len(ctr))
    counted = np.flatnonzero(weight > 0)
    order = counted[np.argsort(ctr[counted], kind="stable")]
    parts = [part for part in np.array_split(order, _GROUPS) if len(part)]
    return (
        [float(np.average(ctr[p], weights=weight[p])) for p in parts],
        [float(np.average(scored.click[p], weights=weight[p])) for p in parts],
        [len(part) for part in parts],
    )


def _of_gate(gate: Mapping | None) -> Section:
    if gate is None:
        return Section("Gate")
    failed = [check["said"] for check in gate["checks"] if not check["passed"]]
    said = f"{len(gate['checks'])} checks, of which {len(failed)} failed."
    return Section("Gate", text=" ".join([said, *failed, *gate["left_out"]]))
