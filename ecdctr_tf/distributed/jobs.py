"""What a window is made of, for processes that are not the chief.

The chief writes one job after the other to `<workdir>/.cluster`: the level, its
days, and the values of its variables as the window begins or goes on.
"""

import dataclasses
import pathlib
import shutil
import time
import typing

from ecdctr_tf import artefacts, features, model_table, store, windows
from ecdctr_tf.distributed import copies
from ecdctr_tf.input import time_parts
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import fit
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint, warm_start

DIRECTORY = ".cluster"
_KIND = "job"
_SHOWN_WITHIN_SECONDS = 60
_STATE, _HISTORY = "state", "history"


@dataclasses.dataclass(frozen=True)
class Window:
    """The rows of a window that are to be trained on."""

    # As for `Level.fit`.
    parts: dict[str, windows.Window]
    part: time_parts.Part | None
    # Steps that were taken before.
    step: int

    def to_dict(self) -> dict:
        """Return the window as JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, typing.Any]) -> "Window":
        """Return the window of `to_dict`."""
        part = values["part"]
        return cls(
            {
                name: windows.Window(**of)
                for name, of in values["parts"].items()
            },
            part and time_parts.Part(**part),
            values["step"],
        )


class Jobs:
    """The jobs of a chief, of which the newest is kept.

    Args:
      workdir: the work directory.
    """

    def __init__(self, workdir: pathlib.Path):
        """Keep the place."""
        self._workdir = workdir
        self._place = workdir / DIRECTORY
        self._written = 0

    def write(self, level: Level, window: Window, anew: bool) -> int:
        """Write a job; return its number.

        Args:
          level: the level.
          window: what it is to be trained on.
          anew: whether its model was built since the job before.
        """
        if not self._written:
            self.clear()  # What a killed chief left.
        self._written += 1
        path = self._path(self._written)
        manifest = store.Manifest(
            kind=_KIND,
            config={
                "kind": level.kind,
                "model": level.row.name,
                "table_rows": level.table_rows,
                "capacities": level.model.embedding.capacities,
                "batch_size": level.batch_size,
                "window": window.to_dict(),
                "anew": anew,
            },
        )
        arrays = {
            f"{table}/{name}": array
            for table, arguments in copies.history(level.model).items()
            for name, array in arguments.items()
        }
        with store.publish(path, manifest) as staging:
            store.write_text(staging / artefacts.CONFIG, level.config.to_json())
            level.spec.save(staging / artefacts.SPEC)
            variables = fit.state_variables(level.model)
            checkpoint.write(staging / _STATE, variables)
            if arrays:
                checkpoint.write(staging / _HISTORY, arrays)
        older = self._path(self._written - 1)
        if older.exists():
            store.remove(older)
        return self._written

    def read(
        self, number: int, data_dir: pathlib.Path, before: Level | None
    ) -> tuple[Level, Window, bool]:
        """Return the level of a job, as the chief has it, and the window.

        Args:
          number: of the job.
          data_dir: the data directory.
          before: the level of the job before; it goes on with its model, if
            the chief does.

        Returns:
          The level, the window, and whether the model was built anew.
        """
        path = self._path(number)
        _wait_for(path)
        manifest = store.verify(path, _KIND)
        noted = manifest.config
        tables = {}
        if f"{_HISTORY}.index" in manifest.files:
            arrays = checkpoint.read(path / _HISTORY)
            tables = artefacts.historical_tables(arrays)
        if before is None or noted["anew"]:
            config = artefacts.read_config(path, _KIND)
            level = Level(
                DataDirectory(data_dir, config.input.damaged),
                Workdir(self._workdir),
                config,
                model_table.model(noted["model"]),
                noted["kind"],
                features.DataSpec.load(store.file(path, _KIND, artefacts.SPEC)),
            )
            level.batch_size = noted["batch_size"]
            level.table_rows = noted["table_rows"]
            level.model = level.make(noted["capacities"], tables)
        else:
            level = before
            level.grow(noted["table_rows"])
            for name, table in tables.items():
                level.model.history_tables[name].assign(table)
        warm_start.restore(
            fit.state_variables(level.model),
            checkpoint.read(path / _STATE),
            str(path / _STATE),
        )
        return level, Window.from_dict(noted["window"]), noted["anew"]

    def clear(self) -> None:
        """Remove all jobs."""
        shutil.rmtree(self._place, ignore_errors=True)

    def _path(self, number: int) -> pathlib.Path:
        return self._place / f"{number:09d}"


def _wait_for(path: pathlib.Path) -> None:
    """Wait until a file system shows what another machine has written."""
    end = time.monotonic() + _SHOWN_WITHIN_SECONDS
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.1)
