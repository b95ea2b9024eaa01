"""The configuration: frozen dataclasses and typed dotted overrides.

`Config.model` is the network of both CPM and A-CTR. The config describes
E-CDCTR; `of_model` derives the config of any other model of the table.
"""

import dataclasses
import math
import pathlib
import types
import typing
from collections.abc import Callable, Collection

from ecdctr_tf import model_table, typed_values

AGGREGATIONS = (
    "last",
    "mean",
    "decay",
    "concat",
    "attention",
    "self_attention",
)
BATCH_NORMS = ("keep", "statistics", "full")
REFRESHES = ("evidence", "change", "restart")
TABLE_OPTIMIZERS = ("lazy_adam", "row_wise_adagrad")
START_TABLES = ("auto", "true", "false")
# Precision of the computation -> the policy of Keras.
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
DAMAGED = ("fail", "skip_shard", "skip_record")
# What is done about a day that is not whole.
INCOMPLETE = ("wait", "skip", "refuse")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# What the tables of an exported model hold.
TABLES = ("float32", "float16", "int8")


def _limited(
    default: typing.Any, expected: str, valid: Callable[[typing.Any], bool]
) -> typing.Any:
    """Return a field whose values are checked."""
    limits = {"expected": expected, "valid": valid}
    return dataclasses.field(default=default, metadata=limits)


def _at_least(low: int, default: float) -> typing.Any:
    return _limited(default, f"at least {low}", lambda value: value >= low)


def _positive(default: float) -> typing.Any:
    return _limited(default, "above 0", lambda value: value > 0)


def _below_one(default: float) -> typing.Any:
    return _limited(default, "in [0, 1)", lambda value: 0 <= value < 1)


def _one_of(choices: Collection[str], default: str) -> typing.Any:
    expected = f"one of {', '.join(choices)}"
    return _limited(default, expected, lambda value: value in choices)


