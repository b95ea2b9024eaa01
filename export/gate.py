"""The gate before a version goes live: what may be served, and why not.

A candidate is a day of an A-CTR that is to be exported; the live version is the
newest one that was. Checks look at numbers only, which `evidence` gathers.
They allow for noise: intervals are bootstraps over users, and what might be
chance is let by. Nothing is asked of how good a candidate is by itself: to
refuse one keeps the live version, which may be as bad.

Shapes: N rows that are scored.
"""

import dataclasses
import itertools
import math
import typing
from collections.abc import Mapping

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf import metrics, typed_values
from ecdctr_tf.transfer import mixture

# Most rows that an interval is drawn of: of so many, noise is no matter.
_ROWS = 1 << 19
# Of logits before and after a tenth of a day; untrained ones have none, and of
# fewer rows it may be chance.
_LEAST_CORRELATION = 0.5
_CORRELATED = 30
# Less is as good as nothing, of which no share can be taken.
_LEAST_LOSS = 1e-6
_CANDIDATE, _SERVED, _LIVE = "candidate", "served", "live"
_EXACT, _ROUNDED = "exact", "rounded"
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
    # As the export would give them: with tables in float32, and as they would
    # be stored; None where they would be stored in float32.
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

    @classmethod
    def from_dict(cls, given: Mapping[str, typing.Any]) -> "Report":
        """Return the report that `to_dict` made a dict of."""
        fields = {name: of for name, of in given.items() if name != "passed"}
        checks = tuple(
            typed_values.make(Check, "A check", of) for of in given["checks"]
        )
        return typed_values.make(cls, "It", {**fields, "checks": checks})

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
    found = _intervals(evidence, bounds.level)
    checks = [
        _finite(evidence),
        *_settled(evidence, bounds.moved),
        *_moved(evidence, found, bounds.moved),
        *_against_live(found, bounds),
        *_rounded(evidence, bounds),
        *_off_the_click_rate(found, bounds.worse_pcoc),
        *_day(evidence, bounds),
        *_loss(evidence, bounds),
    ]
    if evidence.replaced:
        checks.append(Check("rows", False, evidence.replaced))
    return Report(
        artefact,
        live,
        len(evidence.held_out["click"]) if evidence.held_out else 0,
        tuple(checks),
        evidence.left_out,
        dataclasses.asdict(found)["models"],
    )


def _finite(evidence: Evidence) -> Check:
    if not evidence.broken:
        return Check("finite", True, "All weights and scores are finite.")
    return Check("finite", False, " ".join(evidence.broken))


def _intervals(evidence: Evidence, level: float) -> metrics.Intervals:
    """Return metrics and differences of the rows that both scored.

    Without rows held out, those of the day, which the candidate has learned.
    """
    rows = evidence.held_out
    if rows is not None:
        scored = {_CANDIDATE: rows["ctr"], _LIVE: evidence.live_unseen}
    else:
        rows = evidence.day
        scored = {_SERVED: evidence.served, _LIVE: evidence.live}
    ctr = {name: of for name, of in scored.items() if of is not None}
    return _drawn(rows, ctr, level)


