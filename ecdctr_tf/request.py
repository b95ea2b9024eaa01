"""What a command asks for, and the levels and places that follow from it."""

import dataclasses
import pathlib
from collections.abc import Iterator

from ecdctr_tf import artefacts, export, model_table, windows
from ecdctr_tf import config as configs
from ecdctr_tf.distributed import roles
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import level as level_lib
from ecdctr_tf.training.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Request:
    """What a command asks for."""

    # A key of `STAGES`, `APART` or `WITHOUT_LOGS` of `stages`, or "all".
    stage: str
    # None for stages `WITHOUT_LOGS`.
    data_dir: pathlib.Path | None
    # None for stages `WITHOUT_LOGS`, and if "diagnose" looks at the data only.
    workdir: pathlib.Path | None
    config: configs.Config
    # Names of `model_table.MODELS`; for "compare", of `variants.VARIANTS`.
    models: tuple[str, ...]
    # Days to train on instead of the schedule's; for "replay", its dates.
    window: windows.Window | None = None
    # Seeds to repeat the run with, each in a directory of its own.
    seeds: tuple[int, ...] = ()
    report_dir: pathlib.Path | None = None
    export_dir: pathlib.Path | None = None
    # Sentences that qualify the report's numbers.
    notes: tuple[str, ...] = ()
    deterministic: bool = False
    # `name=file` of scores that join a report or comparison.
    scores: tuple[str, ...] = ()
    # Trials of learning rates and penalties for each model of "compare".
    trials: int = 1
    # Comparisons of data sets that "compare_sets" reads, `file` or `name=file`.
    results: tuple[str, ...] = ()
    # Name of the model that the others are compared with there.
    reference: str = "e_cdctr"
    # Number of the version that is exported; None: the day, as YYYYMMDD.
    version: int | None = None
    # How many of the newest exported versions stay; 0: all.
    keep_versions: int = 0
    # Interpreters with other versions of TensorFlow, for "verify".
    pythons: tuple[str, ...] = ()
    # What "explain" tells the family of.
    path: pathlib.Path | None = None
    # The file with the ids that "erase" erases.
    users: pathlib.Path | None = None
    # On how many newest days ids came up that "expire" leaves.
    unseen_days: int = 0
    # Whether a version is published that the gate would refuse.
    force_publish: bool = False
    # Where the gauges for Prometheus are written; None: inside the workdir.
    metrics_file: pathlib.Path | None = None
    # The date of "auto", of which nothing is read yet; empty: today.
    date: str = ""
    # Whether "auto", "clean", "erase" and "expire" only say what they would do.
    dry_run: bool = False
    # What this process does of the stage, beside others.
    role: roles.Role = roles.Role(roles.NONE)
    # The processes that take the steps; None: this one.
    cluster: level_lib.Cluster | None = None

    def runs(self) -> list[tuple[Workdir, configs.Config]]:
        """Return the work directory and the config of each seed."""
        if not self.seeds:
            return [(Workdir(self.workdir), self.config)]
        return [
            (
                Workdir(self.workdir / f"seed-{seed}"),
                dataclasses.replace(self.config, seed=seed),
            )
            for seed in self.seeds
        ]

    def levels(
        self, data: DataDirectory, kind: str
    ) -> Iterator[level_lib.Level]:
        """Yield the level of each seed and model that has one of the kind.

        Args:
          data: the data directory.
          kind: "snapshot", "cpm" or "ctr".
        """
        models = ("e_cdctr",) if kind == artefacts.TPM else self.models
        seen = set()
        for run_dir, config in self.runs():
            for row in model_table.chosen(models):
                if kind == artefacts.CPM and not row.has_cpm:
                    continue
                own = configs.of_model(config, row)
                places = run_dir.of_model(row, config, own)
                level = level_lib.Level(
                    data, places, own, row, kind, cluster=self.cluster
                )
                if level.directory not in seen:
                    # A CPM may be read by several models.
                    seen.add(level.directory)
                    yield level

    def histories(self, data: DataDirectory) -> dict[Workdir, configs.Config]:
        """Return where historical versions are published, and by what config.

        Args:
          data: the data directory.
        """
        places = dict(self.runs())
        for level in self.levels(data, artefacts.CTR):
            if level.run.history_of:
                places[level.run] = level.config
        return places

    @property
    def exported_model(self) -> str:
        """The model that is exported: E-CDCTR, or the first one asked for."""
        return "e_cdctr" if "e_cdctr" in self.models else self.models[0]

    @property
    def export_place(self) -> pathlib.Path:
        """Where versions are exported to."""
        return self.export_dir or self.workdir / "export"

    def export(self, artefact: pathlib.Path) -> str:
        """Export a day of an A-CTR as the request asks for it.

        Returns:
          What was done, in sentences.

        Raises:
          RefusedError, FileNotFoundError, ValueError: as `export.publish`.
        """
        return export.publish(
            artefact,
            self.data_dir,
            self.export_place,
            self.version,
            self.keep_versions,
            self.config.serving,
            bounds=self.config.gate,
            force=self.force_publish,
        )
