r"""E-CDCTR: train the three levels, export and report.

Natural logs improve a click-through-rate model of ads on three levels (TPM,
CPM, A-CTR). Each stage does one step:

  tpm        train the tiny pre-training model on long windows of natural logs
             and publish a dated snapshot for each
  aggregate  turn snapshots into the historical embeddings that CPM and A-CTR
             look up
  cpm        train the complete pre-training model on shorter windows of
             natural logs
  ctr        go through the ads day by day: score the day, train on it, publish
  export     write the newest A-CTR day as a SavedModel for TensorFlow Serving
  report     write one HTML page and a summary of the models
  all        run these six in order
  auto       do what is due on a date, each level at its own pace, and say what
             waits for logs, is late or was skipped; to be run once a day
  replay     run --start to --end as auto would have, and report on them
  compare    train and compare any models and ablations on the same days and
             rows, all tuned alike: intervals, slices, costs, forgetting
  diagnose   tell, before any training, whether natural logs can help these ads:
             overlap, activity, domain shift; with --workdir also the drift of
             snapshots and negative transfer
  compare_sets
             put what compare found on several data sets into one table: mean
             rank of each model, better or worse than one beyond the noise
  rollback   take back the newest exported version and remember it: its day is
             not exported again by itself
  verify     check an export in every way that this machine has: files,
             signatures, a fresh process, C++, gRPC and REST, odd input
  clean      delete what neither an exported version nor the next day needs and
             retention.* does not keep; --dry_run says what that is
  explain    print the family tree of an artefact or an exported version: days,
             snapshots, CPMs, config, metrics and code revision
  monitor    write metrics.prom anew, the gauges for Prometheus that each stage
             that trains, exports or reports leaves in --workdir
  erase      erase the users of --users from the data directory, artefacts and
             exported versions; verify that nothing is left of them
  expire     take out the ids that came up on none of the newest --unseen_days,
             from the data directory, artefacts and exported versions, so that
             tables stop growing; --dry_run says how many these are

Each stage reads what the previous ones published in --workdir. A command that
was interrupted continues when it is given again. Examples:

  python train_main.py --stage=all --data_dir=DATA --workdir=RUN
  python train_main.py --stage=tpm --start=2024-01-01 --end=2024-01-30 \
      --data_dir=DATA --workdir=RUN
  python train_main.py --stage=all --preset=paper --data_dir=DATA \
      --workdir=RUN --models=e_cdctr,ads_only,keep
  python train_main.py --stage=ctr --data_dir=DATA --workdir=RUN \
      --set ctr.table_learning_rate=0.001 --set schedule.catch_up_days=7
  python train_main.py --stage=compare --models=models,ablations --trials=4 \
      --seeds=0,1,2 --preset=synthetic --data_dir=DATA --workdir=COMPARISON
  python train_main.py --stage=diagnose --data_dir=DATA --report_dir=REPORT
  python train_main.py --stage=compare_sets --report_dir=REPORT \
      --results=docs/results/globo.json,docs/results/movielens.json
  python train_main.py --stage=auto --date=2024-06-03 --data_dir=DATA \
      --workdir=RUN
  python train_main.py --stage=replay --start=2024-01-01 --end=2024-06-30 \
      --data_dir=DATA --workdir=REPLAY
  python train_main.py --stage=rollback --export_dir=RUN/export --note=slow
  python train_main.py --stage=verify --export_dir=RUN/export
  python train_main.py --stage=explain --path=RUN/e_cdctr/ctr/2024-06-28
  python train_main.py --stage=erase --users=users.txt --data_dir=DATA \
      --workdir=RUN
  python train_main.py --stage=expire --unseen_days=90 --data_dir=DATA \
      --workdir=RUN

Data directories are written by `python -m ecdctr_tf.input.convert`.
"""

import gc
import logging
import os
import pathlib

from absl import app, flags
from absl import logging as absl_logging

from ecdctr_tf import command_line, model_table, presets, windows
from ecdctr_tf import config as configs
from ecdctr_tf.comparison import variants
from ecdctr_tf.distributed import roles

