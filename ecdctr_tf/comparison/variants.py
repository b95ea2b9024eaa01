"""What can be compared: models, each as its paper has it, and ablations."""

import dataclasses
from collections.abc import Sequence

from ecdctr_tf import config as configs
from ecdctr_tf import presets


@dataclasses.dataclass(frozen=True)
class Variant:
    """A model, or E-CDCTR with something changed."""

    name: str
    # As tables and plots call it.
    label: str
    # Where the model comes from, or what the ablation asks.
    source: str
    # Name of the config that `presets.variant` makes.
    base: str = "e_cdctr"
    # Changes of that config, as `--set` takes them.
    changes: tuple[str, ...] = ()
    # Whether E-CDCTR's tuned training is taken instead of tuning on its own.
    ablation: bool = False

    def config(self, config: configs.Config) -> configs.Config:
        """Return the variant's config, given that of E-CDCTR.

        What the variant does not read has its default, so that equal runs have
        equal configs.
        """
        config = presets.variant(config, self.base)
        unread = ("ads_only", "ctr" if self.joint else "joint")
        default = {field: configs.TrainingConfig() for field in unread}
        config = dataclasses.replace(config, **default)
        return configs.override(config, list(self.changes))

    @property
    def joint(self) -> bool:
        """Whether both domains are learned together."""
        return self.base in configs.JOINT_MODELS

    @property
    def plugged(self) -> bool:
        """Whether a frozen CPM stands beside the model of ads."""
        return self.base in configs.PLUGGED_MODELS

    @property
    def training(self) -> str:
        """Name of the config field that is tuned."""
        return "joint" if self.joint else "ctr"


_TRANSFER = "E-CDCTR (arXiv 2408.16238)"
_MODELS = (
    Variant("e_cdctr", "E-CDCTR", _TRANSFER),
    Variant("ads_only", "ads only", "no transfer", "ads_only"),
    Variant(
        "cpm_finetune",
        "CPM \N{RIGHTWARDS ARROW} fine-tune",
        "pre-training and fine-tuning; E-CDCTR without TPM",
        "cpm_finetune",
    ),
    Variant(
        "tpm_only",
        "TPM only",
        "E-CDCTR without CPM",
        changes=("warm_start.from_cpm=false",),
    ),
    Variant("keep", "KEEP-like", "KEEP (arXiv 2208.10174)", "keep"),
    Variant("ctnet", "CTNet-like", "CTNet (arXiv 2208.05728)", "ctnet"),
    Variant("joint", "joint", "one model of both domains, a flag", "joint"),
    Variant("mmoe", "MMoE", "MMoE (KDD 2018)", "mmoe"),
    Variant("ple", "PLE", "PLE (RecSys 2020)", "ple"),
    Variant("star", "STAR", "STAR (arXiv 2101.11427)", "star"),
)


# Days between two CPMs -> label.
_PACES = {
    0: "CPM stands still",
    1: "CPM refreshed every day",
    7: "CPM refreshed every 7 days",
}


def _ablation(name: str, label: str, asks: str, *changes: str) -> Variant:
    return Variant(name, label, asks, changes=changes, ablation=True)


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
VARIANTS = {v.name: v for v in (*_MODELS, *_ABLATIONS)}
GROUPS = {
    "models": tuple(v.name for v in _MODELS),
    "ablations": tuple(v.name for v in _ABLATIONS),
}


def chosen(names: Sequence[str]) -> list[Variant]:
    """Return variants by name or by group, each once, in the order asked.

    Raises:
      ValueError: there is no such variant.
    """
    found: dict[str, Variant] = {}
    for name in names:
        for member in GROUPS.get(name, (name,)):
            if member not in VARIANTS:
                raise ValueError(
                    f"--models should be any of {', '.join(VARIANTS)}, or "
                    f"{' or '.join(GROUPS)}. Received: {name!r}"
                )
            found[member] = VARIANTS[member]
    return list(found.values())
