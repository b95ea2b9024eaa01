"""What a report reads of work directories: scored days, one run a seed.

Shapes: N rows of a day.
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from ecdctr_tf import metrics, model_table, store, windows
from ecdctr_tf.input import data_directory, streams

SCORES = "scores.npz"
ORACLE = "oracle"
# Evaluation column that holds the true click probability, where there is one.
TRUE_CTR = "true_ctr"


@dataclasses.dataclass(frozen=True)
class Run:
    """A work directory: the artefacts of one seed."""

    path: pathlib.Path

    @property
    def name(self) -> str:
        """What the run is called: `seed 3`, or the name of its directory."""
        file = self.path / "config.json"
        if file.exists():
            seed = json.loads(file.read_text(encoding="utf-8")).get("seed")
            if seed is not None:
                return f"seed {seed}"
        return self.path.name.replace("-", " ")

    def scored_days(self, model: str) -> list[str]:
        """Return the days that an A-CTR of that name has scores of."""
        directory = self.path / model / "ctr"
        return [
            day
            for day in store.dated(directory)
            if (directory / day / SCORES).exists()
        ]

    def window(self, model: str, day: str) -> windows.Window:
        """Return the days scored together under the name of the last one."""
        manifest = store.read_manifest(self.path / model / "ctr" / day, "ctr")
        return manifest.window

    def scores(self, model: str, day: str) -> dict[str, np.ndarray]:
        """Return `ctr`, `click`, `user` and `item`, `[N]`, of a scored day.

        Raises:
          FileNotFoundError: the day was not scored.
          ValueError: it is not the artefact of a ctr day, or lacks a column.
        """
        path = self.path / model / "ctr" / day
        store.read_manifest(path, "ctr")
        with np.load(path / SCORES) as file:
            missing = {"ctr", "click", "user", "item"} - set(file.files)
            if missing:
                raise ValueError(
                    f"{path / SCORES} lacks {', '.join(sorted(missing))}. "
                    f"Remove {path} and the days after it, and run "
                    "`--stage=ctr` again."
                )
            return {name: file[name] for name in file.files}


def scored_models(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """Return the models that every run has scored days of.

    Returns:
      Their names, in the order of `model_table.MODELS`, and notes on the models
      left out because only some runs have them.

    Raises:
      ValueError: there is no such model.
    """
    models, notes = [], []
    for model in model_table.MODELS:
        without = [run.name for run in runs if not run.scored_days(model)]
        if not without:
            models.append(model)
        elif len(without) < len(runs):
            notes.append(
                f"{model} is left out: {', '.join(without)} has no scored day "
                "of it."
            )
    if not models:
        there = ", ".join(str(run.path) for run in runs) or "no directory"
        raise ValueError(
            f"No scored day of any model in {there}. Score days of ads first: "
            "`python train_main.py --stage=ctr` (or `--stage=all`)."
        )
    return models, notes


def common_days(runs: Sequence[Run], models: Sequence[str]) -> list[str]:
    """Return the days that all models of all runs scored, in order.

    Raises:
      ValueError: there is none.
    """
    scored = [set(run.scored_days(m)) for run in runs for m in models]
    days = sorted(set.intersection(*scored))
    if not days:
        raise ValueError(
            f"No day was scored by all of {', '.join(models)}. Run "
            "`python train_main.py --stage=ctr` for the same days of each."
        )
    return days


def evaluate(
    runs: Sequence[Run],
    models: Sequence[str],
    days: Sequence[str],
    data: data_directory.DataDirectory,
) -> list[dict]:
    """Return the metrics of each scored day, model and run.

    Args:
      runs: one a seed.
      models: names of the models.
      days: days that all of them scored.
      data: where the scored rows came from; the oracle is made from its
        evaluation column `true_ctr`, if it has one.

    Returns:
      For each run: model -> day -> what `metrics.evaluate` returns.

    Raises:
      ValueError: two models scored different rows of a day, or scores are
        not probabilities.
    """
    results = [{model: {} for model in models} for _ in runs]
    for day in days:
        oracle, truth = _oracle(data, runs[0].window(models[0], day))
        for run, result in zip(runs, results, strict=True):
            for model in models:
                scores = run.scores(model, day)
                truth = scores["click"] if truth is None else truth
                path = run.path / model / "ctr" / day
                if not np.array_equal(scores["click"], truth):
                    raise ValueError(
                        f"{path} scored other rows of {day} than the data or "
                        "the other models have. Score the day again from one "
                        "data directory."
                    )
                result[model][day] = _metrics(path, scores)
            if oracle is not None:
                result.setdefault(ORACLE, {})[day] = oracle
    return results


def _metrics(path: pathlib.Path, scores: dict) -> dict:
    try:
        return metrics.evaluate(scores["click"], scores["ctr"], scores["user"])
    except ValueError as error:
        raise ValueError(f"In {path / SCORES}: {error}") from error


def pooled(
    runs: Sequence[Run], models: Sequence[str], days: Sequence[str]
) -> list[dict]:
    """Return the metrics of the rows of all days together, by model.

    Args:
      runs: one a seed.
      models: names of the models.
      days: days that all of them scored.

    Returns:
      For each run: model -> what `metrics.evaluate` returns.
    """
    results = []
    for run in runs:
        result = {}
        for model in models:
            parts = [run.scores(model, day) for day in days]
            rows = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
            result[model] = _metrics(run.path / model / "ctr", rows)
        results.append(result)
    return results


def _oracle(
    data, window: windows.Window
) -> tuple[dict | None, np.ndarray | None]:
    """Return the metrics of the true probabilities of days, and the clicks."""
    if TRUE_CTR not in data.spec.evaluation:
        return None, None
    user = data.spec.user
    # A spec cannot be without its item, so a user alone cannot be read.
    names = [user, data.spec.item]
    columns = streams.read_columns(data, "ads", window, names=names)
    click = columns["click"]
    return metrics.evaluate(click, columns[TRUE_CTR], columns[user]), click