# They leave gauges for Prometheus.
_RUNNING = (
    "tpm",
    "aggregate",
    "cpm",
    "ctr",
    "export",
    "report",
    "all",
    "auto",
    "replay",
)
STAGES = (
    *_RUNNING,
    "compare",
    "diagnose",
    "compare_sets",
    "rollback",
    "verify",
    "explain",
    "monitor",
    "clean",
    "erase",
    "expire",
)
_OF_RESULTS = ("compare_sets",)
# Stages that read no logs and train nothing -> the flags that they need.
_WITHOUT_LOGS = {
    "compare_sets": ("results", "report_dir"),
    "rollback": ("export_dir",),
    "verify": ("export_dir",),
    "explain": ("path",),
    "monitor": ("workdir",),
    "clean": ("workdir",),
    "erase": ("users", "data_dir", "workdir"),
    "expire": ("unseen_days", "data_dir", "workdir"),
}
_OF_LOGS = tuple(stage for stage in STAGES if stage not in _WITHOUT_LOGS)
_REPORTING = ("report", "all", "replay")
_EXPORTING = ("export", "all", "auto", "replay")

# Flag -> the stages that read it; flags that are not here are for all stages.
_READ_BY = {
    "start": ("tpm", "cpm", "ctr", "replay"),
    "end": ("tpm", "cpm", "ctr", "aggregate", "export", "replay"),
    "date": ("auto",),
    "trials": ("compare",),
    "report_dir": (*_REPORTING, "compare", "diagnose", *_OF_RESULTS),
    "export_dir": (
        *_EXPORTING,
        "rollback",
        "verify",
        "monitor",
        "clean",
        "erase",
        "expire",
    ),
    "metrics_file": (*_RUNNING, "monitor"),
    "pythons": ("verify",),
    "path": ("explain",),
    "dry_run": ("auto", "clean", "erase", "expire"),
    "users": ("erase",),
    "unseen_days": ("expire",),
    "version": ("export",),
    "keep_versions": _EXPORTING,
    "force_publish": _EXPORTING,
    "note": (*_REPORTING, "compare", "diagnose", "rollback", *_OF_RESULTS),
    "scores": (*_REPORTING, "compare"),
    "strategy": ("tpm", "cpm", "ctr", "all"),
    "results": _OF_RESULTS,
    "reference": _OF_RESULTS,
    "data_dir": (*_OF_LOGS, "erase", "expire"),
    "models": _OF_LOGS,
    **dict.fromkeys(("preset", "config", "set", "seeds"), (*_OF_LOGS, "clean")),
    "workdir": (*_OF_LOGS, "monitor", "clean", "erase", "expire"),
}

