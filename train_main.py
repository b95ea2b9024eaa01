r"""E-CDCTR: train the three levels, export and report.

Natural logs lift an ad click-through-rate model on three levels, each a stage:

  tpm        tiny pre-training model on long natural logs, one dated snapshot a
             window
  aggregate  snapshots -> the historical embeddings that CPM and A-CTR look up
  cpm        complete pre-training model on a short window of natural logs
  ctr        A-CTR, day by day on ads: score the day, train on it, publish
  export     the newest A-CTR day as a SavedModel for TF Serving
  report     one HTML page and a summary of the run
  all        the six in order
  compare    any models and ablations on the same days and rows, each tuned
             alike: tables with intervals, slices, costs, forgetting
  diagnose   whether natural logs can help these ads at all, before any
             training: overlap, activity, domain shift; with a --workdir also
             snapshot drift and negative transfer

A stage reads what the one before published in --workdir and can be killed and
started again with the same command. Examples:

  python train_main.py --stage=all --data_dir=DATA --workdir=RUN
  python train_main.py --stage=tpm --start=2024-01-01 --end=2024-01-30 \
      --data_dir=DATA --workdir=RUN
  python train_main.py --stage=ctr --data_dir=DATA --workdir=RUN \
      --set ctr.table_learning_rate=0.001 --set schedule.catch_up_days=7
  python train_main.py --stage=compare --models=models,ablations --trials=4 \
      --seeds=0,1,2 --preset=synthetic --data_dir=DATA --workdir=COMPARISON
  python train_main.py --stage=diagnose --data_dir=DATA --report_dir=REPORT

Data directories are made by `python -m ecdctr_tf.input.convert`.
"""

import pathlib

from absl import app, flags
from absl import logging as absl_logging

from ecdctr_tf import command_line, model_table, presets, windows
from ecdctr_tf import config as configs
from ecdctr_tf.comparison import variants

STAGES = (
    "tpm",
    "aggregate",
    "cpm",
    "ctr",
    "export",
    "report",
    "all",
    "compare",
    "diagnose",
)

# Flag -> the stages that read it; flags that are not here are for all stages.
_READ_BY = {
    "start": ("tpm", "cpm", "ctr"),
    "end": ("tpm", "cpm", "ctr", "aggregate", "export"),
    "trials": ("compare",),
    "report_dir": ("report", "all", "compare", "diagnose"),
    "export_dir": ("export", "all"),
    "note": ("report", "all", "compare", "diagnose"),
}

_STAGE = flags.DEFINE_enum("stage", None, STAGES, "Stage to run.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Data directory to read.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory to publish in.")
_PRESET = flags.DEFINE_enum(
    "preset",
    None,
    sorted(presets.PRESETS),
    "Config of a known data set to start from.",
)
_CONFIG = flags.DEFINE_string(
    "config", None, "Config to start from: a config.json of an earlier run."
)
_SET = flags.DEFINE_multi_string(
    "set",
    [],
    "Config field to change, as model.embedding_dim=16; ecdctr_tf/config.py "
    "lists the fields with their units. Repeatable.",
)
_START = flags.DEFINE_string(
    "start", None, "First day of the window, YYYY-MM-DD (tpm, cpm, ctr)."
)
_END = flags.DEFINE_string(
    "end",
    None,
    "Last day of the window, YYYY-MM-DD (tpm, cpm, ctr), or the last day "
    "to aggregate or export (aggregate, export).",
)
_MODELS = flags.DEFINE_list(
    "models",
    ["e_cdctr", "ads_only"],
    f"Models to train: any of {', '.join(model_table.MODELS)}; for compare "
    f"also {', '.join(variants.GROUPS['ablations'])}, or "
    f"{' or '.join(variants.GROUPS)} for all of a kind.",
)
_TRIALS = flags.DEFINE_integer(
    "trials",
    1,
    "Trials of learning rates and penalties for each model of compare, chosen "
    "on the scored days before schedule.report_first.",
)
_SEEDS = flags.DEFINE_list(
    "seeds",
    None,
    "Seeds to repeat the run with, each in WORKDIR/seed-N; the report averages "
    "over them.",
)
_REPORT_DIR = flags.DEFINE_string(
    "report_dir",
    None,
    "Where the report goes; WORKDIR/report if not given, WORKDIR/comparison of "
    "compare, WORKDIR/diagnostics of diagnose, which needs no WORKDIR with it.",
)
_EXPORT_DIR = flags.DEFINE_string(
    "export_dir", None, "Where exports go; WORKDIR/export if not given."
)
_NOTE = flags.DEFINE_multi_string(
    "note", [], "Sentence that qualifies the report's numbers. Repeatable."
)
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "Same bits in every run, at some cost in speed."
)
_VERBOSE = flags.DEFINE_bool(
    "verbose", False, "Show what TensorFlow logs, and whole tracebacks."
)


