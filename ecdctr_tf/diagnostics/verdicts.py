"""What the numbers mean for who decides on transfer, in plain words.

The limits are rules of thumb: none of them is a law, and a model that is
trained and compared says more than all of them.
"""

import dataclasses

from ecdctr_tf.results import text

# From best to worst; the last is of what cannot be measured yet.
GOOD, WATCH, BAD, NONE = "good", "watch", "bad", "not measured"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One line on one diagnostic."""

    name: str
    # "good", "watch", "bad" or "not measured".
    level: str
    # The number that it rests on.
    finding: str
    # What the number means.
    meaning: str


def verdicts(found: dict) -> list[Verdict]:
    """Return a verdict on each diagnostic."""
    last = found["overlap"]["last"]
    overlap, items = _overlap(last), _items(found["item_ctr"])
    harm = _alarm(found["alarm"])
    return [
        _overall(overlap, items, harm),
        overlap,
        _activity(last, "user"),
        _activity(last, "item"),
        _domains(found["domain_shift"]),
        _features(found["daily_constants"]),
        _one_domain(found["one_domain"]),
        items,
        *([_sources(found["sources"])] if "sources" in found else []),
        _drift(found["snapshot_drift"]),
        harm,
    ]


def _overall(overlap: Verdict, items: Verdict, harm: Verdict) -> Verdict:
    """Return what overlap, item clicks and an alarm come to together."""
    parts = (overlap, items, harm)
    finding = ", ".join(f"{part.name} {part.level}" for part in parts)
    levels = [part.level for part in parts]
    if overlap.level == NONE:
        return Verdict("transfer", NONE, finding, overlap.meaning)
    if overlap.level == BAD:
        meaning = "Transfer is unlikely to help: the domains hardly share ids."
        return Verdict("transfer", BAD, finding, meaning)
    if BAD in levels:
        meaning = "Transfer may do harm: always compare it with ads only."
        return Verdict("transfer", BAD, finding, meaning)
    if WATCH in levels or items.level == NONE:
        meaning = (
            "Transfer may help in part: train it and ads only, and compare."
        )
        return Verdict("transfer", WATCH, finding, meaning)
    meaning = (
        "Transfer can help: natural logs know the ids of these ads, and agree "
        "on what is clicked. Only --stage=compare can tell by how much."
    )
    return Verdict("transfer", GOOD, finding, meaning)


def _overlap(last: dict) -> Verdict:
    name = "overlap"
    either, both = last["either_share"], last["both_share"]
    if either is None:
        return Verdict(name, NONE, "no ad rows", "There are no ads to look at.")
    finding = (
        f"of the ad rows of {last['first']} to {last['last']}, natural logs "
        f"know the user in {_percent(last['user']['rows_share'])}, the item in "
        f"{_percent(last['item']['rows_share'])}, both in {_percent(both)}"
    )
    if either >= 0.7:
        meaning = "Most ad rows can use what natural logs teach about their ids"
        meaning += "." if both >= 0.5 else ", though mostly on one side only."
        return Verdict(name, GOOD if both >= 0.5 else WATCH, finding, meaning)
    if either >= 0.3:
        meaning = (
            "Part of the ad rows can gain from embeddings of natural logs; the "
            "others gain from shared features at most."
        )
        return Verdict(name, WATCH, finding, meaning)
    meaning = (
        "Embeddings of ids hardly transfer: few ad rows have an id that "
        "natural logs know. Check that both domains use the same ids."
    )
    return Verdict(name, BAD, finding, meaning)


def _activity(last: dict, role: str) -> Verdict:
    name = f"{role} activity"
    buckets = last[role]["buckets"]
    if not last["rows"]:
        return Verdict(name, NONE, "no ad rows", "There are no ads to look at.")
    well = sum(buckets[b]["share"] for b in ("16-63", "64+"))
    none = buckets["0"]["share"]
    finding = (
        f"in {_percent(well)} of ad rows the {role} had 16 or more earlier "
        f"natural rows, in {_percent(none)} none"
    )
    if well >= 0.5:
        meaning = f"Most {role}s have enough natural rows to learn from."
        return Verdict(name, GOOD, finding, meaning)
    if none < 0.5:
        meaning = (
            f"Many {role}s have few natural rows: longer logs would help "
            "more than a larger model."
        )
        return Verdict(name, WATCH, finding, meaning)
    meaning = f"Natural logs say nothing about the {role} of most ad rows."
    return Verdict(name, BAD, finding, meaning)


def _domains(shift: dict | None) -> Verdict:
    """Return the verdict on the domains; it is never "bad".

    In the synthetic world, where ads show a quarter of the items, domains are
    told apart with AUC 0.9 and transfer pays all the same.
    """
    name = "domain shift"
    if shift is None:
        meaning = "This needs at least two days with rows of both domains."
        return Verdict(name, NONE, "too few days", meaning)
    auc = shift["auc"]
    top, alone = next(iter(shift["features"].items()))
    finding = f"natural rows can be told from ads with AUC {auc:.3f}"
    if auc < 0.6:
        meaning = (
            "Both domains look alike: weights learned from natural logs fit "
            "ads as they are, and one model might be trained on both."
        )
        return Verdict(name, GOOD, finding, meaning)
    finding += f"; {top} alone reaches {alone:.3f}"
    if auc < 0.9:
        meaning = (
            "The domains differ: warm-started weights need training on ads, "
            "which is what the A-CTR does."
        )
        return Verdict(name, WATCH, finding, meaning)
    meaning = (
        "The domains are almost separable. Transfer is still possible, but "
        "relies on embeddings of shared ids more than on weights. Keep ads "
        "only as a check."
    )
    return Verdict(name, WATCH, finding, meaning)


def _features(constants: list[str] | None) -> Verdict:
    """Return the verdict on features that do not vary within a day."""
    name = "features"
    if constants is None:
        meaning = "This needs at least two days with rows of a domain."
        return Verdict(name, NONE, "too few days", meaning)
    if not constants:
        finding = "no feature is the same in all rows of a day"
        meaning = "Every batch of a day shows how the features vary."
        return Verdict(name, GOOD, finding, meaning)
    names = ", ".join(constants)
    meaning = (
        "Within a day it does not vary, so its effect cannot be told from that "
        "of the day, and batch norm magnifies ids of it that are new. Compare "
        f"with --set model.exclude={','.join(constants)}."
    )
    return Verdict(
        name, WATCH, f"all rows of a day have the same {names}", meaning
    )


def _one_domain(only: dict[str, list[str]] | None) -> Verdict:
    """Return the verdict on features that vary in one domain only."""
    name = "features of one domain"
    if only is None:
        meaning = "This needs days of at least two rows of both domains."
        return Verdict(name, NONE, "too few rows", meaning)
    natural, ads = (", ".join(only[d]) for d in ("natural", "ads"))
    findings, meanings = [], []
    if ads:
        findings.append(f"varying in ads only: {ads}")
        meanings.append(
            "What varies in ads only has no effect on the first scored day: "
            "no CPM sees it, and the A-CTR learns it from ads alone."
        )
    if natural:
        findings.append(f"varying in natural logs only: {natural}")
        meanings.append(
            "What varies in natural logs only tells nothing of ads. A model "
            "without it may be as good: compare with --set model.exclude="
            f"{','.join(only['natural'])}."
        )
    if not findings:
        finding = "each feature that varies does so in both domains"
        meaning = "The CPM sees every feature that the A-CTR reads."
        return Verdict(name, GOOD, finding, meaning)
    return Verdict(name, WATCH, "; ".join(findings), " ".join(meanings))


def _items(items: dict | None) -> Verdict:
    name = "item clicks"
    if items is None:
        meaning = "Too few items have enough rows in both domains."
        return Verdict(name, NONE, "too few shared items", meaning)
    relative = items["relative"]
    found = items["spearman"]
    shown = "none" if found is None else f"{found:.2f}"
    finding = (
        f"click rates of {items['items']:,} shared items have rank correlation "
        f"{shown}; noise allows {items['ceiling']:.2f} at most"
    )
    if relative is None or items["ceiling"] < 0.2:
        meaning = "Too few clicks per item: the noise hides any agreement."
        return Verdict(name, NONE, finding, meaning)
    if relative >= 0.5:
        meaning = "What is clicked in natural content is clicked in ads too."
        return Verdict(name, GOOD, finding, meaning)
    if relative >= 0.2:
        meaning = (
            "Popularity carries over in part; the rest of the gain has to come "
            "from who likes what."
        )
        return Verdict(name, WATCH, finding, meaning)
    meaning = (
        "Popularity in natural content says nothing about ads, or the "
        "opposite. Negative transfer is possible: compare with ads only."
    )
    return Verdict(name, BAD, finding, meaning)


def _sources(sources: dict[str, dict]) -> Verdict:
    """Return the verdict on natural sources: are any drowned, or of no use?"""
    name = "natural sources"
    if not sources:
        meaning = "There are no natural rows before the last day of ads."
        return Verdict(name, NONE, "no natural rows", meaning)
    either = {n: of["overlap"]["either_share"] for n, of in sources.items()}
    best = max(sources, key=lambda n: either[n] or 0)
    finding = "; ".join(
        f"{n} has {_percent(of['share'])} of the rows and knows the user or "
        f"the item of {_percent(either[n])} of the ad rows"
        for n, of in sources.items()
    )
    useless = [n for n in sources if (either[n] or 0) < 0.1]
    drowned = [
        n
        for n, of in sources.items()
        if of["share"] < 0.1 and (either[n] or 0) >= (either[best] or 0) / 2
    ]
    if drowned and len(sources) > 1:
        shares = ",".join(f"{n}:0.2" for n in drowned[:2])
        meaning = (
            f"The rows of {', '.join(drowned)} are few beside the others, but "
            "know many of the ads' ids. Compare with --set sources.shares="
            f"{shares}."
        )
        return Verdict(name, WATCH, finding, meaning)
    if useless and len(sources) > 1:
        meaning = (
            f"Hardly any ad row has an id that {', '.join(useless)} knows. "
            "Compare with --stage=compare --models=e_cdctr,"
            f"{','.join(f'without_{n}' for n in useless)}."
        )
        return Verdict(name, WATCH, finding, meaning)
    meaning = "Each source can teach something about the ads."
    return Verdict(name, GOOD, finding, meaning)


def _drift(drift: dict) -> Verdict:
    name = "snapshot drift"
    pairs = {table: moves[-1] for table, moves in drift.items()}
    if not pairs:
        meaning = "The work directory has fewer than two TPM snapshots."
        return Verdict(name, NONE, "no snapshots", meaning)
    table, worst = max(pairs.items(), key=lambda item: item[1]["after"])
    finding = (
        f"from {worst['old']} to {worst['new']} {table} embeddings moved by "
        f"{worst['before']:.2f} of their length, {worst['after']:.2f} "
        "after the best rotation"
    )
    if worst["before"] >= 0.3 and worst["after"] <= worst["before"] / 2:
        meaning = (
            "Snapshots are rotated against each other, so averages mix their "
            "coordinates: history.aggregation=last is safe, mean and decay are "
            "not."
        )
        return Verdict(name, WATCH, finding, meaning)
    if worst["after"] < 0.5:
        meaning = "Embeddings are steady from window to window."
        return Verdict(name, GOOD, finding, meaning)
    if worst["after"] < 1:
        meaning = (
            "Embeddings change a good deal in a window: keep the TPM fresh, "
            "and compare history.aggregation=last with averages."
        )
        return Verdict(name, WATCH, finding, meaning)
    meaning = (
        "Snapshots have next to nothing in common: windows may be too short, "
        "or ids too rare, to learn embeddings."
    )
    return Verdict(name, BAD, finding, meaning)


def _alarm(found: dict | None) -> Verdict:
    name = "negative transfer"
    if found is None:
        meaning = (
            "The work directory has no day that both E-CDCTR and ads only "
            "scored."
        )
        return Verdict(name, NONE, "no scored days", meaning)
    lost = found["days"]["log_loss"]
    finding = (
        f"E-CDCTR loses to ads only in log loss on {lost['lost']} of "
        f"{lost['compared']} days, in AUC on {found['days']['auc']['lost']}; "
        f"{text.plural(len(found['runs']), 'streak')} of lost days, "
        f"{text.plural(len(found['slices']), 'lost slice')}"
    )
    if found["level"] == "good":
        meaning = "No streak of days and no slice of rows is worse off."
        return Verdict(name, GOOD, finding, meaning)
    if found["level"] == "watch":
        meaning = (
            "The losses are no larger than chance explains. Look again later."
        )
        return Verdict(name, WATCH, finding, meaning)
    meaning = (
        "Transfer does harm somewhere: look at these streaks and slices, and "
        "try a newer CPM or other learning rates."
    )
    return Verdict(name, BAD, finding, meaning)


def _percent(share: float | None) -> str:
    return "nothing" if share is None else f"{share:.0%}"
