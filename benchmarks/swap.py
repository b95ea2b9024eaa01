r"""The first call after a swap of versions, with and without warm-up.

```
python -m benchmarks.swap --swaps=7 --json=swap.json
```

The development server, in a process of its own, goes from version to version;
as soon as one answers, it is sent one user with 200 items and 50 clicks, over
gRPC, and then the same again 30 times. The network is that of
`benchmarks.serving`, with two heads. What the real server does besides, such as
batching, is not measured.

Keys, of `rank` and of `serving_default`: `rank_first_over_steady` and so on,
the first call over the median of the later ones, median over the swaps;
`rank_first_over_steady_cold` without the replay of warm-up requests.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import grpc
import numpy as np
import tensorflow as tf
from absl import flags
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from benchmarks import harness, serving
from ecdctr_tf.export import warm_up
from ecdctr_tf.input import id_space

SWAPS = flags.DEFINE_integer("swaps", 7, "Swaps of each way.", lower_bound=3)
ITEMS, CLICKS, STEADY = 200, 50, 30


def main() -> None:
    """Measure both ways; report."""
    times: dict[str, harness.Median] = {}
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        requests = write(place / "made")
        for warm in (True, False):
            ending = "" if warm else "_cold"
            for signature, calls in swaps(place, requests, warm).items():
                first, steady = calls[:, 0], np.median(calls[:, 1:], axis=1)
                times[f"{signature}, first call{ending}"] = harness.Median(
                    first * 1e6
                )
                times[f"{signature}, later calls{ending}"] = harness.Median(
                    steady * 1e6
                )
                key = f"{signature}_first_over_steady{ending}"
                ratios[key] = float(np.median(first / steady))
    harness.report(
        "After a swap, microseconds",
        times,
        ratios,
        f"python -m benchmarks.swap --swaps={SWAPS.value}",
        harness.JSON.value,
    )


def write(directory: pathlib.Path) -> list[predict_pb2.PredictRequest]:
    """Write the SavedModel with its warm-up; return what is asked."""
    ours = serving.model(heads=2)
    places = serving.write(ours, directory)
    spaces = {table.name: id_space.new(table) for table in ours.spec.tables}
    for name, space in spaces.items():
        space.append(np.arange(serving.TABLES[name] - 1) + 1)
    warm_up.write(places["ours"], ours.spec, spaces, list(ours.historical))
    asked = []
    for way in serving.requests(places, ours, ITEMS, CLICKS):
        if way.name not in (serving.RANK, serving.DEFAULT):
            continue
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "ctr"
        request.model_spec.signature_name = way.signature
        for name, values in way.inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        asked.append(request)
    return asked


def swaps(
    place: pathlib.Path, requests: list[predict_pb2.PredictRequest], warm: bool
) -> dict[str, np.ndarray]:
    """Return the seconds of calls after each swap, by signature.

    Args:
      place: where the SavedModel is, as `made/ours`.
      requests: one of each signature.
      warm: whether the server replays the warm-up requests.

    Returns:
      float64 `[swaps, 1 + STEADY]`; the calls in order.
    """
    base_path = place / f"export-{warm}"
    seconds: dict[str, list] = {}
    publish(place, base_path, 1)
    with server(base_path, warm) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        # Its first swap is not measured: the client warms up, too.
        for number in range(1, 2 + SWAPS.value):
            if number > 1:
                publish(place, base_path, number)
            wait_for(channel, number)
            for request in requests:
                times = [call(stub, request) for _ in range(1 + STEADY)]
                if number > 1:
                    name = request.model_spec.signature_name
                    seconds.setdefault(name, []).append(times)
    return {name: np.array(times) for name, times in seconds.items()}


def publish(place: pathlib.Path, base_path: pathlib.Path, number: int) -> None:
    """Make the SavedModel a version, which appears as a whole."""
    base_path.mkdir(exist_ok=True)
    shutil.copytree(place / "made" / "ours", base_path / ".staging")
    os.rename(base_path / ".staging", base_path / str(number))


def call(stub, request: predict_pb2.PredictRequest) -> float:
    """Return the seconds of a call."""
    began = time.perf_counter()
    stub.Predict(request)
    return time.perf_counter() - began


def wait_for(channel: grpc.Channel, number: int) -> None:
    """Wait until a version answers."""
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "ctr"
    while True:
        for entry in stub.GetModelStatus(request).model_version_status:
            if entry.version == number and entry.state == entry.AVAILABLE:
                return
        time.sleep(0.001)


@contextlib.contextmanager
def server(base_path: pathlib.Path, warm: bool) -> Iterator[grpc.Channel]:
    """Serve a directory of versions inside a `with` block."""
    command = [
        sys.executable,
        "-m",
        "ecdctr_tf.export.server",
        f"--model_base_path={base_path}",
        "--port=0",
        "--rest_api_port=0",
        "--file_system_poll_wait_seconds=0.01",
        f"--enable_model_warmup={str(warm).lower()}",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            text = ""
            while "gRPC port" not in text:
                text = process.stdout.readline()
                if not text:
                    raise RuntimeError("The server did not start.")
            port = re.search(r"gRPC port (\d+)", text)[1]
            with grpc.insecure_channel(f"localhost:{port}") as channel:
                yield channel
        finally:
            process.terminate()


if __name__ == "__main__":
    harness.run(main)