def config_from_flags() -> configs.Config:
    """Return the config that the flags describe.

    Raises:
      FileNotFoundError, ValueError: a flag cannot be followed.
    """
    if _PRESET.value and _CONFIG.value:
        raise ValueError("Give --preset or --config, not both.")
    config = configs.Config()
    if _PRESET.value:
        config = presets.PRESETS[_PRESET.value]()
    if _CONFIG.value:
        config = configs.Config.from_json(_CONFIG.value)
    return configs.override(config, _SET.value)


def _check_flags() -> None:
    """Raise a ValueError where a flag is missing or not one of the stage."""
    needed = [_STAGE, _DATA_DIR]
    if _STAGE.value != "diagnose" or not _REPORT_DIR.value:
        needed.append(_WORKDIR)
    for flag in needed:
        if not flag.value:
            raise ValueError(f"--{flag.name} is needed; see --helpshort.")
    if _STAGE.value == "all" and (_START.value or _END.value):
        raise ValueError(
            "--start and --end are of one stage; --stage=all takes its windows "
            "from the config: --set schedule.ctr_first=YYYY-MM-DD and the like."
        )
    for name, stages in _READ_BY.items():
        read = flags.FLAGS[name]
        given = not read.using_default_value and read.value not in (None, [])
        if given and _STAGE.value not in stages:
            raise ValueError(
                f"--stage={_STAGE.value} does not read --{name}; these stages "
                f"do: {', '.join(stages)}. Leave the flag out."
            )
    ends = {"start": _START.value, "end": _END.value}
    if _STAGE.value in _READ_BY["start"] and 1 == sum(map(bool, ends.values())):
        raise ValueError(
            f"--stage={_STAGE.value} needs both --start and --end, the first "
            "and the last day of its window, or neither. Received: "
            + "".join(f"--{name}={day}" for name, day in ends.items() if day)
        )
    _check_models()


def _check_models() -> None:
    if _STAGE.value == "compare":
        variants.chosen(_MODELS.value)
        return
    model_table.chosen(_MODELS.value)


def main(argv: list[str]) -> None:
    """Run the stage that the flags ask for."""
    # What TensorFlow logs through absl is of no use to who trains a model.
    absl_logging.set_verbosity(
        absl_logging.INFO if _VERBOSE.value else absl_logging.WARNING
    )
    with command_line.reported(_VERBOSE.value):
        if len(argv) > 1:
            raise ValueError(f"Unknown arguments: {' '.join(argv[1:])}")
        _check_flags()
        config = config_from_flags()
        # TensorFlow loads here, after what can be refused without it.
        from ecdctr_tf import stages

        stages.run(
            stages.Request(
                stage=_STAGE.value,
                data_dir=pathlib.Path(_DATA_DIR.value),
                workdir=_path(_WORKDIR.value),
                config=config,
                models=tuple(_MODELS.value),
                window=_window(),
                seeds=_seeds(),
                report_dir=_path(_REPORT_DIR.value),
                export_dir=_path(_EXPORT_DIR.value),
                notes=tuple(_NOTE.value),
                deterministic=_DETERMINISTIC.value,
                trials=_TRIALS.value,
            )
        )


def _window() -> windows.Window | None:
    """Return the window of the flags; of --end alone, that one day."""
    if not _END.value:
        return None
    return windows.Window(_START.value or _END.value, _END.value)


def _seeds() -> tuple[int, ...]:
    texts = _SEEDS.value or ()
    if not all(t.isdecimal() for t in texts) or len(set(texts)) < len(texts):
        raise ValueError(
            "--seeds should be whole numbers of at least 0, each once, as "
            "0,1,2. "
            f"Received: {','.join(texts)}"
        )
    return tuple(map(int, texts))


def _path(text: str | None) -> pathlib.Path | None:
    return pathlib.Path(text) if text else None


def run() -> None:
    """Run as a console script."""
    app.run(main)


if __name__ == "__main__":
    run()
