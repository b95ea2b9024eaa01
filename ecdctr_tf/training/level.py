"""A level: the model of TPM, CPM or A-CTR, from first weights to artefact.

A level goes through `fresh` or `open`, then any number of `score`, `grow`,
`fit`, and `publish`. Where its first weights come from, in this order:

1. the resumable state of the window under way, if that began from the same
   weights, days and settings (`fit`);
2. the newest artefact of the level itself from before the window (`open`);
3. for an A-CTR, the newest CPM (`origins`);
4. the newest TPM snapshot, for the tables it knows (`start_tables`);
5. the seed (`fresh`).
"""

import json
import logging
import pathlib
import typing
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from ecdctr_tf import (
    artefacts,
    features,
    metrics,
    model_table,
    scoring,
    store,
    windows,
)
from ecdctr_tf import config as configs
from ecdctr_tf.input import former_specs, streams, time_parts
from ecdctr_tf.input import sources as natural_sources
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.layers.batch_norm import BatchNorm
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.optimizers.lazy_adam import LazyAdam
from ecdctr_tf.optimizers.row_wise_adagrad import RowWiseAdagrad
from ecdctr_tf.training import (
    batches,
    carrying,
    fit,
    history,
    settings,
    statistics,
    workdir,
)
from ecdctr_tf.transfer import (
    calibration,
    checkpoint,
    evidence,
    warm_start,
)

NATURAL, ADS = features.NATURAL, features.ADS
TABLE_OPTIMIZERS = {
    "lazy_adam": LazyAdam,
    "row_wise_adagrad": RowWiseAdagrad,
}


def wish(config: configs.Config) -> natural_sources.Wish:
    """Return what a config asks of natural sources."""
    asked = config.sources
    return natural_sources.Wish(asked.share_of, asked.days_of, asked.exclude)


class Cluster(typing.Protocol):
    """Processes that take the steps of windows together; see `distributed`."""

    def begin(
        self,
        level: "Level",
        parts: dict[str, windows.Window],
        part: time_parts.Part | None,
    ) -> fit.Begin:
        """Return what begins a window of a level; arguments as `Level.fit`."""
        ...


