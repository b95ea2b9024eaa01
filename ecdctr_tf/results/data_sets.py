"""Comparisons on several data sets as one table: what is better on all?

Reads what `--stage=compare` writes for each data set (`results.json`). Nothing
is trained or scored.
"""

import dataclasses
import json
import pathlib
import typing
from collections.abc import Mapping, Sequence

from ecdctr_tf import metrics, typed_values
from ecdctr_tf.results import page, report, text
from ecdctr_tf.results.models import ORACLE
from ecdctr_tf.results.page import Page, Section

TITLE = "Models on several data sets"
# Seeds that a choice should be made with.
ENOUGH_SEEDS = 3
_JUDGED = {n: of for n, of in metrics.METRICS.items() if of.better}
_OF_METRICS = dict[str, dict[str, dict]]
_NEEDED: dict[str, typing.Any] = {
    "models": _OF_METRICS,
    "differences": _OF_METRICS,
    "labels": dict[str, str],
    "days": tuple[str, ...],
    "seeds": tuple[str | int, ...],
}
_MINUS = "\N{MINUS SIGN}"
_FIELDS = ("mean", "low", "high", "significant")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The comparison on one data set."""

    # What tables call it.
    name: str
    path: pathlib.Path
    # What `report.write` returned.
    results: Mapping

    def mean(self, model: str, metric: str) -> float | None:
        """Return a metric of a model, None where it is not known."""
        of = self.results["models"].get(model, {}).get(metric, {})
        return of.get("mean")

    def difference(self, model: str, reference: str, metric: str) -> dict:
        """Return mean, ends and significance of one model less another.

        Raises:
          ValueError: the file does not have this pair of models.
        """
        pairs = self.results["differences"]
        found = pairs.get(f"{model} - {reference}", {}).get(metric)
        if found is not None:
            return {field: found[field] for field in _FIELDS}
        found = pairs.get(f"{reference} - {model}", {}).get(metric)
        if found is None:
            raise ValueError(
                f"{self.path} has no difference of {model} and {reference} in "
                f"{metric}. E-CDCTR and ads only are compared with all models: "
                "set --reference=e_cdctr or --reference=ads_only, and let both "
                "be among --models of --stage=compare."
            )
        mean, low, high = (
            None if found[end] is None else -found[end]
            for end in ("mean", "high", "low")
        )
        return {
            "mean": mean,
            "low": low,
            "high": high,
            "significant": found["significant"],
        }


def read(texts: Sequence[str]) -> list[DataSet]:
    """Return the comparisons of a flag's `file` or `name=file`, in order.

    Raises:
      FileNotFoundError, ValueError: there are fewer than two, two of one name,
        or a file is not what `--stage=compare` writes.
    """
    if len(texts) < 2:
        raise ValueError(
            "--results should name the results.json of two data sets or more, "
            f"as file or name=file. Received: {','.join(texts) or 'none'}"
        )
    found: dict[str, DataSet] = {}
    for given in texts:
        name, _, file = given.rpartition("=")
        path = pathlib.Path(file)
        name = name or path.stem
        if name in found:
            raise ValueError(
                f"--results has two data sets that are called {name!r}. Give "
                f"one of them another name, as in mine={path}."
            )
        for other in found.values():
            if other.path.resolve() == path.resolve():
                raise ValueError(
                    f"--results names {path} twice, as {other.name!r} and "
                    f"{name!r}: it would count twice."
                )
        found[name] = DataSet(name, path, _results(path))
    return list(found.values())


def _results(path: pathlib.Path) -> Mapping:
    if not path.is_file():
        raise FileNotFoundError(f"{path}, given as --results, does not exist.")
    try:
        results = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    known = results if isinstance(results, dict) else {}
    missing = [key for key in _NEEDED if key not in known]
    if missing:
        raise ValueError(
            f"{path} should be a results.json of --stage=compare; it lacks "
            f"{', '.join(missing)}."
        )
    for key, kind in _NEEDED.items():
        typed_values.check(f"`{key}` of {path}", kind, known[key])
    bare = [name for name in known["models"] if name not in known["labels"]]
    if bare:
        raise ValueError(f"`labels` of {path} lacks {', '.join(bare)}.")
    for pair, apart in known["differences"].items():
        for metric in _JUDGED.keys() & apart:
            lacking = [f for f in _FIELDS if f not in apart[metric]]
            if lacking:
                raise ValueError(
                    f"{metric} of {pair} in `differences` of {path} lacks "
                    f"{', '.join(lacking)}."
                )
    return known


def write(
    sets: Sequence[DataSet],
    reference: str,
    out_dir: pathlib.Path,
    notes: Sequence[str] = (),
) -> dict:
    """Compare models over data sets; write what came out.

    Args:
      sets: the comparisons, from `read`.
      reference: the model that the others are compared with.
      out_dir: gets `index.html`, `data_sets.md` and `data_sets.json`; files
        there are replaced.
      notes: sentences that qualify the numbers.

    Returns:
      `paths`, what was written, and what `data_sets.json` holds: `reference`,
      `sets` (name -> `days`, `seeds`), `labels`, `ranked` (the models that all
      sets have), `notes`, and `metrics`: metric -> model -> `means` and
      `differences` by set, `rank` (None unless ranked), `better`, `level` and
      `worse` (on how many sets it is beyond the noise, or not; those that
      leave the difference undefined are not counted).

    Raises:
      ValueError: a set lacks the reference, or a difference from it.
    """
    for of in sets:
        if reference not in of.results["models"]:
            raise ValueError(
                f"{of.path} lacks --reference={reference}. Its models are "
                f"{', '.join(of.results['models'])}."
            )
    labels = _labels(sets)
    ranked = [
        model
        for model in labels
        if model not in report.LABELS
        and all(model in of.results["models"] for of in sets)
    ]
    found = {
        "reference": reference,
        "sets": {
            of.name: {key: list(of.results[key]) for key in ("days", "seeds")}
            for of in sets
        },
        "labels": labels,
        "ranked": ranked,
        "notes": [*notes, *_cautions(sets, labels, ranked)],
        "metrics": {
            metric: _measured(sets, reference, labels, ranked, metric)
            for metric in _JUDGED
        },
    }
    files = {"data_sets.json": text.to_json(found)}
    paths = _page(found).write(out_dir, "data_sets", files)
    return {**found, "paths": paths}


def _labels(sets: Sequence[DataSet]) -> dict[str, str]:
    """Return what models are called, all but the oracle."""
    labels: dict[str, str] = {}
    for of in sets:
        for model in of.results["models"]:
            if model != ORACLE:
                labels.setdefault(model, of.results["labels"][model])
    return labels


def _measured(
    sets: Sequence[DataSet],
    reference: str,
    labels: Mapping[str, str],
    ranked: Sequence[str],
    metric: str,
) -> dict[str, dict]:
    """Return what is known of each model in a metric, best rank first."""
    ranks = _mean_ranks(sets, ranked, metric)
    better = metrics.METRICS[metric].better
    found = {}
    for model in labels:
        there = [of for of in sets if model in of.results["models"]]
        apart = {
            of.name: of.difference(model, reference, metric)
            for of in there
            if model != reference
        }
        known = [of for of in apart.values() if of["mean"] is not None]
        beyond = [of["mean"] * better for of in known if _is_beyond(of)]
        found[model] = {
            "means": {of.name: of.mean(model, metric) for of in there},
            "differences": apart,
            "rank": ranks.get(model),
            "better": sum(by > 0 for by in beyond),
            "level": len(known) - len(beyond),
            "worse": sum(by < 0 for by in beyond),
        }
    last = len(labels) + 1
    order = sorted(found, key=lambda m: found[m]["rank"] or last)
    return {model: found[model] for model in order}


def _is_beyond(difference: Mapping) -> bool:
    """Return whether a difference is known and beyond the noise."""
    return difference["significant"] and difference["mean"] is not None


def _mean_ranks(
    sets: Sequence[DataSet], models: Sequence[str], metric: str
) -> dict[str, float]:
    """Return the mean over sets of each model's rank; 1 is the best.

    Sets that leave the metric of a model undefined are left out.
    """
    better = metrics.METRICS[metric].better
    ranks: dict[str, list[float]] = {model: [] for model in models}
    for of in sets:
        values = {model: of.mean(model, metric) for model in models}
        if None in values.values():
            continue
        for model, value in values.items():
            above = [v for v in values.values() if (v - value) * better > 0]
            equal = [v for v in values.values() if v == value]
            ranks[model].append(len(above) + (len(equal) + 1) / 2)
    return {m: sum(of) / len(of) for m, of in ranks.items() if of}


def _cautions(
    sets: Sequence[DataSet], labels: Mapping[str, str], ranked: Sequence[str]
) -> list[str]:
    """Return notes on few seeds and on models that have no rank."""
    notes = [
        f"{of.name} has {text.plural(len(of.results['seeds']), 'seed')}; a "
        f"choice should be made with at least {ENOUGH_SEEDS}."
        for of in sets
        if len(of.results["seeds"]) < ENOUGH_SEEDS
    ]
    left = [labels[m] for m in labels if m not in ranked]
    left = [label for label in left if label not in report.LABELS.values()]
    if left:
        notes.append(
            f"Without a rank, since not all data sets have them: "
            f"{', '.join(left)}."
        )
    return notes


def _page(found: Mapping) -> Page:
    sections = [_section(found, metric) for metric in _JUDGED]
    return Page(TITLE, _scope(found), found["notes"], sections)


def _scope(found: Mapping) -> str:
    of_sets = [
        f"{name} ({text.plural(len(of['days']), 'scored day')}, "
        f"{text.plural(len(of['seeds']), 'seed')})"
        for name, of in found["sets"].items()
    ]
    reference = found["labels"][found["reference"]]
    return (
        f"Each model on {', '.join(of_sets)}; in brackets by how much it is "
        f"above {reference} or, with a minus, below. A difference is beyond "
        "the noise if its 95 % interval over users and seeds, on that data set "
        "alone, excludes 0."
    )


def _section(found: Mapping, metric: str) -> Section:
    reference = found["reference"]
    label = metrics.METRICS[metric].label
    rows = []
    for model, of in found["metrics"][metric].items():
        counts = [str(of[key]) for key in ("better", "level", "worse")]
        rows.append(
            [
                found["labels"][model],
                *(_cell(of, name) for name in found["sets"]),
                text.number(of["rank"], 1),
                *(counts if model != reference else [text.NOTHING] * 3),
            ]
        )
    header = ["model", *found["sets"], "mean rank"]
    words = (
        f"Ranks are among {text.plural(len(found['ranked']), 'model')} that "
        "all data sets have; better, level and worse count the data sets on "
        f"which a model differs so from {found['labels'][reference]} beyond "
        "the noise, or does not."
    )
    return Section(
        label,
        [*header, "better", "level", "worse"],
        rows,
        words,
        strong=found["labels"][reference],
    )


def _cell(of: Mapping, name: str) -> str:
    """Return `0.6782 (-0.0083 within the noise)`, a dash without the model."""
    value = text.number(of["means"].get(name))
    apart = of["differences"].get(name)
    if not apart or apart["mean"] is None:
        return value
    shown = f"{apart['mean']:+.4f}"
    if not apart["significant"]:
        shown += f" {text.WITHIN}"
    return f"{value} ({shown})"


def _short(of: Mapping, name: str) -> str:
    """Return `0.6615 -`: a metric, and how it differs beyond the noise."""
    apart = of["differences"].get(name)
    sign = " "
    if apart and _is_beyond(apart):
        sign = "+" if apart["mean"] > 0 else _MINUS
    return f"{text.number(of['means'].get(name))} {sign}"


def print_table(found: Mapping) -> None:
    """Print a short table of AUC, and what was written."""
    labels, reference = found["labels"], found["labels"][found["reference"]]
    rows = {
        labels[model]: [
            *(_short(of, name) for name in found["sets"]),
            text.number(of["rank"], 1),
        ]
        for model, of in found["metrics"]["auc"].items()
    }
    page.print_table(
        f"AUC; + or {_MINUS}: above or below {reference} beyond the noise.",
        ["model", *found["sets"], "mean rank"],
        rows,
        {reference: "bold"},
        found["paths"],
    )
    for note in found["notes"]:
        print(note)
