"""Config files of TensorFlow Serving, written beside the versions.

`models.config`: the newest version is the canary, the one before it stable; a
version that is alone is both. Clients that name no label get the newest. So a
version is tried as canary until the next one is there, and a rollback leaves
the stable one newest. `batching.config` and `monitoring.config` go with it.

All are written anew by each export and rollback; own settings belong in files
elsewhere.
"""

import pathlib
import re
from collections.abc import Sequence

from ecdctr_tf import store

MODELS = "models.config"
BATCHING = "batching.config"
MONITORING = "monitoring.config"
FILES = (MODELS, BATCHING, MONITORING)
# What clients call the model, and where servers find its versions.
NAME, BASE_PATH = "ctr", "/models/ctr"

_MODELS = """\
# Written by each export and rollback.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "{base_path}"
    model_platform: "tensorflow"
    model_version_policy {{ specific {{ {versions} }} }}
    version_labels {{ key: "stable" value: {stable} }}
    version_labels {{ key: "canary" value: {canary} }}
  }}
}}
"""
_BATCHING = """\
# Written by each export. Leave pad_variable_length_inputs out: it fills short
# lists with their own first entry, which is no padding.
max_batch_size {{ value: {largest} }}
batch_timeout_micros {{ value: 1000 }}
max_enqueued_batches {{ value: 100 }}
"""
_MONITORING = """\
# Written by each export. Needs --rest_api_port.
prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }
"""
# Rows of a batch at least, however few a request has.
_BATCH = 1024


def write(
    export_dir: pathlib.Path,
    versions: Sequence[int],
    candidates: Sequence[int] = (),
) -> None:
    """Write the files.

    Args:
      export_dir: the base path of the served model.
      versions: those that servers should know, in order; without any, nothing
        is written.
      candidates: rows of the requests of clients; without any, only
        `models.config` is written.
    """
    if not versions:
        return
    stable, canary = (versions[-1], *versions)[-2:]
    served = sorted({stable, canary})
    text = _MODELS.format(
        name=NAME,
        base_path=BASE_PATH,
        versions=" ".join(f"versions: {number}" for number in served),
        stable=stable,
        canary=canary,
    )
    store.write_text(export_dir / MODELS, text)
    if candidates:
        largest = max(_BATCH, *candidates)
        text = _BATCHING.format(largest=largest)
        store.write_text(export_dir / BATCHING, text)
        store.write_text(export_dir / MONITORING, _MONITORING)


def check(export_dir: pathlib.Path) -> None:
    """Make sure that the files are as exports write them.

    Raises:
      ValueError: one is missing or says something else.
    """
    number = r"\d+"
    version = f"versions: {number}"
    models = _pattern(
        _MODELS,
        name=NAME,
        base_path=BASE_PATH,
        versions=f"{version}(?: {version})?",
        stable=number,
        canary=number,
    )
    for name, pattern in (
        (MODELS, models),
        (BATCHING, _pattern(_BATCHING, largest=number)),
        (MONITORING, re.escape(_MONITORING)),
    ):
        file = export_dir / name
        found = file.read_bytes() if file.exists() else b""
        if not re.fullmatch(pattern, found.decode(errors="replace")):
            received = repr(found[:200]) if file.exists() else "no file"
            raise ValueError(
                f"{file} should be as exports write it. Export the day again "
                "to write it anew; own settings belong in files elsewhere. "
                f"Received: {received}"
            )


def _pattern(template: str, **patterns: str) -> str:
    """Return a regular expression of what a template is filled into.

    Args:
      template: of `str.format`.
      **patterns: what its fields are filled with.
    """
    places = {name: f"<{name}>" for name in patterns}
    text = re.escape(template.format(**places))
    for name, place in places.items():
        text = text.replace(place, patterns[name])
    return text
