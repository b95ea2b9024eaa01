"""Work directories of many runs that train once what they have in common."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping

from ecdctr_tf import config as configs
from ecdctr_tf import model_table
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import schedule, workdir


@dataclasses.dataclass(frozen=True)
class SharedWorkdir(workdir.Workdir):
    """A run's own directory, and those of the levels that others use too."""

    tpm_dir: pathlib.Path
    historical_dir: pathlib.Path
    cpm_dir: pathlib.Path
    # Of a mixture's experts: name -> where its days are.
    experts: Mapping[str, pathlib.Path] = dataclasses.field(
        default_factory=dict
    )

    @property
    def tpm(self) -> pathlib.Path:
        """Where the TPM publishes its dated snapshots."""
        return self.tpm_dir

    @property
    def historical(self) -> pathlib.Path:
        """Where aggregation publishes historical tables."""
        return self.historical_dir

    def cpm(self, model: str) -> pathlib.Path:
        """Where the CPM publishes; models of one CPM share it."""
        del model
        return self.cpm_dir

    def ctr(self, model: str) -> pathlib.Path:
        """Where the A-CTR of a model publishes its days, an expert's too."""
        return self.experts.get(model) or super().ctr(model)

    def _beside(self, name: str, kind: str, model: str) -> pathlib.Path:
        """Return a place for a level beside its artefacts.

        Levels that are shared keep theirs together.
        """
        return self.level(kind, model) / f".{name.lstrip('.')}"


def workdir_of(
    root: pathlib.Path,
    data: DataDirectory,
    config: configs.Config,
    row: model_table.ModelRow,
    experts: Mapping[str, pathlib.Path] | None = None,
) -> SharedWorkdir:
    """Return the work directory of a run.

    Two runs share a level if all that its weights depend on is equal. The last
    scored day is no part of it: a run can be made longer.

    Args:
      root: directory of all runs.
      data: the data directory.
      config: the config of the run.
      row: the model.
      experts: of a mixture, name of each expert -> where its days are.
    """
    plan = schedule.plan(data, config.schedule)
    of = {field: _plain(config, field) for field in _FIELDS}
    aggregated = dict(of["history"])
    # What the levels do with the tables, not what the tables are.
    del aggregated["start_tables"]
    dropout = aggregated.pop("dropout")
    # Runs that ask for nothing of sources keep the keys that they have.
    sources = _plain(config, "sources")
    asked = [sources] if any(sources.values()) else []
    tpm = [
        *asked,
        config.seed,
        of["tpm_model"],
        of["tpm"],
        plan.tpm[0].first,
        # Windows are cut at the first scored day, if not at a given last one.
        config.schedule.tpm_last or plan.ctr[0].first,
        config.schedule.tpm_days,
    ]
    historical = [tpm, aggregated]
    network = [
        config.seed,
        of["model"],
        [tpm, config.history.lag] if config.history.starts_tables else None,
        [historical, dropout] if config.model.history else None,
    ]
    cpm = [
        *asked,
        network,
        of["cpm"],
        str(plan.cpm[0]),
        config.schedule.cpm_every,
    ]
    own = [
        *(asked if row.origin == model_table.BOTH_DOMAINS else []),
        row.base,
        network,
        cpm if row.has_cpm else None,
        of["warm_start"],
        of["ctr"],
        plan.ctr[0].first,
        config.schedule.cpm_days,
        config.schedule.ctr_days,
        config.schedule.catch_up_days,
    ]
    if experts:
        names = (str(path.relative_to(root)) for path in experts.values())
        own.append(sorted(names))
    return SharedWorkdir(
        root / "runs" / f"{row.base}-{_key(own)}",
        root / "tpm" / _key(tpm),
        root / "history" / _key(historical) / "historical",
        root / "cpm" / _key(cpm),
        experts or {},
    )


_FIELDS = (
    "model",
    "tpm_model",
    "tpm",
    "cpm",
    "ctr",
    "history",
    "warm_start",
)


def _plain(config: configs.Config, field: str) -> dict:
    return dataclasses.asdict(getattr(config, field))


def _key(values: list) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
