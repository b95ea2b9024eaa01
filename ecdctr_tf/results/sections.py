"""What is known of scored models as a page: its tables, plots and words."""

import math
from collections.abc import Mapping, Sequence

from ecdctr_tf import metrics
from ecdctr_tf.results import coverage, details, figures, page, text
from ecdctr_tf.results.models import BASELINE, MAIN, OF_SLICES, ORACLE
from ecdctr_tf.results.page import Page, Section

TITLE = "E-CDCTR: natural logs for ad click-through rates"
_METRICS = {name: of.label for name, of in metrics.METRICS.items()}
_JUDGED = {n: of.label for n, of in metrics.METRICS.items() if of.better}
# Measures of forgetting; those of `_LEVELS` are no differences.
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


def full_page(results: Mapping, more: Sequence[Section]) -> Page:
    """Return the page of results.

    Args:
      results: what `report.write` returned.
      more: sections that go to the end.
    """
    return Page(
        TITLE,
        scope(results),
        results["notes"],
        [
            *_main(results),
            _slices(results),
            negative_transfer(results["alarm"]),
            _costs(results),
            *_coverage(results),
            *_forgetting(results),
            _tuning(results),
            *more,
        ],
        _tiles(results),
    )


def short_page(results: Mapping) -> Page:
    """Return models and differences only."""
    return Page(TITLE, scope(results), results["notes"], _main(results))


def print_table(results: Mapping) -> None:
    """Print the table of models, and what was written."""
    header = ["model", "AUC", "GAUC", "AUC above ads only"]
    known = any(of.get("auc") for of in results["gap_closed"].values())
    rows = {}
    for name, of in by_auc(results):
        above = results["differences"].get(f"{name} - {BASELINE}")
        rows[results["labels"][name]] = [
            text.number(of["auc"]["mean"]),
            text.number(of["gauc"]["mean"]),
            text.difference(above["auc"]) if above else "",
            *([_closed(results, name)] if known else []),
        ]
    page.print_table(
        scope(results),
        [*header, "gap closed"] if known else header,
        rows,
        {results["labels"].get(MAIN, ""): "bold"},
        results["paths"],
    )
    for sentence in results["worse_than_constant"]:
        print(sentence)


def scope(results: Mapping) -> str:
    """Return what the numbers are of, one sentence."""
    days = results["days"]
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    what = "All rows of" if results["pooled"] else "Mean over"
    return (
        f"{what} {text.plural(len(days), 'scored day')} ({span}; "
        f"{text.plural(results['rows'], 'row')}, "
        f"{text.plural(results['clicks'], 'click')}) and "
        f"{text.plural(len(results['seeds']), 'seed')}; each day is scored "
        "before a model is trained on it. 95 % intervals by a bootstrap of "
        f"{text.plural(results['users'], 'user')} and the seeds."
    )


def by_auc(results: Mapping) -> list[tuple[str, dict]]:
    """Return the models and their metrics, best AUC first."""

    def auc(item: tuple[str, dict]) -> float:
        mean = item[1]["auc"]["mean"]
        return math.inf if mean is None else -mean

    return sorted(results["models"].items(), key=auc)


def negative_transfer(found: Mapping | None) -> Section:
    """Return where E-CDCTR loses to ads only: days, runs of days, slices."""
    found = found or {"days": {}, "runs": [], "slices": []}
    rows = [
        [f"{of['lost']} of {of['compared']} days", _METRICS[metric], "", "", ""]
        for metric, of in found["days"].items()
    ]
    for of in found["runs"]:
        where = f"{of['first']} to {of['last']} ({of['days']} days)"
        chance = text.percent(of["chance"], 1)
        rows.append([where, *_lost(of), chance, of["level"]])
    for of in found["slices"]:
        where = f"{of['slice']} ({text.plural(of['clicks'], 'click')})"
        ends = f"[{of['low']:.4f}, {of['high']:.4f}]"
        rows.append([where, *_lost(of), ends, of["level"]])
    header = ["where E-CDCTR loses to ads only", "metric", "by"]
    header += ["95 % interval or chance", "level"]
    return Section("Negative transfer", header, rows)


