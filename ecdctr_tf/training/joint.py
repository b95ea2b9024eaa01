"""Joint models: score a day of ads, then train on that day of both domains."""

import pathlib

from ecdctr_tf import config as configs
from ecdctr_tf import presets, windows
from ecdctr_tf.training import (
    daily,
    fit,
    levels,
    natural,
    scoring,
    tasks,
)


class JointTrainer(daily.DailyTrainer):
    """Progressive validation of a model that learns both domains together.

    As `DailyTrainer`, but there is no level below: a day of ads is scored by a
    model that has seen earlier days of both domains, which is then trained on
    the rows of both. The first model starts with the natural logs of the
    `schedule.cpm_days` days before the first scored day, mixed with the ads of
    the `schedule.catch_up_days` days before it. With `replay_days` the past
    days of both domains are gone through again.

    Args:
      data: the data directory.
      run: the work directory.
      config: the run's config; what it says of TPM, CPM and history is not
        used.
      name: one of `config.JOINT_MODELS`.

    Raises:
      ValueError: there is no such model.

    Reference: as `DailyTrainer`.
    """

    @staticmethod
    def _settings(
        config: configs.Config, name: str
    ) -> tuple[configs.Config, configs.StageConfig]:
        config = presets.variant(config, name)
        return config, configs.joint_config(config, name)

    def run(self, parts: list[windows.Window]) -> None:
        """Go through days, a window at a time; published ones are passed over.

        Args:
          parts: windows in order; those without rows of ads are passed over.

        Raises:
          FileNotFoundError, ValueError: a day of either domain is missing or
            damaged, or what was published is from the day's future, or of
            another spec or id space.
        """
        for part in parts:
            self._data.covered(natural.DOMAIN, part)
        super().run(parts)

    def _start(
        self, day: str, path: pathlib.Path, cpm: pathlib.Path | None
    ) -> levels.Level:
        """Return a new level that has learned the days before a day."""
        del path, cpm
        schedule = self._config.schedule
        parts = {}
        for domain, days in (
            (natural.DOMAIN, schedule.cpm_days),
            (scoring.ADS, schedule.catch_up_days),
        ):
            past = self._past(day, days, domain)
            if past:
                parts[domain] = windows.Window(past[0], past[-1])
        if natural.DOMAIN not in parts:
            raise ValueError(
                f"{self._data.path / natural.DOMAIN} has none of the "
                f"{schedule.cpm_days} days before {day} to start with. Raise "
                "schedule.cpm_days, or set a later schedule.ctr_first."
            )
        self._level = self._fresh(day)
        self._fit_mixed(parts)
        return self._level

    def _fit(self, window: windows.Window) -> list[dict]:
        return self._fit_mixed({natural.DOMAIN: window, scoring.ADS: window})

    def _fit_mixed(self, parts: dict[str, windows.Window]) -> list[dict]:
        """Train on the rows of both domains; return the learning curve."""
        level = self._level
        task = tasks.mixed_task(
            self._data,
            self._config,
            self._stage.training,
            level.model,
            parts,
            self._name,
            self._run.progress(self._name, "ctr", str(parts[natural.DOMAIN])),
            bar=False,
            start={"parents": dict(level.parents), "rows": level.rows},
        )
        level.rows += task.rows
        return fit.fit(level.model, task)
