"""The gate before a version goes live: what may be served, and why not.

A candidate is a day of an A-CTR that is to be exported; the live version is the
newest one that was. Checks look at numbers only, which `evidence` gathers.
They allow for noise: intervals are bootstraps over users, and what might be
chance is let by.

Shapes: N rows that are scored.
"""

import dataclasses
import math
import typing

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf import metrics, typed_values

# The share of rows whose logits have to move by less than a bound.
_QUANTILE = 0.99
# Most rows that an interval is drawn of: of so many, noise is no matter.
_ROWS = 1 << 19
# Less is as good as nothing, of which no share can be taken.
_LEAST_LOSS = 1e-6
_CANDIDATE, _SERVED, _LIVE = "candidate", "served", "live"
_EXACT, _ROUNDED = "exact", "rounded"
_PAIRS = (
    (_CANDIDATE, _LIVE),
    (_SERVED, _CANDIDATE),
    (_SERVED, _LIVE),
    (_ROUNDED, _EXACT),
)
_DAY = "day"


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a candidate and of the live version.

    Click probabilities are `[N]`, of the same rows; None where they could not
    be had. Scored rows are columns as `artefacts.read_scores` returns them.
    """

    # What is not finite in the candidate's weights or scores, in words.
    broken: tuple[str, ...] = ()
    # What differs between rows that were scored and those of the data.
    replaced: str = ""
    # Rows of the day that were held out, scored before they were learned.
    held_out: dict[str, np.ndarray] | None = None
    # Of the weights that would be served, and of those that are.
    served: np.ndarray | None = None
    live: np.ndarray | None = None
    # As the export would give them, with tables in float32 and as they would be
    # stored; None where they would be stored in float32.
    exact: np.ndarray | None = None
    rounded: np.ndarray | None = None
    # Of the live version, from before it learned the rows, if it ever did.
    live_unseen: np.ndarray | None = None
    # The days of candidate and live version, as scored before each.
    day: dict[str, np.ndarray] | None = None
    live_day: dict[str, np.ndarray] | None = None
    # Mean loss of the day before and in training; None where not the same rows
    # were learned.
    losses: tuple[float | None, float | None] = (None, None)
    # Comparisons that could not be made, and why, in sentences.
    left_out: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    # A sentence with what was found and what is allowed.
    said: str
    # The number that was compared and its bound, where it is one.
    value: float | None = None
    bound: float | None = None


@dataclasses.dataclass(frozen=True)
class Report:
    """What the gate found of a candidate."""

    # The artefact that was to be exported, and the live version's number.
    artefact: str
    live: int | None
    # Rows held out.
    rows: int
    checks: tuple[Check, ...]
    left_out: tuple[str, ...]
    # Who scored -> metric -> estimate with interval, on the rows held out, or,
    # without any, on those of the day.
    metrics: dict[str, typing.Any]
    # Whether it was published although a check failed.
    forced: bool = False

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]

    def words(self) -> str:
        """Return in sentences what was found, and what was not looked at."""
        failed = [check.said for check in self.failed]
        rows = f" on {self.rows:,} rows held out" if self.rows else ""
        passed = f"The gate lets it by: {len(self.checks)} checks{rows}."
        said = failed or [passed]
        if self.forced:
            said = ["It is published although the gate refuses it.", *failed]
        return " ".join([*said, *self.left_out])

    def to_dict(self) -> dict[str, typing.Any]:
        """Return the report, ready for JSON."""
        return {"passed": not self.failed, **dataclasses.asdict(self)}

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return typed_values.to_json(self.to_dict(), "the report of the gate")


class RefusedError(ValueError):
    """A candidate did not pass the gate; nothing was published."""

    # Of the command that was to publish it.
    exit_status = 3


def judge(
    evidence: Evidence,
    bounds: configs.GateConfig,
    artefact: str,
    live: int | None,
) -> Report:
    """Return what a gate finds of a candidate.

    Args:
      evidence: what is known.
      bounds: what is allowed.
      artefact: the candidate, for the report.
      live: number of the live version; None if there is none.
    """
    held_out = evidence.held_out
    found = _intervals(evidence, bounds.level)
    checks = [
        _finite(evidence),
        *_moves(
            "settled",
            "Since the rows held out were scored",
            evidence.served,
            None if held_out is None else held_out["ctr"],
            (bounds.moved_mean / 2, bounds.moved_quantile / 2),
        ),
        *_moves(
            "moved",
            "Against the live version",
            evidence.served,
            evidence.live,
            (bounds.moved_mean, bounds.moved_quantile),
        ),
        *_worse(found, _SERVED, _CANDIDATE, bounds),
        *_worse(found, _CANDIDATE, _LIVE, bounds),
        *([] if held_out else _worse(found, _SERVED, _LIVE, bounds)),
        *_worse(found, _ROUNDED, _EXACT, bounds),
        # A first version of few ads may be bad, but nothing is better.
        *(_absolute(found, bounds) if held_out or live is not None else []),
        *_pcoc_against_live(found, bounds),
        *_day(evidence, bounds),
        *_loss(evidence, bounds),
    ]
    if evidence.replaced:
        checks.append(Check("rows", False, evidence.replaced))
    return Report(
        artefact,
        live,
        len(held_out["click"]) if held_out else 0,
        tuple(checks),
        evidence.left_out,
        dataclasses.asdict(found)["models"] if found else {},
    )


def _finite(evidence: Evidence) -> Check:
    if not evidence.broken:
        return Check("finite", True, "All weights and scores are finite.")
    return Check("finite", False, " ".join(evidence.broken))


def _intervals(evidence: Evidence, level: float) -> metrics.Intervals | None:
    """Return metrics and differences of the rows that all scored, or None.

    Without rows held out, those of the day, which the candidate has learned.
    """
    rows = evidence.held_out
    scored = {
        _SERVED: evidence.served,
        _LIVE: evidence.live_unseen,
        _EXACT: evidence.exact,
        _ROUNDED: evidence.rounded,
    }
    if rows is None:
        rows, scored[_LIVE] = evidence.day, evidence.live
    else:
        scored[_CANDIDATE] = rows["ctr"]
    ctr = {name: of for name, of in scored.items() if of is not None}
    return _drawn(rows, ctr, level) if ctr else None


def _drawn(
    rows: dict[str, np.ndarray], ctr: dict[str, np.ndarray], level: float
) -> metrics.Intervals | None:
    """Return metrics of rows and their intervals; None if no row counts.

    Args:
      rows: the rows; of many, some that are spread evenly are taken.
      ctr: who scored them -> click probabilities, `[N]`.
      level: of the intervals.
    """
    some = slice(None, None, -(-len(rows["click"]) // _ROWS) or None)
    click, user, weight = (rows[n][some] for n in ("click", "user", "weight"))
    if not (weight > 0).any():
        return None
    seeds = {name: [of[some]] for name, of in ctr.items()}
    return metrics.intervals(
        [metrics.ScoredRows(click, user, seeds, weight)],
        [pair for pair in _PAIRS if ctr.keys() >= set(pair)],
        level=level,
    )


def _moves(
    name: str,
    since: str,
    now: np.ndarray | None,
    before: np.ndarray | None,
    most: tuple[float, float],
) -> list[Check]:
    """Return how far logits are from what they were: mean and quantile."""
    if now is None or before is None:
        return []
    move = _logits(now) - _logits(before)
    mean = abs(float(move.mean()))
    large = float(np.quantile(np.abs(move), _QUANTILE))
    return [
        Check(
            f"{name}_mean",
            mean <= most[0],
            f"{since}, the mean logit has moved by {mean:.3f} (at most "
            f"{most[0]:g} is allowed).",
            mean,
            most[0],
        ),
        Check(
            f"{name}_quantile",
            large <= most[1],
            f"{since}, the logits of {_QUANTILE:.0%} of the rows have moved "
            f"by up to {large:.3f} (at most {most[1]:g} is allowed).",
            large,
            most[1],
        ),
    ]


def _logits(ctr: np.ndarray) -> np.ndarray:
    """Return logits, float64 `[N]`, of probabilities that may be 0 or 1."""
    ctr = np.clip(ctr.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(ctr) - np.log1p(-ctr)


_NAMES = {
    _CANDIDATE: "the candidate, before it learned the rows held out,",
    _SERVED: "the candidate as it would be served",
    _LIVE: "the live version",
    _EXACT: "the candidate with tables in float32",
    _ROUNDED: "the candidate with tables as they would be stored",
}


def _worse(
    found: metrics.Intervals | None,
    mine: str,
    other: str,
    bounds: configs.GateConfig,
) -> list[Check]:
    """Return by how much AUC and log loss are surely worse."""
    differences = found and found.differences.get(f"{mine} - {other}")
    if not differences:
        return []
    checks = []
    loss = found.models[other]["log_loss"].mean
    most = bounds.worse_auc, bounds.worse_log_loss * loss
    if mine == _ROUNDED:
        most = bounds.worse_rounded, bounds.worse_rounded
    for metric, label, sign, bound in (
        ("auc", "AUC", -1, most[0]),
        ("log_loss", "log loss", 1, most[1]),
    ):
        apart = differences[metric]
        if apart.low is None:
            continue
        surely = apart.low if sign > 0 else -apart.high
        checks.append(
            Check(
                f"{mine}_{metric}",
                surely <= bound,
                f"The {label} of {_NAMES[mine]} less that of {_NAMES[other]} "
                f"is {apart.mean:+.4f} ({apart.low:+.4f} to {apart.high:+.4f}"
                f"; worse by more than {bound:.4f}, beyond the noise, is not "
                "allowed).",
                apart.mean,
                sign * bound,
            )
        )
    return checks


def _absolute(
    found: metrics.Intervals | None, bounds: configs.GateConfig
) -> list[Check]:
    """Return whether a candidate beats a constant and is calibrated."""
    if found is None:
        return []
    mine, rows = _CANDIDATE, "the rows held out"
    if mine not in found.models:
        mine, rows = _SERVED, "the rows of the day"
    if mine not in found.models:
        return []
    checks = []
    entropy, pcoc = (
        found.models[mine][name] for name in ("normalized_entropy", "pcoc")
    )
    if entropy.low is not None:
        checks.append(
            Check(
                "constant",
                entropy.low <= bounds.worst_entropy,
                f"On {rows}, the normalized entropy is "
                f"{entropy.mean:.3f} ({entropy.low:.3f} to {entropy.high:.3f}"
                f"; above {bounds.worst_entropy:g}, beyond the noise, is not "
                "allowed: it is 1 with a constant).",
                entropy.mean,
                bounds.worst_entropy,
            )
        )
    if pcoc.low is not None:
        least, most = 1 / bounds.most_pcoc, bounds.most_pcoc
        checks.append(
            Check(
                "pcoc",
                pcoc.low <= most and pcoc.high >= least,
                f"On {rows}, predicted over observed clicks are "
                f"{pcoc.mean:.3f} ({pcoc.low:.3f} to {pcoc.high:.3f}; "
                f"{least:g} to {most:g} is allowed).",
                pcoc.mean,
                most if pcoc.mean > 1 else least,
            )
        )
    return checks


def _pcoc_against_live(
    found: metrics.Intervals | None, bounds: configs.GateConfig
) -> list[Check]:
    """Return whether calibration is surely worse than that of what is live."""
    differences = found and found.differences.get(f"{_CANDIDATE} - {_LIVE}")
    if not differences or differences["pcoc"].low is None:
        return []
    apart = differences["pcoc"]
    mine, live = (found.models[n]["pcoc"].mean for n in (_CANDIDATE, _LIVE))
    surely = apart.low if mine > 1 else -apart.high
    nearer = abs(mine - 1) <= abs(live - 1)
    return [
        Check(
            "candidate_pcoc",
            nearer or surely <= bounds.worse_pcoc,
            f"Predicted over observed clicks are {mine:.3f}, and {live:.3f} "
            f"with the live version (further from 1 by more than "
            f"{bounds.worse_pcoc:g}, beyond the noise, is not allowed).",
            apart.mean,
            bounds.worse_pcoc,
        )
    ]


def _day(evidence: Evidence, bounds: configs.GateConfig) -> list[Check]:
    """Return whether a day was still ranked as that of the live version was.

    Each was scored by the model of the day before. Where clicks or features of
    a day are broken, it is ranked like by chance, whatever is learned of it.
    """
    both = [evidence.day, evidence.live_day]
    if None in both:
        return []
    found = [_drawn(day, {_DAY: day["ctr"]}, bounds.level) for day in both]
    if None in found:
        return []
    mine, live = (of.models[_DAY]["auc"] for of in found)
    if mine.low is None or live.low is None:
        return []
    kept = bounds.kept_auc
    least = 0.5 + kept * (live.mean - 0.5)
    # The interval of a difference from those of its parts (MOVER; Zou and
    # Donner, Construction of confidence limits about effect measures, 2008).
    noise = math.hypot(mine.high - mine.mean, kept * (live.mean - live.low))
    return [
        Check(
            _DAY,
            mine.mean + noise >= least,
            f"As scored before it was learned, the day has an AUC of "
            f"{mine.mean:.4f}, that of the live version {live.mean:.4f}; at "
            f"least {least:.4f}, give or take {noise:.4f}, is expected of "
            "clicks and features that are as they were.",
            mine.mean,
            least,
        )
    ]


def _loss(evidence: Evidence, bounds: configs.GateConfig) -> list[Check]:
    """Return whether a day was learned with the clicks it was scored by."""
    before, during = evidence.losses
    if before is None or during is None:
        return []
    found = during / max(before, _LEAST_LOSS)
    return [
        Check(
            "training_loss",
            found <= bounds.training_loss,
            f"The loss of the day in training, {during:.4f}, is {found:.2f} "
            f"times that of its rows as scored before, {before:.4f} (at most "
            f"{bounds.training_loss:g} is allowed).",
            found,
            bounds.training_loss,
        )
    ]
