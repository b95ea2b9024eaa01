"""What models of a comparison forget, and what they know when it comes back.

Numbers are AUC, by the true click probabilities where the data has them. Their
intervals are t-intervals over seeds (`metrics.over_seeds`); those of
differences are paired by seed. Every number stands for many models scored on
many days: too much to draw users again for each of a thousand replicates.

Shapes: J groups of scored days.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tqdm

from ecdctr_tf import config as configs
from ecdctr_tf import metrics, windows
from ecdctr_tf.comparison import rescoring
from ecdctr_tf.comparison.matrix import Runs
from ecdctr_tf.evaluation import runs as runs_lib
from ecdctr_tf.input.data_directory import DataDirectory

# Models that are looked at; the first is compared with the others.
MODELS = ("e_cdctr", "cpm_finetune", "ads_only")
# Groups where no days are given.
_GROUPS = 5


def measured(
    data: DataDirectory,
    runs: Sequence[Runs],
    spans: Sequence[windows.Window],
) -> dict:
    """Return what each of `MODELS` keeps of earlier days, and differences.

    Args:
      data: the data directory.
      runs: the runs of each variant, of the same seeds.
      spans: windows as they were scored, in order.

    Returns:
      `forgetting`: model -> `days` of the groups, `matrix` R (mean over seeds)
      and `measures`; `forgetting_differences`: "a - b" -> measures. Measures
      are name -> fields of `metrics.Difference` and `seeds`, the values:

      - `backward_transfer`: mean over earlier groups j of R[last, j] - R[j, j]
      - `backward_transfer_today`: the same, all history as of the day after
        group i in R[i, j]
      - `kept`: mean over earlier groups j of R[last, j]
      - `forward_transfer`, above 0.5, and `forgetting`, see `metrics`
      - `return`: mean AUC on the first days of groups whose like was there
        `forgetting.returns_after` groups before, each day as it was scored
      - `return_gain`: by how much that is above the first days of the like

      Nothing with fewer than two groups.
    """
    settings = runs[0].config.forgetting
    parts = groups(spans, settings.group_days)
    if len(parts) < 2:
        return {"forgetting": {}, "forgetting_differences": {}}
    whole = [windows.Window(part[0].first, part[-1].last) for part in parts]
    truths = [rescoring.truth(data, group) for group in whole]
    truths = None if truths[0] is None else truths
    found, seeds = {}, {}
    for name in MODELS:
        for r in runs:
            if r.variant.name != name:
                continue
            label = f"forgetting, {name}"
            matrices = [
                _matrices(data, run, r, whole, truths)
                for run in tqdm.tqdm(r.workdirs, label, unit="seed")
            ]
            seeds[name] = [
                {**_of_matrices(*both), **_returns(data, run, r, parts)}
                for run, both in zip(r.workdirs, matrices, strict=True)
            ]
            found[name] = {
                "days": [str(group) for group in whole],
                "matrix": np.mean([m for m, _ in matrices], axis=0).tolist(),
                "measures": _estimates(seeds[name]),
            }
    main, *others = found or [""]
    differences = {
        f"{main} - {other}": _estimates(
            [
                {key: _less(value, b[key]) for key, value in a.items()}
                for a, b in zip(seeds[main], seeds[other], strict=True)
            ]
        )
        for other in others
    }
    return {"forgetting": found, "forgetting_differences": differences}


def groups(
    spans: Sequence[windows.Window], group_days: int
) -> list[list[windows.Window]]:
    """Return scored windows in groups of consecutive days.

    Args:
      spans: windows as they were scored, in order.
      group_days: days of a group, counted from the first; the last group may
        have fewer. 0: five groups, or one a window where there are fewer.
    """
    if not group_days:
        count = min(_GROUPS, len(spans))
        return [list(part) for part in np.array_split(list(spans), count)]
    first = windows.day_number(spans[0].first)
    found: dict[int, list] = {}
    for span in spans:
        place = (windows.day_number(span.first) - first) // group_days
        found.setdefault(place, []).append(span)
    return list(found.values())


def _matrices(data, run, r: Runs, whole, truths) -> tuple:
    """Return R with history as of the rows' days, and as of today."""
    args = (data, run, r.config, r.variant, whole, truths)
    served = rescoring.matrix(*args)
    if not r.config.model.history:
        return served, served
    return served, rescoring.matrix(*args, today=True)


def _of_matrices(matrix: np.ndarray, today: np.ndarray) -> dict:
    kept = matrix[-1, :-1]
    return {
        "backward_transfer": metrics.backward_transfer(matrix),
        "backward_transfer_today": metrics.backward_transfer(today),
        "kept": None if np.isnan(kept).any() else float(kept.mean()),
        "forward_transfer": metrics.forward_transfer(
            matrix, np.full(len(matrix), 0.5)
        ),
        "forgetting": metrics.average_forgetting(matrix),
    }


def _returns(data, run, r: Runs, parts) -> dict:
    """Return the measures of what comes back; none where nothing does."""
    settings: configs.ForgettingConfig = r.config.forgetting
    after = settings.returns_after
    if not after or len(parts) <= after:
        return {}
    of = [
        _first_days(data, run, r.variant.base, part, settings.return_days)
        for part in parts
    ]  # [J]
    if np.isnan(of).any():
        return {"return": None, "return_gain": None}
    back, before = np.array(of[after:]), np.array(of[:-after])
    return {
        "return": float(back.mean()),
        "return_gain": float((back - before).mean()),
    }


def _first_days(data, run, name: str, part, days: int) -> float:
    """Return the AUC of the first days of a group, as they were scored."""
    end = windows.day_number(part[0].first) + days
    first = [span for span in part if windows.day_number(span.last) < end]
    first = first or part[:1]
    published = runs_lib.Run(run.path)
    scores = [published.scores(name, span.last) for span in first]
    click, ctr = (
        np.concatenate([of[column] for of in scores])
        for column in ("click", "ctr")
    )
    window = windows.Window(first[0].first, first[-1].last)
    return rescoring.auc(click, ctr, rescoring.truth(data, window))


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _estimates(seeds: list[dict]) -> dict:
    """Return measure -> its estimate over seeds, and the values."""
    found = {}
    for key in seeds[0]:
        values = [of[key] for of in seeds]
        estimate = dataclasses.asdict(metrics.over_seeds(values))
        found[key] = {**estimate, "seeds": values}
    return found
