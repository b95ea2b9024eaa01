"""The stages in order, for one seed or several."""

import dataclasses
import pathlib

import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import presets, store, windows
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.training import daily, pretrain, schedule
from ecdctr_tf.training.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Request:
    """What a command asks for."""

    stage: str
    data_dir: pathlib.Path
    workdir: pathlib.Path
    config: configs.Config
    models: tuple[str, ...]
    # Days to train on instead of the schedule's.
    window: windows.Window | None = None
    # Seeds to repeat the run with, each in a directory of its own.
    seeds: tuple[int, ...] = ()
    report_dir: pathlib.Path | None = None
    export_dir: pathlib.Path | None = None
    deterministic: bool = False


def run(request: Request) -> None:
    """Run a stage, or all of them.

    Raises:
      FileNotFoundError, ValueError: what the stage needs is missing or does
        not fit; nothing published before is changed.
    """
    if request.deterministic:
        tf.config.experimental.enable_op_determinism()
    data = DataDirectory(request.data_dir)
    runs = _runs(request)
    stages = [request.stage]
    if request.stage == "all":
        stages = ["tpm", "aggregate", "cpm", "ctr"]
    if request.stage != "report":
        for run_dir, config in runs:
            run_dir.open(config)
            for stage in stages:
                if stage in STAGES:
                    STAGES[stage](data, run_dir, config, request)


def _runs(request: Request) -> list[tuple[Workdir, configs.Config]]:
    """Return the work directory and the config of each seed."""
    if not request.seeds:
        return [(Workdir(request.workdir), request.config)]
    return [
        (
            Workdir(request.workdir / f"seed-{seed}"),
            dataclasses.replace(request.config, seed=seed),
        )
        for seed in request.seeds
    ]


def _tpm(data, run_dir, config, request) -> None:
    if request.window is not None:
        planned = [request.window]
    else:
        planned = schedule.plan(data, config.schedule).tpm
    for window in planned:
        pretrain.train_tpm(data, run_dir, config, window)


def _aggregate(data, run_dir, config, request) -> None:
    last = request.window.last if request.window else None
    days = [d for d in store.dated(run_dir.tpm) if last is None or d <= last]
    pretrain.aggregate(run_dir, config, days[-1] if days else last)


def _cpm(data, run_dir, config, request) -> None:
    planned = [request.window]
    if request.window is None:
        planned = schedule.plan(data, config.schedule).cpm
    for name in request.models:
        if name == "ads_only":
            continue
        for window in planned:
            model_config = presets.variant(config, name)
            pretrain.train_cpm(data, run_dir, model_config, name, window)


def _ctr(data, run_dir, config, request) -> None:
    window = request.window or schedule.plan(data, config.schedule).ctr
    for name in request.models:
        model_config = presets.variant(config, name)
        daily.DailyTrainer(data, run_dir, model_config, name).run(window)


STAGES = {"tpm": _tpm, "aggregate": _aggregate, "cpm": _cpm, "ctr": _ctr}
