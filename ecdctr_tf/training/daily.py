"""The A-CTR: score each day with the model that exists, then train on it."""

import logging
import pathlib
import time
import typing

import numpy as np
import tensorflow as tf
import tqdm

from ecdctr_tf import artefacts, metrics, model_table, store, windows
from ecdctr_tf.input import expired, time_parts
from ecdctr_tf.training import holding_out, origins, watching, workdir
from ecdctr_tf.training import level as levels
from ecdctr_tf.transfer import evidence, historical

# The newest rows of ads whose click rate an A-CTR is brought to when it takes
# something from a CPM; of 10,000 rows with 1 % of clicks it is known to 10 %.
_CALIBRATION_ROWS = 10_000


class DailyTrainer:
    """Progressive validation of a model over days of ads.

    A day (or several, `schedule.ctr_days`) is scored by the model of the day
    before, trained on, and published with its scores under the name of the last
    day. Where the first model comes from, and what a newer CPM does to it, is
    said by the model's origin (`origins`).

    Reference: E-CDCTR (arXiv 2408.16238); progressive validation: Ad Click
    Prediction: a View from the Trenches (KDD 2013), section 5.1.
    """

    def __init__(self, level: levels.Level):
        """Keep what the days need.

        Raises:
          ValueError: the model looks up what only a CPM can learn, and has
            none.
        """
        config = level.config
        learned = config.history.merges and config.model.history
        if learned and not level.row.has_cpm:
            raise ValueError(
                f"{level.row.name} has no CPM in which self-attention over "
                "snapshots could be learned. Set history.aggregation to "
                "another value, or set model.history=false."
            )
        self._data = level.data
        self._config = config
        self._level = level
        self._origin = origins.ORIGINS[level.row.origin](level)

    def run(self, parts: list[windows.Window]) -> None:
        """Go through days, a window at a time; published ones are passed over.

        Of a window in which days were published before, the later days are
        left: it ended earlier then, because there were no more days.

        Args:
          parts: windows of ads in order; those without rows are passed over.

        Raises:
          FileNotFoundError, ValueError: what a day needs is missing, damaged,
            from the day's future, or of another spec or id space.
        """
        level = self._level
        for part in parts:
            for domain in self._origin.domains:
                self._data.covered(domain, part)
        name = level.row.base
        with store.lock(level.directory, f"training the A-CTR of {name}"):
            store.sweep(level.directory)
            level.say_deleted()
            bar = tqdm.tqdm(
                parts,
                desc=f"{name} ctr",
                unit="day",
                mininterval=1.0,
                leave=False,
                disable=None,
            )
            for part in bar:
                left = self._left(part)
                if left is None:
                    logging.info("%s of %s already exists", part, name)
                elif self._data.rows(levels.ADS, left):
                    result = self._day(left)
                    bar.set_postfix({"auc": result["auc"]})

    def launch(self, day: str) -> pathlib.Path:
        """Publish what would score a first day, for which there are no ads yet.

        Args:
          day: the day. Natural logs are known up to the day before.

        Returns:
          The artefact, beside the days of ads and never part of them. One that
          was there is replaced.

        Raises:
          FileNotFoundError, ValueError: as `run`.
        """
        level = self._level
        level.directory = level.run.launch(level.row.base)
        eve = windows.plus(day, -1)
        with store.lock(level.directory, "preparing the launch"):
            store.sweep(level.directory)
            self._start(day)
            if (level.directory / eve).exists():
                store.remove(level.directory / eve)
            return level.publish(windows.Window(eve, eve), [], {})

    def _left(self, part: windows.Window) -> windows.Window | None:
        """Return what of a window the A-CTR has not been trained on.

        Raises:
          ValueError: a day with rows was left out before a published one, or
            an artefact is damaged.
        """
        directory = self._level.directory
        published = []
        for day in store.dated(directory):
            path = directory / day
            published.append(store.read_manifest(path, artefacts.CTR).window)
        learned = max((window.last for window in published), default="")
        cleaned = workdir.cleaned(directory)
        for day in part.days:
            if not cleaned < day <= learned or any(
                w.first <= day <= w.last for w in published
            ):
                continue
            if self._data.rows(levels.ADS, windows.Window(day, day)):
                raise ValueError(
                    f"{directory} has days up to {learned}, but not {day}; an "
                    "A-CTR never goes back in time. Put that day back, or "
                    f"delete the days from {day} on to train them again."
                )
        days = [day for day in part.days if day > learned]
        return windows.Window(days[0], days[-1]) if days else None

    def _day(self, today: windows.Window) -> dict:
        """Score, train on and publish a day; return its metrics."""
        began = time.monotonic()
        level = self._level
        expired.check_scored(self._data.path, today.first)
        self._ready(today.first)
        watch = None
        if self._config.monitoring.days:
            watch = watching.Watch(level, today)
        scores: dict[str, typing.Any] = level.score(
            today, watch=None if watch is None else watch.add
        )
        heads = scores.pop("heads")
        result = metrics.evaluate(
            scores["click"], scores["ctr"], scores["user"], scores["weight"]
        )
        if self._origin.take is not None:
            self._judge(today, result)
            self._origin.take = None  # It holds three copies of the weights.
        curve, held = self._learn(today)
        # What is wrong before a model has seen ads is not wrong with the next.
        if self._config.ctr.calibrate and level.launched(today.first):
            level.recalibrate(heads, scores["click"], scores["weight"])
        result["trained_rows"] = curve[-1]["rows"] if curve else 0
        if result["trained_rows"] == result["rows"] > 0:
            result |= _losses(heads, scores["click"], scores["weight"], curve)
        result["seconds"] = time.monotonic() - began
        self._write_scalars(today, result)
        if held is not None:
            result["held_out"] = held.judged()
        if watch is not None:
            result["inputs"] = watch.compared()
            _warn(today, result["inputs"])

        def write(staging: pathlib.Path) -> None:
            np.savez(staging / artefacts.SCORES, **scores)
            if held is not None:
                held.write(staging)
            if watch is not None:
                watch.write(staging)

        level.publish(today, curve, result, write)
        return result

    def _learn(
        self, today: windows.Window
    ) -> tuple[list[dict], holding_out.HeldOut | None]:
        """Train on a day; score its last rows before they are trained on.

        Returns:
          The learning curve, and the scores of the last rows, if any.
        """
        level, days = self._level, self._trained_on(today)
        learns = level.row.learns
        if learns:
            level.grow(self._data.table_rows(today.last))
        parts = holding_out.split(level, today, days)
        if parts is None:
            return self._fit(days) if learns else [], None
        first, later = parts
        curve = self._fit(days, first) if learns else []
        scores = level.score(today, part=later)
        del scores["heads"]
        if learns:
            curve = holding_out.joined(curve, self._fit(days, later))
        return curve, holding_out.HeldOut(later.moment, scores)

    def _ready(self, day: str) -> None:
        """Bring the level to score a day: it has seen earlier days only."""
        level, origin = self._level, self._origin
        last = workdir.newest_before(level.directory, day)
        if last is None:
            self._start(day)
            return
        manifest = store.read_manifest(last, artefacts.CTR)
        historical.check_before(manifest, day, last)
        historical.check_versions(manifest, last)
        if level.last != last:
            self._look_up(day, artefacts.cpm_of(last, manifest))
            origin.open(last)
        if origin.restarts(day):
            self._start(day)
            return
        changed = origin.refresh(day)
        self._look_up(day, origin.cpm(day))
        newest = self._newest_ads(day, self._remembered_rows())
        changed = changed or level.lost
        if newest is not None and (changed or level.sees_newer_history()):
            self._settle(newest, day)

    def _settle(self, newest: windows.Window, day: str) -> None:
        """Bring a changed level to the ads before a day, without training."""
        self._level.estimate_statistics(newest, day)
        self._calibrate(day)

    def _judge(self, today: windows.Window, result: dict) -> None:
        """Score a day with other parts of a change; learn which is best.

        The level stays as it scored the day.

        Args:
          today: the day.
          result: the metrics of the part that was taken.
        """
        level = self._level
        kept, report = level.values(), level.report
        newest = self._newest_ads(today.first, self._remembered_rows())
        losses = []
        for place, strength in enumerate(evidence.CANDIDATES):
            if place == level.evidence.chosen:
                losses.append(result["log_loss"])
                continue
            self._origin.take(strength)
            if newest is not None:
                self._settle(newest, today.first)
            scores = level.score(today)
            names = ("click", "ctr", "user", "weight")
            other = metrics.evaluate(*(scores[name] for name in names))
            losses.append(other["log_loss"])
        level.assign(kept)
        level.report = report
        if None not in losses:  # All rows have the weight 0.
            level.evidence = level.evidence.after(losses)

    def _remembered_rows(self) -> float:
        """Return how many rows the moving statistics of batch norm remember."""
        momentum = self._config.model.batch_norm_momentum
        return self._level.batch_size / (1 - momentum)

    def _calibrate(self, day: str) -> None:
        """Bring what a CPM gave to the click rate of the ads before a day.

        CPMs learn the click rate of natural logs. On the first day of all ads
        nothing is known of theirs.
        """
        newest = self._newest_ads(day, _CALIBRATION_ROWS)
        if newest is not None and self._level.row.has_cpm:
            self._level.calibrate(newest, day)

    def _start(self, day: str) -> None:
        """Start a new A-CTR and let it catch up to a day."""
        level, origin = self._level, self._origin
        kept = level.calibration
        level.reset()
        # What is wrong with the scores of each day is wrong with a new model's.
        level.calibration = kept
        first = origin.first_days(day)
        ads = first.get(levels.ADS)
        statistics = (
            self._config.warm_start.batch_norm == "statistics"
            and level.row.origin == model_table.FROM_CPM
        )
        if statistics and ads is None:
            raise ValueError(
                "warm_start.batch_norm=statistics needs ads from before "
                f"{day} to estimate them from, and finds none. "
                "Raise schedule.catch_up_days or warm_start.warm_up_days, or "
                "set warm_start.batch_norm=keep."
            )
        since = min((part.first for part in first.values()), default=day)
        self._look_up(day, origin.cpm(day), since)
        origin.before_build(day)
        level.fresh(windows.plus(day, -1))
        origin.start(day)
        if statistics:
            level.estimate_statistics(ads, day)
        self._calibrate(day)
        if not level.row.learns:
            return
        if len(origin.domains) > 1:
            self._fit(first)
        elif ads is not None:
            for part in ads.split(self._config.schedule.ctr_days):
                self._fit({levels.ADS: part})

    def _look_up(
        self, day: str, cpm: pathlib.Path | None, since: str = ""
    ) -> None:
        """Let rows up to a day see their historical vectors.

        Args:
          day: the day that is scored next.
          cpm: the CPM that the level has.
          since: the first day of further rows that are read; empty: none but
            those of the day, and of the days gone through again.
        """
        replayed = self._past_ads(day, self._config.ctr.replay_days)
        first = min([day, *filter(None, [since]), *replayed])
        self._level.look_up(windows.Window(first, day), cpm)

    def _trained_on(self, today: windows.Window) -> dict[str, windows.Window]:
        """Return the days that a scored day is trained on, by domain."""
        past = self._past_ads(today.first, self._config.ctr.replay_days)
        window = windows.Window(past[0] if past else today.first, today.last)
        return {domain: window for domain in self._origin.domains}

    def _past_ads(self, day: str, days: int) -> list[str]:
        return origins.past_days(self._level, levels.ADS, day, days)

    def _newest_ads(self, day: str, enough: float) -> windows.Window | None:
        """Return the newest days of ads before a day, to estimate from.

        They have `enough` rows, if there are as many.
        """
        days = [d for d in self._data.days(levels.ADS) if d < day]
        found, rows = None, 0
        for first in reversed(days):
            if found and windows.plus(found.first, -1) != first:
                break  # The day before is missing.
            found = windows.Window(first, found.last if found else first)
            rows += self._data.manifest(levels.ADS, first).rows
            if rows >= enough:
                break
        return found if rows else None

    def _fit(
        self,
        days: dict[str, windows.Window],
        part: time_parts.Part | None = None,
    ) -> list[dict]:
        level = self._level
        return level.fit(days, level.row.base, bar=False, part=part)

    def _write_scalars(self, today: windows.Window, result: dict) -> None:
        """Write the metrics of a scored day for TensorBoard."""
        level = self._level
        directory = level.run.tensorboard(level.kind, level.row.base, "days")
        writer = tf.summary.create_file_writer(str(directory))
        step = windows.day_number(today.last)
        with writer.as_default():
            for name, value in result.items():
                if value is not None:
                    tf.summary.scalar(f"day/{name}", value, step)
        writer.close()


def _warn(today: windows.Window, inputs: dict) -> None:
    """Say how the inputs of a scored day differ from those of days before."""
    if inputs["warnings"]:
        logging.warning(
            "%s is not like the scored days from %s to %s: %s.",
            today.last,
            inputs["days"][0],
            inputs["days"][-1],
            "; ".join(inputs["warnings"]),
        )


def _losses(
    heads: np.ndarray, click: np.ndarray, weight: np.ndarray, curve: list[dict]
) -> dict[str, float]:
    """Return the mean loss of a day's rows before and in training.

    Args:
      heads: `[N, H]`, logits from before.
      click: `[N]`, 0 or 1.
      weight: `[N]`, at least 0.
      curve: the learning curve of the same rows.
    """
    logits = heads.astype(np.float64)
    losses = np.logaddexp(0, logits) - click[:, np.newaxis] * logits
    rows = np.diff([0, *(point["rows"] for point in curve)])
    return {
        "loss_before": float(np.average(losses.mean(axis=1), weights=weight)),
        "training_loss": float(
            np.average([point["loss"] for point in curve], weights=rows)
        ),
    }
