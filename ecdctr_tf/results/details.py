"""What a page tells of how levels were trained: curves and warm starts.

Everything here leaves out what a work directory does not have.
"""

from collections.abc import Sequence

from ecdctr_tf import artefacts, store
from ecdctr_tf.results import figures, inputs, mixtures, text
from ecdctr_tf.results.models import Model
from ecdctr_tf.results.page import Section
from ecdctr_tf.transfer import evidence

# What the candidates of `transfer.evidence` take of a change.
_PARTS = tuple(
    f"{part.tables:.0%} of tables, {part.dense:.0%} of dense weights"
    for part in evidence.CANDIDATES
)
LEVELS = {"tpm": "TPM", "cpm": "CPM", "ctr": "A-CTR"}


def sections(models: Sequence[Model]) -> list[Section]:
    """Return the sections on inputs, warm starts, mixtures and curves."""
    found = []
    for model in models:
        found += inputs.sections(model)
        found += [*_warm_start(model), *_changes(model)]
        found += mixtures.sections(model)
    lines = curves([model for model in models if not model.ablation])
    if lines:
        found.append(
            Section(
                "Learning curves of the first seed",
                figures={
                    f"curve_{level}": figures.learning_curves(
                        f"{LEVELS[level]} training", of_level
                    )
                    for level, of_level in lines.items()
                },
            )
        )
    return found


def curves(models: Sequence[Model]) -> dict[str, list[dict]]:
    """Return the learning curves of the first run of each model.

    Returns:
      "tpm", "cpm" and "ctr", as far as they are there: lines of `label`,
      `rows` (trained on so far) and `loss` (lists). The days of an A-CTR are
      one line; an artefact that several models share is a line of the first.
    """
    result: dict[str, list[dict]] = {level: [] for level in LEVELS}
    seen = set()
    for model in models:
        for level, (directory, kind) in model.levels().items():
            if directory in seen:
                continue
            seen.add(directory)
            lines: list[dict] = []
            for day in store.dated(directory):
                path = directory / day
                points = artefacts.read_json(path, kind, artefacts.CURVE)
                if not points:
                    continue
                if level != "ctr" or not lines:
                    label = model.label
                    if level != "ctr":
                        label += f", to {day}"
                    lines.append({"label": label, "rows": [], "loss": []})
                _extend(lines[-1], points)
            result[level] += lines
    return {level: lines for level, lines in result.items() if lines}


def _warm_start(model: Model) -> list[Section]:
    """Return the first restore report of a model: a line, a folded table."""
    directory = model.workdirs[0].ctr(model.base)
    for day in store.dated(directory):
        report = artefacts.read_json(
            directory / day, artefacts.CTR, artefacts.RESTORE
        )
        entries = (report or {}).get("variables")
        if not entries:
            continue
        statuses = [entry["status"] for entry in entries]
        counts = ", ".join(
            f"{statuses.count(status)} {status}"
            for status in dict.fromkeys(statuses)
        )
        said = f"From the CPM before {day}: {counts}."
        if report.get("unseen"):
            said += (
                " The CPM never saw these features vary, so they start without "
                f"effect: {', '.join(report['unseen'])}."
            )
        header = ["variable", "status", "shape", "rows restored"]
        return [
            Section(
                f"Warm start of {model.label}",
                text=said,
            ),
            Section(
                f"{text.plural(len(entries), 'variable')} of {model.label}",
                [*header, "norm before", "norm after"],
                [_variable(entry) for entry in entries],
                folded=True,
            ),
        ]
    return []


def _changes(model: Model) -> list[Section]:
    """Return what each part of the changes of CPMs would have lost."""
    directory = model.workdirs[0].ctr(model.base)
    rows, before = [], None
    for day in store.dated(directory):
        manifest = store.read_manifest(directory / day, artefacts.CTR)
        known = manifest.config.get("evidence")
        if known and known != before:
            losses = map(text.number, known["of_day"])
            rows.append([day, _PARTS[known["taken"]], *losses])
        before = known
    if not rows:
        return []
    return [
        Section(
            f"Changes of CPMs that {model.label} took",
            ["day", "part taken", *(f"log loss of {p}" for p in _PARTS)],
            rows,
            text="Of the day after the change, by the A-CTR before it was "
            "trained on that day. The first seed.",
            folded=True,
        )
    ]


def _variable(entry: dict) -> list[str]:
    norms = [entry.get("norm_before"), entry.get("norm_after")]
    return [
        entry["name"],
        entry["status"],
        " \N{MULTIPLICATION SIGN} ".join(map(str, entry.get("shape", ())))
        or "scalar",
        text.count(entry.get("rows_restored")),
        *(text.NOTHING if n is None else f"{n:.4g}" for n in norms),
    ]


def _extend(line: dict, points: list[dict]) -> None:
    """Append a curve, which counts its own rows, to the end of a line."""
    before = line["rows"][-1] if line["rows"] else 0
    line["rows"] += [before + point["rows"] for point in points]
    line["loss"] += [point["loss"] for point in points]
