"""The settings that a level depends on, which may not change under it.

Each level compares them with those of its own last artefact. So a setting that
it does not read may change at any time, and a mistyped one that has published
nothing stands in nobody's way.
"""

import dataclasses
import json
import pathlib

from ecdctr_tf import artefacts
from ecdctr_tf import config as configs

# Fields of the config that an artefact of each kind depends on.
_SETTINGS = {
    artefacts.TPM: ("seed", "tpm_model", "tpm"),
    artefacts.CPM: ("seed", "model", "cpm", "history"),
    artefacts.CTR: ("seed", "model", "ctr", "history", "warm_start"),
}
# What may differ all the same: it changes no number.
_OF_NO_EFFECT = ("checkpoint_steps",)
# Fields of `HistoryConfig` that only look-ups read.
_OF_LOOK_UPS = ("aggregation", "snapshots", "decay", "dropout")


def of_level(config: configs.Config, kind: str, natural: bool) -> dict:
    """Return the settings that an artefact depends on, `a.b` -> value.

    Args:
      config: the config.
      kind: of the artefact.
      natural: whether it is itself trained on natural logs.
    """
    values = dataclasses.asdict(config)
    if not config.model.history:
        for field in _OF_LOOK_UPS:
            del values["history"][field]
    if not configs.reads_tpm(config):
        del values["history"]["lag"]
    found = {}
    for name in (*_SETTINGS[kind], *(["sources"] if natural else [])):
        value = values[name]
        if not isinstance(value, dict):
            found[name] = value
            continue
        for field, setting in value.items():
            if field not in _OF_NO_EFFECT:
                found[f"{name}.{field}"] = setting
    return json.loads(json.dumps(found))


def check(
    path: pathlib.Path, kind: str, config: configs.Config, natural: bool
) -> None:
    """Make sure that a level goes on with the settings it began with.

    Args:
      path: its last artefact.
      kind: as of `of_level`.
      config: what it is to go on with.
      natural: as of `of_level`.

    Raises:
      ValueError: a setting that its weights depend on differs.
    """
    before = artefacts.read_config(path, kind)
    kept = of_level(before, kind, natural)
    asked = of_level(config, kind, natural)
    differing = [
        f"{name}={kept.get(name)!r} (now {asked.get(name)!r})"
        for name in sorted({*kept, *asked})
        if kept.get(name) != asked.get(name)
    ]
    if differing:
        raise ValueError(
            f"{path} was trained with other settings: {', '.join(differing)}. "
            "Use those settings, or another --workdir."
        )
