"""torch-rechub, its layers, loader and trainer, as its examples use them.

A process of `benchmarks.worker.Worker` in an environment of its own. Settings:
`arrays` (a directory of `world.write_arrays`), `table_rows`, `batch_size` and
`steps`.
"""

import time

import torch
from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.layers import MLP, EmbeddingLayer
from torch_rechub.trainers import CTRTrainer
from torch_rechub.utils.data import DataGenerator

from benchmarks import worker
from benchmarks.peers import UNITS, WIDTH, rows


class Network(torch.nn.Module):
    """Embeddings, batch norm and MLP, made of the library's own layers."""

    def __init__(self, features: list):
        """Make the layers."""
        super().__init__()
        self.features = features
        self.embedding = EmbeddingLayer(features)
        self.norm = torch.nn.BatchNorm1d(len(features) * WIDTH)
        self.mlp = MLP(len(features) * WIDTH, dims=list(UNITS))

    def forward(self, inputs: dict) -> torch.Tensor:
        """Return click probabilities, `[B]`."""
        x = self.embedding(inputs, self.features, squeeze_dim=True)
        return torch.sigmoid(self.mlp(self.norm(x)).squeeze(1))


def make():
    """Build the model, train once; return the measuring function."""
    settings = worker.settings()
    count = settings["batch_size"] * settings["steps"]
    ids, clicks = rows.load(settings["arrays"])
    columns = {f"feature_{i}": ids[:count, i] for i in range(ids.shape[1])}
    features = [
        SparseFeature(name, settings["table_rows"], WIDTH) for name in columns
    ]
    trainer = CTRTrainer(Network(features), optimizer_params={"lr": 1e-3})
    generator = DataGenerator(columns, clicks[:count])
    # The last row stands in for the sets that are not used here.
    last = {name: column[-1:] for name, column in columns.items()}
    batches, _, _ = generator.generate_dataloader(
        x_val=last,
        y_val=clicks[-1:],
        x_test=last,
        y_test=clicks[-1:],
        batch_size=settings["batch_size"],
    )

    def measure() -> float:
        began = time.perf_counter()
        trainer.train_one_epoch(batches)
        return count / (time.perf_counter() - began)

    measure()
    return measure


if __name__ == "__main__":
    worker.serve(make, ["torch", "torch-rechub"])
