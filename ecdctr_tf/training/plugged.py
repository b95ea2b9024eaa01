"""Plugged models: days of ads with a frozen CPM beside the model."""

import pathlib

from ecdctr_tf import config as configs
from ecdctr_tf import presets, store
from ecdctr_tf.training import daily, inheritance, levels


class PluggedTrainer(daily.DailyTrainer):
    """Progressive validation of a model that reads a frozen CPM.

    As `DailyTrainer`: a day of ads is scored by a model, and a CPM, of before
    the day, then trained on. The CPM is part of the model but is not trained
    and not published with it: a published day names it as its parent, by path
    and hash, and goes on from that very one. A newer CPM takes the place of the
    older one beside the model, whose own weights and optimizer state stay.

    Args:
      data: the data directory.
      run: the work directory.
      config: the run's config; what it says of TPM and history is not used.
      name: one of `config.PLUGGED_MODELS`.

    Raises:
      ValueError: there is no such model.

    Reference: as `DailyTrainer`.
    """

    @staticmethod
    def _settings(
        config: configs.Config, name: str
    ) -> tuple[configs.Config, configs.StageConfig]:
        config = presets.variant(config, name)
        return config, configs.plugged_config(config, name)

    def _start(
        self, day: str, path: pathlib.Path, cpm: pathlib.Path
    ) -> levels.Level:
        self._freeze(cpm)
        return super()._start(day, path, cpm)

    def _start_weights(self, level, day, path, cpm) -> None:
        """Start the weights that a CPM has too, if the model asks for it."""
        del day
        level.parents["cpm"] = store.parent(cpm, path)
        if level.model.starts_from_source:
            inheritance.start(
                self._data,
                level,
                cpm,
                self._config.warm_start,
                path,
                f"{self._name}: from CPM",
                allow_new=tuple(f"{name}/" for name in level.model.plugs()),
            )

    def _load(self, last: pathlib.Path, day: str) -> levels.Level:
        del day
        cpm = inheritance.known_to(last, self._run.cpm(self._name))
        recorded = store.read_manifest(last, daily.KIND).parents["cpm"]
        if store.parent(cpm, last)["manifest"] != recorded["manifest"]:
            raise ValueError(
                f"{cpm} is not the CPM that {last} was trained beside. Put "
                "that one back, or start in another --workdir."
            )
        self._freeze(cpm)
        return levels.load(
            self._data,
            self._config,
            self._stage,
            last,
            daily.KIND,
            source=self._source,
        )

    def _take_newer(
        self, known: pathlib.Path, cpm: pathlib.Path, path: pathlib.Path
    ) -> None:
        """Exchange the frozen CPM; the model's own weights stay."""
        del known
        self._freeze(cpm)
        level = self._level
        model = levels.build(
            self._data,
            self._config,
            self._stage,
            daily.KIND,
            level.table_rows,
            capacities=level.model.embedding.capacities,
            source=self._source,
        )
        levels.copy_state(level.model, model)
        level.model = model
        level.parents["cpm"] = store.parent(cpm, path)

    def _freeze(self, cpm: pathlib.Path) -> None:
        """Let models that are built from now on read a CPM."""
        self._source = inheritance.frozen(self._data, self._config, cpm)