@dataclasses.dataclass(frozen=True)
class _Checked:
    """A dataclass whose fields are within their limits."""

    def __post_init__(self) -> None:
        """Check the fields."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.metadata and not field.metadata["valid"](value):
                raise ValueError(
                    f"`{field.name}` should be {field.metadata['expected']}. "
                    f"Received: {value!r}"
                )


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Checked):
    """The network of a level.

    Example:
      >>> ecdctr_tf.ModelConfig(hidden_units=(128, 64)).hidden_units
      (128, 64)
      >>> ecdctr_tf.ModelConfig(embedding_dim=0)
      Traceback (most recent call last):
      ValueError: `embedding_dim` should be at least 1. Received: 0
    """

    # Width D of every feature embedding.
    embedding_dim: int = _at_least(1, 16)
    # Units of each hidden layer of the MLP.
    hidden_units: tuple[int, ...] = _limited(
        (64, 32),
        "numbers of at least 1",
        lambda units: all(unit >= 1 for unit in units),
    )
    # DCN-v2 cross layers parallel to the MLP; 0 for none.
    cross_layers: int = _at_least(0, 1)
    # Heads, each a cross network and an MLP with a loss of its own, whose
    # logits are averaged. Every second one reads no historical embeddings.
    # Joint models other than `joint`, and models beside a CPM, have one.
    heads: int = _at_least(1, 2)
    # Whether sequences are read by target attention (DIN).
    attention: bool = True
    # Whether elementwise products of user and item embeddings are inputs too.
    products: bool = True
    # Whether historical TPM embeddings are looked up.
    history: bool = True
    # Share of the old value in batch norm's moving statistics, [0, 1).
    batch_norm_momentum: float = _below_one(0.9)
    # Features of the data that the model does not read.
    exclude: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TrainingConfig(_Checked):
    """How a level is trained on a window."""

    # Rows per step; 0: a power of two that makes about 32 steps of a day, from
    # the rows of the first days that the level is trained on.
    batch_size: int = _at_least(0, 0)
    # Passes over the window.
    passes: int = _at_least(1, 1)
    # Learning rate of the dense weights (Adam).
    dense_learning_rate: float = _positive(2e-3)
    # Learning rate of the embedding tables.
    table_learning_rate: float = _positive(3e-3)
    # Optimizer of the tables.
    table_optimizer: str = _one_of(TABLE_OPTIMIZERS, "lazy_adam")
    # Precision of cross network and MLP in training.
    precision: str = _one_of(PRECISIONS, "float32")
    # L2 penalty on the dense kernels.
    l2: float = _at_least(0, 0.0)
    # Penalty on the squared embeddings of a batch, per row.
    table_l2: float = _at_least(0, 0.0)
    # Past days that are trained on again each day: of ads (A-CTR), or of both
    # domains (joint models).
    replay_days: int = _at_least(0, 0)
    # Whether scores are brought to the clicks of days scored before (A-CTR).
    calibrate: bool = True
    # Steps between two resumable states of a window.
    checkpoint_steps: int = _at_least(1, 1000)


@dataclasses.dataclass(frozen=True)
class HistoryConfig(_Checked):
    """How dated TPM snapshots become historical embeddings."""

    # How the snapshots of an id are combined. "last", "mean" and "decay" give
    # one vector by a fixed rule. "concat" and "attention" leave it to each
    # model. "self_attention" is learned in the CPM, then frozen and merged into
    # one vector per id, as in the paper.
    aggregation: str = _one_of(AGGREGATIONS, "mean")
    # K, how many of the newest snapshots are used.
    snapshots: int = _at_least(1, 3)
    # Weight of a snapshot relative to the next newer one, for "decay", (0, 1].
    decay: float = _limited(0.5, "in (0, 1]", lambda value: 0 < value <= 1)
    # Days by which snapshots are late: no row sees them earlier.
    lag: int = _at_least(0, 0)
    # Share of the training rows that read no historical embeddings, [0, 1), so
    # that the models can do without them when the store that serves them fails.
    # At 0, what they predict without is far off.
    dropout: float = _below_one(0.1)
    # Whether the tables of a new level start from the newest TPM snapshot that
    # ended before its window: "auto" if there is one, "true" (an error if there
    # is none), or "false".
    start_tables: str = _one_of(START_TABLES, "auto")

    @property
    def merges(self) -> bool:
        """Whether a CPM merges versions by the attention that it learned."""
        return self.aggregation == "self_attention"

    @property
    def starts_tables(self) -> bool:
        """Whether tables may start from the TPM."""
        return self.start_tables != "false"


@dataclasses.dataclass(frozen=True)
class WarmStartConfig(_Checked):
    """How the A-CTR starts from the CPM."""

    # Batch norm: "keep" all, re-estimate "statistics", or reset in "full".
    batch_norm: str = _one_of(BATCH_NORMS, "keep")
    # How a newer CPM reaches a running A-CTR: as much of its change since the
    # older one is added as the scored days speak for ("evidence"), all of it
    # ("change"), or the A-CTR is started again from it ("restart").
    refresh: str = _one_of(REFRESHES, "evidence")
    # Days of ads, as far as they exist, that an A-CTR is trained on after every
    # start and before it scores; see also `schedule.catch_up_days`.
    warm_up_days: int = _at_least(0, 0)
    # Smallest share of the A-CTR's weights that may come from the CPM, [0, 1].
    min_restored: float = _limited(
        0.5, "in [0, 1]", lambda value: 0 <= value <= 1
    )


@dataclasses.dataclass(frozen=True)
class ScheduleConfig(_Checked):
    """Which windows the levels are trained on without --start and --end."""

    # First and last day of the TPM's windows; empty: from the first natural day
    # to the day before the last scored day. The window before the first scored
    # day is cut there; later ones are trained when they are whole.
    tpm_first: str = ""
    tpm_last: str = ""
    # Days per TPM window; 0: calendar months.
    tpm_days: int = _at_least(0, 30)
    # Days of the first CPM window, which ends before the first scored day.
    cpm_days: int = _at_least(1, 7)
    # Days per later CPM window; 0: only the first CPM is trained.
    cpm_every: int = _at_least(0, 7)
    # Days by which CPMs are late: the first window ends that much earlier, and
    # scored days see each CPM that much later.
    cpm_lag: int = _at_least(0, 0)
    # First and last scored day of ads; empty: the first day with
    # `catch_up_days` of ads before it (where ads begin no later than natural
    # logs, with `cpm_days` of these before it), and the last day of ads.
    ctr_first: str = ""
    ctr_last: str = ""
    # Days of ads that are scored and then trained on at a time.
    ctr_days: int = _at_least(1, 1)
    # Days of ads that a new A-CTR is trained on before the first scored day.
    catch_up_days: int = _at_least(0, 0)
    # First day that the report includes; empty: the first scored day.
    report_first: str = ""
    # Whether the report computes metrics over all rows together, instead of
    # means over days; useful where days have few rows.
    report_pooled: bool = False


def _by_name(
    entries: Collection[str], kind: Callable[[str], float]
) -> dict[str, float]:
    """Return the values of entries such as `search:0.3`, by name.

    Raises:
      ValueError: an entry is not of that form, or a name is there twice.
    """
    found = {}
    for entry in entries:
        name, _, value = entry.partition(":")
        if not name.strip() or name.strip() in found:
            raise ValueError(f"{entry!r} should be one entry a source")
        found[name.strip()] = kind(value)
    return found


def _entries(
    expected: str,
    kind: Callable[[str], float],
    valid: Callable[[list[float]], bool],
) -> typing.Any:
    """Return a field of entries such as `search:0.3`."""

    def holds(entries: tuple[str, ...]) -> bool:
        try:
            return valid(list(_by_name(entries, kind).values()))
        except ValueError:
            return False

    return _limited((), expected, holds)


@dataclasses.dataclass(frozen=True)
class SourcesConfig(_Checked):
    """How TPM and CPM read natural logs of several sources, by their names.

    Rows of before there were sources are of the source "unknown".

    Example:
      >>> sources = ecdctr_tf.config.SourcesConfig(shares=("search:0.3",))
      >>> sources.share_of
      {'search': 0.3}
    """

    # Shares of sources in the weights of each window, such as
    # `search:0.3,video:0.2`; the other sources have what is left, in the
    # proportion of their rows.
    shares: tuple[str, ...] = _entries(
        "name:share, each above 0 and at most 1 together",
        float,
        lambda shares: all(s > 0 for s in shares) and sum(shares) < 1 + 1e-9,
    )
    # Newest days of a window that are read of a source, such as `video:7`,
    # counted from its last day with rows in the window.
    days: tuple[str, ...] = _entries(
        "name:days, whole numbers of at least 1",
        int,
        lambda days: all(d >= 1 for d in days),
    )
    # Sources that are not trained on.
    exclude: tuple[str, ...] = ()

    @property
    def share_of(self) -> dict[str, float]:
        """Source -> its share."""
        return _by_name(self.shares, float)

    @property
    def days_of(self) -> dict[str, int]:
        """Source -> its newest days that are read."""
        return {n: int(d) for n, d in _by_name(self.days, int).items()}


@dataclasses.dataclass(frozen=True)
class InputConfig(_Checked):
    """How days are read."""

    # What is done about a damaged file of rows: "fail" reads nothing of its
    # day, "skip_shard" leaves out the file, "skip_record" the records in it
    # that are not whole, of some thousand rows each.
    damaged: str = _one_of(DAMAGED, "fail")


@dataclasses.dataclass(frozen=True)
class GateConfig(_Checked):
    """What a candidate has to keep to before it is published.

    Where metrics are compared, what might be chance is let by: the whole
    interval has to be beyond the bound.
    """

    # Share of the ads of a scored day, the last in time, that are scored when
    # the model has been trained on those before them, [0, 0.5]; 0: none. Then
    # it is trained on them too. None where `ctr.passes` is above 1.
    share: float = _limited(0.1, "in [0, 0.5]", lambda value: 0 <= value <= 0.5)
    # Fewest rows that are held out of a day; where there are fewer, none are.
    least_rows: int = _at_least(1, 50)
    # Level of intervals, (0, 1).
    level: float = _limited(0.99, "in (0, 1)", lambda value: 0 < value < 1)
    # By how much AUC, log loss (a share of it) and predicted over observed
    # clicks (PCOC, its distance from 1) may be worse than those of the live
    # version.
    worse_auc: float = _at_least(0, 0.01)
    worse_log_loss: float = _at_least(0, 0.02)
    worse_pcoc: float = _at_least(0, 0.25)
    # By how much AUC and log loss may be worse because of `serving.tables`.
    worse_rounded: float = _at_least(0, 1e-4)
    # How far the mean logit may be from that before the rows held out were
    # learned; and from that of the live version, where log loss is worse.
    moved: float = _positive(1.0)
    # Share of what the day of the live version was ranked better than by chance
    # (AUC - 0.5) that has to be left on the day of the candidate; all of it
    # where that day may have been ranked by chance.
    kept_auc: float = _at_least(0, 0.5)
    # Greatest loss of a day in training over that of its rows before.
    training_loss: float = _positive(1.25)


def _ages(default: tuple[int, int]) -> typing.Any:
    return _limited(
        default,
        "two numbers of days, of which the second is not the smaller one, or "
        "empty",
        lambda ages: not ages or (len(ages) == 2 and 0 <= ages[0] <= ages[1]),
    )


def _weekdays() -> typing.Any:
    return _limited(
        (),
        f"some of {', '.join(WEEKDAYS)}",
        lambda days: set(days) <= set(WEEKDAYS),
    )


@dataclasses.dataclass(frozen=True)
class ClockConfig(_Checked):
    """What `--stage=auto` and `--stage=replay` do on a date.

    How long windows are, and how often they come, is `ScheduleConfig`'s.

    Example:
      >>> clock = ecdctr_tf.config.ClockConfig(least_rows=("ads:1000",))
      >>> clock.least_rows_of
      {'ads': 1000}
    """

    # What is done about a day of natural logs, or of ads, that is not whole:
    # "wait" (the level does nothing until it is), "skip" (the level goes on
    # without the day's rows) or "refuse" (the level fails).
    natural: str = _one_of(INCOMPLETE, "wait")
    ads: str = _one_of(INCOMPLETE, "wait")
    # File without which a day is not whole, such as
    # `/logs/{domain}/{day}/_SUCCESS`; `{domain}` stands for "natural" or "ads"
    # and `{day}` for YYYY-MM-DD. Relative to the data directory. Empty: none.
    done_file: str = _limited(
        "",
        "a path with {day} in it",
        lambda path: not path or "{day}" in path,
    )
    # Fewest rows of a whole day, such as `natural:100000,ads:1000`.
    least_rows: tuple[str, ...] = _entries(
        "domain:rows, of natural and ads, whole numbers of at least 0",
        int,
        lambda rows: all(n >= 0 for n in rows),
    )
    # Fewest rows as a share of the median of the 28 days with rows before,
    # [0, 1); 0: any. Not asked of the first three days.
    least_share: float = _below_one(0.1)
    # Days that TPM, CPM and A-CTR may be behind: with more than the first
    # number there is a warning, with more than the second nothing is exported.
    # Empty: any.
    tpm_ages: tuple[int, ...] = _ages((45, 75))
    cpm_ages: tuple[int, ...] = _ages((14, 28))
    ctr_ages: tuple[int, ...] = _ages((2, 7))
    # Weekdays on which TPM and CPM are trained, and on which versions are
    # exported, such as `sat,sun`; empty: all.
    tpm_on: tuple[str, ...] = _weekdays()
    cpm_on: tuple[str, ...] = _weekdays()
    export_on: tuple[str, ...] = _weekdays()
    # Which dates of a replay are exported: "each", or only the "last" one.
    replay_exports: str = _one_of(("each", "last"), "last")

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        unknown = set(self.least_rows_of) - {"natural", "ads"}
        if unknown:
            raise ValueError(
                "`least_rows` should be of natural and ads. Received: "
                f"{', '.join(sorted(unknown))}"
            )

    @property
    def least_rows_of(self) -> dict[str, int]:
        """Domain -> fewest rows of a whole day."""
        return {n: int(r) for n, r in _by_name(self.least_rows, int).items()}


@dataclasses.dataclass(frozen=True)
class RetentionConfig(_Checked):
    """How many of the newest artefacts `--stage=clean` leaves at least.

    What levels go on from, and what a version that stays was made from, stays
    besides.
    """

    # Days of each A-CTR; the report is over these.
    ctr: int = _at_least(1, 60)
    # CPMs of each model.
    cpm: int = _at_least(1, 4)
    # TPM snapshots.
    snapshots: int = _at_least(1, 3)
    # Historical versions.
    historical: int = _at_least(1, 3)
    # Exported versions; a rollback returns to the one before the newest.
    exports: int = _at_least(2, 7)


@dataclasses.dataclass(frozen=True)
class MonitoringConfig(_Checked):
    """What is said of a scored day unlike those before it, and to whom."""

    # Newest scored days that the inputs of a day are compared with; 0: they are
    # not looked at.
    days: int = _at_least(0, 7)
    # Population stability index of a feature, from where on there is a warning
    # if it is twice that of any of the days before, too.
    psi: float = _positive(0.25)
    # By how much the share of new ids of a feature may exceed its mean over the
    # days before, (0, 1].
    new_ids: float = _limited(0.2, "in (0, 1]", lambda value: 0 < value <= 1)
    # By how much the share of the rows with a historical vector may fall below
    # its mean over the days before, (0, 1].
    coverage: float = _limited(0.1, "in (0, 1]", lambda value: 0 < value <= 1)
    # Experiment of MLflow that artefacts are logged to, at the place that
    # MLFLOW_TRACKING_URI names; empty: none.
    mlflow: str = ""


@dataclasses.dataclass(frozen=True)
class ForgettingConfig(_Checked):
    """The groups of scored days over which forgetting is measured."""

    # Days per group; 0: five groups of equal length.
    group_days: int = _at_least(0, 0)
    # Groups after which the interests of users return; 0: they do not.
    returns_after: int = _at_least(0, 0)
    # Days at the beginning of a group on which a return is measured.
    return_days: int = _at_least(1, 5)


@dataclasses.dataclass(frozen=True)
class ServingConfig(_Checked):
    """What clients of an exported model send, and how it is stored."""

    # Numbers of rows, or of candidates of a user, in a request. Servers answer
    # requests of each size for themselves before a version goes live.
    candidates: tuple[int, ...] = _limited(
        (1, 50, 200),
        "numbers of at least 1",
        lambda value: bool(value) and min(value) >= 1,
    )
    # What served tables hold: float32, float16, or int8 with a scale for each
    # vector. Only models that are served in the folded form have a choice.
    tables: str = _one_of(TABLES, "float32")
    # Megabytes of a file of weights at most; 0: one file, whatever its size.
    max_shard_mb: int = _at_least(0, 0)
    # Where historical vectors are: in_graph, or as_input of requests, from a
    # feature store.
    history: str = _one_of(("in_graph", "as_input"), "in_graph")


@dataclasses.dataclass(frozen=True)
class Config(_Checked):
    """All settings, except where the files are and which stage is run.

    Example:
      >>> config = ecdctr_tf.Config(
      ...     seed=1, model=ecdctr_tf.ModelConfig(embedding_dim=8)
      ... )
      >>> config.model.embedding_dim
      8
    """

    # Seed of the weights, the order of rows and all other random numbers.
    seed: int = _at_least(0, 0)
    # The network of CPM and A-CTR.
    model: ModelConfig = ModelConfig()
    # The network of the TPM: small and shallow, basic features only.
    tpm_model: ModelConfig = ModelConfig(
        hidden_units=(32,),
        cross_layers=0,
        heads=1,
        attention=False,
        history=False,
    )
    tpm: TrainingConfig = TrainingConfig()
    cpm: TrainingConfig = TrainingConfig()
    ctr: TrainingConfig = TrainingConfig()
    history: HistoryConfig = HistoryConfig()
    warm_start: WarmStartConfig = WarmStartConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clock: ClockConfig = ClockConfig()
    sources: SourcesConfig = SourcesConfig()
    input: InputConfig = InputConfig()
    forgetting: ForgettingConfig = ForgettingConfig()
    serving: ServingConfig = ServingConfig()
    gate: GateConfig = GateConfig()
    retention: RetentionConfig = RetentionConfig()
    monitoring: MonitoringConfig = MonitoringConfig()
    # Training settings of single models, such as `ads_only.batch_size=64`: the
    # name of a model and a field of `TrainingConfig`.
    of_models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        for assignment in self.of_models:
            name, _, change = assignment.partition(".")
            model_table.model(name)
            override(Config(), [f"ctr.{change}"])

    def to_json(self) -> str:
        """Return the config as JSON text."""
        return typed_values.to_json(dataclasses.asdict(self), "the config")

    @classmethod
    def from_json(cls, path: str | pathlib.Path) -> "Config":
        """Read a config; fields that the file lacks have their defaults.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: it is not JSON, or a field is unknown or of a wrong type.
        """
        path = pathlib.Path(path)
        if not path.exists():
            raise FileNotFoundError(f"The config {path} does not exist.")
        try:
            values = typed_values.from_json(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(
                f"{path} should hold the fields of a config. "
                f"Received: {values!r}"
            )
        try:
            return _replace(cls(), values, "")
        except ValueError as error:
            raise ValueError(f"{path} is not a config: {error}") from error


def of_model(config: Config, row: model_table.ModelRow) -> Config:
    """Return the config of a model, given that of E-CDCTR.

    Args:
      config: the config of E-CDCTR.
      row: the model.

    Returns:
      A config whose `ctr` is the training of the model.
    """
    own = [
        assignment.removeprefix(f"{row.name}.")
        for assignment in config.of_models
        if assignment.startswith(f"{row.name}.")
    ]
    config = dataclasses.replace(config, of_models=())
    if row.training is not None:
        config = dataclasses.replace(config, ctr=TrainingConfig())
        own = [*row.training, *own]
    return override(config, [*row.changes, *(f"ctr.{c}" for c in own)])


def reads_tpm(config: Config) -> bool:
    """Return whether a CPM or an A-CTR takes anything from the TPM."""
    return config.model.history or config.history.starts_tables


def override(config: Config, assignments: list[str]) -> Config:
    """Return the config with `name.field=value` assignments carried out.

    Values are typed by their field: numbers, `true` or `false`, text, and
    comma-separated lists for tuples. Where `name` is that of a model, such as
    `ads_only`, `field` is one of `TrainingConfig` and set for that model only.

    Raises:
      ValueError: an assignment is not of that form, names an unknown field, or
        its value is not of the field's type or range.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(
                f"--set should be name.field=value. Received: {assignment!r}"
            )
        if name.strip().partition(".")[0] in model_table.MODELS:
            changed = (*config.of_models, f"{name.strip()}={text}")
            config = dataclasses.replace(config, of_models=changed)
            continue
        value: typing.Any = text
        for part in reversed(name.strip().split(".")):
            value = {part: value}
        config = _replace(config, value, "")
    return config


