"""The no-regret mixture: days that experts scored, weighed together.

It trains no model of its own. Each day its experts, models of the table, have
scored is mixed by weights of the days before and published like a day of an
A-CTR, with the weights in `mixture.json`.

Shapes: E experts, N rows of a day.
"""

import logging
import pathlib
import time
import typing

import numpy as np
import tensorflow as tf

from ecdctr_tf import artefacts, metrics, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.input import expired
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.training import daily, holding_out, workdir
from ecdctr_tf.training import level as levels
from ecdctr_tf.transfer import mixture


def trainer(level: levels.Level) -> "daily.DailyTrainer | Mixer":
    """Return what scores and trains the days of a model."""
    return Mixer(level) if level.row.experts else daily.DailyTrainer(level)


class Mixer:
    """Publish the mixed days of a mixture's experts.

    Args:
      level: the level of the mixture; its model is never built.
    """

    def __init__(self, level: levels.Level):
        """Keep what the days need."""
        self._level = level
        self._experts = {
            name: level.run.ctr(name) for name in level.row.experts
        }
        # The historical versions read last, and their tables.
        self._history: tuple[tuple, dict[str, HistoricalTable]] = ((), {})

    def run(self, parts: list[windows.Window]) -> None:
        """Mix the days of these windows that the experts have scored.

        Published ones are passed over.

        Args:
          parts: windows of ads in order.

        Raises:
          FileNotFoundError, ValueError: an expert has not scored a day that
            another has, its day was replaced, or its rows are others.
        """
        level = self._level
        with store.lock(level.directory, f"mixing {level.row.base}"):
            store.sweep(level.directory)
            level.say_deleted()
            for window in self._windows(parts):
                self._day(window)

    def _windows(self, parts: list[windows.Window]) -> list[windows.Window]:
        """Return the windows that all experts have and the mixture has not."""
        first, last = parts[0].first, parts[-1].last
        found = {}
        for name, directory in self._experts.items():
            found[name] = {
                day: store.read_manifest(directory / day, artefacts.CTR).window
                for day in store.dated(directory)
                if first <= day <= last
            }
        places = [self._level.directory, *self._experts.values()]
        cleaned = max(workdir.cleaned(place) for place in places)
        days = sorted({day for of in found.values() for day in of})
        days = [day for day in days if day > cleaned]
        for day in days:
            each = {name: of.get(day) for name, of in found.items()}
            for name, window in each.items():
                if window is None or window != each[self._first]:
                    wrong = FileNotFoundError if window is None else ValueError
                    raise wrong(
                        f"The experts of {self._level.row.name} should have "
                        f"scored the same days. {self._experts[name]} has "
                        f"{window or 'nothing'} under {day}. Train the "
                        f"models {', '.join(found)} on the same windows with "
                        "`--stage=ctr`."
                    )
        done = store.dated(self._level.directory)
        newest = done[-1] if done else ""
        for day in days:
            if day < newest and day not in done:
                raise ValueError(
                    f"{self._level.directory} has days up to {newest}, but not "
                    f"{day}; weights never go back in time. Delete the days "
                    f"after {day} to mix them again."
                )
        return [found[self._first][day] for day in days if day > newest]

    @property
    def _first(self) -> str:
        return self._level.row.experts[0]

    def _day(self, window: windows.Window) -> None:
        """Mix a day by the weights of before it, and learn what it came to."""
        began = time.monotonic()
        expired.check_scored(self._level.data.path, window.first)
        weights, before = self._weights()
        paths = {n: d / window.last for n, d in self._experts.items()}
        manifests = {
            n: store.read_manifest(p, artefacts.CTR) for n, p in paths.items()
        }
        rows, logits = self._scores(paths, artefacts.SCORES)
        slices = self._slices(window, paths, manifests, rows)
        mixed = _mixed(weights, rows, logits, slices)
        held = self._held_out(window, paths, manifests, weights)
        weights.learn(
            logits,
            slices,
            rows["click"],
            rows["weight"],
            self._level.launched(window.first),
        )
        result = metrics.evaluate(
            *(mixed[name] for name in ("click", "ctr", "user", "weight"))
        )
        of_days = [m.metrics for m in manifests.values()]
        result["trained_rows"] = sum(m.get("trained_rows", 0) for m in of_days)
        result["seconds"] = sum(m.get("seconds", 0) for m in of_days)
        result["seconds"] += time.monotonic() - began
        if held is not None:
            result["held_out"] = held.judged()
        for name in ("skipped", "left_out"):
            found = [m[name] for m in of_days if name in m]
            if found:
                result[name] = found[0]
        path = self._level.directory / window.last
        parents = {
            artefacts.expert_role(name): store.parent(of, path)
            for name, of in paths.items()
        }
        if before:
            parents["last"] = store.parent(before, path)
        manifest = store.Manifest(
            kind=artefacts.CTR,
            window=window,
            rows=result["trained_rows"],
            spec=manifests[self._first].spec,
            ids=_most_ids(manifests),
            parents=parents,
            config={"model": self._level.row.base},
            metrics=result,
        )
        self._publish(manifest, mixed, held, weights)
        logging.info("%s mixed %s", path, ", ".join(paths))

    def _scores(
        self, paths: dict[str, pathlib.Path], name: str
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return the columns of scored rows, and the logits of experts.

        Args:
          paths: the days of the experts.
          name: the file of the scores.

        Returns:
          Columns as `artefacts.read_scores` gives them, and `[E, N]`.
        """
        scores = {n: artefacts.read_scores(p, name) for n, p in paths.items()}
        rows = scores[self._first]
        for expert, of in scores.items():
            artefacts.check_rows(paths[expert], of, rows)
        logits = [mixture.logits_of(of["ctr"]) for of in scores.values()]
        return rows, np.stack(logits)

    def _held_out(
        self,
        window: windows.Window,
        paths: dict[str, pathlib.Path],
        manifests: dict[str, store.Manifest],
        weights: mixture.Mixture,
    ) -> holding_out.HeldOut | None:
        """Return the last rows of a day, mixed as before it was learned.

        None unless all experts held the same rows out.
        """
        held = [m.metrics.get("held_out", {}) for m in manifests.values()]
        since = {of.get("since") for of in held}
        if None in since or len(since) > 1:
            return None
        rows, logits = self._scores(paths, artefacts.HELD_OUT)
        slices = self._slices(window, paths, manifests, rows)
        mixed = _mixed(weights, rows, logits, slices)
        return holding_out.HeldOut(since.pop(), mixed)

    def _publish(
        self,
        manifest: store.Manifest,
        scores: dict[str, typing.Any],
        held: holding_out.HeldOut | None,
        weights: mixture.Mixture,
    ) -> None:
        """Publish a mixed day, with the weights that the next one has."""
        level = self._level
        day = manifest.window.last
        with store.publish(level.directory / day, manifest) as staging:
            np.savez(staging / artefacts.SCORES, **scores)
            if held is not None:
                held.write(staging)
            store.write_text(staging / artefacts.CONFIG, level.config.to_json())
            level.data.specs[manifest.spec].save(staging / artefacts.SPEC)
            text = weights.to_json()
            store.write_text(staging / artefacts.MIXTURE, text)
        store.write_text(level.directory / workdir.NEWEST, day)

    def _weights(self) -> tuple[mixture.Mixture, pathlib.Path | None]:
        """Return the weights after the last published day, and the day.

        Raises:
          FileNotFoundError, ValueError: the day, or an expert's that it was
            made from, is damaged, gone or replaced.
        """
        level = self._level
        done = store.dated(level.directory)
        if not done:
            return mixture.Mixture(level.row.experts), None
        last = level.directory / done[-1]
        manifest = store.read_manifest(last, artefacts.CTR)
        for name in level.row.experts:
            artefacts.parent_path(last, manifest, artefacts.expert_role(name))
        return artefacts.read_mixture(last), last

    def _slices(
        self,
        window: windows.Window,
        paths: dict[str, pathlib.Path],
        manifests: dict[str, store.Manifest],
        rows: dict[str, np.ndarray],
    ) -> np.ndarray:
        """Return the place of each row in `mixture.SLICES`, int32 `[N]`.

        Days that are scored together count from the first of them.
        """
        data = self._level.data
        place = np.zeros(len(rows["click"]), np.int32)
        for name, path in paths.items():
            config = artefacts.read_config(path, artefacts.CTR)
            if not config.model.history:
                continue
            spec = data.specs[manifests[name].spec]
            tables = self._tables(path, manifests[name], config)
            _, slots = artefacts.look_up(config, artefacts.CTR)
            day = tf.fill([len(place)], windows.day_number(window.first))
            for role in ("user", "item"):
                feature = spec.feature(getattr(spec, role))
                place *= 2
                if feature.basic and feature.table in tables:
                    _, found = tables[feature.table].lookup(
                        tf.constant(rows[role]), day, slots
                    )
                    place += found.numpy().any(axis=1)
            break
        return place

    def _tables(
        self,
        path: pathlib.Path,
        manifest: store.Manifest,
        config: configs.Config,
    ) -> dict[str, HistoricalTable]:
        """Return the historical tables of a day; the same ones are kept."""
        versions = tuple(
            sorted(
                (role, parent["manifest"])
                for role, parent in manifest.parents.items()
                if role == artefacts.CPM or role.startswith("historical")
            )
        )
        if self._history[0] != versions:
            tables = artefacts.history_of(
                path, manifest, self._level.data, config
            )
            self._history = versions, tables
        return self._history[1]


def _mixed(
    weights: mixture.Mixture,
    rows: dict[str, np.ndarray],
    logits: np.ndarray,
    slices: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return the columns of rows with their mixed click probabilities."""
    ctr = 1 / (1 + np.exp(-weights.mix(logits, slices)))
    return {**rows, "ctr": ctr.astype(np.float32)}


def _most_ids(manifests: dict[str, store.Manifest]) -> dict[str, dict]:
    """Return of each table the ids of the expert that knows most of them."""
    found: dict[str, dict] = {}
    for manifest in manifests.values():
        for table, entry in manifest.ids.items():
            if entry["rows"] > found.get(table, {"rows": -1})["rows"]:
                found[table] = entry
    return found