def _lost(of: Mapping) -> list[str]:
    return [_METRICS[of["metric"]], f"{of['lost_by']:.4f}"]


def _main(results: Mapping) -> list[Section]:
    return [_models(results), _differences(results)]


def _tiles(results: Mapping) -> dict[str, str]:
    """Return the numbers at the top: those of E-CDCTR, if it is there."""
    tiles = {}
    main, names = results["models"].get(MAIN), results["labels"]
    if main:
        for metric in figures.PLOTTED:
            value = text.number(main[metric]["mean"])
            tiles[f"{names[MAIN]}, {_METRICS[metric]}"] = value
    gain = results["differences"].get(f"{MAIN} - {BASELINE}")
    if gain and gain["auc"]["mean"] is not None:
        tiles["AUC above ads only"] = f"{gain['auc']['mean']:+.4f}"
    if _closed(results, MAIN):
        tiles["AUC gap to the oracle closed"] = _closed(results, MAIN)
    return {**tiles, "scored rows": text.count(results["rows"])}


def _closed(results: Mapping, model: str) -> str:
    """Return the share of the gap in AUC that a model closes, if known."""
    share = results["gap_closed"].get(model, {}).get("auc")
    return "" if share is None else text.percent(share)


def _models(results: Mapping) -> Section:
    header = ["model", *_METRICS.values()]
    closed = {m: _JUDGED[m] for m in figures.PLOTTED if results["gap_closed"]}
    rows = [
        [
            results["labels"][name],
            *(text.estimate(of[metric]) for metric in _METRICS),
            *(
                text.percent(results["gap_closed"].get(name, {}).get(metric))
                for metric in closed
            ),
        ]
        for name, of in by_auc(results)
    ]
    header += [f"gap closed ({name})" for name in closed.values()]
    words = (
        "AUC and GAUC: higher is better; GAUC is the mean of users' AUCs "
        f"weighted by their rows, over {results['gauc_users']:,} user-days "
        f"({results['gauc_dropped_users']:,} more have no AUC, because their "
        "rows are all clicked or none is). Log loss (nats) and NE (log loss "
        "over the entropy of the click rate): lower is better. PCOC (mean "
        "prediction over mean click): 1 is calibrated."
    )
    if ORACLE in results["models"]:
        words += (
            " The oracle scores each row with its true click probability: no "
            "model can be expected to do better. The gap is that from ads only "
            "to the oracle."
        )
    drawn = {
        metric: figures.intervals(results, metric)
        for metric in figures.PLOTTED
        if any(
            of[metric]["mean"] is not None for of in results["models"].values()
        )
    }
    drawn |= {f"{m}_by_day": figures.by_day(results, m) for m in drawn}
    strong = results["labels"].get(MAIN, "")
    return Section("Models", header, rows, words, drawn, strong)


def _differences(results: Mapping) -> Section:
    rows = []
    for pair, of_metric in results["differences"].items():
        higher = of_metric["auc"]["days_higher"]
        days = f"{higher} of {len(results['days'])}"
        values = [text.difference(of_metric[metric]) for metric in _JUDGED]
        rows.append([_apart(results, pair), *values, days])
    drawn = {}
    if rows and BASELINE in results["models"]:
        drawn = {
            f"{metric}_lift": figures.lift_by_day(results, metric)
            for metric in figures.PLOTTED
        }
    header = ["difference", *_JUDGED.values(), "days with higher AUC"]
    return Section("Differences", header, rows, figures=drawn)


