"""Names and numbers of a report as people read them."""

from collections.abc import Iterable, Sequence

LABELS = {
    "oracle": "oracle (true CTR)",
    "ads_only": "ads only",
    "cpm_finetune": "CPM \N{RIGHTWARDS ARROW} fine-tune",
    "e_cdctr": "E-CDCTR",
}
METRICS = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "normalized_entropy": "NE",
    "pcoc": "PCOC",
}
NOTHING = "\N{EN DASH}"


def number(mean: float | None, std: float | None = None) -> str:
    """Return `0.1234`, `0.1234 ± 0.0012` over seeds, or a dash for None.

    A deviation of 0 is not shown: seeds do not matter to the oracle.
    """
    if mean is None:
        return NOTHING
    if not std:
        return f"{mean:.4f}"
    return f"{mean:.4f} \N{PLUS-MINUS SIGN} {std:.4f}"


def difference(values: dict) -> str:
    """Return `+0.0123 ± 0.0004`, of a metric of `summary["differences"]`.

    Args:
      values: `mean` and `standard_error`, each a number or None.
    """
    if values["mean"] is None:
        return NOTHING
    shown = f"{values['mean']:+.4f}"
    if values["standard_error"] is not None:
        shown += f" \N{PLUS-MINUS SIGN} {values['standard_error']:.4f}"
    return shown


def pair(name: str) -> str:
    """Return "e_cdctr - ads_only" as `E-CDCTR − ads only`."""
    first, _, second = name.partition(" - ")
    return f"{LABELS[first]} \N{MINUS SIGN} {LABELS[second]}"


def duration(seconds: float | None) -> str:
    """Return seconds as `42.0 s`, `3 min 05 s` or `2 h 07 min`."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def plural(count: int, noun: str) -> str:
    """Return `1 day`, `2 days`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]]
) -> list[str]:
    """Return the lines of a table, numbers to the right of the first column."""
    align = "|---|" + "---:|" * (len(header) - 1)
    return [markdown_row(header), align, *map(markdown_row, rows)]


def markdown_row(cells: Sequence[str]) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"


def scope(summary: dict) -> str:
    """Return what the means of a summary are over: days, rows, seeds."""
    days = summary["averaged_days"]
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    what = "All rows of" if summary["pooled"] else "Mean over"
    return (
        f"{what} {plural(len(days), 'scored day')} ({span}; "
        f"{plural(summary['rows'], 'row')}, "
        f"{plural(summary['clicks'], 'click')}) and "
        f"{plural(len(summary['seeds']), 'seed')}"
    )
