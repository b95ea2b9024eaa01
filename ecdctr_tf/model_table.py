"""The one table of models: E-CDCTR, and the models it is compared with.

A model is a row here and, where its network is not that of `CTRModel`, a file
in `ecdctr_tf.models`. Everything else follows from the row: the command line,
training, the comparison and the labels of every page.
"""

import dataclasses
import typing
from collections.abc import Sequence

# Where the weights of the model of ads come from; see `training.origins`.
SCRATCH, FROM_CPM, BESIDE_CPM, BOTH_DOMAINS, EXPERTS = ORIGINS = (
    "scratch",
    "from_cpm",
    "beside_cpm",
    "both_domains",
    "experts",
)


@dataclasses.dataclass(frozen=True)
class ModelRow:
    """A model that can be trained and compared."""

    name: str
    # As tables and plots call it.
    label: str
    # Where the model comes from, or the question that an ablation asks.
    reference: str
    # Where its first weights come from: one of `ORIGINS`.
    origin: str = FROM_CPM
    # Module and class in `ecdctr_tf.models`.
    network: str = "ctr_model.CTRModel"
    # Changes of the config of E-CDCTR, as `--set` takes them.
    changes: tuple[str, ...] = ()
    # Changes of `TrainingConfig`'s defaults, for a model with training settings
    # of its own; None: it is trained as the A-CTR of E-CDCTR is.
    training: tuple[str, ...] | None = None
    # The model whose CPM it reads; empty: it has one of its own.
    cpm_of: str = ""
    # Whether the model is trained on ads.
    learns: bool = True
    # How many of the newest CPMs a model beside a CPM reads.
    cpms: int = 1
    # Names of the models that a mixture weighs; no mixtures.
    experts: tuple[str, ...] = ()
    # Whether the training tuned for E-CDCTR is used instead of its own tuning.
    ablation: bool = False

    def __post_init__(self) -> None:
        """Check the origin."""
        if self.origin not in ORIGINS:
            raise ValueError(
                f"`origin` of the model {self.name!r} should be one of "
                f"{', '.join(ORIGINS)}. Received: {self.origin!r}"
            )
        if (self.origin == EXPERTS) != (len(self.experts) > 1):
            raise ValueError(
                f"`experts` of the model {self.name!r} should be two models or "
                "more where its origin is experts, and none elsewhere. "
                f"Received: {self.experts!r}"
            )

    @property
    def base(self) -> str:
        """Name of the model that an ablation changes; else its own name.

        Directories of artefacts are called by it.
        """
        return "e_cdctr" if self.ablation else self.name

    @property
    def has_cpm(self) -> bool:
        """Whether the model reads a CPM."""
        return self.origin in (FROM_CPM, BESIDE_CPM)


_NO_TPM = ("model.history=false", "history.start_tables=false")
_JOINT: dict[str, typing.Any] = {
    "origin": BOTH_DOMAINS,
    "changes": _NO_TPM,
    "training": (),
}
_BESIDE: dict[str, typing.Any] = {
    "origin": BESIDE_CPM,
    "changes": (*_NO_TPM, "model.heads=1"),
}

_ROWS = (
    ModelRow("e_cdctr", "E-CDCTR", "E-CDCTR (arXiv 2408.16238)"),
    ModelRow(
        "paper",
        "paper's settings",
        "E-CDCTR with the settings of its paper (arXiv 2408.16238)",
        changes=(
            "history.aggregation=self_attention",
            "history.snapshots=3",
            "history.start_tables=false",
            "history.dropout=0",
            "model.heads=1",
            "warm_start.batch_norm=full",
            "warm_start.refresh=restart",
            "warm_start.warm_up_days=7",
        ),
    ),
    ModelRow(
        "ads_only",
        "ads only",
        "no transfer",
        origin=SCRATCH,
        changes=_NO_TPM,
        training=(),
    ),
    ModelRow(
        "cpm_finetune",
        "CPM \N{RIGHTWARDS ARROW} fine-tune",
        "pre-training and fine-tuning; E-CDCTR without TPM",
        changes=_NO_TPM,
    ),
    ModelRow("tpm_only", "TPM only", "E-CDCTR without CPM", origin=SCRATCH),
    ModelRow(
        "cpm_only",
        "CPM only",
        "the newest CPM, at the click rate of ads; E-CDCTR without A-CTR",
        changes=("warm_start.refresh=restart", "warm_start.warm_up_days=0"),
        cpm_of="e_cdctr",
        learns=False,
    ),
    ModelRow(
        "no_regret",
        "no-regret mixture",
        "AdaHedge (JMLR 2014) over E-CDCTR, ads only and CPM only",
        origin=EXPERTS,
        experts=("e_cdctr", "ads_only", "cpm_only"),
    ),
    ModelRow(
        "keep",
        "KEEP-like",
        "KEEP (arXiv 2208.10174)",
        network="keep.KEEP",
        **_BESIDE,
    ),
    ModelRow(
        "ctnet",
        "CTNet-like",
        "CTNet (arXiv 2208.05728)",
        network="ctnet.CTNet",
        **_BESIDE,
    ),
    ModelRow(
        "no_regret_ctnet",
        "no-regret mixture with CTNet-like",
        "the mixture with a fourth expert, for those who can pay for it",
        origin=EXPERTS,
        experts=("e_cdctr", "ads_only", "cpm_only", "ctnet"),
    ),
    ModelRow(
        "loopfm",
        "LoopFM-like",
        "LoopFM (arXiv 2605.29280)",
        network="loopfm.LoopFM",
        cpms=3,
        **_BESIDE,
    ),
    ModelRow(
        "kgd",
        "KGD-like",
        "KGD (arXiv 2608.02738)",
        network="kgd.KGD",
        **_BESIDE,
    ),
    ModelRow(
        "exfm",
        "ExFM-like",
        "ExFM (arXiv 2502.17494)",
        network="exfm.ExFM",
        **_BESIDE,
    ),
    ModelRow(
        "joint",
        "joint",
        "one model of both domains, a flag",
        network="joint.JointModel",
        **_JOINT,
    ),
    ModelRow("mmoe", "MMoE", "MMoE (KDD 2018)", network="mmoe.MMoE", **_JOINT),
    ModelRow("ple", "PLE", "PLE (RecSys 2020)", network="ple.PLE", **_JOINT),
    ModelRow(
        "star", "STAR", "STAR (arXiv 2101.11427)", network="star.STAR", **_JOINT
    ),
    ModelRow(
        "minet",
        "MiNet-like",
        "MiNet (arXiv 2008.02974)",
        network="minet.MiNet",
        **_JOINT,
    ),
)
MODELS = {row.name: row for row in _ROWS}


def model(name: str) -> ModelRow:
    """Return the row of a model.

    Raises:
      ValueError: there is no such model; the message lists those there are.
    """
    if name not in MODELS:
        raise ValueError(
            f"Unknown model {name!r}. The models are {', '.join(MODELS)}."
        )
    return MODELS[name]


def chosen(names: Sequence[str]) -> list[ModelRow]:
    """Return the rows of models by name, each once, in the given order.

    The experts of a mixture come before it.

    Raises:
      ValueError: there is no such model, or no name is given.
    """
    if not names:
        raise ValueError(f"--models is empty. Name any of {', '.join(MODELS)}.")
    return with_experts([model(name) for name in names])


def with_experts(rows: Sequence[ModelRow]) -> list[ModelRow]:
    """Return rows, each once and each after its experts."""
    found: dict[str, ModelRow] = {}
    for row in rows:
        for name in row.experts:
            found.setdefault(name, model(name))
        found.setdefault(row.name, row)
    return list(found.values())