def _slices(results: Mapping) -> Section:
    shown = [n for n in results["models"] if n not in results["ablations"]]
    pairs = [
        pair
        for pair in (f"{first} - {second}" for first, second in OF_SLICES)
        if pair in results["differences"]
    ]
    rows = []
    for name, of in results["slices"].items():
        values = [of["models"][model]["auc"]["mean"] for model in shown]
        apart = [of["differences"].get(p, {}).get("auc") for p in pairs]
        rows.append(
            [
                name,
                text.count(of["rows"]),
                *map(text.number, values),
                *(text.difference(a) if a else text.NOTHING for a in apart),
            ]
        )
    header = ["slice", "rows", *(results["labels"][model] for model in shown)]
    header += [_apart(results, p) for p in pairs]
    return Section("AUC by slice", header, rows)


def _costs(results: Mapping) -> Section:
    rows = []
    for name, levels in results["costs"].items():
        for level, of in levels.items():
            speed = of["rows"] / of["seconds"] if of["seconds"] else None
            rows.append(
                [
                    f"{results['labels'][name]}, {details.LEVELS[level]}",
                    "; ".join(of["windows"]) or text.NOTHING,
                    text.count(of["refreshes"]),
                    text.count(of["rows"]),
                    text.duration(of["seconds"]),
                    text.count(speed),
                    f"{of['bytes'] / 1e6:.1f} MB",
                ]
            )
    header = ["model and level", "days of data", "refreshes", "rows", "time"]
    return Section(
        "Windows and costs",
        [*header, "rows/s", "state"],
        rows,
        "For the first seed. Rows trained on and wall-clock time are means "
        "over refreshes; the state is that of the newest one.",
    )


def _coverage(results: Mapping) -> list[Section]:
    if not results["coverage"]:
        return []
    reported = {
        day: of
        for day, of in results["coverage"].items()
        if day in results["days"]
    }
    shares = ", ".join(
        f"{role} {text.percent(share, 1)}"
        for role, share in coverage.mean(reported).items()
    )
    return [
        Section(
            "Rows with historical embeddings",
            text="Share of the scored rows whose user or item has a historical "
            f"embedding: {shares}.",
            figures={"coverage": figures.coverage(results["coverage"])},
        )
    ]


def _forgetting(results: Mapping) -> list[Section]:
    """Return the sections of models and of their paired differences."""
    of_models = {
        results["labels"][name]: of["measures"]
        for name, of in results["forgetting"].items()
    }
    apart = {
        _apart(results, pair): measures
        for pair, measures in results["forgetting_differences"].items()
    }
    known: Mapping = next(iter(of_models.values()), {})
    keys = [key for key in _TRANSFER if key in known]
    names = [_TRANSFER[key] for key in keys]
    drawn = {
        f"forgetting_{name}": figures.forgetting(results["labels"][name], of)
        for name, of in results["forgetting"].items()
    }
    return [
        Section(
            "Forgetting (AUC)",
            ["model", *names],
            [
                [name, *(_measure(key, of[key]) for key in keys)]
                for name, of in of_models.items()
            ],
            figures=drawn,
        ),
        Section(
            "Differences in forgetting (AUC)",
            ["difference", *names],
            [
                [name, *(text.difference(of[key]) for key in keys)]
                for name, of in apart.items()
            ],
        ),
    ]


def _measure(key: str, of: Mapping) -> str:
    return text.estimate(of) if key in _LEVELS else text.difference(of)


def _apart(results: Mapping, pair: str) -> str:
    """Return what the difference of two models, "a - b", is called."""
    names = (results["labels"][name] for name in pair.split(" - "))
    return " \N{MINUS SIGN} ".join(names)


def _tuning(results: Mapping) -> Section:
    rows = [
        [results["labels"][name], *(text.number(value) for value in trials)]
        for name, trials in results["tuning"].items()
    ]
    count = max((len(row) - 1 for row in rows), default=0)
    header = ["model", *(f"trial {i}" for i in range(count))]
    return Section("Validation AUC of the trials", header, rows)
