"""What models forget, and what they know when it comes back.

Numbers are made of AUCs, by the true click probabilities where the data has
them: a model has learned the clicks of the rows that it is asked about again,
and by the truth (`metrics.expected_auc`) remembered clicks do not count.
Intervals are those of the other results: a bootstrap of users and seeds, and
of differences the same draws for both models.

Shapes: N rows of a group, J groups of scored days, R replicates, S seeds.
Arrays of 1 + R values have that of all rows first.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tqdm

from ecdctr_tf import metrics, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import rescoring, scored
from ecdctr_tf.results.models import Model
from ecdctr_tf.training import workdir

# Models that are looked at; the first is compared with the others.
MODELS = ("e_cdctr", "cpm_finetune", "ads_only")
# Of the bootstrap: every number is of many models scored on many days.
_REPLICATES = 200
# Groups where no days are given.
_GROUPS = 5


def measured(
    data: DataDirectory,
    models: Sequence[Model],
    spans: Sequence[windows.Window],
    replicates: int = _REPLICATES,
) -> dict:
    """Return what each of `MODELS` keeps of earlier days, and differences.

    Args:
      data: the data directory.
      models: the models, of the same seeds.
      spans: windows as they were scored, in order.
      replicates: of the bootstrap.

    Returns:
      `forgetting`: model -> `days` of the groups, `matrix` R and `measures`;
      `forgetting_differences`: "a - b" -> measures. R[i, j] is the AUC, mean
      over seeds, of the model after group i on the rows of group j (see
      `rescoring.each`); None where not defined. Measures are name -> fields of
      `metrics.Difference` and `seeds`, the values:

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
    models = [m for name in MODELS for m in models if m.name == name]
    parts = groups(
        spans, models[0].config.forgetting.group_days if models else 0
    )
    if not models or len(parts) < 2:
        return {"forgetting": {}, "forgetting_differences": {}}
    rows = _Rows(data, models[0], parts, replicates)
    found, values = {}, {}
    for model in models:
        matrices = [
            _matrices(data, run, model, rows)
            for run in tqdm.tqdm(
                model.workdirs, f"forgetting, {model.name}", unit="seed"
            )
        ]
        of_seeds = [_of_matrices(*both) for both in matrices]
        values[model.name] = {
            **{
                key: np.stack([of[key] for of in of_seeds], axis=1)
                for key in of_seeds[0]
            },
            **_returns(data, model, parts, replicates),
        }  # [1 + R, S]
        matrix = np.mean([served[0] for served, _ in matrices], axis=0)
        found[model.name] = {
            "days": [str(span) for span in rows.spans],
            "matrix": [
                [None if np.isnan(auc) else float(auc) for auc in row]
                for row in matrix
            ],
            "measures": _estimates(values[model.name]),
        }
    main, *others = values
    differences = {
        f"{main} - {other}": _estimates(
            {key: of - values[other][key] for key, of in values[main].items()}
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


class _Rows:
    """The rows of groups of days, and draws of their users."""

    def __init__(
        self,
        data: DataDirectory,
        model: Model,
        parts: Sequence[Sequence[windows.Window]],
        replicates: int,
    ):
        """Read the rows as a model scored them, and draw."""
        self.spans = [windows.Window(p[0].first, p[-1].last) for p in parts]
        self._truths, self._row_weights, users = [], [], []
        for span, part in zip(self.spans, parts, strict=True):
            rows = [model.scores(day.last)[0] for day in part]
            truth = scored.read_truth(data, span)
            self._truths.append(
                np.concatenate([of["click"] for of in rows])
                if truth is None
                else truth[scored.TRUE_CTR]
            )
            users.append(np.concatenate([of["user"] for of in rows]))
            weights = np.concatenate([of["weight"] for of in rows])
            self._row_weights.append(weights.astype(np.float64))
        known, number = np.unique(np.concatenate(users), return_inverse=True)
        ends = np.cumsum([len(of) for of in users])[:-1]
        self._users = np.split(number, ends)
        count = len(known)
        drawn = metrics.draw_users(count, replicates, np.random.default_rng(0))
        self._weights = np.concatenate([np.ones((1, count), np.int32), drawn])

    def auc(self, group: int, ctr: np.ndarray) -> np.ndarray:
        """Return the AUC of predictions of a group's rows, `[1 + R]`."""
        return metrics.weighted_expected_auc(
            self._truths[group].astype(np.float64),
            ctr.astype(np.float64),
            self._users[group],
            self._weights,
            self._row_weights[group],
        )


def _matrices(
    data: DataDirectory, run: workdir.Workdir, model: Model, rows: _Rows
) -> tuple[np.ndarray, np.ndarray]:
    """Return R with history as of the rows' days and as of today.

    Both are `[1 + R, J, J]`.
    """
    found: list[np.ndarray] = []
    for today in (False, True):
        if today and not model.config.model.history:
            return found[0], found[0]
        cells = rescoring.each(data, model, run, rows.spans, today)
        aucs = [rows.auc(j, ctr) for _, j, ctr in cells]
        count = len(rows.spans)
        found.append(np.stack(aucs, axis=1).reshape(-1, count, count))
    return found[0], found[1]


def _of_matrices(
    served: np.ndarray, today: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the measures of each matrix, `[1 + R]`."""
    return {
        "backward_transfer": metrics.backward_transfer(served),
        "backward_transfer_today": metrics.backward_transfer(today),
        "kept": served[:, -1, :-1].mean(axis=1),
        "forward_transfer": metrics.forward_transfer(served, 0.5),
        "forgetting": metrics.average_forgetting(served),
    }


def _returns(
    data: DataDirectory,
    model: Model,
    parts: Sequence[Sequence[windows.Window]],
    replicates: int,
) -> dict[str, np.ndarray]:
    """Return the measures of what comes back, `[1 + R, S]`.

    None where nothing does.
    """
    settings = model.config.forgetting
    after = settings.returns_after
    if not after or len(parts) <= after:
        return {}
    first = [_first_days(part, settings.return_days) for part in parts]
    rows = _Rows(data, model, first, replicates)
    aucs = []
    for group, part in enumerate(first):
        days = [model.scores(day.last) for day in part]
        aucs.append(
            [
                rows.auc(group, np.concatenate([of["ctr"] for of in seed]))
                for seed in zip(*days, strict=True)
            ]
        )
    of = np.moveaxis(np.array(aucs), 2, 0)  # [1 + R, J, S]
    back, before = of[:, after:], of[:, :-after]
    return {
        "return": back.mean(axis=1),
        "return_gain": (back - before).mean(axis=1),
    }


def _first_days(
    part: Sequence[windows.Window], days: int
) -> Sequence[windows.Window]:
    """Return the first days of a group, one window at least."""
    end = windows.day_number(part[0].first) + days
    first = [span for span in part if windows.day_number(span.last) < end]
    return first or part[:1]


def _estimates(values: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Return measure -> its estimate and the values of the seeds."""
    return {
        key: {
            **dataclasses.asdict(metrics.estimate(of[0], of[1:])),
            "seeds": [None if np.isnan(v) else float(v) for v in of[0]],
        }
        for key, of in values.items()
    }