_STAGE = flags.DEFINE_enum("stage", None, STAGES, "Stage to run.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Data directory to read.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory to publish in.")
_PRESET = flags.DEFINE_enum(
    "preset",
    None,
    sorted(presets.PRESETS),
    "Config to start from: of a known data set, or of the paper.",
)
_CONFIG = flags.DEFINE_string(
    "config", None, "Config to start from: a config.json of a work directory."
)
_SET = flags.DEFINE_multi_string(
    "set",
    [],
    "Setting to change, such as model.embedding_dim=16, or, for one model, "
    "ads_only.batch_size=64; ecdctr_tf/config.py lists them with their units. "
    "May be repeated.",
)
_START = flags.DEFINE_string(
    "start",
    None,
    "First day of the window, YYYY-MM-DD (tpm, cpm, ctr), or first date "
    "(replay).",
)
_END = flags.DEFINE_string(
    "end",
    None,
    "Last day of the window, YYYY-MM-DD (tpm, cpm, ctr), last day to include "
    "(aggregate, export), or last date (replay).",
)
_DATE = flags.DEFINE_string(
    "date",
    None,
    "Date, YYYY-MM-DD, of which and after which no day is read: the logs of "
    "the day before are the newest (auto). By default today, in the zone of "
    "the days.",
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Say what would be done and why (auto), or what would be deleted (clean, "
    "erase, expire); do and write nothing.",
)
_MODELS = flags.DEFINE_list(
    "models",
    ["e_cdctr", "ads_only", "no_regret"],
    f"Models to train: any of {', '.join(model_table.MODELS)}. For compare, "
    f"also {', '.join(variants.GROUPS['ablations'])} and "
    f"{variants.WITHOUT}<natural source>; "
    f"{' or '.join(variants.GROUPS)} stands for all of them.",
)
_TRIALS = flags.DEFINE_integer(
    "trials",
    1,
    "Trials of learning rates and penalties for each model (compare); the best "
    "one on the scored days before schedule.report_first is used.",
)
_SEEDS = flags.DEFINE_list(
    "seeds",
    None,
    "Seeds to repeat the training with, such as 0,1,2, each in WORKDIR/seed-N; "
    "the report averages over them.",
)
_SCORES = flags.DEFINE_multi_string(
    "scores",
    [],
    "name=file: click probabilities of your own, a .parquet or .npz file, that "
    "join the report or the comparison under that name. Its columns are user, "
    "item, timestamp (raw ids; seconds since 1970 UTC) and score. May be "
    "repeated.",
)
_RESULTS = flags.DEFINE_list(
    "results",
    [],
    "results.json of --stage=compare for each of several data sets, as file or "
    "name=file (compare_sets).",
)
_REFERENCE = flags.DEFINE_string(
    "reference",
    "e_cdctr",
    "Model that the others are compared with (compare_sets): e_cdctr or "
    "ads_only.",
)
_REPORT_DIR = flags.DEFINE_string(
    "report_dir",
    None,
    "Directory to write the page to. By default WORKDIR/report, "
    "WORKDIR/comparison (compare) or WORKDIR/diagnostics (diagnose, which does "
    "not need --workdir if this is given). Required by compare_sets.",
)
_EXPORT_DIR = flags.DEFINE_string(
    "export_dir",
    None,
    "Directory for exports. By default WORKDIR/export. Required by rollback "
    "and verify; for verify it may be that of one version. What versions in it "
    "were made from is never deleted by clean.",
)
_PYTHONS = flags.DEFINE_list(
    "pythons",
    [],
    "Interpreters with other versions of TensorFlow, in which the export is "
    "asked, too (verify).",
)
_PATH = flags.DEFINE_string(
    "path",
    None,
    "Artefact, exported version or day of data, or a file in one (explain).",
)
_USERS = flags.DEFINE_string(
    "users",
    None,
    "Text file with the ids of the users to erase, one a line (erase).",
)
_UNSEEN_DAYS = flags.DEFINE_integer(
    "unseen_days",
    None,
    "Ids that came up on none of so many newest days of either domain expire "
    "(expire).",
    lower_bound=1,
)
_METRICS_FILE = flags.DEFINE_string(
    "metrics_file",
    None,
    "File of the gauges that the node exporter hands to Prometheus. By default "
    "WORKDIR/metrics.prom; give one in the directory of its textfile "
    "collector.",
)
_VERSION = flags.DEFINE_integer(
    "version",
    None,
    "Number of the exported version (export). By default the day as YYYYMMDD.",
    lower_bound=1,
)
_KEEP_VERSIONS = flags.DEFINE_integer(
    "keep_versions",
    0,
    "How many of the newest exported versions stay (export, all, auto, "
    "replay). By default all.",
    lower_bound=0,
)
_FORCE_PUBLISH = flags.DEFINE_bool(
    "force_publish",
    False,
    "Publish a version that the gate, or the age of a level, would refuse "
    "(export, all, auto, replay); its lineage says so.",
)
_NOTE = flags.DEFINE_multi_string(
    "note",
    [],
    "Remark to print on the page, or why a version is rolled back. May be "
    "repeated.",
)
_STRATEGY = flags.DEFINE_enum(
    "strategy",
    roles.NONE,
    roles.STRATEGIES,
    "How the steps of training are shared (tpm, cpm, ctr, all): mirrored over "
    "the GPUs of this machine; multi_worker or parameter_server over the "
    "processes that TF_CONFIG names, all of which are given the same command.",
)
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic",
    False,
    "Give the same bits every time, at some cost in speed.",
)
_VERBOSE = flags.DEFINE_bool(
    "verbose", False, "Show TensorFlow's log messages and full tracebacks."
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
    """Raise a ValueError if a flag is missing or not read by the stage."""
    stage = _STAGE.value
    needed = _WITHOUT_LOGS.get(stage, ("data_dir", "workdir"))
    if stage == "diagnose" and _REPORT_DIR.value:
        needed = ("data_dir",)
    for name in ("stage", *needed):
        if not flags.FLAGS[name].value:
            raise ValueError(f"--{name} is required; see --helpshort.")
    if stage == "all" and (_START.value or _END.value):
        raise ValueError(
            "--stage=all does not read --start and --end; it takes its windows "
            "from the config. Use settings such as "
            "--set schedule.ctr_first=YYYY-MM-DD."
        )
    for name, stages in _READ_BY.items():
        read = flags.FLAGS[name]
        given = not read.using_default_value and read.value not in (None, [])
        if given and read.value == "":
            raise ValueError(
                f"--{name} has no value. Give it one, or leave the flag out."
            )
        if given and stage not in stages:
            raise ValueError(
                f"--stage={stage} does not read --{name}; only these "
                f"stages do: {', '.join(stages)}. Remove the flag."
            )
    ends = {"start": _START.value, "end": _END.value}
    if stage == "replay" and not all(ends.values()):
        raise ValueError(
            "--stage=replay needs --start and --end, its first and last date."
        )
    if stage in _READ_BY["start"] and 1 == sum(map(bool, ends.values())):
        raise ValueError(
            f"--stage={stage} needs both --start and --end, the first "
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
    # TensorFlow's log messages do not help those who train a model.
    absl_logging.set_verbosity(
        absl_logging.INFO if _VERBOSE.value else absl_logging.WARNING
    )
    if not _VERBOSE.value:
        # Users need neither the time nor the place in the code.
        plain = logging.Formatter("%(levelname)s: %(message)s")
        absl_logging.get_absl_handler().setFormatter(plain)
    several = _STRATEGY.value in roles.OF_CLUSTERS
    with (
        command_line.ending_at_once(several),
        command_line.reported(_VERBOSE.value),
    ):
        if len(argv) > 1:
            raise ValueError(f"Unknown arguments: {' '.join(argv[1:])}")
        _check_flags()
        config = config_from_flags()
        role = roles.of_environment(_STRATEGY.value)
        if _STAGE.value in ("export", "verify"):
            # By default TensorFlow keeps what it has freed, and takes memory
            # in powers of two: twice as much as tables need.
            os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
        # TensorFlow is loaded only after the checks that do without it.
        with command_line.quiet_start(_VERBOSE.value):
            from ecdctr_tf import stages
        # What was imported stays. Every model that is built collects garbage,
        # which would look through all of TensorFlow each time.
        gc.collect()
        gc.freeze()
        stages.run(
            stages.Request(
                stage=_STAGE.value,
                data_dir=_path(_DATA_DIR.value),
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
                scores=tuple(_SCORES.value),
                results=tuple(_RESULTS.value),
                reference=_REFERENCE.value,
                version=_VERSION.value,
                keep_versions=_KEEP_VERSIONS.value,
                pythons=tuple(_PYTHONS.value),
                path=_path(_PATH.value),
                users=_path(_USERS.value),
                unseen_days=_UNSEEN_DAYS.value or 0,
                metrics_file=_path(_METRICS_FILE.value),
                dry_run=_DRY_RUN.value,
                force_publish=_FORCE_PUBLISH.value,
                date=_DATE.value or "",
                role=role,
            )
        )


def _window() -> windows.Window | None:
    """Return the window of the flags; --end alone means that one day."""
    if not _END.value:
        return None
    return windows.Window(_START.value or _END.value, _END.value)


def _seeds() -> tuple[int, ...]:
    texts = _SEEDS.value or ()
    if not all(t.isdecimal() for t in texts) or len(set(texts)) < len(texts):
        raise ValueError(
            "--seeds should be different whole numbers of at least 0, such as "
            f"0,1,2. Received: {','.join(texts)}"
        )
    return tuple(map(int, texts))


def _path(text: str | None) -> pathlib.Path | None:
    return pathlib.Path(text) if text else None


def run() -> None:
    """Run the command line, as the console script `ecdctr-train` does."""
    app.run(main)


if __name__ == "__main__":
    run()
