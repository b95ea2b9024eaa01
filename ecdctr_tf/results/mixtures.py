"""What a page tells of a mixture: weights of experts, and what it has cost."""

from collections.abc import Sequence

from ecdctr_tf import artefacts, store
from ecdctr_tf.results import text
from ecdctr_tf.results.models import Model
from ecdctr_tf.results.page import Section
from ecdctr_tf.transfer import mixture


def sections(model: Model) -> list[Section]:
    """Return how the first run of a model weighs its experts.

    Returns:
      A table after the last day, and a folded one with the weights of each
      day; nothing of a model without experts.
    """
    if not model.row.experts:
        return []
    directory = model.workdirs[0].ctr(model.base)
    days: dict[str, mixture.Mixture] = {
        day: artefacts.read_mixture(directory / day)
        for day in store.dated(directory)
    }
    last = max(days)
    experts = days[last].experts
    title = f"Experts of {model.label}"
    return [
        Section(
            f"{title} after {last}",
            [
                "user and item in natural logs",
                "rows",
                *(f"weight of {name}" for name in experts),
                "log loss",
                *(f"log loss of {name}" for name in experts),
                "most it can have lost against the best",
            ],
            _slices(days[last]),
            text="Log losses are means over all scored rows so far, of the "
            "first seed; those of a slice are not calibrated yet. Calibrated, "
            f"a logit is {_line(days[last])}. The last column is proven, not "
            "estimated: the log loss of the mixture exceeds that of the best "
            "expert (in the last row, of each slice's best one) by no more, "
            "whatever the rows are.",
        ),
        Section(
            f"{title}: their weights, day by day",
            ["day", "user and item in natural logs", *experts],
            [
                [day, name, *map(text.percent, weights)]
                for day, found in days.items()
                for name, weights in zip(
                    mixture.SLICES, found.weights(), strict=True
                )
            ],
            text="The weights that a day's clicks led to; they mix the day "
            "after.",
            folded=True,
        ),
    ]


def _slices(found: mixture.Mixture) -> Sequence[Sequence[str]]:
    """Return a row of cells for each slice that had rows."""
    cells = []
    for place, name in enumerate(mixture.SLICES):
        rows = found.rows[place]
        if not rows:
            continue
        mixed, *of_experts = found.lost[place] / rows
        bound = found.hedges[place].bound() / rows
        best = min(range(len(of_experts)), key=of_experts.__getitem__)
        cells.append(
            [
                name,
                text.count(rows),
                *map(text.percent, found.weights()[place]),
                text.number(mixed),
                *map(text.number, of_experts),
                text.number(bound[best]),
            ]
        )
    rows = found.rows.sum()
    if not rows:
        return []
    calibrated, given = found.calibration.lost
    lost = found.lost[:, 0].sum() + calibrated - given
    return [
        *cells,
        [
            "all, calibrated",
            text.count(rows),
            *["\N{EN DASH}" for _ in found.experts],
            text.number(lost / rows),
            *map(text.number, found.lost[:, 1:].sum(axis=0) / rows),
            text.number(found.bound() / rows),
        ],
    ]


def _line(found: mixture.Mixture) -> str:
    """Return how the logits of the next day are calibrated."""
    scale, shift = found.calibration.line()
    sign = "+" if shift >= 0 else "\N{MINUS SIGN}"
    return f"{scale:.2f} times the mixture's {sign} {abs(shift):.2f}"
