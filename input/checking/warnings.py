"""What in logs deserves a look before they are converted, in plain words."""

from ecdctr_tf import features
from ecdctr_tf.results import text

# Shares and stability indices from which a line is written.
_MISSING, _DUPLICATES, _DRIFT, _UNKNOWN = 0.5, 0.01, 0.25, 0.1
# Rows of a day of which some should be clicks and some not.
_MANY_ROWS = 100
# Rows of a day against the median of all days.
_FEW_ROWS = 0.1


def warnings(found: dict) -> list[tuple[str, str]]:
    """Return what was noticed, each with what to do about it.

    Args:
      found: what `checking.check` returned.
    """
    lines = [(said, "A conversion stops here.") for said in found["stops"]]
    for domain, of in found["domains"].items():
        lines += _of_domain(domain, of)
    for name, of in found["sources"].items():
        if not of["rows"]:
            lines.append(
                (
                    f"The natural source {name!r} has no rows.",
                    "Does its log have a file, and does `keep` let rows "
                    "through?",
                )
            )
    missing = [d for d in features.DOMAINS if d not in found["domains"]]
    for domain in missing:
        lines.append(
            (
                f"There are no {_rows_of(domain)}.",
                "Levels that read them cannot be trained.",
            )
        )
    for name, of in found["features"].items():
        lines += _of_feature(name, of)
    return lines


def _rows_of(domain: str) -> str:
    return "ads" if domain == "ads" else "natural rows"


def _of_domain(domain: str, of: dict) -> list[tuple[str, str]]:
    lines = []
    if of["gaps"]:
        days = ", ".join(of["gaps"][:3])
        more = " and others" if len(of["gaps"]) > 3 else ""
        lines.append(
            (
                f"{text.plural(len(of['gaps']), 'day')} of {domain} "
                f"without rows: {days}{more}.",
                "Are files missing? A single row of a far day also leaves a "
                "gap: filter it out.",
            )
        )
    for what, rows in of["counts"].items():
        lines.append(
            (
                f"{text.plural(rows, 'row')} of {domain}: {what}.",
                "Are there as many as you expect?",
            )
        )
    share = of["duplicates"] / of["rows"]
    if share > _DUPLICATES:
        lines.append(
            (
                f"{text.percent(share, 1)} of the rows of {domain} repeat "
                "user, item and second of another row.",
                "Was a file copied twice, or is an impression logged again "
                "when it is clicked?",
            )
        )
    one_label = [
        day
        for day, (rows, clicks) in of["days"].items()
        if clicks in (0, rows) and rows >= _MANY_ROWS
    ]
    if of["sampled"] and of["clicks"] == of["rows"]:
        pass  # Rows without a click are sampled later.
    elif of["clicks"] in (0, of["rows"]):
        share_text = "No row" if not of["clicks"] else "Each row"
        lines.append(
            (
                f"{share_text} of {domain} is a click.",
                "Check `click` and `click_at_least` of the log, or give "
                f"[negatives.{domain}] if the log holds only clicks.",
            )
        )
    elif one_label:
        lines.append(
            (
                f"On {one_label[0]} of {domain} all rows have one label.",
                "Had the clicks not arrived yet when the day was written?",
            )
        )
    counts = sorted(rows for rows, _ in of["days"].values())
    median = counts[len(counts) // 2]
    few = [d for d, (r, _) in of["days"].items() if r < _FEW_ROWS * median]
    if few:
        lines.append(
            (
                f"{text.plural(len(few), 'day')} of {domain} with less than a "
                f"tenth of the usual rows, such as {few[0]}.",
                "Check the time zone and whether the day is complete.",
            )
        )
    return lines


def _of_feature(name: str, of: dict) -> list[tuple[str, str]]:
    lines = []
    parts = [d for d in features.DOMAINS if d in of]
    for domain in parts:
        values = of[domain]
        if values["missing"] == 1:
            lines.append(
                (
                    f"{name!r} has no value in {domain}.",
                    "Leave it out, or say with `domain` of the feature which "
                    "domain has it.",
                )
            )
        elif values["missing"] > _MISSING:
            share = text.percent(values["missing"])
            lines.append(
                (
                    f"{share} of {name!r} are missing in {domain}.",
                    "Is the join complete, and is a missing value written as "
                    "the spec says?",
                )
            )
        elif values["values"] == 1:
            lines.append(
                (
                    f"{name!r} is constant in {domain}.",
                    "A model learns nothing from it there.",
                )
            )
        if (values["drift"] or 0) > _DRIFT and of["kind"] == "number":
            lines.append(
                (
                    f"{name!r} drifts in {domain} (stability index "
                    f"{values['drift']:.2f} between the halves of the days).",
                    "Did its meaning or unit change?",
                )
            )
    shared = of.get("shared_rows")
    if shared is not None and shared < _UNKNOWN:
        lines.append(
            (
                f"{text.percent(shared, 1)} of the ad rows have a value of "
                f"{name!r} that natural rows have too.",
                "Nothing can be transferred through this table. Are the ids "
                "written alike in both logs?",
            )
        )
    return lines
