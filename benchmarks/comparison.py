"""This project against its peers: same model, data, batch and precision.

Each peer takes turns with a process of this project's own training path.
"""

import dataclasses
import pathlib
import tempfile

from benchmarks import harness, worker, world
from benchmarks.peers import environments

ROWS = 10_000_000
BATCH_SIZES = (1024, 4096)
# Name in a key -> name of `TrainingConfig.precision`.
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
# Variables of the processes of a comparison.
CPU = {"CUDA_VISIBLE_DEVICES": "-1"}
GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}


@dataclasses.dataclass(frozen=True)
class Peer:
    """What is compared with."""

    # The module that measures it, for `worker.Worker`.
    module: str
    # Rows of a measurement: some seconds.
    rows: int
    # A name of `environments.python`; "" is the environment of this project.
    environment: str = ""
    # Keys of `PRECISIONS`; with several, they are in the names of the ratios.
    precisions: tuple[str, ...] = ("fp32",)
    # Optimizer of this project's tables: what is closest to the peer's.
    optimizer: str = "row_wise_adagrad"
    # Settings of the module beside those that all have.
    settings: dict = dataclasses.field(default_factory=dict)


def report(
    title: str,
    module: str,
    peers: dict[str, Peer],
    variables: dict[str, str],
    notes: tuple[str, ...] = (),
) -> None:
    """Compare with peers in turn; report.

    Args:
      title: of the table.
      module: name of the benchmark's module, "training".
      peers: name in a key -> peer.
      variables: `CPU` or `GPU`.
      notes: as for `harness.report`, before those of the comparison.
    """
    with tempfile.TemporaryDirectory() as directory:
        found = Comparison(
            pathlib.Path(directory), variables, harness.RUNS.value
        )
        for name, peer in peers.items():
            found.add(name, peer)
    harness.report(
        title,
        found.rates,
        found.ratios,
        harness.command(module),
        harness.JSON.value,
        found.versions,
        [*notes, *found.notes],
    )


class Comparison:
    """What was measured so far: the arguments of `harness.report`.

    Args:
      directory: gets the rows, as the data directory `data` and as arrays.
      variables: `CPU` or `GPU`.
      runs: as for `harness.alternate`.
    """

    def __init__(
        self, directory: pathlib.Path, variables: dict[str, str], runs: int
    ):
        """Write the rows."""
        data = world.write(directory / "data", ROWS)
        world.write_arrays(data, directory)
        self._directory = directory
        self._variables = variables
        self._runs = runs
        self.rates: dict[str, float] = {}
        self.ratios: dict[str, float] = {}
        self.versions: dict[str, str] = {}
        self.notes: list[str] = []

    def add(self, name: str, peer: Peer) -> None:
        """Measure against a peer.

        The ratios are `over_<name>`, the smallest of all batch sizes, and
        `over_<name>_<batch size>`. A peer that does not run leaves a note.
        """
        for precision in peer.precisions:
            several = len(peer.precisions) > 1
            label = f"{name}_{precision}" if several else name
            found = {}
            for size in BATCH_SIZES:
                with self._ours(peer, precision, size) as ours:
                    try:
                        rates = self._rates(ours, peer, precision, size)
                    except RuntimeError as error:
                        self._note(f"{label} did not run", error)
                        break
                self.rates[f"{label}, batch {size}: ours"] = rates["ours"]
                self.rates[f"{label}, batch {size}: peer"] = rates["peer"]
                found[f"over_{label}_{size}"] = rates["ours"] / rates["peer"]
            else:
                self.ratios[f"over_{label}"] = min(found.values())
                self.ratios.update(found)

    def _rates(self, ours, peer, precision, size) -> dict[str, float]:
        """Return the rates of a process of this project and of a peer."""
        with self._peer(peer, precision, size) as other:
            self.versions.update(other.versions)
            ways = {"ours": ours.measure, "peer": other.measure}
            return harness.alternate(ways, self._runs)

    def _note(self, what: str, error: RuntimeError) -> None:
        reason = str(error).strip().splitlines()[-1]
        self.notes.append(f"{what}: {reason}")

    def _ours(self, peer: Peer, precision: str, size: int) -> worker.Worker:
        settings = {
            "data": str(self._directory / "data"),
            "batch_size": size,
            "table_optimizer": peer.optimizer,
            "precision": PRECISIONS[precision],
        }
        return worker.Worker(
            "benchmarks.ours", settings, environment=self._variables
        )

    def _peer(self, peer: Peer, precision: str, size: int) -> worker.Worker:
        settings = {
            "data": str(self._directory / "data"),
            "arrays": str(self._directory),
            "table_rows": ROWS // len(world.FEATURES),
            "batch_size": size,
            "steps": peer.rows // size,
            "precision": PRECISIONS[precision],
            **peer.settings,
        }
        if not peer.environment:
            return worker.Worker(
                peer.module, settings, environment=self._variables
            )
        python = environments.python(peer.environment)
        # `ecdctr_tf` asks for Keras 2 in a way that older releases of
        # TensorFlow, which have it anyway, do not understand.
        variables = {**self._variables, "TF_USE_LEGACY_KERAS": "0"}
        return worker.Worker(peer.module, settings, python, variables)
