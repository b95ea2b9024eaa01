"""PyTorch with table-batched embeddings of fbgemm_gpu, fed from memory.

A process of `benchmarks.worker.Worker` in an environment of its own. Settings:
`arrays` (a directory of `world.write_arrays`), `table_rows`, `batch_size`,
`precision` ("float32" or "bfloat16"), `steps` and `device` ("cpu", "cuda").

Shapes: B batch, F features, D embedding width.
"""

import time

import numpy as np
import torch
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import (
    EmbeddingLocation,
    PoolingMode,
)
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    ComputeDevice,
    SplitTableBatchedEmbeddingBagsCodegen,
)

from benchmarks import worker
from benchmarks.peers import UNITS, WIDTH, rows


def tables(features: int, table_rows: int, device: str):
    """Return one table a feature, with exact row-wise Adagrad."""
    cuda = device == "cuda"
    place = EmbeddingLocation.DEVICE if cuda else EmbeddingLocation.HOST
    compute = ComputeDevice.CUDA if cuda else ComputeDevice.CPU
    embeddings = SplitTableBatchedEmbeddingBagsCodegen(
        [(table_rows, WIDTH, place, compute)] * features,
        optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        learning_rate=0.01,
        eps=1e-8,
        pooling_mode=PoolingMode.SUM,
    )
    embeddings.init_embedding_weights_uniform(-0.05, 0.05)
    return embeddings


def network(features: int) -> torch.nn.Module:
    """Return what reads the embeddings: batch norm, then the MLP."""
    width = features * WIDTH
    layers = [torch.nn.BatchNorm1d(width)]
    for units in UNITS:
        layers.append(torch.nn.Linear(width, units, bias=False))
        layers.append(torch.nn.BatchNorm1d(units))
        layers.append(torch.nn.ReLU())
        width = units
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))


def batches(settings: dict, device: str) -> list[tuple]:
    """Return `steps` batches: ids, int64 `[F * B]`, and clicks `[B]`."""
    ids, clicks = rows.load(settings["arrays"])
    size = settings["batch_size"]
    found = []
    for step in range(settings["steps"]):
        part = slice(step * size, (step + 1) * size)
        of_table = np.ascontiguousarray(ids[part].T).ravel()
        found.append(
            (
                torch.from_numpy(of_table.astype(np.int64)).to(device),
                torch.from_numpy(clicks[part]).to(device),
            )
        )
    return found


def make():
    """Build the model, go through the batches; return how to measure."""
    settings = worker.settings()
    device, size = settings["device"], settings["batch_size"]
    data = batches(settings, device)
    features = len(data[0][0]) // size
    embeddings = tables(features, settings["table_rows"], device)
    dense = network(features).to(device)
    optimizer = torch.optim.Adam(dense.parameters(), 2e-3, fused=True)
    loss_of = torch.nn.BCEWithLogitsLoss()
    offsets = torch.arange(features * size + 1, device=device)
    reduced = settings["precision"] == "bfloat16"

    def step(ids: torch.Tensor, clicks: torch.Tensor) -> None:
        embedded = embeddings(ids, offsets)  # [B, F * D]
        with torch.autocast(device, torch.bfloat16, enabled=reduced):
            logits = dense(embedded)[:, 0]  # [B]
        loss = loss_of(logits.float(), clicks)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def measure() -> float:
        began = time.perf_counter()
        for ids, clicks in data:
            step(ids, clicks)
        if device == "cuda":
            torch.cuda.synchronize()
        return len(data) * size / (time.perf_counter() - began)

    measure()
    return measure


if __name__ == "__main__":
    worker.serve(make, ["torch", worker.settings()["package"]])
