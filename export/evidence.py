"""What the gate is told of a candidate: its weights, and rows that it scores.

The live version is asked through the artefact that it was exported from. Where
that is gone, the candidate is judged by itself.

Shapes: N rows that are scored.
"""

import pathlib
import typing
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from ecdctr_tf import artefacts, features, scoring, store
from ecdctr_tf.export import folded, gate, saved_model
from ecdctr_tf.input import streams, time_parts
from ecdctr_tf.input.as_of import AsOf
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.mixture import MixedModel
from ecdctr_tf.transfer import checkpoint

# A day after all history.
_AFTER_ALL = "9999-12-31"


def gather(
    artefact: pathlib.Path,
    data_dir: pathlib.Path,
    live: pathlib.Path | None,
    tables: str = "float32",
) -> gate.Evidence:
    """Return what the gate looks at.

    Args:
      artefact: the candidate, `<workdir>/<model>/ctr/<day>`.
      data_dir: the data directory that it was trained on.
      live: the live version, `<export_dir>/<number>`; None if there is none.
      tables: what the tables of the candidate would hold, one of
        `config.TABLES`.

    Raises:
      FileNotFoundError, ValueError: the candidate is missing or damaged, or
        does not fit the data directory.
    """
    manifest = store.verify(artefact, artefacts.CTR)
    # As it was read when the candidate was trained.
    skipped = manifest.metrics.get("skipped", {})
    data = DataDirectory(data_dir, skipped.get("policy", "fail"))
    left_out = manifest.metrics.get("left_out")
    if left_out:
        data = AsOf(data, _AFTER_ALL, {features.ADS: left_out})
    if artefacts.SCORES not in manifest.files:
        broken = tuple(_broken(artefact, manifest))
        why = "The model has scored no day: only its weights are judged."
        return gate.Evidence(broken, left_out=(why,))
    return _Candidate(artefact, data, manifest).evidence(live, tables)


