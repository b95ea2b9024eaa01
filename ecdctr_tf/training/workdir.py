"""The work directory: where each level publishes and finds what it needs."""

import dataclasses
import pathlib
from collections.abc import Collection

from ecdctr_tf import artefacts, model_table, store, windows
from ecdctr_tf import config as configs
from ecdctr_tf.transfer import historical

# In a directory of artefacts, the newest day that `--stage=clean` deleted.
CLEANED = ".cleaned"
# The newest day that was published there.
NEWEST = ".newest"


@dataclasses.dataclass(frozen=True)
class Workdir:
    """Places of artefacts; see ARCHITECTURE.md for the layout."""

    path: pathlib.Path
    # The model that has historical tables of its own; empty: E-CDCTR's.
    history_of: str = dataclasses.field(default="", kw_only=True)

    def of_model(
        self,
        row: model_table.ModelRow,
        config: configs.Config,
        own: configs.Config,
    ) -> "Workdir":
        """Return the places of a model, beside those of E-CDCTR.

        Args:
          row: the model.
          config: the config of E-CDCTR.
          own: the config of the model.
        """
        kinds = [historical.settings(c.history) for c in (config, own)]
        if not own.model.history or kinds[0] == kinds[1]:
            return self
        return dataclasses.replace(self, history_of=row.base)

    @property
    def config_file(self) -> pathlib.Path:
        """Where the config of the last command that succeeded is kept."""
        return self.path / "config.json"

    def kept_config(self) -> configs.Config | None:
        """Return the config of the last command that succeeded, if it is there.

        Raises:
          ValueError: it is damaged.
        """
        if not self.config_file.exists():
            return None
        try:
            return configs.Config.from_json(self.config_file)
        except ValueError as error:
            raise ValueError(
                f"{str(error).rstrip('.')}. Delete it: the next command that "
                "succeeds writes it anew."
            ) from error

    @property
    def tpm(self) -> pathlib.Path:
        """Where the TPM publishes its dated snapshots."""
        return self.path / "tpm"

    @property
    def historical(self) -> pathlib.Path:
        """Where aggregation publishes historical tables."""
        return self.path / self.history_of / "historical"

    def cpm(self, model: str) -> pathlib.Path:
        """Where the CPM publishes that a model reads."""
        return self.path / (model_table.model(model).cpm_of or model) / "cpm"

    def ctr(self, model: str) -> pathlib.Path:
        """Where the A-CTR of a model publishes its days."""
        return self.path / model / "ctr"

    def launch(self, model: str) -> pathlib.Path:
        """Where an A-CTR is published that has seen no ads yet."""
        return self.path / model / "launch"

    def level(self, kind: str, model: str) -> pathlib.Path:
        """Where a level publishes: "snapshot", "cpm" or "ctr"."""
        if kind == artefacts.TPM:
            return self.tpm
        return self.cpm(model) if kind == artefacts.CPM else self.ctr(model)

    def levels(self) -> dict[tuple[str, str], pathlib.Path]:
        """Return where artefacts are published, by level and model.

        The model is empty for what models share; whether anything is there yet
        is not looked at.
        """
        found = {("tpm", ""): self.tpm, ("historical", ""): self.historical}
        for name, row in model_table.MODELS.items():
            own = dataclasses.replace(self, history_of=name)
            found["historical", name] = own.historical
            if row.has_cpm and not row.cpm_of:
                found["cpm", name] = self.cpm(name)
            found["ctr", name] = self.ctr(name)
        return found

    def progress(self, kind: str, model: str) -> pathlib.Path:
        """Where a level keeps the resumable states of its windows."""
        return self._beside(".progress", kind, model)

    def tensorboard(self, kind: str, model: str, window: str) -> pathlib.Path:
        """Where a level writes the scalars of a window for TensorBoard."""
        return self._beside("tensorboard", kind, model) / window

    def _beside(self, name: str, kind: str, model: str) -> pathlib.Path:
        level = self.level(kind, model)
        return self.path / name / level.relative_to(self.path)


def cleaned(directory: pathlib.Path) -> str:
    """Return the newest day that `--stage=clean` deleted; "" for none.

    Of the days up to it, those that are not there are not missing.
    """
    return _noted(directory / CLEANED)


def newest(directory: pathlib.Path) -> str:
    """Return the newest day that a level ever published; "" for none."""
    return _noted(directory / NEWEST)


def _noted(file: pathlib.Path) -> str:
    """Return the day that a file holds; "" where there is none."""
    if not file.exists():
        return ""
    found = file.read_bytes().decode(errors="replace")
    if not windows.is_day(found):
        raise ValueError(
            f"{file} should hold a day. Received: {found[:40]!r}. Put it back, "
            "or delete it: then nobody knows of days that were deleted."
        )
    return found


def note_cleaned(directory: pathlib.Path, days: Collection[str]) -> None:
    """Note that days of a directory are about to be deleted."""
    newest = max(days, default="")
    if newest > cleaned(directory):
        store.write_text(directory / CLEANED, newest)


def newest_before(directory: pathlib.Path, day: str) -> pathlib.Path | None:
    """Return the newest dated artefact from before a day, if there is one."""
    days = [name for name in store.dated(directory) if name < day]
    return directory / days[-1] if days else None
