"""The A-CTR: score each day with the model that exists, then train on it."""

import logging
import pathlib
import time

import numpy as np
import tensorflow as tf
import tqdm

from ecdctr_tf import config as configs
from ecdctr_tf import metrics, store, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.training import (
    fit,
    history,
    inheritance,
    levels,
    scoring,
    tasks,
    workdir,
)
from ecdctr_tf.transfer import historical

KIND = "ctr"
SCORES = "scores.npz"


class DailyTrainer:
    """Progressive validation of one model over days of ads.

    A day (or several, `schedule.ctr_days`) is scored, then trained on, then
    published with its scores under the name of the last day. The first model
    starts from the CPM and catches up on `schedule.catch_up_days` past days.
    When a newer CPM has been published, the A-CTR takes over its change, or
    starts anew in the same way (`warm_start.refresh`). Without a CPM
    (`warm_start.from_cpm`) only its tables may start from something, the TPM's
    (`history.start_tables`).

    Args:
      data: the data directory.
      run: the work directory.
      config: the model's config.
      name: the model's name, a directory of `run`.

    Reference: E-CDCTR (arXiv 2408.16238); progressive validation: Ad Click
    Prediction: a View from the Trenches (KDD 2013), section 5.1.
    """

    def __init__(
        self,
        data: DataDirectory,
        run: workdir.Workdir,
        config: configs.Config,
        name: str,
    ):
        """Keep what the days need."""
        self._data = data
        self._run = run
        self._name = name
        self._config, self._stage = self._settings(config, name)
        self._level: levels.Level | None = None
        self._level_day = ""
        # The frozen CPM that plugged models read.
        self._source: CTRModel | None = None
        self._history: tuple[pathlib.Path | None, dict] = (None, {})

    @staticmethod
    def _settings(
        config: configs.Config, name: str
    ) -> tuple[configs.Config, configs.StageConfig]:
        """Return the model's config and the level that is trained daily."""
        del name
        return config, configs.ctr_config(config)

    def run(self, parts: list[windows.Window]) -> None:
        """Go through days, a window at a time; published ones are passed over.

        Of a window that days were published in before, the later days are left:
        it ended earlier then, because there were no more days.

        Args:
          parts: windows of ads in order; those without rows are passed over.

        Raises:
          FileNotFoundError, ValueError: what a day needs is missing, damaged,
            from the day's future, or of another spec or id space.
        """
        for part in parts:
            self._data.covered(scoring.ADS, part)
        bar = tqdm.tqdm(
            parts, desc=f"{self._name} ctr", unit="day", mininterval=1.0
        )
        for part in bar:
            left = self._left(part)
            if left is None:
                logging.info("%s of %s is there", part, self._name)
            elif self._data.rows(scoring.ADS, left):
                result = self._day(left)
                bar.set_postfix({"auc": result["auc"]})

    def _left(self, part: windows.Window) -> windows.Window | None:
        """Return what of a window comes after the days published in it."""
        published = store.dated(self._run.ctr(self._name))
        done = max((d for d in published if d <= part.last), default="")
        days = [day for day in part.days if day > done]
        return windows.Window(days[0], days[-1]) if days else None

    def _day(self, today: windows.Window) -> dict:
        """Score, train on and publish one day; return its metrics."""
        began = time.monotonic()
        path = self._run.ctr(self._name) / today.last
        level = self._ready(today.first, path)
        scores = scoring.score(level.model, self._data, today)
        result = metrics.evaluate(
            scores["click"], scores["ctr"], scores["user"]
        )
        self._grow(today.last)
        past = self._past(today.first, self._stage.training.replay_days)
        first = past[0] if past else today.first
        curve = self._fit(windows.Window(first, today.last))
        result["trained_rows"] = curve[-1]["rows"] if curve else 0
        result["seconds"] = time.monotonic() - began
        if self._history[0] is not None:
            level.parents["historical"] = store.parent(self._history[0], path)
        self._write_scalars(today, result)
        levels.publish(
            self._data,
            self._config,
            level,
            path,
            today,
            curve,
            result,
            lambda staging: np.savez(staging / SCORES, **scores),
        )
        level.report = None
        self._level_day = today.last
        return result

    def _write_scalars(self, today: windows.Window, result: dict) -> None:
        """Write the metrics of a scored day for TensorBoard."""
        directory = self._run.tensorboard(self._name, "ctr")
        writer = tf.summary.create_file_writer(str(directory))
        step = windows.day_number(today.last)
        with writer.as_default():
            for name, value in result.items():
                if value is not None:
                    tf.summary.scalar(f"day/{name}", value, step)
        writer.close()

    def _ready(self, day: str, path: pathlib.Path) -> levels.Level:
        """Return the level that scores a day: it has seen earlier days only."""
        cpms, cpm = self._run.cpm(self._name), None
        if self._config.warm_start.from_cpm:
            lag = self._config.schedule.cpm_lag
            cpm = inheritance.newest(cpms, day, lag)
        last = workdir.newest_before(self._run.ctr(self._name), day)
        if last is not None:
            historical.check_before(store.read_manifest(last, KIND), day, last)
        known = inheritance.known_to(last, cpms) if last is not None else None
        restart = self._config.warm_start.refresh == "restart"
        if last is None or (known != cpm and restart):
            self._level = self._start(day, path, cpm)
            return self._level
        if self._level is None or self._level_day != last.name:
            self._level = self._load(last, day)
        else:
            self._refresh_history(day)
        if known != cpm:
            self._take_newer(known, cpm, path)
        return self._level

    def _load(self, last: pathlib.Path, day: str) -> levels.Level:
        """Return the level published last, to score a day."""
        history_tables = self._history_of(day)
        return levels.load(
            self._data, self._config, self._stage, last, KIND, history_tables
        )

    def _take_newer(
        self, known: pathlib.Path, cpm: pathlib.Path, path: pathlib.Path
    ) -> None:
        """Let the level take over what a newer CPM has learned."""
        # The newer CPM may know more ids than the A-CTR did.
        self._grow(cpm.name)
        inheritance.take_change(self._data, self._level, known, cpm, path)

    def _grow(self, day: str) -> None:
        """Let the level know the ids of a day."""
        rows = self._data.table_rows(day)
        levels.grow(self._data, self._config, self._stage, self._level, rows)

    def _history_of(self, day: str) -> dict:
        """Return the historical tables for rows up to a day."""
        if not self._config.model.history:
            return {}
        newest = workdir.newest_before(self._run.historical, day)
        if newest is None or newest != self._history[0]:
            self._history = history.newest_before(self._data, self._run, day)
        return self._history[1]

    def _refresh_history(self, day: str) -> None:
        """Exchange the historical tables when newer ones were published."""
        known = self._history[0]
        tables = self._history_of(day)
        if self._history[0] != known:
            level = self._level
            model = levels.build(
                self._data,
                self._config,
                self._stage,
                KIND,
                level.table_rows,
                tables,
                level.model.embedding.capacities,
            )
            levels.copy_state(level.model, model)
            level.model = model

    def _start(self, day, path, cpm) -> levels.Level:
        """Return a new level from a CPM or scratch, caught up to a day."""
        past = self._past(day, self._config.schedule.catch_up_days)
        statistics = self._config.warm_start.batch_norm == "statistics"
        if cpm is not None and statistics and not past:
            raise ValueError(
                "warm_start.batch_norm=statistics needs ads from before "
                f"{day} to estimate from; the last "
                f"{self._config.schedule.catch_up_days} days hold none. Raise "
                "schedule.catch_up_days, or set warm_start.batch_norm=keep."
            )
        level = self._fresh(day)
        self._start_weights(level, day, path, cpm)
        self._level = level
        if past:
            window = windows.Window(past[0], past[-1])
            if cpm is not None and statistics:
                batches = tasks.stream(
                    self._data,
                    self._config,
                    self._stage.training,
                    level.model,
                    scoring.ADS,
                    window,
                )
                scoring.adapt_statistics(level.model, batches)
            for part in window.split(self._config.schedule.ctr_days):
                self._fit(part)
        return level

    def _start_weights(self, level, day, path, cpm) -> None:
        """Start the weights of a fresh level from a CPM, or its tables."""
        if cpm is not None:
            settings, title = self._config.warm_start, f"{self._name}: from CPM"
            inheritance.start(self._data, level, cpm, settings, path, title)
        elif self._config.history.start_tables:
            history.start_tables(
                self._data, self._run, self._config, level, day, path
            )

    def _fresh(self, day: str) -> levels.Level:
        """Return a level with fresh weights that knows the ids before a day."""
        until = windows.Window.ending(day, 2).first
        table_rows = self._data.table_rows(until)
        model = levels.build(
            self._data,
            self._config,
            self._stage,
            KIND,
            table_rows,
            self._history_of(day),
            source=self._source,
        )
        return levels.Level(model, KIND, table_rows)

    def _past(
        self, day: str, days: int, domain: str = scoring.ADS
    ) -> list[str]:
        """Return the days there are among the last `days` before one."""
        if not days:
            return []
        before = windows.Window.ending(day, days + 1).days[:-1]
        return [d for d in self._data.days(domain) if d in set(before)]

    def _fit(self, window: windows.Window) -> list[dict]:
        level = self._level
        task = tasks.task(
            self._data,
            self._config,
            self._stage.training,
            level.model,
            scoring.ADS,
            window,
            self._name,
            self._run.progress(self._name, "ctr", str(window)),
            bar=False,
            start={
                "parents": dict(level.parents),
                "rows": level.rows,
                "historical": self._history[0] and self._history[0].name,
            },
        )
        level.rows += task.rows
        return fit.fit(level.model, task)