class Level:
    """A model under training, with what its artefact has to tell.

    Args:
      data: the data directory.
      run: the work directory.
      config: the config of the model, from `configs.of_model`.
      row: the model.
      kind: "snapshot", "cpm" or "ctr".
      spec: the data spec of the model; None: that of the data now.
      cluster: who takes the steps of its windows; None: this process.

    Attributes:
      model: the model; None before `fresh` and `open`.
      table_rows: rows of each table that the model knows.
      rows: rows trained on, over the whole lineage.
      parents: what the artefact will be made from, by role.
      batch_size: rows of a step; 0 until the first days are known.
      report: what was taken from a CPM since the last artefact, or None.
      last: the artefact that was opened or published last, or None.
      lost: whether features were removed since `last` was trained.
      evidence: how much of a CPM's change has been best so far.
    """

    model: CTRModel

    def __init__(
        self,
        data: DataDirectory,
        run: workdir.Workdir,
        config: configs.Config,
        row: model_table.ModelRow,
        kind: str,
        spec: features.DataSpec | None = None,
        cluster: Cluster | None = None,
    ):
        """Keep what the level is made from."""
        self.data = data
        self.spec = data.spec if spec is None else spec
        self.run = run
        self.config = config
        self.row = row
        self.kind = kind
        self.directory = run.level(kind, row.base)
        model_config, self.training = artefacts.stage(config, kind)
        self.batch_size = self.training.batch_size
        self._cluster = cluster
        self._looks_up = model_config.history
        self._wish = wish(config)
        self._wish.check(data)
        # The window that was asked for last, and how its rows count.
        self._used: tuple[windows.Window | None, natural_sources.Use | None] = (
            None,
            None,
        )
        self.sources: list[CTRModel] = []
        self._history = history.History(data, run, config)
        self.reset()

    def reset(self) -> None:
        """Forget the model and its lineage."""
        vars(self).pop("model", None)
        self.table_rows: dict[str, int] = {}
        self.rows = 0
        self.parents: dict[str, dict] = {}
        # What was left out of the days since the last artefact.
        self._skipped: dict[str, dict] = {}
        self.report: warm_start.RestoreReport | None = None
        self.last: pathlib.Path | None = None
        self.lost = False
        self.evidence = evidence.Evidence()
        self.calibration = calibration.Calibration()
        # Of a CPM whose rows have been renumbered.
        self._first_rows: dict[str, np.ndarray] = {}

    # From nothing, or from an artefact.

    def fresh(self, day: str) -> None:
        """Start with fresh weights and the ids known at the end of a day."""
        self.table_rows = self.data.table_rows(day)
        self._build()

    def open(self, path: pathlib.Path) -> None:
        """Go on from an artefact of the level: weights and optimizer state.

        Where features have changed since, it goes on with those that it shares
        with the spec of now; see `carrying`.

        Raises:
          FileNotFoundError, ValueError: it is missing, damaged, of another id
            space, data spec, network or training.
        """
        manifest = artefacts.verified(path, self.kind, self.data)
        settings.check(path, self.kind, self.config, self._reads_natural)
        if self.kind == artefacts.CTR:
            artefacts.check_model(path, manifest)
        if self.kind == artefacts.CTR and self.row.has_cpm:
            artefacts.needs_cpm(path, manifest)
        self.reset()
        written = self.data.specs[manifest.spec]
        self.table_rows = artefacts.table_rows(manifest)
        if written != self.spec:
            known = self.table_rows
            self.table_rows = {
                table.name: known.get(table.name, table.buckets)
                for table in self.spec.tables
            }
        self.rows = manifest.rows
        self.parents = dict(manifest.parents)
        self.last = path
        if self.kind == artefacts.CPM:
            self._first_rows = artefacts.first_rows(path)
        self.batch_size = manifest.config.get("batch_size") or self.batch_size
        self.evidence = evidence.Evidence.from_dict(
            manifest.config.get("evidence")
        )
        self.calibration = calibration.Calibration.of(
            manifest.config.get("calibration")
        )
        self._build(manifest.config["capacities"])
        if written == self.spec:
            values = checkpoint.read(path / artefacts.WEIGHTS)
            states = checkpoint.read(path / artefacts.OPTIMIZER)
        else:
            carrier = self.carrier(written, self.kind, path)
            values = carrier.weights(path)
            states = carrier.optimizers(path, self.model)
            changes = former_specs.changes(written, self.spec)
            self.lost = bool(changes.removed or changes.retyped)
        for variables, found, name in (
            (artefacts.weights(self.model), values, artefacts.WEIGHTS),
            (fit.optimizer_state(self.model), states, artefacts.OPTIMIZER),
        ):
            warm_start.restore(variables, found, str(path / name))

    def carrier(
        self, written: features.DataSpec, kind: str, path: pathlib.Path
    ) -> carrying.Carrier:
        """Return what reads artefacts of a former spec.

        Args:
          written: the data spec of the artefact.
          kind: "snapshot", "cpm" or "ctr".
          path: the artefact.

        Raises:
          ValueError: the model cannot go on over the change of features.
        """
        logging.warning(
            "The features have changed since %s was trained: %s.",
            path,
            former_specs.changes(written, self.spec).text(),
        )
        return carrying.Carrier(
            written,
            self.spec,
            self.config,
            self.row,
            kind,
            self._history.tables,
        )

    def check_newest(self) -> None:
        """Make sure that the newest artefact has the settings asked for.

        Without this, a command with other settings that finds nothing to train
        would look as if it had been followed.

        Raises:
          ValueError: a setting that the weights depend on differs.
        """
        for day in store.dated(self.directory)[-1:]:
            settings.check(
                self.directory / day,
                self.kind,
                self.config,
                self._reads_natural,
            )

    def make(
        self,
        capacities: dict[str, int] | None,
        tables: Mapping[str, HistoricalTable],
    ) -> CTRModel:
        """Return a model of the level, with fresh weights, and its optimizers.

        Args:
          capacities: table name -> rows there is room for; None: some to grow.
          tables: table name -> historical vectors.
        """
        model = artefacts.build(
            self.spec,
            self.config,
            self.row,
            self.kind,
            self.table_rows,
            capacities,
            tables,
            self.sources,
        )
        model.compile(
            # Adam, of dense gradients.
            LazyAdam(self.training.dense_learning_rate),
            TABLE_OPTIMIZERS[self.training.table_optimizer](
                self.training.table_learning_rate
            ),
        )
        artefacts.set_buckets(model, self.data)
        for norm in model.own_layers(BatchNorm):
            norm.full_batch = self.batch_size
        return model

    def _build(self, capacities: dict[str, int] | None = None) -> None:
        """Make the model, with fresh weights, and its optimizers."""
        self.model = self.make(capacities, self._history.tables)
        artefacts.weights(self.model)  # Each has to have a place to be saved.
        if not self.calibration.learned:
            heads = self.model.line.shape[0] - 1
            self.calibration = calibration.Calibration(heads)
        self.model.line.assign(self.calibration.weights())

    def _set_batch_size(self, size: int) -> None:
        self.batch_size = size
        for norm in self.model.own_layers(BatchNorm):
            norm.full_batch = size

    def values(self) -> dict[str, np.ndarray]:
        """Return copies of all weights, by name."""
        weights = artefacts.weights(self.model)
        return {name: np.array(v.numpy()) for name, v in weights.items()}

    def assign(self, values: dict[str, np.ndarray]) -> None:
        """Give the model weights that `values` returned."""
        for name, variable in artefacts.weights(self.model).items():
            variable.assign(values[name])

    def rebuild(self) -> None:
        """Let a new model take over weights and state: sizes have changed."""
        before = self.model
        self._build(None if self._outgrown() else before.embedding.capacities)
        for state in (artefacts.weights, fit.optimizer_state):
            values = {name: v.numpy() for name, v in state(before).items()}
            warm_start.restore(state(self.model), values, "the model before")

    def _outgrown(self) -> bool:
        capacities = self.model.embedding.capacities
        return any(self.table_rows[n] > room for n, room in capacities.items())

    # What a level does with days.

    def look_up(
        self, window: windows.Window, cpm: pathlib.Path | None = None
    ) -> None:
        """Let rows of a window see the historical vectors of their time.

        Args:
          window: the days of the rows that will be scored or trained on.
          cpm: the CPM whose merged tables are read, with self-attention.

        Raises:
          FileNotFoundError: there are no historical vectors.
        """
        if not self._looks_up:
            return
        self._history.see(window, cpm if self.kind == artefacts.CTR else None)
        read = artefacts.model_spec(self.spec, self.config, self.kind)
        self._history.tables = artefacts.history_for(read, self._history.tables)
        if self.table_rows:
            for name, table in self._history.tables.items():
                kept = self.model.history_tables[name]
                if table is not kept:
                    kept.assign(table)
            self._history.tables = self.model.history_tables

    def grow(self, table_rows: dict[str, int]) -> None:
        """Let the level know more ids; those that it knows stay known.

        Args:
          table_rows: table name -> rows; fewer than are known change nothing.
        """
        self.table_rows = {
            name: max(rows, table_rows[name])
            for name, rows in self.table_rows.items()
        }
        if not self.model.embedding.grow(self.table_rows):
            self.rebuild()

    def score(
        self,
        window: windows.Window,
        domain: str = ADS,
        as_of: str = "",
        part: time_parts.Part | None = None,
        watch: Callable[[Mapping[str, tf.Tensor]], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return click probabilities of days; see `scoring.score`."""
        return scoring.score(
            self.model, self.data, window, domain, as_of, part, watch
        )

    def use(self, window: windows.Window) -> natural_sources.Use | None:
        """Return how the natural rows of a window count; None: as they are.

        Raises:
          FileNotFoundError, ValueError: as `sources.use`.
        """
        if self._used[0] != window:
            use = natural_sources.use(self.data, window, self._wish)
            self._used = window, use
        return self._used[1]

    def natural_rows(self, window: windows.Window) -> int:
        """Return how many natural rows of a window are trained on."""
        use = self.use(window)
        return self.data.rows(NATURAL, window) if use is None else use.rows

    def fit(
        self,
        parts: dict[str, windows.Window],
        label: str,
        bar: bool = True,
        tensorboard: pathlib.Path | None = None,
        part: time_parts.Part | None = None,
    ) -> list[dict]:
        """Train on the days of one domain, or of both; resumable.

        Args:
          parts: domain -> its days.
          label: shown beside the progress bar.
          bar: whether there is a progress bar.
          tensorboard: where scalars are written, or None.
          part: the rows of the days that are trained on; None: all. Those from
            a moment on follow those before it.

        Returns:
          The learning curve.

        Raises:
          DivergenceError: the loss or a weight is not finite.
        """
        self._choose_batch_size(parts)
        newest = _newest(parts)
        use = self.use(parts[NATURAL]) if NATURAL in parts else None
        rows = self.trained_rows(parts) if part is None else part.rows
        progress = self._progress_of(newest)
        later = part is not None and part.later
        if later:  # The state of the part before is still needed.
            progress = progress.with_name(f"later-{progress.name}")
        task = fit.Task(
            label=f"{label} {newest}",
            stream=lambda skip: self.stream(parts, skip, part),
            rows=sum(rows.values()) * self.training.passes,
            batch_size=self.batch_size,
            checkpoint_steps=self.training.checkpoint_steps,
            progress=progress,
            tensorboard=tensorboard,
            bar=bar,
            files=lambda step, steps: self._files(
                parts, self.stream(parts, step, part).take(steps)
            ),
            start={
                "parents": dict(self.parents),
                "rows": self.rows,
                "days": {name: str(days) for name, days in parts.items()},
                "part": part and [part.moment, part.later],
                "settings": settings.of_level(
                    self.config, self.kind, self._reads_natural
                ),
                "spec": self.spec.fingerprint(),
                "data": self._fingerprints(parts),
            },
        )
        self.last = None  # Until the next one is published.
        if not later:  # Else they were taken of the part before.
            statistics.adapt(self.model, self.data, parts, self.rows, use)
        begin: fit.Begin = fit.Here
        if self._cluster is not None:
            begin = self._cluster.begin(self, parts, part)
        curve = fit.fit(self.model, task, begin)
        self._skipped |= self.data.skipped(parts)
        self.rows += task.rows
        return curve

    def _choose_batch_size(self, parts: dict[str, windows.Window]) -> None:
        """Fit the batches to the first days, and keep them as they are then."""
        if not self.batch_size:
            rows = {
                domain: count / len(parts[domain].days)
                for domain, count in self.trained_rows(parts).items()
            }
            self._set_batch_size(batches.size(rows))

    def trained_rows(self, parts: dict[str, windows.Window]) -> dict[str, int]:
        """Return how many rows of each domain's days are trained on."""
        return {
            domain: self.natural_rows(days)
            if domain == NATURAL
            else self.data.rows(domain, days)
            for domain, days in parts.items()
        }

    @property
    def _reads_natural(self) -> bool:
        """Whether the level itself is trained on natural logs."""
        own = self.row.origin == model_table.BOTH_DOMAINS
        return own or self.kind != artefacts.CTR

    def _progress_of(self, window: windows.Window) -> pathlib.Path:
        """Return where the resumable states of a window lie."""
        name = str(window) if self.kind == artefacts.CTR else window.last
        return self.run.progress(self.kind, self.row.base) / name

    def _fingerprints(self, parts: dict[str, windows.Window]) -> dict:
        """Return the hash of each day's manifest: data may have changed.

        What is left out of days is said, too.
        """
        skipped = self.data.skipped(parts)
        return {f"skipped {day}": of for day, of in skipped.items()} | {
            f"{domain}/{day}": None
            if day in self.data.left_out.get(domain, ())
            else store.file_hash(self.data.path / domain / day / store.MANIFEST)
            for domain, days in parts.items()
            for day in days.days
        }

    def stream(
        self,
        parts: dict[str, windows.Window],
        skip: int = 0,
        part: time_parts.Part | None = None,
    ) -> tf.data.Dataset:
        """Return the batches of days, in the order of the seed.

        Args:
          parts: domain -> its days.
          skip: batches at the beginning to pass over.
          part: the rows of the days; None: all.
        """
        newest = _newest(parts)
        options: dict[str, typing.Any] = {
            "batch_size": self.batch_size,
            "seed": self.config.seed * 1_000_000
            + windows.day_number(newest.last),
            "passes": self.training.passes,
            "skip": skip,
            "spec": self.model.spec,
            "use": self.use(parts[NATURAL]) if NATURAL in parts else None,
            "part": part,
        }
        if self.row.origin == model_table.BOTH_DOMAINS:
            # They read a row's domain, also on days of one domain only.
            return streams.mixed(self.data, parts, **options)
        ((domain, window),) = parts.items()
        return streams.batches(self.data, domain, window, **options)

    def _files(
        self, parts: dict[str, windows.Window], stream: tf.data.Dataset
    ) -> list[str]:
        """Return the files of the days that are in a stream of days."""
        numbers = {int(n) for inputs, _ in stream for n in inputs["day"]}
        return [
            str(file.relative_to(self.data.path))
            for domain, window in parts.items()
            for day in window.days
            if windows.day_number(day) in numbers
            for file in self.data.files(domain, day)
        ]

    def sees_newer_history(self) -> bool:
        """Return whether history is newer than that of the last artefact."""
        before = [r for r in self.parents if r.startswith("historical ")]
        newest = [f"historical {v.name}" for v in self._history.versions]
        return bool(newest) and max(newest) > max(before, default="")

    def estimate_statistics(self, window: windows.Window, day: str) -> None:
        """Estimate batch norm's moving statistics on ads; train no weight.

        Args:
          window: days of ads before the scored day.
          day: the scored day. The rows look history up as of that day, as those
            that will be scored do.
        """
        number = windows.day_number(day)

        def as_of(
            inputs: dict[str, tf.Tensor], click: tf.Tensor
        ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            return {**inputs, "day": tf.fill(tf.shape(click), number)}, click

        self._choose_batch_size({ADS: window})
        stream = self.stream({ADS: window}).map(as_of)
        self.model.estimate_statistics(stream)

    def calibrate(self, window: windows.Window, day: str) -> None:
        """Shift the output bias to the click rate of ads; train no weight.

        The order of predictions stays as it is. What is said of them by days
        that were scored comes on top, as their calibration.

        Args:
          window: days of ads before the scored day.
          day: the scored day; rows look history up as of that day.
        """
        scores = self.score(window, as_of=day)
        logit = scores["heads"] @ self.calibration.shares()
        given = tf.sigmoid(logit).numpy()
        shift = metrics.logit_shift(scores["click"], given, scores["weight"])
        self.model.shift(shift)
        logging.info(
            "Logits are shifted by %.3f to the click rate of the ads of %s.",
            shift,
            window,
        )

    def launched(self, day: str) -> bool:
        """Return whether there were rows of ads before a day."""
        days = (d for d in self.data.days(ADS) if d < day)
        return any(self.data.manifest(ADS, d).rows for d in days)

    def recalibrate(
        self, heads: np.ndarray, click: np.ndarray, weight: np.ndarray
    ) -> None:
        """Let what a scored day came to correct the scores of days to come.

        Args:
          heads: float32 `[N, H]`, logits of `score`.
          click: `[N]`, 0 or 1.
          weight: `[N]`, at least 0.
        """
        self.calibration.learn(heads, click, weight)
        self.model.line.assign(self.calibration.weights())

    def start_tables(self, day: str) -> None:
        """Start the tables of a fresh level from the TPM before a day.

        Where no snapshot ended before the day, the tables start fresh with
        `start_tables=auto`; the artefact then has no parent called "tpm".

        Raises:
          FileNotFoundError, ValueError: the snapshot is damaged, of another id
            space, or of another width; or there is none, and
            `start_tables=true`.
        """
        snapshot = history.newest_snapshot(self.run, self.config, day)
        if snapshot is None:
            if self.config.history.start_tables == "true":
                raise FileNotFoundError(
                    f"{self.run.tpm} holds no snapshot that ended before "
                    f"{day}, from which the tables could start "
                    "(history.start_tables=true). Train the TPM on an earlier "
                    "window, or set history.start_tables=auto."
                )
            return
        tables = self.model.embedding.tables
        history.start_tables(self.data, snapshot, day, tables)
        self.add_parent("tpm", snapshot)

    def say_deleted(self) -> None:
        """Warn where the newest artefacts were deleted: they are made again."""
        newest = workdir.newest(self.directory)
        there = max(store.dated(self.directory), default="")
        if there < newest:
            logging.warning(
                "%s had artefacts up to %s, of which those after %s were "
                "deleted. They are trained again, from what was known before "
                "each.",
                self.directory,
                newest,
                there or "the beginning",
            )

    def add_parent(self, role: str, path: pathlib.Path) -> None:
        """Name an artefact that the next one is made from."""
        # Relative to a sibling of the artefact that is to be published.
        self.parents[role] = store.parent(path, self.directory / "day")

    def publish(
        self,
        window: windows.Window,
        curve: list[dict],
        metrics: dict,
        write_more: Callable[[pathlib.Path], None] | None = None,
    ) -> pathlib.Path:
        """Publish the level under the last day of a window.

        Args:
          window: days trained on.
          curve: learning curve of the window.
          metrics: entries of the manifest's metrics.
          write_more: called with the staging directory, to add files.

        Returns:
          The artefact's place.

        Raises:
          NotFiniteError: a weight is not finite; nothing is published.
        """
        path = self.directory / window.last
        domain = ADS if self.kind == artefacts.CTR else NATURAL
        skipped = self._skipped
        skipped = skipped | self.data.skipped({domain: window})
        if skipped:
            read_with = {"policy": self.data.damaged, "days": skipped}
            metrics = {**metrics, "skipped": read_with}
        left_out = {*window.days} & {*self.data.left_out.get(domain, ())}
        if left_out:
            metrics = {**metrics, "left_out": sorted(left_out)}
        if self._looks_up:
            for role in [r for r in self.parents if r.startswith("historical")]:
                del self.parents[role]
            for version in self._history.versions:
                self.add_parent(f"historical {version.name}", version)
        rows = {n: self.table_rows[n] for n in self.model.embedding.tables}
        spaces = self.data.id_spaces
        manifest = store.Manifest(
            kind=self.kind,
            window=window,
            rows=self.rows,
            spec=self.spec.fingerprint(),
            ids={n: spaces[n].fingerprint(r) for n, r in rows.items()},
            parents=self.parents,
            config={
                "capacities": self.model.embedding.capacities,
                "model": self.row.base,
                "batch_size": self.batch_size,
                **(
                    {"evidence": self.evidence.to_dict()}
                    if self.evidence.of_day
                    else {}
                ),
                **(
                    {"calibration": self.calibration.state()}
                    if self.calibration.learned
                    else {}
                ),
            },
            metrics=metrics,
        )
        with store.publish(path, manifest) as staging:
            self._write(staging, curve)
            if write_more is not None:
                write_more(staging)
        fit.forget(self.run.progress(self.kind, self.row.base), window.last)
        store.write_text(self.directory / workdir.NEWEST, window.last)
        self._skipped = {}
        self.report = None
        self.last = path
        self.lost = False
        return path

    def _write(self, staging: pathlib.Path, curve: list[dict]) -> None:
        """Write the files that the artefacts of all levels have."""
        checkpoint.write(
            staging / artefacts.WEIGHTS, artefacts.weights(self.model)
        )
        checkpoint.write(
            staging / artefacts.OPTIMIZER, fit.optimizer_state(self.model)
        )
        store.write_text(staging / artefacts.CONFIG, self.config.to_json())
        self.spec.save(staging / artefacts.SPEC)
        store.write_text(staging / artefacts.CURVE, fit.curve_text(curve))
        artefacts.write_first_rows(staging, self._first_rows)
        if self.report is not None:
            text = json.dumps(self.report.to_dict(), indent=1, allow_nan=False)
            store.write_text(staging / artefacts.RESTORE, text)
        merges = self.config.history.merges and self.kind == artefacts.CPM
        if self._looks_up and merges:
            arrays = artefacts.merged_arrays(self.model, self._history.tables)
            checkpoint.write(staging / artefacts.MERGED, arrays)


def _newest(parts: dict[str, windows.Window]) -> windows.Window:
    """Return the window that ends last."""
    return max(parts.values(), key=lambda window: window.last)
