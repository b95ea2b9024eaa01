"""The models of a page, and the days that each of their runs scored.

Shapes: N rows of a day.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from ecdctr_tf import artefacts, features, model_table, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.results import text
from ecdctr_tf.training import workdir

MAIN, MIXTURE = "e_cdctr", "no_regret"
BASELINE, ORACLE = "ads_only", "oracle"
# Scored like a model: E-CDCTR when no historical vector can be had.
DOWN = "e_cdctr_history_down"
# What is compared slice by slice.
OF_SLICES = ((MAIN, BASELINE), (MIXTURE, BASELINE), (MAIN, DOWN))


@dataclasses.dataclass(frozen=True)
class Model:
    """A model and its runs."""

    row: model_table.ModelRow
    # Config of the runs but for the seed.
    config: configs.Config
    # Where its levels were published, one a seed.
    workdirs: tuple[workdir.Workdir, ...]
    # Mean AUC of the validation days by trial; empty where nothing was tuned.
    trials: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Its key in results."""
        return self.row.name

    @property
    def label(self) -> str:
        """What tables and plots call it."""
        return self.row.label

    @property
    def base(self) -> str:
        """The name that its days are published under."""
        return self.row.base

    @property
    def ablation(self) -> bool:
        """Whether it is E-CDCTR with something changed."""
        return self.row.ablation

    def scored_days(self, run: workdir.Workdir) -> list[str]:
        """Return the days that a run has scores of."""
        directory = run.ctr(self.base)
        return [
            day
            for day in store.dated(directory)
            if artefacts.SCORES
            in store.read_manifest(directory / day, artefacts.CTR).files
        ]

    def window(self, day: str) -> windows.Window:
        """Return the days scored together under the name of the last one."""
        path = self.workdirs[0].ctr(self.base) / day
        return store.read_manifest(path, "ctr").window

    def scores(self, day: str) -> list[dict[str, np.ndarray]]:
        """Return the scores of a day, one a seed."""
        return [
            artefacts.read_scores(run.ctr(self.base) / day)
            for run in self.workdirs
        ]

    def levels(self) -> dict[str, tuple[pathlib.Path, str]]:
        """Return the levels of its first run: name -> directory and kind."""
        kinds = {"ctr": artefacts.CTR}
        if self.row.has_cpm:
            kinds = {"cpm": artefacts.CPM, **kinds}
        if configs.reads_tpm(self.config):
            kinds = {"tpm": artefacts.TPM, **kinds}
        run = self.workdirs[0]
        return {
            name: (run.level(kind, self.row.base), kind)
            for name, kind in kinds.items()
        }


def of_workdirs(
    runs: Sequence[workdir.Workdir], config: configs.Config
) -> tuple[list[Model], list[str]]:
    """Return the models that work directories of one config have scores of.

    Args:
      runs: one a seed.
      config: that of E-CDCTR, which the runs were begun with.

    Returns:
      The models that every run has scored days of, and notes: on those that
      only some have, and on days that were deleted.
    """
    models, notes, cleaned = [], [], ""
    for row in model_table.MODELS.values():
        own = configs.of_model(config, row)
        places = tuple(run.of_model(row, config, own) for run in runs)
        model = Model(row, own, places)
        without = [seed_name(run) for run in runs if not model.scored_days(run)]
        if not without:
            models.append(model)
            days = [workdir.cleaned(run.ctr(model.base)) for run in places]
            cleaned = max([cleaned, *days])
        elif len(without) < len(runs):
            notes.append(
                f"{row.name} is left out: {', '.join(without)} has no scored "
                "day of it."
            )
    if cleaned:
        notes.append(
            f"Scored days up to {cleaned} were deleted by --stage=clean: the "
            "numbers are over the days that are left."
        )
    return (models if runs else []), notes


def common_days(models: Sequence[Model]) -> list[str]:
    """Return the days that all runs of all models scored, in order."""
    scored = [
        set(model.scored_days(run))
        for model in models
        for run in model.workdirs
    ]
    return sorted(set.intersection(*scored)) if scored else []


def unscored(data: DataDirectory, models: Sequence[Model]) -> list[str]:
    """Return a note on days of ads that not all runs have scores of, if any.

    From the first day that any of them scored up to the last one that any of
    them ever published.
    """
    runs = [(model, run) for model in models for run in model.workdirs]
    known = [day for model, run in runs for day in model.scored_days(run)]
    newest = [workdir.newest(run.ctr(model.base)) for model, run in runs]
    scored = [models[0].window(name).days for name in common_days(models)]
    common = {day for days in scored for day in days}
    first = min(known, default="")
    lacking = [
        day
        for day in data.days(features.ADS)
        if first <= day <= max([*known, *newest], default="")
        and day not in common
        and data.manifest(features.ADS, day).rows
    ]
    if not lacking:
        return []
    more = ", ..." if len(lacking) > 5 else ""
    return [
        f"Not every model has scores of {text.plural(len(lacking), 'day')} of "
        f"ads, which the numbers leave out: {', '.join(lacking[:5])}{more}."
    ]


def seed_name(run: workdir.Workdir) -> str:
    """Return `seed 3`, or the name of the directory where none is kept."""
    kept = run.kept_config()
    if kept is not None:
        return f"seed {kept.seed}"
    return run.path.name.replace("-", " ")