class _Candidate:
    """A candidate and the rows that it is judged by."""

    def __init__(
        self, path: pathlib.Path, data: DataDirectory, manifest: store.Manifest
    ):
        self._path = path
        self._data = data
        self._manifest = manifest
        self._left_out: list[str] = []
        self._day = artefacts.read_scores(path)
        self._held_out: dict[str, np.ndarray] | None = None
        if artefacts.HELD_OUT in manifest.files:
            self._held_out = artefacts.read_scores(path, artefacts.HELD_OUT)
        else:
            self._left_out.append(
                "No rows of the day were held out (gate.share, "
                "gate.least_rows): how well the model predicts clicks that it "
                "has not learned is not judged."
            )
        # The rows of the day that are scored; None: all.
        self._part: time_parts.Part | None = None

    def evidence(self, live: pathlib.Path | None, tables: str) -> gate.Evidence:
        """Return the evidence; arguments as of `gather`."""
        broken = list(_broken(self._path, self._manifest))
        replaced = self._find_rows()
        found: dict[str, typing.Any] = {}
        if not broken and not replaced:
            try:
                found["served"] = self._score(self._path)
                if tables != "float32":
                    found |= self._as_stored(tables)
            except scoring.NotFiniteError as error:
                broken.append(str(error))
        if live is not None and not replaced:
            found |= self._of_live(live)
        return gate.Evidence(
            broken=tuple(broken),
            replaced=replaced,
            held_out=self._held_out,
            **found,
            day=self._day,
            losses=tuple(
                self._manifest.metrics.get(name)
                for name in ("loss_before", "training_loss")
            ),
            left_out=tuple(self._left_out),
        )

    def _find_rows(self) -> str:
        """Find the rows in the data; return in words how they differ, if so."""
        window, data = self._manifest.window, self._data
        roles = {"user": data.spec.user, "item": data.spec.item}
        there = streams.read_columns(
            data, features.ADS, window, names=roles.values()
        )
        judged, kept = self._day, slice(None)
        if self._held_out is not None:
            judged = self._held_out
            since = self._manifest.metrics["held_out"]["since"]
            kept = there["timestamp"] >= since
            rows = {features.ADS: int(kept.sum())}
            self._part = time_parts.Part(since, True, rows)
        for name in ("click", "weight", "user", "item"):
            column = there[roles.get(name, name)][kept]
            if not np.array_equal(column, judged[name]):
                return (
                    f"The rows of {window} in {data.path} are others than "
                    f"those that {self._path} scored ({name} differs): they "
                    "were replaced since. Train the day again."
                )
        return ""

    def _score(self, path: pathlib.Path) -> np.ndarray:
        """Return the click probabilities of a day's model, `[N]`."""
        return self._score_by(self._model(path))

    def _model(self, path: pathlib.Path) -> CTRModel | MixedModel:
        model = artefacts.read_model(path, self._data)
        for member in model.members:
            artefacts.set_buckets(member, self._data)
        return model

    def _score_by(self, model: typing.Any, as_of: str = "") -> np.ndarray:
        """Return click probabilities, `[N]`; `as_of` as of `scoring.score`."""
        window = self._manifest.window
        return scoring.score(
            model, self._data, window, as_of=as_of, part=self._part
        )["ctr"]

    def _as_stored(self, tables: str) -> dict[str, np.ndarray]:
        """Return what rows are scored in float32 and as tables are stored.

        Fields of `gate.Evidence`. Both see the newest history there is.
        """
        model = self._model(self._path)
        rows = {n: of.rows for n, of in self._data.id_spaces.items()}
        return {
            "exact": self._score_by(model, as_of=_AFTER_ALL),
            "rounded": self._score_by(_AsServed(model, rows, tables)),
        }

    def _of_live(self, version: pathlib.Path) -> dict[str, typing.Any]:
        """Return what the live version makes of the rows, and of its own day.

        Fields of `gate.Evidence`; none if its artefact cannot be read.
        """
        found: dict[str, typing.Any] = {}
        try:
            exported = store.read_manifest(version, saved_model.KIND)
            path = artefacts.parent_path(version, exported, "artefact")
            manifest = store.read_manifest(path, artefacts.CTR)
            if artefacts.SCORES in manifest.files:
                found["live_day"] = artefacts.read_scores(path)
            found["live"] = self._score(path)
            if self._held_out is not None:
                found["live_unseen"] = self._unseen(
                    path, manifest, found["live"]
                )
        except (OSError, ValueError) as error:
            self._left_out.append(
                f"The live version {version.name} is not compared with. {error}"
            )
            return {}
        return found

    def _unseen(
        self, path: pathlib.Path, manifest: store.Manifest, live: np.ndarray
    ) -> np.ndarray | None:
        """Return what a live day's model made of rows that it had not learned.

        Args:
          path: the day.
          manifest: its manifest.
          live: what it makes of them now, `[N]`.
        """
        if manifest.window.last < self._manifest.window.first:
            return live
        since = manifest.metrics.get("held_out", {}).get("since")
        if since == self._manifest.metrics["held_out"]["since"]:
            scores = artefacts.read_scores(path, artefacts.HELD_OUT)
            artefacts.check_rows(path, scores, self._held_out)
            return scores["ctr"]
        self._left_out.append(
            f"The live version, of {manifest.window.last}, has learned the "
            "rows held out: its metrics are not compared with."
        )
        return None


class _AsServed:
    """The served form of a model, as `scoring.score` asks models."""

    def __init__(
        self, model: CTRModel | MixedModel, rows: dict[str, int], tables: str
    ):
        self.line = tf.constant([1.0, 0.0])
        self.spec = model.spec
        self._form = folded.of(model, rows, tables)

    @tf.function(reduce_retracing=True, autograph=False)
    def logits(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return logits, `[B, 1]`."""
        return self._form(inputs)[:, tf.newaxis]


def _broken(path: pathlib.Path, manifest: store.Manifest) -> Iterator[str]:
    """Yield in words which weights of a day are not finite."""
    for role in manifest.parents:
        if role.startswith(artefacts.expert_role("")):
            expert = artefacts.parent_path(path, manifest, role)
            yield from _broken(expert, store.verify(expert, artefacts.CTR))
    if f"{artefacts.WEIGHTS}.index" not in manifest.files:
        return
    for name, value in checkpoint.read(path / artefacts.WEIGHTS).items():
        if value.dtype.kind != "f":
            continue
        bad = ~np.isfinite(value).reshape(len(value) if value.ndim else 1, -1)
        if bad.any():
            yield (
                f"{name} of {path} holds values that are infinite or not "
                f"numbers, in {bad.any(axis=1).sum():,} of {len(bad):,} rows."
            )