def _replace(
    instance: typing.Any, values: dict[str, typing.Any], prefix: str
) -> typing.Any:
    """Return a dataclass with fields replaced, checked by name and type."""
    hints = typing.get_type_hints(type(instance))
    changes = {}
    for name, value in values.items():
        if name not in hints:
            fields = ", ".join(f"{prefix}{field}" for field in hints)
            raise ValueError(
                f"Unknown config field {prefix}{name}. The fields are {fields}."
            )
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, dict):
                raise ValueError(
                    f"{prefix}{name} has fields of its own; set one of them, "
                    f"such as {prefix}{name}.field=value. Received: {value!r}"
                )
            old = getattr(instance, name)
            changes[name] = _replace(old, value, f"{prefix}{name}.")
        else:
            changes[name] = _typed(hints[name], value, f"{prefix}{name}")
    try:
        return dataclasses.replace(instance, **changes)
    except ValueError as error:
        raise ValueError(f"In {prefix or 'the config'}: {error}") from error


def _typed(hint: typing.Any, value: typing.Any, name: str) -> typing.Any:
    """Return a value of the field's type, from text or JSON."""
    error = ValueError(
        f"{name} should be {getattr(hint, '__name__', hint)}. "
        f"Received: {value!r}"
    )
    if isinstance(hint, types.GenericAlias):
        kind = typing.get_args(hint)[0]
        if isinstance(value, str):
            value = [part for part in value.split(",") if part]
        if not isinstance(value, (list, tuple)):
            raise error
        return tuple(_typed(kind, part, name) for part in value)
    if hint is bool:
        known = {"true": True, "false": False}
        value = known.get(str(value).lower())
        if value is None:
            raise error
        return value
    if hint is str:
        if not isinstance(value, str):
            raise error
        return value
    if isinstance(value, bool):
        raise error
    try:
        number = hint(value)
        valid = math.isfinite(number) and float(value) == number
    except (OverflowError, TypeError, ValueError):
        raise error from None
    if not valid:
        raise error
    return number
