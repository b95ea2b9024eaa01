"""What a report tells of the levels: windows, cost, curves, warm starts.

Everything here leaves out what a work directory does not have.
"""

import json
import pathlib
from collections.abc import Sequence

from ecdctr_tf import model_table, store
from ecdctr_tf.evaluation import runs as runs_lib

# Directory of a level -> (kind of its artefacts, what readers call it).
LEVELS = {
    "tpm": ("snapshot", "TPM"),
    "historical": ("historical", "Aggregate"),
    **{
        f"{model}/{level}": (level, name)
        for model in model_table.MODELS
        for level, name in (("cpm", "CPM"), ("ctr", "A-CTR"))
    },
}


def levels(runs: Sequence[runs_lib.Run]) -> list[dict]:
    """Return what each level read and cost.

    Args:
      runs: one a seed.

    Returns:
      For each level that there is: `level`, `model` ("" for shared levels),
      `windows` (texts, of the first run), `artefacts`, `rows` trained on and
      `seconds` (None if not recorded), both of one run (mean over runs).
    """
    rows = []
    for directory, (kind, name) in LEVELS.items():
        found = [_artefacts(run.path / directory, kind) for run in runs]
        found = [artefacts for artefacts in found if artefacts]
        if not found:
            continue
        trained = [_trained_rows(*a) for artefacts in found for a in artefacts]
        manifests = [m for artefacts in found for _, m in artefacts]
        seconds = [m.metrics.get("seconds") for m in manifests]
        known = [s for s in seconds if s is not None]
        used = [m.window for _, m in found[0] if m.window]
        rows.append(
            {
                "level": name,
                "model": directory.partition("/")[0]
                if "/" in directory
                else "",
                "windows": _windows(used),
                "artefacts": len(found[0]),
                "rows": sum(trained) / len(found),
                "seconds": sum(known) / len(found) if known else None,
            }
        )
    return rows


def curves(run: runs_lib.Run) -> dict[str, list[dict]]:
    """Return the learning curves of a run.

    Args:
      run: the run.

    Returns:
      "TPM", "CPM" and "A-CTR", as far as they are there: lines of `model` (""
      for TPM), `day`, `rows` (trained on so far) and `loss` (lists). The days
      of an A-CTR are one line.
    """
    result: dict[str, list[dict]] = {}
    for directory, (_, name) in LEVELS.items():
        model = directory.partition("/")[0] if "/" in directory else ""
        lines: list[dict] = []
        for day in store.dated(run.path / directory):
            points = _json(run.path / directory / day / "curve.json")
            if not points:
                continue
            if name != "A-CTR" or not lines:
                line = {"model": model, "day": day, "rows": [], "loss": []}
                lines.append(line)
            _extend(lines[-1], points)
        if lines:
            result.setdefault(name, []).extend(lines)
    order = dict.fromkeys(name for _, name in LEVELS.values())
    order = sorted(order, key=lambda name: name == "A-CTR")
    return {name: result[name] for name in order if name in result}


def restores(run: runs_lib.Run) -> list[dict]:
    """Return the restore reports of a run, the first of each model.

    Args:
      run: the run.

    Returns:
      Dicts of `model`, `day`, `counts` (status -> variables) and `entries`,
      the variables in `restore.json`.
    """
    found = []
    for model in model_table.MODELS:
        directory = run.path / model / "ctr"
        for day in store.dated(directory):
            entries = _json(directory / day / "restore.json")
            if isinstance(entries, dict):
                entries = entries.get("variables")
            if entries:
                counts: dict[str, int] = {}
                for entry in entries:
                    status = entry.get("status", "?")
                    counts[status] = counts.get(status, 0) + 1
                found.append(
                    {
                        "model": model,
                        "day": day,
                        "counts": counts,
                        "entries": entries,
                    }
                )
                break
    return found


def _artefacts(directory: pathlib.Path, kind: str) -> list[tuple]:
    """Return paths and manifests of the dated artefacts of a directory."""
    paths = [directory / day for day in store.dated(directory)]
    return [(path, store.read_manifest(path, kind)) for path in paths]


def _trained_rows(path: pathlib.Path, manifest: store.Manifest) -> int:
    """Return the rows of an artefact's own window.

    Its manifest also counts what the artefacts that it goes on from read.
    """
    curve = _json(path / "curve.json")
    return curve[-1]["rows"] if curve else manifest.rows


def _windows(found: list) -> list[str]:
    """Return windows as texts: up to four in full, more by their ends."""
    texts = [str(w) if w.first != w.last else w.first for w in found]
    if len(texts) <= 4:
        return texts
    how = f"in {len(texts)} windows"
    if all(w.first == w.last for w in found):
        how = "day by day"
    return [f"{found[0].first}..{found[-1].last}, {how}"]


def _extend(line: dict, points: list[dict]) -> None:
    """Append a curve, which counts its own rows, to the end of a line."""
    before = line["rows"][-1] if line["rows"] else 0
    line["rows"] += [before + point["rows"] for point in points]
    line["loss"] += [point["loss"] for point in points]


def _json(path: pathlib.Path):
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8"))
