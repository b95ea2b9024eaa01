"""The work directory: where each level publishes and finds what it needs."""

import dataclasses
import pathlib

from ecdctr_tf import config as configs
from ecdctr_tf import store

# Config that may change between runs on one work directory: new days arrive,
# and what is trained is looked at in another way.
_MAY_CHANGE = ("schedule", "forgetting")


@dataclasses.dataclass(frozen=True)
class Workdir:
    """Paths of a run's artefacts; see ARCHITECTURE.md for the layout."""

    path: pathlib.Path

    @property
    def tpm(self) -> pathlib.Path:
        """Where the TPM publishes its dated snapshots."""
        return self.path / "tpm"

    @property
    def historical(self) -> pathlib.Path:
        """Where aggregation publishes historical tables."""
        return self.path / "historical"

    def cpm(self, model: str) -> pathlib.Path:
        """Where the CPM of a model publishes."""
        return self.path / model / "cpm"

    def ctr(self, model: str) -> pathlib.Path:
        """Where the A-CTR of a model publishes its days."""
        return self.path / model / "ctr"

    def progress(self, *names: str) -> pathlib.Path:
        """Where the resumable state of a window under way is kept."""
        return self.path.joinpath(".progress", *names)

    def tensorboard(self, *names: str) -> pathlib.Path:
        """Where TensorBoard scalars are written."""
        return self.path.joinpath("tensorboard", *names)

    def open(self, config: configs.Config) -> None:
        """Take up a run: keep its config, or compare it with the one kept.

        Raises:
          ValueError: the run was begun with another config, or that one
            cannot be read.
        """
        file = self.path / "config.json"
        if not file.exists():
            store.write_text(file, config.to_json())
            return
        try:
            kept = dataclasses.asdict(configs.Config.from_json(file))
        except ValueError as error:
            raise ValueError(
                f"The config that {self.path} was begun with cannot be read: "
                f"{error}. Put back the config.json of one of its artefacts, "
                "or use another --workdir."
            ) from error
        differing = sorted(
            f"{name}.{field}" if field else name
            for name, value in dataclasses.asdict(config).items()
            if name not in _MAY_CHANGE
            for field in (value if isinstance(value, dict) else [""])
            if (value[field] if field else value)
            != (kept[name][field] if field else kept[name])
        )
        if differing:
            raise ValueError(
                f"{self.path} was begun with another config; these fields "
                f"differ: {', '.join(differing)}. Use another --workdir, or "
                "set them as they were."
            )
        store.write_text(file, config.to_json())


def newest_before(directory: pathlib.Path, day: str) -> pathlib.Path | None:
    """Return the newest dated artefact of before a day, if there is one."""
    days = [name for name in store.dated(directory) if name < day]
    return directory / days[-1] if days else None
