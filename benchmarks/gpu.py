r"""Training against peers, on a GPU; skipped where TensorFlow sees none.

```
python -m benchmarks.gpu --runs=5 --json=gpu.json
```

The model and the keys are those of `benchmarks.training`, of the peers
`fbgemm` and `keras_adam`.
"""

import json

import tensorflow as tf

from benchmarks import comparison, harness
from ecdctr_tf import store

PEERS = {
    "fbgemm": comparison.Peer(
        "benchmarks.peers.fbgemm",
        rows=524_288,
        environment="torch_cuda",
        precisions=("fp32", "bf16"),
        settings={"device": "cuda", "package": "fbgemm_gpu"},
    ),
    "keras_adam": comparison.Peer("benchmarks.keras_adam", 262_144),
}


def main() -> None:
    """Compare with each peer and report, or say why not."""
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        _skip("TensorFlow sees no GPU; BUILD.md says what it needs.")
        return
    details = tf.config.experimental.get_device_details(devices[0])
    comparison.report(
        "Training on a GPU, rows/s",
        "gpu",
        PEERS,
        comparison.GPU,
        (f"GPU: {details.get('device_name', 'unknown')}",),
    )


def _skip(reason: str) -> None:
    print(f"skipped: {reason}")
    if harness.JSON.value is not None:
        text = json.dumps({"skipped": reason}) + "\n"
        store.write_text(harness.JSON.value, text)


if __name__ == "__main__":
    harness.run(main)
