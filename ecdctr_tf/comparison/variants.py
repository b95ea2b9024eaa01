"""What can be compared: the table of models, and ablations of E-CDCTR."""

from collections.abc import Sequence

from ecdctr_tf import config as configs
from ecdctr_tf import model_table
from ecdctr_tf.model_table import MODELS, ModelRow

# Days between two CPMs -> label.
_PACES = {
    0: "CPM stands still",
    1: "CPM refreshed every day",
    7: "CPM refreshed every 7 days",
}


def _ablation(name: str, label: str, asks: str, *changes: str) -> ModelRow:
    return ModelRow(name, label, asks, changes=changes, ablation=True)


_ABLATIONS = (
    _ablation(
        "no_history",
        "no historical features",
        "tables started from the TPM, no historical embeddings",
        "model.history=false",
    ),
    _ablation(
        "no_start_tables",
        "tables not started",
        "historical embeddings, tables not started from the TPM",
        "history.start_tables=false",
    ),
    _ablation("one_head", "one head", "one head only", "model.heads=1"),
    *(
        _ablation(
            f"aggregation_{name}",
            f"aggregation: {name}",
            "how snapshots are combined",
            f"history.aggregation={name}",
        )
        for name in configs.AGGREGATIONS
    ),
    *(
        _ablation(
            f"snapshots_{count}",
            f"snapshots: {count}",
            "how many snapshots are averaged",
            "history.aggregation=mean",
            f"history.snapshots={count}",
        )
        for count in (1, 2, 5)
    ),
    _ablation(
        "no_history_dropout",
        "no dropout of history",
        "every row trained on has its history",
        "history.dropout=0",
    ),
    _ablation(
        "batch_norm_full",
        "batch norm reset",
        "batch norm of the A-CTR starts anew",
        "warm_start.batch_norm=full",
    ),
    _ablation(
        "refresh_change",
        "all of each change",
        "what the choice by evidence is worth",
        "warm_start.refresh=change",
    ),
    _ablation(
        "not_calibrated",
        "not calibrated",
        "what calibration by the scored days is worth",
        "ctr.calibrate=false",
    ),
    _ablation(
        "refresh_restart",
        "restart from each newer CPM",
        "what a newer CPM does to a running A-CTR",
        "warm_start.refresh=restart",
        "warm_start.warm_up_days=7",
    ),
    *(
        _ablation(
            f"cpm_days_{days}",
            f"CPM window: {days} days",
            "length of the CPM's first window",
            f"schedule.cpm_days={days}",
        )
        for days in (7, 14, 60)
    ),
    *(
        _ablation(
            f"cpm_every_{days}",
            _PACES[days],
            "pace of the CPM",
            f"schedule.cpm_every={days}",
        )
        for days in _PACES
    ),
    *(
        _ablation(
            f"{level}_lag_{days}",
            f"{level.upper()} {days} days late",
            "what is lost when a level is late",
            f"{field}={days}",
        )
        for level, field in (
            ("tpm", "history.lag"),
            ("cpm", "schedule.cpm_lag"),
        )
        for days in (30, 60, 90)
    ),
)
# Before the name of a natural source.
WITHOUT = "without_"
VARIANTS = {**MODELS, **{row.name: row for row in _ABLATIONS}}
GROUPS = {
    "models": tuple(MODELS),
    "ablations": tuple(row.name for row in _ABLATIONS),
}


def _without(source: str, excluded: Sequence[str]) -> ModelRow:
    """Return the ablation that leaves a natural source out, among others."""
    left_out = ",".join(dict.fromkeys([*excluded, source]))
    return _ablation(
        f"{WITHOUT}{source}",
        f"without {source}",
        "what a natural source adds",
        f"sources.exclude={left_out}",
    )


def chosen(
    names: Sequence[str], excluded: Sequence[str] = ()
) -> list[ModelRow]:
    """Return rows by name or by group, each once, in the given order.

    `without_<source>` is the ablation that leaves a natural source out. The
    experts of a mixture come before it.

    Args:
      names: of models, ablations and groups.
      excluded: natural sources that all of them leave out.

    Raises:
      ValueError: a name is neither that of a model nor of an ablation.
    """
    found: dict[str, ModelRow] = {}
    for name in names:
        for member in GROUPS.get(name, (name,)):
            source = member.removeprefix(WITHOUT)
            if source != member and source:
                found[member] = _without(source, excluded)
                continue
            if member not in VARIANTS:
                raise ValueError(
                    f"--models should be any of {', '.join(VARIANTS)}, "
                    f"{WITHOUT}<natural source>, or {' or '.join(GROUPS)}. "
                    f"Received: {name!r}"
                )
            found[member] = VARIANTS[member]
    return model_table.with_experts(list(found.values()))