def _drawn(
    rows: dict[str, np.ndarray] | None,
    ctr: dict[str, np.ndarray],
    level: float,
) -> metrics.Intervals:
    """Return metrics of rows and their intervals; of none if no row counts.

    Args:
      rows: the rows; of many, some that are spread evenly are taken.
      ctr: who scored them -> click probabilities, `[N]`; the second is
        subtracted from the first.
      level: of the intervals.
    """
    if rows is None or not ctr or not (rows["weight"] > 0).any():
        return metrics.Intervals({}, {}, 0, 0, level)
    some = slice(None, None, -(-len(rows["click"]) // _ROWS))
    click, user, weight = (rows[n][some] for n in ("click", "user", "weight"))
    seeds = {name: [of[some]] for name, of in ctr.items()}
    return metrics.intervals(
        [metrics.ScoredRows(click, user, seeds, weight)],
        itertools.pairwise(ctr),
        level=level,
    )


def _differences(
    found: metrics.Intervals,
) -> dict[str, metrics.Difference]:
    """Return metric -> difference from the live version, with an interval."""
    return {
        name: apart
        for of in found.differences.values()
        for name, apart in of.items()
        if apart.low is not None
    }


def _settled(evidence: Evidence, most: float) -> list[Check]:
    """Return whether the last rows of the day left the model what it was.

    Clicks are not asked, so there is no noise to allow for.
    """
    if evidence.held_out is None or evidence.served is None:
        return []
    scored = evidence.held_out["ctr"]
    now, before = (mixture.logits_of(of) for of in (evidence.served, scored))
    move = float(now.mean() - before.mean())
    since = "Since the rows held out were scored, the logits"
    checks = [
        Check(
            "settled_mean",
            abs(move) <= most,
            f"{since} have moved by {move:+.3f} on average (at most {most:g} "
            "is expected of so few rows).",
            move,
            math.copysign(most, move),
        )
    ]
    if before.std() > 0 and len(before) >= _CORRELATED:
        alike = np.corrcoef(now, before)[0, 1] if now.std() > 0 else 0.0
        checks.append(
            Check(
                "settled_order",
                bool(alike >= _LEAST_CORRELATION),
                f"{since} have changed: both correlate by {alike:.3f} (at "
                f"least {_LEAST_CORRELATION:g} is expected).",
                float(alike),
                _LEAST_CORRELATION,
            )
        )
    return checks


def _moved(
    evidence: Evidence, found: metrics.Intervals, most: float
) -> list[Check]:
    """Return whether logits are where those of the live version are.

    They may be elsewhere unless that is surely worse.
    """
    if evidence.served is None or evidence.live is None:
        return []
    now, before = map(mixture.logits_of, (evidence.served, evidence.live))
    move = float(now.mean() - before.mean())
    loss = _differences(found).get("log_loss")
    worse = loss is None or loss.low > 0
    return [
        Check(
            "moved",
            abs(move) <= most or not worse,
            f"The mean logit is {move:+.3f} from that of the live version "
            f"(beyond {most:g} with a worse log loss is not allowed).",
            move,
            math.copysign(most, move),
        )
    ]


_NAMES = {
    _CANDIDATE: "the candidate, before it learned the rows held out,",
    _SERVED: "the candidate as it would be served",
    _LIVE: "the live version",
    _EXACT: "the candidate with tables in float32",
    _ROUNDED: "the candidate with tables as they would be stored",
}


def _against_live(
    found: metrics.Intervals, bounds: configs.GateConfig
) -> list[Check]:
    """Return by how much AUC and log loss are surely worse than live."""
    if len(found.models) < 2:
        return []
    loss = found.models[_LIVE]["log_loss"].mean
    most = (bounds.worse_auc, bounds.worse_log_loss * loss)
    return _worse("worse", found, most)


def _rounded(evidence: Evidence, bounds: configs.GateConfig) -> list[Check]:
    """Return by how much AUC and log loss are surely worse by narrow tables."""
    if evidence.exact is None or evidence.rounded is None:
        return []
    rows = evidence.day if evidence.held_out is None else evidence.held_out
    scored = {_ROUNDED: evidence.rounded, _EXACT: evidence.exact}
    found = _drawn(rows, scored, bounds.level)
    return _worse("rounded", found, (bounds.worse_rounded,) * 2)


def _worse(
    name: str, found: metrics.Intervals, most: tuple[float, float]
) -> list[Check]:
    """Return by how much AUC and log loss are surely worse.

    Args:
      name: what the checks' names begin with.
      found: of two, the first of which is judged by the second.
      most: by how much they may be worse.
    """
    checks = []
    differences = _differences(found)
    names = [_NAMES[scored] for scored in found.models]
    for metric, label, sign, bound in (
        ("auc", "AUC", -1, most[0]),
        ("log_loss", "log loss", 1, most[1]),
    ):
        if metric not in differences:
            continue
        apart = differences[metric]
        surely = apart.low if sign > 0 else -apart.high
        checks.append(
            Check(
                f"{name}_{metric}",
                surely <= bound,
                f"The {label} of {names[0]} less that of {names[1]} "
                f"is {apart.mean:+.4f} ({apart.low:+.4f} to {apart.high:+.4f}"
                f"; worse by more than {bound:.4f}, beyond the noise, is not "
                "allowed).",
                apart.mean,
                sign * bound,
            )
        )
    return checks


def _off_the_click_rate(found: metrics.Intervals, worse: float) -> list[Check]:
    """Return whether calibration is surely worse than that of what is live.

    What is noise is how often the rows were clicked, which is the same for
    both: so the ends of their intervals belong together.
    """
    if "pcoc" not in _differences(found):
        return []
    mine, live = (of["pcoc"] for of in found.models.values())
    further = min(
        abs(own - 1) - abs(other - 1)
        for own, other in (
            (mine.low, live.low),
            (mine.mean, live.mean),
            (mine.high, live.high),
        )
    )
    name = next(iter(found.models))
    return [
        Check(
            "worse_pcoc",
            further <= worse,
            f"Predicted over observed clicks of {_NAMES[name]} are "
            f"{mine.mean:.3f} ({mine.low:.3f} to {mine.high:.3f}), of the live "
            f"version {live.mean:.3f} (further from 1 by more than {worse:g}, "
            "beyond the noise, is not allowed).",
            further,
            worse,
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
    aucs = [of.models[_DAY]["auc"] for of in found if of.models]
    if len(aucs) < 2 or any(auc.low is None for auc in aucs):
        return []
    mine, live = aucs
    # What may be chance has to be as good as that day was.
    kept = bounds.kept_auc if mine.low > 0.5 else 1.0
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
