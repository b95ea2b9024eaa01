"""Train and score every variant: tune on validation days, then every seed."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import tqdm

from ecdctr_tf import artefacts, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.comparison import search, shared
from ecdctr_tf.comparison.variants import VARIANTS
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.model_table import ModelRow
from ecdctr_tf.results.models import Model
from ecdctr_tf.training import history, mixing, natural, schedule
from ecdctr_tf.training import level as levels


class Matrix:
    """The runs of a comparison. What is there already is not trained again.

    Args:
      data: the data directory.
      root: directory of all runs.
      config: the config of E-CDCTR, which variants change; no rows are held
        out for the gate.
      trials: trials of `search.TRIALS` for each model. With more than one, the
        scored days before `schedule.report_first` are for choosing.

    Raises:
      ValueError: there are no such trials, or no days to choose on.
    """

    def __init__(
        self,
        data: DataDirectory,
        root: pathlib.Path,
        config: configs.Config,
        trials: int,
    ):
        """Check the request."""
        if not 1 <= trials <= len(search.TRIALS):
            raise ValueError(
                f"--trials should be between 1 and {len(search.TRIALS)}. "
                f"Received: {trials}"
            )
        if trials > 1 and not config.schedule.report_first:
            raise ValueError(
                "Tuning needs scored days that are not reported: set "
                "schedule.report_first, the first day that is reported, or "
                "--trials=1."
            )
        self._data = data
        self._root = root
        # None of them is published: no rows are held out to judge it by, and
        # nobody is to be warned.
        gate = dataclasses.replace(config.gate, share=0.0)
        unwatched = dataclasses.replace(config.monitoring, days=0)
        self._config = dataclasses.replace(
            config, gate=gate, monitoring=unwatched
        )
        self._trials = search.TRIALS[:trials]
        self._tuned: dict[str, tuple[configs.TrainingConfig, tuple]] = {}

    def run(
        self, variants: Sequence[ModelRow], seeds: Sequence[int]
    ) -> list[Model]:
        """Tune, train and score variants; return them in their order.

        Raises:
          ValueError: a variant names a natural source that there is not.
        """
        for variant in variants:
            config = configs.of_model(self._config, variant)
            levels.wish(config).check(self._data)
        jobs = [(variant, seed) for variant in variants for seed in seeds]
        workdirs: dict[str, list] = {variant.name: [] for variant in variants}
        chosen = {}
        with tqdm.tqdm(jobs, desc="compare", unit="run") as bar:
            for variant, seed in bar:
                bar.set_postfix_str(f"{variant.name}, seed {seed}")
                config, trials = self._choose(variant)
                chosen[variant.name] = config, trials
                config = dataclasses.replace(config, seed=seed)
                workdirs[variant.name].append(self._train(variant, config))
        return [
            Model(v, config, tuple(workdirs[v.name]), trials)
            for v in variants
            for config, trials in [chosen[v.name]]
        ]

    def _choose(self, variant: ModelRow) -> tuple[configs.Config, tuple]:
        """Return a variant's config, tuned, and what the trials came to.

        An ablation has the training that E-CDCTR was given.
        """
        of = VARIANTS["e_cdctr"] if variant.ablation else variant
        if of.experts or not of.learns:  # Experts are tuned by themselves.
            return configs.of_model(self._config, of), ()
        if of.name not in self._tuned:
            self._tuned[of.name] = self._tune(of)
        training, trials = self._tuned[of.name]
        config = configs.of_model(self._config, variant)
        config = dataclasses.replace(config, ctr=training)
        if variant.ablation:  # Of the training it may change a setting, too.
            return configs.override(config, list(variant.changes)), ()
        return config, trials

    def _tune(self, variant: ModelRow) -> tuple[configs.TrainingConfig, tuple]:
        """Return the best training of the trials, and all their AUC."""
        config = configs.of_model(self._config, variant)
        start = config.ctr
        candidates = [trial.apply(start) for trial in self._trials]
        if len(candidates) == 1:
            return start, ()
        before = windows.plus(config.schedule.report_first, -1)
        until = dataclasses.replace(config.schedule, ctr_last=before)
        config = dataclasses.replace(config, schedule=until)
        reached = []
        for training in candidates:
            run = self._train(
                variant, dataclasses.replace(config, ctr=training)
            )
            reached.append(_mean_auc(run.ctr(variant.base), before))
        return candidates[int(np.argmax(reached))], tuple(reached)

    def _train(
        self, variant: ModelRow, config: configs.Config
    ) -> shared.SharedWorkdir:
        """Train and score a run up to the last day of its schedule."""
        data = self._data
        experts = {}
        for name in variant.experts:
            expert = VARIANTS[name]
            own, _ = self._choose(expert)
            own = dataclasses.replace(own, seed=config.seed)
            experts[name] = self._train(expert, own).ctr(name)
        run = shared.workdir_of(self._root, data, config, variant, experts)

        def level(kind: str) -> levels.Level:
            return levels.Level(data, run, config, variant, kind)

        if configs.reads_tpm(config) and not experts:
            natural.train_planned(level(artefacts.TPM))
        if config.model.history and not experts:
            history.aggregate(run, config)
        if variant.has_cpm:
            natural.train_planned(level(artefacts.CPM))
        days = schedule.plan(data, config.schedule).ctr
        mixing.trainer(level(artefacts.CTR)).run(days)
        return run


def _mean_auc(directory: pathlib.Path, last: str) -> float:
    """Return the mean AUC of the scored days up to one."""
    days = [day for day in store.dated(directory) if day <= last]
    found = [store.read_manifest(directory / d, "ctr").metrics for d in days]
    return float(np.mean([m["auc"] for m in found if m["auc"] is not None]))
