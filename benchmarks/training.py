r"""Training against peers, on the CPU.

```
python -m benchmarks.training --runs=5 --json=training.json
```

The model of all: 20 features of width 16 on tables of 10 M rows in total,
batch norm of the inputs, MLP 256-128-64 with batch norm and ReLU, one logit.
This project trains from files on disk, through `fit`, with exact row-wise
Adagrad for the tables; so does fbgemm, from memory. The others have the Adam
that their own examples use. With lazy Adam, its default, this project is
compared with its own row-wise Adagrad and with that of fbgemm, whose Adam for
tables needs a GPU.

Keys: `over_fbgemm_fp32`, `over_fbgemm_bf16`, `over_keras_adam`,
`over_deepctr`, `over_torch_peer` (torch-rechub), and with lazy Adam
`over_row_wise_adagrad_by_lazy_adam` and `over_fbgemm_by_lazy_adam`; each the
smaller one of batch 1024 and 4096; and each of both, as
`over_fbgemm_fp32_1024`.
"""

from absl import flags

from benchmarks import comparison, harness

# A step of those that move all moments takes most of a second.
_SLOW = 16_384
_ON_CPU = {"device": "cpu", "package": "fbgemm_gpu-cpu"}
PEERS = {
    "fbgemm": comparison.Peer(
        "benchmarks.peers.fbgemm",
        rows=524_288,
        environment="torch",
        precisions=("fp32", "bf16"),
        settings=_ON_CPU,
    ),
    "fbgemm_by_lazy_adam": comparison.Peer(
        "benchmarks.peers.fbgemm",
        rows=524_288,
        environment="torch",
        optimizer="lazy_adam",
        settings=_ON_CPU,
    ),
    "row_wise_adagrad_by_lazy_adam": comparison.Peer(
        "benchmarks.ours",
        rows=0,  # It has a fixed number of rows.
        optimizer="lazy_adam",
        settings={"table_optimizer": "row_wise_adagrad"},
    ),
    "keras_adam": comparison.Peer("benchmarks.keras_adam", _SLOW),
    "deepctr": comparison.Peer("benchmarks.peers.deepctr", _SLOW, "deepctr"),
    "torch_peer": comparison.Peer("benchmarks.peers.rechub", _SLOW, "torch"),
}
_PEERS = flags.DEFINE_multi_enum(
    "peer", list(PEERS), list(PEERS), "Compare with this one. Repeatable."
)


def main() -> None:
    """Compare with each peer; report."""
    peers = {name: PEERS[name] for name in _PEERS.value}
    comparison.report("Training, rows/s", "training", peers, comparison.CPU)


if __name__ == "__main__":
    harness.run(main)
