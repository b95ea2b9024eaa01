r"""Training against peers, on the CPU.

```
python -m benchmarks.training --runs=5 --json=training.json
```

The model of all: 20 features of width 16 on tables of 10 M rows in total,
batch norm of the inputs, MLP 256-128-64 with batch norm and ReLU, one logit.
This project trains from files on disk, through `fit`, with exact row-wise
Adagrad for the tables; so does fbgemm, from memory. The others have the Adam
that their own examples use.

Keys: `over_fbgemm_fp32`, `over_fbgemm_bf16`, `over_keras_adam`,
`over_deepctr`, `over_torch_peer` (torch-rechub), each the smaller one of batch
1024 and 4096; and each of both, as `over_fbgemm_fp32_1024`.
"""

from absl import flags

from benchmarks import comparison, harness

# A step of those that move all moments takes most of a second.
_SLOW = 16_384
PEERS = {
    "fbgemm": comparison.Peer(
        "benchmarks.peers.fbgemm",
        rows=524_288,
        environment="torch",
        precisions=("fp32", "bf16"),
        settings={"device": "cpu", "package": "fbgemm_gpu-cpu"},
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
